//! The result of a scan, as plain data. How it looks on a wire or a screen is decided at the edges.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::account::AccountId;
use crate::coverage::Cell;
use crate::finding::{Finding, Severity, ViolationType};
use crate::tally::Tally;

/// The columns of exported findings: the names that their fields have in JSON.
pub const COLUMNS: [&str; 15] = [
    "arn",
    "resourceId",
    "resourceType",
    "accountId",
    "region",
    "tagKey",
    "violationType",
    "severity",
    "kind",
    "currentValue",
    "allowedValues",
    "expectedFormat",
    "exemptedBy",
    "exemptUntil",
    "message",
];

/// A finding with the resource it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViolationRow {
    /// The resource.
    pub arn: String,
    /// What people call it.
    pub resource_id: String,
    /// The name of its type.
    pub resource_type: Arc<str>,
    /// Its account.
    pub account_id: AccountId,
    /// Its region, or `global`.
    pub region: Arc<str>,
    /// What is wrong.
    pub finding: Finding,
}

/// Whether an account could be scanned at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountState {
    /// Entered; what could not be seen inside is in the coverage.
    Scanned,
    /// Could not be entered, for this reason.
    Failed {
        /// For people: what happened and what to check.
        cause: String,
    },
}

/// One account of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountReport {
    /// The account, or `None` when the caller's own account could not be told.
    pub account_id: Option<AccountId>,
    /// The name of its `ClientAccount`, if it came from one.
    pub name: Option<String>,
    /// Entered or not.
    pub state: AccountState,
    /// The regions that were scanned.
    pub regions: Vec<Arc<str>>,
    /// Set when the enabled regions could not be discovered; only the default or the named regions were scanned.
    pub discovery_error: Option<String>,
}

/// How often one tag key was missing or wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TagTally {
    /// `missing_required_tag`
    pub missing: u64,
    /// Every other violation that counts.
    pub invalid: u64,
}

/// Everything a scan found out, apart from the single findings, which are streamed.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanReport {
    /// Unique; quoted by the history.
    pub run_id: String,
    /// When the first call was made.
    pub started_at: Timestamp,
    /// When the last answer was in.
    pub finished_at: Timestamp,
    /// The name of the policy.
    pub policy_name: String,
    /// The digest of the compiled policy.
    pub policy_revision: String,
    /// One entry for each account asked for.
    pub accounts: Vec<AccountReport>,
    /// Over everything.
    pub summary: Tally,
    /// Per account.
    pub by_account: BTreeMap<AccountId, Tally>,
    /// Per region.
    pub by_region: BTreeMap<Arc<str>, Tally>,
    /// Per resource type.
    pub by_resource_type: BTreeMap<Arc<str>, Tally>,
    /// Per tag key of a rule.
    pub by_tag: BTreeMap<Arc<str>, TagTally>,
    /// One cell for each (account, region, type) in scope, sorted.
    pub coverage: Vec<Cell>,
    /// The most severe violations that count, at most [`TOP_VIOLATIONS`].
    pub top_violations: Vec<ViolationRow>,
    /// Requests sent, retries included, by `service.Operation`.
    pub requests: BTreeMap<String, u64>,
    /// Requests that were refused by a rate limit.
    pub throttled: u64,
}

/// How many violations a report names itself.
pub const TOP_VIOLATIONS: usize = 20;

/// The most severe rows among those offered, at most [`TOP_VIOLATIONS`], in a fixed order whatever the order of
/// arrival: by severity, then ARN, then tag key.
#[derive(Debug, Clone, Default)]
pub struct Top {
    rows: BTreeMap<TopKey, ViolationRow>,
}

type TopKey = (Severity, String, Arc<str>, ViolationType);

impl Top {
    /// Keeps the row if it is among the most severe so far.
    pub fn offer(&mut self, row: &ViolationRow) {
        let finding = &row.finding;
        let full = self.rows.len() >= TOP_VIOLATIONS;
        let beyond =
            |(severity, arn, ..): &TopKey| (finding.severity, row.arn.as_str()) > (*severity, arn.as_str());
        if full && self.rows.last_key_value().is_some_and(|(worst, _)| beyond(worst)) {
            return;
        }
        let key = (finding.severity, row.arn.clone(), Arc::clone(&finding.tag_key), finding.violation_type);
        self.rows.insert(key, row.clone());
        if self.rows.len() > TOP_VIOLATIONS {
            self.rows.pop_last();
        }
    }

    /// The rows, the most severe first.
    pub fn into_rows(self) -> Vec<ViolationRow> {
        self.rows.into_values().collect()
    }
}

impl ScanReport {
    /// Whether everything in scope was seen.
    pub fn complete(&self) -> bool {
        self.gaps().next().is_none()
            && self.summary.unknown == 0
            && self
                .accounts
                .iter()
                .all(|account| account.state == AccountState::Scanned && account.discovery_error.is_none())
    }

    /// The cells that could not be fully seen.
    pub fn gaps(&self) -> impl Iterator<Item = &Cell> {
        self.coverage.iter().filter(|cell| cell.state.is_gap())
    }

    /// Whether no resource got a verdict, so that the score says nothing.
    pub fn nothing_judged(&self) -> bool {
        self.summary.resources() == 0
    }

    /// Whether nothing could be scanned: no account entered, or not one cell seen even in part.
    pub fn saw_nothing(&self) -> bool {
        use crate::coverage::CellState::{Complete, TaggedOnly};
        let seen = |cell: &Cell| matches!(cell.state, Complete | TaggedOnly) || cell.resources > 0;
        let closed = self.accounts.iter().all(|account| account.state != AccountState::Scanned);
        closed || (!self.coverage.is_empty() && !self.coverage.iter().any(seen))
    }
}
