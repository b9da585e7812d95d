//! `ComplianceReport`: what one run found, made once, never changed, and forgotten when newer ones take its place.
//!
//! Not a kind that is reconciled: its audit makes and prunes it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, ListParams, Patch, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::json;
use tagwarden_api::audit::{ComplianceAudit, RunResult};
use tagwarden_api::condition::{COMPLIANT, READY};
use tagwarden_api::report::{
    AccountCount, AuditRef, ComplianceReport, ComplianceReportSpec, ComplianceReportStatus, Coverage,
    CoverageGap, TypeCount, Violation,
};
use tagwarden_app::audit::outcome::RunOutcome;
use tagwarden_app::audit::ports::RunRecord;
use tagwarden_core::report::ViolationRow;
use tagwarden_core::run::{RunState, label_value};

use crate::audit::status::{accounts, number, partial, result, score, shown, small, summary, top_tags};
use crate::conditions::{bounded, seconds};
use crate::context::Frame;
use crate::failure::ObjectError;
use crate::key::Key;
use crate::write::{belongs, manager, owned, post, within};

/// The most bytes of a report's status.
pub const REPORT_BYTES_MAX: usize = 128 * 1024;

/// The label that says of which audit a report is.
pub const AUDIT_LABEL: &str = "tagwarden.io/audit";

const ACCOUNTS: usize = 200;
const TYPES: usize = 100;
const TAGS: usize = 50;
const GAPS: usize = 50;

/// Reports looked at to prune: more than an audit may keep.
const LISTED: u32 = 500;

/// Makes the report of a run that has ended, unless it is there. Gives whether there is one: the name may be taken
/// by another object.
pub(crate) async fn publish(
    frame: &Frame,
    audit: &ComplianceAudit,
    record: &RunRecord,
    status: &ComplianceReportStatus,
) -> Result<bool, ObjectError> {
    let namespace = Key::of(audit).namespace;
    let api: Api<ComplianceReport> = frame.writer.api(&namespace);
    let what = format!("ComplianceReport {namespace}/{}", record.run_id);
    let there = within("read", &what, api.get_opt(&record.run_id)).await?;
    let there = match there {
        Some(there) if !belongs(&there.metadata, audit) => {
            tracing::warn!(
                report = record.run_id,
                "the name of the report is taken by that of another audit"
            );
            return Ok(false);
        }
        Some(there) => there,
        None => {
            frame.fence.check()?;
            within("create", &what, api.create(&post(), &object(audit, record))).await?
        }
    };
    if there.status.is_none_or(|status| status.result.is_none()) {
        frame.fence.check()?;
        let patch = Patch::Merge(json!({ "status": status }));
        within("patch", &what, api.patch_status(&record.run_id, &manager(), &patch)).await?;
    }
    Ok(true)
}

fn object(audit: &ComplianceAudit, record: &RunRecord) -> ComplianceReport {
    let spec = ComplianceReportSpec {
        audit_ref: AuditRef { name: audit.name_any() },
        run_id: record.run_id.clone(),
        policy_revision: bounded(&record.policy_revision, 80),
        trigger: shown(record.slot.trigger),
        start_time: seconds(record.started_at),
    };
    let mut report = ComplianceReport::new(&record.run_id, spec);
    report.metadata = owned(audit, &record.run_id);
    report.labels_mut().insert(AUDIT_LABEL.to_owned(), label_value(&audit.name_any()));
    report
}

/// Deletes the reports of the audit beyond the newest so many of runs that succeeded, and of others.
pub(crate) async fn prune(
    frame: &Frame,
    audit: &ComplianceAudit,
    successes: usize,
    failures: usize,
) -> Result<(), ObjectError> {
    let namespace = Key::of(audit).namespace;
    let api: Api<ComplianceReport> = frame.writer.api(&namespace);
    let label = format!("{AUDIT_LABEL}={}", label_value(&audit.name_any()));
    let what = format!("the ComplianceReports of {}", Key::of(audit));
    let wanted = ListParams::default().labels(&label).limit(LISTED);
    let reports = within("list", &what, api.list(&wanted)).await?.items;
    let ours = reports.into_iter().filter(|report| belongs(&report.metadata, audit));
    for report in surplus(ours.collect(), successes, failures) {
        frame.fence.check()?;
        let what = format!("ComplianceReport {namespace}/{}", report.name_any());
        let exactly = Preconditions { uid: report.uid(), resource_version: None };
        let parameters = DeleteParams { preconditions: Some(exactly), ..DeleteParams::default() };
        match within("delete", &what, api.delete(&report.name_any(), &parameters)).await {
            Err(ObjectError::Api { source, .. }) if is_gone(&source) => {}
            deleted => drop(deleted?),
        }
    }
    Ok(())
}

fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_not_found() || status.is_conflict())
}

