//! `docs/conformance.md`: how near the embedded control plane is to a real API server, and what the official suites say of
//! the MCP server.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use super::allowed::Allowed;
use super::compare::Difference;
use super::probe::Case;
use crate::mcp_oracles::page as mcp;

const INTRODUCTION: &str = "\
# Conformance

This page is written by a test: `UPDATE_DOCS=1 cargo test --test it conformance::table::embedded`.

## The embedded control plane

Tagwarden runs against a Kubernetes API server, or against the control plane that it brings along. Both have to behave
alike, so one suite runs against both:

- a table of requests (`tests/cases/conformance`), whose answers by kube-apiserver 1.36 are recorded
  (`tests/golden/kube-1.36.json`), compared with that server at every run, and compared with the embedded plane in
  process, over HTTP and on PostgreSQL;
- rules that a controller builds on (`tests/it/conformance/rules`), each tested on all four;
- kubectl 1.36, whose commands have to print the same on both (`tests/it/kubectl.rs`).

Answers are equal when code, body, content type and warnings are, but for what is made up anew each time: uids,
versions, times, generated names, continue tokens. `managedFields` are not compared.

";

/// The page.
pub fn render(cases: &[Case], differences: &[Difference], allowed: &[Allowed]) -> String {
    let mut page = INTRODUCTION.to_owned();
    let probes = |case: &Case| case.steps.iter().filter(|step| !step.name.is_empty()).count();
    let count = |prefix: &str, differences: &mut dyn Iterator<Item = &Difference>| {
        let names: BTreeSet<&str> = differences.map(|each| each.probe.as_str()).collect();
        names.into_iter().filter(|name| name.starts_with(prefix)).count()
    };
    let in_words = |each: &&Difference| allowed.iter().any(|entry| entry.words && entry.covers(each));
    let row = |about: &str, all: usize, prefix: &str| {
        let differ = count(prefix, &mut differences.iter());
        let more = count(prefix, &mut differences.iter().filter(|each| !in_words(each)));
        format!("| {about} | {all} | {} | {} | {more} |\n", all - differ, differ - more)
    };
    page.push_str("| Requests about | Probes | Equal | Equal but for words | Allowed to differ |\n");
    page.push_str("|---|---:|---:|---:|---:|\n");
    for case in cases {
        page.push_str(&row(case.about.trim_end_matches('.'), probes(case), &format!("{}: ", case.name)));
    }
    page.push_str(&row("**All**", cases.iter().map(probes).sum(), ""));
    page.push_str("\n### What is allowed to differ, and why\n\n");
    for entry in allowed {
        let _ = write!(page, "- {}", entry.reason.trim());
        if !entry.words {
            let covered = differences.iter().filter(|each| entry.covers(each));
            let names: BTreeSet<String> = covered.map(|each| format!("`{}`", each.probe)).collect();
            let _ = write!(page, " ({})", names.into_iter().collect::<Vec<_>>().join(", "));
        }
        page.push('\n');
    }
    page.push_str(&mcp::render());
    page
}

/// Compares the page with what is committed, or writes it.
pub fn check(page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conformance.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, page).expect("the page is written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page,
        "docs/conformance.md is out of date; write it anew:\n\
         UPDATE_DOCS=1 cargo test --test it conformance::table::embedded"
    );
}
