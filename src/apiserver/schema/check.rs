//! Whether a value fits its schema, in the API server's words.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::node::{Additional, Bounds, Kind, List, Node};
use super::{child, index, key};
use crate::status::{Cause, MAX_CAUSES};

/// All that is wrong with a value, rules and duplicates aside.
pub(super) fn value(node: &Node, value: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    check(node, value, path, &mut causes);
    causes
}

fn check(node: &Node, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    if causes.len() >= MAX_CAUSES {
        return;
    }
    if !check_type(node, value, path, causes) {
        return;
    }
    check_words(&node.bounds, value, path, causes);
    match value {
        Value::Object(fields) => check_object(node, fields, path, causes),
        Value::Array(entries) => check_list(node, entries, path, causes),
        Value::String(text) => check_text(&node.bounds, text, path, causes),
        Value::Number(_) => check_number(node, value, path, causes),
        Value::Null | Value::Bool(_) => {}
    }
    check_combined(node, value, path, causes);
}

/// Causes speak of `spec.x in body`, a nameless root of ` in body`.
fn says(path: &str, what: &str) -> String {
    format!("{path} in body {what}")
}

/// The type of a value as errors name it.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Whether a number is whole: `3.0` counts.
fn is_whole(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// Whether to go on with this value.
fn check_type(node: &Node, value: &Value, path: &str, causes: &mut Vec<Cause>) -> bool {
    if value.is_null() && node.nullable {
        return false;
    }
    let fits = match node.kind {
        Kind::Any => true,
        Kind::Object => value.is_object(),
        Kind::Array => value.is_array(),
        Kind::String => value.is_string(),
        Kind::Integer => value.is_number() && is_whole(value),
        Kind::Number => value.is_number(),
        Kind::Boolean => value.is_boolean(),
        Kind::IntOrString => value.is_string() || (value.is_number() && is_whole(value)),
    };
    if !fits {
        let found = type_of(value);
        let detail = says(path, &format!("must be of type {}: \"{found}\"", node.kind.name()));
        causes.push(Cause::type_invalid(path, &json!(found), detail));
    }
    fits
}

fn check_words(bounds: &Bounds, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    if !bounds.words.is_empty() && !bounds.words.contains(value) {
        causes.push(Cause::not_supported(path, value, &bounds.words));
    }
}

fn check_object(node: &Node, fields: &Map<String, Value>, path: &str, causes: &mut Vec<Cause>) {
    let count = fields.len() as u64;
    let bounds = &node.bounds;
    if let Some(least) = bounds.min_properties.filter(|least| count < *least) {
        let detail = says(path, &format!("should have at least {least} properties"));
        causes.push(Cause::invalid(path, &json!(count), detail));
    }
    if let Some(most) = bounds.max_properties.filter(|most| count > *most) {
        causes.push(Cause::too_many(path, count, most));
    }
    for (name, field) in fields {
        match (node.properties.get(name), &node.additional) {
            (Some(property), _) => check(property, field, &child(path, name), causes),
            (None, Additional::Values(values)) => check(values, field, &child(path, name), causes),
            (None, _) => {}
        }
    }
    for name in node.required.iter().filter(|name| !fields.contains_key(*name)) {
        causes.push(Cause::required(child(path, name), ""));
    }
}

fn check_list(node: &Node, entries: &[Value], path: &str, causes: &mut Vec<Cause>) {
    let count = entries.len() as u64;
    let bounds = &node.bounds;
    if let Some(most) = bounds.max_items.filter(|most| count > *most) {
        // Its entries are not looked at: there may be any number of them.
        causes.push(Cause::too_many(path, count, most));
        return;
    }
    if let Some(items) = &node.items {
        for (at, entry) in entries.iter().enumerate() {
            check(items, entry, &index(path, at), causes);
        }
    }
    if let Some(least) = bounds.min_items.filter(|least| count < *least) {
        let detail = says(path, &format!("should have at least {least} items"));
        causes.push(Cause::invalid(path, &json!(count), detail));
    }
    if bounds.unique_items && !repeated(entries.iter().map(Value::to_string)).is_empty() {
        causes.push(Cause::invalid(path, &json!(""), says(path, "shouldn't contain duplicates")));
    }
}

fn check_text(bounds: &Bounds, text: &str, path: &str, causes: &mut Vec<Cause>) {
    let length = text.chars().count() as u64;
    if let Some(most) = bounds.max_length.filter(|most| length > *most) {
        causes.push(Cause::too_long(path, most));
    } else if let Some(least) = bounds.min_length.filter(|least| length < *least) {
        let detail = says(path, &format!("should be at least {least} chars long"));
        causes.push(Cause::invalid(path, &json!(text), detail));
    } else if let Some(pattern) = bounds.pattern.as_ref().filter(|pattern| !pattern.regex.is_match(text)) {
        let detail = says(path, &format!("should match '{}'", pattern.text));
        causes.push(Cause::invalid(path, &json!(text), detail));
    }
    if let Some(format) = bounds.format.filter(|format| !format.fits(text)) {
        let detail =
            says(path, &format!("must be of type {}: {}", format.name(), crate::status::quote(&json!(text))));
        causes.push(Cause::type_invalid(path, &json!(text), detail));
    }
}

fn check_number(node: &Node, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let Some(number) = value.as_f64() else { return };
    let bounds = &node.bounds;
    let mut invalid = |what: String| causes.push(Cause::invalid(path, value, says(path, &what)));
    if bounds.format == Some(super::format::Format::Int32)
        && value.as_i64().is_none_or(|number| i32::try_from(number).is_err())
    {
        invalid("must be a 32-bit integer".to_owned());
    }
    if let Some(factor) = bounds.multiple_of.filter(|factor| (number / factor).fract() != 0.0) {
        invalid(format!("should be a multiple of {factor}"));
    }
    if let Some(most) = bounds.maximum {
        if bounds.exclusive_maximum && number >= most {
            invalid(format!("should be less than {most}"));
        } else if number > most {
            invalid(format!("should be less than or equal to {most}"));
        }
    }
    if let Some(least) = bounds.minimum {
        if bounds.exclusive_minimum && number <= least {
            invalid(format!("should be greater than {least}"));
        } else if number < least {
            invalid(format!("should be greater than or equal to {least}"));
        }
    }
}

fn check_combined(node: &Node, found: &Value, path: &str, causes: &mut Vec<Cause>) {
    let fits = |each: &&Node| value(each, found, path).is_empty();
    let named = |text: String| Cause::invalid(path, &json!(""), text);
    for each in &node.all_of {
        check(each, found, path, causes);
    }
    if !node.any_of.is_empty() && !node.any_of.iter().any(|each| fits(&each)) {
        causes.push(named(format!("\"{path}\" must validate at least one schema (anyOf)")));
    }
    if !node.one_of.is_empty() {
        let valid = node.one_of.iter().filter(fits).count();
        if valid != 1 {
            let count = if valid == 0 { "none".to_owned() } else { valid.to_string() };
            let text =
                format!("\"{path}\" must validate one and only one schema (oneOf). Found {count} valid");
            causes.push(named(text));
        }
    }
    if node.not.as_deref().is_some_and(|each| fits(&each)) {
        causes.push(named(format!("\"{path}\" must not validate the schema (not)")));
    }
}

/// Which entries of sets and keyed lists occur a second time, everywhere below.
pub(super) fn duplicates(node: &Node, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    if causes.len() >= MAX_CAUSES {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match (node.properties.get(name), &node.additional) {
                    (Some(property), _) => duplicates(property, field, &child(path, name), causes),
                    (None, Additional::Values(values)) => duplicates(values, field, &key(path, name), causes),
                    (None, _) => {}
                }
            }
        }
        Value::Array(entries) => {
            if node.bounds.max_items.is_some_and(|most| entries.len() as u64 > most) {
                return;
            }
            duplicate_entries(node, entries, path, causes);
            if let Some(items) = &node.items {
                for (at, entry) in entries.iter().enumerate() {
                    duplicates(items, entry, &index(path, at), causes);
                }
            }
        }
        _ => {}
    }
}

