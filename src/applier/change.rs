//! What has to be written so that an object is as its file wants it. Pure, and nothing where it is so already.
//!
//! A file owns the whole `spec` (the `data` of a Secret): what it does not say is taken away. Of labels and
//! annotations it owns those it gives, because people and controllers have some of their own there; which those are
//! is remembered in an annotation, so that they go when the file drops them.

use serde_json::{Map, Value, json};

use super::wanted::Object;

/// The label of everything that came from a manifest file.
pub const MANAGED: &str = "tagwarden.io/managed-by-manifests";

/// The annotation that says from which file, and which labels and annotations that file gave.
pub const MANIFEST: &str = "tagwarden.io/manifest";

/// The object as it is created.
pub fn creation(object: &Object) -> Value {
    let mut body = object.body.clone();
    let mark = mark(object);
    let metadata = &mut body["metadata"];
    // What only a server says, and a file that was saved from one still holds.
    if let Some(fields) = metadata.as_object_mut() {
        fields.retain(|name, _| ["name", "namespace", "labels", "annotations"].contains(&name.as_str()));
    }
    metadata["labels"][MANAGED] = json!("true");
    metadata["annotations"][MANIFEST] = json!(mark);
    body
}

/// The merge patch that makes `live` what the file wants; `None` where it is.
pub fn patch(live: &Value, object: &Object) -> Option<Value> {
    let wanted = creation(object);
    let mut patch = Map::new();
    for field in ["spec", "data"] {
        if let Some(wanted) = wanted.get(field)
            && let Some(change) = replace(live.get(field), wanted)
        {
            patch.insert(field.to_owned(), change);
        }
    }
    let before = Given::of(live);
    let mut metadata = Map::new();
    for (field, given) in [("labels", &before.labels), ("annotations", &before.annotations)] {
        let live = live.pointer(&format!("/metadata/{field}"));
        let change = extend(live, &wanted["metadata"][field], given);
        if !change.is_empty() {
            metadata.insert(field.to_owned(), Value::Object(change));
        }
    }
    if !metadata.is_empty() {
        patch.insert("metadata".to_owned(), Value::Object(metadata));
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// The file of a live object that came from one.
pub fn file_of(live: &Value) -> String {
    Given::of(live).file
}

/// What a file gave when it was last applied.
#[derive(Debug, Default)]
struct Given {
    file: String,
    labels: Vec<String>,
    annotations: Vec<String>,
}

impl Given {
    fn of(live: &Value) -> Self {
        let text =
            live.pointer("/metadata/annotations").and_then(|all| all.get(MANIFEST)).and_then(Value::as_str);
        let mark: Value = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let names = |field: &str| {
            let names = mark.get(field).and_then(Value::as_array).into_iter().flatten();
            names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
        };
        let file = mark.get("file").and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { file, labels: names("labels"), annotations: names("annotations") }
    }
}

/// The text of [`MANIFEST`].
fn mark(object: &Object) -> String {
    let names = |field: &str| -> Vec<&String> {
        let given = object.body.pointer(&format!("/metadata/{field}")).and_then(Value::as_object);
        given.into_iter().flat_map(Map::keys).collect()
    };
    json!({ "file": object.file, "labels": names("labels"), "annotations": names("annotations") }).to_string()
}

/// The merge patch from one tree to another; `None` where they are equal.
fn replace(live: Option<&Value>, wanted: &Value) -> Option<Value> {
    match (live, wanted) {
        (Some(live), wanted) if live == wanted => None,
        (Some(Value::Object(live)), Value::Object(wanted)) => {
            let mut change = Map::new();
            for (name, wanted) in wanted {
                if let Some(inner) = replace(live.get(name), wanted) {
                    change.insert(name.clone(), inner);
                }
            }
            for name in live.keys().filter(|name| !wanted.contains_key(*name)) {
                change.insert(name.clone(), Value::Null);
            }
            Some(Value::Object(change))
        }
        (_, wanted) => Some(wanted.clone()),
    }
}

/// The entries that differ from what is wanted, and those that were given before and no longer are.
fn extend(live: Option<&Value>, wanted: &Value, given: &[String]) -> Map<String, Value> {
    let there = |name: &str| live.and_then(|live| live.get(name));
    let mut change = Map::new();
    for (name, value) in wanted.as_object().into_iter().flatten() {
        if there(name) != Some(value) {
            change.insert(name.clone(), value.clone());
        }
    }
    for name in given {
        if wanted.get(name).is_none() && there(name).is_some() {
            change.insert(name.clone(), Value::Null);
        }
    }
    change
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::applier::wanted::{Identity, Kind};

    #[allow(clippy::needless_pass_by_value)] // literals
    fn object(metadata: Value, spec: Value) -> Object {
        let identity = Identity { kind: Kind::TaggingPolicy, namespace: "a".into(), name: "corp".into() };
        let body = json!({ "kind": "TaggingPolicy", "metadata": metadata, "spec": spec });
        Object { identity, place: "corp.yaml, document 1".into(), file: "corp.yaml".into(), body }
    }

    /// RFC 7386.
    fn merge(target: &mut Value, patch: &Value) {
        let Value::Object(patch) = patch else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = json!({});
        }
        for (name, value) in patch {
            if value.is_null() {
                target.as_object_mut().unwrap().remove(name);
            } else {
                merge(&mut target[name], value);
            }
        }
    }

    #[test]
    fn what_was_applied_is_left_alone() {
        let object = object(
            json!({ "name": "corp", "labels": { "tier": "gold" } }),
            json!({ "a": [1], "b": { "c": 1 } }),
        );
        let mut live = creation(&object);
        assert_eq!(live["metadata"]["labels"], json!({ "tier": "gold", MANAGED: "true" }));
        live["metadata"]["uid"] = json!("1");
        live["metadata"]["annotations"]["tagwarden.io/requestedAt"] = json!("now");
        live["status"] = json!({ "x": 1 });
        assert_eq!(patch(&live, &object), None);
    }

    #[test]
    fn what_a_file_no_longer_says_is_taken_away_and_nothing_else() {
        let before = object(
            json!({ "name": "corp", "labels": { "tier": "gold", "old": "x" }, "annotations": { "note": "y" } }),
            json!({ "a": 1, "b": { "c": 1, "d": 2 } }),
        );
        let mut live = creation(&before);
        live["metadata"]["labels"]["by-hand"] = json!("z");
        live["metadata"]["annotations"]["tagwarden.io/requestedAt"] = json!("now");
        let after =
            object(json!({ "name": "corp", "labels": { "tier": "silver" } }), json!({ "b": { "c": 1 } }));
        let patch = patch(&live, &after).unwrap();
        assert_eq!(patch["spec"], json!({ "a": null, "b": { "d": null } }));
        assert_eq!(patch["metadata"]["labels"], json!({ "tier": "silver", "old": null }));
        assert_eq!(patch["metadata"]["annotations"]["note"], Value::Null);
        merge(&mut live, &patch);
        assert_eq!(live["metadata"]["labels"]["by-hand"], "z");
        assert_eq!(live["metadata"]["annotations"]["tagwarden.io/requestedAt"], "now");
        assert_eq!(super::patch(&live, &after), None);
    }

    #[test]
    fn what_only_servers_say_is_not_written() {
        let saved = json!({ "name": "corp", "uid": "1", "resourceVersion": "7", "managedFields": [] });
        let created = creation(&object(saved, json!({})));
        let names: Vec<&String> = created["metadata"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["annotations", "labels", "name"]);
    }

    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<bool>().prop_map(Value::from), (0..3i32).prop_map(Value::from)];
        leaf.prop_recursive(3, 16, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[abc]", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_patch_leads_to_what_is_wanted_and_then_there_is_none(live in tree(), wanted in tree()) {
            match replace(Some(&live), &wanted) {
                None => prop_assert_eq!(live, wanted),
                Some(patch) => {
                    let mut changed = live;
                    merge(&mut changed, &patch);
                    prop_assert_eq!(&changed, &wanted);
                    prop_assert_eq!(replace(Some(&changed), &wanted), None);
                }
            }
        }
    }
}
