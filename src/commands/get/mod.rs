//! `tagwarden get`: objects as `kubectl get` prints them, for machines that have no `kubectl`.
//!
//! The server makes the table; this asks for it and lays it out.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use axum::http::{Request, header};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIResource, APIResourceList};
use kube::Client;
use serde::Deserialize;
use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use super::Failure;
use crate::cli::Get;
use crate::connection::{self, ConnectionError};
use crate::render::table::printable;

/// How `kubectl` asks for a table. A server that makes none answers with the list, which is then refused.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// Spaces between two columns.
const GAP: usize = 3;

/// The most rows of one kind that are printed.
const ROWS_MAX: usize = 10_000;

/// Rows asked for at once.
const PAGE: usize = 500;

/// Where the kinds are that people look at here, in the order in which a name is looked up.
const VERSIONS: [&str; 4] =
    ["/apis/tagwarden.io/v1alpha1", "/api/v1", "/apis/events.k8s.io/v1", "/apis/coordination.k8s.io/v1"];

pub(super) async fn run(flags: &Get) -> Result<u8, Failure> {
    let (client, default_namespace) = connection::connect(&flags.connection).await?;
    let known = kinds(&client).await?;
    let wanted = chosen(&flags.kinds, &known)?;
    let namespace = flags.namespace.as_ref().unwrap_or(&default_namespace);
    let scope = if flags.all_namespaces { None } else { Some(namespace.as_str()) };
    let many = wanted.len() > 1;
    let mut printed = Vec::new();
    for kind in wanted {
        let mut table = Table::default();
        fetch(&client, kind, scope, flags.selector.as_deref(), &mut table).await?;
        if !table.rows.is_empty() {
            let prefix = if many { kind.prefix() } else { String::new() };
            printed.push(lay_out(&table, &prefix, scope.is_none() && kind.resource.namespaced, flags.wide));
        }
    }
    if printed.is_empty() {
        let place = scope.map_or_else(String::new, |namespace| format!(" in {namespace} namespace"));
        anstream::eprintln!("No resources found{place}.");
    }
    io::stdout().lock().write_all(printed.join("\n").as_bytes())?;
    Ok(0)
}

/// A kind, and where its objects are.
#[derive(Debug, Clone)]
struct Kind {
    version: &'static str,
    resource: APIResource,
}

impl Kind {
    fn group(&self) -> &str {
        self.version.strip_prefix("/apis/").and_then(|rest| rest.split('/').next()).unwrap_or_default()
    }

    /// What stands before a name where several kinds are printed.
    fn prefix(&self) -> String {
        match self.group() {
            "" => format!("{}/", self.resource.singular_name),
            group => format!("{}.{group}/", self.resource.singular_name),
        }
    }

    fn is_called(&self, name: &str) -> bool {
        let plain = name.strip_suffix(self.group()).and_then(|plain| plain.strip_suffix('.')).unwrap_or(name);
        let resource = &self.resource;
        [&resource.name, &resource.singular_name].into_iter().any(|known| known == plain)
            || resource.kind.eq_ignore_ascii_case(plain)
            || resource.short_names.iter().flatten().any(|short| short == plain)
    }

    fn is_in(&self, category: &str) -> bool {
        self.resource.categories.iter().flatten().any(|known| known == category)
    }
}

/// What can be listed. A group that the server does not have is left out.
async fn kinds(client: &Client) -> Result<Vec<Kind>, ConnectionError> {
    let mut kinds = Vec::new();
    for version in VERSIONS {
        let list: APIResourceList = match ask(client, version, "application/json").await {
            Err(kube::Error::Api(status)) if status.code == 404 => continue,
            answer => answer?,
        };
        let listed = |resource: &APIResource| {
            !resource.name.contains('/') && resource.verbs.iter().any(|verb| verb == "list")
        };
        kinds.extend(list.resources.into_iter().filter(listed).map(|resource| Kind { version, resource }));
    }
    Ok(kinds)
}

fn chosen<'a>(names: &[String], known: &'a [Kind]) -> Result<Vec<&'a Kind>, ConnectionError> {
    let mut chosen: Vec<&Kind> = Vec::new();
    for name in names.iter().map(|name| name.to_ascii_lowercase()) {
        let one = known.iter().find(|kind| kind.is_called(&name));
        let found: Vec<&Kind> = match one {
            Some(kind) => vec![kind],
            None => known.iter().filter(|kind| kind.is_in(&name)).collect(),
        };
        if found.is_empty() {
            let known = known.iter().map(|kind| kind.resource.name.clone()).collect();
            return Err(ConnectionError::UnknownKind { kind: printable(&name), known });
        }
        for kind in found {
            let path = |kind: &Kind| (kind.version, kind.resource.name.clone());
            if !chosen.iter().any(|other| path(other) == path(kind)) {
                chosen.push(kind);
            }
        }
    }
    Ok(chosen)
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Table {
    kind: String,
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default)]
    column_definitions: Vec<Column>,
    #[serde(default)]
    rows: Vec<Row>,
}

