//! The loop that every kind shares: take the object whose turn it is, reconcile it, see what becomes of it.
//!
//! It runs while this replica leads. An object is never reconciled twice at once; one that fails comes back later
//! and later; one that panics takes nothing else with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::backoff;
use crate::cache::Cache;
use crate::failure::{Class, Classified, Next};
use crate::key::Key;
use crate::lease::{Fence, Term};
use crate::metrics::{ControllerMetrics, ReconcileResult};
use crate::queue::{Outcome, Queue, Turn};
use crate::write::Object;

/// After the signal to stop, for what is under way.
pub const STOP_WITHIN: Duration = Duration::from_secs(15);

/// What is done for the objects of one kind.
pub trait Reconciler: Send + Sync + 'static {
    /// The kind.
    type Object: Object;
    /// Why a reconcile fails.
    type Error: Classified;

    /// The name in logs and metrics: the kind in lower case.
    const CONTROLLER: &'static str;
    /// How long one reconcile may take.
    const WITHIN: Duration = Duration::from_mins(2);

    /// Makes reality known in the object's status. May be dropped at any await; called again for the same object
    /// it must find the way from there.
    fn reconcile(&self, object: Arc<Self::Object>) -> impl Future<Output = Result<Next, Self::Error>> + Send;

    /// The object is gone. Nothing that is done here may take long.
    fn forget(&self, key: &Key);

    /// This replica leads from now on, and knows all objects. Nothing that is done here may take long.
    fn leading(&self, _term: &Term) {}
}

/// A reconciler with its queue.
#[derive(Debug)]
pub struct Controller<R: Reconciler> {
    reconciler: Arc<R>,
    cache: Cache<R::Object>,
    queue: Arc<Queue>,
    metrics: ControllerMetrics,
    concurrency: usize,
}

/// What a reconcile came to.
enum Ended {
    Next(Next),
    Failed(Class),
    Gone,
}

/// The reconciles under way, by task.
#[derive(Default)]
struct Running {
    tasks: JoinSet<Ended>,
    keys: HashMap<Id, (Key, Instant)>,
}

impl<R: Reconciler> Controller<R> {
    /// A controller of the objects in this cache, working on so many at once.
    pub fn new(
        reconciler: R,
        cache: Cache<R::Object>,
        queue: Arc<Queue>,
        metrics: ControllerMetrics,
        concurrency: usize,
    ) -> Self {
        Self { reconciler: Arc::new(reconciler), cache, queue, metrics, concurrency: concurrency.max(1) }
    }

