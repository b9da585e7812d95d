//! `Table`: the rows that kubectl prints, made by the server.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

pub use crate::jsonpath::Path;
use crate::kind::{Column, Kind, Rows};
use crate::status::ApiError;

/// What goes along with each row: the `includeObject` parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// The object's metadata.
    #[default]
    Metadata,
    /// The whole object.
    Object,
}

impl Include {
    /// From the query parameter; 400 for another word.
    pub fn parse(text: Option<&str>) -> Result<Self, ApiError> {
        match text {
            None | Some("" | "Metadata") => Ok(Self::Metadata),
            Some("None") => Ok(Self::None),
            Some("Object") => Ok(Self::Object),
            Some(other) => Err(ApiError::bad_request(format!(
                "unrecognized includeObject value: {}",
                crate::status::quote(&json!(other))
            ))),
        }
    }
}

/// What the answer to a request should look like, from its `Accept` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The object or list itself.
    Object,
    /// `as=Table`.
    Table,
    /// `as=PartialObjectMetadata` or `as=PartialObjectMetadataList`.
    Metadata,
}

/// Reads an `Accept` header: the first form that is served here, in its order; 406 when there is none.
pub fn form(accept: Option<&str>) -> Result<Form, ApiError> {
    let accept = accept.filter(|accept| !accept.trim().is_empty()).unwrap_or("*/*");
    let found = accept.split(',').take(64).find_map(one_form);
    found.ok_or_else(|| ApiError::not_acceptable("application/json"))
}

fn one_form(clause: &str) -> Option<Form> {
    let mut parts = clause.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    if !matches!(media.as_str(), "application/json" | "application/*" | "*/*") {
        return None;
    }
    let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
    let get = |name: &str| parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let meta = get("g") == Some("meta.k8s.io") && get("v") == Some("v1");
    match get("as") {
        None => Some(Form::Object),
        Some("Table") if meta => Some(Form::Table),
        Some("PartialObjectMetadata" | "PartialObjectMetadataList") if meta => Some(Form::Metadata),
        Some(_) => None,
    }
}

/// A table of these objects. `list_meta` is the list's `metadata` (version, continue), or the object's version for a
/// single one. Watch events after the first leave the headings out.
pub fn table<'a>(
    kind: &Kind,
    objects: impl IntoIterator<Item = &'a Value>,
    list_meta: &Value,
    include: Include,
    headings: bool,
    now: Timestamp,
) -> Value {
    let rows: Vec<Value> = objects.into_iter().map(|object| row(kind, object, include, now)).collect();
    let columns = if headings { Value::Array(self::headings(kind)) } else { Value::Null };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": list_meta,
        "columnDefinitions": columns, "rows": rows,
    })
}

fn row(kind: &Kind, object: &Value, include: Include, now: Timestamp) -> Value {
    let cells = cells(kind, object, now);
    match include {
        Include::None => json!({"cells": cells, "object": null}),
        Include::Metadata => json!({"cells": cells, "object": partial(object)}),
        Include::Object => json!({"cells": cells, "object": object}),
    }
}

/// An object's `PartialObjectMetadata`.
pub fn partial(object: &Value) -> Value {
    let metadata = object.get("metadata").cloned().unwrap_or_else(|| json!({}));
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

const NAME: &str = "Name must be unique within a namespace. Cannot be updated.";
const AGE: &str = "When it was created, by the clock of the server.";

fn heading(name: &str, type_: &str, format: &str, description: &str, priority: i32) -> Value {
    json!({"name": name, "type": type_, "format": format, "description": description, "priority": priority})
}

fn headings(kind: &Kind) -> Vec<Value> {
    let name = || heading("Name", "string", "name", NAME, 0);
    let plain = |name: &str, description: &str| heading(name, "string", "", description, 0);
    let wide = |name: &str, description: &str| heading(name, "string", "", description, 1);
    let age = || plain("Age", AGE);
    match kind.rows {
        Rows::Columns => std::iter::once(name()).chain(kind.columns.iter().map(column)).collect(),
        Rows::Namespace => vec![name(), plain("Status", "Whether it is there or going away."), age()],
        Rows::Lease => vec![name(), plain("Holder", "Who holds it."), age()],
        Rows::ConfigMap => vec![name(), plain("Data", "How many keys it has."), age()],
        Rows::Secret => {
            vec![name(), plain("Type", "What it is for."), plain("Data", "How many keys it has."), age()]
        }
        Rows::Event => vec![
            plain("Last Seen", "When it last happened."),
            plain("Type", "Normal or Warning."),
            plain("Reason", "Why, in one word."),
            plain("Object", "What it is about."),
            wide("Subobject", "Which part of it."),
            wide("Source", "Who reported it."),
            plain("Message", "What happened."),
            wide("First Seen", "When it first happened."),
            wide("Count", "How often it happened."),
            heading("Name", "string", "name", NAME, 1),
        ],
    }
}

fn column(column: &Column) -> Value {
    heading(&column.name, &column.type_, &column.format, &column.description, column.priority)
}

fn cells(kind: &Kind, object: &Value, now: Timestamp) -> Vec<Value> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let count = |field: &str| object.get(field).and_then(Value::as_object).map_or(0, serde_json::Map::len);
    let name = json!(text("/metadata/name"));
    let age = json!(since(object.pointer("/metadata/creationTimestamp"), now));
    match kind.rows {
        Rows::Columns => {
            std::iter::once(name).chain(kind.columns.iter().map(|column| cell(column, object, now))).collect()
        }
        Rows::Namespace => vec![name, json!(text("/status/phase")), age],
        Rows::Lease => vec![name, json!(text("/spec/holderIdentity")), age],
        Rows::ConfigMap => vec![name, json!(count("data") + count("binaryData")), age],
        Rows::Secret => vec![name, json!(text("/type")), json!(count("data")), age],
        Rows::Event => event(kind, object, now),
    }
}

