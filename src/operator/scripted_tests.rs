//! An API server for tests: it gives the answers it was told, in that order, and remembers what it was asked.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::ready;
use std::sync::{Arc, Mutex};

use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// What was asked: method and path.
pub(crate) type Asked = Arc<Mutex<Vec<String>>>;

/// A client of a server that answers so. What is asked beyond that is an error of the server.
pub(crate) fn client(answers: impl IntoIterator<Item = (u16, Value)>) -> (Client, Asked) {
    let asked = Asked::default();
    let answers = Mutex::new(answers.into_iter().collect::<VecDeque<_>>());
    let noted = Arc::clone(&asked);
    let service = tower::service_fn(move |request: http::Request<Body>| {
        noted.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
        let next = answers.lock().unwrap().pop_front();
        let (status, body) = next.unwrap_or_else(|| refused(500, "InternalError", "nothing is left to say"));
        let answer = http::Response::builder()
            .status(status)
            .header("content-type", "application/json")
            .body(Body::from(body.to_string().into_bytes()));
        ready(Ok::<_, Infallible>(answer.unwrap()))
    });
    (Client::new(service, "default"), asked)
}

/// A refusal as an API server says it.
pub(crate) fn refused(code: u16, reason: &str, message: &str) -> (u16, Value) {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message,
    });
    (code, body)
}
