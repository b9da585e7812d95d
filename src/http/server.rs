//! The server: a listener, the gate, and behind it what is served once there is something to serve.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use tagwarden_app::keys::Keys;
use tagwarden_serve::{BindError, Listener, Tls};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::addresses::Addresses;
use crate::fault::Fault;
use crate::gate::{self, Access, Gate, Limits};
use crate::health::{self, Health};
use crate::keyring::{Keyring, Pace};

/// Where and for whom is served.
pub struct Settings {
    /// Where to listen.
    pub address: SocketAddr,
    /// Certificate and key, if any.
    pub tls: Tls,
    /// Who is let in.
    pub access: Access,
    /// Under which names, and from which pages.
    pub addresses: Addresses,
    /// What clients may take.
    pub limits: Limits,
    /// What connections may take.
    pub connections: tagwarden_serve::Limits,
    /// What time it is.
    pub clock: fn() -> Timestamp,
}

/// What connections may take unless somebody says otherwise.
pub const CONNECTIONS: tagwarden_serve::Limits = tagwarden_serve::Limits {
    connections: 1024,
    connections_per_address: 512,
    strangers: None,
    handshake_time: Duration::from_secs(10),
    head_time: Duration::from_secs(10),
    idle_time: Duration::from_mins(2),
    write_time: Duration::from_secs(30),
    reload: Duration::from_secs(2),
};

/// A server that has its address. Nobody is served until [`run`](Self::run).
pub struct Server {
    listener: Listener,
    router: Router,
    desk: Desk,
}

/// The inside of a server: where what it serves is put. Cheap to clone.
#[derive(Clone)]
pub struct Desk(Arc<Inside>);

struct Inside {
    gate: Arc<Gate>,
    served: RwLock<Option<Router>>,
}

impl Server {
    /// Takes the address. `health` is what `/health` tells.
    pub async fn bind(settings: Settings, health: watch::Receiver<Arc<Health>>) -> Result<Self, BindError> {
        let Settings { address, tls, access, addresses, limits, connections, clock } = settings;
        let listener = Listener::bind(address, tls, connections).await?;
        let gate = Arc::new(Gate::new(addresses, access, Keyring::new(Pace::default(), clock), limits));
        let desk = Desk(Arc::new(Inside { gate, served: RwLock::default() }));
        let router = router(&desk, health);
        Ok(Self { listener, router, desk })
    }

    /// Where it listens: with the port that was free, if none was asked for.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Its inside.
    pub fn desk(&self) -> Desk {
        self.desk.clone()
    }

    /// Serves until told to stop; then requests under way are finished, for at most five seconds.
    pub async fn run(self, stop: CancellationToken) {
        self.listener.run(self.router, stop).await;
    }
}

impl Desk {
    /// Serves this from now on, behind the gate. Every request has the [`Principal`](tagwarden_app::ask::Principal) who
    /// sent it, and a [`RequestId`](crate::RequestId), among its extensions.
    pub fn open(&self, router: Router) {
        *self.0.served.write().unwrap_or_else(PoisonError::into_inner) = Some(router);
    }

    /// Whether anything is served yet.
    pub fn is_open(&self) -> bool {
        self.0.served.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Whether keys have to be shown.
    pub fn demands_keys(&self) -> bool {
        self.0.gate.demands_keys()
    }

    /// Keeps the keys in mind up to date, for as long as it is polled.
    pub async fn follow<K: Keys>(&self, keys: &K) {
        self.0.gate.keyring.follow(keys).await;
    }

    /// Notes what keys were used for last, before the end.
    pub async fn note<K: Keys>(&self, keys: &K) {
        self.0.gate.keyring.note(keys).await;
    }
}

fn router(desk: &Desk, health: watch::Receiver<Arc<Health>>) -> Router {
    Router::new()
        .route("/health", get(health::answer).with_state(health))
        .method_not_allowed_fallback(async || Fault::no_method())
        .fallback(served)
        .with_state(desk.clone())
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&desk.0.gate), gate::pass))
}

async fn served(State(desk): State<Desk>, request: Request) -> Response {
    let router = desk.0.served.read().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(router) = router else {
        return Fault::unavailable("the server is starting: its store is not open yet").into_response();
    };
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
