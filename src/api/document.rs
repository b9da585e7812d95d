//! A text becomes documents: YAML (any number of them) or JSON (one), strictly and within bounds.
//!
//! Both end in the same tree, in which a key given twice is an error: the last one silently winning is how a rule
//! gets lost.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};

use crate::error::Fault;
use crate::schema::clip;

/// The most bytes a manifest file may have.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// The most documents a file may have.
pub const MAX_DOCUMENTS: usize = 1000;

/// The documents of a file, or what kept each of them from being read; numbered from 1.
pub(crate) fn read(file: &str, bytes: &[u8]) -> Vec<Result<Value, Fault>> {
    match text(bytes) {
        Err(fault) => vec![Err(fault)],
        Ok(text) if has_json_name(file) => vec![json(text)],
        // A document that starts like JSON nearly always is JSON; YAML in flow style is the exception.
        Ok(text) if text.trim_start().starts_with('{') => {
            json(text).map_or_else(|_| yaml(text), |document| vec![Ok(document)])
        }
        Ok(text) => yaml(text),
    }
}

fn text(bytes: &[u8]) -> Result<&str, Fault> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(Fault::TooLarge { limit: MAX_FILE_BYTES });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| Fault::NotText { offset: error.valid_up_to() })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn has_json_name(file: &str) -> bool {
    std::path::Path::new(file).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

fn json(text: &str) -> Result<Value, Fault> {
    serde_json::from_str::<Strict>(text).map(|strict| strict.0).map_err(|error| {
        let message = error.to_string();
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(before, _)| before);
        let (line, column) = (error.line() as u64, error.column() as u64);
        Fault::Syntax { message: format!("not JSON: {message}"), line, column }
    })
}

fn yaml(text: &str) -> Vec<Result<Value, Fault>> {
    let options = serde_saphyr::options! {
        with_snippet: false, // it would show what stands next to the fault, and that may be a Secret
        reject_unsupported_tags: true,
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 50_000,
            max_replay_stack_depth: 16,
            max_alias_expansions_per_anchor: 1_000,
        },
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: Some(MAX_FILE_BYTES),
            max_depth: 32,
            flow_nesting_limit: 32,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_nodes: 250_000,
            max_merge_keys: 1_000,
        },
    };
    let mut bytes = text.as_bytes();
    let mut documents = Vec::new();
    for document in serde_saphyr::read_with_options::<_, Strict>(&mut bytes, options) {
        if documents.len() == MAX_DOCUMENTS {
            return vec![Err(Fault::TooManyDocuments { limit: MAX_DOCUMENTS })];
        }
        documents.push(document.map(|strict| strict.0).map_err(|error| syntax(&error)));
    }
    documents
}

fn syntax(error: &serde_saphyr::Error) -> Fault {
    let (line, column) = error.location().map_or((0, 0), |location| (location.line(), location.column()));
    let error = error.without_snippet();
    let message = match error {
        // The tag itself may be a secret that starts with `!` and lacks its quotes.
        serde_saphyr::Error::UnsupportedTag { .. } => {
            "a value starts with `!`, which makes it a tag; put it in quotes if it is meant as text"
                .to_owned()
        }
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key `{}` is given twice", clip(key))
        }
        other => {
            let words = other.render_with_formatter(&serde_saphyr::UserMessageFormatter);
            let words = words.rsplit_once(" at line ").map_or(words.as_str(), |(before, _)| before);
            remedy(words).unwrap_or(words).to_owned()
        }
    };
    Fault::Syntax { message: format!("not YAML: {message}"), line, column }
}

/// What people probably did, for what the parser says of its own state; the first that fits.
const REMEDIES: [(&[&str], &str); 12] = [
    (&["tab ", "tabs "], "a tab stands where YAML wants spaces: indent with spaces"),
    (
        &["unclosed quote", "multiline quoted", "unexpected document indicator"],
        "a quotation mark is opened and not closed: close it on the same line",
    ),
    (
        &["-quoted scalar"],
        "something follows a closing quotation mark: put the whole value into one pair of quotes",
    ),
    (
        &["quoted scalar"],
        "a `\\` in double quotes begins an escape that YAML does not know: use single quotes, as for a regex",
    ),
    (
        &["anchor", "alias", "unknown value"],
        "a value that begins with `*` or `&` refers to another place in the file: put it in quotes if it is text",
    ),
    (
        &["placement of ':'", "flow", "bracket", "',' or"],
        "a `[` or `{` is not closed, a comma is missing, or a text with `:` needs quotes",
    ),
    (
        &["simple key expected"],
        "the line is no field: a `:` is missing, or it goes on with the text above and needs indentation",
    ),
    (
        &["mapping values are", "mapping keys are", "simple key", "':'"],
        "a `:` stands where no field can begin: give the fields of an object the same indentation, and put a text with \
         `: ` in quotes",
    ),
    (
        &["block mapping", "block collection", "block sequence", "indentation", "indented", "'-'"],
        "the line is indented unlike its neighbours: align the fields of an object, and the `- ` of a list",
    ),
    (&["comment"], "a `#` needs a space before it to begin a comment, and quotes to be text"),
    (&["unexpected character", "plain scalar"], "a text cannot begin like this: put it in quotes"),
    (&["directive"], "a line that begins with `%` is no text: put the text in quotes"),
];

fn remedy(words: &str) -> Option<&'static str> {
    let said = |signs: &[&str]| signs.iter().any(|sign| words.contains(sign));
    REMEDIES.iter().find(|(signs, _)| said(signs)).map(|(_, remedy)| *remedy)
}

/// Any value, with every key once.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> DeserializeSeed<'de> for StrictVisitor {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that is none"))
    }

    #[allow(clippy::cast_precision_loss)] // so long a number fits no field; it only has to be told
    fn visit_i128<E: serde::de::Error>(self, value: i128) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }

    #[allow(clippy::cast_precision_loss)] // as above
    fn visit_u128<E: serde::de::Error>(self, value: u128) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element_seed(Self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if values.contains_key(&key) {
                return Err(A::Error::custom(format!("the key `{}` is given twice", clip(&key))));
            }
            let value = entries.next_value_seed(Self)?;
            values.insert(key, value);
        }
        Ok(Value::Object(values))
    }
}
