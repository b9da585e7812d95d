//! The table of routes, and the document that derives from it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{document, table};

#[test]
fn every_route_says_what_it_is_and_has_a_name_of_its_own() {
    let operations = table();
    let names: BTreeSet<&str> = operations.iter().map(|operation| operation.id).collect();
    assert_eq!(names.len(), operations.len());
    for operation in &operations {
        assert!(operation.path.starts_with("/v1/"), "{}", operation.path);
        assert!(operation.summary.ends_with('.') && operation.answer.is_some(), "{}", operation.id);
    }
}

/// All references of a document.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(ToOwned::to_owned));
            fields.values().for_each(|field| references(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn the_document_is_whole() {
    let text = document();
    assert_eq!(text, document(), "it is the same each time");
    let document: Value = serde_json::from_str(&text).unwrap();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 10);
    for reference in &found {
        let name = reference.strip_prefix("#/components/schemas/").unwrap_or_else(|| panic!("{reference}"));
        assert!(schemas.contains_key(name), "{reference} leads nowhere");
    }
    for name in schemas.keys() {
        assert!(found.contains(&format!("#/components/schemas/{name}")), "{name} is used by nothing");
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(parameter["schema"].is_object(), "{verb} {path}: {parameter}");
                let described = parameter["description"].is_string() || parameter["in"] == "path";
                assert!(described, "{verb} {path}: {parameter}");
            }
        }
    }
}
