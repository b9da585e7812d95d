//! What every request passes: who is it, how often, may they, and a line about it if it changes something.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::LengthLimitError;
use serde_json::{Value, json};
use tagwarden_serve::Peer;

use super::access::{self, Attempt, Question};
use super::tokens::{Tokens, User};
use super::{Limits, protobuf};
use crate::identity::Identity;
use crate::kind::{Face, Kinds};
use crate::rest::path::{self, Asked};
use crate::status::ApiError;

/// How many addresses that failed to authenticate are remembered before the list is looked through.
const MAX_STRANGERS: usize = 100_000;

/// The rules of the door.
pub(super) struct Gate {
    kinds: Kinds,
    tokens: RwLock<Arc<Tokens>>,
    limits: Limits,
    users: DefaultKeyedRateLimiter<String>,
    strangers: DefaultKeyedRateLimiter<IpAddr>,
}

impl Gate {
    pub fn new(kinds: Kinds, tokens: Tokens, limits: Limits) -> Self {
        let quota = |per_second: u32, burst: u32| {
            let one = NonZeroU32::MIN;
            Quota::per_second(NonZeroU32::new(per_second).unwrap_or(one))
                .allow_burst(NonZeroU32::new(burst).unwrap_or(one))
        };
        Self {
            kinds,
            tokens: RwLock::new(Arc::new(tokens)),
            users: RateLimiter::keyed(quota(limits.requests_per_second, limits.burst)),
            strangers: RateLimiter::keyed(quota(limits.refusals_per_second, limits.refusals_per_second * 10)),
            limits,
        }
    }

    /// Takes these tokens from now on.
    pub fn replace(&self, tokens: Tokens) {
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tokens);
    }

    /// Forgets who has not been here for a while.
    pub fn tidy(&self) {
        self.users.retain_recent();
        self.strangers.retain_recent();
    }

    /// A router behind this door.
    pub fn guard(self: &Arc<Self>, router: Router) -> Router {
        router.layer(axum::middleware::from_fn_with_state(Arc::clone(self), pass))
    }

    fn authenticate(&self, headers: &HeaderMap) -> Option<User> {
        let shown = headers.get(header::AUTHORIZATION)?.as_bytes();
        let scheme = shown.get(..7)?;
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return None;
        }
        let tokens = Arc::clone(&self.tokens.read().unwrap_or_else(PoisonError::into_inner));
        tokens.user(shown.get(7..)?.trim_ascii()).cloned()
    }

    /// 401, or 429 to whoever tries too often.
    fn refuse_stranger(&self, peer: IpAddr) -> ApiError {
        if self.strangers.len() > MAX_STRANGERS {
            self.strangers.retain_recent();
        }
        match self.strangers.check_key(&peer) {
            Ok(()) => ApiError::unauthorized(),
            Err(until) => {
                let wait = until.wait_time_from(DefaultClock::default().now());
                ApiError::too_many_requests("too many requests without a valid token", seconds(wait))
            }
        }
    }

    fn check_pace(&self, user: &User) -> Result<(), ApiError> {
        self.users.check_key(&user.name).map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            let message = format!("too many requests of user \"{}\", please try again later", user.name);
            ApiError::too_many_requests(message, seconds(wait))
        })
    }

    /// The whole body, in the time and the size that a body may take; as JSON where it was protobuf.
    async fn read(&self, headers: &mut HeaderMap, body: Body) -> Result<Bytes, ApiError> {
        let reading = axum::body::to_bytes(body, self.limits.body);
        let bytes = match tokio::time::timeout(self.limits.body_time, reading).await {
            Err(_) => return Err(ApiError::timeout("the body of the request did not arrive in time")),
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error)) => {
                let source = std::error::Error::source(&error);
                let large = source.and_then(|source| source.downcast_ref::<LengthLimitError>()).is_some();
                return Err(if large {
                    ApiError::too_large(self.limits.body)
                } else {
                    ApiError::bad_request("the body of the request broke off")
                });
            }
        };
        let content_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        if !content_type.starts_with(protobuf::CONTENT_TYPE.as_bytes()) || bytes.is_empty() {
            return Ok(bytes);
        }
        let object = protobuf::to_json(&bytes)?;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(Bytes::from(object.to_string()))
    }
}

