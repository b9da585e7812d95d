//! Where two answers differ.

use std::fmt;

use serde_json::{Value, json};

use super::reply::Reply;

/// One place where an answer is not what the real server says.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The probe.
    pub probe: String,
    /// The place, as a JSON pointer into the answer.
    pub at: String,
    /// What the real server says; nothing where it says nothing.
    pub real: Option<Value>,
    /// What the server under test says.
    pub found: Option<Value>,
}

impl Difference {
    /// Whether it is in the same place of the same probe.
    pub fn is_at(&self, other: &Self) -> bool {
        (&self.probe, &self.at) == (&other.probe, &other.at)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let say = |value: &Option<Value>| match value {
            None => "nothing".to_owned(),
            Some(value) => value.to_string().chars().take(400).collect(),
        };
        write!(
            f,
            "{} {}\n    real:  {}\n    found: {}",
            self.probe,
            self.at,
            say(&self.real),
            say(&self.found)
        )
    }
}

/// All places where they differ; only the code where that differs, as nothing else then fits either.
pub fn differences(probe: &str, real: &Reply, found: &Reply) -> Vec<Difference> {
    let json = |reply: &Reply| {
        if real.code == found.code {
            return serde_json::to_value(reply).expect("a reply is JSON");
        }
        let reason = reply.body["reason"].as_str().unwrap_or_default();
        json!({"code": format!("{} {reason}", reply.code)})
    };
    let mut all = Vec::new();
    walk("", Some(&json(real)), Some(&json(found)), &mut |at, real, found| {
        all.push(Difference {
            probe: probe.to_owned(),
            at: at.to_owned(),
            real: real.cloned(),
            found: found.cloned(),
        });
    });
    all
}

fn walk(
    at: &str,
    real: Option<&Value>,
    found: Option<&Value>,
    tell: &mut impl FnMut(&str, Option<&Value>, Option<&Value>),
) {
    match (real, found) {
        (Some(Value::Object(real)), Some(Value::Object(found))) => {
            for name in real.keys() {
                walk(&format!("{at}/{name}"), real.get(name), found.get(name), tell);
            }
            for name in found.keys().filter(|name| !real.contains_key(*name)) {
                walk(&format!("{at}/{name}"), None, found.get(name), tell);
            }
        }
        (Some(Value::Array(real)), Some(Value::Array(found))) => {
            for index in 0..real.len().max(found.len()) {
                walk(&format!("{at}/{index}"), real.get(index), found.get(index), tell);
            }
        }
        (real, found) if real != found => tell(at, real, found),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_told_once() {
        let reply = |code, body| Reply { code, content_type: String::new(), warnings: Vec::new(), body };
        let real = reply(200, json!({"a": [1, {"b": 2}], "c": "x"}));
        let found = reply(200, json!({"a": [1, {"b": 3}, 4], "d": null}));
        let places: Vec<String> = differences("p", &real, &found).into_iter().map(|each| each.at).collect();
        assert_eq!(places, ["/body/a/1/b", "/body/a/2", "/body/c", "/body/d"]);
        let other = reply(409, json!({"reason": "Conflict"}));
        let coded = differences("p", &real, &other);
        assert_eq!(coded.len(), 1);
        assert_eq!((coded[0].at.as_str(), &coded[0].found), ("/code", &Some(json!("409 Conflict"))));
        assert!(differences("p", &real, &real).is_empty());
    }
}
