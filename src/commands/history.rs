//! `tagwarden history`: the scores of past runs.

use std::io::{self, Write};

use serde::Serialize;
use tagwarden_store::{RunFilter, RunSummary, Store};

use super::{Failure, TENANT};
use crate::cli::{History, ListFormat};
use crate::render::json::{API_VERSION, Counters};
use crate::render::table;

pub(super) async fn run(flags: &History) -> Result<u8, Failure> {
    let store = Store::open(&flags.store).await?;
    let filter = RunFilter { limit: flags.limit as usize, ..RunFilter::default() };
    let runs = store.runs(TENANT, &filter).await?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    match flags.format {
        ListFormat::Json => {
            let list = RunList { api_version: API_VERSION, kind: "RunList", items: runs.iter().map(Run::from).collect() };
            serde_json::to_writer_pretty(&mut out, &list).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        ListFormat::Table if runs.is_empty() => writeln!(out, "No runs yet: `tagwarden scan --store …` records one.")?,
        ListFormat::Table => {
            let header = ["RUN", "STARTED", "POLICY", "STATE", "SCORE", "RESOURCES", "VIOLATING", "COMPLETE", "SECONDS"];
            let mut rows = table::plain(&header);
            for run in &runs {
                rows.add_row(row(run));
            }
            table::write(&rows, &mut out)?;
        }
    }
    out.flush()?;
    Ok(0)
}

fn row(run: &RunSummary) -> [String; 9] {
    let nothing = || "-".to_owned();
    let result = |text: fn(&tagwarden_store::RunResults) -> String| run.results.as_ref().map_or_else(nothing, text);
    [
        run.run_id.clone(),
        run.started_at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        table::printable(&run.policy_name),
        run.state.to_string(),
        result(|results| table::percent(&results.summary)),
        result(|results| results.summary.resources().to_string()),
        result(|results| results.summary.violating.to_string()),
        result(|results| if results.complete { "yes".into() } else { format!("no, {} gaps", results.gaps) }),
        run.duration().map_or_else(nothing, |duration| format!("{:.1}", duration.as_secs_f64())),
    ]
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
