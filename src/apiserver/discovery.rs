//! Discovery: which groups, versions and resources there are, plain and aggregated, and the version of the server.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::kind::{Face, Kind, Kinds};

/// The content type of the aggregated form.
pub const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The Kubernetes whose behaviour this is; clients choose theirs by it.
const VERSION: (&str, &str, &str) = ("1", "36", "v1.36.3");

/// What can be done with a status.
const STATUS_VERBS: [&str; 3] = ["get", "patch", "update"];

/// Whether an `Accept` header wants the aggregated form in v2. For v2beta1 the plain form is the answer: a client
/// that asks for it cannot read v2.
pub fn wants_aggregated(accept: Option<&str>) -> bool {
    accept.is_some_and(|accept| {
        accept.split(',').take(64).any(|clause| {
            let parts: Vec<&str> = clause.split(';').map(str::trim).collect();
            parts.first() == Some(&"application/json")
                && ["v=v2", "g=apidiscovery.k8s.io", "as=APIGroupDiscoveryList"]
                    .iter()
                    .all(|wanted| parts.contains(wanted))
        })
    })
}

/// `GET /api`, plain.
pub fn core_versions(server_address: &str) -> Value {
    json!({
        "kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}],
    })
}

/// `GET /apis`, plain.
pub fn groups(kinds: &Kinds, face: Face) -> Value {
    let groups = by_version(kinds, face).into_keys().filter(|(group, _)| !group.is_empty());
    let groups: Vec<Value> = groups.map(|(group, version)| described(group, version)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `GET /apis/{group}`.
pub fn group(kinds: &Kinds, face: Face, group: &str) -> Option<Value> {
    let versions = by_version(kinds, face);
    let (_, version) = versions.into_keys().find(|(each, _)| !each.is_empty() && *each == group)?;
    let mut described = described(group, version);
    described["kind"] = json!("APIGroup");
    described["apiVersion"] = json!("v1");
    Some(described)
}

/// A group; each has one version here.
fn described(group: &str, version: &str) -> Value {
    let version = json!({"groupVersion": format!("{group}/{version}"), "version": version});
    json!({"name": group, "versions": [version], "preferredVersion": version})
}

/// The kinds by group and version; the core group, which has no name, comes first.
fn by_version(kinds: &Kinds, face: Face) -> BTreeMap<(&str, &str), Vec<&Arc<Kind>>> {
    let mut versions: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for kind in kinds.seen_by(face) {
        versions.entry((kind.group.as_str(), kind.version.as_str())).or_default().push(kind);
    }
    for kinds in versions.values_mut() {
        kinds.sort_by(|one, other| one.plural.cmp(&other.plural));
    }
    versions
}

/// `GET /apis/{group}/{version}`, or `/api/v1` for the empty group.
pub fn resources(kinds: &Kinds, face: Face, group: &str, version: &str) -> Option<Value> {
    let found = by_version(kinds, face).remove(&(group, version))?;
    let group_version = found.first()?.api_version();
    let resources: Vec<Value> = found.iter().flat_map(|kind| plain(kind)).collect();
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources,
    }))
}

fn plain(kind: &Kind) -> Vec<Value> {
    let mut resource = json!({
        "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced,
        "kind": kind.kind, "verbs": kind.verbs(),
    });
    add_names(kind, &mut resource);
    let mut resources = vec![resource];
    if kind.status {
        resources.push(json!({
            "name": format!("{}/status", kind.plural), "singularName": "", "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": STATUS_VERBS,
        }));
    }
    resources
}

fn add_names(kind: &Kind, resource: &mut Value) {
    if !kind.short_names.is_empty() {
        resource["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        resource["categories"] = json!(kind.categories);
    }
}

/// `GET /api` (`core`) or `/apis`, aggregated.
pub fn aggregated(kinds: &Kinds, face: Face, core: bool) -> Value {
    let groups = by_version(kinds, face).into_iter().filter(|((group, _), _)| group.is_empty() == core);
    let items: Vec<Value> = groups
        .map(|((group, version), kinds)| {
            let metadata = if core { json!({}) } else { json!({"name": group}) };
            let resources: Vec<Value> = kinds.iter().map(|kind| resource(kind)).collect();
            json!({
                "metadata": metadata,
                "versions": [{"version": version, "resources": resources, "freshness": "Current"}],
            })
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    })
}

fn resource(kind: &Kind) -> Value {
    let response_kind = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
    let mut resource = json!({
        "resource": kind.plural, "responseKind": response_kind, "singularResource": kind.singular,
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" }, "verbs": kind.verbs(),
    });
    add_names(kind, &mut resource);
    if kind.status {
        let status = json!({"subresource": "status", "responseKind": response_kind, "verbs": STATUS_VERBS});
        resource["subresources"] = json!([status]);
    }
    resource
}

/// `GET /version`. The part after `+` says that this is not the real one; what compares versions leaves it out.
pub fn version() -> Value {
    let (major, minor, git) = VERSION;
    json!({
        "major": major, "minor": minor,
        "emulationMajor": major, "emulationMinor": minor,
        "gitVersion": format!("{git}+tagwarden.{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

#[cfg(test)]
#[path = "discovery_tests.rs"]
mod tests;
