//! What every request passes, whatever it asks for: from where, under which name, who is it, how often; and that it ends.

use std::io;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _, stream};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::LengthLimitError;
use tagwarden_app::ask::Principal;
use tagwarden_app::keys::ShownKey;
use tagwarden_serve::Peer;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::addresses::{self, Addresses};
use crate::fault::Fault;
use crate::keyring::{Holder, Keyring, NoEntry};

/// The header that ties a request, its answer, the log and the record of calls together.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The most characters of an id that a client chose.
const REQUEST_ID_MAX: usize = 64;

/// How many addresses or tenants are remembered before the list is looked through.
const REMEMBERED_MAX: usize = 100_000;

/// Paths that are open to everybody.
const OPEN: &[&str] = &["/health"];

/// Who is let in.
pub enum Access {
    /// Whoever shows a key.
    Keys,
    /// Everybody, as this one.
    Everybody(Principal),
}

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the path with its query.
    pub target: usize,
    /// Bytes of all headers together.
    pub headers: usize,
    /// Bytes of a body.
    pub body: usize,
    /// How long a body may take to arrive.
    pub body_time: Duration,
    /// How long an answer may take to begin.
    pub answer_time: Duration,
    /// Requests of one tenant per second, in the long run.
    pub per_tenant: u32,
    /// Requests of one address per second, in the long run.
    pub per_address: u32,
    /// Requests without a valid key, per second and address; ten times as many at once.
    pub refusals: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            target: 8 << 10,
            headers: 32 << 10,
            body: 1 << 20,
            body_time: Duration::from_secs(30),
            answer_time: Duration::from_mins(1),
            per_tenant: 100,
            per_address: 200,
            refusals: 2,
        }
    }
}

/// What ties a request to the log: an extension that every request has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub Arc<str>);

/// The rules of the door.
pub(crate) struct Gate {
    addresses: Addresses,
    access: Access,
    pub keyring: Keyring,
    limits: Limits,
    by_address: DefaultKeyedRateLimiter<IpAddr>,
    by_tenant: DefaultKeyedRateLimiter<Arc<str>>,
    refusals: DefaultKeyedRateLimiter<IpAddr>,
}

impl Gate {
    pub fn new(addresses: Addresses, access: Access, keyring: Keyring, limits: Limits) -> Self {
        // What a client may do at once: it looks around when it starts.
        let quota = |per_second: u32, burst: u32| {
            let number = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
            Quota::per_second(number(per_second)).allow_burst(number(per_second.saturating_mul(burst)))
        };
        Self {
            addresses,
            access,
            keyring,
            limits,
            by_address: RateLimiter::keyed(quota(limits.per_address, 3)),
            by_tenant: RateLimiter::keyed(quota(limits.per_tenant, 3)),
            refusals: RateLimiter::keyed(quota(limits.refusals, 10)),
        }
    }

    /// Whether keys have to be shown.
    pub fn demands_keys(&self) -> bool {
        matches!(self.access, Access::Keys)
    }

    /// Refuses heads that nobody needs.
    fn check_head(&self, request: &Request) -> Result<(), Fault> {
        let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        if target > self.limits.target {
            return Err(too_large(StatusCode::URI_TOO_LONG, "the path with its query", self.limits.target));
        }
        let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
        if headers.sum::<usize>() > self.limits.headers {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Err(too_large(status, "the headers", self.limits.headers));
        }
        Ok(())
    }

    async fn admit(&self, peer: IpAddr, headers: &HeaderMap) -> Result<Holder, Fault> {
        let shown = match &self.access {
            Access::Everybody(principal) => {
                return Ok(Holder { principal: principal.clone(), ended: CancellationToken::new() });
            }
            Access::Keys => credentials(headers),
        };
        let shown = match shown {
            Ok(Some(shown)) => shown,
            Ok(None) => return Err(self.refuse(peer, Fault::nobody())),
            Err(fault) => return Err(self.refuse(peer, fault)),
        };
        match self.keyring.admit(&shown).await {
            Ok(holder) => Ok(holder),
            Err(NoEntry::Invalid) => Err(self.refuse(peer, Fault::bad_key())),
            Err(NoEntry::Unknown) => Err(Fault::unavailable("the API keys cannot be checked now")),
        }
    }

    /// The refusal itself, or that there were too many.
    fn refuse(&self, peer: IpAddr, fault: Fault) -> Fault {
        check(&self.refusals, &peer, "requests without a valid key").err().unwrap_or(fault)
    }

    /// The whole body, in the time and the size that a body may take.
    async fn read(&self, body: Body) -> Result<Bytes, Fault> {
        let reading = axum::body::to_bytes(body, self.limits.body);
        match timeout(self.limits.body_time, reading).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => {
                let source = std::error::Error::source(&error);
                let large = source.and_then(|source| source.downcast_ref::<LengthLimitError>()).is_some();
                Err(if large {
                    too_large(StatusCode::PAYLOAD_TOO_LARGE, "the body", self.limits.body)
                } else {
                    Fault::new(
                        StatusCode::BAD_REQUEST,
                        "bad_body",
                        "the body of the request broke off",
                        "send it again",
                    )
                })
            }
            Err(_) => Err(Fault::new(
                StatusCode::REQUEST_TIMEOUT,
                "body_timeout",
                "the body of the request did not arrive in time",
                "send it faster, or less of it",
            )),
        }
    }
}

