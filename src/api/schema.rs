//! Holds a document against the schema of its kind.
//!
//! An API server does this for objects in a cluster (it drops unknown fields, or warns of them); a manifest file
//! has nobody else to do it. The schema comes from the same derive as the CRD, so every bound stands in one place,
//! and serde stays lenient: an older binary must still be able to read objects with a newer field.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;
use serde_json::{Map, Value};

use crate::error::Fault;

/// How many faults of one document are told.
const MAX_FAULTS: usize = 50;

/// How much of a value is quoted, in characters.
const MAX_QUOTE: usize = 80;

/// A structural schema, ready to check values.
#[derive(Debug)]
pub(crate) struct Schema {
    shape: Shape,
    nullable: bool,
    /// The first sentence of the description.
    about: String,
}

#[derive(Debug)]
enum Shape {
    Object { fields: BTreeMap<String, Schema>, required: Vec<String> },
    Map { values: Box<Schema>, most: usize },
    List { items: Box<Schema>, least: usize, most: usize, unique: Option<String> },
    Text { least: usize, most: usize, pattern: Option<Regex>, words: Vec<String>, time: bool },
    Integer { least: i64, most: i64 },
    Boolean,
    Anything,
}

impl Schema {
    /// The schema of a kind, as its CRD has it.
    pub(crate) fn new(schema: &JSONSchemaProps) -> Self {
        let shape = match schema.type_.as_deref() {
            Some("object") => Self::object(schema),
            Some("array") => Self::list(schema),
            Some("string") => Self::string(schema),
            Some("integer") => Shape::Integer {
                least: schema.minimum.map_or(i64::MIN, whole),
                most: schema.maximum.map_or(i64::MAX, whole),
            },
            Some("boolean") => Shape::Boolean,
            _ => Shape::Anything,
        };
        let about = first_sentence(schema.description.as_deref().unwrap_or_default());
        Self { shape, nullable: schema.nullable.unwrap_or(false), about }
    }

    /// A text that matches, of at most so many characters.
    pub(crate) fn text(most: usize, pattern: Option<&str>, about: &str) -> Self {
        let pattern = pattern.and_then(|pattern| Regex::new(pattern).ok());
        let shape = Shape::Text { least: 0, most, pattern, words: Vec::new(), time: false };
        Self { shape, nullable: false, about: about.to_owned() }
    }

    /// Texts by name.
    pub(crate) fn texts(most: usize, longest: usize) -> Self {
        let shape = Shape::Map { values: Box::new(Self::text(longest, None, "")), most };
        Self { shape, nullable: true, about: String::new() }
    }

    /// Whatever it is, it is somebody else's.
    pub(crate) fn anything() -> Self {
        Self { shape: Shape::Anything, nullable: true, about: String::new() }
    }

    /// An object with these fields and no others.
    pub(crate) fn fields<const N: usize>(fields: [(&str, Self); N], required: &[&str]) -> Self {
        let fields = fields.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
        let required = required.iter().map(|name| (*name).to_owned()).collect();
        Self { shape: Shape::Object { fields, required }, nullable: false, about: String::new() }
    }

    fn object(schema: &JSONSchemaProps) -> Shape {
        if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
            return Shape::Map {
                values: Box::new(Self::new(values)),
                most: size(schema.max_properties, usize::MAX),
            };
        }
        let fields = schema.properties.iter().flatten();
        Shape::Object {
            fields: fields.map(|(name, field)| (name.clone(), Self::new(field))).collect(),
            required: schema.required.clone().unwrap_or_default(),
        }
    }

    fn list(schema: &JSONSchemaProps) -> Shape {
        let mut items = match &schema.items {
            Some(JSONSchemaPropsOrArray::Schema(items)) => Self::new(items),
            _ => Self::anything(),
        };
        if items.about.is_empty() {
            items.about = first_sentence(schema.description.as_deref().unwrap_or_default());
        }
        Shape::List {
            items: Box::new(items),
            least: size(schema.min_items, 0),
            most: size(schema.max_items, usize::MAX),
            unique: schema.x_kubernetes_list_map_keys.as_ref().and_then(|keys| keys.first().cloned()),
        }
    }

    fn string(schema: &JSONSchemaProps) -> Shape {
        let words = schema.enum_.iter().flatten().filter_map(|word| word.0.as_str().map(str::to_owned));
        Shape::Text {
            least: size(schema.min_length, 0),
            most: size(schema.max_length, usize::MAX),
            pattern: schema.pattern.as_deref().and_then(|pattern| Regex::new(pattern).ok()),
            words: words.collect(),
            time: schema.format.as_deref() == Some("date-time"),
        }
    }

    /// All that is wrong with a value, as pairs of path and fault; nothing when it fits. A secret value is
    /// described without being quoted.
    pub(crate) fn check(&self, path: &str, value: &Value, secret: bool) -> Vec<(String, Fault)> {
        let mut check = Check { faults: Vec::new(), secret };
        check.value(self, path, value);
        check.faults
    }
}

