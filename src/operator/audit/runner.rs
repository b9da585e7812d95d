//! The runs that this process works on: one for each audit at most, each in a task of its own, because a run takes
//! hours and a reconcile seconds.
//!
//! A task ends with the term of this replica and with the process; then the run stays as it is for the next one. A
//! run that cannot go on is taken up again later and later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tagwarden_app::audit::ports::{Doors, Runs, RunsError};
use tagwarden_app::audit::{AuditProgress, AuditRequest, Ended, run};
use tagwarden_app::ports::Inventory;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tracing::Instrument;

use crate::backoff;
use crate::context::Frame;
use crate::key::Key;
use crate::queue::Queue;

/// Runs that one process works on at a time. Each looks at several accounts at once.
const RUNS_AT_ONCE: usize = 8;

/// How often the progress of a run is shown.
const TELL_EVERY: Duration = Duration::from_secs(5);

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
    setbacks: HashMap<Key, Setback>,
    serial: u64,
}

/// A run that could not go on, and is left alone for a while.
#[derive(Debug, Clone)]
pub(super) struct Setback {
    pub(super) run_id: String,
    pub(super) cause: String,
    /// In a row.
    times: u32,
    until: Instant,
}

impl Setback {
    #[cfg(test)]
    pub(super) fn for_test(run_id: &str, cause: &str) -> Self {
        Self { run_id: run_id.into(), cause: cause.into(), times: 1, until: Instant::now() }
    }

    /// How long it is still left alone.
    pub(super) fn wait(&self) -> Option<Duration> {
        let wait = self.until.saturating_duration_since(Instant::now());
        (!wait.is_zero()).then_some(wait)
    }
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

    /// Takes note of an audit. Where another one had its name before, that one is forgotten: its uid is given.
    pub(super) fn meet(&self, key: &Key, uid: &str) -> Option<String> {
        let another = self.lock().uids.get(key).is_some_and(|known| known != uid);
        let before = if another { self.forget(key) } else { None };
        self.lock().uids.insert(key.clone(), uid.to_owned());
        before
    }

    /// The run of this audit that this process works on.
    pub(super) fn underway(&self, key: &Key, uid: &str) -> Option<Underway> {
        let active = self.lock();
        let task = active.tasks.get(key).filter(|task| task.uid == uid)?;
        Some(Underway { run_id: task.run_id.clone(), progress: *task.progress.borrow() })
    }

