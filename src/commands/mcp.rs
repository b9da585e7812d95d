//! `tagwarden mcp`: the tools for one client over standard input and output, with a controller of its own behind them, or
//! with `--url` a server that runs somewhere.
//!
//! Clients start a process each, and several may share one SQLite file: each of them answers, and a Lease decides which
//! one reconciles. Standard output belongs to the protocol; the log goes to standard error.

use std::sync::Arc;
use std::time::Duration;

use tagwarden_app::ask::{Principal, Scope};
use tagwarden_core::registry::Registry;
use tagwarden_mcp::{BridgeSettings, Server};
use tagwarden_operator::ask::DeclaredObjects;
use tagwarden_operator::{Clock, Context, Election, Fence, Frame, Timing};
use tagwarden_store::{AuditRuns, Store};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Failure;
use super::run as controller;
use crate::cli::Mcp;
use crate::counted::Counting;
use crate::plane::{Plane, Sharing};
use crate::settings::{SettingFlags, Settings, Source};
use crate::wire::LazyInventory;
use crate::{applier, input, telemetry, web};

/// Who the client of a process is in the record of calls.
const CLIENT: &str = "stdio";

/// What the server is told that a bridge leads to.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Settings that only `run` goes by.
const OF_RUN: [&str; 14] = [
    "metrics_listen",
    "api_listen",
    "api_tokens",
    "api_tls_cert",
    "api_tls_key",
    "api_tls_self_signed",
    "listen",
    "auth",
    "allowed_hosts",
    "allowed_origins",
    "tls_cert",
    "tls_key",
    "tenant_rate",
    "address_rate",
];

/// For what is under way once the client has gone.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// Settings that mean something without a controller.
const OF_BRIDGE: [&str; 2] = ["log_level", "log_format"];

pub(super) fn run(flags: Mcp) -> Result<u8, Failure> {
    let Mcp { settings, remote } = flags;
    let runtime = super::runtime()?;
    // An empty variable is how a shell says that there is none.
    let result = if let Some(url) = remote.url.filter(|url| !url.is_empty()) {
        let bridge =
            BridgeSettings { url, key_file: remote.api_key_file, ca_file: remote.ca_file, version: VERSION };
        telemetry::of_controller(&of_bridge(settings)?);
        runtime.block_on(across(bridge))
    } else {
        let settings = of_controller(settings)?;
        telemetry::of_controller(&settings);
        let registry = input::registry(settings.resource_types.as_deref())?;
        runtime.block_on(serve(&settings, registry))
    };
    // Standard input is read by a thread that nothing can interrupt.
    runtime.shutdown_timeout(Duration::from_millis(200));
    result.map(|()| 0)
}

/// The settings of a controller whose only client is this one.
fn of_controller(flags: SettingFlags) -> Result<Settings, Failure> {
    match typed(&flags, |field| OF_RUN.contains(&field)) {
        Some(flag) => Err(Failure::OnlyRun(flag)),
        None => Ok(flags.resolve()?.settings),
    }
}

/// What there is to set about a bridge: the log.
fn of_bridge(flags: SettingFlags) -> Result<Settings, Failure> {
    if matches!(flags.config, Some((_, Source::Flag))) {
        return Err(Failure::OnlyOwn("config".to_owned()));
    }
    if let Some(flag) = typed(&flags, |field| !OF_BRIDGE.contains(&field)) {
        return Err(Failure::OnlyOwn(flag));
    }
    // Variables for a controller may well be there; they are not for this.
    let given = flags.given.into_iter().filter(|(field, _)| OF_BRIDGE.contains(field)).collect();
    Ok(SettingFlags { config: None, given }.resolve()?.settings)
}

/// The first of these settings that was given as a flag.
fn typed(flags: &SettingFlags, which: impl Fn(&str) -> bool) -> Option<String> {
    let mut given = flags.given.iter();
    let found = given.find(|(field, (_, source))| which(field) && *source == Source::Flag);
    found.map(|(field, _)| field.replace('_', "-"))
}

/// Answers out of a server that runs somewhere.
async fn across(bridge: BridgeSettings) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    tokio::spawn(controller::stop_on_signal(stop.clone()));
    Ok(tagwarden_mcp::bridge(bridge, stop).await?)
}

async fn serve(settings: &Settings, registry: Arc<Registry>) -> Result<(), Failure> {
    let (stop, close) = (CancellationToken::new(), CancellationToken::new());
    tokio::spawn(controller::stop_on_signal(stop.clone()));
    let counting = Counting::default();
    let plane = Plane::open(settings, counting.clone(), Sharing::Several, &close).await?;
    let store = Store::open(settings.store.expose()).await?;
    let client = plane.client(settings.namespace.as_str());
    let operator = controller::operator_settings(settings);
    let frame = Arc::new(Frame::new(
        client.clone(),
        operator,
        Arc::clone(&registry),
        Clock::system(),
        Fence::closed(),
        stop.clone(),
    )?);
    counting.counted_by(&frame.metrics);
    let inventory = Arc::new(LazyInventory::new(Arc::clone(&registry)));
    let runs = Arc::new(AuditRuns::new(store.clone(), controller::retention(settings)));

    let tenant = settings.namespace.as_str();
    let declared = CancellationToken::new();
    let objects = DeclaredObjects::after(Arc::clone(&frame), declared.clone());
    let (ask, checks) = web::ask(settings, &frame, &inventory, &runs, objects, &stop);
    let offer = web::offer(settings);
    let scopes = if offer.read_only { vec![Scope::TagRead] } else { vec![Scope::TagRead, Scope::AuditWrite] };
    let server = Server::new(ask, Arc::new(store.clone()), offer);

    let manifests = settings.manifests.as_ref().map(|directory| {
        let manifests = applier::Manifests {
            directory: directory.clone(),
            namespace: tenant.to_owned(),
            prune: settings.manifests_prune,
            watched: settings.watch_namespaces.iter().map(|name| name.as_str().to_owned()).collect(),
        };
        let fence = frame.fence.clone();
        tokio::spawn(applier::run(client.clone(), fence, manifests, declared.clone(), stop.clone()))
    });
    if manifests.is_none() {
        declared.cancel();
    }
    let context = Context { frame, cloud: inventory, runs };
    let election = Election::Lease {
        namespace: tenant.to_owned(),
        name: controller::LEASE.to_owned(),
        timing: Timing::default(),
    };
    let reconciling = tokio::spawn(tagwarden_operator::run(client, context, election));

    let result = tagwarden_mcp::stdio(server, Principal::new(tenant, CLIENT, scopes), stop.clone()).await;
    tracing::info!("the client has gone");
    stop.cancel();
    let ended = async {
        checks.finished().await;
        // A controller that broke down has said so.
        let _ = reconciling.await;
        store.close().await;
    };
    if timeout(CLOSE_WITHIN, ended).await.is_err() {
        tracing::warn!("not everything stopped in time");
    }
    if let Some(manifests) = manifests {
        manifests.abort();
    }
    close.cancel();
    if timeout(CLOSE_WITHIN, plane.shutdown()).await.is_err() {
        tracing::warn!("the control plane did not close in time");
    }
    Ok(result?)
}
