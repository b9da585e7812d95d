//! Tagwarden over HTTP: keys and limits, REST for people and scripts, and how the server is doing.
//!
//! Everything passes one [gate](Access), which knows who asks, under which name and how often; behind it stand the
//! routes, which are thin: each takes a typed request, asks the use case, and answers in one shape.

mod addresses;
mod fault;
mod gate;
mod health;
mod keyring;
mod rest;
mod server;

pub use addresses::{Addresses, Host, Origin};
pub use fault::{ErrorBody, Fault};
pub use gate::{Access, Limits, RequestId};
pub use health::{Check, Health, HealthStatus};
pub use rest::{Rest, document};
pub use server::{CONNECTIONS, Desk, Server, Settings};
pub use tagwarden_serve::{BindError, Tls, TlsFiles};
