//! The rules of built-in kinds that no schema can tell: what is done to an object on its way in, and what is wrong
//! with it.

use std::collections::BTreeSet;

use k8s_openapi::ByteString;
use k8s_openapi::api::{coordination, core, events};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::kind::{Kind, Rows};
use crate::status::Cause;
use crate::syntax;

/// The most that the data of a `ConfigMap` or a Secret may weigh, in bytes.
const MAX_DATA: u64 = 1 << 20;

/// The most characters of an event's words, and of its text.
const MAX_WORD: usize = 128;
const MAX_NOTE: usize = 1024;

/// Why a built-in object cannot be read: its fields have types, and what has another is no object of this kind.
pub(crate) fn check_types(kind: &Kind, object: &Value) -> Result<(), String> {
    fn reads<T: DeserializeOwned>(object: &Value) -> Result<(), String> {
        serde_json::from_value::<T>(object.clone()).map(drop).map_err(|error| error.to_string())
    }
    match kind.rows {
        Rows::Columns => Ok(()),
        Rows::Namespace => reads::<core::v1::Namespace>(object),
        Rows::Event if kind.group.is_empty() => reads::<core::v1::Event>(object),
        Rows::Event => reads::<events::v1::Event>(object),
        Rows::Lease => reads::<coordination::v1::Lease>(object),
        Rows::ConfigMap => reads::<core::v1::ConfigMap>(object),
        // What is in a Secret is never quoted, nor is what kind of mistake it has.
        Rows::Secret => reads::<core::v1::Secret>(object).map_err(|_| "a field has a wrong type".to_owned()),
    }
}