#[derive(Debug, Default, Deserialize)]
struct ListMeta {
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Column {
    name: String,
    #[serde(default)]
    priority: i32,
}

#[derive(Debug, Deserialize)]
struct Row {
    #[serde(default)]
    cells: Vec<Value>,
    #[serde(default)]
    object: Value,
}

/// Fetches the table of a kind, page by page.
async fn fetch(
    client: &Client,
    kind: &Kind,
    namespace: Option<&str>,
    selector: Option<&str>,
    table: &mut Table,
) -> Result<(), ConnectionError> {
    let place = match namespace {
        Some(namespace) if kind.resource.namespaced => format!("/namespaces/{}", encoded(namespace)),
        _ => String::new(),
    };
    let selector = selector.map(|text| format!("&labelSelector={}", encoded(text))).unwrap_or_default();
    let path = format!("{}{place}/{}?limit={PAGE}{selector}", kind.version, kind.resource.name);
    let mut next = String::new();
    loop {
        let page: Table = ask(client, &format!("{path}{next}"), TABLE).await?;
        if page.kind != "Table" {
            return Err(ConnectionError::Refused("the control plane answers without a table".to_owned()));
        }
        if table.column_definitions.is_empty() {
            table.column_definitions = page.column_definitions;
        }
        table.rows.extend(page.rows);
        match page.metadata.next.filter(|token| !token.is_empty()) {
            Some(token) if table.rows.len() < ROWS_MAX => next = format!("&continue={}", encoded(&token)),
            _ => return Ok(()),
        }
    }
}

async fn ask<T: serde::de::DeserializeOwned>(
    client: &Client,
    path: &str,
    accept: &str,
) -> Result<T, kube::Error> {
    let request = Request::get(path).header(header::ACCEPT, accept).body(Vec::new());
    client.request(request.map_err(kube::Error::HttpError)?).await
}

/// As `kubectl` does: headings in capitals, three spaces between columns, none at the end of a line.
fn lay_out(table: &Table, prefix: &str, namespaces: bool, wide: bool) -> String {
    let shown: Vec<usize> = (0..table.column_definitions.len())
        .filter(|index| wide || table.column_definitions[*index].priority == 0)
        .collect();
    let mut lines: Vec<Vec<String>> = Vec::with_capacity(table.rows.len() + 1);
    let mut heading: Vec<String> =
        shown.iter().map(|index| table.column_definitions[*index].name.to_uppercase()).collect();
    if namespaces {
        heading.insert(0, "NAMESPACE".to_owned());
    }
    lines.push(heading);
    for row in &table.rows {
        let mut cells: Vec<String> = shown.iter().map(|index| cell(row.cells.get(*index))).collect();
        if let Some(name) = cells.first_mut() {
            name.insert_str(0, prefix);
        }
        if namespaces {
            cells.insert(0, cell(row.object.pointer("/metadata/namespace")));
        }
        lines.push(cells);
    }
    let widths: Vec<usize> = (0..lines[0].len())
        .map(|column| lines.iter().map(|cells| cells[column].width()).max().unwrap_or_default())
        .collect();
    let mut text = String::new();
    for cells in &lines {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(line, "{cell}{}", " ".repeat(width + GAP - cell.width()));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None => String::new(),
        Some(Value::Null) => "<none>".to_owned(),
        Some(Value::String(text)) => printable(text),
        Some(other) => other.to_string(),
    }
}

/// A text as part of a query.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table() -> Table {
        serde_json::from_value(json!({
            "kind": "Table",
            "columnDefinitions": [
                { "name": "Name", "priority": 0 },
                { "name": "Last Success", "priority": 0 },
                { "name": "Status", "priority": 1 },
                { "name": "Age", "priority": 0 },
            ],
            "rows": [
                { "cells": ["nightly", "5m", "fine", "2d"], "object": { "metadata": { "namespace": "a" } } },
                { "cells": ["ad", null, "é\u{7}", 7], "object": { "metadata": { "namespace": "team-b" } } },
            ],
        }))
        .unwrap()
    }

    #[test]
    fn tables_look_like_those_of_kubectl() {
        let plain = "NAME      LAST SUCCESS   AGE\nnightly   5m             2d\nad        <none>         7\n";
        assert_eq!(lay_out(&table(), "", false, false), plain);
        let all = lay_out(&table(), "complianceaudit.tagwarden.io/", true, true);
        let lines: Vec<&str> = all.lines().collect();
        assert!(lines[0].starts_with("NAMESPACE   NAME ") && lines[0].ends_with("STATUS   AGE"), "{all}");
        assert!(lines[1].starts_with("a           complianceaudit.tagwarden.io/nightly   5m"), "{all}");
        assert!(!all.contains('\u{7}'));
    }

    #[test]
    fn kinds_go_by_all_their_names() {
        let kind = |version, name: &str, singular: &str, short: &str, category: &str| Kind {
            version,
            resource: APIResource {
                name: name.into(),
                singular_name: singular.into(),
                kind: singular.to_uppercase(),
                short_names: Some(vec![short.into()]),
                categories: Some(vec![category.into()]),
                namespaced: true,
                ..APIResource::default()
            },
        };
        let known = [
            kind("/apis/tagwarden.io/v1alpha1", "taggingpolicies", "taggingpolicy", "tagpol", "tagwarden"),
            kind("/apis/tagwarden.io/v1alpha1", "clientaccounts", "clientaccount", "tagacct", "tagwarden"),
            kind("/api/v1", "events", "event", "ev", "all"),
        ];
        let find = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            chosen(&names, &known)
                .map(|kinds| kinds.iter().map(|kind| kind.resource.name.clone()).collect::<Vec<_>>())
        };
        for name in ["taggingpolicies", "TaggingPolicy", "tagpol", "taggingpolicies.tagwarden.io"] {
            assert_eq!(find(&[name]).unwrap(), ["taggingpolicies"], "{name}");
        }
        assert_eq!(find(&["tagpol", "tagwarden"]).unwrap(), ["taggingpolicies", "clientaccounts"]);
        assert_eq!(known[0].prefix(), "taggingpolicy.tagwarden.io/");
        assert_eq!(known[2].prefix(), "event/");
        assert!(find(&["pods"]).unwrap_err().to_string().contains("`pods`"));
    }
}