fn too_large(status: StatusCode, what: &str, most: usize) -> Fault {
    Fault::new(status, "too_large", format!("{what} may have at most {most} bytes"), "send less at a time")
}

/// The key that a request shows: none, one, or something that is none.
fn credentials(headers: &HeaderMap) -> Result<Option<ShownKey>, Fault> {
    let mut shown = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = shown.next() else { return Ok(None) };
    if shown.next().is_some() {
        return Err(Fault::many_keys());
    }
    let text = value.to_str().map_err(|_| Fault::bad_key())?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            ShownKey::parse(token.trim()).map(Some).ok_or_else(Fault::bad_key)
        }
        _ => Ok(None),
    }
}

fn check<K: Clone + Eq + std::hash::Hash>(
    limiter: &DefaultKeyedRateLimiter<K>,
    key: &K,
    what: &str,
) -> Result<(), Fault> {
    if limiter.len() > REMEMBERED_MAX {
        limiter.retain_recent();
    }
    limiter.check_key(key).map_err(|until| {
        let wait = until.wait_time_from(DefaultClock::default().now());
        Fault::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            format!("too many {what} in too short a time"),
            "wait as long as retryAfter says",
        )
        .after(wait)
    })
}

pub(crate) async fn pass(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(request.headers());
    request.extensions_mut().insert(RequestId(Arc::clone(&id)));
    let shown = HeaderValue::from_str(&id);
    if let Ok(id) = &shown {
        // What stands behind the gate and knows only headers finds it here.
        request.headers_mut().insert(REQUEST_ID, id.clone());
    }
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let welcome =
        gate.check_head(&request).and_then(|()| gate.addresses.check(request.uri(), request.headers()));
    let mut response = match welcome {
        Err(fault) => fault.into_response(),
        Ok(origin) => {
            let origin = origin.cloned();
            let mut response = if is_preflight(&request) && origin.is_some() {
                let mut response = StatusCode::NO_CONTENT.into_response();
                addresses::permit(request.headers(), response.headers_mut());
                response
            } else {
                Box::pin(answer(&gate, request, next)).await.unwrap_or_else(Fault::into_response)
            };
            if let Some(origin) = origin {
                addresses::allow(&origin, response.headers_mut());
            }
            response
        }
    };
    let headers = response.headers_mut();
    if let Ok(id) = shown {
        headers.insert(REQUEST_ID, id);
    }
    // What is answered is for who asked, now.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    tracing::debug!(
        request_id = %id,
        %method,
        path = path.get(..path.floor_char_boundary(200)).unwrap_or_default(),
        status = response.status().as_u16(),
        milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        "a request was answered"
    );
    response
}

async fn answer(gate: &Gate, request: Request, next: Next) -> Result<Response, Fault> {
    let peer = request.extensions().get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), Peer::address);
    // What watches over servers may have the address of everybody, and costs next to nothing.
    if OPEN.contains(&request.uri().path()) {
        return Ok(next.run(request).await);
    }
    check(&gate.by_address, &peer, "requests from this address")?;
    let Holder { principal, ended } = gate.admit(peer, request.headers()).await?;
    check(&gate.by_tenant, &principal.tenant, "requests of this tenant")?;
    let (mut parts, body) = request.into_parts();
    let body = tokio::select! {
        body = gate.read(body) => body?,
        () = ended.cancelled() => return Err(Fault::bad_key()),
    };
    parts.extensions.insert(principal);
    let request = Request::from_parts(parts, Body::from(body));
    let response = tokio::select! {
        response = timeout(gate.limits.answer_time, next.run(request)) => response,
        () = ended.cancelled() => return Err(Fault::bad_key()),
    };
    Ok(while_valid(response.map_err(|_| Fault::too_slow())?, ended))
}

/// An answer that is still being sent ends with the key that it was asked for with, and shows that it is not whole.
fn while_valid(response: Response, ended: CancellationToken) -> Response {
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    response.map(|body| Body::from_stream(until(body.into_data_stream(), ended)))
}

type Chunks<S> = (Option<Pin<Box<S>>>, CancellationToken);

fn until<S>(body: S, ended: CancellationToken) -> impl Stream<Item = Result<Bytes, axum::Error>> + Send
where
    S: Stream<Item = Result<Bytes, axum::Error>> + Send + 'static,
{
    let state: Chunks<S> = (Some(Box::pin(body)), ended);
    stream::unfold(state, |(body, ended)| async move {
        let mut body = body?;
        tokio::select! {
            biased;
            () = ended.cancelled() => {
                let error = io::Error::new(io::ErrorKind::PermissionDenied, "the key has ended");
                Some((Err(axum::Error::new(error)), (None, ended)))
            }
            chunk = body.next() => chunk.map(|chunk| (chunk, (Some(body), ended))),
        }
    })
}

fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// An id that no other request has: it begins with the one that the client gave, where that is fit to be written into a
/// log.
fn request_id(headers: &HeaderMap) -> Arc<str> {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|text| {
        (1..=REQUEST_ID_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    });
    let own = Uuid::now_v7().to_string();
    given.map_or_else(|| own.as_str().into(), |given| format!("{given}.{own}").into())
}
