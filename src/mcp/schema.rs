//! JSON schemas that strict clients accept: everything inline, no nulls, no formats that only Rust knows.

use std::sync::Arc;

use rmcp::model::JsonObject;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The schema of what a tool takes.
pub(crate) fn input<T: JsonSchema>() -> Arc<JsonObject> {
    let mut schema = generated::<T>();
    schema.insert("additionalProperties".into(), Value::Bool(false));
    schema.entry("properties").or_insert_with(|| json!({}));
    strip(&mut schema, &["default"]);
    Arc::new(schema)
}

/// The schema of what a tool answers. A rehearsal has `dry_run` in place of everything else, so nothing is required;
/// and clients load the schemas of all tools at once, so they are kept small.
pub(crate) fn output<T: JsonSchema>() -> Arc<JsonObject> {
    let mut schema = generated::<T>();
    schema.remove("required");
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.insert("dry_run".into(), json!({"type": "string"}));
    }
    strip(&mut schema, &["description", "required", "minimum"]);
    flatten(&mut schema, true);
    Arc::new(schema)
}

fn generated<T: JsonSchema>() -> JsonObject {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let mut value = schema.to_value();
    tidy(&mut value);
    let Value::Object(mut object) = value else { return Map::new() };
    strip(&mut object, &["$schema", "title"]);
    object
}

/// Nulls and formats go; what is optional is not required.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|one| one != "null");
                if let [only] = &types[..] {
                    let only = only.clone();
                    object.insert("type".into(), only);
                }
            }
            if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
                choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
                if choices.len() == 1
                    && let Some(Value::Object(only)) = choices.pop()
                {
                    object.remove("anyOf");
                    for (key, value) in only {
                        object.entry(key).or_insert(value);
                    }
                }
            }
            words(object);
            if object.get("default").is_some_and(Value::is_null) {
                object.remove("default");
            }
            let known = ["date", "date-time", "uri"];
            if object.get("format").and_then(Value::as_str).is_some_and(|format| !known.contains(&format)) {
                object.remove("format");
            }
            object.values_mut().for_each(tidy);
        }
        Value::Array(values) => values.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// A choice among described words is one list of words.
fn words(object: &mut JsonObject) {
    let Some(Value::Array(choices)) = object.get("oneOf") else { return };
    let words: Option<Vec<Value>> = choices.iter().map(|choice| choice.get("const").cloned()).collect();
    if let Some(words) = words {
        object.remove("oneOf");
        object.insert("type".into(), json!("string"));
        object.insert("enum".into(), Value::Array(words));
    }
}

/// An object inside is an object, and no more is said of it; the items of a list at the top are described.
fn flatten(object: &mut JsonObject, items_described: bool) {
    let Some(Value::Object(properties)) = object.get_mut("properties") else { return };
    for property in properties.values_mut() {
        let Value::Object(property) = property else { continue };
        if property.contains_key("properties") {
            *property = plain_object();
        } else if let Some(Value::Object(items)) = property.get_mut("items")
            && items.contains_key("properties")
        {
            if items_described {
                flatten(items, false);
            } else {
                *items = plain_object();
            }
        }
    }
}

fn plain_object() -> JsonObject {
    JsonObject::from_iter([("type".to_owned(), json!("object"))])
}

/// Takes these keywords out, but leaves properties of the same name.
fn strip(object: &mut JsonObject, keywords: &[&str]) {
    for keyword in keywords {
        object.remove(*keyword);
    }
    for (keyword, value) in object.iter_mut() {
        match (keyword.as_str(), value) {
            ("properties", Value::Object(properties)) => {
                for property in properties.values_mut() {
                    if let Value::Object(property) = property {
                        strip(property, keywords);
                    }
                }
            }
            ("items" | "additionalProperties", Value::Object(inner)) => strip(inner, keywords),
            ("anyOf" | "oneOf" | "allOf", Value::Array(choices)) => {
                for choice in choices {
                    if let Value::Object(choice) = choice {
                        strip(choice, keywords);
                    }
                }
            }
            _ => {}
        }
    }
}
