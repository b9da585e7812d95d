//! What the server decides about an object before it is checked: identity, times, generation, and which half of it a
//! request may change.

use std::collections::BTreeMap;

use k8s_openapi::jiff::{Timestamp, Unit};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Call;
use crate::kind::{Kind, Rows};
use crate::status::ApiError;
use crate::syntax;

/// The letters of generated names: no vowels, so that no words come out.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Gives a name to an object that asks for one.
pub(super) fn generate_name(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if metadata.get("name").and_then(Value::as_str).is_some_and(|name| !name.is_empty()) {
        return;
    }
    let Some(base) = metadata.get("generateName").and_then(Value::as_str).filter(|base| !base.is_empty())
    else {
        return;
    };
    let letter = |_| char::from(LETTERS[fastrand::usize(..LETTERS.len())]);
    let tail: String = (0..5).map(letter).collect();
    let name = syntax::generated_name(base, &tail);
    metadata.insert("name".into(), name.into());
}

/// Puts the namespace of the path into an object that has none; 400 when it has another.
pub(super) fn place(call: &Call, object: &mut Value) -> Result<(), ApiError> {
    if !call.kind().namespaced {
        return Ok(());
    }
    let namespace = call.namespace();
    match object.pointer("/metadata/namespace").and_then(Value::as_str) {
        None | Some("") => set(object, "namespace", namespace.into()),
        Some(said) if said == namespace => {}
        Some(_) => {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    }
    Ok(())
}

/// Makes a decoded object a new one.
pub(super) fn begin(kind: &Kind, object: &mut Value) {
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "generation", "resourceVersion"] {
        unset(object, field);
    }
    set(object, "uid", Uuid::new_v4().to_string().into());
    set(object, "creationTimestamp", now());
    if kind.custom {
        set(object, "generation", json!(1));
    }
    if kind.rows == Rows::Namespace {
        object["spec"] = json!({ "finalizers": ["kubernetes"] });
        object["status"] = json!({ "phase": "Active" });
    } else if kind.status {
        // The status belongs to the controller; what the definition says by default stays.
        replace(object, "status", None);
        kind.schema.default(object);
    }
}

/// Makes a decoded object the next state of `old`: what a request cannot change is as it was.
pub(super) fn continue_from(kind: &Kind, new: &mut Value, old: &Value, only_status: bool) {
    if only_status {
        let status = new.get("status").cloned();
        new.clone_from(old);
        replace(new, "status", status);
        kind.schema.default(new);
        return;
    }
    for field in ["name", "namespace", "uid", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        if new["metadata"].get(field).is_none()
            && let Some(value) = old["metadata"].get(field)
        {
            set(new, field, value.clone());
        }
    }
    for field in ["resourceVersion", "generation", "creationTimestamp"] {
        match old["metadata"].get(field) {
            Some(value) => set(new, field, value.clone()),
            None => unset(new, field),
        }
    }
    if kind.status {
        replace(new, "status", old.get("status").cloned());
    }
    if kind.rows == Rows::Namespace {
        replace(new, "spec", old.get("spec").cloned());
    }
    if kind.custom && intent(kind, new) != intent(kind, old) {
        next_generation(new);
    }
}

/// Marks an object as being deleted; whether it was not before.
pub(super) fn mark_deleted(kind: &Kind, object: &mut Value) -> bool {
    if is_deleting(object) {
        return false;
    }
    set(object, "deletionTimestamp", now());
    set(object, "deletionGracePeriodSeconds", json!(0));
    if kind.custom {
        next_generation(object);
    }
    true
}

/// Whether an object is being deleted.
pub(super) fn is_deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

/// Whether somebody has to clean up before an object can go.
pub(super) fn has_finalizers(object: &Value) -> bool {
    object.pointer("/metadata/finalizers").and_then(Value::as_array).is_some_and(|list| !list.is_empty())
}

/// The part whose changes count as a new generation.
fn intent<'a>(kind: &Kind, object: &'a Value) -> BTreeMap<&'a str, &'a Value> {
    let fields = object.as_object().into_iter().flatten();
    let counts = |name: &str| name != "metadata" && !(kind.status && name == "status");
    fields.filter(|(name, _)| counts(name)).map(|(name, value)| (name.as_str(), value)).collect()
}

fn next_generation(object: &mut Value) {
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
    set(object, "generation", json!(generation.saturating_add(1)));
}

fn now() -> Value {
    let now = Timestamp::now().round(Unit::Second).unwrap_or_default();
    Value::String(now.to_string())
}

fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert(field.to_owned(), value);
    }
}

fn unset(object: &mut Value, field: &str) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove(field);
    }
}

fn replace(object: &mut Value, field: &str, value: Option<Value>) {
    let Some(fields) = object.as_object_mut() else { return };
    match value {
        Some(value) => fields.insert(field.to_owned(), value),
        None => fields.remove(field),
    };
}
