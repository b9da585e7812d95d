//! Tables, laid out as `kubectl` does.

use std::fmt::Write as _;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use crate::render::table::printable;

/// Spaces between two columns.
const GAP: usize = 3;

/// A table of the server.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Table {
    pub kind: String,
    #[serde(default)]
    pub metadata: ListMeta,
    /// Of a watch, only the first event has them.
    #[serde(default, deserialize_with = "or_none")]
    pub column_definitions: Vec<Column>,
    #[serde(default)]
    pub rows: Vec<Row>,
}

/// A list, or null for an empty one.
fn or_none<'de, D: Deserializer<'de>, T: Deserialize<'de>>(field: D) -> Result<Vec<T>, D::Error> {
    Option::deserialize(field).map(Option::unwrap_or_default)
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListMeta {
    #[serde(default)]
    pub resource_version: Option<String>,
    #[serde(default, rename = "continue")]
    pub next: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Column {
    name: String,
    #[serde(default)]
    priority: i32,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Row {
    #[serde(default)]
    cells: Vec<Value>,
    #[serde(default)]
    pub object: Value,
}

impl Row {
    /// The version of the object.
    pub fn version(&self) -> Option<&str> {
        self.object.pointer("/metadata/resourceVersion").and_then(Value::as_str)
    }
}

/// Which columns are printed, and how wide.
#[derive(Debug)]
pub(super) struct Layout {
    shown: Vec<usize>,
    headings: Vec<String>,
    widths: Vec<usize>,
    prefix: String,
    namespaces: bool,
}

impl Layout {
    /// For a table: a prefix before each name, a column for the namespace, columns that are mostly left out.
    pub fn new(table: &Table, prefix: String, namespaces: bool, wide: bool) -> Self {
        let columns = &table.column_definitions;
        let shown: Vec<usize> =
            (0..columns.len()).filter(|index| wide || columns[*index].priority == 0).collect();
        let namespace = namespaces.then(|| "NAMESPACE".to_owned());
        let headings =
            namespace.into_iter().chain(shown.iter().map(|index| columns[*index].name.to_uppercase()));
        let mut layout = Self { headings: headings.collect(), widths: Vec::new(), shown, prefix, namespaces };
        let lines: Vec<Vec<String>> = table.rows.iter().map(|row| layout.cells(row)).collect();
        layout.widths = (0..layout.headings.len())
            .map(|column| {
                let cells = lines.iter().map(|cells| cells[column].width());
                cells.chain([layout.headings[column].width()]).max().unwrap_or_default()
            })
            .collect();
        layout
    }

    /// The line of headings.
    pub fn head(&self) -> String {
        self.line(&self.headings)
    }

    /// The line of a row.
    pub fn row(&self, row: &Row) -> String {
        self.line(&self.cells(row))
    }

    fn cells(&self, row: &Row) -> Vec<String> {
        let mut cells: Vec<String> = self.shown.iter().map(|index| cell(row.cells.get(*index))).collect();
        if let Some(name) = cells.first_mut() {
            name.insert_str(0, &self.prefix);
        }
        if self.namespaces {
            cells.insert(0, cell(row.object.pointer("/metadata/namespace")));
        }
        cells
    }

    /// Three spaces between columns, none at the end.
    fn line(&self, cells: &[String]) -> String {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(&self.widths) {
            let gap = (width + GAP).saturating_sub(cell.width()).max(GAP);
            let _ = write!(line, "{cell}{}", " ".repeat(gap));
        }
        format!("{}\n", line.trim_end())
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => printable(text),
        Some(other) => other.to_string(),
    }
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
        let plain = "NAME      LAST SUCCESS   AGE\nnightly   5m             2d\nad                       7\n";
        let printed = |prefix: &str, namespaces, wide| {
            let table = table();
            let layout = Layout::new(&table, prefix.to_owned(), namespaces, wide);
            layout.head() + &table.rows.iter().map(|row| layout.row(row)).collect::<String>()
        };
        assert_eq!(printed("", false, false), plain);
        let all = printed("complianceaudit.tagwarden.io/", true, true);
        let lines: Vec<&str> = all.lines().collect();
        assert!(lines[0].starts_with("NAMESPACE   NAME ") && lines[0].ends_with("STATUS   AGE"), "{all}");
        assert!(lines[1].starts_with("a           complianceaudit.tagwarden.io/nightly   5m"), "{all}");
        assert!(!all.contains('\u{7}'));
    }
}
