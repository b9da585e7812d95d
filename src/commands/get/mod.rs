//! `tagwarden get`: objects as `kubectl get` prints them, for machines that have no `kubectl`.
//!
//! The server makes the table; this asks for it and lays it out.

mod kinds;
mod table;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::pin::pin;

use axum::http::{Request, header};
use futures_util::TryStreamExt as _;
use kube::Client;
use kube::core::WatchEvent;
use serde::Serialize as _;
use serde_json::{Value, json};

use self::kinds::{Kind, ask, chosen, kinds};
use self::table::{Layout, Row, Table};
use super::Failure;
use crate::cli::{Get, GetOutput};
use crate::connection::{self, ConnectionError};
use crate::render::table::printable;

/// How `kubectl` asks for a table. A server that makes none answers with the list, which is then refused.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// The most rows of one kind that are printed.
const ROWS_MAX: usize = 10_000;

/// Rows asked for at once.
const PAGE: usize = 500;

/// After how long a watch is begun anew where it was, in seconds.
const WATCH_SECONDS: u16 = 290;

pub(super) async fn run(flags: &Get) -> Result<u8, Failure> {
    let (client, default_namespace) = connection::connect(&flags.connection).await?;
    let known = kinds(&client).await?;
    let wanted = Wanted::of(&flags.what, &known)?;
    let namespace = flags.namespace.as_ref().unwrap_or(&default_namespace);
    let scope = if flags.all_namespaces { None } else { Some(namespace.as_str()) };
    if scope.is_none() && wanted.iter().any(|wanted| wanted.name.is_some()) {
        return Err(ConnectionError::Arguments("a NAME does not go with --all-namespaces").into());
    }
    let asking = Asking { client, scope, flags };
    match wanted.as_slice() {
        [one] if flags.watch => asking.watch(one).await,
        _ if flags.watch => Err(ConnectionError::Arguments("--watch takes one kind").into()),
        _ => asking.print(&wanted).await,
    }
}

/// Objects of a kind: all, or one.
#[derive(Debug)]
struct Wanted<'a> {
    kind: &'a Kind,
    name: Option<String>,
}

impl<'a> Wanted<'a> {
    /// What `KINDS`, `KINDS NAME …` or `KIND/NAME …` means.
    fn of(what: &[String], known: &'a [Kind]) -> Result<Vec<Self>, ConnectionError> {
        if what.iter().any(|one| one.contains('/')) {
            let each = what.iter().map(|one| {
                let (kind, name) = one
                    .split_once('/')
                    .filter(|(kind, name)| !kind.is_empty() && !name.is_empty())
                    .ok_or(ConnectionError::Arguments(
                        "expected either KIND/NAME everywhere, or KINDS and then NAMEs",
                    ))?;
                Ok(chosen(&[kind], known)?
                    .into_iter()
                    .map(|kind| Self { kind, name: Some(name.to_owned()) })
                    .collect::<Vec<_>>())
            });
            return Ok(each.collect::<Result<Vec<_>, ConnectionError>>()?.into_iter().flatten().collect());
        }
        let (kinds, names) = what.split_first().ok_or(ConnectionError::Arguments("expected a kind"))?;
        let kinds = chosen(&kinds.split(',').collect::<Vec<_>>(), known)?;
        if names.is_empty() {
            return Ok(kinds.into_iter().map(|kind| Self { kind, name: None }).collect());
        }
        let each = kinds.into_iter().flat_map(|kind| names.iter().map(move |name| (kind, name)));
        Ok(each.map(|(kind, name)| Self { kind, name: Some(name.clone()) }).collect())
    }
}

/// The server, and what is asked of it.
struct Asking<'a> {
    client: Client,
    scope: Option<&'a str>,
    flags: &'a Get,
}

