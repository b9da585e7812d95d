//! What is served at `--listen`: the settings become a server, and the store, the objects and the cloud what it answers.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use tagwarden_app::ask::ports::{AuditRows, Checks, Ledger};
use tagwarden_app::ask::{AdHoc, Ask, AskSettings, CheckBounds, Principal, Scope};
use tagwarden_app::keys::Keys;
use tagwarden_http::{
    Access, Addresses, BindError, CONNECTIONS, Check, Desk, Health, HealthStatus, Limits, Rest, Server, Tls,
    TlsFiles,
};
use tagwarden_mcp::{ServerSettings, Toolset};
use tagwarden_operator::Frame;
use tagwarden_operator::ask::{DeclaredDoors, DeclaredObjects};
use tagwarden_store::{AuditRuns, Store};
use tokio::sync::watch;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::observed::Observed;
use crate::probes::Observed as _;
use crate::settings::{Auth, ControlPlane, Settings};
use crate::wire::LazyInventory;

/// How often `/health` is brought up to date.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long the store may take to give a sign of life.
const STORE_WITHIN: Duration = Duration::from_secs(2);

/// How long checks may take to end after the signal.
const CHECKS_END_WITHIN: Duration = Duration::from_secs(5);

/// How long the last use of keys may take to be noted at the end.
const NOTE_WITHIN: Duration = Duration::from_secs(1);

/// A server that has its address, and says of itself that it is starting.
pub struct Web {
    /// The inside of it.
    pub desk: Desk,
    health: watch::Sender<Arc<Health>>,
    source: &'static str,
    address: SocketAddr,
}

/// Checks on demand, which end with the process.
pub type OnDemand = AdHoc<LazyInventory, DeclaredDoors, AuditRuns>;

