//! What arguments may look like at all, whatever the tool.

use serde_json::{Map, Value};
use tagwarden_app::ask::{AskError, quoted};

const STRING_CHARS: usize = 1024;
const ARRAY_ITEMS: usize = 1000;
const OBJECT_KEYS: usize = 50;
const DEPTH: usize = 5;
const BYTES: usize = 1 << 20;

/// Lists that have a bound of their own.
const LISTS: [(&str, usize); 5] =
    [("resource_types", 50), ("resource_arns", 100), ("regions", 40), ("accounts", 500), ("columns", 20)];

/// Lists that may come as one text.
const LENIENT: [&str; 6] = ["resource_types", "resource_arns", "regions", "accounts", "columns", "region"];

/// The arguments in the shape that tools know, or the first thing that is wrong with them.
pub(crate) fn validated(arguments: Map<String, Value>) -> Result<Map<String, Value>, AskError> {
    let bytes = serde_json::to_vec(&arguments).map_or(usize::MAX, |text| text.len());
    if bytes > BYTES {
        return Err(AskError::invalid(
            format!("the arguments take {bytes} bytes, and at most {BYTES} are possible"),
            "ask for less at a time",
        ));
    }
    let mut value = Value::Object(arguments);
    shape(&value, "arguments", 1)?;
    lenient(&mut value);
    bounds(&value)?;
    match value {
        Value::Object(arguments) => Ok(arguments),
        _ => Ok(Map::new()),
    }
}

fn shape(value: &Value, at: &str, depth: usize) -> Result<(), AskError> {
    if depth > DEPTH {
        return Err(AskError::invalid(
            format!("{at} is nested too deeply"),
            format!("at most {DEPTH} levels"),
        ));
    }
    match value {
        Value::String(text) => {
            if text.chars().count() > STRING_CHARS {
                return Err(AskError::invalid(
                    format!("{at} is longer than {STRING_CHARS} characters"),
                    "shorten it",
                ));
            }
            if text.chars().any(char::is_control) {
                return Err(AskError::invalid(
                    format!("{at} holds control characters: {}", quoted(text)),
                    "remove them",
                ));
            }
        }
        Value::Array(values) => {
            if values.len() > ARRAY_ITEMS {
                return Err(AskError::invalid(
                    format!("{at} has {} items, and at most {ARRAY_ITEMS} are possible", values.len()),
                    "ask for less at a time",
                ));
            }
            for (index, value) in values.iter().enumerate() {
                shape(value, &format!("{at}[{index}]"), depth + 1)?;
            }
        }
        Value::Object(object) => {
            if object.len() > OBJECT_KEYS {
                return Err(AskError::invalid(
                    format!("{at} has {} keys, and at most {OBJECT_KEYS} are possible", object.len()),
                    "leave out what the tool does not know",
                ));
            }
            for (key, value) in object {
                if key.chars().count() > 128 || key.chars().any(char::is_control) {
                    return Err(AskError::invalid(
                        format!("{} is no name", quoted(key)),
                        "see the input schema",
                    ));
                }
                shape(value, key, depth + 1)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// What models get wrong most often: nulls for what is left out, one text for a list, a list of one for a text.
fn lenient(value: &mut Value) {
    let Value::Object(object) = value else { return };
    object.retain(|_, value| !value.is_null());
    for (key, value) in object.iter_mut() {
        match value {
            Value::String(text) if LENIENT.contains(&key.as_str()) => {
                // Some send the list as the text of a JSON list.
                let list = serde_json::from_str::<Vec<String>>(text).unwrap_or_else(|_| vec![text.clone()]);
                *value = list.into();
            }
            Value::Array(items) if !LENIENT.contains(&key.as_str()) && items.len() == 1 => {
                if let [one @ (Value::String(_) | Value::Bool(_) | Value::Number(_))] = &items[..] {
                    *value = one.clone();
                }
            }
            Value::Object(_) => lenient(value),
            _ => {}
        }
    }
}

fn bounds(value: &Value) -> Result<(), AskError> {
    let Value::Object(object) = value else { return Ok(()) };
    for (key, value) in object {
        let most = LISTS.iter().find(|(list, _)| list == key).map(|(_, most)| *most);
        if let (Some(most), Value::Array(items)) = (most, value)
            && items.len() > most
        {
            return Err(AskError::invalid(
                format!("{key} has {} items, and at most {most} are possible", items.len()),
                "ask for less at a time, or leave it out for everything",
            ));
        }
        bounds(value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: Value) -> Result<Value, AskError> {
        let Value::Object(object) = value else { panic!("{value}") };
        validated(object).map(Value::Object)
    }

    #[test]
    fn what_models_get_wrong_is_put_right() {
        for (given, meant) in [
            (json!({"regions": "eu-west-1"}), json!({"regions": ["eu-west-1"]})),
            (json!({"resource_types": "[\"a\",\"b\"]"}), json!({"resource_types": ["a", "b"]})),
            (json!({"policy": ["corp"], "x": null}), json!({"policy": "corp"})),
            (json!({"filters": {"region": "a", "y": null}}), json!({"filters": {"region": ["a"]}})),
            (json!({"resource_arns": ["one"]}), json!({"resource_arns": ["one"]})),
        ] {
            assert_eq!(of(given.clone()).unwrap(), meant, "{given}");
        }
    }

    #[test]
    fn what_has_no_end_or_hides_something_is_refused() {
        for (given, says) in [
            (json!({"a": "x".repeat(1025)}), "longer than 1024"),
            (json!({"a": vec![1; 1001]}), "at most 1000"),
            (json!({"a": "b\u{1b}[2J"}), "control characters"),
            (json!({"a\n": 1}), "is no name"),
            (json!({"a": {"b": {"c": {"d": {"e": 1}}}}}), "nested too deeply"),
            (json!({"resource_types": vec!["t"; 51]}), "at most 50"),
            (json!({"resource_arns": vec!["t"; 101]}), "at most 100"),
            (json!({"filters": {"regions": vec!["t"; 41]}}), "at most 40"),
            (Value::Object((0..51).map(|n| (format!("k{n}"), json!(1))).collect()), "at most 50"),
            (json!({"a": vec!["x".repeat(1024); 1000], "b": vec!["y".repeat(1024); 40]}), "bytes"),
        ] {
            let error = of(given).unwrap_err();
            assert!(error.message.contains(says), "{error}");
        }
    }
}
