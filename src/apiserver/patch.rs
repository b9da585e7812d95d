//! Patches: JSON merge patch and JSON patch, and why the others are refused.

use serde_json::Value;

use crate::kind::Kind;
use crate::status::ApiError;

/// A change to an object, read from a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// RFC 7386.
    Merge(Value),
    /// RFC 6902.
    Json(json_patch::Patch),
}

impl Patch {
    /// Reads a patch. 415 for types that are not served (strategic merge, server-side apply), 400 for a body that
    /// is none, 413 for too many operations.
    pub fn parse(content_type: &str, body: &[u8]) -> Result<Self, ApiError> {
        let _ = (content_type, body);
        unimplemented!()
    }

    /// The object as the patch would have it; 422 when an operation does not apply (or `test` fails), 413 when the
    /// result would be too large.
    pub fn apply(&self, kind: &Kind, name: &str, current: &Value) -> Result<Value, ApiError> {
        let _ = (kind, name, current);
        unimplemented!()
    }
}