fn seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1)
}

async fn pass(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0);
    let Some(user) = gate.authenticate(request.headers()) else {
        return gate.refuse_stranger(peer).into_response();
    };
    let attempt = attempt(&gate.kinds, &request);
    let mut record = attempt.filter(Attempt::writes).map(|attempt| Record::new(&user, attempt, peer));
    let result = Box::pin(admit(&gate, &user, request, next, record.as_mut())).await;
    let response = result.unwrap_or_else(IntoResponse::into_response);
    if let Some(record) = record {
        record.log(response.status());
    }
    response
}

async fn admit(
    gate: &Gate,
    user: &User,
    request: Request,
    next: Next,
    record: Option<&mut Record>,
) -> Result<Response, ApiError> {
    gate.check_pace(user)?;
    if let Some(attempt) = attempt(&gate.kinds, &request) {
        attempt.authorize(user)?;
    }
    let (mut parts, body) = request.into_parts();
    let body = gate.read(&mut parts.headers, body).await?;
    if parts.method == Method::POST
        && let Some(answer) = review(gate, user, parts.uri.path(), &body)
    {
        return answer;
    }
    if let Some(record) = record {
        record.name_from(&body);
    }
    parts.extensions.insert(Identity::Remote { user: user.name.clone() });
    Ok(next.run(Request::from_parts(parts, Body::from(body))).await)
}

/// What a request does to objects; `None` when it is not about objects, or about such as are not served here.
fn attempt(kinds: &Kinds, request: &Request) -> Option<Attempt> {
    match path::parse(kinds, Face::Http, request.uri().path())? {
        Asked::Objects(target) => {
            Attempt::new(request.method(), request.uri().query().unwrap_or_default(), target)
        }
        Asked::Document(_) => None,
    }
}

/// The questions about oneself that `kubectl auth` asks.
fn review(gate: &Gate, user: &User, path: &str, body: &[u8]) -> Option<Result<Response, ApiError>> {
    let answer: fn(&Gate, &User, &Value) -> Value = match path {
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" => {
            |gate, user, review| Question::from_review(review).answer(&gate.kinds, user)
        }
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews" => {
            |gate, user, _| access::rules(&gate.kinds, user)
        }
        "/apis/authentication.k8s.io/v1/selfsubjectreviews" => |_, user, _| {
            json!({
                "kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
                "status": {"userInfo": {"username": user.name, "groups": ["system:authenticated"]}},
            })
        },
        _ => return None,
    };
    let review: Value = match serde_json::from_slice(body) {
        Ok(review) => review,
        Err(error) => return Some(Err(ApiError::bad_request(format!("the body is not JSON: {error}")))),
    };
    let json = [(header::CONTENT_TYPE, "application/json")];
    Some(Ok((StatusCode::CREATED, json, answer(gate, user, &review).to_string()).into_response()))
}

/// The audit line of one write.
struct Record {
    user: String,
    attempt: Attempt,
    name: String,
    peer: IpAddr,
}

impl Record {
    fn new(user: &User, attempt: Attempt, peer: IpAddr) -> Self {
        let name = attempt.target.name.clone().unwrap_or_default();
        Self { user: user.name.clone(), attempt, name, peer }
    }

    /// What is created has its name in the body.
    fn name_from(&mut self, body: &[u8]) {
        if self.attempt.verb != "create" {
            return;
        }
        let object: Value = serde_json::from_slice(body).unwrap_or_default();
        let text =
            |field: &str| object["metadata"][field].as_str().map(|text| text.chars().take(253).collect());
        self.name = text("name")
            .filter(|name: &String| !name.is_empty())
            .or_else(|| text("generateName").map(|base: String| base + "*"))
            .unwrap_or_default();
    }

    fn log(&self, code: StatusCode) {
        let target = &self.attempt.target;
        tracing::info!(
            target: "tagwarden::audit",
            user = self.user,
            verb = self.attempt.verb,
            group = target.kind.group,
            resource = target.kind.plural,
            subresource = if target.status { "status" } else { "" },
            namespace = target.namespace.as_deref().unwrap_or_default(),
            name = self.name,
            code = code.as_u16(),
            peer = %self.peer,
            "{} {} {}", self.user, self.attempt.verb, target.kind.qualified()
        );
    }
}
