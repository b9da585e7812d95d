//! The rules of object metadata: names, labels, annotations, finalizers, owners; in the API server's words.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value, json};

use crate::kind::{Kind, Rows};
use crate::status::Cause;

const MAX_LABEL: usize = 63;
const MAX_NAME: usize = 253;
const MAX_ANNOTATIONS: u64 = 256 << 10;

/// How much of a generated name may come from its base; the rest is for the tail.
const MAX_BASE: usize = 58;

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

/// The fields that metadata may have.
const FIELDS: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Brings metadata to its shape: types are right (otherwise it says what is wrong), empty parts and `managedFields` (which are not
/// kept here) are gone. Returns the paths of unknown fields, which are gone too.
pub fn shape(object: &mut Value) -> Result<Vec<String>, String> {
    let Some(fields) = object.as_object_mut() else { return Ok(Vec::new()) };
    let metadata = match fields.remove("metadata") {
        None | Some(Value::Null) => json!({}),
        Some(metadata) => metadata,
    };
    let wrong = |why: &dyn std::fmt::Display| format!("metadata cannot be read: {why}");
    let Value::Object(found) = &metadata else { return Err(wrong(&"it has to be an object")) };
    let unknown = found.keys().filter(|name| !FIELDS.contains(&name.as_str()));
    let unknown = unknown.map(|name| format!("metadata.{name}")).take(64).collect();
    let mut typed: ObjectMeta = serde_json::from_value(metadata).map_err(|error| wrong(&error))?;
    typed.managed_fields = None;
    typed.self_link = None;
    let mut metadata = serde_json::to_value(typed).map_err(|error| wrong(&error))?;
    if let Some(fields) = metadata.as_object_mut() {
        fields.retain(|_, value| !is_empty(value));
    }
    fields.insert("metadata".to_owned(), metadata);
    Ok(unknown)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(entries) => entries.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// All that is wrong with the metadata of an object about to be created. The name is already generated where
/// `generateName` asked for one.
pub fn metadata(kind: &Kind, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let namer = if kind.rows == Rows::Namespace { dns_label } else { dns_subdomain };
    let base = text(object, "generateName");
    if !base.is_empty()
        && let Some(why) = namer(&masked(base))
    {
        causes.push(Cause::invalid("metadata.generateName", &json!(base), why));
    }
    let name = text(object, "name");
    if name.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    } else if let Some(why) = namer(name) {
        causes.push(Cause::invalid("metadata.name", &json!(name), why));
    }
    let namespace = text(object, "namespace");
    match (kind.namespaced, namespace.is_empty()) {
        (true, true) => causes.push(Cause::required("metadata.namespace", "")),
        (true, false) => {
            let why = dns_label(namespace);
            causes.extend(why.map(|why| Cause::invalid("metadata.namespace", &json!(namespace), why)));
        }
        (false, false) => causes.push(Cause::forbidden("metadata.namespace", "not allowed on this type")),
        (false, true) => {}
    }
    causes.extend(common(object));
    causes.extend(finalizers(object));
    causes
}

/// All that is wrong with the metadata of an update: the rules above, and what may not change (name, namespace, uid,
/// creation and deletion time).
pub fn metadata_update(kind: &Kind, new: &Value, old: &Value) -> Vec<Cause> {
    let _ = kind;
    let mut causes = Vec::new();
    if old.pointer("/metadata/deletionTimestamp").is_some() {
        let known: BTreeSet<&str> = names(old, "finalizers").collect();
        let added: Vec<&str> = names(new, "finalizers").filter(|name| !known.contains(name)).collect();
        if !added.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers {}",
                json!(added)
            );
            causes.push(Cause::forbidden("metadata.finalizers", detail));
        }
    }
    if text(new, "resourceVersion").is_empty() {
        causes.push(Cause::invalid(
            "metadata.resourceVersion",
            &json!(""),
            "must be specified for an update",
        ));
    }
    let fixed =
        ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"];
    for field in fixed {
        let (was, is) = (&old["metadata"][field], &new["metadata"][field]);
        if was != is {
            causes.push(Cause::invalid(format!("metadata.{field}"), is, "field is immutable"));
        }
    }
    causes.extend(common(new));
    if names(new, "finalizers").ne(names(old, "finalizers")) {
        causes.extend(finalizers(new));
    }
    causes
}

