//! OpenAPI: what kubectl needs to explain, to validate before it applies, and to know which patches are taken.

use serde_json::Value;

use crate::kind::{Face, Kinds};

/// `GET /openapi/v3`: where the documents are, with a hash of each.
pub fn index(kinds: &Kinds, face: Face) -> Value {
    let _ = (kinds, face);
    unimplemented!()
}

/// `GET /openapi/v3/apis/{group}/{version}`, or `/openapi/v3/api/v1` for the empty group.
pub fn document(kinds: &Kinds, face: Face, group: &str, version: &str) -> Option<Value> {
    let _ = (kinds, face, group, version);
    unimplemented!()
}

/// `GET /openapi/v2`: the content type and the body of an empty document, which is what kubectl takes.
pub fn v2() -> (&'static str, &'static [u8]) {
    unimplemented!()
}
