//! What is done to an object before it is checked: unknown fields go, nulls go, defaults come.

use serde_json::Value;

use super::node::{Additional, Node};
use super::{MAX_UNKNOWN, child, index};

/// The fields of every object, which no schema needs to name.
const META: [&str; 3] = ["apiVersion", "kind", "metadata"];

pub(super) fn prune(root: &Node, object: &mut Value) -> Vec<String> {
    let mut pruning = Pruning { unknown: Vec::new() };
    pruning.value(root, object, "", true);
    pruning.unknown
}

struct Pruning {
    unknown: Vec<String>,
}

impl Pruning {
    fn value(&mut self, node: &Node, value: &mut Value, path: &str, meta: bool) {
        match value {
            Value::Object(fields) => {
                let mut gone = Vec::new();
                for (name, field) in fields.iter_mut() {
                    if (meta || node.embedded) && META.contains(&name.as_str()) {
                        continue;
                    }
                    let path = child(path, name);
                    match (node.properties.get(name), &node.additional) {
                        (Some(property), _) => self.value(property, field, &path, false),
                        (None, Additional::Values(values)) => self.value(values, field, &path, false),
                        (None, Additional::Any) => {}
                        (None, Additional::None) if node.preserve => {}
                        (None, Additional::None) => {
                            if self.unknown.len() < MAX_UNKNOWN {
                                self.unknown.push(path);
                            }
                            gone.push(name.clone());
                        }
                    }
                }
                for name in gone {
                    fields.remove(&name);
                }
            }
            Value::Array(entries) => {
                let Some(items) = &node.items else { return };
                for (at, entry) in entries.iter_mut().enumerate() {
                    self.value(items, entry, &index(path, at), false);
                }
            }
            _ => {}
        }
    }
}

/// Drops nulls that may not be null and have no default: a client that sends `null` means "not set".
pub(super) fn drop_nulls(node: &Node, value: &mut Value) {
    let drops = |node: &Node, value: &Value| value.is_null() && !node.nullable && node.default.is_none();
    match value {
        Value::Object(fields) => {
            fields.retain(|name, field| match (node.properties.get(name), &node.additional) {
                (Some(property), _) if drops(property, field) => false,
                (None, Additional::Values(values)) if drops(values, field) => false,
                (Some(below), _) => {
                    drop_nulls(below, field);
                    true
                }
                (None, Additional::Values(below)) => {
                    drop_nulls(below, field);
                    true
                }
                (None, _) => true,
            });
        }
        Value::Array(entries) => {
            if let Some(items) = &node.items {
                for entry in entries {
                    drop_nulls(items, entry);
                }
            }
        }
        _ => {}
    }
}

/// Fills in defaults, also into what defaults brought.
pub(super) fn default(node: &Node, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, property) in &node.properties {
                let Some(default) = &property.default else { continue };
                match fields.get_mut(name) {
                    None => {
                        fields.insert(name.clone(), default.clone());
                    }
                    Some(field) => fill(property, field),
                }
            }
            for (name, field) in fields.iter_mut() {
                match (node.properties.get(name), &node.additional) {
                    (Some(property), _) => self::default(property, field),
                    (None, Additional::Values(values)) => {
                        fill(values, field);
                        self::default(values, field);
                    }
                    (None, _) => {}
                }
            }
        }
        Value::Array(entries) => {
            let Some(items) = &node.items else { return };
            for entry in entries {
                fill(items, entry);
                self::default(items, entry);
            }
        }
        _ => {}
    }
}

/// A null that may not be one becomes the default.
fn fill(node: &Node, value: &mut Value) {
    if value.is_null()
        && !node.nullable
        && let Some(default) = &node.default
    {
        *value = default.clone();
    }
}
