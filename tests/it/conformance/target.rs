//! The API servers, and a place in each that a test has for itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;
use kube::{Api, Client, Config};
use serde_json::json;
use tagwarden_api::API_VERSION;
use tagwarden_apiserver::http::{Exposure, Limits, Settings, Tls};
use tagwarden_apiserver::{ControlPlane, Location, Options};
use tagwarden_testbed::kubernetes::kubectl_with;
use tagwarden_testbed::{Kubernetes, Testbed};
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

const TOKEN: &str = "token-of-an-admin";
/// Its SHA-256.
const TOKEN_DIGEST: &str = "4d7146fd4925de0ee14cde707c64fd4df1bc994c22799d64ef69cdad1939213d";

/// An API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The embedded control plane, in this process, on SQLite.
    Embedded,
    /// The same over HTTP.
    EmbeddedHttp,
    /// The embedded control plane, in this process, on PostgreSQL.
    EmbeddedPostgres,
    /// kube-apiserver with etcd.
    Real,
}

/// A namespace of its own in an API server.
#[derive(Clone)]
pub struct Site {
    /// Which server it is.
    pub target: Target,
    /// Sends nothing twice: what a server answers is what is looked at.
    pub client: Client,
    /// Where nobody else is.
    pub namespace: String,
    server: Server,
}

#[derive(Clone)]
enum Server {
    Embedded(ControlPlane),
    /// With the directory of its token file and its kubeconfig.
    EmbeddedHttp(ControlPlane, Arc<TempDir>),
    Real(&'static Kubernetes),
    /// A real one that no other test uses.
    Own(Arc<Kubernetes>),
}

impl Site {
    /// A fresh namespace on this server.
    pub async fn on(target: Target) -> Self {
        let (client, server) = match target {
            Target::Real => {
                let server = Testbed::kubernetes();
                (real_client(server).await, Server::Real(server))
            }
            Target::Embedded => embedded(Location::memory()).await,
            Target::EmbeddedHttp => embedded_over_http().await,
            Target::EmbeddedPostgres => {
                let url = Testbed::postgres().fresh_database().expect("a database");
                embedded(url.parse().expect("a location")).await
            }
        };
        let site = Self { target, client, namespace: String::new(), server };
        site.beside().await
    }

    /// A fresh namespace on a real server that no other test uses, so that it may be restarted.
    pub async fn on_its_own() -> Self {
        let started = tokio::task::spawn_blocking(Kubernetes::start).await.expect("a thread");
        let server = Arc::new(started.expect("a server"));
        let client = real_client(&server).await;
        let site =
            Self { target: Target::Real, client, namespace: String::new(), server: Server::Own(server) };
        site.beside().await
    }

    /// Has the API server of its own forget its history, and kills and starts it.
    ///
    /// # Panics
    /// For servers that others use, too.
    pub async fn restart_compacted(&self) {
        let Server::Own(server) = &self.server else { panic!("others use this server, too") };
        let server = Arc::clone(server);
        let restarted = tokio::task::spawn_blocking(move || server.compact().and_then(|()| server.restart()));
        restarted.await.expect("a thread").expect("a restart");
    }

    /// Another fresh namespace on the same server.
    pub async fn beside(&self) -> Self {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let wanted = Namespace {
            metadata: kube::api::ObjectMeta {
                generate_name: Some("conformance-".to_owned()),
                ..Default::default()
            },
            ..Default::default()
        };
        let made = api.create(&PostParams::default(), &wanted).await.expect("a namespace");
        Self { namespace: made.metadata.name.expect("a generated name"), ..self.clone() }
    }

    /// Has the server forget all versions but the newest.
    pub async fn compact(&self) {
        match &self.server {
            Server::Embedded(plane) | Server::EmbeddedHttp(plane, _) => {
                plane.compact().await.expect("compacted");
            }
            Server::Own(server) => server.compact().expect("compacted"),
            Server::Real(server) => server.compact().expect("compacted"),
        }
    }

    /// The kubeconfig of an administrator.
    ///
    /// # Panics
    /// For servers that do not listen.
    pub fn kubeconfig(&self) -> PathBuf {
        match &self.server {
            Server::Own(server) => server.kubeconfig(),
            Server::Real(server) => server.kubeconfig(),
            Server::EmbeddedHttp(_, directory) => directory.path().join("kubeconfig"),
            Server::Embedded(_) => panic!("nobody can reach the plane of this process"),
        }
    }

