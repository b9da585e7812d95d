//! Patches: JSON merge patch and JSON patch for all kinds, strategic merge for the built-in ones, and why the others
//! are refused.

use json_patch::jsonptr::Pointer;
use json_patch::{PatchOperation, patch_unsafe};
use serde_json::{Map, Value, json};

use crate::kind::Kind;
use crate::status::ApiError;

/// How many operations a JSON patch may have.
const MAX_OPERATIONS: usize = 10_000;

/// How many bytes all copies of a JSON patch may make together: without it, thirty copies of an object into itself
/// fill any memory.
const MAX_COPIED: usize = 3 << 20;

/// How deep an object may nest afterwards. What is read from a request cannot be deeper; operations could.
const MAX_DEPTH: usize = 120;

/// A change to an object, read from a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// RFC 7386.
    Merge(Value),
    /// RFC 6902.
    Json(json_patch::Patch),
    /// Kubernetes' own, for built-in kinds: a merge patch with orders in it, and with lists that merge.
    Strategic(Value),
}

impl Patch {
    /// Reads a patch. 415 for types that are not served (server-side apply; strategic merge of our own kinds), 400
    /// for a body that is none, 413 for too many operations.
    pub fn parse(kind: &Kind, content_type: &str, body: &[u8]) -> Result<Self, ApiError> {
        let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match media.as_str() {
            "application/merge-patch+json" => object(body).map(Self::Merge),
            "application/json-patch+json" => operations(body).map(Self::Json),
            "application/strategic-merge-patch+json" if !kind.custom => object(body).map(Self::Strategic),
            "application/apply-patch+yaml" | "application/apply-patch+cbor" => {
                Err(ApiError::unsupported_media_type(format!(
                    "server-side apply is not served here: use `kubectl apply` without --server-side; {}",
                    accepted(kind)
                )))
            }
            _ => Err(ApiError::unsupported_media_type(format!(
                "the body of the request was in an unknown format - {}",
                accepted(kind)
            ))),
        }
    }

    /// The object as the patch would have it; 422 when an operation does not apply (or a `test` fails), or when the
    /// result would be too large or too deep.
    pub fn apply(&self, current: &Value) -> Result<Value, ApiError> {
        let mut object = current.clone();
        match self {
            Self::Merge(patch) => json_patch::merge(&mut object, patch),
            Self::Strategic(patch) => strategic(&mut object, patch, &mut Vec::new()),
            Self::Json(operations) => apply_all(&mut object, operations)?,
        }
        Ok(object)
    }
}

/// The content types of patches that a kind takes.
pub fn content_types(kind: &Kind) -> &'static [&'static str] {
    let all = &[
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    ];
    if kind.custom { &all[..2] } else { all }
}

fn accepted(kind: &Kind) -> String {
    format!("accepted media types include: {}", content_types(kind).join(", "))
}

fn object(body: &[u8]) -> Result<Value, ApiError> {
    match serde_json::from_slice::<Value>(body) {
        Ok(patch @ Value::Object(_)) => Ok(patch),
        Ok(_) => Err(ApiError::bad_request("error decoding patch: it has to be a JSON object")),
        Err(error) => Err(ApiError::bad_request(format!("error decoding patch: {error}"))),
    }
}

fn operations(body: &[u8]) -> Result<json_patch::Patch, ApiError> {
    let refused = |error: serde_json::Error| ApiError::bad_request(format!("error decoding patch: {error}"));
    let mut list: Vec<Value> = serde_json::from_slice(body).map_err(refused)?;
    if list.len() > MAX_OPERATIONS {
        let mut error = ApiError::too_large(MAX_OPERATIONS);
        error.message = format!(
            "Request entity too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            list.len()
        );
        return Err(error);
    }
    // A test for nothing may leave the value out.
    for operation in list.iter_mut().filter_map(Value::as_object_mut) {
        if operation.get("op").is_some_and(|op| op == "test") {
            operation.entry("value").or_insert(Value::Null);
        }
    }
    serde_json::from_value(Value::Array(list)).map_err(|error| rejected(&error))
}

fn rejected(why: &dyn std::fmt::Display) -> ApiError {
    ApiError::unprocessable(format!("the server rejected our request due to an error in our request: {why}"))
}

fn apply_all(object: &mut Value, operations: &[PatchOperation]) -> Result<(), ApiError> {
    let mut copied = 0;
    for operation in operations {
        if !allow(object, operation, &mut copied)? || put_missing(object, operation) {
            continue;
        }
        patch_unsafe(object, std::slice::from_ref(operation)).map_err(|error| {
            let path = crate::status::quote(&json!(operation.path().as_str()));
            rejected(&format!("{path}: {}", error.kind))
        })?;
    }
    Ok(())
}

