//! The rules of the estates in the two forms that readers want them in.

use std::fmt::Write;

use serde_json::{Value, json};

use super::estate::{RULES, Values};

/// A `TaggingPolicy` manifest.
pub fn manifest() -> String {
    let mut text = String::from(
        "apiVersion: tagwarden.io/v1alpha1\nkind: TaggingPolicy\nmetadata: {name: bench}\nspec:\n  requiredTags:\n",
    );
    for rule in &RULES {
        let types: Vec<&str> = rule.applies_to.iter().map(|kind| kind.type_name()).collect();
        let _ =
            writeln!(text, "    - key: {}\n      appliesTo: {}", rule.key, json!({ "resourceTypes": types }));
        let _ = match rule.values {
            Values::Any => Ok(()),
            Values::Like(regex, _) => writeln!(text, "      values: {}", json!({ "regex": regex })),
            Values::OneOf(allowed) => writeln!(text, "      values: {}", json!({ "allowed": allowed })),
        };
    }
    text
}

/// The same as JSON, for the peer.
pub fn rules() -> Value {
    let rules = RULES.iter().map(|rule| {
        let types: Vec<&str> = rule.applies_to.iter().map(|kind| kind.type_name()).collect();
        let (regex, allowed) = match rule.values {
            Values::Any => (None, None),
            Values::Like(regex, _) => (Some(regex), None),
            Values::OneOf(allowed) => (None, Some(allowed)),
        };
        json!({ "key": rule.key, "types": types, "regex": regex, "allowed": allowed })
    });
    rules.collect()
}
