//! The audit: a scan of many accounts that survives its process.
//!
//! A run is a plan of accounts. Each account is scanned on its own, its findings streamed to the store, and marked as
//! done together with its counts in one transaction. Whoever takes the run next begins with the accounts that are not
//! done, and drops what was half written of them; so nothing is lost and nothing counts twice. A worker that lost the
//! run without knowing finds its writes refused.

pub mod outcome;
pub mod ports;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tagwarden_core::coverage::{CellState, Gap};
use tagwarden_core::policy::{Policy, Requested};
use tagwarden_core::registry::Registry;
use tagwarden_core::run::RunState;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::ports::{FindingSink as _, Inventory};
use crate::scan::{Bounds, Progress, ScanRequest, scan_part};
use outcome::RunOutcome;
use ports::{Doors, Ending, Held, Pending, RunKey, Runs, RunsError};

/// The first wait when the store does not work; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Words for [`Ending::reason`].
pub mod reason {
    /// No account could be entered, or nothing seen in any.
    pub const NO_USABLE_ACCOUNT: &str = "NoUsableAccount";
    /// The time was up.
    pub const TIMED_OUT: &str = "TimedOut";
    /// More resources than allowed.
    pub const TOO_MANY_RESOURCES: &str = "TooManyResources";
    /// Somebody stopped it.
    pub const CANCELLED: &str = "Cancelled";
}

/// What to do of a run, and how hard. The accounts are those of its plan.
#[derive(Debug, Clone)]
pub struct AuditRequest {
    /// The run.
    pub key: RunKey,
    /// Who does it.
    pub holder: String,
    /// What tags must look like.
    pub policy: Arc<Policy>,
    /// What types there are.
    pub registry: Arc<Registry>,
    /// The regions asked for; empty means all that each account has enabled.
    pub regions: Vec<String>,
    /// The types asked for.
    pub types: Requested,
    /// How hard to look.
    pub bounds: AuditBounds,
}

/// The bounds of a run.
#[derive(Debug, Clone, Copy)]
pub struct AuditBounds {
    /// Accounts looked at side by side.
    pub accounts: usize,
    /// Listings side by side in one region of one account.
    pub listings_per_region: usize,
    /// How long a listing may bring nothing before its region counts as timed out.
    pub silence: Duration,
    /// How long the run may take from its first start. What is not seen by then is told as a gap.
    pub timeout: Duration,
    /// A run that meets more resources fails.
    pub max_resources: u64,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AuditProgress {
    /// Accounts it looks at; 0 until it was taken.
    pub accounts: usize,
    /// Those that are done.
    pub accounts_done: usize,
    /// Resources met so far.
    pub resources: u64,
}

/// What became of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// Its results are in the store.
    Finished(Ending),
    /// It was stopped for good, and has no results.
    Stopped(Ending),
}

/// Does what is left of a run: takes it, scans the accounts that are not done, and ends it.
///
/// An error leaves the run as it is; to try again is to go on. Dropping the future stops all work at once, for somebody
/// else to go on; a run that nobody wants any more is then ended with [`Runs::stop`].
pub async fn run<I: Inventory, D: Doors, R: Runs>(
    inventory: Arc<I>,
    doors: Arc<D>,
    runs: Arc<R>,
    request: Arc<AuditRequest>,
    progress: watch::Sender<AuditProgress>,
    clock: fn() -> Timestamp,
) -> Result<Ended, RunsError> {
    let held = Arc::new(runs.take(&request.key, &request.holder, clock()).await?);
    progress.send_modify(|now| {
        now.accounts = held.accounts;
        now.accounts_done = held.accounts - held.pending.len();
        now.resources = held.seen;
    });
    let left = remaining(&held, request.bounds.timeout, clock());
    let time_up = CancellationToken::new();
    let worker = Worker {
        inventory,
        doors,
        runs: Arc::clone(&runs),
        request: Arc::clone(&request),
        held: Arc::clone(&held),
        progress: progress.clone(),
        time_up: time_up.clone(),
        clock,
    };
    let too_many = exceeded(progress.subscribe(), request.bounds.max_resources);
    let visits = visit_all(worker);
    tokio::pin!(visits, too_many);
    let deadline = tokio::time::sleep(left);
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            biased;
            () = &mut too_many => {
                let ending = too_many_resources(request.bounds.max_resources);
                runs.stop(&request.key, &ending, clock()).await?;
                return Ok(Ended::Stopped(ending));
            }
            () = &mut deadline, if !time_up.is_cancelled() => time_up.cancel(),
            visited = &mut visits => { visited?; break; }
        }
    }
    let outcome = runs.outcome(&request.key).await?;
    let ending = ending(&outcome, time_up.is_cancelled().then_some(request.bounds.timeout));
    runs.finish(&held, &outcome, &ending, clock()).await?;
    Ok(Ended::Finished(ending))
}

