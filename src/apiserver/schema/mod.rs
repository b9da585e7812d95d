//! Structural schemas, compiled once per kind: pruning, defaults, validation and rules, with the words and the
//! causes of a Kubernetes API server.
//!
//! Compiled here means: patterns are regular expressions, rules are CEL programs, and what a definition may not
//! hold is refused before the first object comes.

pub(crate) mod builtin;
pub(crate) mod builtin_rules;
mod check;
mod format;
mod node;
mod rules;
mod shape;
#[cfg(test)]
mod tests;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde_json::Value;

use crate::status::Cause;
use node::Node;

/// How deep a schema may nest; a rule engine and a stack go no deeper than this either.
const MAX_DEPTH: usize = 64;

/// How many unknown fields are named.
const MAX_UNKNOWN: usize = 64;

/// A schema, ready to be applied to objects.
#[derive(Debug)]
pub struct Schema {
    props: JSONSchemaProps,
    root: Node,
}

/// Why a definition cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A pattern that is no regular expression.
    #[error("{path}: the pattern `{pattern}` is not a valid regular expression")]
    Pattern {
        /// Where in the schema.
        path: String,
        /// The pattern.
        pattern: String,
    },
    /// A rule that does not compile.
    #[error("{path}: {why}")]
    Rule {
        /// Where in the schema.
        path: String,
        /// What the compiler said, with the rule.
        why: String,
    },
    /// A part of JSON schema that is not evaluated here, or a definition without what it needs.
    #[error("{path}: {what}")]
    Unsupported {
        /// Where in the schema.
        path: String,
        /// What is missing or too much.
        what: String,
    },
}

impl Schema {
    /// Compiles patterns and rules.
    pub fn compile(props: &JSONSchemaProps) -> Result<Self, SchemaError> {
        let root = Node::compile(props, "openAPIV3Schema", 0)?;
        Ok(Self { props: props.clone(), root })
    }

    /// As it was declared.
    pub fn props(&self) -> &JSONSchemaProps {
        &self.props
    }

    /// Removes what the schema does not know and returns the paths of it, at most 64, in order. `apiVersion`,
    /// `kind` and `metadata` of the object itself always stay.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        shape::prune(&self.root, object)
    }

    /// Drops nulls where null is not allowed and there is no default, then fills in defaults.
    pub fn default(&self, object: &mut Value) {
        shape::drop_nulls(&self.root, object);
        shape::default(&self.root, object);
    }

    /// All that is wrong with an object, `metadata` aside: types, bounds, duplicates and, where those are right,
    /// the rules. Transition rules are checked against `old`.
    pub fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<Cause> {
        self.validate_after(Vec::new(), new, old)
    }

    /// As [`Schema::validate`], after other checks: what they found comes first, and may keep rules from being run.
    pub(crate) fn validate_after(&self, earlier: Vec<Cause>, new: &Value, old: Option<&Value>) -> Vec<Cause> {
        let mut causes = earlier;
        causes.extend(check::value(&self.root, new, ""));
        check::duplicates(&self.root, new, "", &mut causes);
        if !self.root.has_rules {
            return causes;
        }
        if causes.iter().any(blocks_rules) {
            causes.push(Cause::invalid(
                "<nil>",
                &Value::Null,
                "some validation rules were not checked because the object was invalid; correct the existing \
                 errors to complete validation",
            ));
        } else {
            rules::check(&self.root, new, old, "", &mut causes);
        }
        causes
    }
}

/// Rules are written for objects of the right shape; with another shape they would only fail in odd ways.
fn blocks_rules(cause: &Cause) -> bool {
    matches!(
        cause.reason,
        "FieldValueNotSupported"
            | "FieldValueRequired"
            | "FieldValueTooLong"
            | "FieldValueTooMany"
            | "FieldValueTypeInvalid"
    )
}

/// A path with one more field.
fn child(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A path with one more key of a map.
fn key(path: &str, name: &str) -> String {
    format!("{path}[{name}]")
}

/// A path with one more index.
fn index(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}
