//! What the operator counts. The names of controller-runtime where it has one, so that dashboards and alerts made
//! for other controllers work; `tagwarden_…` for what is our own. Series that speak of an object go when it goes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};
use tagwarden_api::condition::CONDITIONS;

use crate::key::Key;
use crate::queue::Queue;

const ANSWERS: [&str; 3] = ["True", "False", "Unknown"];

/// Seconds that a reconcile takes, from one that has nothing to do to one that asks AWS a lot.
const BUCKETS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];

/// All that is counted. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    errors: IntCounterVec,
    terminal_errors: IntCounterVec,
    panics: IntCounterVec,
    seconds: HistogramVec,
    active: IntGaugeVec,
    max_active: IntGaugeVec,
    depth: IntGaugeVec,
    adds: IntCounterVec,
    waited: HistogramVec,
    worked: HistogramVec,
    retries: IntCounterVec,
    unfinished: GaugeVec,
    longest: GaugeVec,
    leading: IntGaugeVec,
    requests: IntCounterVec,
    conditions: IntGaugeVec,
    malformed: IntGaugeVec,
    verified: IntGaugeVec,
    last_verified: GaugeVec,
}

/// The metrics of one controller.
#[derive(Debug, Clone)]
pub struct ControllerMetrics {
    all: Metrics,
    name: &'static str,
    waited: prometheus::Histogram,
    worked: prometheus::Histogram,
    seconds: prometheus::Histogram,
    retries: IntCounter,
    active: IntGauge,
    adds: IntCounter,
    depth: IntGauge,
    unfinished: Gauge,
    longest: Gauge,
}

/// How a reconcile ended, in the words of controller-runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReconcileResult {
    /// Done.
    Success,
    /// Done, and wants to be called again later.
    RequeueAfter,
    /// Failed, and is tried again.
    Error,
    /// Failed, and waits for a change.
    Terminal,
    /// Panicked, and is tried again.
    Panic,
}

