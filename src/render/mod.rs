//! How results look. Core's types are not a wire format; every name people and scripts rely on is here.

pub mod csv;
pub mod gaps;
pub mod json;
pub mod markdown;
pub mod spool;
pub mod style;
pub mod table;
pub mod writer;
