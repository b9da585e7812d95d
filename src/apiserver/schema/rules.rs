//! The rules of a schema, in CEL: compiled once, evaluated where they stand.
//!
//! The engine would walk objects by itself, but it tells apart the old and the new entries of a list by position;
//! an API server does so by key. So each node's rules are compiled alone, and the walk is ours.

use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use kube::core::cel::{CompiledSchema, ErrorKind, ValidationError, compile_schema, validate_compiled};
use serde_json::Value;

use super::check::identity;
use super::node::{Additional, List, Node};
use super::{SchemaError, child, index, key};
use crate::status::{Cause, MAX_CAUSES};

const RULES: &str = "x-kubernetes-validations";

/// The rules of one node.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    compiled: Arc<CompiledSchema>,
}

impl Rules {
    /// The rules of this node alone, when it has any.
    pub fn compile(props: &JSONSchemaProps, path: &str) -> Result<Option<Self>, SchemaError> {
        if props.x_kubernetes_validations.as_ref().is_none_or(Vec::is_empty) {
            return Ok(None);
        }
        let failed = |why: String| SchemaError::Rule { path: path.to_owned(), why };
        let mut schema = serde_json::to_value(props).map_err(|error| failed(error.to_string()))?;
        strip(&mut schema, true);
        let compiled = compile_schema(&schema);
        if let Some(error) = compiled.compilation_errors().first() {
            return Err(failed(error.to_string()));
        }
        Ok(Some(Self { compiled: Arc::new(compiled) }))
    }
}

/// Leaves only the rules of the top, and no defaults: those are filled in by now.
fn strip(schema: &mut Value, top: bool) {
    match schema {
        Value::Object(fields) => {
            if !top {
                fields.remove(RULES);
            }
            fields.remove("default");
            fields.remove("description");
            // Below `properties` stand names, which may be anything, also `default`.
            for (name, field) in fields.iter_mut() {
                match (name.as_str(), field) {
                    ("properties", Value::Object(properties)) => {
                        properties.values_mut().for_each(|property| strip(property, false));
                    }
                    (RULES, _) => {}
                    (_, field) => strip(field, false),
                }
            }
        }
        Value::Array(entries) => entries.iter_mut().for_each(|entry| strip(entry, false)),
        _ => {}
    }
}

/// Evaluates all rules of a value and below.
pub(super) fn check(node: &Node, new: &Value, old: Option<&Value>, path: &str, causes: &mut Vec<Cause>) {
    if !node.has_rules || new.is_null() || causes.len() >= MAX_CAUSES {
        return;
    }
    let old = old.filter(|old| !old.is_null());
    if let Some(rules) = &node.rules
        && let Err(errors) = validate_compiled(&rules.compiled, new, old)
    {
        causes.extend(errors.iter().map(|error| cause(new, error, path)));
    }
    for each in &node.all_of {
        check(each, new, old, path, causes);
    }
    match new {
        Value::Object(fields) => {
            for (name, field) in fields {
                let old = old.filter(|_| !node.atomic_map).and_then(|old| old.get(name));
                match (node.properties.get(name), &node.additional) {
                    (Some(property), _) => check(property, field, old, &child(path, name), causes),
                    (None, Additional::Values(values)) => check(values, field, old, &key(path, name), causes),
                    (None, _) => {}
                }
            }
        }
        Value::Array(entries) => {
            let Some(items) = node.items.as_deref().filter(|items| items.has_rules) else { return };
            for (at, entry) in entries.iter().enumerate() {
                check(items, entry, counterpart(&node.list, entry, old), &index(path, at), causes);
            }
        }
        _ => {}
    }
}

/// What an entry was before: only lists with keys can tell.
fn counterpart<'a>(list: &List, entry: &Value, old: Option<&'a Value>) -> Option<&'a Value> {
    let List::Map(keys) = list else { return None };
    let wanted = identity(keys, entry);
    old?.as_array()?.iter().find(|old| identity(keys, old) == wanted)
}

fn cause(value: &Value, error: &ValidationError, path: &str) -> Cause {
    let path = match (path, error.field_path.trim_start_matches('.')) {
        ("", "") => "<nil>".to_owned(),
        (path, "") => path.to_owned(),
        (path, below) => child(path, below),
    };
    let message = error.message.trim();
    let large = value.is_object() || value.is_array();
    match (&error.kind, error.reason.as_deref()) {
        (ErrorKind::ValidationFailure, Some("FieldValueForbidden")) => Cause::forbidden(path, message),
        (ErrorKind::ValidationFailure, Some("FieldValueRequired")) => Cause::required(path, message),
        (ErrorKind::ValidationFailure, Some("FieldValueDuplicate")) => Cause::duplicate(path, value),
        _ if large => Cause::invalid_whole(path, message),
        _ => Cause::invalid(path, value, message),
    }
}
