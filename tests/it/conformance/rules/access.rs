//! The embedded plane behind its door: who comes in, what each role may do, and what becomes of a watch when the process
//! behind it is another one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use axum::http::Method;
use futures_util::{Stream, StreamExt};
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tagwarden_api::account::ClientAccount;
use tagwarden_apiserver::http::{Exposure, Limits, Settings, Tls};
use tagwarden_apiserver::{ControlPlane, Location, Options};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{account, configmap};
use crate::conformance::reply::{Reply, send};

const ROLES: [&str; 3] = ["view", "edit", "admin"];
const OURS: &str = "/apis/tagwarden.io/v1alpha1/namespaces/default/clientaccounts";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const NAMESPACES: &str = "/api/v1/namespaces";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

/// No step takes longer.
const WITHIN: Duration = Duration::from_mins(1);

/// A plane on a file, served at an address. Each role is a token.
struct House {
    directory: TempDir,
    plane: ControlPlane,
    address: SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl House {
    async fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let digest =
            |role: &str| Sha256::digest(role).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let lines = ROLES.map(|role| format!("sha256:{}:{role}:{role}\n", digest(role)));
        std::fs::write(directory.path().join("tokens"), lines.concat()).unwrap();
        Self::at(directory, ([127, 0, 0, 1], 0).into()).await
    }

    async fn at(directory: TempDir, address: SocketAddr) -> Self {
        let plane = plane(&directory).await;
        let settings = Settings {
            address,
            tls: Tls::SelfSigned(directory.path().to_owned()),
            tokens: directory.path().join("tokens"),
            limits: Limits::default(),
        };
        let exposure = Exposure::bind(settings, plane.kinds().clone(), plane.router()).await.unwrap();
        let (address, stop) = (exposure.address(), CancellationToken::new());
        let served = tokio::spawn(exposure.run(stop.clone()));
        Self { directory, plane, address, stop, served }
    }

    async fn close(self) -> (TempDir, SocketAddr) {
        self.plane.shutdown().await;
        self.stop.cancel();
        self.served.await.unwrap();
        (self.directory, self.address)
    }

    /// With this token; none when it is empty.
    fn client(&self, token: &str) -> Client {
        let mut config = Config::new(format!("https://{}", self.address).parse().unwrap());
        config.root_cert_file = Some(self.certificate());
        config.default_retry = false;
        if !token.is_empty() {
            config.auth_info = serde_json::from_value(json!({ "token": token })).unwrap();
        }
        Client::try_from(config).unwrap()
    }

    fn certificate(&self) -> PathBuf {
        self.directory.path().join("api.crt")
    }
}

async fn plane(directory: &TempDir) -> ControlPlane {
    let location = Location::sqlite(directory.path().join("plane.db"));
    ControlPlane::open(location, tagwarden_api::crds(), Options::new("default")).await.unwrap()
}

async fn rename(client: &Client, name: &str) {
    let api: Api<ClientAccount> = Api::namespaced(client.clone(), "default");
    let patch = Patch::Merge(json!({ "spec": { "displayName": name } }));
    api.patch("one", &PatchParams::default(), &patch).await.unwrap();
}

