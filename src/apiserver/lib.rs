//! The embedded control plane: enough of the Kubernetes API, over SQL, for our own kinds and what goes with them.
//!
//! [`ControlPlane`] serves it to [`kube::Client`]s of this process, without a socket. Half of the modules hold no
//! store and are pure: values come in, values or errors go out. They know what a kind is, what its objects may look
//! like, and how the API speaks. The other half builds on them: the store, the requests, the background tasks.

mod collect;
mod compaction;
pub mod continue_token;
pub mod discovery;
pub mod http;
pub mod identity;
mod jsonpath;
pub mod kind;
pub mod openapi;
pub mod patch;
mod plane;
mod rest;
mod revalidate;
pub mod schema;
pub mod select;
pub mod status;
mod store;
pub mod syntax;
pub mod table;
#[cfg(test)]
mod tests;

pub use identity::Identity;
pub use plane::{ControlPlane, OpenError, Options};
pub use store::{BadLocation, Location, NotReady};
