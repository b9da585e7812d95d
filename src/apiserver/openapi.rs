//! `OpenAPI`: what kubectl needs to explain, to validate before it applies, and to know which patches are taken.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::kind::{Face, Kind, Kinds};
use crate::patch;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// `GET /openapi/v3`: where the documents are, with a hash of each, by which clients cache them.
pub fn index(kinds: &Kinds, face: Face) -> Value {
    let mut paths = Map::new();
    for kind in kinds.seen_by(face) {
        let name = place(kind);
        if paths.contains_key(&name) {
            continue;
        }
        if let Some(document) = document(kinds, face, &kind.group, &kind.version) {
            let hash = hex::encode_upper(Sha256::digest(document.to_string().as_bytes()));
            let url = format!("/openapi/v3/{name}?hash={hash}");
            paths.insert(name, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

/// `GET /openapi/v3/apis/{group}/{version}`, or `/openapi/v3/api/v1` for the empty group.
pub fn document(kinds: &Kinds, face: Face, group: &str, version: &str) -> Option<Value> {
    let wanted = |kind: &&std::sync::Arc<Kind>| kind.group == group && kind.version == version;
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for kind in kinds.seen_by(face).filter(wanted) {
        add_paths(kind, &mut paths);
        schemas.insert(definition(kind), schema(kind));
        schemas.insert(format!("{}List", definition(kind)), list_schema(kind));
    }
    if paths.is_empty() {
        return None;
    }
    schemas.insert(OBJECT_META.to_owned(), object_meta());
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": "Tagwarden", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {"schemas": schemas},
    }))
}

/// `GET /openapi/v2`: the content type and the body of an empty document. kubectl asks for it after it found no kind
/// in v3, and with 404 would speak of validation instead of the kind that does not exist. The body is `swagger:
/// "2.0"` with an `info`, in protobuf, the only form that is asked for; the content type is the old spelling of it,
/// because kubectl cannot read the one that it sends.
pub fn v2() -> (&'static str, &'static [u8]) {
    let content_type = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    (content_type, b"\x0a\x032.0\x12\x06\x0a\x01t\x12\x011")
}

/// `apis/tagwarden.io/v1alpha1`, or `api/v1`.
fn place(kind: &Kind) -> String {
    let prefix = if kind.group.is_empty() { "api" } else { "apis" };
    format!("{prefix}/{}", kind.api_version())
}

/// The name of a schema: the group backwards, version, kind.
fn definition(kind: &Kind) -> String {
    if kind.custom {
        let backwards: Vec<&str> = kind.group.split('.').rev().collect();
        return format!("{}.{}.{}", backwards.join("."), kind.version, kind.kind);
    }
    let group = kind.group.split('.').next().filter(|group| !group.is_empty()).unwrap_or("core");
    format!("io.k8s.api.{group}.{}.{}", kind.version, kind.kind)
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn identity(kind: &Kind, name: &str) -> Value {
    json!({"group": kind.group, "kind": name, "version": kind.version})
}

fn schema(kind: &Kind) -> Value {
    let mut schema = serde_json::to_value(kind.schema.props()).unwrap_or_else(|_| json!({"type": "object"}));
    add_common(&mut schema, OBJECT_META, "The name, the labels and what else every object has.");
    schema["x-kubernetes-group-version-kind"] = json!([identity(kind, &kind.kind)]);
    schema
}

fn list_schema(kind: &Kind) -> Value {
    let mut schema = json!({
        "type": "object", "required": ["items"],
        "description": format!("A list of {}.", kind.kind),
        "properties": {
            "items": {"type": "array", "items": reference(&definition(kind))},
            "metadata": {"type": "object", "description": "The version of the list."},
        },
        "x-kubernetes-group-version-kind": [identity(kind, &kind.list_kind)],
    });
    add_type(&mut schema);
    schema
}

fn add_common(schema: &mut Value, meta: &str, description: &str) {
    add_type(schema);
    schema["properties"]["metadata"] =
        json!({"allOf": [reference(meta)], "default": {}, "description": description});
}

fn add_type(schema: &mut Value) {
    let text = |description: &str| json!({"type": "string", "description": description});
    schema["properties"]["apiVersion"] = text("The group and the version, like `tagwarden.io/v1alpha1`.");
    schema["properties"]["kind"] = text("The kind of object.");
}

fn object_meta() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let number =
        |description: &str| json!({"type": "integer", "format": "int64", "description": description});
    let time =
        |description: &str| json!({"type": "string", "format": "date-time", "description": description});
    let texts = |description: &str| json!({"type": "object", "additionalProperties": {"type": "string"}, "description": description});
    let owner = json!({
        "type": "object", "required": ["apiVersion", "kind", "name", "uid"],
        "properties": {
            "apiVersion": text("The owner's version."), "kind": text("The owner's kind."),
            "name": text("The owner's name."), "uid": text("The owner's uid."),
            "controller": {"type": "boolean", "description": "Whether the owner manages this object."},
            "blockOwnerDeletion": {"type": "boolean", "description": "Kept, and without effect here."},
        },
    });
    json!({
        "type": "object",
        "description": "What every object has.",
        "properties": {
            "name": text("The name, unique within the namespace and the kind. Cannot be changed."),
            "generateName": text("The beginning of a name that the server completes, when there is no name."),
            "namespace": text("The namespace. Cannot be changed."),
            "labels": texts("Keys and values to select objects by."),
            "annotations": texts("Keys and values for tools, up to 256 KiB together."),
            "finalizers": {
                "type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set",
                "description": "Who has to let go before a deleted object is gone.",
            },
            "ownerReferences": {
                "type": "array", "items": owner, "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["uid"],
                "description": "The objects without which this one is removed.",
            },
            "uid": text("The identity of this object in time. Set by the server."),
            "resourceVersion": text("The version of the object. Set by the server."),
            "generation": number("Counts the changes of the wanted state. Set by the server."),
            "creationTimestamp": time("When it was created. Set by the server."),
            "deletionTimestamp": time("When its deletion was asked for. Set by the server."),
            "deletionGracePeriodSeconds": number("How long the deletion may take. Set by the server."),
        },
    })
}

fn add_paths(kind: &Kind, paths: &mut Map<String, Value>) {
    let all = format!("/{}/{}", place(kind), kind.plural);
    let collection = if kind.namespaced {
        paths.insert(all, json!({"get": operation(kind, "list", &kind.list_kind)}));
        format!("/{}/namespaces/{{namespace}}/{}", place(kind), kind.plural)
    } else {
        all
    };
    let item = format!("{collection}/{{name}}");
    let parameters = path_parameters(kind);
    paths.insert(
        collection,
        json!({
            "parameters": parameters(false),
            "get": operation(kind, "list", &kind.list_kind), "post": operation(kind, "post", &kind.kind),
        }),
    );
    if kind.status {
        paths.insert(
            format!("{item}/status"),
            json!({
                "parameters": parameters(true),
                "get": operation(kind, "get", &kind.kind), "put": operation(kind, "put", &kind.kind),
                "patch": operation(kind, "patch", &kind.kind),
            }),
        );
    }
    paths.insert(
        item,
        json!({
            "parameters": parameters(true),
            "get": operation(kind, "get", &kind.kind), "put": operation(kind, "put", &kind.kind),
            "patch": operation(kind, "patch", &kind.kind), "delete": operation(kind, "delete", &kind.kind),
        }),
    );
}

fn path_parameters(kind: &Kind) -> impl Fn(bool) -> Value {
    let namespaced = kind.namespaced;
    move |named| {
        let names = [("namespace", namespaced), ("name", named)];
        let parameter =
            |name: &str| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}});
        names.into_iter().filter(|(_, there)| *there).map(|(name, _)| parameter(name)).collect()
    }
}

fn operation(kind: &Kind, action: &str, answer: &str) -> Value {
    let json_of = |name: &str| json!({"application/json": {"schema": reference(name)}});
    let name = definition(kind);
    let answered = if answer == kind.list_kind { format!("{name}List") } else { name.clone() };
    let mut operation = json!({
        "responses": {"200": {"description": "OK", "content": json_of(&answered)}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": identity(kind, &kind.kind),
    });
    if matches!(action, "post" | "put" | "patch") {
        let parameters = ["dryRun", "fieldManager", "fieldValidation"];
        let query = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string"}});
        operation["parameters"] = parameters.into_iter().map(query).collect();
    }
    if matches!(action, "post" | "put") {
        operation["requestBody"] = json!({"required": true, "content": json_of(&name)});
    } else if action == "patch" {
        let types = patch::content_types(kind).iter();
        let content: Map<String, Value> =
            types.map(|&media| (media.to_owned(), json!({"schema": {"type": "object"}}))).collect();
        operation["requestBody"] = json!({"required": true, "content": content});
    }
    operation
}

#[cfg(test)]
#[path = "openapi_tests.rs"]
mod tests;
