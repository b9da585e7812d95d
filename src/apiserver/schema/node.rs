//! The compiled form of a schema: one node per value that an object may hold.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;
use serde_json::Value;

use super::format::Format;
use super::rules::Rules;
use super::{MAX_DEPTH, SchemaError, child};

/// What one value may be.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // as a definition says them, one by one
pub(super) struct Node {
    pub kind: Kind,
    pub nullable: bool,
    pub preserve: bool,
    pub embedded: bool,
    pub properties: BTreeMap<String, Node>,
    pub additional: Additional,
    pub items: Option<Box<Node>>,
    pub required: Vec<String>,
    pub default: Option<Value>,
    pub list: List,
    pub atomic_map: bool,
    pub bounds: Bounds,
    pub all_of: Vec<Node>,
    pub any_of: Vec<Node>,
    pub one_of: Vec<Node>,
    pub not: Option<Box<Node>>,
    pub rules: Option<Rules>,
    /// Whether this node or one below it has rules: most subtrees have none and are not walked for them.
    pub has_rules: bool,
}

/// The JSON type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    IntOrString,
}

impl Kind {
    /// As errors name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::IntOrString => "integer,string",
        }
    }
}

/// What fields past the properties may be.
#[derive(Debug, Default)]
pub(super) enum Additional {
    /// There may be none: they are pruned.
    #[default]
    None,
    /// Anything.
    Any,
    /// Values of one shape: a map.
    Values(Box<Node>),
}

/// How the entries of a list are told apart.
#[derive(Debug, Default)]
pub(super) enum List {
    /// They are not.
    #[default]
    Atomic,
    /// By their value.
    Set,
    /// By these fields.
    Map(Vec<String>),
}

/// Limits of scalars and sizes.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    pub maximum: Option<f64>,
    pub exclusive_maximum: bool,
    pub minimum: Option<f64>,
    pub exclusive_minimum: bool,
    pub multiple_of: Option<f64>,
    pub max_length: Option<u64>,
    pub min_length: Option<u64>,
    pub pattern: Option<Pattern>,
    pub max_items: Option<u64>,
    pub min_items: Option<u64>,
    pub unique_items: bool,
    pub max_properties: Option<u64>,
    pub min_properties: Option<u64>,
    pub words: Vec<Value>,
    pub format: Option<Format>,
}

/// A pattern, as it was written and compiled.
#[derive(Debug)]
pub(super) struct Pattern {
    pub text: String,
    pub regex: Regex,
}

impl Node {
    pub fn compile(props: &JSONSchemaProps, path: &str, depth: usize) -> Result<Self, SchemaError> {
        let unsupported =
            |what: &str| Err(SchemaError::Unsupported { path: path.to_owned(), what: what.to_owned() });
        if depth > MAX_DEPTH {
            return unsupported("the schema nests too deep");
        }
        if props.ref_path.is_some() || props.pattern_properties.is_some() || props.definitions.is_some() {
            return unsupported("`$ref`, `patternProperties` and `definitions` are not structural");
        }
        let below = |props: &JSONSchemaProps, name: &str| Self::compile(props, &child(path, name), depth + 1);
        let all = |list: &Option<Vec<JSONSchemaProps>>, name: &str| {
            list.iter().flatten().map(|each| below(each, name)).collect::<Result<Vec<_>, _>>()
        };
        let properties = props.properties.iter().flatten();
        let mut node = Self {
            kind: kind(props, path)?,
            nullable: props.nullable.unwrap_or(false),
            preserve: props.x_kubernetes_preserve_unknown_fields.unwrap_or(false),
            embedded: props.x_kubernetes_embedded_resource.unwrap_or(false),
            properties: properties
                .map(|(name, each)| Ok((name.clone(), below(each, name)?)))
                .collect::<Result<_, SchemaError>>()?,
            additional: match &props.additional_properties {
                Some(JSONSchemaPropsOrBool::Schema(each)) => Additional::Values(Box::new(below(each, "*")?)),
                Some(JSONSchemaPropsOrBool::Bool(true)) => Additional::Any,
                Some(JSONSchemaPropsOrBool::Bool(false)) | None => Additional::None,
            },
            items: match &props.items {
                Some(JSONSchemaPropsOrArray::Schema(each)) => Some(Box::new(below(each, "[]")?)),
                Some(JSONSchemaPropsOrArray::Schemas(_)) => {
                    return unsupported("a list of schemas for `items` is not structural");
                }
                None => None,
            },
            required: props.required.clone().unwrap_or_default(),
            default: props.default.as_ref().map(|default| default.0.clone()),
            list: list(props),
            atomic_map: props.x_kubernetes_map_type.as_deref() == Some("atomic"),
            bounds: Bounds::compile(props, path)?,
            all_of: all(&props.all_of, "allOf")?,
            any_of: all(&props.any_of, "anyOf")?,
            one_of: all(&props.one_of, "oneOf")?,
            not: props.not.as_deref().map(|each| below(each, "not").map(Box::new)).transpose()?,
            rules: Rules::compile(props, path)?,
            has_rules: false,
        };
        node.has_rules = node.rules.is_some()
            || node.properties.values().any(|each| each.has_rules)
            || node.items.as_ref().is_some_and(|each| each.has_rules)
            || node.all_of.iter().any(|each| each.has_rules)
            || matches!(&node.additional, Additional::Values(each) if each.has_rules);
        Ok(node)
    }
}

