//! Runs that are recorded, and the history that shows them.

use std::process::Command;

use serde_json::Value;
use tagwarden_testbed::{Fault, Rule, Testbed};

use crate::program::Program;
use crate::site::{Site, site};

const REGION: &str = "eu-west-1";

fn scan(site: &Site, store: &str, more: &[&str]) -> Value {
    let program = site.program(&[&site.account], &["ec2:volume"], &[REGION]);
    program.args(["--store", store]).args(more).run().report().0
}

fn history(site: &Site, store: &str, more: &[&str]) -> String {
    let ended = Program::behind(&site.proxy).args(["history", "--store", store]).args(more).run();
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    ended.stdout
}

fn items(site: &Site, store: &str, more: &[&str]) -> Vec<Value> {
    let list: Value =
        serde_json::from_str(&history(site, store, &[&["--format", "json"], more].concat())).unwrap();
    assert_eq!((&list["apiVersion"], &list["kind"]), (&"tagwarden.io/v1alpha1".into(), &"RunList".into()));
    list["items"].as_array().unwrap().clone()
}

fn runs_are_recorded_and_shown(store: &str) {
    let site = site();
    site.cloud.volume(REGION, &[("Owner", "ada@example.com")]);
    let first = scan(&site, store, &[]);
    site.cloud.volume(REGION, &[]);
    let second = scan(&site, store, &[]);
    site.proxy.rule(Rule::on("ec2", "DescribeVolumes", Fault::Deny));
    let ended = site.program(&[&site.account], &["ec2:volume"], &[REGION]).args(["--store", store]).run();
    assert_eq!(ended.status, Some(3), "{}", ended.stderr);
    let third = ended.document().0;

    let runs = items(&site, store, &[]);
    assert_eq!(runs.len(), 3);
    for (run, report) in runs.iter().zip([&third, &second, &first]) {
        for field in ["runId", "policy", "complete", "summary"] {
            assert_eq!(run[field], report[field], "{field}, the newest first");
        }
        assert_eq!(run["scope"]["regions"], serde_json::json!([REGION]));
        assert_eq!(run["scope"]["resourceTypes"], serde_json::json!(["ec2:volume"]));
    }
    let states: Vec<&Value> = runs.iter().map(|run| &run["state"]).collect();
    assert_eq!(states, ["failed", "succeeded", "succeeded"]);
    assert_eq!(runs[0]["gaps"], 1);

    let table = history(&site, store, &[]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(lines.iter().all(|line| line.chars().count() <= 100), "{table}");
    assert!(lines[0].starts_with("RUN") && lines[0].contains("SCORE"), "{table}");
    assert!(lines[1].contains(" failed "), "{table}");
    assert!(lines[2].contains("  owner ") && lines[2].contains("  1a 1r 1t  complete "), "{table}");
    let started: jiff::Timestamp = second["startedAt"].as_str().unwrap().parse().unwrap();
    assert!(lines[2].contains(&started.strftime("  %b %d %H:%M  ").to_string()), "{table}");
    assert!(
        lines[2].starts_with(second["runId"].as_str().unwrap()) && lines[2].contains("50.0 %"),
        "{table}"
    );
    assert!(
        lines[3].starts_with(first["runId"].as_str().unwrap()) && lines[3].contains("100.0 %"),
        "{table}"
    );
    assert_eq!(items(&site, store, &["--limit", "2"]).len(), 2);

    // The newest two remain, the one that is being recorded among them.
    site.proxy.clear_rules();
    let fourth = scan(&site, store, &["--keep-runs", "2"]);
    let kept: Vec<Value> = items(&site, store, &[]).iter().map(|run| run["runId"].clone()).collect();
    assert_eq!(kept, [fourth["runId"].clone(), third["runId"].clone()]);
}

#[test]
fn in_a_sqlite_file() {
    let directory = tempfile::tempdir().unwrap();
    runs_are_recorded_and_shown(&format!("sqlite:{}", directory.path().join("runs.db").display()));
}

#[test]
fn in_postgresql() {
    let store = Testbed::postgres().fresh_database().unwrap();
    let site = site();
    assert!(history(&site, &store, &[]).contains("No runs yet"));
    assert_eq!(items(&site, &store, &[]), Vec::<Value>::new());
    runs_are_recorded_and_shown(&store);
}

/// Who only looks makes nothing, and hears that there is nothing.
#[test]
fn a_store_that_is_not_there_is_not_made() {
    for store in ["sqlite:nope.db", "sqlite:///nowhere/nope.db"] {
        let program = Program::alone();
        let before = std::fs::read_dir(program.directory()).unwrap().count();
        let mut program = program.args(["history", "--store", store]);
        let ended = program.run();
        assert_eq!(ended.status, Some(2), "{}", ended.stdout);
        let path = store.trim_start_matches("sqlite:").trim_start_matches("//");
        assert!(ended.stderr.contains(&format!("there is no file `{path}`")), "{}", ended.stderr);
        assert_eq!(std::fs::read_dir(program.directory()).unwrap().count(), before);
    }
}

#[test]
fn without_a_store_nothing_is_stored() {
    let site = site();
    let mut program = site.program(&[&site.account], &["ec2:volume"], &[REGION]);
    let before = std::fs::read_dir(program.directory()).unwrap().count();
    program.run().report();
    assert_eq!(std::fs::read_dir(program.directory()).unwrap().count(), before);
}

#[test]
fn the_store_can_come_from_the_environment() {
    let site = site();
    let program = site.program(&[&site.account], &["ec2:volume"], &[REGION]);
    let mut program = program.env("TAGWARDEN_STORE", "sqlite:runs.db");
    let report = program.run().report();
    let store = format!("sqlite:{}", program.directory().join("runs.db").display());
    assert_eq!(items(&site, &store, &[])[0]["runId"], report.0["runId"]);
}

#[test]
fn old_runs_are_forgotten_after_as_many_days_as_asked() {
    let site = site();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("runs.db");
    let store = format!("sqlite:{}", file.display());
    scan(&site, &store, &[]);
    let hundred_days_ago = "import sqlite3, sys; store = sqlite3.connect(sys.argv[1]); \
                            store.execute('UPDATE tagwarden_runs SET started_at = started_at - 8640000000'); \
                            store.commit()";
    let python = Testbed::shared().moto().python();
    assert!(Command::new(python).args(["-c", hundred_days_ago]).arg(&file).status().unwrap().success());
    scan(&site, &store, &["--keep-days", "101"]);
    assert_eq!(items(&site, &store, &[]).len(), 2);
    let newest = scan(&site, &store, &[]);
    let kept = items(&site, &store, &[]);
    assert_eq!(kept.len(), 2, "ninety days is the default: {kept:#?}");
    assert_eq!(kept[0]["runId"], newest["runId"]);
}