impl Web {
    /// Takes the address of `--listen`, and serves there until `close`.
    pub async fn listen(settings: &Settings, close: &CancellationToken) -> Result<Self, BindError> {
        let source = match (settings.control_plane, &settings.manifests) {
            (ControlPlane::Kubernetes, _) => "kubernetes",
            (ControlPlane::Embedded, Some(_)) => "manifests",
            (ControlPlane::Embedded, None) => "embedded",
        };
        let health = watch::Sender::new(Arc::new(told(source, Vec::new(), None, None)));
        let server = Server::bind(of(settings), health.subscribe()).await?;
        let (desk, address) = (server.desk(), server.address());
        if !desk.demands_keys() && !settings.listen.ip().is_loopback() {
            tracing::warn!(%address, "--auth off: everybody who can reach the address may ask, without a key");
        }
        tokio::spawn(server.run(close.clone()));
        Ok(Self { desk, health, source, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers from now on, and keeps the keys in mind for as long as it is polled.
    pub async fn open(&self, ask: Ask, store: Store, offer: ServerSettings, stop: CancellationToken) {
        let rows: Arc<dyn AuditRows> = Arc::new(store.clone());
        let tools = tagwarden_mcp::Server::new(ask.clone(), Arc::clone(&rows), offer);
        self.desk.open(Rest::new(ask, rows).router().merge(tagwarden_mcp::routes(&tools, stop)));
        if self.desk.demands_keys() {
            self.desk.follow(&store).await;
        }
    }

    /// Brings `/health` up to date again and again. The store is looked at once there is one.
    pub async fn look(&self, observed: &Observed, frame: &Frame, store: &OnceLock<Store>) {
        let mut ticks = interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            let mut checks: Vec<Check> = observed
                .readiness()
                .into_iter()
                .map(|(name, state)| Check { name: name.to_owned(), ok: state.is_ok() })
                .collect();
            let mut last = self.health.borrow().last_run_at.clone();
            if let Some(store) = store.get() {
                let sign = timeout(STORE_WITHIN, store.last_success()).await;
                let ok = matches!(sign, Ok(Ok(_)));
                checks.iter_mut().filter(|check| check.name == "store").for_each(|check| check.ok &= ok);
                if let Ok(Ok(at)) = sign {
                    last = at.map(|at| at.to_string());
                }
            }
            let policies_synced_at = frame.policies.heard_at().map(|at| at.to_string());
            let told = told(self.source, checks, last, next_due(frame));
            self.health.send_replace(Arc::new(Health { policies_synced_at, ..told }));
        }
    }

    /// Writes down what is only in memory, before the store is closed.
    pub async fn close<K: Keys>(&self, keys: &K) {
        let _ = timeout(NOTE_WITHIN, self.desk.note(keys)).await;
    }
}

/// What agents are offered.
pub fn offer(settings: &Settings) -> ServerSettings {
    ServerSettings {
        read_only: settings.mcp_read_only,
        toolsets: match &settings.mcp_toolsets[..] {
            [] => Toolset::ALL.into_iter().collect(),
            toolsets => toolsets.iter().copied().collect(),
        },
        without: settings.mcp_without_tools.iter().map(|tool| tool.as_str().to_owned()).collect(),
        limits: tagwarden_mcp::Limits {
            calls_per_hour: settings.mcp_calls_per_hour.get() as usize,
            same_calls: settings.mcp_same_calls.get() as usize,
            calls_per_second: f64::from(settings.tenant_rate.get()),
            ..tagwarden_mcp::Limits::default()
        },
        version: env!("CARGO_PKG_VERSION"),
    }
}

/// Whoever asks, is answered out of these: over HTTP, and over standard input and output.
pub fn ask(
    settings: &Settings,
    frame: &Arc<Frame>,
    inventory: &Arc<LazyInventory>,
    runs: &Arc<AuditRuns>,
    objects: DeclaredObjects,
    stop: &CancellationToken,
) -> (Ask, OnDemand) {
    let bounds = CheckBounds {
        silence: Duration::from_secs(settings.region_timeout.get().into()),
        ..CheckBounds::default()
    };
    let checks = AdHoc::new(
        Arc::clone(inventory),
        DeclaredDoors::new(Arc::clone(frame)),
        Arc::clone(runs),
        Arc::clone(&frame.registry),
        frame.settings.identity.clone(),
        bounds,
        stop.clone(),
        Timestamp::now,
    );
    let asking = AskSettings {
        default_policy: settings.default_policy.as_ref().map(|name| name.as_str().to_owned()),
        ambient_tenant: Some(settings.namespace.as_str().to_owned()),
        ..AskSettings::default()
    };
    let ledger: Arc<dyn Ledger> = Arc::clone(runs) as _;
    let on_demand: Arc<dyn Checks> = Arc::new(checks.clone());
    let registry = Arc::clone(&frame.registry);
    (Ask::new(Arc::new(objects), ledger, on_demand, registry, asking, Timestamp::now), checks)
}

/// Waits until the checks on demand have ended, but not for ever.
pub async fn finish(checks: &OnDemand) {
    if timeout(CHECKS_END_WITHIN, checks.finished()).await.is_err() {
        tracing::warn!("checks on demand did not end in time; whoever asks for them is told so");
    }
}

/// What the settings say about the server.
fn of(settings: &Settings) -> tagwarden_http::Settings {
    let address = settings.listen;
    let local = address.ip().is_loopback();
    let keys = match settings.auth {
        Some(auth) => auth == Auth::Keys,
        None => !local,
    };
    let access = if keys {
        Access::Keys
    } else {
        // Where others can come in without a key, they may look.
        let scopes = if local { &[Scope::TagRead, Scope::AuditWrite][..] } else { &[Scope::TagRead] };
        Access::Everybody(Principal::new(settings.namespace.as_str(), "anonymous", scopes.iter().copied()))
    };
    let tls = match (settings.tls_cert.clone(), settings.tls_key.clone()) {
        (Some(certificate), Some(key)) => Tls::Files(TlsFiles { certificate, key }),
        _ => Tls::Plain,
    };
    let addresses =
        Addresses::new(address, keys, settings.allowed_hosts.clone(), settings.allowed_origins.clone());
    let limits = Limits {
        per_tenant: settings.tenant_rate.get(),
        per_address: settings.address_rate.get(),
        ..Limits::default()
    };
    tagwarden_http::Settings {
        address,
        tls,
        access,
        addresses,
        limits,
        connections: CONNECTIONS,
        clock: Timestamp::now,
    }
}

fn told(source: &str, checks: Vec<Check>, last: Option<String>, next: Option<Timestamp>) -> Health {
    let well = !checks.is_empty() && checks.iter().all(|check| check.ok);
    Health {
        status: if well { HealthStatus::Ok } else { HealthStatus::Degraded },
        version: env!("CARGO_PKG_VERSION").to_owned(),
        checks,
        policy_source: source.to_owned(),
        policies_synced_at: None,
        last_run_at: last,
        next_run_at: next.map(|at| at.to_string()),
        checked_at: Timestamp::now().to_string(),
    }
}

/// When the next audit of any namespace is due.
fn next_due(frame: &Frame) -> Option<Timestamp> {
    let due = |audit: Arc<tagwarden_api::audit::ComplianceAudit>| {
        Some(audit.status.as_ref()?.next_schedule_time.as_ref()?.0)
    };
    frame.audits.all().into_iter().filter_map(due).min()
}
