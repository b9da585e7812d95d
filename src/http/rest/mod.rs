//! REST for people and scripts. Every route is one row of [`table`]: what it takes and answers, who may use it, and what
//! it does. The router, the document at `/openapi.json` and the checks around every call derive from that row.

mod accounts;
mod answers;
mod audits;
mod cursor;
mod document;
mod export;
mod history;
mod operation;
mod policies;
mod record;
mod runs;
mod violations;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Bytes, HttpBody as _};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::FutureExt as _;
use http::header;
use tagwarden_app::ask::ports::AuditRows;
use tagwarden_app::ask::{Ask, AskError, Principal, conceal};
use tokio::time::timeout;

use crate::fault::Fault;
use crate::gate::RequestId;
use operation::{Asked, Operation};
use record::{Record, Words};

/// How long a call may take until its answer begins: longer than any wait that one can ask for.
const WITHIN: Duration = Duration::from_secs(40);

/// Everything that REST stands on.
#[derive(Clone)]
pub struct Rest {
    ask: Ask,
    rows: Arc<dyn AuditRows>,
}

impl Rest {
    /// Answers questions out of `ask`, and writes a row for each into `rows`.
    pub fn new(ask: Ask, rows: Arc<dyn AuditRows>) -> Self {
        Self { ask, rows }
    }

    /// The routes, for behind the gate.
    pub fn router(&self) -> Router {
        let mut router = Router::new();
        for operation in table() {
            router = router.route(operation.path, operation.routed(self));
        }
        let document: Bytes = self::document().into();
        let json = [(header::CONTENT_TYPE, "application/json")];
        let document = get(move || async move { (json, document) });
        router
            .route("/openapi.json", document)
            .method_not_allowed_fallback(no_method)
            .fallback(no_route)
            .with_state(self.clone())
    }

    /// Answers a call and writes its row.
    async fn call<F, Fut>(&self, operation: &'static str, call: Call, work: F) -> Response
    where
        F: FnOnce(Asked) -> Fut + Send,
        Fut: Future<Output = Outcome> + Send,
    {
        let Call { who, id, parameter, query, body } = call;
        let Some(who) = who else {
            // The gate lets nobody in without saying who it is.
            return Fault::no_route().into_response();
        };
        let words = Words { id: &id, operation, parameter: &parameter, query: &query, body: &body };
        let record = Record::begin(Arc::clone(&self.rows), self.ask.now(), &who, &words);
        let asked = Asked { ask: self.ask.clone(), who, parameter, query, body };
        let work = AssertUnwindSafe(timeout(WITHIN, work(asked))).catch_unwind();
        let outcome = match work.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Fault::too_slow()),
            Err(_) => Err(AskError::internal(&format_args!("{operation} broke down")).into()),
        };
        match outcome {
            Ok(response) if response.body().size_hint().exact().is_none() => {
                let status = response.status();
                response.map(|body| record.follow(status, body))
            }
            Ok(response) => {
                record.end(Ok(response.status())).await;
                response
            }
            Err(mut fault) => {
                record.end(Err(&fault.body.code)).await;
                // It may quote what was asked.
                fault.body.message = conceal(&fault.body.message);
                fault.into_response()
            }
        }
    }
}

/// What a call comes to.
type Outcome = Result<Response, Fault>;

/// A request, taken apart.
struct Call {
    who: Option<Principal>,
    id: String,
    parameter: String,
    query: String,
    body: Bytes,
}

impl Call {
    async fn of(request: Request, parameter: String) -> Self {
        let (parts, body) = request.into_parts();
        Self {
            who: parts.extensions.get::<Principal>().cloned(),
            id: parts.extensions.get::<RequestId>().map(|id| id.0.to_string()).unwrap_or_default(),
            parameter,
            query: parts.uri.query().unwrap_or_default().to_owned(),
            // The gate has read it already, and knows that it is not too large.
            body: axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default(),
        }
    }
}

/// What no route is for. That is a call, too.
async fn no_route(State(rest): State<Rest>, request: Request) -> Response {
    let call = Call::of(request, String::new()).await;
    rest.call("unknown", call, |_| async { Err(Fault::no_route()) }).await
}

async fn no_method(State(rest): State<Rest>, request: Request) -> Response {
    let call = Call::of(request, String::new()).await;
    rest.call("unknown", call, |_| async { Err(Fault::no_method()) }).await
}

/// All routes.
pub(crate) fn table() -> Vec<Operation> {
    [
        policies::operations(),
        accounts::operations(),
        audits::operations(),
        runs::operations(),
        violations::operations(),
        history::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The description of everything that is served, as `OpenAPI`.
pub fn document() -> String {
    document::of(&table())
}

#[cfg(test)]
mod tests;
