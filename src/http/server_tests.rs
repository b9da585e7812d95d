//! The gate, request by request: who comes in, what everybody is told, and what ends.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Mutex;

use axum::body::{Body, Bytes};
use futures_util::StreamExt as _;
use http::StatusCode;
use http_body_util::BodyExt as _;
use tagwarden_app::ask::{Principal, Scope};
use tagwarden_app::keys::{KeyRecord, KeysError, NewKey};
use tagwarden_serve::Peer;
use tokio::task::JoinHandle;

use super::*;
use crate::health::HealthStatus;
use crate::{Fault, RequestId};

/// Keys that can be taken away.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Vec<KeyRecord>>>);

impl Keys for Fake {
    async fn valid(&self, _: Timestamp) -> Result<Vec<KeyRecord>, KeysError> {
        Ok(self.0.lock().unwrap().clone())
    }

    async fn used(&self, _: &[(String, Timestamp)]) -> Result<(), KeysError> {
        Ok(())
    }
}

struct Open {
    router: Router,
    desk: Desk,
    keys: Fake,
    follow: Option<JoinHandle<()>>,
}

fn key(number: u8) -> (String, KeyRecord) {
    let new = NewKey::from_random(&[number; 38]);
    let record = KeyRecord {
        id: new.id.clone(),
        digest: new.digest,
        tenant: format!("tenant-{number}"),
        scopes: BTreeSet::from([Scope::TagRead]),
        note: None,
        created_at: Timestamp::UNIX_EPOCH,
        expires_at: None,
        revoked_at: None,
        used_at: None,
    };
    (format!("Bearer {}", new.expose()), record)
}

fn served() -> Router {
    Router::new()
        .route(
            "/who",
            get(async |request: Request| {
                let who = request.extensions().get::<Principal>().map(|who| who.tenant.to_string());
                let id = request.extensions().get::<RequestId>().map(|id| id.0.to_string());
                format!("{who:?} {id:?}")
            })
            .post(async |body: Bytes| body.len().to_string()),
        )
        .route(
            "/endless",
            get(async || {
                let first =
                    futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"first"))]);
                Body::from_stream(first.chain(futures_util::stream::pending()))
            }),
        )
        .fallback(async || Fault::no_route())
}

fn open(access: Access, limits: Limits) -> Open {
    let keys = Fake::default();
    keys.0.lock().unwrap().extend([key(1).1, key(2).1]);
    let demands = matches!(access, Access::Keys);
    let addresses = Addresses::new("127.0.0.1:0".parse().unwrap(), false, Vec::new(), Vec::new());
    let keyring = Keyring::new(Pace::default(), Timestamp::now);
    let gate = Arc::new(Gate::new(addresses, access, keyring, limits));
    let desk = Desk(Arc::new(Inside { gate, served: RwLock::default() }));
    let (sender, health) = watch::channel(Arc::new(Health {
        status: HealthStatus::Ok,
        version: "1".to_owned(),
        checks: Vec::new(),
        policy_source: "embedded".to_owned(),
        policies_synced_at: None,
        last_run_at: None,
        next_run_at: None,
        checked_at: "now".to_owned(),
    }));
    drop(sender);
    let router = router(&desk, health);
    desk.open(served());
    let follow = demands.then(|| {
        let (desk, keys) = (desk.clone(), keys.clone());
        tokio::spawn(async move { desk.follow(&keys).await })
    });
    Open { router, desk, keys, follow }
}

impl Open {
    async fn send(&self, line: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body.into()).unwrap();
        request.extensions_mut().insert(Peer::at(IpAddr::from([127, 0, 0, 1])));
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn ask(&self, line: &str, headers: &[(&str, &str)]) -> (StatusCode, String) {
        let response = self.send(line, headers, Body::empty()).await;
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(follow) = &self.follow {
            follow.abort();
        }
    }
}

