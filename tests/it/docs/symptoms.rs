//! `docs/troubleshooting.md` speaks of what the program shows: every word and message that it quotes is in the sources, and
//! whatever the program has a word for has an entry.

use std::collections::BTreeSet;
use std::path::Path;

use tagwarden_api::condition::{CONDITIONS, REASONS};
use tagwarden_app::ask::Code;
use tagwarden_core::coverage::CellState;
use tagwarden_testbed::documents::{Document, root};

use super::{Wrong, document};

const PAGE: &str = "docs/troubleshooting.md";

/// What Helm, kubectl, MCP clients and the like say, each as it was seen.
const OF_OTHERS: [&str; 6] = [
    "additional properties",
    "invalid ownership metadata",
    "no matches for kind",
    "spawn tagwarden ENOENT",
    "server gave HTTP response to HTTPS client",
    "certificate signed by unknown authority",
];

/// The first cell of every row of a table, with its line.
fn symptoms(page: &Document) -> Vec<(usize, String)> {
    let rows =
        page.prose().into_iter().filter(|(_, line)| line.starts_with("| ") && !line.starts_with("| Symptom"));
    rows.map(|(line, row)| {
        (line, row.split(" | ").next().unwrap_or_default().trim_start_matches("| ").to_owned())
    })
    .collect()
}

/// What stands between backquotes, single or double.
fn quoted(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('`') {
        let fence = if rest[start..].starts_with("``") { "``" } else { "`" };
        let inner = &rest[start + fence.len()..];
        let Some(end) = inner.find(fence) else { break };
        found.push(inner[..end].trim().to_owned());
        rest = &inner[end + fence.len()..];
    }
    found
}

/// All that the program and the chart can say: their sources, with texts over several lines made one.
fn said() -> String {
    let mut all = String::new();
    for directory in ["src", "charts/tagwarden/templates"] {
        collect(&root().join(directory), &mut all);
    }
    let mut one = String::new();
    for (index, piece) in all.split("\\\n").enumerate() {
        one.push_str(if index == 0 { piece } else { piece.trim_start() });
    }
    one.replace("\\\"", "\"")
}

fn collect(directory: &Path, into: &mut String) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            collect(&path, into);
        } else if !name.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            into.push_str(text.split("#[cfg(test)]").next().unwrap_or_default());
        }
    }
}

/// Every word that a status or an answer has for trouble.
fn words_for_trouble() -> BTreeSet<String> {
    let reasons = REASONS.iter().filter(|reason| !reason.remedy.is_empty()).map(|reason| reason.name);
    let codes = Code::ALL.iter().map(|code| code.as_str());
    let gaps = CellState::ALL.into_iter().filter(|state| state.is_gap()).map(CellState::as_str);
    reasons.chain(codes).chain(gaps).map(str::to_owned).collect()
}

#[test]
fn whatever_means_trouble_has_an_entry() {
    let page = document(PAGE);
    let told: BTreeSet<String> = symptoms(&page).iter().flat_map(|(_, cell)| quoted(cell)).collect();
    let missing: Vec<_> = words_for_trouble().into_iter().filter(|word| !told.contains(word)).collect();
    assert!(missing.is_empty(), "{PAGE} has no entry for {missing:?}");
}

#[test]
fn every_symptom_is_one_that_is_shown() {
    let (page, said) = (document(PAGE), said());
    let conditions = CONDITIONS.iter().map(|condition| condition.name);
    let known: BTreeSet<&str> = conditions.chain(REASONS.iter().map(|reason| reason.name)).collect();
    let mut wrong = Wrong::default();
    let mut seen = 0;
    for (line, cell) in symptoms(&page) {
        for symptom in quoted(&cell) {
            seen += 1;
            let word = symptom.chars().all(char::is_alphanumeric) && symptom.starts_with(char::is_uppercase);
            let mut pieces = symptom.split('…').map(str::trim).filter(|piece| !piece.is_empty());
            let found = if word && symptom.chars().any(char::is_lowercase) {
                known.contains(symptom.as_str())
            } else {
                pieces.all(|piece| said.contains(piece) || OF_OTHERS.contains(&piece))
            };
            if !found {
                wrong.add(&page, line, format_args!("nothing says `{symptom}`"));
            }
        }
    }
    wrong.must_be_nothing();
    assert!(seen > 80, "only {seen} symptoms were found");
}

#[test]
fn nothing_is_known_of_others_that_no_page_quotes() {
    let told: String = symptoms(&document(PAGE)).into_iter().map(|(_, cell)| cell).collect();
    for message in OF_OTHERS {
        assert!(told.contains(message), "`{message}` is not quoted any more");
    }
}
