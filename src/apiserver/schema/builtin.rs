//! The kinds that a Kubernetes has by itself and that go with ours: what they look like, and the few rules of theirs
//! that no schema can tell.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde_json::{Map, Value, json};

use super::{Schema, SchemaError};
use crate::kind::{Kind, Limits, Rows};
use crate::status::{ApiError, Cause};

/// The most that the data of a `ConfigMap` or a Secret may weigh, in bytes.
const MAX_DATA: u64 = 1 << 20;

/// The built-in kinds.
pub(crate) fn kinds() -> Vec<Result<Kind, SchemaError>> {
    let event = ["reason", "type"];
    let core = [
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reportingComponent",
        "source",
    ];
    let new = [
        "regarding.kind",
        "regarding.namespace",
        "regarding.name",
        "regarding.uid",
        "regarding.apiVersion",
        "regarding.resourceVersion",
        "regarding.fieldPath",
        "reportingController",
    ];
    let both = |more: &[&'static str]| [more, &event[..]].concat();
    vec![
        kind(&Facts {
            names: ["", "v1", "Namespace", "namespaces", "ns"],
            rows: Rows::Namespace,
            selectable: vec!["status.phase"],
            schema: namespace(),
            limits: Limits { objects: 1_000, bytes: 64 << 10 },
        }),
        kind(&Facts {
            names: ["", "v1", "Event", "events", "ev"],
            rows: Rows::Event,
            selectable: both(&core),
            schema: core_event(),
            limits: Limits { objects: 50_000, bytes: 64 << 10 },
        }),
        kind(&Facts {
            names: ["events.k8s.io", "v1", "Event", "events", "ev"],
            rows: Rows::Event,
            selectable: both(&new),
            schema: event_v1(),
            limits: Limits { objects: 50_000, bytes: 64 << 10 },
        }),
        kind(&Facts {
            names: ["coordination.k8s.io", "v1", "Lease", "leases", ""],
            rows: Rows::Lease,
            selectable: Vec::new(),
            schema: lease(),
            limits: Limits { objects: 1_000, bytes: 64 << 10 },
        }),
        kind(&Facts {
            names: ["", "v1", "ConfigMap", "configmaps", "cm"],
            rows: Rows::ConfigMap,
            selectable: Vec::new(),
            schema: config_map(),
            limits: Limits { objects: 10_000, bytes: 3 << 19 },
        }),
        kind(&Facts {
            names: ["", "v1", "Secret", "secrets", ""],
            rows: Rows::Secret,
            selectable: vec!["type"],
            schema: secret(),
            limits: Limits { objects: 10_000, bytes: 3 << 19 },
        }),
    ]
}

struct Facts {
    /// Group, version, kind, plural, short name (or none).
    names: [&'static str; 5],
    rows: Rows,
    selectable: Vec<&'static str>,
    schema: Value,
    limits: Limits,
}

fn kind(facts: &Facts) -> Result<Kind, SchemaError> {
    let [group, version, kind, plural, short] = facts.names;
    let props: JSONSchemaProps = serde_json::from_value(facts.schema.clone())
        .map_err(|error| SchemaError::Unsupported { path: kind.to_owned(), what: error.to_string() })?;
    Ok(Kind {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        list_kind: format!("{kind}List"),
        plural: plural.to_owned(),
        singular: kind.to_lowercase(),
        short_names: if short.is_empty() { Vec::new() } else { vec![short.to_owned()] },
        categories: Vec::new(),
        namespaced: facts.rows != Rows::Namespace,
        status: facts.rows == Rows::Namespace,
        custom: false,
        in_process_only: facts.rows == Rows::Secret,
        rows: facts.rows,
        columns: Vec::new(),
        selectable: facts.selectable.iter().map(|&field| field.to_owned()).collect(),
        schema: Arc::new(Schema::compile(&props)?),
        limits: facts.limits,
    })
}

fn object(description: &str, properties: Value) -> Value {
    json!({"type": "object", "description": description, "properties": properties})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn time() -> Value {
    json!({"type": "string", "format": "date-time", "nullable": true})
}

fn whole() -> Value {
    json!({"type": "integer", "format": "int32"})
}

fn namespace() -> Value {
    let names = json!({"type": "array", "items": text()});
    object(
        "Namespace provides a scope for names.",
        json!({
            "spec": object("What the namespace is held by.", json!({"finalizers": names})),
            "status": {
                "type": "object", "description": "Whether it is there or going away.", "default": {"phase": "Active"},
                "properties": {"phase": text(), "conditions": {
                    "type": "array",
                    "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                }},
            },
        }),
    )
}

fn reference() -> Value {
    let fields = ["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"];
    let fields: Map<String, Value> = fields.iter().map(|&field| (field.to_owned(), text())).collect();
    object("The object that it is about.", Value::Object(fields))
}

fn core_event() -> Value {
    let mut event = object(
        "Event is a report of an event somewhere in the system.",
        json!({
            "involvedObject": reference(), "related": reference(),
            "reason": text(), "message": text(), "type": text(), "action": text(),
            "source": object("Who reported it.", json!({"component": text(), "host": text()})),
            "firstTimestamp": time(), "lastTimestamp": time(), "eventTime": time(), "count": whole(),
            "series": object("How often it was.", json!({"count": whole(), "lastObservedTime": time()})),
            "reportingComponent": text(), "reportingInstance": text(),
        }),
    );
    event["required"] = json!(["involvedObject"]);
    event
}

fn event_v1() -> Value {
    let short = || json!({"type": "string", "maxLength": 128});
    let mut event = object(
        "Event is a report of an event somewhere in the system.",
        json!({
            "regarding": reference(), "related": reference(),
            "reason": short(), "note": {"type": "string", "maxLength": 1024},
            "type": {"type": "string", "enum": ["Normal", "Warning"]}, "action": short(),
            "eventTime": time(),
            "series": object("How often it was.", json!({"count": whole(), "lastObservedTime": time()})),
            "reportingController": text(), "reportingInstance": short(),
            "deprecatedSource": object("Who reported it.", json!({"component": text(), "host": text()})),
            "deprecatedFirstTimestamp": time(), "deprecatedLastTimestamp": time(), "deprecatedCount": whole(),
        }),
    );
    event["required"] = json!(["eventTime"]);
    event
}

fn lease() -> Value {
    let positive = json!({"type": "integer", "format": "int32", "minimum": 1});
    let counted = json!({"type": "integer", "format": "int32", "minimum": 0});
    object(
        "Lease defines a lease concept.",
        json!({"spec": object("Who holds it and until when.", json!({
            "holderIdentity": text(), "leaseDurationSeconds": positive, "leaseTransitions": counted,
            "acquireTime": time(), "renewTime": time(), "strategy": text(), "preferredHolder": text(),
        }))}),
    )
}

fn config_map() -> Value {
    let texts = json!({"type": "object", "additionalProperties": text()});
    let bytes = json!({"type": "object", "additionalProperties": {"type": "string", "format": "byte"}});
    object(
        "ConfigMap holds configuration data.",
        json!({"data": texts, "binaryData": bytes, "immutable": {"type": "boolean"}}),
    )
}

fn secret() -> Value {
    let bytes = json!({"type": "object", "additionalProperties": {"type": "string", "format": "byte"}});
    object(
        "Secret holds secret data.",
        json!({
            "data": bytes, "immutable": {"type": "boolean"},
            "type": {"type": "string", "default": "Opaque"},
        }),
    )
}

/// What is done to a built-in object before its shape is looked at: texts of a Secret become its data, a namespace
/// gets the label of its name.
pub(crate) fn prepare(kind: &Kind, object: &mut Value) -> Result<(), ApiError> {
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

fn encode_texts(object: &mut Value) -> Result<(), ApiError> {
    let Some(texts) = object.as_object_mut().and_then(|fields| fields.remove("stringData")) else {
        return Ok(());
    };
    let refused = || ApiError::bad_request("stringData has to be an object of texts");
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
        Rows::Event => event(kind, new),
        Rows::Columns | Rows::Namespace | Rows::Lease => Vec::new(),
    }
}

/// Keys, sizes and immutability of `ConfigMap`s and Secrets. No value is ever quoted.
fn data(new: &Value, old: Option<&Value>, fields: &[&str]) -> Vec<Cause> {
    let (mut causes, mut size, mut keys) = (Vec::new(), 0_u64, BTreeSet::new());
    for &field in fields {
        for (key, value) in new.get(field).and_then(Value::as_object).into_iter().flatten() {
            let path = format!("{field}[{key}]");
            if let Some(why) = crate::syntax::data_key(key) {
                causes.push(Cause::invalid(path.clone(), &json!(key), why));
            }
            if !keys.insert(key) {
                causes.push(Cause::invalid(path, &json!(key), "duplicate of key present in data"));
            }
            size += value.as_str().map_or(0, |text| text.len() as u64);
        }
    }
    if size > MAX_DATA {
        causes.push(Cause::too_long("", MAX_DATA));
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

/// An event lives where its object does; about objects without a namespace, in `default` or anywhere.
fn event(kind: &Kind, new: &Value) -> Vec<Cause> {
    let field = if kind.group.is_empty() { "involvedObject" } else { "regarding" };
    let text = |pointer: &str| new.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (about, own) = (text(&format!("/{field}/namespace")), text("/metadata/namespace"));
    if about == own || (about.is_empty() && own == "default") {
        return Vec::new();
    }
    let detail = "does not match event.namespace";
    vec![Cause::invalid(format!("{field}.namespace"), &json!(about), detail)]
}
