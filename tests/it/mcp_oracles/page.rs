//! Which scenarios there are, and which of them are excused: `tests/cases/mcp-conformance.yaml`, and the part of
//! `docs/conformance.md` that is made from it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::Deserialize;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    pub runs: Vec<Run>,
    pub excused: Vec<Excuse>,
}

/// One way to run one version of the suite.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    pub name: String,
    /// For people.
    pub about: String,
    /// Of `tests/mcp-node`.
    pub package: String,
    pub arguments: Vec<String>,
    /// All that it runs, so that a new one is noticed.
    pub scenarios: BTreeSet<String>,
}

/// What does not pass, and why that is right.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Excuse {
    pub reason: String,
    pub targets: Vec<Target>,
    /// In which runs; none for all.
    #[serde(default)]
    pub runs: Vec<String>,
    /// Passing would mean nothing either: what the scenario is about is not there.
    #[serde(default)]
    pub idle: bool,
    /// Scenarios, or single checks: `scenario:check`.
    pub what: BTreeSet<String>,
}

/// What is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    Product,
    Fixture,
}

impl Cases {
    pub fn load() -> Self {
        serde_saphyr::from_str(include_str!("../../cases/mcp-conformance.yaml")).expect("the cases")
    }

    /// What is excused in this run, and whether it may pass all the same.
    pub fn excused(&self, run: &Run, target: Target) -> BTreeMap<&str, bool> {
        let here = |excuse: &&Excuse| {
            excuse.targets.contains(&target) && (excuse.runs.is_empty() || excuse.runs.contains(&run.name))
        };
        let all = self
            .excused
            .iter()
            .filter(here)
            .flat_map(|excuse| excuse.what.iter().map(|what| (what.as_str(), excuse.idle)));
        // A run is excused only from what it has.
        all.filter(|(what, _)| run.scenarios.contains(scenario(what))).collect()
    }
}

/// The scenario of an excuse.
pub fn scenario(what: &str) -> &str {
    what.split_once(':').map_or(what, |(scenario, _)| scenario)
}

const INTRODUCTION: &str = "
## The MCP server

Two versions of the official conformance suite judge `/mcp` at every run of the tests: 0.1.16, and 0.2.0-alpha.12 with what
the two newest revisions of the protocol require. Each judges

- the program, as `tagwarden run` serves it;
- a test server with just the tools, prompts and resources that the suites look for, behind the same gate and on the same
  transport.

A scenario passes when none of its checks fails or warns. `tests/cases/mcp-conformance.yaml` names every scenario, and what
does not pass. A test fails when anything else does not pass, when something there does pass, and when the suite has a
scenario that is not there.

| Suite | Scenarios | Test server passes | Need nothing of the test server | Program passes |
|---|---:|---:|---:|---:|
";

/// The part of the page.
pub fn render() -> String {
    let cases = Cases::load();
    let mut page = INTRODUCTION.to_owned();
    for run in &cases.runs {
        let all = run.scenarios.len();
        let without = |target, idle_alone: bool| {
            let excused = cases.excused(run, target).into_iter().filter(|(_, idle)| *idle || !idle_alone);
            let excused: BTreeSet<&str> = excused.map(|(what, _)| scenario(what)).collect();
            all - excused.len()
        };
        let (fixture, alone) = (without(Target::Fixture, false), without(Target::Product, true));
        let product = without(Target::Product, false);
        let _ = writeln!(page, "| {} | {all} | {fixture} | {alone} | {product} |", run.about);
    }
    page.push_str("\n### What does not pass, and why\n\n");
    for excuse in &cases.excused {
        let whose = match excuse.targets[..] {
            [Target::Product] => "The program: ",
            [Target::Fixture] => "The test server: ",
            _ => "",
        };
        let what: Vec<String> = excuse.what.iter().map(|what| format!("`{what}`")).collect();
        let what = what.join(", ");
        let runs =
            if excuse.runs.is_empty() { String::new() } else { format!(" ({})", excuse.runs.join(", ")) };
        let _ = writeln!(page, "- {whose}{} {what}{runs}", excuse.reason.trim());
    }
    page
}
