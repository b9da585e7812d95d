//! Discovery: which groups, versions and resources there are, plain and aggregated, and the version of the server.

use serde_json::Value;

use crate::kind::{Face, Kinds};

/// Whether an `Accept` header wants the aggregated form in v2. For v2beta1 the plain form is the answer: a client
/// that asks for it cannot read v2.
pub fn wants_aggregated(accept: Option<&str>) -> bool {
    let _ = accept;
    unimplemented!()
}

/// The content type of the aggregated form.
pub const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// `GET /api`, plain.
pub fn core_versions(server_address: &str) -> Value {
    let _ = server_address;
    unimplemented!()
}

/// `GET /apis`, plain.
pub fn groups(kinds: &Kinds, face: Face) -> Value {
    let _ = (kinds, face);
    unimplemented!()
}

/// `GET /apis/{group}`.
pub fn group(kinds: &Kinds, face: Face, group: &str) -> Option<Value> {
    let _ = (kinds, face, group);
    unimplemented!()
}

/// `GET /apis/{group}/{version}`, or `/api/v1` for the empty group.
pub fn resources(kinds: &Kinds, face: Face, group: &str, version: &str) -> Option<Value> {
    let _ = (kinds, face, group, version);
    unimplemented!()
}

/// `GET /api` (`core`) or `/apis`, aggregated.
pub fn aggregated(kinds: &Kinds, face: Face, core: bool) -> Value {
    let _ = (kinds, face, core);
    unimplemented!()
}

/// `GET /version`.
pub fn version() -> Value {
    unimplemented!()
}
