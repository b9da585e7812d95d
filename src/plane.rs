//! The control plane that this process works with: its own, or a cluster's.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::client::ClientBuilder;
use kube::{Client, Config};
use tagwarden_apiserver::{ControlPlane, OpenError, Options};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::Layer as _;

use crate::connection;
use crate::counted::Counting;
use crate::settings::{self, Settings};

/// How often a cluster is asked whether it answers.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Why there is no control plane, and waiting would not help.
#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    /// The embedded one cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Another process works with the file.
    #[error("the store is in use: another `tagwarden run` or `tagwarden mcp` holds `{}`: ask that one over HTTP, or stop it; several replicas need PostgreSQL", .0.display())]
    InUse(PathBuf),
    /// The file that says so cannot be made.
    #[error("`{}` cannot be written", path.display())]
    Lock {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// Nowhere to put the file.
    #[error("the store `{}` cannot be created: there is no directory to put it in; create it first", .0.display())]
    NoDirectory(PathBuf),
    /// No way to the cluster.
    #[error("there is no way to a Kubernetes cluster: {0}; use --control-plane embedded to do without")]
    NoCluster(String),
}

/// Who else may work with the same SQLite file. With PostgreSQL and in a cluster several always may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody: nothing decides who works.
    Alone,
    /// Others that say the same: a Lease decides.
    Several,
}

/// See the module.
pub enum Plane {
    /// In this process.
    Embedded {
        plane: ControlPlane,
        counting: Counting,
        /// Held as long as the store is used.
        _lock: Option<File>,
    },
    /// A cluster's.
    Kubernetes { client: Client, answers: watch::Receiver<Result<(), String>> },
}

impl Plane {
    /// The control plane of these settings. One that does not answer yet is no error. `stop` ends what watches it.
    pub async fn open(
        settings: &Settings,
        counting: Counting,
        sharing: Sharing,
        stop: &CancellationToken,
    ) -> Result<Self, PlaneError> {
        match settings.control_plane {
            settings::ControlPlane::Embedded => {
                let lock = settings.store.file().map(|file| lock(file, sharing)).transpose()?;
                let mut options = Options::new(settings.namespace.as_str());
                for namespace in &settings.watch_namespaces {
                    if !options.namespaces.iter().any(|name| name == namespace.as_str()) {
                        options.namespaces.push(namespace.as_str().to_owned());
                    }
                }
                let location = settings.store.location().clone();
                let plane = ControlPlane::open(location, tagwarden_api::crds(), options).await?;
                Ok(Self::Embedded { plane, counting, _lock: lock })
            }
            settings::ControlPlane::Kubernetes => {
                let config = Config::infer()
                    .await
                    .map_err(|error| PlaneError::NoCluster(connection::nowhere(&error)))?;
                let client = ClientBuilder::try_from(config)
                    .map_err(|error| PlaneError::NoCluster(error.to_string()))?
                    .with_layer(&counting)
                    .build();
                let (sender, answers) = watch::channel(Err("the cluster was not asked yet".to_owned()));
                tokio::spawn(stop.clone().run_until_cancelled_owned(ask(client.clone(), sender)));
                Ok(Self::Kubernetes { client, answers })
            }
        }
    }

    /// A client of it.
    pub fn client(&self, namespace: &str) -> Client {
        match self {
            Self::Embedded { plane, counting, .. } => Client::new(counting.layer(plane.router()), namespace),
            Self::Kubernetes { client, .. } => client.clone(),
        }
    }

    /// Whether it answers. Never waits.
    pub fn ready(&self) -> Result<(), String> {
        match self {
            Self::Embedded { plane, .. } => plane.ready().map_err(|error| error.to_string()),
            Self::Kubernetes { answers, .. } => answers.borrow().clone(),
        }
    }

    /// The embedded one.
    pub fn embedded(&self) -> Option<&ControlPlane> {
        match self {
            Self::Embedded { plane, .. } => Some(plane),
            Self::Kubernetes { .. } => None,
        }
    }

    /// Ends it.
    pub async fn shutdown(&self) {
        if let Self::Embedded { plane, .. } = self {
            plane.shutdown().await;
        }
    }
}

/// Two processes on one file would both act on every object. A lock goes with its process, however that ends.
fn lock(store: &Path, sharing: Sharing) -> Result<File, PlaneError> {
    let mut path = store.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let file = match File::options().create(true).truncate(false).write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(PlaneError::NoDirectory(store.to_owned()));
        }
        Err(source) => return Err(PlaneError::Lock { path, source }),
    };
    let locked = match sharing {
        Sharing::Alone => file.try_lock(),
        Sharing::Several => file.try_lock_shared(),
    };
    match locked {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(PlaneError::InUse(store.to_owned())),
        // Some network file systems have no locks. One process is what they are used with.
        Err(TryLockError::Error(error)) => {
            tracing::warn!(%error, "nothing keeps a second process from using the store");
            Ok(file)
        }
    }
}

/// Asks the cluster again and again whether it answers, and whether it knows our kinds.
async fn ask(client: Client, answers: watch::Sender<Result<(), String>>) {
    loop {
        let answer =
            match timeout(ANSWER_WITHIN, client.list_api_group_resources(tagwarden_api::API_VERSION)).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(kube::Error::Api(status))) if status.code == 404 => Err(format!(
                    "the cluster does not know {}: apply what `tagwarden crds` prints",
                    tagwarden_api::API_VERSION
                )),
                Ok(Err(error)) => Err(format!("the cluster does not answer: {error}")),
                Err(_) => Err("the cluster does not answer in time".to_owned()),
            };
        answers.send_if_modified(|known| {
            let changed = *known != answer;
            if changed {
                match &answer {
                    Ok(()) => tracing::info!("the cluster answers"),
                    Err(why) => tracing::warn!("{why}"),
                }
                *known = answer;
            }
            changed
        });
        sleep(ASK_EVERY).await;
    }
}
