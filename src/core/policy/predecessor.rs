//! The predecessor's `tagging_policy.json`, read unchanged.
//!
//! Errors and warnings name its own fields (`required_tags[2].validation_regex`). It had no severities, no scopes
//! but resource types, and one switch for the case of all keys; fields that it carries and nothing here reads are
//! reported, never refused.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::registry::Registry;

use super::draft::{AppliesToDraft, KeyCase, NamingDraft, PolicyDraft, TagRuleDraft, ValuesDraft};
use super::error::{Notes, PolicyError, PolicyWarning, Reason};
use super::{Compiled, MAX_DOCUMENT_BYTES};

/// The whole document, where an error is about no field.
const DOCUMENT: &str = "document";

/// A policy file of the predecessor, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The same policy in today's terms.
    pub draft: PolicyDraft,
    /// What was left out or changed.
    pub warnings: Vec<PolicyWarning>,
}

/// Reads a file. The file itself has no name for the policy.
pub fn read(text: &str, name: &str) -> Result<Read, Vec<PolicyError>> {
    let mut notes = Notes::default();
    let draft = document(text, name, &mut notes);
    match draft {
        Some(draft) if notes.errors.is_empty() => Ok(Read { draft, warnings: notes.warnings }),
        _ => Err(notes.errors),
    }
}

/// Reads a file and makes a policy of it; errors and warnings of both steps name the file's fields.
pub fn compile(text: &str, name: &str, registry: &Arc<Registry>) -> Result<Compiled, Vec<PolicyError>> {
    let Read { draft, mut warnings } = read(text, name)?;
    match super::compile(&draft, registry) {
        Ok(mut compiled) => {
            warnings.extend(compiled.warnings.into_iter().map(|warning| PolicyWarning {
                path: own_names(&warning.path),
                message: own_names(&warning.message),
            }));
            compiled.warnings = warnings;
            Ok(compiled)
        }
        Err(errors) => Err(errors
            .into_iter()
            .map(|error| PolicyError {
                path: own_names(&error.path),
                message: own_names(&error.message),
                reason: error.reason,
            })
            .collect()),
    }
}

/// The path, or the text that speaks of paths, with the predecessor's names for today's fields.
fn own_names(text: &str) -> String {
    const NAMES: [(&str, &str); 12] = [
        ("spec.requiredTags", "required_tags"),
        ("spec.optionalTags", "optional_tags"),
        ("].key", "].name"),
        ("].values.allowed", "].allowed_values"),
        ("].values.regex", "].validation_regex"),
        ("].appliesTo.resourceTypes", "].applies_to"),
        ("spec.naming.maxKeyLength", "tag_naming_rules.max_key_length"),
        ("spec.naming.maxValueLength", "tag_naming_rules.max_value_length"),
        ("spec.naming", "tag_naming_rules"),
        ("spec.description", "description"),
        ("keyCase Insensitive", "case_sensitivity false"),
        ("in `allowed`", "in `allowed_values`"),
    ];
    if text == "spec" {
        return DOCUMENT.to_owned();
    }
    NAMES.iter().fold(text.to_owned(), |text, (ours, theirs)| text.replace(ours, theirs))
}

fn document(text: &str, name: &str, notes: &mut Notes) -> Option<PolicyDraft> {
    if text.len() > MAX_DOCUMENT_BYTES {
        let message = format!("has {} bytes; at most {MAX_DOCUMENT_BYTES} are read", text.len());
        notes.refuse(DOCUMENT, Reason::OutOfRange, message);
        return None;
    }
    let root = match serde_json::from_str(text.trim_start_matches('\u{feff}')) {
        Ok(Value::Object(root)) => root,
        Ok(other) => {
            notes.refuse(DOCUMENT, Reason::Malformed, format!("is {}; expected an object", kind(&other)));
            return None;
        }
        Err(error) => {
            notes.refuse(DOCUMENT, Reason::Malformed, format!("is not JSON: {error}"));
            return None;
        }
    };
    let mut root = Fields { path: String::new(), unread: root, notes };
    for prose in ["version", "last_updated"] {
        root.unread.remove(prose);
    }
    let description = root.text("description").unwrap_or_default();
    let naming = root.object("tag_naming_rules").map(|fields| {
        let mut rules =
            Fields { path: "tag_naming_rules".to_owned(), unread: fields, notes: &mut *root.notes };
        let case_sensitive = rules.flag("case_sensitivity");
        let naming = NamingDraft {
            allow_special_characters: rules.flag("allow_special_characters"),
            max_key_length: rules.number("max_key_length"),
            max_value_length: rules.number("max_value_length"),
            ..NamingDraft::default()
        };
        rules.rest();
        (naming, case_sensitive)
    });
    let key_case = match naming {
        Some((_, Some(false))) => KeyCase::Insensitive,
        _ => KeyCase::Exact,
    };
    let required_tags = root.tags("required_tags", key_case);
    let optional_tags = root.tags("optional_tags", key_case);
    root.rest();
    Some(PolicyDraft {
        name: name.to_owned(),
        description,
        required_tags,
        optional_tags,
        naming: naming.map(|(naming, _)| naming),
        ..PolicyDraft::default()
    })
}

