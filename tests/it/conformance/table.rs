//! The table of requests: recorded from the real server, and held against every target.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::allowed::allowed;
use super::compare::{Difference, differences};
use super::page;
use super::probe::{Case, cases, run};
use super::reply::Reply;
use super::target::{Site, Target};

/// What every probe was answered.
type Replies = BTreeMap<String, Reply>;

const RECORD: &str = "UPDATE_GOLDEN=1 cargo test --test it conformance::table::real";

fn golden_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/kube-1.36.json")
}

fn golden() -> Replies {
    let text = std::fs::read_to_string(golden_path()).unwrap_or_else(|_| panic!("record it: {RECORD}"));
    serde_json::from_str(&text).expect("recorded answers")
}

/// A line for each probe, so that a change shows what changed.
fn record(replies: &Replies) {
    let mut text = String::from("{");
    for (index, (name, reply)) in replies.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let name = serde_json::to_string(name).expect("JSON");
        let reply = serde_json::to_string(reply).expect("JSON");
        let _ = write!(text, "{comma}\n{name}: {reply}");
    }
    text.push_str("\n}\n");
    std::fs::write(golden_path(), text).expect("the recording is written");
}

/// All files, each in a namespace of its own, side by side.
async fn answers(target: Target) -> Replies {
    let site = Site::on(target).await;
    let mut tasks = tokio::task::JoinSet::new();
    for case in cases() {
        let site = site.beside().await;
        tasks.spawn(async move { run(&case, &site).await });
    }
    let mut replies = Replies::new();
    while let Some(done) = tasks.join_next().await {
        replies.extend(done.expect("a file runs to its end"));
    }
    replies
}

fn compare(golden: &Replies, found: &Replies) -> Vec<Difference> {
    let each = golden.iter().flat_map(|(name, real)| {
        let found = found.get(name).unwrap_or_else(|| panic!("{name} was not asked; record anew: {RECORD}"));
        differences(name, real, found)
    });
    let all = each.collect();
    let fresh = found.keys().find(|name| !golden.contains_key(*name));
    assert!(fresh.is_none(), "{fresh:?} is not recorded yet: {RECORD}");
    all
}

#[track_caller]
fn none(differences: &[&Difference], whose: &str) {
    let told: Vec<String> = differences.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "{} differences between {whose}:\n{}", told.len(), told.join("\n"));
}

#[test]
fn there_are_enough_probes_and_each_has_one_name() {
    let cases: Vec<Case> = cases();
    let named = cases.iter().flat_map(|case| &case.steps).filter(|step| !step.name.is_empty()).count();
    assert!(named >= 150, "{named} probes");
}

/// The recording cannot rot: the real server still says the same.
#[tokio::test(flavor = "multi_thread")]
async fn real() {
    let found = answers(Target::Real).await;
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        record(&found);
    }
    let differences = compare(&golden(), &found);
    none(
        &differences.iter().collect::<Vec<_>>(),
        "the recording and the real server; if it is right now: record",
    );
}

/// What the embedded plane answers otherwise, in whatever form. Each difference once.
async fn embedded(golden: &Replies) -> Vec<Difference> {
    let mut all: Vec<Difference> = Vec::new();
    for target in [Target::Embedded, Target::EmbeddedHttp, Target::EmbeddedPostgres] {
        for difference in compare(golden, &answers(target).await) {
            if !all.iter().any(|known| known.is_at(&difference)) {
                all.push(difference);
            }
        }
    }
    all
}

/// Every form of the embedded plane answers as the real server does, but for what is excused; no excuse outlives its
/// difference; and the page says so.
#[tokio::test(flavor = "multi_thread")]
async fn embedded_in_all_forms() {
    let golden = golden();
    let differences = embedded(&golden).await;
    let allowed = allowed();
    let unexcused = differences.iter().filter(|each| !allowed.iter().any(|entry| entry.covers(each)));
    none(&unexcused.collect::<Vec<_>>(), "the real server and the embedded one");
    let unused = allowed.iter().filter(|entry| !differences.iter().any(|each| entry.covers(each)));
    let unused: Vec<&str> = unused.map(|entry| entry.reason.as_str()).collect();
    assert!(unused.is_empty(), "nothing differs any more in:\n{}", unused.join("\n"));
    page::check(&page::render(&cases(), &differences, &allowed));
}
