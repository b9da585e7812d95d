//! Bad input: a clear sentence, the right exit status, and nothing half-written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tagwarden_testbed::{Fault, Rule, Testbed};

use crate::program::{Ended, OWNER_REQUIRED, Program};
use crate::site::site;

const USAGE: Option<i32> = Some(2);
const NOTHING_SCANNED: Option<i32> = Some(3);

/// One case of `tests/cases/bad-input`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    what: String,
    #[serde(default)]
    files: BTreeMap<String, String>,
    args: Vec<String>,
    says: Vec<String>,
}

fn good(text: &str) -> String {
    let other = OWNER_REQUIRED.replace("{name: owner}", "{name: other}");
    text.replace("GOOD2", &other).replace("GOOD", OWNER_REQUIRED)
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[track_caller]
fn says(ended: &Ended, status: Option<i32>, what: &str, fragments: &[&str]) {
    assert_eq!(ended.status, status, "{what}: {}\n{}", ended.stderr, ended.stdout);
    for fragment in fragments {
        assert!(ended.stderr.contains(fragment), "{what}: no {fragment:?} in\n{}", ended.stderr);
    }
}

#[test]
fn bad_files_and_flags_are_refused_before_the_first_call() {
    let text = include_str!("../cases/bad-input/files-and-flags.yaml");
    let cases: Vec<Case> = serde_saphyr::from_str(text).unwrap();
    assert!(cases.len() > 40);
    let proxy = Testbed::shared().proxy();
    for case in cases {
        let mut program = Program::behind(&proxy).args(&case.args);
        for (name, text) in &case.files {
            program.file(name, good(text));
        }
        let writes = case.args[0] == "scan" && !case.args.iter().any(|arg| arg == "--output");
        if writes {
            program = program.args(["--output", "report.json"]);
        }
        let ended = program.run();
        let fragments: Vec<&str> = case.says.iter().map(String::as_str).collect();
        says(&ended, USAGE, &case.what, &fragments);
        assert!(
            ended.stderr.starts_with("error: ") || ended.stderr.starts_with("warning: "),
            "{}",
            ended.stderr
        );
        assert!(!ended.stderr.contains("hunter2") && !ended.stderr.contains('\u{1b}'), "{}", ended.stderr);
        assert_eq!(names(program.directory()), case.files.keys().cloned().collect(), "{}: files", case.what);
        let checked = case.args[0] == "policy" && case.args[1] == "check";
        assert!(ended.stdout.is_empty() || checked, "{}: {}", case.what, ended.stdout);
    }
    assert_eq!(proxy.calls(), [], "somebody called AWS");
}

#[test]
fn a_huge_policy_is_refused_at_once() {
    let proxy = Testbed::shared().proxy();
    let mut program = Program::behind(&proxy).args(["scan", "--output", "report.json"]);
    let line = "# a comment that goes on and on and says nothing at all, as comments do now and then\n";
    program = program.policy(&line.repeat((10 << 20) / line.len()));
    let started = Instant::now();
    let ended = program.run();
    says(&ended, USAGE, "10 MB", &["policy.yaml: larger than 1048576 bytes"]);
    assert!(started.elapsed() < Duration::from_secs(20), "it took {:?}", started.elapsed());
    assert_eq!(names(program.directory()), BTreeSet::from(["policy.yaml".to_owned()]));
    assert_eq!(proxy.calls(), []);
}

#[test]
fn an_expired_exemption_is_a_warning() {
    let site = site();
    let expired = format!(
        "{OWNER_REQUIRED}  exemptions:\n  - name: legacy\n    reason: going away\n    arns: ['arn:aws:sns:*:*:*']\n    \
         tagKeys: [Owner]\n    expiresAt: '2020-01-31T00:00:00Z'\n"
    );
    let program = Program::behind(&site.proxy).args(["scan", "--format", "json", "--type", "ec2:volume"]);
    let ended = program.policy(&expired).accounts(&[&site.account]).run();
    assert!(ended.report().complete());
    assert!(
        ended.stderr.contains("warning: policy.yaml, document 1: spec.exemptions[0].expiresAt"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("`legacy` expired at 2020-01-31T00:00:00Z"), "{}", ended.stderr);
}

#[test]
fn a_region_that_is_not_there_is_refused_with_those_that_are() {
    let site = site();
    for region in ["mars-north-1", "ap-east-1"] {
        let mut program = site.program(&[&site.account], &["ec2:volume"], &["eu-west-1", region]);
        program = program.args(["--output", "report.json", "--store", "sqlite:runs.db"]);
        let ended = program.run();
        let wanted = format!("--region: region `{region}` does not exist or is not enabled");
        says(&ended, USAGE, region, &[&wanted, "available: eu-central-1, eu-west-1, us-east-1"]);
        assert!(!program.directory().join("report.json").exists());
        assert_eq!(site.proxy.count("ec2", "DescribeVolumes"), 0, "something was listed");
        let history = Program::behind(&site.proxy).args(["history", "--format", "json", "--store"]);
        let store = format!("sqlite:{}", program.directory().join("runs.db").display());
        let runs: serde_json::Value = serde_json::from_str(&history.args([&store]).run().stdout).unwrap();
        assert_eq!(runs["items"][0]["state"], "failed", "{runs:#}");
    }
}

#[test]
fn an_endpoint_that_nobody_answers_at_is_named() {
    let proxy = Testbed::shared().proxy();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let program = Program::behind(&proxy).args(["scan", "--format", "json"]).policy(OWNER_REQUIRED);
    let ended = program.env("AWS_ENDPOINT_URL", &format!("http://{closed}")).run();
    let address = closed.to_string();
    says(&ended, NOTHING_SCANNED, "unreachable", &["nothing could be scanned", &address, "AWS_ENDPOINT_URL"]);
    let report = ended.document();
    assert!(!report.complete());
    assert_eq!(report.0["accounts"][0]["state"], "failed");
    assert!(report.0["accounts"][0]["cause"].as_str().unwrap().contains(&address));
    assert_eq!(proxy.calls(), []);
}

#[test]
fn without_credentials_it_says_what_to_set() {
    let proxy = Testbed::shared().proxy();
    for format in ["table", "json"] {
        let program = Program::behind(&proxy).args(["scan", "--format", format]).policy(OWNER_REQUIRED);
        let ended = program.without_env("AWS_ACCESS_KEY_ID").without_env("AWS_SECRET_ACCESS_KEY").run();
        says(&ended, NOTHING_SCANNED, format, &["nothing could be scanned", "AWS_PROFILE", "aws sso login"]);
    }
    assert_eq!(proxy.calls(), []);
}

#[test]
fn a_wrong_external_id_names_the_account_and_what_to_check() {
    let site = site();
    let wrong = tagwarden_testbed::Account { external_id: Some("guess".into()), ..site.account.clone() };
    let scan = |accounts: &[&tagwarden_testbed::Account]| {
        site.program(accounts, &["ec2:volume"], &["eu-west-1"]).run()
    };
    let ended = scan(&[&wrong]);
    let what_to_check = [&*site.account.id, &*site.account.role_arn, "trust policy", "ExternalId"];
    says(&ended, NOTHING_SCANNED, "the only account", &what_to_check);
    assert!(!ended.stderr.contains("guess") && !ended.stdout.contains("guess"), "the id is not shown");

    // One refused account is a gap, not a failure.
    let (neighbour, _) = site.neighbour();
    let report = scan(&[&wrong, &neighbour]).report();
    assert!(!report.complete());
    let gap = report.cell(&site.account.id, "*", "*");
    assert_eq!(gap.state, "denied");
    assert!(gap.cause.contains("ExternalId"), "{}", gap.cause);
    assert_eq!(report.cell(&neighbour.id, "eu-west-1", "ec2:volume").state, "complete");
}

#[test]
fn credentials_of_another_account_are_not_used_for_this_one() {
    let site = site();
    let program =
        Program::behind(&site.proxy).args(["scan", "--account", "999999999999"]).policy(OWNER_REQUIRED);
    let (mut program, meant) = (program, "but 999999999999 was meant");
    says(&program.run(), NOTHING_SCANNED, "another account", &["999999999999", meant]);
}

#[test]
fn a_store_of_a_newer_version_is_refused_before_the_first_call() {
    let site = site();
    let scan = || site.program(&[&site.account], &["ec2:volume"], &["eu-west-1"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("runs.db");
    let url = format!("sqlite:{}", file.display());
    scan().args(["--store", &url]).run().report();
    let newer = "import sqlite3, sys; store = sqlite3.connect(sys.argv[1]); \
                 store.execute('INSERT INTO tagwarden_store_migrations (version) VALUES (9999)'); store.commit()";
    let python = Testbed::shared().moto().python();
    assert!(Command::new(python).args(["-c", newer]).arg(&file).status().unwrap().success());

    site.proxy.forget_calls();
    let mut program = scan().args(["--store", &url, "--output", "report.json"]);
    says(&program.run(), USAGE, "scan", &["written by a newer version", "9999", "upgrade tagwarden"]);
    assert!(!program.directory().join("report.json").exists());
    assert_eq!(site.proxy.calls(), []);
    let mut history = Program::behind(&site.proxy).args(["history", "--store", &url]);
    says(&history.run(), USAGE, "history", &["written by a newer version"]);
}

#[test]
fn a_denied_discovery_of_regions_is_told_and_the_default_region_scanned() {
    let site = site();
    site.proxy.rule(Rule::on("ec2", "DescribeRegions", Fault::Deny));
    let report = site.scan(&["ec2:volume"], &[]);
    assert!(!report.complete());
    assert_eq!(report.0["accounts"][0]["discoveryFailed"], true);
    assert!(report.0["accounts"][0]["discoveryError"].as_str().unwrap().contains("ec2:DescribeRegions"));
    assert_eq!(report.0["accounts"][0]["regions"], serde_json::json!(["us-east-1"]));
}