async fn ask(client: &Client, method: Method, path: &str, body: &Value) -> Reply {
    let content_type = match method {
        Method::PATCH => "application/merge-patch+json",
        _ => "application/json",
    };
    let request =
        axum::http::Request::builder().method(method).uri(path).header("content-type", content_type);
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let events = path.contains("watch=").then_some(1);
    send(client, request.body(kube::client::Body::from(body)).unwrap(), events).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_known_stays_outside() {
    let house = House::open().await;
    for token in ["", "nobody", "View"] {
        let client = house.client(token);
        for path in [OURS, "/apis", "/version", "/nowhere"] {
            let reply = ask(&client, Method::GET, path, &Value::Null).await;
            assert_eq!((reply.code, &reply.body["reason"]), (401, &json!("Unauthorized")), "{token} {path}");
        }
        let reply = ask(&client, Method::POST, OURS, &account("one")).await;
        assert_eq!(reply.code, 401, "{token}: {reply:?}");
    }
    let list = ask(&house.client("view"), Method::GET, OURS, &Value::Null).await;
    assert_eq!((list.code, &list.body["items"]), (200, &json!([])), "and nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_do_so_much() {
    let house = House::open().await;
    let nothing = &Value::Null;
    let lease =
        json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "one" } });
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "team" } });
    let renamed = json!({ "spec": { "displayName": "One" } });
    let status = json!({ "status": { "callerArn": "arn" } });
    // Method, path, body, and what it is answered to view, edit and admin, in this order.
    let steps: [(Method, String, &Value, [u16; 3]); 17] = [
        (Method::POST, OURS.to_owned(), &account("one"), [403, 201, 409]),
        (Method::GET, OURS.to_owned(), nothing, [200, 200, 200]),
        (Method::GET, format!("{OURS}/one"), nothing, [200, 200, 200]),
        (Method::GET, format!("{OURS}?watch=1"), nothing, [200, 200, 200]),
        (Method::PUT, format!("{OURS}/one"), &account("one"), [403, 422, 422]),
        (Method::PATCH, format!("{OURS}/one"), &renamed, [403, 200, 200]),
        (Method::PATCH, format!("{OURS}/one/status"), &status, [403, 403, 200]),
        (Method::POST, MAPS.to_owned(), &configmap("one", "a"), [403, 201, 409]),
        (Method::GET, LEASES.to_owned(), nothing, [200, 200, 200]),
        (Method::POST, LEASES.to_owned(), &lease, [403, 403, 201]),
        (Method::DELETE, format!("{LEASES}/one"), nothing, [403, 403, 200]),
        (Method::GET, NAMESPACES.to_owned(), nothing, [200, 200, 200]),
        (Method::POST, NAMESPACES.to_owned(), &namespace, [403, 403, 201]),
        (Method::DELETE, format!("{NAMESPACES}/team"), nothing, [403, 403, 200]),
        (Method::DELETE, format!("{OURS}/one"), nothing, [403, 200, 404]),
        (Method::DELETE, MAPS.to_owned(), nothing, [403, 200, 200]),
        // Nobody hears of Secrets, whoever they are.
        (Method::GET, MAPS.replace("configmaps", "secrets"), nothing, [404, 404, 404]),
    ];
    let clients = ROLES.map(|role| house.client(role));
    for (method, path, body, codes) in steps {
        for ((role, client), wanted) in ROLES.iter().zip(&clients).zip(codes) {
            let reply = ask(client, method.clone(), &path, body).await;
            assert_eq!(reply.code, wanted, "{role} {method} {path}: {reply:?}");
            if wanted == 403 {
                let message = reply.body["message"].as_str().unwrap();
                assert!(message.contains(&format!("User \"{role}\" cannot ")), "{message}");
            }
        }
    }
}

type Watched = Result<watcher::Event<ClientAccount>, watcher::Error>;

/// The names that an account has next, and how often all were listed anew before, until it has this one.
async fn until_named(events: &mut (impl Stream<Item = Watched> + Unpin), last: &str) -> (Vec<String>, usize) {
    let (mut names, mut lists) = (Vec::new(), 0);
    let watching = async {
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init) => lists += 1,
                Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                    names.push(object.spec.display_name.clone().unwrap_or_else(|| object.name_any()));
                    if names.last().is_some_and(|name| name == last) {
                        return;
                    }
                }
                // Nobody serves while the process is exchanged.
                Ok(_) | Err(_) => {}
            }
        }
    };
    tokio::time::timeout(WITHIN, watching).await.expect("seen in time");
    (names, lists)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_with_the_next_process() {
    let house = House::open().await;
    let client = house.client("edit");
    assert_eq!(ask(&client, Method::POST, OURS, &account("one")).await.code, 201);
    let api: Api<ClientAccount> = Api::namespaced(client.clone(), "default");
    let mut events = pin!(watcher(api, watcher::Config::default()).default_backoff());
    assert_eq!(until_named(&mut events, "one").await, (vec!["one".to_owned()], 1));
    rename(&client, "First").await;
    until_named(&mut events, "First").await;
    // What is written before the watch is back comes from the log that the process before has left.
    rename(&client, "Second").await;
    let (directory, address) = house.close().await;
    let house = House::at(directory, address).await;
    rename(&house.client("edit"), "Third").await;
    let (names, lists) = until_named(&mut events, "Third").await;
    assert_eq!((names, lists), (vec!["Second".to_owned(), "Third".to_owned()], 0), "it went on where it was");
    // When the log does not reach back, it begins again.
    let (directory, address) = house.close().await;
    let unseen = plane(&directory).await;
    rename(&unseen.client("default"), "Fourth").await;
    unseen.compact().await.unwrap();
    unseen.shutdown().await;
    let house = House::at(directory, address).await;
    assert_eq!(until_named(&mut events, "Fourth").await, (vec!["Fourth".to_owned()], 1));
    let old = format!("{OURS}?watch=1&resourceVersion=2");
    let told = ask(&house.client("view"), Method::GET, &old, &Value::Null).await;
    assert_eq!(told.body[0]["object"]["code"], 410);
}
