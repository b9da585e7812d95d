//! The program against an independent reader, and both against the truth: equal, item by item.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tagwarden_testbed::manifests::{NamedAccount, client_accounts};
use tagwarden_testbed::{Estate, Question, REGIONS, Testbed, estate};

use crate::program::{Program, Report};

/// What estates are made of. Each is printed by the test that uses it.
const SEEDS: [u64; 3] = [11, 1_977, 420_042];

/// A finding, reduced to what both sides know.
fn findings(document: &Value) -> BTreeSet<String> {
    let rows = document["violations"].as_array().expect("`violations` is a list");
    let reduced = rows.iter().map(|row| {
        let exempt =
            row.get("exempt").map_or_else(|| row.get("exemptedBy").is_some(), |exempt| exempt == true);
        let fields =
            ["arn", "resourceType", "accountId", "region", "tagKey", "violationType", "severity", "kind"];
        let words: Vec<&str> = fields.iter().map(|field| row[*field].as_str().unwrap_or("-")).collect();
        format!("{} exempt={exempt}", words.join(" "))
    });
    let set: BTreeSet<String> = reduced.collect();
    assert_eq!(set.len(), rows.len(), "a finding came twice");
    set
}

/// The counters that both sides have, zeros left out.
fn counters(tally: &Value) -> Value {
    let mut counters = json!({});
    for name in ["score", "resources", "compliant", "violating", "exempt", "unknown"] {
        counters[name] = tally[name].clone();
    }
    counters
}

fn nonzero(counts: &Value) -> Value {
    let counts = counts.as_object().expect("an object").iter().filter(|(_, count)| **count != 0);
    counts.map(|(name, count)| (name.clone(), count.clone())).collect::<serde_json::Map<_, _>>().into()
}

/// One row for each key. The reader leaves out places where nothing was judged.
fn breakdown(document: &Value, list: &str, key: &str) -> Vec<Value> {
    let rows = document[list].as_array().expect("a breakdown is a list");
    let judged = rows.iter().filter(|row| {
        ["resources", "exempt", "unknown"]
            .iter()
            .any(|counter| row[*counter].as_u64().unwrap_or_default() > 0)
    });
    let mut rows: Vec<Value> = judged.map(|row| json!([row[key], counters(row)])).collect();
    rows.sort_by_key(|row| row[0].to_string());
    rows
}

#[track_caller]
fn equal(seed: u64, other: &str, scan: &Value, expected: &Value) {
    let (found, wanted) = (findings(scan), findings(expected));
    let missing: Vec<_> = wanted.difference(&found).take(10).collect();
    let surplus: Vec<_> = found.difference(&wanted).take(10).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "seed {seed}: only {other} has {missing:#?}, only the scan has {surplus:#?}"
    );
    assert_eq!(counters(&scan["summary"]), counters(&expected["summary"]), "seed {seed}: summary, {other}");
    for field in ["bySeverity", "byViolationType"] {
        let (scan, expected) = (&scan["summary"][field], &expected["summary"][field]);
        assert_eq!(nonzero(scan), nonzero(expected), "seed {seed}: {field}, {other}");
    }
    for (list, key) in
        [("byAccount", "accountId"), ("byRegion", "region"), ("byResourceType", "resourceType")]
    {
        assert_eq!(
            breakdown(scan, list, key),
            breakdown(expected, list, key),
            "seed {seed}: {list}, {other}"
        );
    }
}

fn differs_in_nothing(seed: u64) {
    println!("seed {seed}");
    let bed = Testbed::shared();
    let proxy = bed.proxy();
    let accounts = [proxy.fresh_account_with_external_id(), proxy.fresh_account()];
    let ids = [accounts[0].id.as_str(), accounts[1].id.as_str()];
    let (truth, truth_file) =
        bed.seed(&Estate { accounts: &ids, regions: &REGIONS, seed, scale: 0.5, many: "lambda=12" });
    assert!(truth.resources.len() > 100, "only {} resources", truth.resources.len());

    let policy = estate::demo_policy();
    let program =
        Program::behind(&proxy).args(["scan", "--format", "json", "--accounts", "accounts.yaml", "--policy"]);
    let manifests = client_accounts(&[
        NamedAccount { name: "shop", labels: &[("tier", "gold")], account: &accounts[0] },
        NamedAccount { name: "analytics", labels: &[("tier", "silver")], account: &accounts[1] },
    ]);
    program.file("accounts.yaml", manifests);
    let Report(scan) = program.args([&policy]).run().report();
    assert_eq!(scan["throttled"], 0);

    let joined = ids.join(",");
    let question = Question { policy: &policy, accounts: &joined, regions: &REGIONS, types: &[] };
    let expected = bed.expect(&truth_file, &question);
    assert!(findings(&expected).len() > 100, "too little to compare");
    equal(seed, "the truth", &scan, &expected);
    equal(seed, "the reader", &scan, &bed.read(&question));
}

#[test]
fn seed_one() {
    differs_in_nothing(SEEDS[0]);
}

#[test]
fn seed_two() {
    differs_in_nothing(SEEDS[1]);
}

#[test]
fn seed_three() {
    differs_in_nothing(SEEDS[2]);
}
