//! What answers are made of: the declared objects, the ledger of runs, checks on demand, and the record of who asked
//! what. Adapters implement these; everything is bound to a tenant.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tagwarden_core::account::AccountId;
use tagwarden_core::coverage::Cell;
use tagwarden_core::finding::{FindingKind, Severity, ViolationType};
use tagwarden_core::policy::{Policy, PolicyDraft, Requested};
use tagwarden_core::report::ViolationRow;
use tagwarden_core::run::RunState;
use tagwarden_core::scope::Scope;
use tagwarden_core::tally::Tally;

use super::error::AskError;
use crate::audit::AuditProgress;
use crate::audit::outcome::RunOutcome;
use crate::audit::ports::PlannedAccount;

/// What a port answers.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, AskError>>;

/// What a condition of an object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionView {
    /// Its type, for example `Ready`.
    pub condition: String,
    /// `True`, `False` or `Unknown`.
    pub answer: String,
    /// Why, in one word.
    pub reason: String,
    /// Why, for people.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
    /// What the reason means in general; empty where that is not known.
    pub meaning: &'static str,
    /// What to do about it; empty when nothing is to be done.
    pub remedy: &'static str,
}

/// A policy of a tenant.
#[derive(Debug, Clone)]
pub struct PolicyView {
    /// Its name.
    pub name: String,
    /// As it is written now.
    pub draft: PolicyDraft,
    /// What is in force: this version, or the last one that made sense.
    pub in_force: Option<Arc<Policy>>,
    /// What is wrong with the version that is written now.
    pub refused: Option<String>,
    /// When it was last written.
    pub changed_at: Option<Timestamp>,
    /// Counts its versions.
    pub generation: i64,
}

/// An account of a tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountView {
    /// The name of its object.
    pub name: String,
    /// Its twelve digits.
    pub account_id: String,
    /// What people call it.
    pub display_name: Option<String>,
    /// Whether it is left alone for now.
    pub suspended: bool,
    /// Whether checks can look at it; `None` before anybody has tried.
    pub ready: Option<bool>,
    /// What its conditions say.
    pub conditions: Vec<ConditionView>,
    /// When it was last found to be all right.
    pub verified_at: Option<Timestamp>,
    /// Actions that its role lacks.
    pub missing_permissions: Vec<String>,
    /// How many regions it has enabled, where known.
    pub regions_enabled: Option<u32>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// An audit of a tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditView {
    /// Its name.
    pub name: String,
    /// Tells it from others that had the same name before.
    pub uid: String,
    /// The name of its policy.
    pub policy: String,
    /// Five fields of cron, or a word like `@daily`; `None`: only on demand.
    pub schedule: Option<String>,
    /// The zone of the schedule.
    pub time_zone: String,
    /// Whether it starts no further runs.
    pub suspended: bool,
    /// Which accounts it looks at, in words.
    pub accounts: String,
    /// The regions it looks at; empty: all.
    pub regions: Vec<String>,
    /// The types it looks at; empty: all.
    pub resource_types: Vec<String>,
    /// What its conditions say.
    pub conditions: Vec<ConditionView>,
    /// The run under way.
    pub running: Option<String>,
    /// Its last runs that ended, newest first.
    pub past_runs: Vec<String>,
    /// When it last succeeded.
    pub succeeded_at: Option<Timestamp>,
    /// When it is due next.
    pub next_due: Option<Timestamp>,
    /// Runs that failed since one succeeded.
    pub failures: u32,
}

/// An audit to be created, or to be changed where one of its name is there.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditOrder {
    /// Its name: that of an object.
    pub name: String,
    /// The name of its policy.
    pub policy: String,
    /// Five fields of cron.
    pub schedule: String,
    /// The zone of the schedule.
    pub time_zone: String,
    /// The types it looks at; empty: all.
    pub resource_types: Vec<String>,
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// There is a new object, or would be.
    Created,
    /// The object changed, or would.
    Updated,
    /// It was like that already.
    Unchanged,
}

impl Written {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
        }
    }
}