fn duplicate_entries(node: &Node, entries: &[Value], path: &str, causes: &mut Vec<Cause>) {
    let identities: Vec<Value> = match &node.list {
        List::Atomic => return,
        List::Set => entries.to_vec(),
        List::Map(keys) => {
            let unkeyed = entries.iter().position(|entry| !entry.is_object() && !entry.is_null());
            if let Some(at) = unkeyed {
                let detail = "must be an object for an array of list-type map";
                causes.push(Cause::invalid(index(path, at), &entries[at], detail));
                return;
            }
            entries.iter().map(|entry| identity(keys, entry)).collect()
        }
    };
    for at in repeated(identities.iter().map(Value::to_string)) {
        causes.push(Cause::duplicate(index(path, at), &identities[at]));
    }
}

/// The keys of an entry, with their values.
pub(super) fn identity(keys: &[String], entry: &Value) -> Value {
    let found = keys.iter().filter_map(|key| Some((key.clone(), entry.get(key)?.clone())));
    Value::Object(found.collect())
}

/// Where something occurs for the second time; a third is not told again.
fn repeated(texts: impl Iterator<Item = String>) -> Vec<usize> {
    let (mut once, mut twice, mut places) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for (at, text) in texts.enumerate() {
        if once.contains(&text) {
            if twice.insert(text) {
                places.push(at);
            }
        } else {
            once.insert(text);
        }
    }
    places
}
