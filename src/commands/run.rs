//! `tagwarden run`: puts the controller together, keeps it going, and takes it down in order.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tagwarden_apiserver::http::{self, ExposeError, Exposure, Tls, TlsFiles};
use tagwarden_core::registry::Registry;
use tagwarden_operator::ask::DeclaredObjects;
use tagwarden_operator::{Clock, Context, Election, Fence, Frame, Scope, Timing};
use tagwarden_store::{AuditRuns, Retention, Store, StoreError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::counted::Counting;
use crate::observed::Observed;
use crate::plane::{Plane, Sharing};
use crate::settings::{ControlPlane, SettingFlags, Settings};
use crate::web::Web;
use crate::wire::LazyInventory;
use crate::{applier, first_steps, input, probes, telemetry, web};

/// Enough for the few things that happen at a time: the rest is waiting.
const WORKERS: usize = 2;
const BLOCKING_THREADS_MAX: usize = 8;

/// From the signal to the end. Orchestrators give thirty seconds.
const STOP_WITHIN: Duration = Duration::from_secs(18);

/// What must not take longer than this once the controllers have stopped.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// The longest pause between two attempts to open the store.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// The Lease of which replicas elect their leader.
pub(super) const LEASE: &str = "tagwarden-controller";

pub(super) fn run(flags: SettingFlags) -> Result<u8, Failure> {
    let began = Instant::now();
    let settings = flags.resolve()?.settings;
    telemetry::of_controller(&settings);
    let registry = input::registry(settings.resource_types.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    let result = runtime.block_on(controller(&settings, registry, began));
    // A look-up of a name that never ends must not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(200));
    result.map(|()| 0)
}

async fn controller(settings: &Settings, registry: Arc<Registry>, began: Instant) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    let close = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone()));
    let probes = listen("--metrics-listen", settings.metrics_listen).await?;
    let web = Arc::new(Web::listen(settings, &close).await?);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = %web.address(),
        control_plane = ?settings.control_plane,
        store = ?settings.store,
        metrics = %address(&probes, settings.metrics_listen),
        "starting"
    );
    let counting = Counting::default();
    let plane = Arc::new(Plane::open(settings, counting.clone(), Sharing::Alone, &close).await?);
    if let Some(api) = expose(settings, &plane).await? {
        tracing::info!(api = %api.address(), "the API is served");
        if api.certificate().is_none() {
            tracing::warn!(
                "the API is served without TLS, over which kubectl sends no token: give --api-tls-self-signed DIR for it"
            );
        }
        tokio::spawn(api.run(close.clone()));
    }
    let client = plane.client(settings.namespace.as_str());
    let election = election(settings);
    let fence = if matches!(election, Election::Alone) { Fence::open() } else { Fence::closed() };
    let frame = Frame::new(
        client.clone(),
        operator_settings(settings),
        Arc::clone(&registry),
        Clock::system(),
        fence.clone(),
        stop.clone(),
    )?;
    let frame = Arc::new(frame);
    counting.counted_by(&frame.metrics);
    let inventory = Arc::new(LazyInventory::new(Arc::clone(&registry)));
    let observed =
        Observed::new(Arc::clone(&plane), Arc::clone(&frame), Arc::clone(&inventory), web.desk.clone())?;
    let observed = Arc::new(observed);
    tokio::spawn(probes::serve(probes, Arc::clone(&observed), close.clone()));
    let mut tasks = Vec::new();
    let opened = Arc::new(OnceLock::new());
    tasks.push(tokio::spawn({
        let (web, observed) = (Arc::clone(&web), Arc::clone(&observed));
        let (frame, opened) = (Arc::clone(&frame), Arc::clone(&opened));
        async move { web.look(&observed, &frame, &opened).await }
    }));
    let applied = CancellationToken::new();
    if let Some(directory) = &settings.manifests {
        let manifests = applier::Manifests {
            directory: directory.clone(),
            namespace: settings.namespace.as_str().to_owned(),
            prune: settings.manifests_prune,
            watched: settings.watch_namespaces.iter().map(|name| name.as_str().to_owned()).collect(),
        };
        let applying = applier::run(client.clone(), fence, manifests, applied.clone(), stop.clone());
        tasks.push(tokio::spawn(applying));
    } else {
        applied.cancel();
    }
    let hints =
        first_steps::tell(Arc::clone(&observed), Arc::clone(&frame), settings.clone(), applied, began);
    tasks.push(tokio::spawn(hints));

    let ended = match stop.run_until_cancelled(open_store(settings, &observed)).await {
        // Stopped before the store could be opened.
        None => Ok(()),
        Some(Err(error)) => Err(error.into()),
        Some(Ok(store)) => {
            let runs = Arc::new(AuditRuns::new(store.clone(), retention(settings)));
            let objects = DeclaredObjects::new(Arc::clone(&frame));
            let (ask, checks) = web::ask(settings, &frame, &inventory, &runs, objects, &stop);
            let _ = opened.set(store.clone());
            tasks.push(tokio::spawn({
                let (web, store) = (Arc::clone(&web), store.clone());
                let (offer, stop) = (web::offer(settings), stop.clone());
                async move { web.open(ask, store, offer, stop).await }
            }));
            let context = Context { frame, cloud: inventory, runs };
            let operator = tokio::spawn(tagwarden_operator::run(client, context, election));
            stop_in_time(operator, &stop).await;
            web::finish(&checks).await;
            web.close(&store).await;
            close_store(&store).await;
            Ok(())
        }
    };
    stop.cancel();
    for task in tasks {
        task.abort();
    }
    close.cancel();
    if timeout(CLOSE_WITHIN, plane.shutdown()).await.is_err() {
        tracing::warn!("the control plane did not close in time");
    }
    tracing::info!("stopped");
    ended
}