#[tokio::test]
async fn a_key_opens_its_tenant_and_nothing_opens_without() {
    let open = open(Access::Keys, Limits::default());
    let (first, _) = key(1);
    let (status, text) = open.ask("GET /who", &[("authorization", &first), ("x-request-id", "a-1")]).await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.starts_with("Some(\"tenant-1\") Some(\"a-1."), "{text}");
    let lower = first.replace("Bearer", "bearer");
    assert_eq!(open.ask("GET /who", &[("authorization", &lower)]).await.0, StatusCode::OK);
    let (unknown, _) = key(9);
    for (headers, code, challenge) in [
        (&[][..], "unauthorized", "scope=\"tag:read\""),
        (&[("authorization", "Basic YTpi")], "unauthorized", "scope=\"tag:read\""),
        (&[("authorization", "Bearer nonsense")], "invalid_token", "error=\"invalid_token\""),
        (&[("authorization", &*unknown)], "invalid_token", "error=\"invalid_token\""),
        (&[("authorization", &*first), ("authorization", &*first)], "invalid_request", "invalid_request"),
    ] {
        for path in ["/who", "/nothing", "/v1/runs", "/mcp"] {
            let response = open.send(&format!("GET {path}"), headers, Body::empty()).await;
            if response.status() == StatusCode::TOO_MANY_REQUESTS {
                continue;
            }
            assert!(response.headers()["www-authenticate"].to_str().unwrap().contains(challenge), "{code}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["code"], code, "{headers:?}");
            assert!(body["message"].is_string() && body["fix"].is_string());
        }
    }
    assert_eq!(open.ask("GET /health", &[]).await.0, StatusCode::OK);
}

#[tokio::test]
async fn strangers_are_slowed_down_and_holders_of_keys_are_not() {
    let open = open(Access::Keys, Limits { refusals: 1, per_tenant: 1, ..Limits::default() });
    let mut seen = Vec::new();
    for _ in 0..12 {
        seen.push(open.ask("GET /who", &[]).await.0);
    }
    assert_eq!((seen[0], seen[11]), (StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS));
    let ((first, _), (second, _)) = (key(1), key(2));
    for _ in 0..3 {
        assert_eq!(open.ask("GET /who", &[("authorization", &first)]).await.0, StatusCode::OK);
    }
    let response = open.send("GET /who", &[("authorization", &first)], Body::empty()).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(response.headers().contains_key("retry-after"));
    let other = open.ask("GET /who", &[("authorization", &second)]).await;
    assert_eq!(other.0, StatusCode::OK, "each tenant has a pace of its own");
}

#[tokio::test]
async fn what_is_under_way_ends_with_its_key() {
    let open = open(Access::Keys, Limits::default());
    let (first, record) = key(1);
    let response = open.send("GET /endless", &[("authorization", &first)], Body::empty()).await;
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
    open.keys.0.lock().unwrap().retain(|key| key.id != record.id);
    assert!(body.frame().await.unwrap().is_err(), "a stream that was cut shows it");
    assert_eq!(open.ask("GET /who", &[("authorization", &first)]).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn bodies_and_answers_are_bounded() {
    let limits = Limits {
        body: 1000,
        body_time: Duration::from_millis(50),
        answer_time: Duration::from_millis(50),
        ..Limits::default()
    };
    let somebody = Principal::new("acme", "anonymous", [Scope::TagRead]);
    let open = open(Access::Everybody(somebody), limits);
    assert_eq!(open.send("POST /who", &[], vec![b'x'; 1000]).await.status(), StatusCode::OK);
    assert_eq!(open.send("POST /who", &[], vec![b'x'; 1001]).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    assert_eq!(open.send("POST /who", &[], never).await.status(), StatusCode::REQUEST_TIMEOUT);
    open.desk.open(Router::new().fallback(async || std::future::pending::<String>().await));
    assert_eq!(open.ask("GET /who", &[]).await.0, StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test]
async fn a_page_that_is_let_in_may_ask_first_and_read_the_answer() {
    let somebody = Principal::new("acme", "anonymous", [Scope::TagRead]);
    let open = open(Access::Everybody(somebody), Limits::default());
    let page = ("origin", "http://localhost:6274");
    let asking =
        [page, ("access-control-request-method", "POST"), ("access-control-request-headers", "mcp-name")];
    let response = open.send("OPTIONS /mcp", &asking, Body::empty()).await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(response.headers()["access-control-allow-headers"], "mcp-name");
    let response = open.send("GET /who", &[page], Body::empty()).await;
    assert_eq!(response.headers()["access-control-allow-origin"], page.1);
    assert_eq!(response.headers()["vary"], "origin");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert!(response.headers()["x-request-id"].len() == 36);
    let evil = open.send("GET /who", &[("origin", "https://evil.example")], Body::empty()).await;
    assert_eq!(evil.status(), StatusCode::FORBIDDEN);
    assert!(!evil.headers().contains_key("access-control-allow-origin"));
    assert_eq!(open.ask("GET /nothing", &[]).await.0, StatusCode::NOT_FOUND);
}