/// How a run ends that nobody wants any more, for this reason.
pub fn cancelled(cause: String) -> Ending {
    Ending { state: RunState::Cancelled, reason: Some(reason::CANCELLED), cause: Some(cause) }
}

fn too_many_resources(most: u64) -> Ending {
    let cause = format!(
        "more than {most} resources were met: raise spec.resources.maxResources, or look at fewer accounts or types"
    );
    Ending { state: RunState::Failed, reason: Some(reason::TOO_MANY_RESOURCES), cause: Some(cause) }
}

/// How a run ends, by what came of it. Seeing nothing is no success: its score of 1 would say that all is well.
fn ending(outcome: &RunOutcome, timed_out: Option<Duration>) -> Ending {
    let late = timed_out.filter(|_| !outcome.complete);
    let cause =
        late.map(|after| format!("the time of {} s was up before everything was seen", after.as_secs()));
    if !outcome.saw_nothing() {
        let reason = late.map(|_| reason::TIMED_OUT);
        return Ending { state: RunState::Succeeded, reason, cause };
    }
    let first = outcome.failing().next().map(|(line, gap)| format!("{}: {}", line.name, gap.cause));
    let (reason, cause) = match cause {
        Some(cause) => (reason::TIMED_OUT, cause),
        None => (reason::NO_USABLE_ACCOUNT, first.unwrap_or_default()),
    };
    Ending { state: RunState::Failed, reason: Some(reason), cause: Some(cause) }
}

async fn exceeded(mut progress: watch::Receiver<AuditProgress>, most: u64) {
    if progress.wait_for(|now| now.resources > most).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What is left of the time of a run, whoever began it.
fn remaining(held: &Held, timeout: Duration, now: Timestamp) -> Duration {
    let spent = Duration::try_from(now.duration_since(held.started_at)).unwrap_or_default();
    timeout.saturating_sub(spent)
}

/// What the visits to all accounts share.
struct Worker<I, D, R> {
    inventory: Arc<I>,
    doors: Arc<D>,
    runs: Arc<R>,
    request: Arc<AuditRequest>,
    held: Arc<Held>,
    progress: watch::Sender<AuditProgress>,
    /// What was seen when the time is up is kept.
    time_up: CancellationToken,
    clock: fn() -> Timestamp,
}

/// Visits the accounts that are not done, in the order of the plan and some side by side. A visit that breaks down is
/// a failed account.
async fn visit_all<I: Inventory, D: Doors, R: Runs>(worker: Worker<I, D, R>) -> Result<(), RunsError> {
    let worker = Arc::new(worker);
    let mut visits = Visits { tasks: JoinSet::new(), accounts: BTreeMap::new() };
    for pending in &worker.held.pending {
        if visits.tasks.len() >= worker.request.bounds.accounts.max(1) {
            visits.await_one(&worker).await?;
        }
        let (visitor, account) = (Arc::clone(&worker), pending.clone());
        let visit = visits.tasks.spawn(async move { visitor.visit(&account).await });
        visits.accounts.insert(visit.id(), pending);
    }
    while !visits.tasks.is_empty() {
        visits.await_one(&worker).await?;
    }
    Ok(())
}

/// The visits under way, by task.
struct Visits<'a> {
    tasks: JoinSet<Result<(), RunsError>>,
    accounts: BTreeMap<Id, &'a Pending>,
}

