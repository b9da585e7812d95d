//! What a controller builds on: one test for each rule and target. The real server proves the assertions themselves.

mod access;
mod lists;
mod outages;
mod refusals;
mod versions;
mod watches;
mod writes;

use axum::http::{Method, Request, header};
use kube::client::Body;
use serde_json::{Value, json};

use super::reply::{Reply, send};
use super::target::Site;

/// Runs each of these functions as a test of its own on every target.
macro_rules! on_every_target {
    ($($rule:ident),+ $(,)?) => {
        mod in_process {
            $crate::conformance::rules::on_target!(Embedded: $($rule),+);
        }
        mod over_http {
            $crate::conformance::rules::on_target!(EmbeddedHttp: $($rule),+);
        }
        mod on_postgres {
            $crate::conformance::rules::on_target!(EmbeddedPostgres: $($rule),+);
        }
        mod real {
            $crate::conformance::rules::on_target!(Real: $($rule),+);
        }
    };
}
use on_every_target;

macro_rules! on_target {
    ($target:ident: $($rule:ident),+) => {
        use $crate::conformance::target::{Site, Target};
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $rule() {
            super::$rule(Site::on(Target::$target).await).await;
        })+
    };
}
use on_target;

impl Site {
    /// The path of a kind of ours in the namespace.
    fn path(&self, plural: &str) -> String {
        format!("/apis/tagwarden.io/v1alpha1/namespaces/{}/{plural}", self.namespace)
    }

    fn configmaps(&self) -> String {
        format!("/api/v1/namespaces/{}/configmaps", self.namespace)
    }

    async fn ask(&self, method: Method, path: &str, content_type: &str, body: Option<&Value>) -> Reply {
        let mut request =
            Request::builder().method(method).uri(path).header(header::ACCEPT, "application/json");
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let bytes = body.map(ToString::to_string).unwrap_or_default().into_bytes();
        send(&self.client, request.body(Body::from(bytes)).expect("a request"), None)
            .await
            .expect("an answer")
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask(Method::GET, path, "", None).await
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask(Method::POST, path, "application/json", Some(body)).await
    }

    async fn put(&self, path: &str, body: &Value) -> Reply {
        self.ask(Method::PUT, path, "application/json", Some(body)).await
    }

    async fn merge(&self, path: &str, body: &Value) -> Reply {
        self.ask(Method::PATCH, path, "application/merge-patch+json", Some(body)).await
    }

    async fn delete(&self, path: &str, options: Option<&Value>) -> Reply {
        self.ask(Method::DELETE, path, "application/json", options).await
    }

    /// So many events of a watch, or fewer when it ends by itself.
    async fn watch(&self, path: &str, version: &str, query: &str, events: usize) -> Reply {
        let uri = format!("{path}?watch=1&resourceVersion={version}{query}");
        let request = Request::get(uri).header(header::ACCEPT, "application/json");
        send(&self.client, request.body(Body::empty()).expect("a request"), Some(events))
            .await
            .expect("events")
    }

    /// Creates an account of this name, and gives the object.
    async fn account(&self, name: &str) -> Value {
        made(self.post(&self.path("clientaccounts"), &account(name)).await)
    }
}

/// An account.
fn account(name: &str) -> Value {
    json!({
        "apiVersion": "tagwarden.io/v1alpha1",
        "kind": "ClientAccount",
        "metadata": {"name": name},
        "spec": {"accountId": "111122223333", "auth": {"mode": "Ambient"}},
    })
}

fn configmap(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": value}})
}

#[track_caller]
fn made(reply: Reply) -> Value {
    assert!((200..300).contains(&reply.code), "{reply:?}");
    reply.body
}

/// The version of an object or a list.
fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().expect("a version").to_owned()
}

/// For what no client may do, but a test of monotony has to.
fn number(object: &Value) -> u64 {
    version(object).parse().expect("servers count")
}

/// A refusal: its code, its reason, and the reason and field of each cause.
#[track_caller]
fn refused(reply: &Reply, code: u16, reason: &str, causes: &[(&str, &str)]) {
    let found: Vec<(&str, &str)> = reply.body["details"]["causes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|cause| cause["field"] != "<nil>")
        .map(|cause| {
            (cause["reason"].as_str().unwrap_or_default(), cause["field"].as_str().unwrap_or_default())
        })
        .collect();
    let seen = (reply.code, reply.body["reason"].as_str().unwrap_or_default(), found.as_slice());
    assert_eq!(seen, (code, reason, causes), "{reply:?}");
    assert_eq!(
        (&reply.body["kind"], &reply.body["status"]),
        (&json!("Status"), &json!("Failure")),
        "{reply:?}"
    );
    assert_eq!(reply.body["code"], code, "{reply:?}");
    assert!(reply.body["message"].as_str().is_some_and(|text| !text.is_empty()), "{reply:?}");
}