fn common(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (key, value) in pairs(object, "labels") {
        let field = "metadata.labels";
        causes.extend(qualified_name(key).into_iter().map(|why| Cause::invalid(field, &json!(key), why)));
        causes.extend(label_value(value).into_iter().map(|why| Cause::invalid(field, &json!(value), why)));
    }
    let mut size = 0;
    for (key, value) in pairs(object, "annotations") {
        let faults = qualified_name(&key.to_lowercase());
        causes.extend(faults.into_iter().map(|why| Cause::invalid("metadata.annotations", &json!(key), why)));
        size += (key.len() + value.len()) as u64;
    }
    if size > MAX_ANNOTATIONS {
        causes.push(Cause::too_long("metadata.annotations", MAX_ANNOTATIONS));
    }
    causes.extend(owners(object));
    causes
}

fn owners(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let field = "metadata.ownerReferences";
    let owners = object.pointer("/metadata/ownerReferences");
    let mut controller: Option<String> = None;
    for owner in owners.and_then(Value::as_array).into_iter().flatten() {
        let part = |name: &str| owner.get(name).and_then(Value::as_str).unwrap_or_default();
        let missing = [("apiVersion", "version must not be empty"), ("kind", "must not be empty")];
        let more = [("name", "must not be empty"), ("uid", "must not be empty")];
        for (name, why) in missing.into_iter().chain(more).filter(|(name, _)| part(name).is_empty()) {
            causes.push(Cause::invalid(format!("{field}.{name}"), &json!(""), why));
        }
        if part("apiVersion") == "v1" && part("kind") == "Event" {
            causes.push(Cause::invalid(field, owner, "/v1, Kind=Event is disallowed from being an owner"));
        }
        if owner.get("controller") == Some(&Value::Bool(true)) {
            let this = format!("{}/{}", part("kind"), part("name"));
            if let Some(first) = &controller {
                let why = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} \
                     and {this}"
                );
                causes.push(Cause::invalid(field, owners.unwrap_or(&Value::Null), why));
            } else {
                controller = Some(this);
            }
        }
    }
    causes
}

fn finalizers(object: &Value) -> Vec<Cause> {
    let field = "metadata.finalizers";
    let mut causes = Vec::new();
    for name in names(object, "finalizers") {
        causes.extend(qualified_name(name).into_iter().map(|why| Cause::invalid(field, &json!(name), why)));
    }
    let has = |wanted: &str| names(object, "finalizers").any(|name| name == wanted);
    if has("orphan") && has("foregroundDeletion") {
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        causes.push(Cause::invalid(field, &object["metadata"]["finalizers"], why));
    }
    causes
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object
        .get("metadata")
        .and_then(|metadata| metadata.get(field))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn pairs<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let map: Option<&Map<String, Value>> =
        object.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_object);
    map.into_iter().flatten().map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
}

fn names<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = &'a str> {
    let list = object.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

/// A name from `generateName` and a random tail of five characters; a base that is too long is cut.
pub fn generated_name(base: &str, tail: &str) -> String {
    let end =
        base.char_indices().map(|(at, each)| at + each.len_utf8()).take_while(|end| *end <= MAX_BASE).last();
    format!("{}{tail}", &base[..end.unwrap_or(0)])
}

/// A base of names may end in a dash. What is looked at instead is as short as what the API server looks at, which
/// leaves out the character before the dash as well.
fn masked(base: &str) -> String {
    let mut masked = base.to_owned();
    if masked.chars().count() > 1 && masked.ends_with('-') {
        masked.pop();
        masked.pop();
        masked.push('a');
    }
    masked
}