impl Metrics {
    /// Makes all metrics, in a registry of their own.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let by_controller = &["controller"];
        let by_queue = &["name", "controller"];
        let by_object = &["namespace", "name"];
        let metrics = Self {
            reconciles: counters(
                &registry,
                "controller_runtime_reconcile_total",
                "Reconciles by controller and result.",
                &["controller", "result"],
            )?,
            errors: counters(
                &registry,
                "controller_runtime_reconcile_errors_total",
                "Reconciles that failed.",
                by_controller,
            )?,
            terminal_errors: counters(
                &registry,
                "controller_runtime_terminal_reconcile_errors_total",
                "Reconciles that failed and are not tried again before something changes.",
                by_controller,
            )?,
            panics: counters(
                &registry,
                "controller_runtime_reconcile_panics_total",
                "Reconciles that panicked.",
                by_controller,
            )?,
            seconds: histograms(
                &registry,
                "controller_runtime_reconcile_time_seconds",
                "How long reconciles take.",
                by_controller,
            )?,
            active: gauges(
                &registry,
                "controller_runtime_active_workers",
                "Reconciles under way.",
                by_controller,
            )?,
            max_active: gauges(
                &registry,
                "controller_runtime_max_concurrent_reconciles",
                "The most reconciles that may be under way.",
                by_controller,
            )?,
            depth: gauges(&registry, "workqueue_depth", "Objects that are due.", by_queue)?,
            adds: counters(
                &registry,
                "workqueue_adds_total",
                "Times that an object was made due.",
                by_queue,
            )?,
            waited: histograms(
                &registry,
                "workqueue_queue_duration_seconds",
                "How long objects were due before their turn came.",
                by_queue,
            )?,
            worked: histograms(
                &registry,
                "workqueue_work_duration_seconds",
                "How long the work on an object took.",
                by_queue,
            )?,
            retries: counters(
                &registry,
                "workqueue_retries_total",
                "Objects that were tried again.",
                by_queue,
            )?,
            unfinished: float_gauges(
                &registry,
                "workqueue_unfinished_work_seconds",
                "The time spent on work under way, summed.",
                by_queue,
            )?,
            longest: float_gauges(
                &registry,
                "workqueue_longest_running_processor_seconds",
                "The time spent on the oldest work under way.",
                by_queue,
            )?,
            leading: gauges(
                &registry,
                "leader_election_master_status",
                "1 while this replica leads, else 0.",
                &["name"],
            )?,
            requests: counters(
                &registry,
                "rest_client_requests_total",
                "Requests to the API server by status code and method.",
                &["code", "method"],
            )?,
            conditions: gauges(
                &registry,
                "tagwarden_status_condition",
                "1 for the status that a condition of an object has.",
                &["kind", "namespace", "name", "condition", "status"],
            )?,
            malformed: gauges(
                &registry,
                "tagwarden_malformed_object",
                "1 for an object that cannot be understood, and is left out.",
                &["kind", "namespace", "name"],
            )?,
            verified: gauges(
                &registry,
                "tagwarden_account_verified",
                "1 when the account could be entered and read at the last look, else 0.",
                by_object,
            )?,
            last_verified: float_gauges(
                &registry,
                "tagwarden_account_last_verified_timestamp_seconds",
                "When the account was last found to be all right, in Unix time.",
                by_object,
            )?,
            registry,
        };
        Ok(metrics)
    }

    /// The registry, to be shown, and for further metrics.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The metrics of one controller.
    pub fn controller(&self, name: &'static str, concurrency: usize) -> ControllerMetrics {
        let queue = &[name, name];
        self.max_active.with_label_values(&[name]).set(i64::try_from(concurrency).unwrap_or(i64::MAX));
        ControllerMetrics {
            name,
            waited: self.waited.with_label_values(queue),
            worked: self.worked.with_label_values(queue),
            seconds: self.seconds.with_label_values(&[name]),
            retries: self.retries.with_label_values(queue),
            active: self.active.with_label_values(&[name]),
            adds: self.adds.with_label_values(queue),
            depth: self.depth.with_label_values(queue),
            unfinished: self.unfinished.with_label_values(queue),
            longest: self.longest.with_label_values(queue),
            all: self.clone(),
        }
    }

    /// Whether this replica leads by the lease of this name.
    pub fn leading(&self, lease: &str, leading: bool) {
        self.leading.with_label_values(&[lease]).set(leading.into());
    }

    /// Takes note of an answer of the API server.
    pub fn request(&self, code: u16, method: &str) {
        self.requests.with_label_values(&[code.to_string().as_str(), method]).inc();
    }

    /// Shows the conditions of an object, and no others.
    pub fn conditions(&self, kind: &str, key: &Key, conditions: &[Condition]) {
        for known in CONDITIONS {
            let current = conditions.iter().find(|condition| condition.type_ == known.name);
            for answer in ANSWERS {
                let labels = [kind, &key.namespace, &key.name, known.name, answer];
                if current.is_some_and(|condition| condition.status == answer) {
                    self.conditions.with_label_values(&labels).set(1);
                } else {
                    // Absent is as good as removed.
                    let _ = self.conditions.remove_label_values(&labels);
                }
            }
        }
    }

    /// Whether an account was all right at the last look, and when it last was, in Unix time.
    pub fn account(&self, key: &Key, verified: bool, last_verified: Option<i64>) {
        let labels = [&*key.namespace, &*key.name];
        self.verified.with_label_values(&labels).set(verified.into());
        if let Some(second) = last_verified {
            // Exact for some million years.
            #[allow(clippy::cast_precision_loss)]
            self.last_verified.with_label_values(&labels).set(second as f64);
        }
    }

    /// Whether an object can be understood.
    pub fn malformed(&self, kind: &str, key: &Key, malformed: bool) {
        let labels = [kind, &key.namespace, &key.name];
        if malformed {
            self.malformed.with_label_values(&labels).set(1);
        } else {
            let _ = self.malformed.remove_label_values(&labels);
        }
    }

    /// Drops every series that speaks of an object.
    pub fn forget(&self, kind: &str, key: &Key) {
        self.conditions(kind, key, &[]);
        self.malformed(kind, key, false);
        if kind == "ClientAccount" {
            let labels = [&*key.namespace, &*key.name];
            let _ = self.verified.remove_label_values(&labels);
            let _ = self.last_verified.remove_label_values(&labels);
        }
    }
}

impl ControllerMetrics {
    /// An object's turn came, this long after it was due.
    pub fn started(&self, waited: Duration) {
        self.waited.observe(waited.as_secs_f64());
        self.active.inc();
    }

    /// A reconcile that took so long ended so.
    pub fn ended(&self, result: ReconcileResult, took: Duration) {
        self.active.dec();
        self.worked.observe(took.as_secs_f64());
        self.seconds.observe(took.as_secs_f64());
        let word = match result {
            ReconcileResult::Success => "success",
            ReconcileResult::RequeueAfter => "requeue_after",
            _ => "error",
        };
        self.all.reconciles.with_label_values(&[self.name, word]).inc();
        match result {
            ReconcileResult::Success | ReconcileResult::RequeueAfter => return,
            ReconcileResult::Terminal => self.all.terminal_errors.with_label_values(&[self.name]).inc(),
            ReconcileResult::Panic => self.all.panics.with_label_values(&[self.name]).inc(),
            ReconcileResult::Error => {}
        }
        if result != ReconcileResult::Terminal {
            self.retries.inc();
        }
        self.all.errors.with_label_values(&[self.name]).inc();
    }

    /// A reconcile was broken off; it does not count.
    pub fn broken_off(&self) {
        self.active.dec();
    }

