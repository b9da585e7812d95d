//! What the audit needs to remember: runs, and how far each got.

use std::future::Future;
use std::sync::Arc;

use jiff::Timestamp;
use tagwarden_core::account::AccountId;
use tagwarden_core::coverage::Gap;
use tagwarden_core::finding::Severity;
use tagwarden_core::report::ViolationRow;
use tagwarden_core::run::{RunState, Slot};
use tagwarden_core::scope::Scope;
use tagwarden_core::tally::Tally;

use super::outcome::RunOutcome;
use crate::ports::{AccountTarget, FindingSink};

/// A run of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunKey {
    /// Whose it is.
    pub tenant: Arc<str>,
    /// Unique within the tenant.
    pub run_id: Arc<str>,
}

/// A run that is due.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRun {
    /// Whose it is.
    pub tenant: String,
    /// The audit, whatever it is called.
    pub audit_uid: String,
    /// What the audit is called.
    pub audit: String,
    /// The occasion.
    pub slot: Slot,
    /// The name of the policy.
    pub policy_name: String,
    /// The digest of the compiled policy.
    pub policy_revision: String,
    /// What is asked for; only runs of the same scope can be compared.
    pub scope: Scope,
    /// The accounts to look at, each name once.
    pub accounts: Vec<PlannedAccount>,
    /// When it is claimed.
    pub now: Timestamp,
}

/// An account of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedAccount {
    /// The name of its `ClientAccount`.
    pub name: String,
    /// Its id, where known.
    pub account_id: Option<AccountId>,
}

/// An account of a run that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its place in the plan.
    pub ordinal: u32,
    /// The account.
    pub account: PlannedAccount,
}

/// A run in the hands of one worker. Whoever takes it next has a higher epoch, and what comes from a lower one is
/// refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The run.
    pub key: RunKey,
    /// Grows each time the run is taken.
    pub epoch: i64,
    /// When it was started, by whoever took it first.
    pub started_at: Timestamp,
    /// The accounts it looks at.
    pub accounts: usize,
    /// The resources seen in the accounts that are done.
    pub seen: u64,
    /// The accounts that are not done.
    pub pending: Vec<Pending>,
}

/// A run as it is remembered.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// Its id.
    pub run_id: String,
    /// The occasion.
    pub slot: Slot,
    /// How far it is.
    pub state: RunState,
    /// The name of the policy.
    pub policy_name: String,
    /// The digest of the policy.
    pub policy_revision: String,
    /// The digest of what was asked for.
    pub scope_digest: String,
    /// When it was started, or claimed while it waits.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Why it ended as it did, in one word, where that has to be said.
    pub reason: Option<String>,
    /// The same for people.
    pub cause: Option<String>,
    /// Its results; none before it has ended, and never where it was stopped.
    pub results: Option<RecordedResults>,
    /// Accounts it looks at.
    pub accounts: u32,
    /// Accounts that are done.
    pub accounts_done: u32,
    /// Who worked on it last.
    pub holder: Option<String>,
}

/// A run that has not ended, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The run.
    pub key: RunKey,
    /// The audit, whatever it is called.
    pub audit_uid: String,
}

/// What a run found, in numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecordedResults {
    /// Whether everything in scope was seen.
    pub complete: bool,
    /// What was found.
    pub summary: Tally,
}

/// Whether an occasion is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It was free; the run of this id waits.
    New(RunKey),
    /// It was taken before, by the run of this id.
    Known(RunKey),
}

/// How a run ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// One that has ended.
    pub state: RunState,
    /// Why, in one word, where that has to be said.
    pub reason: Option<&'static str>,
    /// The same for people.
    pub cause: Option<String>,
}

/// Why runs cannot be remembered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunsError {
    /// Somebody else has taken the run, or it has ended.
    #[error("run `{0}` is in other hands, or has ended")]
    Superseded(String),
    /// No such run for this tenant.
    #[error("run `{0}` was not found")]
    NotFound(String),
    /// What is to be remembered cannot be.
    #[error("{0}")]
    Refused(String),
    /// The store does not work now; it may later.
    #[error("{0}")]
    Unavailable(String),
}

/// Knows how to enter the accounts of a plan.
pub trait Doors: Send + Sync + 'static {
    /// How to enter this account now, or why it cannot be entered.
    fn target(&self, account: &PlannedAccount) -> impl Future<Output = Result<AccountTarget, Gap>> + Send;
}

/// Remembers runs. Every method may be called by several processes at once.
pub trait Runs: Send + Sync + 'static {
    /// Takes the findings of one account; its `finish` marks the account as done, all or nothing.
    type Sink: FindingSink<Error = RunsError> + 'static;

    /// Claims an occasion: of all who try, one gets a new run.
    fn claim(&self, run: &NewRun) -> impl Future<Output = Result<Claim, RunsError>> + Send;

    /// Takes a run that has not ended, out of whatever hands.
    fn take(
        &self,
        run: &RunKey,
        holder: &str,
        now: Timestamp,
    ) -> impl Future<Output = Result<Held, RunsError>> + Send;

    /// Begins an account anew, without what an earlier attempt left.
    fn open(
        &self,
        held: &Held,
        account: &Pending,
    ) -> impl Future<Output = Result<Self::Sink, RunsError>> + Send;

    /// What came of the accounts that are done.
    fn outcome(&self, run: &RunKey) -> impl Future<Output = Result<RunOutcome, RunsError>> + Send;

    /// Ends a run all accounts of which are done.
    fn finish(
        &self,
        held: &Held,
        outcome: &RunOutcome,
        ending: &Ending,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), RunsError>> + Send;

    /// Ends a run without results, whoever has it. One that has ended stays as it is.
    fn stop(
        &self,
        run: &RunKey,
        ending: &Ending,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), RunsError>> + Send;

    /// The runs of an audit, newest first.
    fn recent(
        &self,
        tenant: &str,
        audit_uid: &str,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<RunRecord>, RunsError>> + Send;

    /// Runs of audits that have not ended, of one tenant or of all, by tenant and id, after this one.
    fn unfinished(
        &self,
        tenant: Option<&str>,
        after: Option<&RunKey>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Unfinished>, RunsError>> + Send;

    /// The most severe violations of a run that count, by severity, ARN and key.
    fn worst(
        &self,
        run: &RunKey,
        at_least: Severity,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<ViolationRow>, RunsError>> + Send;

    /// Forgets what is too old or too much.
    fn prune(&self, tenant: &str, now: Timestamp) -> impl Future<Output = Result<(), RunsError>> + Send;
}
