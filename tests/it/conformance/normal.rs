//! Makes the answers of two servers comparable: whatever is made up anew each time gets a name.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::reply::Reply;

/// Words in messages that are followed by a version.
const BEFORE_VERSIONS: [&str; 6] =
    ["in record (", "version: ", "current: ", "object meta: ", "precondition: ", "version: <version> ("];

/// What was met so far in one file: equal things get equal names.
pub struct Names {
    /// By uid.
    objects: BTreeMap<String, Object>,
    /// What other texts are replaced by: the namespace, uids, and generated names.
    texts: BTreeMap<String, String>,
}

struct Object {
    name: String,
    /// In the order in which they were met.
    versions: Vec<String>,
}

impl Names {
    pub fn new(namespace: &str) -> Self {
        let texts = [(namespace.to_owned(), "<namespace>".to_owned())].into();
        Self { objects: BTreeMap::new(), texts }
    }

    /// The answer without what is random, or a matter of time.
    pub fn normal(&mut self, mut reply: Reply) -> Reply {
        sort_causes(&mut reply.body);
        reply.content_type = reply.content_type.replace("; charset=utf-8", "");
        let warnings = reply.warnings.iter().map(|text| self.text(text)).collect();
        Reply { body: self.value(reply.body), warnings, ..reply }
    }

    fn value(&mut self, value: Value) -> Value {
        match value {
            Value::Object(fields) => self.object(fields),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::String(text) => Value::String(self.text(&text)),
            other => other,
        }
    }

    fn object(&mut self, fields: Map<String, Value>) -> Value {
        let text = |name| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let uid = text("uid");
        // Labels further down may quote it.
        let (prefix, name) = (text("generateName"), text("name"));
        if let Some(random) =
            name.strip_prefix(&prefix).filter(|random| !random.is_empty() && !prefix.is_empty())
        {
            let shown = format!("{prefix}<{} random symbols>", random.chars().count());
            self.texts.insert(name.clone(), shown);
        }
        if is_uid(&uid) {
            self.object_of(&uid, &name);
        }
        let named = fields.into_iter().filter(|(name, _)| name != "managedFields").map(|(name, value)| {
            let value = match (name.as_str(), value) {
                ("resourceVersion", Value::String(version)) if is_version(&version) => {
                    Value::String(self.version(&uid, &version))
                }
                ("creationTimestamp" | "deletionTimestamp", Value::String(_)) => "<time>".into(),
                ("continue", Value::String(token)) if !token.is_empty() => "<continue>".into(),
                ("storageVersionHash" | "hash", Value::String(_)) => "<hash>".into(),
                ("message", Value::String(text)) => Value::String(self.message(&text)),
                ("verbs", Value::Array(verbs)) => sorted(&verbs),
                ("cells", Value::Array(cells)) => {
                    cells.into_iter().map(cell).map(|c| self.value(c)).collect()
                }
                (_, value) => self.value(value),
            };
            (name, value)
        });
        Value::Object(named.collect())
    }

    fn object_of(&mut self, uid: &str, name: &str) {
        if !self.objects.contains_key(uid) {
            let same = self.objects.values().filter(|object| object.name == name).count();
            let number = if same == 0 { String::new() } else { format!(" {}", same + 1) };
            self.texts.insert(uid.to_owned(), format!("<uid of {}{number}>", self.text(name)));
            self.objects.insert(uid.to_owned(), Object { name: name.to_owned(), versions: Vec::new() });
        }
    }

    /// Lists have a version, too: that of the whole server.
    fn version(&mut self, uid: &str, version: &str) -> String {
        let Some(object) = self.objects.get_mut(uid) else { return "<version>".to_owned() };
        let known = object.versions.iter().position(|known| known == version);
        let index = known.unwrap_or_else(|| {
            object.versions.push(version.to_owned());
            object.versions.len() - 1
        });
        format!("<version {} of it>", index + 1)
    }

    fn text(&self, text: &str) -> String {
        self.texts.iter().fold(text.to_owned(), |text, (random, name)| text.replace(random, name))
    }

