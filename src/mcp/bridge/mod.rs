//! A bridge: standard input and output on one side, the `/mcp` of a running server on the other.
//!
//! So that a laptop needs a key and nothing else: no store, no objects, no credentials of a cloud. Messages pass as they
//! are, whatever era of the protocol they are of; only what HTTP needs is read from them. What goes wrong on the way
//! becomes the answer to the request that it went wrong for, and says what to do. The key never does.

mod failure;
mod key;
mod lines;
mod message;
mod relay;
mod remote;
mod sse;

use std::path::PathBuf;

use tokio::io::BufReader;
use tokio_util::sync::CancellationToken;

/// Where a bridge leads.
#[derive(Debug, Clone)]
pub struct BridgeSettings {
    /// The URL of the server; without a path, its `/mcp`.
    pub url: String,
    /// The file with the API key, where the server asks for one.
    pub key_file: Option<PathBuf>,
    /// Certificates to trust besides those of the system, in PEM.
    pub ca_file: Option<PathBuf>,
    /// What the version of the program is.
    pub version: &'static str,
}

/// A bridge that leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// No URL of a server.
    #[error("--url: `{0}` cannot be used: expected a URL like https://tagwarden.example.com/mcp")]
    Url(String),
    /// A URL with a name or a password in it.
    #[error("--url: a URL is no place for a key; put it into a file, and give that with --api-key-file")]
    Credentials,
    /// Others could read along.
    #[error(
        "--url: `http://{0}` is another machine, and everybody between could read the key and the answers: use https, or \
         bring the server to this machine, for example with `kubectl port-forward`"
    )]
    PlainHttp(String),
    /// A file that cannot be read.
    #[error("{flag}: `{path}` cannot be read")]
    Read {
        /// Which flag named it.
        flag: &'static str,
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file that holds something else.
    #[error("{flag}: `{path}` {problem}")]
    Content {
        /// Which flag named it.
        flag: &'static str,
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Nobody to trust.
    #[error("--url: this machine trusts no certificate authority; name one with --ca-file")]
    NoRoots,
    /// The TLS library refuses its own defaults.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// Serves one client over standard input and output out of a running server, until the client goes, or until `stop`.
pub async fn bridge(settings: BridgeSettings, stop: CancellationToken) -> Result<(), BridgeError> {
    let remote = remote::Remote::new(settings)?;
    tracing::info!(server = %remote.shown(), "questions go on to a running server");
    let relay = relay::relay(remote, BufReader::new(tokio::io::stdin()), tokio::io::stdout());
    // What is under way is dropped with its connection, by which the server knows.
    stop.run_until_cancelled(relay).await;
    Ok(())
}
