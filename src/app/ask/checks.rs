//! Checks on demand: runs of no audit, worked on by the process that was asked.
//!
//! They stand in the same ledger as the runs of audits, and are done by the same machinery. A process that stops ends its
//! checks as cancelled; what a process that was killed leaves behind is ended by whoever asks for it after its time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tagwarden_core::registry::Registry;
use tagwarden_core::run::{RunState, Slot};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::{AskError, Code};
use super::look;
use super::ports::{Answer, CheckOrder, Checks, Looked};
use crate::audit::ports::{Claim, Doors, Ending, NewRun, RunKey, Runs, RunsError};
use crate::audit::{AuditBounds, AuditProgress, AuditRequest, cancelled, run};
use crate::ports::Inventory;

/// What such runs are called, and the audit that they belong to in the ledger.
const ADHOC: &str = "adhoc";

/// Between two attempts with a store that does not work.
const PAUSE: Duration = Duration::from_secs(5);

/// Attempts with a store that does not work.
const ATTEMPTS: u32 = 5;

/// The bounds of checks on demand.
#[derive(Debug, Clone, Copy)]
pub struct CheckBounds {
    /// Checks worked on side by side; the others wait.
    pub at_once: usize,
    /// Checks of one tenant, those that wait included.
    pub per_tenant: usize,
    /// Accounts looked at side by side.
    pub accounts: usize,
    /// Listings side by side in one region of one account.
    pub listings_per_region: usize,
    /// How long a listing may bring nothing before its region counts as timed out.
    pub silence: Duration,
    /// How long a check may take.
    pub timeout: Duration,
    /// A check that meets more resources fails.
    pub max_resources: u64,
}

impl Default for CheckBounds {
    fn default() -> Self {
        Self {
            at_once: 4,
            per_tenant: 4,
            accounts: 5,
            listings_per_region: 8,
            silence: Duration::from_mins(1),
            timeout: Duration::from_mins(30),
            max_resources: 500_000,
        }
    }
}

/// Knows the doors of every tenant.
pub trait DoorKeeper: Send + Sync + 'static {
    /// What opens accounts.
    type Doors: Doors;

    /// Those of a tenant.
    fn doors(&self, tenant: &str) -> Arc<Self::Doors>;
}

/// Checks on demand. Cheap to clone.
pub struct AdHoc<I, K, R>(Arc<Inner<I, K, R>>);

struct Inner<I, K, R> {
    inventory: Arc<I>,
    keeper: K,
    runs: Arc<R>,
    registry: Arc<Registry>,
    /// Who works on them.
    holder: String,
    bounds: CheckBounds,
    active: Mutex<Active>,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
    clock: fn() -> Timestamp,
}

#[derive(Default)]
struct Active {
    checks: HashMap<RunKey, Check>,
    serial: u64,
}

struct Check {
    progress: watch::Receiver<AuditProgress>,
    /// Cancelled when nobody wants it any more.
    dropped: CancellationToken,
    /// Cancelled when it has ended.
    ended: CancellationToken,
}

impl<I, K, R> Clone for AdHoc<I, K, R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I: Inventory, K: DoorKeeper, R: Runs> AdHoc<I, K, R> {
    /// Works on nothing yet. `stop` ends what is under way.
    #[allow(clippy::too_many_arguments)] // each is a part of the world
    pub fn new(
        inventory: Arc<I>,
        keeper: K,
        runs: Arc<R>,
        registry: Arc<Registry>,
        holder: String,
        bounds: CheckBounds,
        stop: CancellationToken,
        clock: fn() -> Timestamp,
    ) -> Self {
        Self(Arc::new(Inner {
            inventory,
            keeper,
            runs,
            registry,
            holder,
            permits: Arc::new(Semaphore::new(bounds.at_once.max(1))),
            bounds,
            active: Mutex::default(),
            tasks: TaskTracker::new(),
            stop,
            clock,
        }))
    }

    /// Waits until everything that is under way has ended. To be called after `stop` was cancelled.
    pub async fn finished(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    async fn begin(&self, order: CheckOrder) -> Result<String, AskError> {
        let inner = &self.0;
        if inner.stop.is_cancelled() {
            return Err(AskError::unavailable("the server is stopping"));
        }
        let serial = inner.admit(&order.tenant)?;
        let now = (inner.clock)();
        let token = format!("{}/{now}/{serial}", inner.holder);
        let new = NewRun {
            tenant: order.tenant.to_string(),
            audit_uid: ADHOC.into(),
            audit: ADHOC.into(),
            slot: Slot::on_demand(&token, now),
            policy_name: order.policy.name().to_string(),
            policy_revision: order.policy.revision().to_string(),
            scope: order.scope.clone(),
            accounts: order.accounts.clone(),
            now,
        };
        let (Claim::New(key) | Claim::Known(key)) = inner.runs.claim(&new).await?;
        let (sender, progress) = watch::channel(AuditProgress::default());
        let check = Check { progress, dropped: CancellationToken::new(), ended: CancellationToken::new() };
        let (dropped, ended) = (check.dropped.clone(), check.ended.clone());
        let run_id = key.run_id.to_string();
        inner.lock().checks.insert(key.clone(), check);
        let request = Arc::new(AuditRequest {
            key: key.clone(),
            holder: inner.holder.clone(),
            policy: order.policy,
            registry: Arc::clone(&inner.registry),
            regions: order.regions,
            types: order.types,
            bounds: AuditBounds {
                accounts: inner.bounds.accounts,
                listings_per_region: inner.bounds.listings_per_region,
                silence: inner.bounds.silence,
                timeout: inner.bounds.timeout,
                max_resources: inner.bounds.max_resources,
            },
        });
        let this = self.clone();
        inner.tasks.spawn(async move {
            // However it ends, those who wait are told.
            let told = ended.drop_guard();
            this.0.work(request, sender, &dropped).await;
            this.0.lock().checks.remove(&key);
            drop(told);
        });
        Ok(run_id)
    }
}

impl<I: Inventory, K: DoorKeeper, R: Runs> Inner<I, K, R> {
    fn lock(&self) -> MutexGuard<'_, Active> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for one more check of this tenant, unless it has too many.
    fn admit(&self, tenant: &str) -> Result<u64, AskError> {
        let mut active = self.lock();
        let here = active.checks.keys().filter(|key| *key.tenant == *tenant).count();
        if here >= self.bounds.per_tenant {
            return Err(AskError::new(
                Code::RateLimited,
                format!("{here} checks are under way already"),
                "wait for one with get_run, or end one with cancel_run",
            )
            .after(Duration::from_secs(30)));
        }
        active.serial += 1;
        Ok(active.serial)
    }