/// The reports that are too many, the newest of each sort being kept.
fn surplus(mut reports: Vec<ComplianceReport>, successes: usize, failures: usize) -> Vec<ComplianceReport> {
    reports.sort_by_key(|report| Reverse((report.spec.start_time.0, report.name_any())));
    let (mut successes, mut failures) = (successes, failures);
    reports.retain(|report| {
        let result = report.status.as_ref().and_then(|status| status.result);
        let left = match result {
            Some(RunResult::Succeeded) => &mut successes,
            Some(RunResult::Failed | RunResult::Cancelled) => &mut failures,
            // Being written.
            None => return false,
        };
        let kept = *left > 0;
        *left = left.saturating_sub(1);
        !kept
    });
    reports
}

/// What a report says of a run, never too large. `conditions` are those of the audit at the end of the run.
pub(crate) fn status(
    record: &RunRecord,
    outcome: Option<&RunOutcome>,
    worst: &[ViolationRow],
    conditions: &[Condition],
    now: Timestamp,
) -> ComplianceReportStatus {
    let mut status = ComplianceReportStatus {
        result: result(record.state),
        message: record.cause.as_deref().map(|cause| bounded(cause, 1024)),
        completion_time: Some(seconds(record.finished_at.unwrap_or(now))),
        conditions: conditions
            .iter()
            .filter(|condition| [READY, COMPLIANT].contains(&&*condition.type_))
            .cloned()
            .collect(),
        ..ComplianceReportStatus::default()
    };
    let Some(outcome) = outcome else { return status };
    if record.state == RunState::Succeeded {
        let found = summary(outcome);
        if !found.complete && status.message.is_none() {
            let accounts = accounts(outcome, &BTreeMap::new());
            status.message = Some(partial(&found, Some(&accounts)).trim_start_matches("; ").to_owned());
        }
        status.summary = Some(found);
    }
    status.by_account = by_account(outcome);
    status.by_resource_type = by_resource_type(outcome);
    status.by_tag = top_tags(outcome, TAGS);
    status.top_violations = worst.iter().take(100).map(violation).collect();
    status.gaps = gaps(outcome);
    status.coverage = Some(Coverage {
        accounts: small(outcome.accounts.len() - outcome.failing().count()),
        regions: i32::try_from(outcome.regions).unwrap_or(i32::MAX),
        resource_types: small(outcome.types.len()),
        cells: number(outcome.cells),
        gaps: number(outcome.gaps),
    });
    fit(status)
}

fn by_account(outcome: &RunOutcome) -> Vec<AccountCount> {
    let mut lines: Vec<_> = outcome.accounts.iter().collect();
    lines.sort_by_key(|line| (line.failure.is_none(), Reverse(line.summary.violations()), line.name.clone()));
    let count = |line: &&tagwarden_app::audit::outcome::AccountLine| AccountCount {
        name: bounded(&line.name, 253),
        account_id: line.account_id.as_ref().map(ToString::to_string),
        score: score(&line.summary),
        resources: number(line.summary.resources()),
        violations: number(line.summary.violations()),
        complete: line.complete,
    };
    lines.iter().take(ACCOUNTS).map(count).collect()
}

fn by_resource_type(outcome: &RunOutcome) -> Vec<TypeCount> {
    let mut types: Vec<_> = outcome.by_resource_type.iter().collect();
    types.sort_by_key(|(name, tally)| (Reverse(tally.violations()), (*name).clone()));
    let count = |(name, tally): (&std::sync::Arc<str>, &tagwarden_core::tally::Tally)| TypeCount {
        resource_type: bounded(name, 128),
        score: score(tally),
        resources: number(tally.resources()),
        violations: number(tally.violations()),
    };
    types.into_iter().take(TYPES).map(count).collect()
}

fn violation(row: &ViolationRow) -> Violation {
    Violation {
        arn: bounded(&row.arn, 2048),
        account_id: row.account_id.to_string(),
        region: bounded(&row.region, 32),
        resource_type: bounded(&row.resource_type, 128),
        tag_key: bounded(&row.finding.tag_key, 128),
        violation_type: row.finding.violation_type.as_str().to_owned(),
        severity: row.finding.severity.into(),
        message: bounded(&row.finding.message(), 256),
    }
}

fn gaps(outcome: &RunOutcome) -> Vec<CoverageGap> {
    let gap = |(account, gap): &(String, tagwarden_app::audit::outcome::GapLine)| CoverageGap {
        account: bounded(account, 253),
        region: bounded(&gap.region, 32),
        resource_type: bounded(&gap.resource_type, 128),
        state: gap.state.clone(),
        cause: Some(bounded(&gap.cause, 400)),
    };
    outcome.told.iter().take(GAPS).map(gap).collect()
}

/// The status, made small enough: half of every long list goes until it fits, and what is left is the worst.
fn fit(mut status: ComplianceReportStatus) -> ComplianceReportStatus {
    let size = |status: &ComplianceReportStatus| serde_json::to_string(status).map_or(0, |text| text.len());
    for length in [100, 50, 25, 12, 6, 0] {
        if size(&status) <= REPORT_BYTES_MAX {
            return status;
        }
        status.top_violations.truncate(length);
        status.by_account.truncate(2 * length);
        status.gaps.truncate(length);
        status.by_resource_type.truncate(length);
        status.by_tag.truncate(length);
    }
    status
}