/// Binds an address now, so that one that is taken is told at once.
async fn listen(flag: &'static str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|source| Failure::Listen { flag, address, source })
}

/// The API for people and tools, where it is wanted.
async fn expose(settings: &Settings, plane: &Plane) -> Result<Option<Exposure>, ExposeError> {
    let (Some(address), Some(tokens), Some(plane)) =
        (settings.api_listen, settings.api_tokens.clone(), plane.embedded())
    else {
        return Ok(None);
    };
    let own = settings.api_tls_self_signed.clone();
    let tls = match (settings.api_tls_cert.clone(), settings.api_tls_key.clone()) {
        (Some(certificate), Some(key)) => Tls::Files(TlsFiles { certificate, key }),
        _ => own.map_or(Tls::Plain, Tls::SelfSigned),
    };
    let exposed = http::Settings { address, tls, tokens, limits: http::Limits::default() };
    Exposure::bind(exposed, plane.kinds().clone(), plane.router()).await.map(Some)
}

/// The port 0 asks for a free one.
fn address(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

/// SQLite has one process. Everything else may have several, of which one works.
fn election(settings: &Settings) -> Election {
    let embedded = settings.control_plane == ControlPlane::Embedded;
    if embedded && !settings.store.expose().starts_with("postgres") {
        return Election::Alone;
    }
    Election::Lease {
        namespace: settings.namespace.as_str().to_owned(),
        name: LEASE.to_owned(),
        timing: Timing::default(),
    }
}

pub(super) fn operator_settings(settings: &Settings) -> tagwarden_operator::Settings {
    let namespaces: Vec<String> =
        settings.watch_namespaces.iter().map(|name| name.as_str().to_owned()).collect();
    let scope = if namespaces.is_empty() { Scope::All } else { Scope::Namespaces(namespaces) };
    tagwarden_operator::Settings {
        allow_external_id_secret_ref: settings.allow_external_id_secret_ref,
        allow_no_external_id: settings.allows_no_external_id(),
        allow_ambient_account: settings.allows_ambient_account(),
        principal_arn: settings.principal_arn.as_ref().map(|arn| arn.as_str().to_owned()),
        silence: Duration::from_secs(settings.region_timeout.get().into()),
        ..tagwarden_operator::Settings::new(scope, identity())
    }
}

/// Unlike that of any other process: the name of the host, and something new.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
    let host = host.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
    let host = host.map_or_else(|| "tagwarden".to_owned(), |name| name.trim().to_owned());
    let id = uuid::Uuid::new_v4().simple().to_string();
    format!("{host}-{}", &id[..8])
}

/// How long runs are kept.
pub(super) fn retention(settings: &Settings) -> Retention {
    Retention {
        max_age: Duration::from_secs(u64::from(settings.keep_days.get()) * 24 * 3600),
        max_runs: settings.keep_runs.get(),
    }
}

/// Opens the store of results, however long its database is away. What waiting does not mend is an error.
async fn open_store(settings: &Settings, observed: &Observed) -> Result<Store, StoreError> {
    let mut pause = Duration::from_millis(200);
    loop {
        match Store::open(settings.store.expose()).await {
            Ok(store) => {
                observed.store(Ok(()));
                return Ok(store);
            }
            Err(error @ (StoreError::Connect { .. } | StoreError::Database { .. })) => {
                if observed.store(Err(error.to_string())) {
                    tracing::warn!(%error, "the store is not available; trying again until it is");
                }
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            Err(error) => return Err(error),
        }
    }
}

async fn close_store(store: &Store) {
    if timeout(CLOSE_WITHIN, store.close()).await.is_err() {
        tracing::warn!("the store did not close in time");
    }
}

/// Waits until the controllers end, after the signal only so long.
async fn stop_in_time(mut operator: JoinHandle<()>, stop: &CancellationToken) {
    let ended = tokio::select! {
        ended = &mut operator => Some(ended),
        () = stop.cancelled() => timeout(STOP_WITHIN, &mut operator).await.ok(),
    };
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::error!(%error, "the controllers broke down"),
        None => {
            tracing::warn!("the controllers did not stop in time");
            operator.abort();
        }
    }
}

/// The first signal ends the work in order, the second at once.
pub(super) async fn stop_on_signal(stop: CancellationToken) {
    super::scan::signal().await;
    tracing::info!("stopping");
    stop.cancel();
    super::scan::signal().await;
    std::process::exit(super::scan::ABORTED);
}
