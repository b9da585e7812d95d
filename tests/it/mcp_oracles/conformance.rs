//! The official conformance suites, against the program and against the [fixture](super::fixture).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde::Deserialize;
use tagwarden_testbed::node;

use super::fixture;
use super::page::{Cases, Run, Target, scenario};
use crate::controller::Setup;

/// The time at the end of a directory's name: `-2026-07-28T12-00-00-000Z`.
const STAMP: usize = 25;

/// What a suite says of one point.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    id: String,
    status: String,
    error_message: Option<String>,
}

/// The checks of each scenario.
type Results = BTreeMap<String, Vec<Check>>;

fn run(run: &Run, address: SocketAddr) -> Results {
    let directory = tempfile::Builder::new().prefix("tagwarden-it-").tempdir().unwrap();
    let mut command = node::program(&format!("{}/dist/index.js", run.package));
    command.args(["server", "--url", &format!("http://{address}/mcp")]).args(&run.arguments);
    // Its verdict stands in the files; its status knows nothing of excuses.
    let output = command.arg("-o").arg(directory.path()).current_dir(directory.path()).output().unwrap();
    let mut results = Results::new();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let scenario = &name["server-".len()..name.len() - STAMP];
        let checks = std::fs::read(entry.path().join("checks.json")).unwrap();
        results.insert(scenario.to_owned(), serde_json::from_slice(&checks).unwrap());
    }
    assert!(!results.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    results
}

/// Everything that is not as the file says.
fn surprises(cases: &Cases, run: &Run, target: Target, results: &Results) -> Vec<String> {
    let mut told = Vec::new();
    let ran: BTreeSet<String> = results.keys().cloned().collect();
    for name in ran.symmetric_difference(&run.scenarios) {
        told.push(format!("{name}: is in the suite or in the file, and not in both"));
    }
    let mut excuses = cases.excused(run, target);
    for (name, checks) in results {
        let failed: Vec<&Check> =
            checks.iter().filter(|check| ["FAILURE", "WARNING"].contains(&check.status.as_str())).collect();
        let passed = failed.is_empty() && checks.iter().any(|check| check.status == "SUCCESS");
        if let Some(idle) = excuses.remove(name.as_str()) {
            if passed && !idle {
                told.push(format!("{name}: passes, and is excused"));
            }
            continue;
        }
        if failed.is_empty() && !passed {
            told.push(format!("{name}: nothing was checked"));
        }
        let known: BTreeSet<&str> = excuses.keys().copied().filter(|what| scenario(what) == name).collect();
        let failed: BTreeMap<String, &Check> =
            failed.into_iter().map(|check| (format!("{name}:{}", check.id), check)).collect();
        for (what, check) in failed.iter().filter(|(what, _)| !known.contains(what.as_str())) {
            told.push(format!("{what}: {}", check.error_message.as_deref().unwrap_or_default()));
        }
        for what in known {
            excuses.remove(what);
            if !failed.contains_key(what) {
                told.push(format!("{what}: passes, and is excused"));
            }
        }
    }
    told.extend(excuses.keys().map(|what| format!("{what}: was not run, and is excused")));
    told
}

/// All runs side by side, against one server.
#[track_caller]
fn judge(target: Target, address: SocketAddr) {
    let cases = Cases::load();
    let told: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> =
            cases.runs.iter().map(|each| (each, scope.spawn(move || run(each, address)))).collect();
        let told = runs.into_iter().flat_map(|(each, results)| {
            let surprises = surprises(&cases, each, target, &results.join().unwrap());
            surprises.into_iter().map(|line| format!("{}: {line}", each.name)).collect::<Vec<_>>()
        });
        told.collect()
    });
    assert!(told.is_empty(), "{} surprises:\n{}", told.len(), told.join("\n"));
}

#[test]
fn the_program() {
    let limits = ["--tenant-rate", "10000", "--address-rate", "10000"];
    let controller = Setup::new().args(limits).with_manifests();
    controller.readiness(200);
    judge(Target::Product, controller.address("listen"));
    controller.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fixture_behind_our_gate() {
    let served = fixture::serve().await;
    let address = served.address;
    tokio::task::spawn_blocking(move || judge(Target::Fixture, address)).await.unwrap();
}

#[test]
fn whatever_is_not_as_the_file_says_is_told() {
    let file = "\
runs: [{name: one, about: one, package: one, arguments: [], scenarios: [a, b, c, d, e]}]
excused:
  - {reason: none, targets: [product], what: [a, b, \"c:1\", \"c:2\"]}
  - {reason: none, targets: [product], idle: true, what: [d]}
";
    let cases: Cases = serde_saphyr::from_str(file).unwrap();
    let checks = |statuses: &[&str]| -> Vec<Check> {
        let each = statuses.iter().enumerate().map(|(index, status)| Check {
            id: (index + 1).to_string(),
            status: (*status).to_owned(),
            error_message: Some("because".to_owned()),
        });
        each.collect()
    };
    let told = |all: [(&str, &[&str]); 5]| {
        let results = all.into_iter().map(|(name, statuses)| (name.to_owned(), checks(statuses))).collect();
        surprises(&cases, &cases.runs[0], Target::Product, &results)
    };
    let fails: &[&str] = &["FAILURE"];
    let passes: &[&str] = &["INFO", "SUCCESS"];
    let half: &[&str] = &["FAILURE", "WARNING", "SUCCESS"];
    assert!(told([("a", fails), ("b", fails), ("c", half), ("d", fails), ("e", passes)]).is_empty());
    assert!(told([("a", fails), ("b", fails), ("c", half), ("d", passes), ("e", passes)]).is_empty());
    assert_eq!(
        told([
            ("a", passes),
            ("b", fails),
            ("c", &["FAILURE", "SUCCESS"]),
            ("d", fails),
            ("e", &["WARNING"])
        ]),
        ["a: passes, and is excused", "c:2: passes, and is excused", "e:1: because"]
    );
    assert_eq!(
        told([("a", fails), ("b", fails), ("c", half), ("f", passes), ("e", &["SKIPPED"])]),
        [
            "d: is in the suite or in the file, and not in both",
            "f: is in the suite or in the file, and not in both",
            "e: nothing was checked",
            "d: was not run, and is excused"
        ]
    );
}
