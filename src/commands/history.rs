//! `tagwarden history`: the scores of past runs.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use tagwarden_store::{RunFilter, RunResults, RunState, RunSummary, Store};

use super::Failure;
use crate::cli::{History, ListFormat};
use crate::render::json::{API_VERSION, Counters};
use crate::render::table;

pub(super) async fn run(flags: &History) -> Result<u8, Failure> {
    // Opening one makes it, which is not for those who only look.
    if let Some(file) = sqlite_file(&flags.store).filter(|file| !file.exists()) {
        return Err(Failure::NoStore(file.to_owned()));
    }
    let store = Store::open(&flags.store).await?;
    let filter = RunFilter { limit: flags.limit as usize, ..RunFilter::default() };
    let runs = store.runs(&flags.namespace, &filter).await?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    match flags.format {
        ListFormat::Json => {
            let list = RunList {
                api_version: API_VERSION,
                kind: "RunList",
                items: runs.iter().map(Run::from).collect(),
            };
            serde_json::to_writer_pretty(&mut out, &list).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        ListFormat::Table if runs.is_empty() => {
            writeln!(out, "No runs yet: `tagwarden scan --store …` records one.")?;
        }
        ListFormat::Table => {
            let header = ["RUN", "STARTED", "POLICY", "SCOPE", "STATE", "SCORE", "VIOLATING"];
            let mut rows = table::fixed(&header);
            table::numbers(&mut rows, NUMBERS_FROM);
            for run in &runs {
                rows.add_row(row(run));
            }
            table::write(&rows, &mut out)?;
        }
    }
    out.flush()?;
    Ok(0)
}

/// The file of a store that is one.
fn sqlite_file(url: &str) -> Option<&Path> {
    let path = url.strip_prefix("sqlite:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    (!path.is_empty() && path != ":memory:").then(|| Path::new(path))
}

/// The first column that holds numbers.
const NUMBERS_FROM: usize = 5;

/// A hundred columns leave this much for the name of a policy, and for the scope.
const POLICY_CHARS: usize = 9;
const SCOPE_CHARS: usize = 10;

fn row(run: &RunSummary) -> [String; 7] {
    let result = |text: fn(&RunResults) -> String| run.results.as_ref().map_or_else(|| "-".to_owned(), text);
    [
        table::printable(&run.run_id),
        // The year stands in the id.
        run.started_at.strftime("%b %d %H:%M").to_string(),
        clipped(&run.policy_name, POLICY_CHARS),
        clipped(&scope(&run.scope), SCOPE_CHARS),
        state(run),
        result(|results| table::percent(&results.summary)),
        result(|results| results.summary.violating.to_string()),
    ]
}

/// How far it is; of a run that succeeded, whether that was everything.
fn state(run: &RunSummary) -> String {
    match &run.results {
        Some(results) if run.state == RunState::Succeeded && results.complete => "complete".to_owned(),
        Some(results) if run.state == RunState::Succeeded => format!("{} gaps", results.gaps),
        _ => run.state.to_string(),
    }
}

/// How many accounts, regions and types were asked for: `2a 1r 3t`.
fn scope(scope: &serde_json::Value) -> String {
    let named = [("accounts", 'a'), ("regions", 'r'), ("resourceTypes", 't')].map(|(field, unit)| {
        let count = scope[field].as_array().map_or(0, Vec::len);
        (count > 0).then(|| format!("{count}{unit}"))
    });
    let named: Vec<String> = named.into_iter().flatten().collect();
    if named.is_empty() { "all".to_owned() } else { named.join(" ") }
}

fn clipped(text: &str, chars: usize) -> String {
    let mut text = table::printable(text);
    if let Some((end, _)) = text.char_indices().nth(chars) {
        text.replace_range(end.., "…");
    }
    text
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunList<'a> {
    api_version: &'static str,
    kind: &'static str,
    items: Vec<Run<'a>>,
}

/// A run, in the words of the scan report.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    run_id: &'a str,
    started_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
    trigger: &'a str,
    state: &'static str,
    policy: Policy<'a>,
    scope: &'a serde_json::Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    complete: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gaps: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Counters>,
}

#[derive(Serialize)]
struct Policy<'a> {
    name: &'a str,
    revision: &'a str,
}

impl<'a> From<&'a RunSummary> for Run<'a> {
    fn from(run: &'a RunSummary) -> Self {
        let results = run.results.as_ref();
        Self {
            run_id: &run.run_id,
            started_at: run.started_at.to_string(),
            finished_at: run.finished_at.map(|at| at.to_string()),
            trigger: &run.trigger,
            state: run.state.as_str(),
            policy: Policy { name: &run.policy_name, revision: &run.policy_revision },
            scope: &run.scope,
            complete: results.map(|results| results.complete),
            gaps: results.map(|results| results.gaps),
            summary: results.map(|results| Counters::from(&results.summary)),
        }
    }
}