/// An object that is being read; what is still in it at the end is unknown.
struct Fields<'a> {
    path: String,
    unread: Map<String, Value>,
    notes: &'a mut Notes,
}

impl Fields<'_> {
    fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// The field, unless it is absent or null.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.unread.remove(name).filter(|value| !value.is_null())
    }

    fn wrong(&mut self, name: &str, found: &Value, expected: &str) {
        let message = format!("is {}; expected {expected}", kind(found));
        self.notes.refuse(self.path(name), Reason::Malformed, message);
    }

    fn text(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            other => {
                self.wrong(name, &other, "a text");
                None
            }
        }
    }

    fn flag(&mut self, name: &str) -> Option<bool> {
        match self.take(name)? {
            Value::Bool(flag) => Some(flag),
            other => {
                self.wrong(name, &other, "true or false");
                None
            }
        }
    }

    fn number(&mut self, name: &str) -> Option<u32> {
        let value = self.take(name)?;
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        if number.is_none() {
            self.wrong(name, &value, "a whole number that is not negative");
        }
        number
    }

    fn object(&mut self, name: &str) -> Option<Map<String, Value>> {
        match self.take(name)? {
            Value::Object(fields) => Some(fields),
            other => {
                self.wrong(name, &other, "an object");
                None
            }
        }
    }

    fn list(&mut self, name: &str) -> Option<Vec<Value>> {
        match self.take(name)? {
            Value::Array(list) => Some(list),
            other => {
                self.wrong(name, &other, "a list");
                None
            }
        }
    }

    fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        let list = self.list(name)?;
        let mut texts = Vec::with_capacity(list.len());
        for (index, value) in list.into_iter().enumerate() {
            match value {
                Value::String(text) => texts.push(text),
                other => self.wrong(&format!("{name}[{index}]"), &other, "a text"),
            }
        }
        Some(texts)
    }

    fn tags(&mut self, name: &str, key_case: KeyCase) -> Vec<TagRuleDraft> {
        let mut tags = Vec::new();
        for (index, value) in self.list(name).unwrap_or_default().into_iter().enumerate() {
            match value {
                Value::Object(fields) => {
                    let path = self.path(&format!("{name}[{index}]"));
                    let mut tag = Fields { path, unread: fields, notes: &mut *self.notes };
                    tags.push(tag.tag(key_case));
                    tag.rest();
                }
                other => self.wrong(&format!("{name}[{index}]"), &other, "an object"),
            }
        }
        tags
    }

    fn tag(&mut self, key_case: KeyCase) -> TagRuleDraft {
        // An empty list or expression meant "anything" there.
        let mut allowed = self.texts("allowed_values");
        if allowed.as_ref().is_some_and(Vec::is_empty) {
            self.notes.warn(
                self.path("allowed_values"),
                "is empty and accepts every value, as it always did; leave it out",
            );
            allowed = None;
        }
        let regex = self.text("validation_regex").filter(|regex| !regex.is_empty());
        let resource_types = self.texts("applies_to").unwrap_or_default();
        TagRuleDraft {
            key: self.text("name").unwrap_or_default(),
            description: self.text("description").unwrap_or_default(),
            severity: None,
            values: (allowed.is_some() || regex.is_some()).then(|| ValuesDraft {
                allowed,
                regex,
                ..ValuesDraft::default()
            }),
            key_case,
            applies_to: (!resource_types.is_empty())
                .then(|| AppliesToDraft { resource_types, ..AppliesToDraft::default() }),
        }
    }

    /// Reports what nothing here reads.
    fn rest(&mut self) {
        for name in std::mem::take(&mut self.unread).into_iter().map(|(name, _)| name) {
            let path: String = self.path(&name).chars().take(128).collect();
            self.notes.warn(path, "is not used");
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