    /// kubectl of the server's own version as an administrator, in this namespace.
    ///
    /// # Panics
    /// For servers that do not listen.
    pub fn kubectl(&self) -> std::process::Command {
        let mut command = match &self.server {
            Server::Own(server) => server.kubectl(),
            Server::Real(server) => server.kubectl(),
            Server::EmbeddedHttp(_, directory) => {
                let command = kubectl_with(&directory.path().join("kubeconfig"), directory.path());
                command.expect("kubectl is built")
            }
            Server::Embedded(_) => panic!("nobody can reach the plane of this process"),
        };
        command.args(["--namespace", &self.namespace]);
        command
    }

    /// The objects of a kind in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

async fn plane(location: Location) -> ControlPlane {
    let opened = ControlPlane::open(location, tagwarden_api::crds(), Options::new("default")).await;
    opened.expect("a control plane")
}

async fn embedded(location: Location) -> (Client, Server) {
    let plane = plane(location).await;
    (plane.client("default"), Server::Embedded(plane))
}

async fn embedded_over_http() -> (Client, Server) {
    let plane = plane(Location::memory()).await;
    let directory = tempfile::tempdir().expect("a directory");
    let tokens = directory.path().join("tokens");
    std::fs::write(&tokens, format!("sha256:{TOKEN_DIGEST}:admin:admin\n")).expect("a token file");
    let settings = Settings {
        address: ([127, 0, 0, 1], 0).into(),
        tls: Tls::SelfSigned(directory.path().to_owned()),
        tokens,
        // The suite asks more in a second than people do in an hour.
        limits: Limits { requests_per_second: 100_000, burst: 100_000, ..Limits::default() },
    };
    let exposure = Exposure::bind(settings, plane.kinds().clone(), plane.router()).await.expect("a listener");
    let kubeconfig = directory.path().join("kubeconfig");
    let server = format!("https://{}", exposure.address());
    let certificate = directory.path().join("api.crt");
    let text = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "plane", "cluster": {"server": server, "certificate-authority": certificate}}],
        "users": [{"name": "plane", "user": {"token": TOKEN}}],
        "contexts": [{"name": "plane", "context": {"cluster": "plane", "user": "plane"}}],
        "current-context": "plane",
    });
    std::fs::write(&kubeconfig, text.to_string()).expect("a kubeconfig");
    tokio::spawn(exposure.run(CancellationToken::new()));
    (client(&kubeconfig).await, Server::EmbeddedHttp(plane, Arc::new(directory)))
}

/// Sends nothing twice.
async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("a config");
    config.default_retry = false;
    Client::try_from(config).expect("a client")
}

/// An administrator of a real server that knows our kinds.
pub async fn real_client(server: &Kubernetes) -> Client {
    static DEFINED: Mutex<BTreeSet<PathBuf>> = Mutex::const_new(BTreeSet::new());
    let client = client(&server.kubeconfig()).await;
    // Held while defining: the others wait until it is done.
    let mut defined = DEFINED.lock().await;
    if defined.insert(server.kubeconfig()) {
        define(&client).await;
    }
    client
}

/// Creates our kinds, and waits until they are served and documented.
async fn define(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let crds = tagwarden_api::crds();
    for crd in &crds {
        api.create(&PostParams::default(), crd).await.expect("the real API server takes the definition");
    }
    for crd in &crds {
        let name = crd.metadata.name.as_deref().expect("a name");
        let established = await_condition(api.clone(), name, is_crd_established());
        tokio::time::timeout(Duration::from_secs(30), established)
            .await
            .expect("established in time")
            .expect("a watch");
    }
    // Until its cache is filled, a kind answers 429.
    let listed = crds.iter().map(|crd| format!("/apis/tagwarden.io/v1alpha1/{}", crd.spec.names.plural));
    for path in listed {
        until(|| async { text(client, &path).await.is_ok() }).await;
    }
    until(|| async { text(client, "/openapi/v3").await.is_ok_and(|index| index.contains(API_VERSION)) })
        .await;
}

async fn text(client: &Client, path: &str) -> kube::Result<String> {
    client.request_text(axum::http::Request::get(path).body(Vec::new()).expect("a request")).await
}

/// Asks again and again until something holds.
async fn until<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    let asking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking).await.expect("it holds in time");
}