    /// Shows how the queue stands.
    pub fn queue(&self, queue: &Queue, now: Instant) {
        self.depth.set(i64::try_from(queue.depth(now)).unwrap_or(i64::MAX));
        self.adds.inc_by(queue.adds().saturating_sub(self.adds.get()));
        let running = queue.running();
        let ages = running.iter().map(|since| now.saturating_duration_since(*since).as_secs_f64());
        self.longest.set(ages.clone().fold(0.0, f64::max));
        self.unfinished.set(ages.sum());
    }
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, prometheus::Error> {
    register(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
}

fn float_gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<GaugeVec, prometheus::Error> {
    register(registry, GaugeVec::new(Opts::new(name, help), labels)?)
}

fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<HistogramVec, prometheus::Error> {
    register(registry, HistogramVec::new(HistogramOpts::new(name, help).buckets(BUCKETS.to_vec()), labels)?)
}

fn register<M: Collector + Clone + 'static>(registry: &Registry, metric: M) -> Result<M, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

type Shown = (ControllerMetrics, Arc<Queue>);

/// Shows how queues stand whenever somebody looks, and not more often than that.
#[derive(Debug, Clone, Default)]
pub struct QueueView {
    queues: Arc<Mutex<Vec<Shown>>>,
}

impl QueueView {
    /// Shows this queue as well.
    pub fn add(&self, metrics: ControllerMetrics, queue: Arc<Queue>) {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).push((metrics, queue));
    }

    /// To be called before the registry is read.
    pub fn refresh(&self) {
        let now = Instant::now();
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        for (metrics, queue) in queues.iter() {
            metrics.queue(queue, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditions::{Finding, merge};

    fn text(metrics: &Metrics) -> String {
        prometheus::TextEncoder::new().encode_to_string(&metrics.registry().gather()).unwrap()
    }

    #[test]
    fn series_of_an_object_change_with_it_and_go_with_it() {
        let metrics = Metrics::new().unwrap();
        let key = Key::new("tenant", "prod");
        let other = Key::new("tenant", "other");
        let now = jiff::Timestamp::UNIX_EPOCH;
        let ready = |answer: bool| merge(&[], vec![Finding::new("Ready", answer, "Succeeded", "")], 1, now);
        metrics.conditions("ClientAccount", &key, &ready(true));
        metrics.conditions("ClientAccount", &other, &ready(true));
        metrics.account(&key, true, Some(7));
        metrics.malformed("ClientAccount", &key, true);
        assert!(text(&metrics).contains(
            r#"tagwarden_status_condition{condition="Ready",kind="ClientAccount",name="prod",namespace="tenant",status="True"} 1"#
        ));
        metrics.conditions("ClientAccount", &key, &ready(false));
        let shown = text(&metrics);
        assert!(shown.contains(r#"name="prod",namespace="tenant",status="False"} 1"#), "{shown}");
        assert!(!shown.contains(r#"name="prod",namespace="tenant",status="True"}"#), "{shown}");
        metrics.forget("ClientAccount", &key);
        let shown = text(&metrics);
        assert!(!shown.contains("prod"), "{shown}");
        assert!(shown.contains("other"));
    }

    #[test]
    fn results_use_the_words_of_controller_runtime() {
        let metrics = Metrics::new().unwrap();
        let controller = metrics.controller("clientaccount", 4);
        for result in [ReconcileResult::Success, ReconcileResult::Terminal, ReconcileResult::Panic] {
            controller.started(Duration::ZERO);
            controller.ended(result, Duration::from_millis(3));
        }
        let queue = Queue::default();
        queue.add(&Key::new("a", "b"));
        controller.queue(&queue, Instant::now());
        controller.queue(&queue, Instant::now());
        let shown = text(&metrics);
        for line in [
            r#"controller_runtime_reconcile_total{controller="clientaccount",result="success"} 1"#,
            r#"controller_runtime_reconcile_total{controller="clientaccount",result="error"} 2"#,
            r#"controller_runtime_reconcile_errors_total{controller="clientaccount"} 2"#,
            r#"controller_runtime_terminal_reconcile_errors_total{controller="clientaccount"} 1"#,
            r#"controller_runtime_reconcile_panics_total{controller="clientaccount"} 1"#,
            r#"controller_runtime_active_workers{controller="clientaccount"} 0"#,
            r#"controller_runtime_max_concurrent_reconciles{controller="clientaccount"} 4"#,
            r#"workqueue_depth{controller="clientaccount",name="clientaccount"} 1"#,
            r#"workqueue_adds_total{controller="clientaccount",name="clientaccount"} 1"#,
            r#"workqueue_retries_total{controller="clientaccount",name="clientaccount"} 1"#,
        ] {
            assert!(shown.contains(line), "{line} is not in\n{shown}");
        }
    }
}