/// What people declare. Reads come from memory, and cost nothing.
pub trait Objects: Send + Sync + 'static {
    /// The policies of a tenant, by name.
    fn policies<'a>(&'a self, tenant: &'a str) -> Answer<'a, Vec<PolicyView>>;

    /// The accounts of a tenant, by name.
    fn accounts<'a>(&'a self, tenant: &'a str) -> Answer<'a, Vec<AccountView>>;

    /// The audits of a tenant, by name.
    fn audits<'a>(&'a self, tenant: &'a str) -> Answer<'a, Vec<AuditView>>;

    /// Creates an audit, or changes what the order is about of the one that is there. With `dry_run` nothing is written,
    /// and the answer is what would become of it.
    fn write_audit<'a>(
        &'a self,
        tenant: &'a str,
        order: &'a AuditOrder,
        dry_run: bool,
    ) -> Answer<'a, Written>;

    /// Asks an audit to run now. The token counts once.
    fn request_run<'a>(&'a self, tenant: &'a str, audit: &'a str, token: &'a str) -> Answer<'a, ()>;
}

/// One run, in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct RunLine {
    /// Its id, unique within the tenant.
    pub run_id: String,
    /// What made it run.
    pub trigger: String,
    /// How far it is.
    pub state: RunState,
    /// The name of the policy.
    pub policy: String,
    /// The digest of the policy.
    pub policy_revision: String,
    /// What was asked for.
    pub scope: Scope,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Why it ended as it did, for people, where that has to be said.
    pub cause: Option<String>,
    /// Its results; none before it has ended, and never where it was stopped.
    pub results: Option<RunNumbers>,
}

/// What a run found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunNumbers {
    /// Whether everything in scope was seen.
    pub complete: bool,
    /// Cells of account, region and type that could not be fully seen.
    pub gaps: u64,
    /// Findings in the ledger: violations, exempt ones and advice.
    pub findings: u64,
    /// Over everything.
    pub summary: Tally,
}

/// Which runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunQuery {
    /// At most this many, from 1 to 1000.
    pub limit: usize,
    /// Only runs that began before that one, in the list.
    pub before: Option<(Timestamp, String)>,
    /// Only runs of this policy.
    pub policy: Option<String>,
    /// Only runs of the scope of this digest.
    pub scope_digest: Option<String>,
}

/// Which findings. What is empty does not restrict.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FindingQuery {
    /// Only at least as severe ones.
    pub min_severity: Option<Severity>,
    /// Only violations, or only advice.
    pub kind: Option<FindingKind>,
    /// Only findings of this type.
    pub violation_type: Option<ViolationType>,
    /// Also findings that an exemption covers.
    pub with_exempt: bool,
    /// Only on resources of these types.
    pub resource_types: Vec<String>,
    /// Only of these accounts.
    pub accounts: Vec<AccountId>,
    /// Only of these regions.
    pub regions: Vec<String>,
}

/// Some findings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindingPage {
    /// In the order in which they came, each with its place: what to give as `after` to go on behind it.
    pub findings: Vec<(u64, ViolationRow)>,
    /// What to give as `after` for the next page; `None` after the last.
    pub next: Option<u64>,
}

/// How many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FindingCount {
    /// Findings.
    pub findings: u64,
    /// Resources that they are about.
    pub resources: u64,
}