fn cell(column: &Column, object: &Value, now: Timestamp) -> Value {
    let Some(value) = column.path.first(object) else { return Value::Null };
    match (column.type_.as_str(), value) {
        (_, Value::Null) => Value::Null,
        ("string", Value::String(text)) => json!(text),
        ("string", other) => json!(other.to_string()),
        ("integer", Value::Number(number)) => whole(number),
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        ("date", Value::String(_)) => json!(since(Some(value), now)),
        _ => Value::Null,
    }
}

#[allow(clippy::cast_possible_truncation)] // a column of whole numbers shows the whole part
fn whole(number: &serde_json::Number) -> Value {
    match number.as_i64() {
        Some(whole) => json!(whole),
        None => number.as_f64().map_or(Value::Null, |number| json!(number as i64)),
    }
}

fn event(kind: &Kind, object: &Value, now: Timestamp) -> Vec<Value> {
    let core = kind.group.is_empty();
    let named = |core_name: &'static str, new_name: &'static str| if core { core_name } else { new_name };
    let at = |field: &str| object.pointer(field).filter(|value| !value.is_null());
    let text = |field: &str| at(field).and_then(Value::as_str).unwrap_or_default();
    let either = |first: &str, second: &str| {
        let first = text(first);
        if first.is_empty() { text(second).to_owned() } else { first.to_owned() }
    };
    let first = at(named("/firstTimestamp", "/deprecatedFirstTimestamp")).or_else(|| at("/eventTime"));
    let last = at("/series/lastObservedTime");
    let last = last.or_else(|| at(named("/lastTimestamp", "/deprecatedLastTimestamp"))).or(first);
    let count = at("/series/count").or_else(|| at(named("/count", "/deprecatedCount")));
    let count = count.and_then(Value::as_i64).filter(|count| *count > 0).unwrap_or(1);
    let about = named("/involvedObject", "/regarding");
    let (about_kind, about_name) =
        (text(&format!("{about}/kind")).to_lowercase(), text(&format!("{about}/name")));
    let target = if about_name.is_empty() { about_kind } else { format!("{about_kind}/{about_name}") };
    let source = named("/source", "/deprecatedSource");
    let component =
        either(&format!("{source}/component"), named("/reportingComponent", "/reportingController"));
    let host = either(&format!("{source}/host"), "/reportingInstance");
    let source = if host.is_empty() { component } else { format!("{component}, {host}") };
    vec![
        json!(since(last, now)),
        json!(text("/type")),
        json!(text("/reason")),
        json!(target),
        json!(text(&format!("{about}/fieldPath"))),
        json!(source),
        json!(text(named("/message", "/note")).trim()),
        json!(since(first, now)),
        json!(count),
        json!(text("/metadata/name")),
    ]
}

/// How long ago a time was, as `5m`, `3h20m` or `12d`.
fn since(time: Option<&Value>, now: Timestamp) -> String {
    match time.and_then(Value::as_str) {
        None => "<unknown>".to_owned(),
        Some(text) => match text.parse::<Timestamp>() {
            Ok(then) => age(now.as_second() - then.as_second()),
            Err(_) => "<invalid>".to_owned(),
        },
    }
}

/// Seconds as people say them: two units while both tell something, one after that.
fn age(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |big: i64, big_unit: &str, small: i64, small_unit: &str| {
        let rest = seconds % big / small;
        let whole = seconds / big;
        if rest == 0 { format!("{whole}{big_unit}") } else { format!("{whole}{big_unit}{rest}{small_unit}") }
    };
    match seconds {
        ..=-2 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(MINUTE, "m", 1, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(HOUR, "h", MINUTE, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(DAY, "d", HOUR, "h"),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two(YEAR, "y", DAY, "d"),
        _ => format!("{}y", seconds / YEAR),
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
