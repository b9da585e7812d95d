//! What agents use: tools, prompts and resources of the Model Context Protocol, over stdio and over HTTP.
//!
//! A tool is one file in `tools/`: typed input, typed output, hints, and a call that asks [`tagwarden_app::ask::Ask`]. The
//! registry holds them all. Whatever the transport, every call goes through [`Server::call`], which knows who may do what,
//! refuses what makes no sense or comes too often, bounds time and size, and writes one row of the record for each call.
//!
//! [`bridge`] has no tools of its own: it passes messages on to a server that has.
//!
//! Texts from a cloud are data: they come in fields of an answer, bounded and without control characters, and never in
//! instructions, prompts or descriptions.

mod bridge;
mod dispatch;
mod guard;
mod handler;
mod http;
mod page;
mod parts;
mod prompts;
mod reference;
mod resources;
mod schema;
mod tool;
mod tools;
mod validate;

pub use bridge::{BridgeError, BridgeSettings, bridge};
pub use dispatch::{Caller, Server, ServerSettings};
pub use guard::Limits;
pub use http::{mounted, routes};
pub use reference::page as reference_page;
pub use tool::{Hints, Toolset};

use rmcp::ServiceExt as _;
use rmcp::service::ServerInitializeError;
use tagwarden_app::ask::Principal;
use tokio_util::sync::CancellationToken;

/// The names of all tools, whether they are offered or not.
pub fn tool_names() -> &'static [&'static str] {
    tools::names()
}

/// Serves one client over standard input and output until it goes, or until `stop`.
pub async fn stdio(server: Server, who: Principal, stop: CancellationToken) -> Result<(), StdioError> {
    let handler = handler::Handler::fixed(server.clone(), who);
    let running = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        started = handler.serve(rmcp::transport::stdio()) => match started {
            // It went before it said anything.
            Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
            started => started.map_err(|error| StdioError(error.to_string()))?,
        },
    };
    let token = running.cancellation_token();
    let ended = tokio::select! {
        () = stop.cancelled() => {
            token.cancel();
            Ok(())
        }
        ended = running.waiting() => ended.map(drop).map_err(|error| StdioError(error.to_string())),
    };
    // What is under way ends with its client, and is written down before the store is closed.
    server.settled().await;
    ended
}

/// The client spoke something else.
#[derive(Debug, thiserror::Error)]
#[error("the client does not speak MCP on standard input: {0}")]
pub struct StdioError(String);