    /// What keeps this run from going on at once, if anything does.
    pub(super) fn setback(&self, key: &Key, run_id: &str) -> Option<Setback> {
        self.lock().setbacks.get(key).filter(|setback| setback.run_id == run_id).cloned()
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
        active.setbacks.remove(key);
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
        let mut presence = Presence {
            runner: self.clone(),
            key: key.clone(),
            run_id: request.key.run_id.to_string(),
            serial: active.serial,
            settled: false,
        };
        active.tasks.insert(key.clone(), task);
        let (queue, told) = (Arc::clone(&self.queue), key.clone());
        let span = tracing::info_span!("run", namespace = %key.namespace, name = %key.name, run_id = %request.key.run_id);
        let (beside, frame, permits) = (frame.beside.clone(), Arc::clone(frame), Arc::clone(&self.permits));
        let work = async move {
            let term = tokio::select! {
                biased;
                () = frame.stop.cancelled() => return presence.interrupted("this process stops"),
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
                () = frame.stop.cancelled() => presence.interrupted("this process stops"),
                () = term.over().cancelled() => presence.interrupted("this replica does not lead any more"),
                ended = running => presence.ended(ended),
                () = tell(&queue, &told, progress) => {}
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
    /// Whether this task is the one that works on the run of the audit.
    fn has(&self, key: &Key, serial: u64) -> bool {
        self.tasks.get(key).is_some_and(|task| task.serial == serial)
    }

    fn abort(&mut self, key: &Key) {
        if let Some(task) = self.tasks.remove(key)
            && let Some(abort) = task.abort
        {
            abort.abort();
        }
    }
}

/// Makes the audit due while the run proceeds, now and then; never ends.
async fn tell(queue: &Queue, key: &Key, mut progress: watch::Receiver<AuditProgress>) {
    while progress.changed().await.is_ok() {
        progress.borrow_and_update();
        queue.add(key);
        tokio::time::sleep(TELL_EVERY).await;
    }
    std::future::pending::<()>().await;
}

/// The entry of a task among the active ones, for as long as the task lives, however it ends.
struct Presence {
    runner: Runner,
    key: Key,
    run_id: String,
    serial: u64,
    /// Whether it is known how the task ended.
    settled: bool,
}

impl Presence {
    /// The run stays as it is for whoever goes on.
    fn interrupted(&mut self, cause: &str) {
        self.settled = true;
        tracing::info!(cause, "the run is left to be resumed");
    }

    fn ended(&mut self, ended: Result<Ended, RunsError>) {
        self.settled = true;
        match ended {
            Ok(Ended::Finished(ending)) => {
                tracing::info!(state = %ending.state, reason = ending.reason, cause = ending.cause, "the run has ended");
                self.recovered();
            }
            Ok(Ended::Stopped(ending)) => {
                tracing::warn!(state = %ending.state, reason = ending.reason, cause = ending.cause, "the run was stopped");
                self.recovered();
            }
            Err(error) => self.set_back(&error.to_string()),
        }
    }

    fn recovered(&self) {
        self.runner.lock().setbacks.remove(&self.key);
    }

    /// The run could not go on: it is tried again, later each time.
    fn set_back(&self, cause: &str) {
        let mut active = self.runner.lock();
        if !active.has(&self.key, self.serial) {
            return;
        }
        let before = active.setbacks.get(&self.key).filter(|before| before.run_id == self.run_id);
        let times = before.map_or(0, |before| before.times).saturating_add(1);
        // The first failure of a run is not as quick to repeat as that of a reconcile: more hangs on it.
        let wait = backoff::ceiling(times.saturating_add(1));
        tracing::warn!(
            cause,
            wait_seconds = wait.as_secs(),
            "the run could not go on, and is taken up again"
        );
        let (run_id, cause) = (self.run_id.clone(), cause.to_owned());
        let setback = Setback { run_id, cause, times, until: Instant::now() + wait };
        active.setbacks.insert(self.key.clone(), setback);
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if !self.settled {
            self.set_back("it broke down: please report this");
        }
        let mut active = self.runner.lock();
        if active.has(&self.key, self.serial) {
            active.tasks.remove(&self.key);
            self.runner.queue.add(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::new("tenant", "nightly")
    }

    fn working(runner: &Runner, run_id: &str) -> Presence {
        let mut active = runner.lock();
        active.serial += 1;
        let (serial, run_id) = (active.serial, run_id.to_owned());
        let (_, progress) = watch::channel(AuditProgress::default());
        let task = Task { serial, uid: "uid".into(), run_id: run_id.clone(), progress, abort: None };
        active.tasks.insert(key(), task);
        Presence { runner: runner.clone(), key: key(), run_id, serial, settled: false }
    }

    /// Whether a run waits that long, give or take the slowness of the machine.
    #[track_caller]
    fn assert_waits(runner: &Runner, run_id: &str, seconds: u64) {
        let setback = runner.setback(&key(), run_id);
        let wait = setback.and_then(|setback| setback.wait()).unwrap_or_default();
        let most = Duration::from_secs(seconds);
        assert!(wait <= most && wait >= most * 2 / 3, "{wait:?} of {most:?}");
    }

    #[test]
    fn a_run_that_cannot_go_on_waits_longer_each_time_and_only_that_run() {
        let runner = Runner::new(Arc::default());
        let refused = || RunsError::Refused("the outcome of an account is corrupt".into());
        for seconds in [10, 20, 40, 80, 160, 320, 640, 900, 900] {
            working(&runner, "one").ended(Err(refused()));
            assert_waits(&runner, "one", seconds);
        }
        assert_eq!(runner.setback(&key(), "one").unwrap().cause, refused().to_string());
        assert_waits(&runner, "two", 0);
        working(&runner, "two").ended(Err(RunsError::Superseded("two".into())));
        assert_waits(&runner, "two", 10);
        let ending = tagwarden_app::audit::cancelled("enough".into());
        working(&runner, "two").ended(Ok(Ended::Finished(ending)));
        assert!(runner.setback(&key(), "two").is_none());
    }

    #[test]
    fn a_task_that_breaks_down_waits_and_one_that_is_told_to_stop_does_not() {
        let runner = Runner::new(Arc::default());
        drop(working(&runner, "one"));
        assert_waits(&runner, "one", 10);
        assert!(runner.underway(&key(), "uid").is_none());
        working(&runner, "two").interrupted("this process stops");
        assert_waits(&runner, "two", 0);
        // Dropped by the reconcile: whatever follows is not its business.
        let dropped = working(&runner, "three");
        runner.drop_run(&key());
        drop(dropped);
        assert_waits(&runner, "three", 0);
    }

    #[test]
    fn an_audit_that_takes_the_name_of_another_ends_that() {
        let runner = Runner::new(Arc::default());
        assert_eq!(runner.meet(&key(), "uid"), None);
        let task = working(&runner, "one");
        assert_eq!(runner.meet(&key(), "uid"), None);
        assert!(runner.underway(&key(), "uid").is_some());
        assert_eq!(runner.meet(&key(), "other").as_deref(), Some("uid"));
        assert!(runner.underway(&key(), "other").is_none());
        drop(task);
        assert_eq!(runner.forget(&key()).as_deref(), Some("other"));
    }
}
