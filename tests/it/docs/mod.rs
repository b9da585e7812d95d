//! The documents: links lead somewhere, manifests are accepted, what is told to be typed exists, and symptoms are those that
//! the program shows. What is typed into the program itself is tried in `src/documented_tests.rs`.

mod commands;
mod symptoms;
mod typed;

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;
use tagwarden_api::manifests::Manifests;
use tagwarden_testbed::documents::{Document, documents, root};

/// The languages of blocks, so that none is left out for the lack of a name.
const LANGUAGES: [&str; 5] = ["sh", "console", "yaml", "json", "text"];

/// The page where everything begins.
const INDEX: &str = "docs/README.md";

/// Collects what is wrong, to tell all of it at once.
#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn add(&mut self, document: &Document, line: usize, what: impl std::fmt::Display) {
        self.0.push(format!("{}: {what}", document.place(line)));
    }

    #[track_caller]
    fn must_be_nothing(self) {
        assert!(self.0.is_empty(), "\n{}", self.0.join("\n"));
    }
}

#[track_caller]
fn document(path: &str) -> Document {
    documents().into_iter().find(|document| document.path == Path::new(path)).unwrap()
}

/// Where a link of this page leads, without `.` and `..`.
fn target(document: &Document, link: &str) -> PathBuf {
    let mut place = PathBuf::new();
    for part in document.path.parent().unwrap().join(link).components() {
        match part {
            Component::ParentDir => drop(place.pop()),
            Component::CurDir => {}
            part => place.push(part),
        }
    }
    place
}

#[test]
fn links_lead_to_headings_that_exist() {
    let documents = documents();
    let mut wrong = Wrong::default();
    let mut seen = 0;
    for document in &documents {
        for (line, link) in document.links().into_iter().filter(|(_, link)| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let page = if path.is_empty() { document.path.clone() } else { target(document, path) };
            if !root().join(&page).exists() {
                wrong.add(document, line, format_args!("{link} is not there"));
            }
            let Some(page) = documents.iter().find(|one| one.path == page).filter(|_| !anchor.is_empty())
            else {
                continue;
            };
            seen += 1;
            if !page.anchors().contains(anchor) {
                wrong.add(document, line, format_args!("{} has no heading #{anchor}", page.path.display()));
            }
        }
    }
    wrong.must_be_nothing();
    assert!(seen > 10, "only {seen} links with headings were found");
}

#[test]
fn every_page_can_be_reached_from_the_index() {
    let documents = documents();
    let mut reached = BTreeSet::from([PathBuf::from(INDEX)]);
    let mut next = vec![document(INDEX)];
    while let Some(page) = next.pop() {
        for (_, link) in page.links() {
            let place = target(&page, link.split('#').next().unwrap());
            if let Some(found) = documents.iter().find(|one| one.path == place)
                && reached.insert(place)
            {
                next.push(found.clone());
            }
        }
    }
    let below = documents.iter().map(|page| &page.path).filter(|path| path.starts_with("docs"));
    // A decision is reached by its folder.
    let lost: Vec<_> =
        below.filter(|path| !path.starts_with("docs/adr") && !reached.contains(*path)).collect();
    assert!(lost.is_empty(), "nothing leads to {lost:?}");
}

#[test]
fn every_block_says_its_language() {
    let mut wrong = Wrong::default();
    for document in documents() {
        for block in document.blocks() {
            if !LANGUAGES.contains(&block.language.as_str()) {
                let told = format!("a block of `{}` is not one of {LANGUAGES:?}", block.language);
                wrong.add(&document, block.line - 1, told);
            }
        }
    }
    wrong.must_be_nothing();
}

/// The variables of manifests as a shell would fill them in.
fn filled(manifest: &str) -> String {
    manifest.replace("$ACCOUNT_ID", "111122223333").replace("$ROLE_ARN", "arn:aws:iam::111122223333:role/r")
}

/// All that is wrong with the manifests of a text; how many of its objects are ours.
fn manifests(text: &str) -> (usize, Vec<String>) {
    let text = filled(text);
    // Values of the chart and objects of others stand in documents, too.
    let ours: Vec<&str> = text
        .split("\n---")
        .filter(|one| one.contains("apiVersion: tagwarden.io/") && !one.contains("customizations"))
        .collect();
    let mut read = Manifests::new("default");
    let mut wrong = Vec::new();
    if !ours.is_empty()
        && let Err(errors) = read.read("here", ours.join("\n---\n").as_bytes())
    {
        wrong.extend(errors.iter().map(ToString::to_string));
    }
    let registry = tagwarden_core::registry::Registry::builtin();
    for policy in read.policies() {
        if let Err(errors) = policy.compile(&registry) {
            wrong.extend(errors.iter().map(ToString::to_string));
        }
    }
    (ours.len(), wrong)
}

#[test]
fn manifests_in_documents_are_accepted() {
    let mut wrong = Wrong::default();
    let mut seen = 0;
    for document in documents() {
        let blocks = document.blocks().into_iter().filter(|block| block.language == "yaml");
        let written = blocks.map(|block| (block.line, block.text));
        let typed = document.commands().into_iter().filter_map(|typed| Some((typed.line, typed.input?)));
        for (line, text) in written.chain(typed) {
            if let Err(error) = serde_saphyr::from_multiple::<Value>(&filled(&text)) {
                wrong.add(&document, line, format_args!("this is no YAML: {error}"));
                continue;
            }
            let (ours, errors) = manifests(&text);
            seen += ours;
            for error in errors {
                wrong.add(&document, line, error);
            }
        }
    }
    wrong.must_be_nothing();
    assert!(seen > 8, "only {seen} manifests were found");
}
