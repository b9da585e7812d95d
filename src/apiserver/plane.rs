//! The control plane as a whole: opened once per process, with its background tasks.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::kind::Kinds;
use crate::rest::{self, Api};
use crate::schema::SchemaError;
use crate::status::ApiError;
use crate::store::tail::Tail;
use crate::store::{Closed, Location, NotReady, Store};
use crate::{collect, compaction, revalidate};

/// What a control plane keeps, and for how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// Namespaces that exist from the start, and cannot be deleted.
    pub namespaces: Vec<String>,
    /// How long the log of changes reaches back: a watch that starts further back begins again with a list.
    pub log_age: Duration,
    /// The most rows of that log.
    pub log_rows: u32,
    /// The most bytes of it, about.
    pub log_bytes: u64,
    /// How long events are kept after they last happened.
    pub event_age: Duration,
    /// The most events.
    pub event_count: u32,
    /// The most watches that one client (or this process) may have at a time.
    pub watches_per_client: usize,
    /// How often a quiet watch tells its client how far it is.
    pub bookmark_interval: Duration,
}

impl Options {
    /// What serves a controller well: history of five minutes, events of an hour. `namespace` and `default` exist.
    pub fn new(namespace: &str) -> Self {
        let mut namespaces = vec!["default".to_owned()];
        if namespace != "default" {
            namespaces.push(namespace.to_owned());
        }
        Self {
            namespaces,
            log_age: Duration::from_mins(5),
            log_rows: 20_000,
            log_bytes: 256 << 20,
            event_age: Duration::from_hours(1),
            event_count: 5_000,
            watches_per_client: 500,
            bookmark_interval: Duration::from_mins(1),
        }
    }
}

/// Why there is no control plane.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A definition that cannot be served.
    #[error("a resource definition cannot be served")]
    Definition(#[from] SchemaError),
    /// The store cannot be used, and waiting does not help. Names no password.
    #[error("the control plane cannot keep its objects in {store}: {cause}")]
    Store {
        /// Where.
        store: String,
        /// Why.
        cause: String,
    },
}

/// The embedded control plane. Cheap to clone; it ends with [`shutdown`](Self::shutdown).
#[derive(Clone, Debug)]
pub struct ControlPlane {
    pub(crate) api: Arc<Api>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// The longest pause between two attempts to reach the database.
const MAX_PAUSE: Duration = Duration::from_secs(10);

impl ControlPlane {
    /// Serves these definitions, and Namespaces, Events, Leases, `ConfigMaps` and Secrets, out of this store.
    ///
    /// A database that does not answer is no error: requests are refused with 503 until it does, for as long as it
    /// takes, and [`ready`](Self::ready) says so.
    pub async fn open(
        location: Location,
        definitions: Vec<CustomResourceDefinition>,
        options: Options,
    ) -> Result<Self, OpenError> {
        let kinds = Kinds::new(&definitions)?;
        let shown = location.to_string();
        let refused = |closed: Closed| OpenError::Store { store: shown.clone(), cause: closed.to_string() };
        let store = Store::new(location).map_err(refused)?;
        let prepared = match store.prepare().await {
            Err(Closed::Away(why)) => {
                tracing::warn!(store = shown, why, "the database is not available; trying again until it is");
                false
            }
            Err(closed) => return Err(refused(closed)),
            Ok(()) => true,
        };
        let stop = CancellationToken::new();
        let tail = Tail::new(store.clone());
        let api = Arc::new(Api::new(store, tail, kinds, options, stop.clone()));
        let plane = Self { api, tasks: TaskTracker::new(), stop };
        let settled = prepared && plane.settle_in().await.is_ok();
        plane.start(prepared, settled);
        Ok(plane)
    }

    /// What must be there before anything else.
    async fn settle_in(&self) -> Result<(), ApiError> {
        self.api.tail.catch_up().await;
        rest::namespace::ensure(&self.api).await?;
        revalidate::run(&self.api).await
    }

    fn start(&self, prepared: bool, settled: bool) {
        let plane = self.clone();
        self.tasks.spawn(async move {
            let work = async {
                if !prepared {
                    plane.prepare_until_done().await;
                }
                let settling = async {
                    if !settled {
                        plane.settle_in_until_done().await;
                    }
                };
                tokio::join!(
                    plane.api.tail.follow(),
                    settling,
                    collect::run(&plane.api),
                    compaction::run(&plane.api),
                    rest::namespace::empty_terminating(&plane.api),
                );
            };
            // Every one of these can be stopped anywhere: what is half done is found again.
            Box::pin(plane.stop.run_until_cancelled(work)).await;
        });
        self.tasks.close();
    }

    async fn settle_in_until_done(&self) {
        loop {
            self.api.store.health().wait().await;
            match self.settle_in().await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "the control plane could not be set up yet"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn prepare_until_done(&self) {
        let mut pause = Duration::from_millis(200);
        while let Err(closed) = self.api.store.prepare().await {
            tracing::debug!(why = %closed, "the database is still not available");
            self.api.store.health().down(&closed.to_string());
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// The API as an axum router, for an HTTP server. Requests without an [`Identity`](crate::Identity) extension are
    /// those of this process: whoever serves others has to insert one.
    pub fn router(&self) -> Router {
        rest::router(Arc::clone(&self.api))
    }

    /// A client in this process.
    pub fn client(&self, default_namespace: &str) -> kube::Client {
        kube::Client::new(self.router(), default_namespace)
    }

    /// The kinds that are served.
    pub fn kinds(&self) -> &Kinds {
        &self.api.kinds
    }

    /// Whether the database answers. Never waits.
    pub fn ready(&self) -> Result<(), NotReady> {
        self.api.store.health().get()
    }

    /// Returns once the database answers.
    pub async fn wait_ready(&self) {
        self.api.store.health().wait().await;
    }

    /// Forgets the history of changes now, as happens by and by anyway: watches that are behind begin again.
    pub async fn compact(&self) -> Result<(), NotReady> {
        let done = self.api.store.compact(i64::MAX, i64::MAX, i64::MAX).await;
        done.map(drop).map_err(|error| NotReady(error.to_string()))
    }

    /// Ends watches and background tasks, waits for writes under way, and closes the database.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
        self.api.store.close().await;
    }
}
