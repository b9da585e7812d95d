//! What can be seen of a running controller from outside: whether it is ready, and its metrics.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, TextEncoder};
use tagwarden_app::ports::{Inventory, Traffic};
use tagwarden_http::Desk;
use tagwarden_operator::Frame;

use crate::plane::Plane;
use crate::probes;
use crate::process::Process;
use crate::wire::LazyInventory;

/// See the module.
pub struct Observed {
    plane: Arc<Plane>,
    frame: Arc<Frame>,
    store: Mutex<Result<(), String>>,
    desk: Desk,
}

impl Observed {
    /// Adds what this process counts to the metrics of the operator.
    pub fn new(
        plane: Arc<Plane>,
        frame: Arc<Frame>,
        inventory: Arc<LazyInventory>,
        desk: Desk,
    ) -> Result<Self, prometheus::Error> {
        let registry = frame.metrics.registry();
        let build = Opts::new("tagwarden_build_info", "Always 1; the labels say what runs.")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        let build = IntGauge::with_opts(build)?;
        build.set(1);
        registry.register(Box::new(build))?;
        registry.register(Box::new(Process::new()?))?;
        registry.register(Box::new(AwsTraffic::new(inventory)?))?;
        Ok(Self { plane, frame, store: Mutex::new(Err("it is not open yet".to_owned())), desk })
    }

    /// Remembers how the store is doing. Whether that is news.
    pub fn store(&self, state: Result<(), String>) -> bool {
        let mut known = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *known != state;
        *known = state;
        news
    }

    /// Whether there is nothing that work would have to wait for. A replica that does not lead is ready, too.
    pub fn is_ready(&self) -> bool {
        probes::Observed::readiness(self).iter().all(|(_, check)| check.is_ok())
    }
}

impl probes::Observed for Observed {
    fn readiness(&self) -> Vec<(&'static str, Result<(), String>)> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let controllers =
            if self.frame.is_ready() { Ok(()) } else { Err("the objects are not all known yet".to_owned()) };
        let answers = if self.desk.is_open() { Ok(()) } else { Err("nothing is answered yet".to_owned()) };
        vec![
            ("control plane", self.plane.ready()),
            ("store", store),
            ("controllers", controllers),
            ("listener", answers),
        ]
    }

    fn metrics(&self) -> Result<String, prometheus::Error> {
        self.frame.queues.refresh();
        TextEncoder::new().encode_to_string(&self.frame.metrics.registry().gather())
    }
}

/// What was sent to AWS, as metrics.
struct AwsTraffic {
    inventory: Arc<LazyInventory>,
    requests: IntCounterVec,
    throttles: IntCounter,
}

impl AwsTraffic {
    fn new(inventory: Arc<LazyInventory>) -> Result<Self, prometheus::Error> {
        let requests = Opts::new("tagwarden_aws_requests_total", "Requests sent to AWS, retries included.");
        let throttles = Opts::new(
            "tagwarden_aws_throttles_total",
            "Answers of AWS that refused because of a rate limit.",
        );
        Ok(Self {
            inventory,
            requests: IntCounterVec::new(requests, &["service", "operation"])?,
            throttles: IntCounter::with_opts(throttles)?,
        })
    }

    fn read(&self, traffic: &Traffic) {
        for (name, total) in &traffic.requests {
            let (service, operation) = name.split_once('.').unwrap_or((name, ""));
            catch_up(&self.requests.with_label_values(&[service, operation]), *total);
        }
        catch_up(&self.throttles, traffic.throttled);
    }
}

/// Both only ever grow.
fn catch_up(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

impl Collector for AwsTraffic {
    fn desc(&self) -> Vec<&Desc> {
        self.requests.desc().into_iter().chain(self.throttles.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.read(&self.inventory.traffic());
        self.requests.collect().into_iter().chain(self.throttles.collect()).collect()
    }
}