    /// Works whenever this replica leads, until `stop`; then waits for what is under way.
    pub async fn run(self, fence: Fence, stop: CancellationToken) {
        loop {
            let term = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                term = async { self.cache.complete().await; fence.leading().await } => term,
            };
            self.reconciler.leading(&term);
            // What others did while this one waited is not known.
            for key in self.cache.keys() {
                self.queue.add(&key);
            }
            let mut running = Running::default();
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    if tokio::time::timeout(STOP_WITHIN, self.drain(&mut running)).await.is_err() {
                        tracing::warn!(controller = R::CONTROLLER, left = running.tasks.len(), "broken off to stop in time");
                    }
                    return;
                }
                () = term.over().cancelled() => self.break_off(running).await,
                () = self.work(&fence, &mut running) => {}
            }
        }
    }

    async fn work(&self, fence: &Fence, running: &mut Running) {
        loop {
            // A lease that is renewed late leaves a gap in a term, in which nothing is begun.
            let led = fence.check().is_ok();
            let full = !led || running.tasks.len() >= self.concurrency;
            let wait = match self.turn(full) {
                Turn::Take(key, waited) => {
                    self.start(running, key, waited);
                    continue;
                }
                Turn::Wait(until) => until,
            };
            tokio::select! {
                Some(ended) = running.tasks.join_next_with_id(), if !running.tasks.is_empty() => {
                    self.end(running, ended);
                }
                _ = fence.leading(), if !led => {}
                () = self.queue.changed(), if !full => {}
                () = sleep_until(wait), if !full => {}
            }
        }
    }

    fn turn(&self, full: bool) -> Turn {
        if full { Turn::Wait(None) } else { self.queue.turn(Instant::now()) }
    }

    fn start(&self, running: &mut Running, key: Key, waited: Duration) {
        self.metrics.started(waited);
        let span = tracing::info_span!(
            "reconcile",
            controller = R::CONTROLLER,
            kind = %<R::Object as kube::Resource>::kind(&()),
            namespace = %key.namespace,
            name = %key.name,
            reconcile_id = %uuid::Uuid::new_v4(),
        );
        let reconciler = Arc::clone(&self.reconciler);
        let object = self.cache.get(&key);
        let work = async move {
            let Some(object) = object else { return Ended::Gone };
            match tokio::time::timeout(R::WITHIN, reconciler.reconcile(object)).await {
                Ok(Ok(next)) => Ended::Next(next),
                Ok(Err(error)) => {
                    told(&error);
                    Ended::Failed(error.class())
                }
                Err(_) => {
                    tracing::warn!(within = ?R::WITHIN, "took too long, and was broken off");
                    Ended::Failed(Class::Transient)
                }
            }
        };
        let task = running.tasks.spawn(work.instrument(span));
        running.keys.insert(task.id(), (key, Instant::now()));
    }

    fn end(&self, running: &mut Running, ended: Result<(Id, Ended), JoinError>) {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let Some((key, since)) = running.keys.remove(&id) else { return };
        let now = Instant::now();
        let (result, outcome) = match ended {
            Ok((_, Ended::Next(Next::OnChange) | Ended::Failed(Class::Moot))) => {
                (ReconcileResult::Success, Outcome::Done(None))
            }
            Ok((_, Ended::Next(Next::After(after)))) => {
                (ReconcileResult::RequeueAfter, Outcome::Done(now.checked_add(after)))
            }
            Ok((_, Ended::Failed(Class::Invalid))) => (ReconcileResult::Terminal, Outcome::Done(None)),
            Ok((_, Ended::Failed(Class::Transient))) => (ReconcileResult::Error, self.later(&key, now)),
            Ok((_, Ended::Failed(Class::Contended))) => {
                let first = self.queue.failures(&key) == 0;
                let outcome =
                    if first { Outcome::Failed(now + backoff::FLOOR) } else { self.later(&key, now) };
                (ReconcileResult::Error, outcome)
            }
            // Another object of that name may have come meanwhile: what was added since is not dropped.
            Ok((_, Ended::Gone)) => {
                self.reconciler.forget(&key);
                (ReconcileResult::Success, Outcome::Done(None))
            }
            Err(error) if error.is_panic() => {
                tracing::error!(controller = R::CONTROLLER, %key, "a reconcile panicked; the object is tried again");
                (ReconcileResult::Panic, self.later(&key, now))
            }
            Ok((_, Ended::Failed(Class::NotLeading))) | Err(_) => return self.put_back(&key),
        };
        self.metrics.ended(result, now.saturating_duration_since(since));
        self.queue.finish(&key, outcome);
    }

    /// Due again as soon as this replica leads.
    fn put_back(&self, key: &Key) {
        self.metrics.broken_off();
        self.queue.finish(key, Outcome::BrokenOff);
    }

    fn later(&self, key: &Key, now: Instant) -> Outcome {
        Outcome::Failed(now + backoff::delay(self.queue.failures(key) + 1, fastrand::f64()))
    }

    async fn drain(&self, running: &mut Running) {
        while let Some(ended) = running.tasks.join_next_with_id().await {
            self.end(running, ended);
        }
    }

    /// Stops everything at once: somebody else leads, or is about to.
    async fn break_off(&self, mut running: Running) {
        running.tasks.abort_all();
        self.drain(&mut running).await;
    }
}

