//! The description of everything that is served, as `OpenAPI` 3.1: from the same rows and types that serve it.

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::operation::{Operation, TEXT};
use crate::fault::ErrorBody;
use crate::health::Health;

const ABOUT: &str = "What people and scripts ask of Tagwarden: policies, accounts, audits, runs, what they found, and \
     how it developed. Everything belongs to the tenant of the key. An error has a code, says what happened and what to \
     do next.";

/// What can go wrong with every call, by status.
const FAULTS: &[(&str, &str)] = &[
    ("400", "What was sent makes no sense."),
    ("401", "No valid key was shown."),
    ("403", "The key lacks a scope, or the request comes under a name or from a page that is not known."),
    ("404", "There is no such thing for this tenant."),
    ("408", "The body did not arrive in time."),
    ("409", "It cannot be done in the state that things are in."),
    ("413", "The body is too large."),
    ("414", "The path with its query is too long."),
    ("429", "Too much in too short a time."),
    ("431", "The headers are too large."),
    ("500", "A mistake of the server."),
    ("503", "Something that is needed does not work now."),
    ("504", "The answer took too long."),
];

/// The document, as it is served and kept.
pub(super) fn of(operations: &[Operation]) -> String {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for operation in operations {
        let item = paths.entry(operation.path).or_insert_with(|| json!({}));
        item[operation.verb.as_str()] = describe(operation, &mut schemas);
    }
    paths.insert("/health".to_owned(), json!({"get": health(&mut schemas)}));
    schemas.sent.subschema_for::<ErrorBody>();
    let schemas = schemas.definitions();
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tagwarden",
            "version": "v1",
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {
                "type": "http", "scheme": "bearer",
                "description": "An API key, as `tagwarden keys create` makes it.",
            }},
        },
    });
    let mut text = serde_json::to_string_pretty(&sorted(document)).unwrap_or_default();
    text.push('\n');
    text
}

/// The types that are taken and those that are sent: what may be left out differs.
struct Schemas {
    taken: SchemaGenerator,
    sent: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = || {
            // OpenAPI 3.1 takes JSON Schema as it is.
            let mut settings = SchemaSettings::draft2020_12();
            settings.meta_schema = None;
            settings.definitions_path = "/components/schemas".into();
            settings
        };
        Self {
            taken: settings().for_deserialize().into_generator(),
            sent: settings().for_serialize().into_generator(),
        }
    }

    fn definitions(mut self) -> Map<String, Value> {
        self.taken.take_definitions(true).into_iter().chain(self.sent.take_definitions(true)).collect()
    }
}

fn describe(operation: &Operation, schemas: &mut Schemas) -> Value {
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "description": format!("Needs the scope `{}`.", operation.scope),
        "security": [{"key": []}],
    });
    let mut parameters = in_path(operation.path);
    if let Some(query) = operation.query {
        parameters.extend(in_query(&query(&mut schemas.taken), &mut schemas.taken));
    }
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    if let Some(body) = operation.body {
        let schema = body(&mut schemas.taken);
        described["requestBody"] =
            json!({"required": true, "content": {"application/json": {"schema": schema}}});
    }
    let mut responses = Map::new();
    if let Some((status, schema)) = operation.answer {
        let mut content = Map::new();
        content.insert("application/json".to_owned(), json!({"schema": schema(&mut schemas.sent)}));
        for format in operation.formats {
            content.insert((*format).to_owned(), json!({"schema": {"type": "string"}}));
        }
        responses.insert(status.to_string(), json!({"description": "The answer.", "content": content}));
        if operation.verb.as_str() == "put" {
            let created = json!({"description": "It was created.", "content": responses[&status.to_string()]["content"]});
            responses.insert("201".to_owned(), created);
        }
    }
    for (status, about) in FAULTS {
        responses.insert((*status).to_owned(), fault(about));
    }
    described["responses"] = responses.into();
    described
}

fn health(schemas: &mut Schemas) -> Value {
    let schema = schemas.sent.subschema_for::<Health>();
    json!({
        "operationId": "getHealth",
        "summary": "How the server is doing. Answers at once, from what is known already, and needs no key.",
        "security": [],
        "responses": {
            "200": {"description": "The answer.", "content": {"application/json": {"schema": schema}}},
            "400": fault(FAULTS[0].1),
            "403": fault(FAULTS[2].1),
        },
    })
}

fn fault(about: &str) -> Value {
    let schema = json!({"$ref": "#/components/schemas/Error"});
    json!({"description": about, "content": {"application/json": {"schema": schema}}})
}

fn in_path(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names
        .map(|name| {
            json!({
                "name": name, "in": "path", "required": true,
                "schema": {"type": "string", "minLength": 1, "maxLength": 1024, "pattern": TEXT},
            })
        })
        .collect()
}

/// The fields of a query as parameters. The type itself is nobody's answer, so it leaves the document.
fn in_query(reference: &Schema, schemas: &mut SchemaGenerator) -> Vec<Value> {
    let name = reference.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
    let Some(Value::Object(schema)) = name.and_then(|name| schemas.definitions_mut().remove(name)) else {
        return Vec::new();
    };
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let fields = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    fields
        .map(|(name, field)| {
            let mut field = field.clone();
            let about = field.as_object_mut().and_then(|field| field.remove("description"));
            json!({
                "name": name, "in": "query", "required": required.contains(&name.as_str()),
                "description": about, "schema": not_null(field),
            })
        })
        .collect()
}

/// A parameter is there or not; it is never null.
fn not_null(mut schema: Value) -> Value {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = &types[..] {
            schema["type"] = only.clone();
        }
    }
    schema
}

/// The same with the keys of every object in order, so that the text only changes when the document does.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<(String, Value)> = fields.into_iter().collect();
            fields.sort_by(|one, other| one.0.cmp(&other.0));
            Value::Object(fields.into_iter().map(|(name, field)| (name, sorted(field))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        plain => plain,
    }
}
