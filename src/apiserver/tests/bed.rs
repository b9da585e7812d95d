//! What the tests share: planes over each kind of database, and requests to them.

use std::time::Duration;

use http_body_util::BodyExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use serde_json::{Value, json};
use tagwarden_testbed::Testbed;
use tempfile::TempDir;

use crate::{ControlPlane, Location, Options};

/// A plane, and what must live as long as it.
pub(super) struct Bed {
    pub(super) plane: ControlPlane,
    pub(super) client: Client,
    pub(super) location: Location,
    _directory: Option<TempDir>,
}

/// Where a plane may keep its objects.
#[derive(Clone, Copy, Debug)]
pub(super) enum On {
    Memory,
    File,
    Postgres,
}

impl On {
    pub(super) const ALL: [Self; 3] = [Self::Memory, Self::File, Self::Postgres];
}

pub(super) async fn bed(on: On) -> Bed {
    bed_with(on, Options::new("default")).await
}

pub(super) async fn bed_with(on: On, options: Options) -> Bed {
    let (location, directory) = match on {
        On::Memory => (Location::memory(), None),
        On::File => {
            let directory = tempfile::tempdir().unwrap();
            (Location::sqlite(directory.path().join("plane.db")), Some(directory))
        }
        On::Postgres => {
            let url = tokio::task::spawn_blocking(|| Testbed::postgres().fresh_database().unwrap());
            (url.await.unwrap().parse().unwrap(), None)
        }
    };
    let plane = open(&location, options).await;
    Bed { client: plane.client("default"), plane, location, _directory: directory }
}

pub(super) async fn open(location: &Location, options: Options) -> ControlPlane {
    ControlPlane::open(location.clone(), vec![widgets()], options).await.unwrap()
}

/// A definition with everything that matters here: defaults, bounds, rules, a status, a field to select by.
pub(super) fn widgets() -> CustomResourceDefinition {
    let version = json!({
        "name": "v1", "served": true, "storage": true,
        "subresources": { "status": {} },
        "selectableFields": [{ "jsonPath": ".spec.mode" }],
        "additionalPrinterColumns": [{ "name": "Size", "type": "integer", "jsonPath": ".spec.size" }],
        "schema": { "openAPIV3Schema": {
            "type": "object", "required": ["spec"],
            "properties": {
                "spec": {
                    "type": "object", "required": ["size"],
                    "properties": {
                        "size": { "type": "integer", "minimum": 0, "maximum": 1000 },
                        "mode": { "type": "string", "enum": ["Soft", "Hard"], "default": "Soft" },
                        "account": { "type": "string", "maxLength": 12 },
                    },
                    "x-kubernetes-validations": [{
                        "rule": "!has(oldSelf.account) || (has(self.account) && self.account == oldSelf.account)",
                        "message": "account is immutable",
                    }],
                },
                "status": {
                    "type": "object", "default": { "observedGeneration": -1 },
                    "properties": {
                        "observedGeneration": { "type": "integer" },
                        "phase": { "type": "string", "maxLength": 64 },
                    },
                },
            },
        }},
    });
    serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "widgets.test.tagwarden.io" },
        "spec": {
            "group": "test.tagwarden.io", "scope": "Namespaced", "versions": [version],
            "names": { "kind": "Widget", "listKind": "WidgetList", "plural": "widgets", "singular": "widget" },
        },
    }))
    .unwrap()
}

/// An object of it that is valid.
pub(super) fn widget(name: &str) -> Value {
    json!({
        "apiVersion": "test.tagwarden.io/v1", "kind": "Widget",
        "metadata": { "name": name, "namespace": "default" },
        "spec": { "size": 1 },
    })
}

/// Where widgets are.
pub(super) const WIDGETS: &str = "/apis/test.tagwarden.io/v1/namespaces/default/widgets";

/// Where config maps are.
pub(super) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// The answer to a request, whatever it is: code and body.
pub(super) async fn ask(client: &Client, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let content_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    ask_as(client, method, path, content_type, body.to_string()).await
}

pub(super) async fn ask_as(
    client: &Client,
    method: &str,
    path: &str,
    content_type: &str,
    body: String,
) -> (u16, Value) {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content_type)
        .header("accept", "application/json")
        .body(kube::client::Body::from(body.into_bytes()))
        .unwrap();
    let response = client.send(request).await.unwrap();
    let code = response.status().as_u16();
    let bytes = response.into_body().collect_bytes().await.unwrap();
    let value = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
    (code, value)
}

pub(super) async fn get(client: &Client, path: &str) -> (u16, Value) {
    ask_as(client, "GET", path, "application/json", String::new()).await
}

/// A watch as it comes over the wire.
pub(super) struct Watched {
    body: kube::client::Body,
    rest: String,
}

pub(super) async fn watch(client: &Client, path: &str) -> Watched {
    watch_as(client, path, "application/json").await
}

pub(super) async fn watch_as(client: &Client, path: &str, accept: &str) -> Watched {
    let request = http::Request::builder()
        .uri(path)
        .header("accept", accept)
        .body(kube::client::Body::empty())
        .unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(response.status().as_u16(), 200, "{path}");
    Watched { body: response.into_body(), rest: String::new() }
}

impl Watched {
    /// The next event; `None` when the watch has ended.
    pub(super) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((line, rest)) = self.rest.split_once('\n') {
                let event = serde_json::from_str(line).unwrap();
                self.rest = rest.to_owned();
                return Some(event);
            }
            let frame = within(self.body.frame()).await?.unwrap();
            self.rest.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    }

    /// The next event's type and its object's name.
    pub(super) async fn next_short(&mut self) -> (String, String) {
        let event = self.next().await.expect("the watch goes on");
        let text =
            |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        (text("/type"), text("/object/metadata/name"))
    }
}

pub(super) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it takes too long")
}

/// Waits until something is so.
pub(super) async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

const PATIENCE: Duration = Duration::from_secs(30);
