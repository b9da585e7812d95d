//! The kinds that a Kubernetes has by itself and that go with ours: what they look like.

use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde_json::{Map, Value, json};

use super::{Schema, SchemaError};
use crate::kind::{Kind, Limits, Rows};

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

#[allow(clippy::needless_pass_by_value)] // made for it on the spot
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
    object(
        "Event is a report of an event somewhere in the system.",
        json!({
            "regarding": reference(), "related": reference(),
            "reason": text(), "note": text(),
            "type": text(), "action": text(),
            "eventTime": time(),
            "series": object("How often it was.", json!({"count": whole(), "lastObservedTime": time()})),
            "reportingController": text(), "reportingInstance": text(),
            "deprecatedSource": object("Who reported it.", json!({"component": text(), "host": text()})),
            "deprecatedFirstTimestamp": time(), "deprecatedLastTimestamp": time(), "deprecatedCount": whole(),
        }),
    )
}

fn lease() -> Value {
    object(
        "Lease defines a lease concept.",
        json!({"spec": object("Who holds it and until when.", json!({
            "holderIdentity": text(), "leaseDurationSeconds": whole(), "leaseTransitions": whole(),
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