/// What is done to a built-in object before its shape is looked at: texts of a Secret become its data, a namespace
/// gets the label of its name.
pub(crate) fn prepare(kind: &Kind, object: &mut Value) -> Result<(), String> {
    match kind.rows {
        Rows::Secret => encode_texts(object),
        Rows::Namespace => {
            let name = object.pointer("/metadata/name").and_then(Value::as_str).map(str::to_owned);
            if let (Some(name), Some(metadata)) = (name, object.pointer_mut("/metadata")) {
                metadata["labels"]["kubernetes.io/metadata.name"] = json!(name);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn encode_texts(object: &mut Value) -> Result<(), String> {
    let Some(texts) = object.as_object_mut().and_then(|fields| fields.remove("stringData")) else {
        return Ok(());
    };
    let refused = || "stringData has to be an object of texts".to_owned();
    let texts: Map<String, Value> = match texts {
        Value::Null => return Ok(()),
        Value::Object(texts) => texts,
        _ => return Err(refused()),
    };
    let data = object.as_object_mut().ok_or_else(refused)?.entry("data").or_insert_with(|| json!({}));
    if data.is_null() {
        *data = json!({});
    }
    let data = data.as_object_mut().ok_or_else(refused)?;
    for (key, text) in texts {
        let text = text.as_str().ok_or_else(refused)?;
        let encoded = serde_json::to_value(ByteString(text.as_bytes().to_vec()));
        data.insert(key, encoded.map_err(|_| refused())?);
    }
    Ok(())
}

/// The rules of built-in kinds that no schema can tell.
pub(crate) fn validate(kind: &Kind, new: &Value, old: Option<&Value>) -> Vec<Cause> {
    match kind.rows {
        Rows::ConfigMap => data(new, old, &["data", "binaryData"]),
        Rows::Secret => {
            let mut causes = data(new, old, &["data"]);
            if let Some(old) = old
                && old.get("type") != new.get("type")
            {
                causes.push(Cause::invalid(
                    "type",
                    new.get("type").unwrap_or(&Value::Null),
                    "field is immutable",
                ));
            }
            causes
        }
        Rows::Event => event(kind, new, old.is_none()),
        Rows::Lease => lease(new),
        Rows::Columns | Rows::Namespace => Vec::new(),
    }
}

/// Keys, sizes and immutability of `ConfigMap`s and Secrets. No value is ever quoted.
fn data(new: &Value, old: Option<&Value>, fields: &[&str]) -> Vec<Cause> {
    let (mut causes, mut size, mut keys) = (Vec::new(), 0_u64, BTreeSet::new());
    for &field in fields {
        for (key, value) in new.get(field).and_then(Value::as_object).into_iter().flatten() {
            let path = format!("{field}[{key}]");
            if let Some(why) = syntax::data_key(key) {
                causes.push(Cause::invalid(path, &json!(key), why));
            }
            if !keys.insert(key) {
                let path = format!("data[{key}]");
                causes.push(Cause::invalid(path, &json!(key), "duplicate of key present in binaryData"));
            }
            size += value.as_str().map_or(0, |text| text.len() as u64);
        }
    }
    if size > MAX_DATA {
        causes.push(Cause::too_long("[]", MAX_DATA));
    }
    let Some(old) = old.filter(|old| old.get("immutable") == Some(&json!(true))) else { return causes };
    if new.get("immutable") != Some(&json!(true)) {
        causes.push(Cause::forbidden("immutable", "field is immutable when `immutable` is set"));
    }
    for field in fields.iter().filter(|&&field| old.get(field) != new.get(field)) {
        causes.push(Cause::forbidden(*field, "field is immutable when `immutable` is set"));
    }
    causes
}

fn lease(new: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut least = |field: &str, least: i64, why: &str| {
        let found = &new["spec"][field];
        if found.as_i64().is_some_and(|found| found < least) {
            causes.push(Cause::invalid(format!("spec.{field}"), found, why));
        }
    };
    least("leaseDurationSeconds", 1, "must be greater than 0");
    least("leaseTransitions", 0, "must be greater than or equal to 0");
    causes
}

/// Events that say when they happened are held to stricter rules than those of old; and more so when they are
/// created as `events.k8s.io`.
fn event(kind: &Kind, new: &Value, create: bool) -> Vec<Cause> {
    let timed = new.get("eventTime").is_some_and(|time| !time.is_null());
    let mut causes = if timed { timed_event(kind, new) } else { old_event(kind, new) };
    if kind.group.is_empty() || !create {
        return causes;
    }
    if !timed {
        causes.push(Cause::required("eventTime", ""));
    }
    let type_ = new.get("type").and_then(Value::as_str).unwrap_or_default();
    if !matches!(type_, "Normal" | "Warning") {
        causes.push(Cause::invalid("type", &json!(""), format!("has invalid value: {type_}")));
    }
    for (field, told) in [
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("deprecatedSource", "source"),
    ] {
        let unset = [Value::Null, json!(0), json!({})];
        if new.get(field).is_some_and(|value| !unset.contains(value)) {
            causes.push(Cause::invalid(told, &json!(""), "needs to be unset"));
        }
    }
    causes
}

fn about_and_own<'a>(kind: &Kind, new: &'a Value) -> (&'a str, &'a str) {
    let about = if kind.group.is_empty() { "/involvedObject/namespace" } else { "/regarding/namespace" };
    let text = |pointer: &str| new.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    (text(about), text("/metadata/namespace"))
}

fn mismatch(about: &str) -> Cause {
    Cause::invalid("involvedObject.namespace", &json!(about), "does not match event.namespace")
}

/// An event lives where its object does; about objects without a namespace, in `default`.
fn old_event(kind: &Kind, new: &Value) -> Vec<Cause> {
    let (about, own) = about_and_own(kind, new);
    if about == own || (about.is_empty() && own == "default") { Vec::new() } else { vec![mismatch(about)] }
}

fn timed_event(kind: &Kind, new: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (about, own) = about_and_own(kind, new);
    if about.is_empty() && !matches!(own, "default" | "kube-system") {
        causes.push(mismatch(about));
    }
    let text = |field: &str| new.get(field).and_then(Value::as_str).unwrap_or_default();
    let (controller, note) = if kind.group.is_empty() {
        ("reportingComponent", "message")
    } else {
        ("reportingController", "note")
    };
    let faults = syntax::qualified_name(text(controller));
    if text(controller).is_empty() {
        causes.push(Cause::required(controller, ""));
    }
    causes.extend(faults.into_iter().map(|why| Cause::invalid(controller, &json!(text(controller)), why)));
    let mut at_most = |field: &str, told: &str, most: usize| {
        if text(field).len() > most {
            causes.push(Cause::invalid(told, &json!(""), format!("can have at most {most} characters")));
        } else if text(field).is_empty() && field != note {
            causes.push(Cause::required(told, ""));
        }
    };
    at_most("reportingInstance", "reportingInstance", MAX_WORD);
    at_most("action", "action", MAX_WORD);
    at_most("reason", "reason", MAX_WORD);
    at_most(note, "message", MAX_NOTE);
    causes
}
