//! A listener for HTTP/1.1 that nobody can hold up: it bounds connections, handshakes, heads and writes, speaks TLS
//! where it is given a certificate, and takes up one that was renewed.
//!
//! What is served, and to whom, is the business of the router.

mod listener;
mod patient;
mod threshold;
mod tls;
mod unread;

pub use listener::{BindError, Limits, Listener, Peer};
pub use threshold::Strangers;
pub use tls::{Tls, TlsError, TlsFiles};
