//! `tagwarden mcp`: the tools for one client over standard input and output, with a controller of its own behind them.
//!
//! Clients start a process each, and several may share one SQLite file: each of them answers, and a Lease decides which
//! one reconciles. Standard output belongs to the protocol; the log goes to standard error.

use std::sync::Arc;
use std::time::Duration;

use tagwarden_app::ask::{Principal, Scope};
use tagwarden_core::registry::Registry;
use tagwarden_mcp::{Server, ServerSettings, Toolset};
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
use crate::settings::{Settings, Source};
use crate::wire::LazyInventory;
use crate::{applier, input, telemetry, web};

/// Who the client of a process is in the record of calls.
const CLIENT: &str = "stdio";

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

pub(super) fn run(flags: Mcp) -> Result<u8, Failure> {
    let told = flags
        .settings
        .given
        .iter()
        .find(|(field, (_, source))| OF_RUN.contains(field) && *source == Source::Flag);
    if let Some((field, _)) = told {
        return Err(Failure::OnlyRun(field.replace('_', "-")));
    }
    let settings = flags.settings.resolve()?.settings;
    let offer = offer(&settings, flags.toolset, flags.without_tool);
    telemetry::of_controller(&settings);
    let registry = input::registry(settings.resource_types.as_deref())?;
    let runtime = super::runtime()?;
    let result = runtime.block_on(serve(&settings, registry, offer, flags.default_policy));
    // Standard input is read by a thread that nothing can interrupt.
    runtime.shutdown_timeout(Duration::from_millis(200));
    result.map(|()| 0)
}

fn offer(settings: &Settings, toolsets: Vec<Toolset>, without: Vec<String>) -> ServerSettings {
    let every = web::offer(settings);
    ServerSettings {
        toolsets: if toolsets.is_empty() { every.toolsets } else { toolsets.into_iter().collect() },
        without: without.into_iter().collect(),
        ..every
    }
}

async fn serve(
    settings: &Settings,
    registry: Arc<Registry>,
    offer: ServerSettings,
    default_policy: Option<String>,
) -> Result<(), Failure> {
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
    let (ask, checks) = web::ask(settings, &frame, &inventory, &runs, objects, default_policy, &stop);
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
