//! Structural schemas, compiled once per kind: pruning, defaults, validation and CEL rules, with the words and the
//! causes of a Kubernetes API server.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde_json::Value;

use crate::status::Cause;

/// A schema, ready to be applied to objects.
#[derive(Debug)]
pub struct Schema {
    props: JSONSchemaProps,
}

/// Why a definition cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A pattern that is no regular expression.
    #[error("{path}: the pattern `{pattern}` is not valid")]
    Pattern {
        /// Where in the schema.
        path: String,
        /// The pattern.
        pattern: String,
    },
    /// A rule that does not compile.
    #[error("{path}: the rule `{rule}` does not compile: {why}")]
    Rule {
        /// Where in the schema.
        path: String,
        /// The rule.
        rule: String,
        /// What the compiler said.
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
        Ok(Self { props: props.clone() })
    }

    /// As it was declared.
    pub fn props(&self) -> &JSONSchemaProps {
        &self.props
    }

    /// Removes what the schema does not know and returns the paths of it, at most 64, in order.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        let _ = object;
        unimplemented!()
    }

    /// Drops nulls where null is not allowed, then fills in defaults.
    pub fn default(&self, object: &mut Value) {
        let _ = object;
        unimplemented!()
    }

    /// All that is wrong with an object, `metadata` aside; transition rules are checked against `old`.
    pub fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<Cause> {
        let _ = (new, old);
        unimplemented!()
    }
}
