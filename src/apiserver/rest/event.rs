//! The two faces of Event. Stored as the core group has them; `events.k8s.io` calls some fields otherwise.

use serde_json::{Map, Value};

use crate::kind::Kind;

/// Names in the core group, and in `events.k8s.io`.
const NAMES: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// Whether objects of this kind look otherwise than they are stored.
pub(super) fn has_face(kind: &Kind) -> bool {
    kind.kind == "Event" && kind.group == "events.k8s.io"
}

/// A stored object as this kind shows it.
pub(super) fn show(kind: &Kind, object: Value) -> Value {
    if has_face(kind) { renamed(object, &kind.api_version(), |(core, face)| (*core, *face)) } else { object }
}

/// An object that this kind has shown, as it is stored.
pub(super) fn store(kind: &Kind, object: Value) -> Value {
    if has_face(kind) { renamed(object, "v1", |(core, face)| (*face, *core)) } else { object }
}

fn renamed(
    object: Value,
    api_version: &str,
    names: impl Fn(&'static (&'static str, &'static str)) -> (&'static str, &'static str),
) -> Value {
    let Value::Object(fields) = object else { return object };
    let rename = |(key, value): (String, Value)| {
        let name = NAMES.iter().map(&names).find(|(from, _)| *from == key).map(|(_, to)| to.to_owned());
        (name.unwrap_or(key), value)
    };
    let mut fields: Map<String, Value> = fields.into_iter().map(rename).collect();
    fields.insert("apiVersion".into(), api_version.into());
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn there_and_back_again() {
        let core = json!({
            "apiVersion": "v1", "kind": "Event", "message": "m", "involvedObject": {"name": "a"},
            "reportingComponent": "c", "count": 2, "type": "Normal",
        });
        let face = renamed(core.clone(), "events.k8s.io/v1", |(core, face)| (*core, *face));
        assert_eq!(face["note"], "m");
        assert_eq!(face["deprecatedCount"], 2);
        assert_eq!(face["regarding"]["name"], "a");
        assert_eq!(renamed(face, "v1", |(core, face)| (*face, *core)), core);
    }
}
