//! The embedded control plane: enough of the Kubernetes API, over SQL, for our own kinds and what goes with them.
//!
//! The modules below that hold no store are pure: values come in, values or errors go out. They know what a kind is,
//! what its objects may look like, and how the API speaks; the store, the router and the watches build on them.

pub mod continue_token;
pub mod discovery;
mod jsonpath;
pub mod kind;
pub mod openapi;
pub mod patch;
pub mod schema;
pub mod select;
pub mod status;
pub mod syntax;
pub mod table;