/// Says why a reconcile failed: all of it, in one line.
fn told(error: &(impl Classified + ?Sized)) {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    match error.class() {
        Class::Transient => tracing::warn!(error = text, "failed, and is tried again"),
        Class::Invalid => tracing::info!(error = text, "cannot be acted upon before something changes"),
        Class::Contended => tracing::debug!(error = text, "tried again at once"),
        Class::Moot => tracing::debug!(error = text, "nothing is left to do"),
        Class::NotLeading => tracing::debug!(error = text, "left until this replica leads again"),
    }
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use k8s_openapi::api::core::v1::ConfigMap;
    use tokio::sync::watch;

    use super::*;
    use crate::failure::ObjectError;
    use crate::lease::NotLeading;
    use crate::metrics::Metrics;

    type Step = Box<dyn Fn() -> Result<Next, ObjectError> + Send + Sync>;

    /// Does what the test says, and counts.
    struct Told {
        step: Step,
        gone: Box<dyn Fn() + Send + Sync>,
        reconciled: watch::Sender<usize>,
    }

    impl Reconciler for Told {
        type Object = ConfigMap;
        type Error = ObjectError;

        const CONTROLLER: &'static str = "test";

        async fn reconcile(&self, _: Arc<ConfigMap>) -> Result<Next, ObjectError> {
            let result = (self.step)();
            self.reconciled.send_modify(|count| *count += 1);
            result
        }

        fn forget(&self, _: &Key) {
            (self.gone)();
        }
    }

    fn key() -> Key {
        Key::new("a", "x")
    }

    fn object() -> ConfigMap {
        let metadata = serde_json::json!({"name": "x", "namespace": "a", "uid": "u", "resourceVersion": "1"});
        serde_json::from_value(serde_json::json!({"metadata": metadata})).unwrap()
    }

    /// Runs a controller until it has reconciled so often.
    async fn until(
        count: usize,
        fence: &Fence,
        cache: Cache<ConfigMap>,
        queue: Arc<Queue>,
        step: Step,
        gone: Box<dyn Fn() + Send + Sync>,
    ) {
        let (reconciled, mut counted) = watch::channel(0);
        let metrics = Metrics::new().unwrap().controller("test", 1);
        let controller = Controller::new(Told { step, gone, reconciled }, cache, queue, metrics, 1);
        let ending = CancellationToken::new();
        let running = tokio::spawn(controller.run(fence.clone(), ending.clone()));
        let all = counted.wait_for(|counted| *counted >= count);
        tokio::time::timeout(Duration::from_mins(1), all).await.expect("it is reconciled").unwrap();
        ending.cancel();
        running.await.unwrap();
    }

    #[tokio::test]
    async fn an_object_that_comes_while_another_of_its_name_goes_is_reconciled() {
        let (cache, queue) = (Cache::new(0), Arc::new(Queue::default()));
        queue.add(&key());
        let (coming, due) = (cache.clone(), Arc::clone(&queue));
        let gone = Box::new(move || {
            coming.bring(object());
            due.add(&key());
        });
        until(1, &Fence::open(), cache, queue, Box::new(|| Ok(Next::OnChange)), gone).await;
    }

    #[tokio::test]
    async fn who_lost_the_lead_for_a_moment_takes_up_what_was_left() {
        let far = || Instant::now() + Duration::from_mins(10);
        let (cache, queue, fence) = (Cache::new(0), Arc::new(Queue::default()), Fence::closed());
        cache.bring(object());
        fence.lead(far());
        let (lapsing, times) = (fence.clone(), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&times);
        let step = Box::new(move || {
            if seen.fetch_add(1, Ordering::SeqCst) > 0 {
                return Ok(Next::OnChange);
            }
            // The lease is renewed late: the term goes on, with a gap.
            lapsing.lead(Instant::now());
            Err(NotLeading.into())
        });
        let (renewing, failures) = (fence.clone(), Arc::clone(&queue));
        let renewed = tokio::spawn(async move {
            while times.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert_eq!(times.load(Ordering::SeqCst), 1, "nothing is begun in the gap");
            assert_eq!(failures.failures(&key()), 0, "and it is nobody's fault");
            renewing.lead(far());
        });
        until(2, &fence, cache, queue, step, Box::new(|| {})).await;
        renewed.await.unwrap();
    }
}