    async fn work(
        &self,
        request: Arc<AuditRequest>,
        sender: watch::Sender<AuditProgress>,
        dropped: &CancellationToken,
    ) {
        let key = request.key.clone();
        let running = async {
            // The semaphore is never closed; if it were, running unbounded by it is the lesser evil.
            let _permit = Arc::clone(&self.permits).acquire_owned().await.ok();
            self.persist(&request, &sender).await;
        };
        tokio::select! {
            biased;
            () = dropped.cancelled() => {}
            () = self.stop.cancelled() => {
                let ending = cancelled("the server that worked on it was stopped".into());
                if let Err(error) = self.runs.stop(&key, &ending, (self.clock)()).await {
                    tracing::warn!(run_id = %key.run_id, %error, "a check could not be ended");
                }
            }
            () = running => {
                if let Err(error) = self.runs.prune(&key.tenant, (self.clock)()).await {
                    tracing::warn!(%error, "old runs were not forgotten");
                }
            }
        }
    }

    /// Works until there is a result, however often the store fails meanwhile, within reason.
    async fn persist(&self, request: &Arc<AuditRequest>, sender: &watch::Sender<AuditProgress>) {
        let key = &request.key;
        for attempt in 1..=ATTEMPTS {
            let work = run(
                Arc::clone(&self.inventory),
                self.keeper.doors(&key.tenant),
                Arc::clone(&self.runs),
                Arc::clone(request),
                sender.clone(),
                self.clock,
            );
            // A check that breaks down must not be left as if it were running.
            let error = match std::panic::AssertUnwindSafe(work).catch_unwind().await {
                Ok(Ok(ended)) => {
                    tracing::info!(run_id = %key.run_id, ?ended, "a check has ended");
                    return;
                }
                Ok(Err(RunsError::Unavailable(cause))) if attempt < ATTEMPTS => {
                    tracing::warn!(run_id = %key.run_id, cause, "a check is interrupted, and goes on");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Ok(Err(RunsError::Superseded(_) | RunsError::NotFound(_))) => return,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the check broke down: please report this".to_owned(),
            };
            let ending = Ending { state: RunState::Failed, reason: None, cause: Some(error) };
            if let Err(error) = self.runs.stop(key, &ending, (self.clock)()).await {
                tracing::warn!(run_id = %key.run_id, %error, "a check could not be ended");
            }
            return;
        }
    }

    fn check<T>(&self, tenant: &str, run_id: &str, of: impl FnOnce(&Check) -> T) -> Option<T> {
        let key = RunKey { tenant: tenant.into(), run_id: run_id.into() };
        self.lock().checks.get(&key).map(of)
    }
}

impl<I: Inventory, K: DoorKeeper, R: Runs> Checks for AdHoc<I, K, R> {
    fn start(&self, order: CheckOrder) -> Answer<'_, String> {
        Box::pin(self.begin(order))
    }

    fn progress(&self, tenant: &str, run_id: &str) -> Option<AuditProgress> {
        self.0.check(tenant, run_id, |check| *check.progress.borrow())
    }

    fn settled<'a>(&'a self, tenant: &'a str, run_id: &'a str, most: Duration) -> BoxFuture<'a, ()> {
        let ended = self.0.check(tenant, run_id, |check| check.ended.clone());
        Box::pin(async move {
            if let Some(ended) = ended {
                let _ = tokio::time::timeout(most, ended.cancelled()).await;
            }
        })
    }

    fn drop_run(&self, tenant: &str, run_id: &str) {
        self.0.check(tenant, run_id, |check| check.dropped.cancel());
    }

    fn look<'a>(&'a self, order: &'a CheckOrder, arns: &'a [String]) -> Answer<'a, Vec<Looked>> {
        Box::pin(async move {
            let inner = &self.0;
            let _permit = inner.permits.acquire().await.ok();
            let doors = inner.keeper.doors(&order.tenant);
            Ok(look::look(&*inner.inventory, &*doors, &inner.registry, order, arns, (inner.clock)()).await)
        })
    }
}