/// What runs found. Another tenant's run is not found.
pub trait Ledger: Send + Sync + 'static {
    /// Runs of a tenant, newest first.
    fn runs<'a>(&'a self, tenant: &'a str, query: &'a RunQuery) -> Answer<'a, Vec<RunLine>>;

    /// One run.
    fn run<'a>(&'a self, tenant: &'a str, run_id: &'a str) -> Answer<'a, RunLine>;

    /// The run of an audit for this occasion, if it was claimed.
    fn run_of_slot<'a>(
        &'a self,
        tenant: &'a str,
        audit_uid: &'a str,
        slot_key: &'a str,
    ) -> Answer<'a, Option<String>>;

    /// How far a run is.
    fn progress<'a>(&'a self, tenant: &'a str, run_id: &'a str) -> Answer<'a, AuditProgress>;

    /// What came of the whole of a run that has results.
    fn outcome<'a>(&'a self, tenant: &'a str, run_id: &'a str) -> Answer<'a, RunOutcome>;

    /// What could be seen in a run that has results, and what could not.
    fn coverage<'a>(&'a self, tenant: &'a str, run_id: &'a str) -> Answer<'a, Vec<Cell>>;

    /// At most `limit` (1 to 1000) findings of a run that has results, after this place.
    fn findings<'a>(
        &'a self,
        tenant: &'a str,
        run_id: &'a str,
        query: &'a FindingQuery,
        after: Option<u64>,
        limit: usize,
    ) -> Answer<'a, FindingPage>;

    /// How many findings there are in all.
    fn count<'a>(
        &'a self,
        tenant: &'a str,
        run_id: &'a str,
        query: &'a FindingQuery,
    ) -> Answer<'a, FindingCount>;

    /// Ends a run that is under way, whoever works on it. One that has ended stays as it is.
    fn cancel<'a>(&'a self, tenant: &'a str, run_id: &'a str, why: &'a str, now: Timestamp)
    -> Answer<'a, ()>;

    /// Ends a run that nobody works on any more.
    fn give_up<'a>(
        &'a self,
        tenant: &'a str,
        run_id: &'a str,
        why: &'a str,
        now: Timestamp,
    ) -> Answer<'a, ()>;
}

/// A check on demand.
#[derive(Debug, Clone)]
pub struct CheckOrder {
    /// Whose it is.
    pub tenant: Arc<str>,
    /// What tags must look like.
    pub policy: Arc<Policy>,
    /// The accounts to look at.
    pub accounts: Vec<PlannedAccount>,
    /// The regions asked for; empty: all that each account has enabled.
    pub regions: Vec<String>,
    /// The types asked for.
    pub types: Requested,
    /// What is asked for, for comparing.
    pub scope: Scope,
}

/// What the tags of one resource are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// It is there.
    Found {
        /// What is wrong with it.
        findings: Vec<tagwarden_core::finding::Finding>,
        /// Whether a rule applies to it.
        in_scope: bool,
        /// Its tags.
        tags: Vec<(String, String)>,
    },
    /// Everything of its type was seen in its place, and it was not among it.
    NotFound,
    /// It could not be seen, for this reason.
    Unseen(String),
}

/// Checks that run now, in this process.
pub trait Checks: Send + Sync + 'static {
    /// Begins a check, and gives the id of its run at once.
    fn start(&self, order: CheckOrder) -> Answer<'_, String>;

    /// How far a check of this process is; `None`: it is not one.
    fn progress(&self, tenant: &str, run_id: &str) -> Option<AuditProgress>;

    /// Waits until a check of this process has ended, at most this long. At once where it is not one.
    fn settled<'a>(&'a self, tenant: &'a str, run_id: &'a str, most: Duration) -> BoxFuture<'a, ()>;

    /// Stops working on a check. Its run stays as it is.
    fn drop_run(&self, tenant: &str, run_id: &str);

    /// Looks at these resources now. Each answer stands at the place of its ARN.
    fn look<'a>(&'a self, order: &'a CheckOrder, arns: &'a [String]) -> Answer<'a, Vec<Looked>>;
}

/// One call, for the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// When it began.
    pub at: Timestamp,
    /// Ties it to the log.
    pub correlation_id: String,
    /// Who called.
    pub principal: String,
    /// For which tenant.
    pub tenant: String,
    /// How they came: `stdio`, `mcp` or `rest`.
    pub channel: &'static str,
    /// What they called.
    pub operation: String,
    /// `sha256:…` over the arguments as they came.
    pub arguments_digest: String,
    /// The arguments, without what may be secret, and bounded.
    pub arguments: String,
    /// `ok`, or the word of an error.
    pub status: String,
    /// How long it took.
    pub duration: Duration,
    /// What came of it, in a few words.
    pub summary: String,
}

/// The record of who called what. Rows are only ever added.
pub trait AuditRows: Send + Sync + 'static {
    /// Adds a row.
    fn append<'a>(&'a self, row: &'a AuditRow) -> Answer<'a, ()>;

    /// The newest rows of a tenant, at most 1000.
    fn newest<'a>(&'a self, tenant: &'a str, limit: usize) -> Answer<'a, Vec<AuditRow>>;
}