fn regex_message(what: &str, examples: &[&str], regex: &str) -> String {
    let examples = examples.iter().map(|example| format!("'{example}', ")).collect::<Vec<_>>().join(" or ");
    format!("{what} (e.g. {examples}regex used for validation is '{regex}')")
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bytes.first().is_some_and(plain)
        && bytes.last().is_some_and(plain)
        && bytes.iter().all(|byte| plain(byte) || *byte == b'-')
}

/// Why a text is no DNS-1123 subdomain (as most names are), in the API server's words; `None` when it is one.
pub fn dns_subdomain(text: &str) -> Option<String> {
    if text.len() > MAX_NAME {
        return Some(format!("must be no more than {MAX_NAME} bytes"));
    }
    if text.split('.').all(is_label) {
        return None;
    }
    Some(regex_message(
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
         start and end with an alphanumeric character",
        &["example.com"],
        &format!("{LABEL}(\\.{LABEL})*"),
    ))
}

/// Why a text is no DNS-1123 label (as namespaces are); `None` when it is one.
pub fn dns_label(text: &str) -> Option<String> {
    if text.len() > MAX_LABEL {
        return Some(format!("must be no more than {MAX_LABEL} bytes"));
    }
    if is_label(text) {
        return None;
    }
    if text.split('.').all(is_label) {
        return Some("must not contain dots".to_owned());
    }
    Some(regex_message(
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and \
         end with an alphanumeric character",
        &["my-name", "123-abc"],
        LABEL,
    ))
}

/// Letters and digits around, dashes, dots and underscores between.
fn is_qualified(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// What is wrong with the key of a label, an annotation or a finalizer.
pub(crate) fn qualified_name(text: &str) -> Vec<String> {
    let rule = |prefix: &str, suffix: &str| {
        let what = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                    alphanumeric character";
        let told = regex_message(what, &["MyName", "my.name", "123-abc"], QUALIFIED);
        format!("{prefix} {told}{suffix}")
    };
    let mut faults = Vec::new();
    let parts: Vec<&str> = text.splitn(3, '/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        ["", name] => {
            faults.push("prefix part must be non-empty".to_owned());
            name
        }
        [prefix, name] => {
            faults.extend(dns_subdomain(prefix).map(|why| format!("prefix part {why}")));
            name
        }
        _ => {
            let suffix = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![rule("a valid label key", suffix)];
        }
    };
    if name.is_empty() {
        faults.push("name part must be non-empty".to_owned());
    } else if name.len() > MAX_LABEL {
        faults.push(format!("name part must be no more than {MAX_LABEL} bytes"));
    }
    if !is_qualified(name) {
        faults.push(rule("name part", ""));
    }
    faults
}

/// What is wrong with the value of a label.
pub(crate) fn label_value(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if text.len() > MAX_LABEL {
        faults.push(format!("must be no more than {MAX_LABEL} bytes"));
    }
    if !text.is_empty() && !is_qualified(text) {
        faults.push(regex_message(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
             start and end with an alphanumeric character",
            &["MyValue", "my_value", "12345"],
            &format!("({QUALIFIED})?"),
        ));
    }
    faults
}

/// Why a text is no key of a `ConfigMap` or a Secret; `None` when it is one.
pub(crate) fn data_key(text: &str) -> Option<String> {
    if text.len() > MAX_NAME {
        return Some(format!("must be no more than {MAX_NAME} bytes"));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.is_empty() || !text.bytes().all(plain) {
        return Some(regex_message(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            &["key.name", "KEY_NAME", "key-name"],
            "[-._a-zA-Z0-9]+",
        ));
    }
    match text {
        "." | ".." => Some(format!("must not be '{text}'")),
        _ if text.starts_with("..") => Some("must not start with '..'".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
#[path = "syntax_tests.rs"]
mod tests;
