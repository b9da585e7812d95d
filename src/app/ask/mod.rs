//! Questions of agents and scripts: who asks, and why there may be no answer.

pub mod error;
pub mod ports;
pub mod principal;

pub use error::{AskError, Code, quoted};
pub use principal::{Principal, Scope, UnknownScope};
