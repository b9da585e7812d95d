//! Real servers for tests and the demo.

mod child;
pub mod estate;
pub mod faults;
pub mod moto;
