//! Reads JSON as an API server does: a key that comes twice counts with its last value, and is told.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// More of them help nobody.
const MAX_DUPLICATES: usize = 16;

/// The value, and the paths of the keys that come twice, like `spec.size`.
pub(super) fn read(text: &[u8]) -> Result<(Value, Vec<String>), serde_json::Error> {
    let found = RefCell::default();
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = At { path: Path::Root, duplicates: &found }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok((value, found.into_inner()))
}

/// Where a value is; made into a text only when it is told.
#[derive(Clone, Copy)]
enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, key) => formatter.write_str(key),
            Self::Key(above, key) => write!(formatter, "{above}.{key}"),
            Self::Index(above, index) => write!(formatter, "{above}[{index}]"),
        }
    }
}

struct At<'a> {
    path: Path<'a>,
    duplicates: &'a RefCell<Vec<String>>,
}

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            let path = Path::Index(&self.path, values.len());
            match sequence.next_element_seed(At { path, duplicates: self.duplicates })? {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let path = Path::Key(&self.path, &key);
            if fields.contains_key(&key) && self.duplicates.borrow().len() < MAX_DUPLICATES {
                self.duplicates.borrow_mut().push(path.to_string());
            }
            let value = map.next_value_seed(At { path, duplicates: self.duplicates })?;
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_that_come_twice_are_told() {
        let text = br#"{"a": 1, "b": [{"c": 1, "c": {"d": 1, "d": 2}}], "a": 1.5}"#;
        let (value, duplicates) = read(text).unwrap();
        assert_eq!(value, json!({ "a": 1.5, "b": [{ "c": { "d": 2 } }] }));
        assert_eq!(duplicates, ["b[0].c", "b[0].c.d", "a"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn otherwise_it_reads_what_serde_reads(text in "[\\[\\]{}\",:0-9a-c. -]{0,40}") {
            let (ours, theirs) = (read(text.as_bytes()), serde_json::from_str::<Value>(&text));
            prop_assert_eq!(ours.ok().map(|(value, _)| value), theirs.ok());
        }
    }
}
