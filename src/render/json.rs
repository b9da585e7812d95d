//! The JSON names of a scan. REST and the statuses use the same ones.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use tagwarden_core::account::AccountId;
use tagwarden_core::coverage::Cell;
use tagwarden_core::finding::{Severity, ViolationType};
use tagwarden_core::report::{AccountReport, AccountState, ScanReport, ViolationRow};
use tagwarden_core::tally::Tally;

use super::spool::Spool;

/// The version of the names below.
pub const API_VERSION: &str = "tagwarden.io/v1alpha1";

/// A finding.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Violation<'a> {
    pub arn: &'a str,
    pub resource_id: &'a str,
    pub resource_type: &'a str,
    pub account_id: &'a str,
    pub region: &'a str,
    pub tag_key: &'a str,
    pub violation_type: &'static str,
    pub severity: &'static str,
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_values: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_format: Option<&'a str>,
    /// The exemption that covers the finding, which is then not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exempted_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exempt_until: Option<String>,
    pub message: String,
}

impl<'a> From<&'a ViolationRow> for Violation<'a> {
    fn from(row: &'a ViolationRow) -> Self {
        let finding = &row.finding;
        let exempted = finding.exempted.as_ref();
        Self {
            arn: &row.arn,
            resource_id: &row.resource_id,
            resource_type: &row.resource_type,
            account_id: row.account_id.as_str(),
            region: &row.region,
            tag_key: &finding.tag_key,
            violation_type: finding.violation_type.as_str(),
            severity: finding.severity.as_str(),
            kind: finding.kind.as_str(),
            current_value: finding.current_value.as_deref(),
            allowed_values: finding.allowed_values.as_ref().map(|all| all.iter().map(|one| &**one).collect()),
            expected_format: finding.expected_format.as_deref(),
            exempted_by: exempted.map(|exempted| &*exempted.by),
            exempt_until: exempted.and_then(|exempted| exempted.until).map(|until| until.to_string()),
            message: finding.message(),
        }
    }
}

/// Counters, as they appear in the summary and in every breakdown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    score: f64,
    resources: u64,
    compliant: u64,
    violating: u64,
    exempt: u64,
    unknown: u64,
    violations: u64,
    advice: u64,
    by_severity: BTreeMap<&'static str, u64>,
    by_violation_type: BTreeMap<&'static str, u64>,
}

impl From<&Tally> for Counters {
    fn from(tally: &Tally) -> Self {
        Self {
            score: tally.score(),
            resources: tally.resources(),
            compliant: tally.compliant,
            violating: tally.violating,
            exempt: tally.exempt,
            unknown: tally.unknown,
            violations: tally.violations(),
            advice: tally.advice,
            by_severity: Severity::ALL
                .into_iter()
                .map(|one| (one.as_str(), tally.by_severity[one as usize]))
                .collect(),
            by_violation_type: ViolationType::ALL
                .into_iter()
                .map(|one| (one.as_str(), tally.by_violation_type[one as usize]))
                .collect(),
        }
    }
}

/// The report without its findings.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report<'a> {
    api_version: &'static str,
    kind: &'static str,
    run_id: &'a str,
    started_at: String,
    finished_at: String,
    policy: Policy<'a>,
    complete: bool,
    accounts: Vec<Account<'a>>,
    summary: Counters,
    by_account: Vec<AccountCounters<'a>>,
    by_region: Vec<RegionCounters<'a>>,
    by_resource_type: Vec<TypeCounters<'a>>,
    by_tag: Vec<TagCounters<'a>>,
    coverage: Vec<Coverage<'a>>,
    requests: &'a BTreeMap<String, u64>,
    throttled: u64,
}

#[derive(Debug, Serialize)]
struct Policy<'a> {
    name: &'a str,
    revision: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Account<'a> {
    account_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'a str>,
    regions: Vec<&'a str>,
    discovery_failed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    discovery_error: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AccountCounters<'a> {
    account_id: &'a str,
    #[serde(flatten)]
    counters: Counters,
}

#[derive(Debug, Serialize)]
struct RegionCounters<'a> {
    region: &'a str,
    #[serde(flatten)]
    counters: Counters,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TypeCounters<'a> {
    resource_type: &'a str,
    #[serde(flatten)]
    counters: Counters,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TagCounters<'a> {
    tag_key: &'a str,
    missing: u64,
    invalid: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Coverage<'a> {
    account_id: &'a str,
    region: &'a str,
    resource_type: &'a str,
    state: &'static str,
    resources: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'a str>,
}

impl<'a> From<&'a ScanReport> for Report<'a> {
    fn from(report: &'a ScanReport) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "ScanReport",
            run_id: &report.run_id,
            started_at: report.started_at.to_string(),
            finished_at: report.finished_at.to_string(),
            policy: Policy { name: &report.policy_name, revision: &report.policy_revision },
            complete: report.complete(),
            accounts: report.accounts.iter().map(Account::from).collect(),
            summary: Counters::from(&report.summary),
            by_account: report
                .by_account
                .iter()
                .map(|(id, tally)| AccountCounters { account_id: id.as_str(), counters: tally.into() })
                .collect(),
            by_region: report
                .by_region
                .iter()
                .map(|(region, tally)| RegionCounters { region, counters: tally.into() })
                .collect(),
            by_resource_type: report
                .by_resource_type
                .iter()
                .map(|(name, tally)| TypeCounters { resource_type: name, counters: tally.into() })
                .collect(),
            by_tag: report
                .by_tag
                .iter()
                .map(|(key, tally)| TagCounters {
                    tag_key: key,
                    missing: tally.missing,
                    invalid: tally.invalid,
                })
                .collect(),
            coverage: report.coverage.iter().map(Coverage::from).collect(),
            requests: &report.requests,
            throttled: report.throttled,
        }
    }
}

impl<'a> From<&'a AccountReport> for Account<'a> {
    fn from(account: &'a AccountReport) -> Self {
        let (state, cause) = match &account.state {
            AccountState::Scanned => ("scanned", None),
            AccountState::Failed { cause } => ("failed", Some(cause.as_str())),
        };
        Self {
            account_id: account.account_id.as_ref().map(AccountId::as_str),
            name: account.name.as_deref(),
            state,
            cause,
            regions: account.regions.iter().map(|region| &**region).collect(),
            discovery_failed: account.discovery_error.is_some(),
            discovery_error: account.discovery_error.as_deref(),
        }
    }
}

impl<'a> From<&'a Cell> for Coverage<'a> {
    fn from(cell: &'a Cell) -> Self {
        Self {
            account_id: cell.account_id.as_str(),
            region: &cell.region,
            resource_type: &cell.resource_type,
            state: cell.state.as_str(),
            resources: cell.resources,
            cause: cell.cause.as_deref(),
        }
    }
}

/// One finding as a JSON object.
pub fn row(row: &ViolationRow) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(&Violation::from(row))?)
}

/// The whole document: the report, with the spooled findings as `violations`.
pub fn document(report: &ScanReport, rows: &mut Spool, out: &mut dyn Write) -> io::Result<()> {
    let head = serde_json::to_vec(&Report::from(report))?;
    // The report is an object and never empty: its closing brace makes room for the findings.
    out.write_all(&head[..head.len() - 1])?;
    out.write_all(b",\"violations\":[\n")?;
    rows.pour(out)?;
    out.write_all(b"]}\n")
}

/// One finding a line, then the report without them.
pub fn lines(report: &ScanReport, rows: &mut Spool, out: &mut dyn Write) -> io::Result<()> {
    rows.pour(out)?;
    serde_json::to_writer(&mut *out, &Report::from(report))?;
    out.write_all(b"\n")
}
