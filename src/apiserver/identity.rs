//! Who sent a request.

/// Who sent a request: an extension of the HTTP request. Without one it came from this process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// A controller of this process, through [`ControlPlane::client`](crate::ControlPlane::client).
    InProcess,
    /// Somebody over HTTP, already authenticated and authorised. Secrets do not exist for them.
    Remote {
        /// The name that goes with the token.
        user: String,
    },
}