fn first_sentence(description: &str) -> String {
    let description = description.replace('\n', " ");
    let next = |end: &usize| description[end + 2..].starts_with(|each: char| each.is_ascii_uppercase());
    let end = description.match_indices(". ").map(|(end, _)| end).find(next);
    description[..end.unwrap_or(description.len())].trim_end_matches('.').to_owned()
}

fn size(bound: Option<i64>, otherwise: usize) -> usize {
    bound.and_then(|bound| usize::try_from(bound).ok()).unwrap_or(otherwise)
}

#[allow(clippy::cast_possible_truncation)] // the bounds are our own, and small
fn whole(bound: f64) -> i64 {
    bound as i64
}

struct Check {
    faults: Vec<(String, Fault)>,
    secret: bool,
}

impl Check {
    fn fault(&mut self, path: &str, fault: Fault) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push((path.to_owned(), fault));
        }
    }

    fn value(&mut self, schema: &Schema, path: &str, value: &Value) {
        if (value.is_null() && schema.nullable) || self.faults.len() == MAX_FAULTS {
            return;
        }
        match (&schema.shape, value) {
            (Shape::Object { fields, required }, Value::Object(found)) => {
                self.object(fields, required, path, found);
            }
            (Shape::Map { values, most }, Value::Object(found)) => self.map(values, *most, path, found),
            (Shape::List { items, least, most, unique }, Value::Array(found)) => {
                self.count("entries", found.len(), *least, *most, path);
                for (index, item) in found.iter().take(*most).enumerate() {
                    self.value(items, &format!("{path}[{index}]"), item);
                }
                if let Some(key) = unique {
                    self.unique(key, path, found);
                }
            }
            (Shape::Text { .. }, Value::String(text)) => self.text(schema, path, text),
            (Shape::Integer { least, most }, Value::Number(number)) => {
                if !number.as_i64().is_some_and(|number| (*least..=*most).contains(&number)) {
                    let message =
                        format!("{number} is out of range: expected a whole number from {least} to {most}");
                    self.fault(path, Fault::Invalid(message));
                }
            }
            (Shape::Boolean, Value::Bool(_)) | (Shape::Anything, _) => {}
            (shape, other) => self.wrong_type(shape, path, other),
        }
    }

    fn object(
        &mut self,
        fields: &BTreeMap<String, Schema>,
        required: &[String],
        path: &str,
        found: &Map<String, Value>,
    ) {
        for (name, value) in found {
            match fields.get(name) {
                Some(schema) => self.value(schema, &join(path, name), value),
                None => self.unknown_field(fields, &join(path, name), name),
            }
        }
        for name in required {
            if !found.contains_key(name) {
                let about = fields.get(name).map_or(String::new(), |schema| schema.about.clone());
                self.fault(&join(path, name), Fault::Missing { about });
            }
        }
    }

    fn unknown_field(&mut self, fields: &BTreeMap<String, Schema>, path: &str, name: &str) {
        if self.faults.len() == MAX_FAULTS {
            return;
        }
        let nearest = fields
            .keys()
            .map(|known| (strsim::osa_distance(known, &clip(name)), known))
            .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
            .min()
            .map(|(_, known)| known.clone());
        // What only servers write is accepted, but not worth suggesting.
        let expected = fields.iter().filter(|(_, field)| !matches!(field.shape, Shape::Anything));
        let expected = expected.map(|(name, _)| name.clone()).collect();
        self.fault(path, Fault::UnknownField { nearest, expected });
    }

    fn map(&mut self, values: &Schema, most: usize, path: &str, found: &Map<String, Value>) {
        self.count("entries", found.len(), 0, most, path);
        for (name, value) in found.iter().take(most) {
            self.value(values, &join(path, name), value);
        }
    }

    fn unique(&mut self, key: &str, path: &str, found: &[Value]) {
        let mut first: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, item) in found.iter().enumerate() {
            let Some(name) = item.get(key).and_then(Value::as_str) else { continue };
            if let Some(earlier) = first.get(name) {
                let fault = Fault::Duplicate { name: clip(name), first: format!("{path}[{earlier}].{key}") };
                self.fault(&format!("{path}[{index}].{key}"), fault);
            } else {
                first.insert(name, index);
            }
        }
    }

    fn text(&mut self, schema: &Schema, path: &str, text: &str) {
        let Shape::Text { least, most, pattern, words, time } = &schema.shape else { return };
        if !words.is_empty() && !words.iter().any(|word| word == text) {
            self.fault(path, Fault::UnknownWord { value: self.quote(text), expected: words.clone() });
            return;
        }
        if !self.count("characters", text.chars().count(), *least, *most, path) {
            return;
        }
        if pattern.as_ref().is_some_and(|pattern| !pattern.is_match(text)) {
            let message = match (self.secret, schema.about.as_str()) {
                (true, about) => format!("is not accepted here ({about})"),
                (false, "") => format!("`{}` is not accepted here", clip(text)),
                (false, about) => format!("`{}` is not accepted here ({about})", clip(text)),
            };
            self.fault(path, Fault::Invalid(message));
        }
        if *time && text.parse::<Timestamp>().is_err() {
            let message =
                format!("`{}` is no time: expected one like `2027-01-31T00:00:00Z`", self.quote(text));
            self.fault(path, Fault::Invalid(message));
        }
    }

    fn count(&mut self, what: &str, found: usize, least: usize, most: usize, path: &str) -> bool {
        let message = if found < least {
            format!("has {found} {what}, needs at least {least}")
        } else if found > most {
            format!("has {found} {what}, may have at most {most}")
        } else {
            return true;
        };
        self.fault(path, Fault::Invalid(message));
        false
    }

    fn wrong_type(&mut self, shape: &Shape, path: &str, found: &Value) {
        let expected = match shape {
            Shape::Object { .. } => "an object",
            Shape::Map { .. } => "an object of texts",
            Shape::List { .. } => "a list",
            Shape::Text { .. } => "text",
            Shape::Integer { .. } => "a whole number",
            Shape::Boolean => "true or false",
            Shape::Anything => "something",
        };
        let quote = matches!((shape, found), (Shape::Text { .. }, Value::Number(_) | Value::Bool(_)));
        // Long texts and external ids end up where an object belongs; a number or a word is worth quoting.
        let found = match shape {
            Shape::Object { .. } | Shape::Map { .. } | Shape::List { .. } => kind(found).to_owned(),
            _ => self.describe(found),
        };
        self.fault(path, Fault::WrongType { expected, found, quote });
    }

    fn describe(&self, value: &Value) -> String {
        match value {
            _ if self.secret => kind(value).to_owned(),
            Value::Bool(flag) => format!("the truth value {flag}"),
            Value::Number(number) => format!("the number {}", number.to_string().trim_end_matches(".0")),
            Value::String(text) => format!("the text `{}`", clip(text)),
            other => kind(other).to_owned(),
        }
    }

    fn quote(&self, text: &str) -> String {
        if self.secret { "…".to_owned() } else { clip(text) }
    }
}

/// What a value is, without saying it.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A path with one more field; names that are no identifiers stand in quotes.
pub(crate) fn join(path: &str, name: &str) -> String {
    let plain = !name.is_empty()
        && name.chars().all(|each| each.is_ascii_alphanumeric() || each == '_' || each == '-');
    match (plain, path.is_empty()) {
        (true, true) => name.to_owned(),
        (true, false) => format!("{path}.{name}"),
        (false, _) => format!("{path}[{:?}]", clip(name)),
    }
}

/// The beginning of a text that may be long, fit for a terminal.
pub(crate) fn clip(text: &str) -> String {
    let mut clipped = String::new();
    for (index, each) in text.chars().enumerate() {
        match each {
            _ if index == MAX_QUOTE => {
                clipped.push('…');
                break;
            }
            control if control.is_control() => clipped.extend(control.escape_default()),
            plain => clipped.push(plain),
        }
    }
    clipped
}
