//! What has to be written so that an object is as its file wants it. Pure, and nothing where it is so already.
//!
//! A file owns the whole `spec` (the `data` of a Secret): what it does not say is taken away. Of labels and
//! annotations it owns those it gives, because people and controllers have some of their own there; which those are
//! is remembered in an annotation, so that they go when the file drops them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::wanted::Object;

/// The label of everything that came from a manifest file.
pub const MANAGED: &str = "tagwarden.io/managed-by-manifests";

/// The annotation that says from which file, which labels and annotations that file gave, and what it said in all.
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

/// Whether an object was made exactly what the file wants before, so that a difference is somebody else's.
pub fn was_applied(live: &Value, object: &Object) -> bool {
    live.pointer("/metadata/annotations").and_then(|all| all.get(MANIFEST)).and_then(Value::as_str)
        == Some(&mark(object))
}

/// The fields that differ between two states of an object, as far as files own them: `spec.schedule`. Never values.
pub fn differing(before: &Value, after: &Value) -> Vec<String> {
    let mut fields = Vec::new();
    for part in ["spec", "data", "metadata.labels", "metadata.annotations"] {
        let pointer = format!("/{}", part.replace('.', "/"));
        let (before, after) = (before.pointer(&pointer), after.pointer(&pointer));
        let keys = |tree: Option<&Value>| -> BTreeSet<String> {
            tree.and_then(Value::as_object).into_iter().flat_map(Map::keys).cloned().collect()
        };
        let at = |tree: Option<&Value>, key: &str| tree.and_then(|tree| tree.get(key)).cloned();
        let all = keys(before).into_iter().chain(keys(after)).collect::<BTreeSet<_>>();
        fields.extend(
            all.into_iter()
                .filter(|key| at(before, key) != at(after, key))
                .map(|key| format!("{part}.{key}")),
        );
    }
    fields
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
    json!({
        "file": object.file, "labels": names("labels"), "annotations": names("annotations"),
        "content": content(object),
    })
    .to_string()
}

/// Tells contents apart; a few bytes do, for nobody gains from two that look alike.
fn content(object: &Object) -> String {
    let digest = Sha256::digest(object.body.to_string());
    digest.iter().take(8).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
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
    fn an_edit_is_told_from_a_change_of_the_file() {
        let before = object(json!({ "name": "corp", "labels": { "tier": "gold" } }), json!({ "a": 1 }));
        let after = object(json!({ "name": "corp", "labels": { "tier": "gold" } }), json!({ "a": 2 }));
        let applied = creation(&before);
        assert!(was_applied(&applied, &before) && !was_applied(&applied, &after));
        let mut edited = applied.clone();
        edited["spec"]["a"] = json!(7);
        edited["metadata"]["labels"]["tier"] = json!("tin");
        edited["metadata"]["labels"]["other"] = json!("x");
        assert!(was_applied(&edited, &before), "the mark is what the file said");
        let mut mended = edited.clone();
        merge(&mut mended, &patch(&edited, &before).unwrap());
        assert_eq!(differing(&edited, &mended), ["spec.a", "metadata.labels.tier"]);
        assert_eq!(differing(&mended, &mended), Vec::<String>::new());
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
