//! The opaque text that the next page of a list is asked for with.

use crate::status::ApiError;

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContinueToken {
    /// The version that the first page was read at.
    pub resource_version: i64,
    /// The namespace of the last object of the page before; empty for cluster-wide kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ContinueToken {
    /// The text for the client.
    pub fn encode(&self) -> String {
        unimplemented!()
    }

    /// Reads what a client sent back; 400 for anything that was not made here.
    pub fn decode(text: &str) -> Result<Self, ApiError> {
        let _ = text;
        unimplemented!()
    }
}
