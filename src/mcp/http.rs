//! The tools over streamable HTTP, as a service to be mounted where requests have been let in.
//!
//! Stateless, so that any replica answers any request, and for clients of both eras of the protocol: those that
//! initialise first, and those that bring everything with each request. Whoever mounts it puts a [`Principal`] into the
//! extensions of every request; one without is refused.
//!
//! [`Principal`]: tagwarden_app::ask::Principal

use std::sync::Arc;

use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::sync::CancellationToken;

use crate::dispatch::Server;
use crate::handler::Handler;

/// The most bytes of a request.
const BODY_BYTES: usize = 1 << 20;

/// How the service answers.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// The names, or `name:port`, by which it is reached. Requests for any other are refused (403).
    pub allowed_hosts: Vec<String>,
    /// The origins of browsers that may use it. Requests from any other are refused (403); programs send none.
    pub allowed_origins: Vec<String>,
    /// Ends what is under way.
    pub stop: CancellationToken,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            allowed_hosts: ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec(),
            allowed_origins: Vec::new(),
            stop: CancellationToken::new(),
        }
    }
}

/// A service for one path, such as `/mcp`.
pub fn service(
    server: &Server,
    settings: HttpSettings,
) -> StreamableHttpService<impl rmcp::ServerHandler + use<>, NeverSessionManager> {
    let handler = Handler::per_request(server.clone());
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_sse_retry(None)
        .with_allowed_hosts(settings.allowed_hosts)
        .with_allowed_origins(settings.allowed_origins)
        .enforce_origin_validation()
        .with_max_request_body_bytes(BODY_BYTES)
        .with_cancellation_token(settings.stop);
    StreamableHttpService::new(move || Ok(handler.clone()), Arc::new(NeverSessionManager::default()), config)
}