/// Whether an operation is to be applied, after checking what it would cost.
fn allow(object: &Value, operation: &PatchOperation, copied: &mut usize) -> Result<bool, ApiError> {
    let at = |pointer: &Pointer| object.pointer(pointer.as_str());
    let deep = |path: &Pointer, value: &Value| {
        if path.count() + depth(value) <= MAX_DEPTH {
            return Ok(());
        }
        Err(ApiError::unprocessable(format!("the patched object would nest deeper than {MAX_DEPTH}")))
    };
    match operation {
        PatchOperation::Add(add) => deep(&add.path, &add.value)?,
        PatchOperation::Replace(replace) => deep(&replace.path, &replace.value)?,
        PatchOperation::Move(moved) => {
            if let Some(value) = at(&moved.from) {
                deep(&moved.path, value)?;
            }
        }
        PatchOperation::Copy(copy) => {
            if let Some(value) = at(&copy.from) {
                deep(&copy.path, value)?;
                *copied += value.to_string().len();
                if *copied > MAX_COPIED {
                    return Err(ApiError::unprocessable(format!(
                        "Unable to complete the copy, the accumulated size increase of copy is over {MAX_COPIED} bytes"
                    )));
                }
            }
        }
        // A client that tests for "not there" sends null, and Kubernetes agrees; RFC 6902 does not.
        PatchOperation::Test(test) => return Ok(!(test.value.is_null() && at(&test.path).is_none())),
        PatchOperation::Remove(_) => {}
    }
    Ok(true)
}

/// Kubernetes replaces a field that is not there, where RFC 6902 would refuse; whether that was done.
fn put_missing(object: &mut Value, operation: &PatchOperation) -> bool {
    let PatchOperation::Replace(replace) = operation else { return false };
    let Some((parent, last)) = replace.path.split_back() else { return false };
    match object.pointer_mut(parent.as_str()) {
        Some(Value::Object(fields)) => {
            fields.insert(last.decoded().into_owned(), replace.value.clone());
            true
        }
        _ => false,
    }
}

/// How deep a value nests. Values here are never deeper than what the JSON reader or [`MAX_DEPTH`] lets through.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(entries) => 1 + entries.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList/";

/// A strategic merge. Of the lists in built-in kinds only those of the metadata merge: finalizers by value, owners
/// by uid.
fn strategic(object: &mut Value, wanted: &Value, place: &mut Vec<String>) {
    let Value::Object(patch) = wanted else {
        *object = wanted.clone();
        return;
    };
    match patch.get("$patch").and_then(Value::as_str) {
        Some("delete") => {
            *object = json!({});
            return;
        }
        Some("replace") => {
            *object = Value::Object(plain(patch));
            return;
        }
        _ => {}
    }
    if !object.is_object() {
        *object = json!({});
    }
    let Value::Object(fields) = object else { return };
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix(DELETE_FROM_LIST) {
            remove_entries(fields, list, value);
        } else if name.starts_with('$') {
            // The order of lists, and which fields to keep: nothing that these kinds need.
        } else if value.is_null() {
            fields.remove(name);
        } else {
            place.push(name.clone());
            let field = fields.entry(name.clone()).or_insert(Value::Null);
            match (place.join(".").as_str(), value) {
                ("metadata.finalizers", Value::Array(added)) => union(field, added),
                ("metadata.ownerReferences", Value::Array(added)) => merge_owners(field, added),
                _ => strategic(field, value, place),
            }
            place.pop();
        }
    }
}

fn plain(patch: &Map<String, Value>) -> Map<String, Value> {
    let kept = patch.iter().filter(|(name, value)| !name.starts_with('$') && !value.is_null());
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn remove_entries(fields: &mut Map<String, Value>, list: &str, gone: &Value) {
    let gone = gone.as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(Value::Array(entries)) = fields.get_mut(list) {
        entries.retain(|entry| !gone.contains(entry));
    }
}

fn entries(list: &mut Value) -> Option<&mut Vec<Value>> {
    if !list.is_array() {
        *list = json!([]);
    }
    list.as_array_mut()
}

fn union(list: &mut Value, added: &[Value]) {
    let Some(entries) = entries(list) else { return };
    for entry in added {
        if !entries.contains(entry) {
            entries.push(entry.clone());
        }
    }
}

fn merge_owners(list: &mut Value, added: &[Value]) {
    let Some(entries) = entries(list) else { return };
    for owner in added {
        let same = |other: &Value| other.get("uid").is_some() && other.get("uid") == owner.get("uid");
        let known = entries.iter().position(same);
        match (known, owner.get("$patch").and_then(Value::as_str)) {
            (Some(at), Some("delete")) => {
                entries.remove(at);
            }
            (None, Some("delete")) => {}
            (Some(at), _) => json_patch::merge(&mut entries[at], owner),
            (None, _) => entries.push(owner.clone()),
        }
    }
}

#[cfg(test)]
#[path = "patch_tests.rs"]
mod tests;
