//! Runs, findings and reports to put in.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tagwarden_app::ports::FindingSink as _;
use tagwarden_core::account::AccountId;
use tagwarden_core::coverage::{Cell, CellState};
use tagwarden_core::finding::{Exempted, Finding, FindingKind, Severity, ViolationType};
use tagwarden_core::report::{AccountReport, AccountState, ScanReport, ViolationRow};
use tagwarden_core::tally::{Tally, Verdict};

use crate::{RunRecorder, RunStart, Store};

pub(crate) const TENANT: &str = "team-a";
pub(crate) const REGIONS: [&str; 3] = ["eu-central-1", "global", "us-east-1"];
pub(crate) const TYPES: [&str; 3] = ["ec2:instance", "lambda:function", "s3:bucket"];

/// So many seconds after some beginning.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

pub(crate) fn account(number: usize) -> AccountId {
    format!("{:012}", 100_000_000_000 + number).parse().unwrap()
}

pub(crate) fn start(run_id: &str, seconds: i64) -> RunStart {
    RunStart {
        run_id: run_id.into(),
        policy_name: "company".into(),
        policy_revision: "sha256:0123".into(),
        trigger: "command".into(),
        scope_digest: "all".into(),
        scope: serde_json::json!({"accounts": [], "regions": ["*"]}),
        started_at: at(seconds),
    }
}

/// The `n`th finding of an estate in which everything occurs.
pub(crate) fn finding(n: usize) -> ViolationRow {
    let kind = if n.is_multiple_of(7) { FindingKind::Advice } else { FindingKind::Violation };
    let exempted = n.is_multiple_of(5).then(|| Exempted {
        by: "legacy".into(),
        until: n.is_multiple_of(10).then(|| at(i64::try_from(n).unwrap())),
    });
    ViolationRow {
        arn: format!("arn:aws:ec2:eu-central-1:{}:instance/i-{n:017x}", account(n % 3)),
        resource_id: format!("i-{n:017x}"),
        resource_type: TYPES[n / 2 % 3].into(),
        account_id: account(n % 3),
        region: REGIONS[n / 3 % 3].into(),
        finding: Finding {
            kind,
            violation_type: ViolationType::ALL[n % 6],
            severity: Severity::ALL[n % 5],
            tag_key: "CostCenter".into(),
            current_value: n.is_multiple_of(2).then(|| format!("value {n}").into()),
            allowed_values: n.is_multiple_of(3).then(|| [Arc::from("a"), Arc::from("b\"c")].into()),
            expected_format: n.is_multiple_of(4).then(|| "[0-9]{4}".into()),
            exempted,
        },
    }
}

pub(crate) fn findings(count: usize) -> Vec<ViolationRow> {
    (0..count).map(finding).collect()
}

/// The report of a run that found these, each on a resource of its own.
pub(crate) fn report(run_id: &str, finished: i64, rows: &[ViolationRow]) -> ScanReport {
    let mut report = ScanReport {
        run_id: run_id.into(),
        started_at: at(0),
        finished_at: at(finished),
        policy_name: "company".into(),
        policy_revision: "sha256:0123".into(),
        accounts: Vec::new(),
        summary: Tally { compliant: 3, ..Tally::default() },
        by_account: BTreeMap::new(),
        by_region: BTreeMap::new(),
        by_resource_type: BTreeMap::new(),
        by_tag: BTreeMap::new(),
        coverage: Vec::new(),
        top_violations: Vec::new(),
        requests: BTreeMap::new(),
        throttled: 0,
    };
    for row in rows {
        let verdict = if row.finding.counts() { Verdict::Violating } else { Verdict::Compliant };
        let found = std::slice::from_ref(&row.finding);
        report.summary.add(verdict, found);
        report.by_account.entry(row.account_id.clone()).or_default().add(verdict, found);
        report.by_region.entry(Arc::clone(&row.region)).or_default().add(verdict, found);
        report.by_resource_type.entry(Arc::clone(&row.resource_type)).or_default().add(verdict, found);
    }
    report.by_account.entry(account(0)).or_default();
    for account_id in report.by_account.keys() {
        report.accounts.push(AccountReport {
            account_id: Some(account_id.clone()),
            name: None,
            state: AccountState::Scanned,
            regions: REGIONS.map(Into::into).to_vec(),
            discovery_error: None,
        });
        for (region, resource_type) in REGIONS.iter().flat_map(|region| TYPES.map(|name| (*region, name))) {
            report.coverage.push(cell(account_id, region, resource_type, CellState::Complete));
        }
    }
    report
}

pub(crate) fn cell(account_id: &AccountId, region: &str, resource_type: &str, state: CellState) -> Cell {
    Cell {
        account_id: account_id.clone(),
        region: region.into(),
        resource_type: resource_type.into(),
        state,
        resources: 12,
        cause: state.is_gap().then(|| format!("{state}: ask the owner")),
    }
}

/// Records the findings in pages of 64.
pub(crate) async fn stream(recorder: &mut RunRecorder, rows: &[ViolationRow]) {
    for page in rows.chunks(64) {
        recorder.findings(page).await.unwrap();
    }
}

/// Records a whole run.
pub(crate) async fn record(
    store: &Store,
    tenant: &str,
    start: RunStart,
    rows: &[ViolationRow],
) -> ScanReport {
    let began = start.started_at.as_second() - at(0).as_second();
    let report = report(&start.run_id, began + 90, rows);
    let mut recorder = store.record(tenant, start).await.unwrap();
    stream(&mut recorder, rows).await;
    recorder.finish(&report).await.unwrap();
    report
}

/// Reads all findings, page by page.
pub(crate) async fn read_all(store: &Store, tenant: &str, run_id: &str, limit: usize) -> Vec<ViolationRow> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page =
            store.findings(tenant, run_id, &crate::FindingFilter::default(), after, limit).await.unwrap();
        all.extend(page.findings);
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}
