//! The tools over streamable HTTP, as a route to be merged where requests have been let in.
//!
//! Stateless, so that any replica answers any request, and for clients of both eras of the protocol: those that
//! initialise first, and those that bring everything with each request. Whoever merges it puts a [`Principal`] into the
//! extensions of every request; one without is refused.
//!
//! [`Principal`]: tagwarden_app::ask::Principal

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::map_request;
use http::header::ORIGIN;
use rmcp::ServerHandler;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::sync::CancellationToken;

use crate::dispatch::Server;
use crate::handler::Handler;

/// Where agents ask.
const PATH: &str = "/mcp";

/// The most bytes of a request.
const BODY_BYTES: usize = 1 << 20;

/// The tools at `/mcp`. `stop` ends what is under way.
pub fn routes(server: &Server, stop: CancellationToken) -> Router {
    mounted(Handler::per_request(server.clone()), stop)
}

/// A handler at `/mcp`, as the tools are served; so that a handler of a test meets the transport of the product. Names and
/// pages have to be checked in front of it, by rules of which the transport knows only a part.
pub fn mounted<H: ServerHandler + Clone>(handler: H, stop: CancellationToken) -> Router {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_sse_retry(None)
        .with_allowed_hosts(Vec::<String>::new())
        .with_allowed_origins(Vec::<String>::new())
        .enforce_origin_validation()
        .with_max_request_body_bytes(BODY_BYTES)
        .with_cancellation_token(stop);
    let sessions = Arc::new(NeverSessionManager::default());
    let service = StreamableHttpService::new(move || Ok(handler.clone()), sessions, config);
    let checked = async |mut request: Request| {
        request.headers_mut().remove(ORIGIN);
        request
    };
    Router::new().route_service(PATH, service).layer(map_request(checked))
}
