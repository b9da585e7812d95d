//! Runs the product on an estate, and holds its report against the truth.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::bed::estate::{Counts, Kind, Truth};
use crate::bed::process::{self, Usage};
use crate::bed::stub::{Stub, Traffic};
use crate::bed::{Outcome, in_aws};

/// What is held against the truth.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    summary: Counts,
    by_resource_type: Vec<OfType>,
    coverage: Vec<Cell>,
    violations: Vec<IgnoredAny>,
    requests: BTreeMap<String, u64>,
    throttled: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfType {
    resource_type: String,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cell {
    region: String,
    resource_type: String,
    state: String,
    #[serde(default)]
    cause: Option<String>,
}

/// One scan. An error if it fails, or says anything that is not so.
pub fn scan(stub: &Stub, directory: &Path, policy: &Path) -> Outcome<Usage> {
    let output = directory.join("report.json");
    let types: Vec<&str> = stub.estate.kinds().map(Kind::type_name).collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tagwarden"));
    command.args(["scan", "--format", "json", "--type", &types.join(",")]);
    command.arg("--policy").arg(policy).arg("--output").arg(&output);
    let usage =
        process::run(in_aws(&mut command, stub, directory).stdout(Stdio::null()), &directory.join("log"))?;
    let report: Report = serde_json::from_reader(BufReader::new(File::open(&output)?))?;
    report.check(&stub.estate.truth(true), &stub.traffic())?;
    Ok(usage)
}

impl Report {
    fn check(&self, truth: &Truth, arrived: &Traffic) -> Result<(), String> {
        let by_type = self.by_resource_type.iter().map(|one| (one.resource_type.clone(), one.counts));
        let found = Truth { by_type: by_type.collect() };
        if found != *truth || self.summary != truth.total() {
            return Err(format!("the report says {:?} {found:?}, the truth is {truth:?}", self.summary));
        }
        let listed = self.violations.len() as u64;
        if listed != self.summary.violations {
            return Err(format!("{listed} violations are listed, {} are counted", self.summary.violations));
        }
        for Cell { region, resource_type, state, cause } in &self.coverage {
            let seen = if resource_type == Kind::Table.type_name() { "tagged_only" } else { "complete" };
            if state != seen {
                let cause = cause.as_deref().unwrap_or("no cause given");
                return Err(format!("{resource_type} in {region} is {state}: {cause}"));
            }
        }
        let sent = Traffic { requests: self.requests.clone(), throttled: self.throttled };
        if sent != *arrived {
            return Err(format!("the report says it sent {sent:?}, the stub got {arrived:?}"));
        }
        Ok(())
    }
}