impl Visits<'_> {
    /// Waits until one of them is over.
    async fn await_one<I: Inventory, D: Doors, R: Runs>(
        &mut self,
        worker: &Worker<I, D, R>,
    ) -> Result<(), RunsError> {
        match self.tasks.join_next_with_id().await {
            None => return Ok(()),
            Some(Ok((id, result))) => {
                self.accounts.remove(&id);
                result?;
            }
            // The runtime is shut down: for somebody else to go on.
            Some(Err(error)) if error.is_cancelled() => {
                return Err(RunsError::Unavailable("this process stops".into()));
            }
            Some(Err(error)) => {
                if let Some(pending) = self.accounts.remove(&error.id()) {
                    tracing::error!(account = pending.account.name, %error, "the visit to an account broke down");
                    worker.close(pending, &broken_down()).await?;
                }
            }
        }
        worker.progress.send_modify(|now| now.accounts_done += 1);
        Ok(())
    }
}

impl<I: Inventory, D: Doors, R: Runs> Worker<I, D, R> {
    /// Scans one account until it is marked as done, however often the store fails meanwhile.
    async fn visit(&self, pending: &Pending) -> Result<(), RunsError> {
        let mut wait = FIRST_WAIT;
        loop {
            match self.attempt(pending).await {
                Err(RunsError::Unavailable(cause)) if !self.time_up.is_cancelled() => {
                    tracing::warn!(account = pending.account.name, cause, "an account is begun again");
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.time_up.cancelled() => {}
                    }
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
                result => return result,
            }
        }
    }

    async fn attempt(&self, pending: &Pending) -> Result<(), RunsError> {
        if self.time_up.is_cancelled() {
            return self.close(pending, &out_of_time()).await;
        }
        let target = match self.doors.target(&pending.account).await {
            Ok(target) => target,
            Err(gap) => return self.close(pending, &gap).await,
        };
        let mut sink = self.runs.open(&self.held, pending).await?;
        let scan = ScanRequest {
            run_id: self.request.key.run_id.to_string(),
            policy: Arc::clone(&self.request.policy),
            registry: Arc::clone(&self.request.registry),
            accounts: vec![target],
            regions: self.request.regions.clone(),
            types: self.request.types.clone(),
            bounds: Bounds {
                accounts: 1,
                listings_per_region: self.request.bounds.listings_per_region,
                silence: self.request.bounds.silence,
            },
        };
        let (sender, seen) = watch::channel(Progress::default());
        let mut told = Told { progress: &self.progress, resources: 0 };
        let scanning =
            scan_part(Arc::clone(&self.inventory), &scan, &mut sink, &sender, &self.time_up, self.clock);
        let result = told.while_running(scanning, seen).await;
        match result {
            Ok(report) => told.settle(report.coverage.iter().map(|cell| cell.resources).sum()),
            Err(error) => {
                told.settle(0);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Marks an account as done of which nothing can be seen.
    async fn close(&self, pending: &Pending, gap: &Gap) -> Result<(), RunsError> {
        let mut sink = self.runs.open(&self.held, pending).await?;
        let policy = &self.request.policy;
        let names = (&*self.request.key.run_id, &**policy.name(), &**policy.revision());
        sink.finish(&outcome::closed(names, &pending.account, gap, (self.clock)())).await
    }
}

/// What one account adds to the progress of its run.
struct Told<'a> {
    progress: &'a watch::Sender<AuditProgress>,
    resources: u64,
}

impl Told<'_> {
    async fn while_running<T>(
        &mut self,
        work: impl Future<Output = T>,
        mut seen: watch::Receiver<Progress>,
    ) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                result = &mut work => return result,
                changed = seen.changed() => {
                    let resources = seen.borrow_and_update().resources;
                    if changed.is_err() {
                        return work.await;
                    }
                    self.settle(resources);
                }
            }
        }
    }

    fn settle(&mut self, resources: u64) {
        let before = std::mem::replace(&mut self.resources, resources);
        self.progress.send_modify(|now| now.resources = now.resources.saturating_sub(before) + resources);
    }
}

fn out_of_time() -> Gap {
    Gap { state: CellState::TimedOut, cause: "the time of the run was up before its turn came".into() }
}

fn broken_down() -> Gap {
    Gap { state: CellState::Failed, cause: "the scan of the account broke down: please report this".into() }
}