impl Asking<'_> {
    /// Prints what is there now. What is not there is told after the rest.
    async fn print(&self, wanted: &[Wanted<'_>]) -> Result<u8, Failure> {
        let mut missing = Vec::new();
        let mut found: Vec<(&Kind, Table)> = Vec::new();
        for one in wanted {
            let table = match self.table(one).await {
                Err(kube::Error::Api(status)) if status.code == 404 && one.name.is_some() => {
                    missing.push(ConnectionError::from(kube::Error::Api(status)));
                    continue;
                }
                table => table.map_err(ConnectionError::from)?,
            };
            match found.last_mut().filter(|(kind, _)| kind.prefix() == one.kind.prefix()) {
                Some((_, before)) => before.rows.extend(table.rows),
                None => found.push((one.kind, table)),
            }
        }
        found.retain(|(_, table)| !table.rows.is_empty());
        let alone = wanted.len() == 1 && wanted[0].name.is_some();
        let text =
            self.text(found, wanted.iter().any(|one| one.kind.prefix() != wanted[0].kind.prefix()), alone)?;
        if text.is_empty() && missing.is_empty() {
            let place = self.scope.map_or_else(String::new, |namespace| format!(" in {namespace} namespace"));
            anstream::eprintln!("No resources found{place}.");
        }
        io::stdout().lock().write_all(text.as_bytes())?;
        let Some(last) = missing.pop() else { return Ok(0) };
        for error in missing {
            super::warn(&error.to_string());
        }
        Err(last.into())
    }

    /// What is printed: tables, or documents. `many` kinds have their names before those of their objects; an object
    /// that was asked for `alone` is no list.
    fn text(&self, found: Vec<(&Kind, Table)>, many: bool, alone: bool) -> Result<String, Failure> {
        let Some(format) = self.flags.output.filter(|format| *format != GetOutput::Wide) else {
            let tables = found.iter().map(|(kind, table)| {
                let layout = self.layout(kind, table, many);
                layout.head() + &table.rows.iter().map(|row| layout.row(row)).collect::<String>()
            });
            return Ok(tables.collect::<Vec<_>>().join("\n"));
        };
        if format == GetOutput::Name {
            let names = found.iter().flat_map(|(kind, table)| table.rows.iter().map(|row| named(kind, row)));
            return Ok(names.collect());
        }
        let mut items: Vec<Value> =
            found.into_iter().flat_map(|(_, table)| table.rows).map(|row| row.object).collect();
        match (alone, items.pop()) {
            (true, None) => Ok(String::new()),
            (true, Some(one)) => document(format, &one),
            (false, last) => {
                items.extend(last);
                let metadata = json!({ "resourceVersion": "" });
                document(
                    format,
                    &json!({ "apiVersion": "v1", "kind": "List", "items": items, "metadata": metadata }),
                )
            }
        }
    }

    fn layout(&self, kind: &Kind, table: &Table, many: bool) -> Layout {
        let prefix = if many { kind.prefix() } else { String::new() };
        let wide = self.flags.wide || self.flags.output == Some(GetOutput::Wide);
        Layout::new(table, prefix, self.scope.is_none() && kind.resource.namespaced, wide)
    }

    /// Where the objects of a kind are, and what comes with each row of their table.
    fn path(&self, kind: &Kind, name: Option<&str>) -> String {
        let place = match self.scope {
            Some(namespace) if kind.resource.namespaced => format!("/namespaces/{}", encoded(namespace)),
            _ => String::new(),
        };
        let name = name.map(|name| format!("/{}", encoded(name))).unwrap_or_default();
        let whole = matches!(self.flags.output, Some(GetOutput::Json | GetOutput::Yaml));
        let include = if whole { "Object" } else { "Metadata" };
        let selector = self
            .flags
            .selector
            .as_ref()
            .map(|text| format!("&labelSelector={}", encoded(text)))
            .unwrap_or_default();
        format!("{}{place}/{}{name}?includeObject={include}{selector}", kind.version, kind.resource.name)
    }

    /// The table of what is wanted, page by page.
    async fn table(&self, wanted: &Wanted<'_>) -> Result<Table, kube::Error> {
        let path = self.path(wanted.kind, wanted.name.as_deref());
        let limit = if wanted.name.is_none() { format!("&limit={PAGE}") } else { String::new() };
        let mut table = Table::default();
        let mut next = String::new();
        loop {
            let mut page: Table = ask(&self.client, &format!("{path}{limit}{next}"), TABLE).await?;
            if page.kind != "Table" {
                return Err(kube::Error::Service("it answers without a table".into()));
            }
            if !table.column_definitions.is_empty() {
                page.column_definitions = std::mem::take(&mut table.column_definitions);
            }
            page.rows.splice(..0, std::mem::take(&mut table.rows));
            table = page;
            match table.metadata.next.take().filter(|token| !token.is_empty()) {
                Some(token) if table.rows.len() < ROWS_MAX => next = format!("&continue={}", encoded(&token)),
                _ => return Ok(table),
            }
        }
    }

    /// Prints what is there, and then each change, until somebody stops it.
    async fn watch(&self, wanted: &Wanted<'_>) -> Result<u8, Failure> {
        let mut table = self.table(wanted).await.map_err(ConnectionError::from)?;
        let only =
            wanted.name.as_deref().map(|name| format!("&fieldSelector=metadata.name%3D{}", encoded(name)));
        let path = format!(
            "{}{}&watch=true&timeoutSeconds={WATCH_SECONDS}",
            self.path(wanted.kind, None),
            only.unwrap_or_default()
        );
        let mut version = table.metadata.resource_version.take().unwrap_or_default();
        let mut head = self.in_tables();
        self.show(wanted.kind, &mut table, &mut head)?;
        let mut layout = table;
        loop {
            let request =
                Request::get(format!("{path}&resourceVersion={version}")).header(header::ACCEPT, TABLE);
            let request =
                request.body(Vec::new()).map_err(kube::Error::HttpError).map_err(ConnectionError::from)?;
            let events = self.client.request_events::<Table>(request).await.map_err(ConnectionError::from)?;
            let mut events = pin!(events);
            while let Some(event) = events.try_next().await.map_err(ConnectionError::from)? {
                match event {
                    WatchEvent::Added(change)
                    | WatchEvent::Modified(change)
                    | WatchEvent::Deleted(change) => {
                        layout.rows = change.rows;
                        if let Some(seen) = layout.rows.last().and_then(Row::version) {
                            seen.clone_into(&mut version);
                        }
                        self.show(wanted.kind, &mut layout, &mut head)?;
                    }
                    WatchEvent::Bookmark(_) => {}
                    // The server has forgotten where it was: all that is there comes again.
                    WatchEvent::Error(status) if status.code == 410 => version.clear(),
                    WatchEvent::Error(status) => {
                        return Err(ConnectionError::from(kube::Error::Api(status)).into());
                    }
                }
            }
        }
    }

    fn in_tables(&self) -> bool {
        matches!(self.flags.output, None | Some(GetOutput::Wide))
    }

    /// Prints rows as they come, the first of them under the headings.
    fn show(&self, kind: &Kind, table: &mut Table, head: &mut bool) -> Result<(), Failure> {
        let mut text = String::new();
        if self.in_tables() {
            let layout = self.layout(kind, table, false);
            if table.rows.is_empty() {
                return Ok(());
            }
            if std::mem::take(head) {
                text.push_str(&layout.head());
            }
            text.extend(table.rows.iter().map(|row| layout.row(row)));
        } else {
            for row in &table.rows {
                let shown = match self.flags.output {
                    Some(format @ GetOutput::Json) => document(format, &row.object)?,
                    Some(format @ GetOutput::Yaml) => {
                        text.push_str("---\n");
                        document(format, &row.object)?
                    }
                    _ => named(kind, row),
                };
                text.push_str(&shown);
            }
        }
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }
}

/// `clientaccount.tagwarden.io/shop`.
fn named(kind: &Kind, row: &Row) -> String {
    let name = row.object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    format!("{}{}\n", kind.prefix(), printable(name))
}

/// An object as a document, in the shape in which `kubectl` prints it.
fn document(format: GetOutput, object: &Value) -> Result<String, Failure> {
    if format == GetOutput::Yaml {
        return serde_saphyr::to_string_with_options(
            object,
            serde_saphyr::ser_options! { compact_list_indent: true },
        )
        .map_err(|error| io::Error::other(error).into());
    }
    let mut bytes = Vec::new();
    let indented = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    object
        .serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, indented))
        .map_err(io::Error::from)?;
    bytes.push(b'\n');
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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
