//! Requests: what a path and a method ask for, and who answers it. One file per verb.

mod admit;
mod body;
mod create;
mod delete;
mod event;
mod get;
mod json;
mod list;
pub(crate) mod namespace;
mod params;
pub(crate) mod path;
mod reply;
mod update;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, header};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::identity::Identity;
use crate::kind::{Face, Kind, Kinds};
use crate::plane::Options;
use crate::status::ApiError;
use crate::store::tail::Tail;
use crate::store::{Key, Store};
use crate::{discovery, openapi};

pub(crate) use create::new_object;
pub(crate) use delete::{Removed, Wish, remove};

use params::Params;
use path::{Asked, Target};

/// What every request works with.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) store: Store,
    pub(crate) tail: Tail,
    pub(crate) kinds: Kinds,
    pub(crate) options: Options,
    pub(crate) stop: CancellationToken,
    watches: watch::Watches,
    /// Lists that are being made, or taken by slow clients: each may be large.
    lists: Arc<Semaphore>,
}

type Answer = Result<Response, ApiError>;

impl Api {
    pub(crate) fn new(
        store: Store,
        tail: Tail,
        kinds: Kinds,
        options: Options,
        stop: CancellationToken,
    ) -> Self {
        let watches = watch::Watches::new(options.watches_per_client);
        let lists = Arc::new(Semaphore::new(list::AT_ONCE));
        Self { store, tail, kinds, options, stop, watches, lists }
    }

    /// The kind whose objects are stored under this name, in the first of its faces.
    pub(crate) fn stored_kind(&self, resource: &str) -> Option<&Arc<Kind>> {
        self.kinds.seen_by(Face::InProcess).find(|kind| kind.storage() == resource)
    }
}

/// Where an object of a kind is stored.
pub(crate) fn key(kind: &Kind, namespace: &str, name: &str) -> Key {
    Key { resource: kind.storage().into(), namespace: namespace.to_owned(), name: name.to_owned() }
}

/// The API as a router.
pub(crate) fn router(api: Arc<Api>) -> Router {
    Router::new().fallback(answer).with_state(api)
}

async fn answer(State(api): State<Arc<Api>>, request: Request) -> Response {
    // A boxed future: this one is large, and axum would copy it several times.
    match Box::pin(serve(api, request)).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

async fn serve(api: Arc<Api>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let identity = parts.extensions.get::<Identity>().cloned().unwrap_or(Identity::InProcess);
    let face = if identity == Identity::InProcess { Face::InProcess } else { Face::Http };
    let accept = parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    match path::parse(&api.kinds, face, parts.uri.path()) {
        None => Err(ApiError::no_such_resource()),
        Some(Asked::Document(document)) => {
            if parts.method != Method::GET {
                return Err(ApiError::no_such_resource());
            }
            describe(&api, face, &document, accept)
        }
        Some(Asked::Objects(target)) => {
            let call = Call {
                target,
                params: Params::parse(parts.uri.query().unwrap_or_default())?,
                accept: accept.map(str::to_owned),
                content_type: content_type(&parts.headers),
                identity,
            };
            dispatch(api, &parts.method, call, body).await
        }
    }
}

fn content_type(headers: &http::HeaderMap) -> Option<String> {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// A request about objects, without its body.
#[derive(Clone, Debug)]
struct Call {
    target: Target,
    params: Params,
    accept: Option<String>,
    content_type: Option<String>,
    identity: Identity,
}

impl Call {
    fn kind(&self) -> &Kind {
        &self.target.kind
    }

    /// The name of the object; the path has one.
    fn name(&self) -> &str {
        self.target.name.as_deref().unwrap_or_default()
    }

    fn namespace(&self) -> &str {
        self.target.namespace.as_deref().unwrap_or_default()
    }

    fn key(&self) -> Key {
        key(self.kind(), self.namespace(), self.name())
    }

    fn named(&self, name: &str) -> Key {
        key(self.kind(), self.namespace(), name)
    }
}

async fn dispatch(api: Arc<Api>, method: &Method, call: Call, body: Body) -> Answer {
    let one = call.target.name.is_some();
    let status = call.target.status;
    match (method.as_str(), one) {
        ("GET", false) if call.params.watch => watch::watch(api, call).await,
        ("GET", true) => get::get(&api, &call).await,
        ("GET", false) => list::list(&api, &call).await,
        ("POST", false) => create::create(&api, &call, body).await,
        ("PUT", true) => update::put(&api, &call, body).await,
        ("PATCH", true) => update::patch(&api, &call, body).await,
        ("DELETE", true) if !status => delete::delete(&api, &call, body).await,
        ("DELETE", false) => delete::collection(&api, &call, body).await,
        ("PUT" | "PATCH", false) => Err(ApiError::bad_request("name must be provided")),
        (other, _) => Err(ApiError::method_not_allowed(call.kind(), &other.to_lowercase())),
    }
}

fn describe(api: &Api, face: Face, document: &[&str], accept: Option<&str>) -> Answer {
    let kinds = &api.kinds;
    let found = match *document {
        ["api"] if discovery::wants_aggregated(accept) => {
            return Ok(typed(discovery::AGGREGATED, discovery::aggregated(kinds, face, true).to_string()));
        }
        ["apis"] if discovery::wants_aggregated(accept) => {
            return Ok(typed(discovery::AGGREGATED, discovery::aggregated(kinds, face, false).to_string()));
        }
        ["api"] => Some(discovery::core_versions("")),
        ["apis"] => Some(discovery::groups(kinds, face)),
        ["api", "v1"] => discovery::resources(kinds, face, "", "v1"),
        ["apis", group] => discovery::group(kinds, face, group),
        ["apis", group, version] => discovery::resources(kinds, face, group, version),
        ["version"] => Some(discovery::version()),
        ["openapi", "v2"] => {
            let (content_type, body) = openapi::v2();
            return Ok(typed(content_type, body));
        }
        ["openapi", "v3"] => Some(openapi::index(kinds, face)),
        ["openapi", "v3", "api", "v1"] => openapi::document(kinds, face, "", "v1"),
        ["openapi", "v3", "apis", group, version] => openapi::document(kinds, face, group, version),
        ["healthz" | "livez"] => return Ok(typed("text/plain", "ok")),
        ["readyz"] => {
            api.store.health().get().map_err(|why| ApiError::unavailable(why.to_string()))?;
            return Ok(typed("text/plain", "ok"));
        }
        _ => None,
    };
    found
        .map(|document: Value| typed(reply::JSON, document.to_string()))
        .ok_or_else(ApiError::no_such_resource)
}

fn typed(content_type: &'static str, body: impl Into<Body>) -> Response {
    (StatusCode::OK, [(header::CONTENT_TYPE, content_type)], body.into()).into_response()
}