fn kind(props: &JSONSchemaProps, path: &str) -> Result<Kind, SchemaError> {
    if props.x_kubernetes_int_or_string == Some(true) {
        return Ok(Kind::IntOrString);
    }
    Ok(match props.type_.as_deref() {
        None | Some("") => Kind::Any,
        Some("object") => Kind::Object,
        Some("array") => Kind::Array,
        Some("string") => Kind::String,
        Some("integer") => Kind::Integer,
        Some("number") => Kind::Number,
        Some("boolean") => Kind::Boolean,
        Some(other) => {
            let what = format!("`{other}` is no type of JSON schema");
            return Err(SchemaError::Unsupported { path: path.to_owned(), what });
        }
    })
}

fn list(props: &JSONSchemaProps) -> List {
    match props.x_kubernetes_list_type.as_deref() {
        Some("set") => List::Set,
        Some("map") => List::Map(props.x_kubernetes_list_map_keys.clone().unwrap_or_default()),
        _ => List::Atomic,
    }
}

impl Bounds {
    fn compile(props: &JSONSchemaProps, path: &str) -> Result<Self, SchemaError> {
        let size = |bound: Option<i64>| bound.and_then(|bound| u64::try_from(bound).ok());
        let pattern = props.pattern.as_ref().filter(|pattern| !pattern.is_empty());
        Ok(Self {
            maximum: props.maximum,
            exclusive_maximum: props.exclusive_maximum.unwrap_or(false),
            minimum: props.minimum,
            exclusive_minimum: props.exclusive_minimum.unwrap_or(false),
            multiple_of: props.multiple_of.filter(|factor| *factor > 0.0),
            max_length: size(props.max_length),
            min_length: size(props.min_length),
            pattern: pattern.map(|pattern| Pattern::compile(pattern, path)).transpose()?,
            max_items: size(props.max_items),
            min_items: size(props.min_items),
            unique_items: props.unique_items.unwrap_or(false),
            max_properties: size(props.max_properties),
            min_properties: size(props.min_properties),
            words: props.enum_.iter().flatten().map(|word| word.0.clone()).collect(),
            format: props.format.as_deref().and_then(Format::parse),
        })
    }
}

impl Pattern {
    fn compile(text: &str, path: &str) -> Result<Self, SchemaError> {
        match Regex::new(&ascii_classes(text)) {
            Ok(regex) => Ok(Self { text: text.to_owned(), regex }),
            Err(_) => Err(SchemaError::Pattern { path: path.to_owned(), pattern: text.to_owned() }),
        }
    }
}

/// The API server's regular expressions know `\d`, `\w` and `\s` as ASCII; ours would take all of Unicode.
fn ascii_classes(pattern: &str) -> String {
    let mut ascii = String::with_capacity(pattern.len());
    let mut rest = pattern.chars();
    while let Some(each) = rest.next() {
        if each != '\\' {
            ascii.push(each);
            continue;
        }
        match rest.next() {
            Some('d') => ascii.push_str("[0-9]"),
            Some('D') => ascii.push_str("[^0-9]"),
            Some('w') => ascii.push_str("[0-9A-Za-z_]"),
            Some('W') => ascii.push_str("[^0-9A-Za-z_]"),
            Some('s') => ascii.push_str("[\\t\\n\\f\\r ]"),
            Some('S') => ascii.push_str("[^\\t\\n\\f\\r ]"),
            Some(other) => ascii.extend(['\\', other]),
            None => ascii.push('\\'),
        }
    }
    ascii
}