    fn message(&self, text: &str) -> String {
        let mut text = self.text(text);
        // Some quote the whole object, times included.
        if let (true, Some(start), Some(end)) =
            (text.contains("creationTimestamp"), text.find('{'), text.rfind('}'))
        {
            text.replace_range(start..=end, "<object>");
        }
        for marker in BEFORE_VERSIONS {
            let mut from = 0;
            while let Some(found) = text[from..].find(marker) {
                let start = from + found + marker.len();
                let length = text[start..].find(|symbol: char| !symbol.is_ascii_digit());
                let end = length.map_or(text.len(), |length| start + length);
                if end > start && !text[end..].starts_with(|symbol: char| symbol.is_alphanumeric()) {
                    text.replace_range(start..end, "<version>");
                }
                from = start;
            }
        }
        text
    }
}

fn is_uid(text: &str) -> bool {
    text.len() == 36 && text.chars().all(|symbol| symbol == '-' || symbol.is_ascii_hexdigit())
}

fn is_version(text: &str) -> bool {
    text.parse::<u64>().is_ok_and(|version| version > 0)
}

/// Several causes come in the order of a hash map, and so does the message that repeats them. The one about rules that
/// were not looked at comes last.
fn sort_causes(body: &mut Value) {
    let causes = body.pointer_mut("/details/causes").and_then(Value::as_array_mut);
    let Some(causes) = causes.filter(|causes| causes.len() > 1) else { return };
    causes.sort_by_key(|cause| {
        (cause["field"] == "<nil>", ["field", "reason", "message"].map(|name| cause[name].to_string()))
    });
    if let Some(Value::String(message)) = body.get_mut("message")
        && let Some((before, _)) = message.split_once(": [")
    {
        *message = format!("{before}: [<causes>]");
    }
}

/// A set, in whatever order.
fn sorted(verbs: &[Value]) -> Value {
    let mut verbs: Vec<&str> = verbs.iter().filter_map(Value::as_str).collect();
    verbs.sort_unstable();
    verbs.join(" ").into()
}

/// Ages go by.
fn cell(cell: Value) -> Value {
    let is_age = |text: &str| {
        text.starts_with(|symbol: char| symbol.is_ascii_digit())
            && text.ends_with(['s', 'm', 'h', 'd'])
            && text.chars().all(|symbol| symbol.is_ascii_digit() || "smhd".contains(symbol))
    };
    match cell {
        Value::String(text) if is_age(&text) => "<age>".into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_made_up_anew_gets_a_name_and_equal_things_the_same_one() {
        let uid = "0f3c1e0e-1111-4222-8333-444455556666";
        let meta = json!({"generateName": "a-", "name": "a-x7k2p", "uid": uid, "resourceVersion": "17",
            "namespace": "conformance-1", "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [1]});
        let status =
            json!({"message": format!("a-x7k2p, uid {uid} in conformance-1, current: 18"), "metadata": {}});
        let body = json!([meta, status, {"metadata": {"resourceVersion": "19"}}, {"cells": ["a", "3s"]}]);
        let reply = Reply { code: 200, content_type: String::new(), warnings: Vec::new(), body };
        let expected = json!([
            {"generateName": "a-", "name": "a-<5 random symbols>", "uid": "<uid of a-<5 random symbols>>",
             "namespace": "<namespace>", "resourceVersion": "<version 1 of it>", "creationTimestamp": "<time>"},
            {"message": "a-<5 random symbols>, uid <uid of a-<5 random symbols>> in <namespace>, current: <version>",
             "metadata": {}},
            {"metadata": {"resourceVersion": "<version>"}},
            {"cells": ["a", "<age>"]},
        ]);
        assert_eq!(Names::new("conformance-1").normal(reply).body, expected);
    }

    #[test]
    fn causes_are_sorted() {
        let causes = json!([{"field": "spec.b", "reason": "r"}, {"field": "spec.a", "reason": "r"}]);
        let mut body =
            json!({"message": "x is invalid: [spec.b: r, spec.a: r]", "details": {"causes": causes}});
        sort_causes(&mut body);
        let causes = json!([{"field": "spec.a", "reason": "r"}, {"field": "spec.b", "reason": "r"}]);
        assert_eq!(body, json!({"message": "x is invalid: [<causes>]", "details": {"causes": causes}}));
    }
}
