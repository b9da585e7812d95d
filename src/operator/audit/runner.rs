//! The runs that this process works on: one for each audit at most, each in a task of its own, because a run takes
//! hours and a reconcile seconds.
//!
//! A task ends with the term of this replica and with the process; then the run stays as it is for the next one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tagwarden_app::audit::ports::{Doors, Runs, RunsError};
use tagwarden_app::audit::{AuditProgress, AuditRequest, run};
use tagwarden_app::ports::Inventory;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tracing::Instrument;

use crate::context::Frame;
use crate::key::Key;
use crate::queue::Queue;

/// Runs that one process works on at a time. Each looks at several accounts at once.
const RUNS_AT_ONCE: usize = 8;

/// How often the progress of a run is shown.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// How long to wait with a run for which the store did not work.
const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// The runs that this process works on. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Runner {
    active: Arc<Mutex<Active>>,
    permits: Arc<Semaphore>,
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Active {
    tasks: HashMap<Key, Task>,
    /// The uid by which an audit was last known.
    uids: HashMap<Key, String>,
    /// Since when a revision has been another one than that of the newest run.
    changes: HashMap<Key, (String, Timestamp)>,
    serial: u64,
}

#[derive(Debug)]
struct Task {
    serial: u64,
    uid: String,
    run_id: String,
    progress: watch::Receiver<AuditProgress>,
    /// Given as soon as the task is there.
    abort: Option<AbortHandle>,
}

/// A run that this process works on, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Underway {
    pub(super) run_id: String,
    pub(super) progress: AuditProgress,
}

impl Runner {
    /// Works on nothing yet; makes audits due through this queue.
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self { active: Arc::default(), permits: Arc::new(Semaphore::new(RUNS_AT_ONCE)), queue }
    }

    /// The run of this audit that this process works on. One of an audit that had the same name before is given up.
    pub(super) fn underway(&self, key: &Key, uid: &str) -> Option<Underway> {
        let mut active = self.lock();
        active.uids.insert(key.clone(), uid.to_owned());
        let task = active.tasks.get(key)?;
        if task.uid != uid {
            active.abort(key);
            return None;
        }
        Some(Underway { run_id: task.run_id.clone(), progress: *task.progress.borrow() })
    }

    /// Since when the revision in force is another one than that of the newest run; `None`: it is not.
    pub(super) fn changed_at(&self, key: &Key, changed: Option<&str>, now: Timestamp) -> Option<Timestamp> {
        let mut active = self.lock();
        let Some(revision) = changed else {
            active.changes.remove(key);
            return None;
        };
        match active.changes.get(key) {
            Some((known, since)) if known == revision => Some(*since),
            _ => {
                active.changes.insert(key.clone(), (revision.to_owned(), now));
                Some(now)
            }
        }
    }

    /// Stops working on the run of an audit at once. The run itself stays as it is.
    pub(super) fn drop_run(&self, key: &Key) {
        self.lock().abort(key);
    }

    /// Forgets an audit. Gives the uid that it had.
    pub(super) fn forget(&self, key: &Key) -> Option<String> {
        let mut active = self.lock();
        active.abort(key);
        active.changes.remove(key);
        active.uids.remove(key)
    }

    /// Begins to work on a run. The audit becomes due as it proceeds, and when it ends.
    pub(super) fn begin<I: Inventory, D: Doors, R: Runs>(
        &self,
        frame: &Arc<Frame>,
        (inventory, doors, runs): (Arc<I>, Arc<D>, Arc<R>),
        key: &Key,
        uid: &str,
        request: AuditRequest,
    ) {
        let (sender, progress) = watch::channel(AuditProgress::default());
        let mut active = self.lock();
        active.abort(key);
        active.serial += 1;
        let task = Task {
            serial: active.serial,
            uid: uid.to_owned(),
            run_id: request.key.run_id.to_string(),
            progress: progress.clone(),
            abort: None,
        };
        let presence = Presence { runner: self.clone(), key: key.clone(), serial: active.serial };
        active.tasks.insert(key.clone(), task);
        let span = tracing::info_span!("run", namespace = %key.namespace, name = %key.name, run_id = %request.key.run_id);
        let (beside, frame, permits) = (frame.beside.clone(), Arc::clone(frame), Arc::clone(&self.permits));
        let work = async move {
            let term = tokio::select! {
                biased;
                () = frame.stop.cancelled() => return,
                term = frame.fence.leading() => term,
            };
            let tenant = request.key.tenant.to_string();
            let running = async {
                // The semaphore is never closed; if it were, running unbounded by it is the lesser evil.
                let _permit = permits.acquire_owned().await.ok();
                let request = Arc::new(request);
                let ended = run(inventory, doors, Arc::clone(&runs), request, sender, Timestamp::now).await;
                if ended.is_ok()
                    && let Err(error) = runs.prune(&tenant, Timestamp::now()).await
                {
                    tracing::warn!(%error, "old runs were not forgotten");
                }
                ended
            };
            tokio::select! {
                biased;
                () = frame.stop.cancelled() => tracing::info!("left to be resumed: this process stops"),
                () = term.over().cancelled() => tracing::info!("left to the replica that leads"),
                ended = running => presence.ended(ended),
                () = presence.tell(progress) => {}
            }
        };
        let handle = beside.spawn(work.instrument(span));
        if let Some(task) = active.tasks.get_mut(key) {
            task.abort = Some(handle.abort_handle());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Active> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Active {
    fn abort(&mut self, key: &Key) {
        if let Some(task) = self.tasks.remove(key)
            && let Some(abort) = task.abort
        {
            abort.abort();
        }
    }
}

/// The entry of a task among the active ones, for as long as the task lives, however it ends.
struct Presence {
    runner: Runner,
    key: Key,
    serial: u64,
}

impl Presence {
    /// Makes the audit due while the run proceeds, now and then.
    async fn tell(&self, mut progress: watch::Receiver<AuditProgress>) {
        while progress.changed().await.is_ok() {
            progress.borrow_and_update();
            self.runner.queue.add(&self.key);
            tokio::time::sleep(TELL_EVERY).await;
        }
        std::future::pending::<()>().await;
    }

    fn ended<T: std::fmt::Debug>(&self, ended: Result<T, RunsError>) {
        match ended {
            Ok(ended) => tracing::info!(?ended, "ended"),
            Err(RunsError::Unavailable(cause)) => {
                tracing::warn!(cause, "interrupted, and is resumed");
                self.leave();
                self.runner.queue.add_at(&self.key, Instant::now() + AFTER_FAILURE);
            }
            Err(error) => tracing::warn!(%error, "given up"),
        }
    }

    fn leave(&self) {
        let mut active = self.runner.lock();
        if active.tasks.get(&self.key).is_some_and(|task| task.serial == self.serial) {
            active.tasks.remove(&self.key);
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let before = self.runner.lock().tasks.get(&self.key).is_some_and(|task| task.serial == self.serial);
        if before {
            self.leave();
            self.runner.queue.add(&self.key);
        }
    }
}
