//! The API over HTTP, for people and tools outside of this process.
//!
//! It is off until asked for, speaks TLS or to this machine only, knows everybody by a token, lets nobody wait for
//! ever, and never tells about Secrets.

mod access;
mod gate;
mod protobuf;
mod tokens;

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use sha2::{Digest, Sha256};
use tagwarden_serve::{BindError, Listener};
use tokio_util::sync::CancellationToken;

pub use tagwarden_serve::{Tls, TlsError, TlsFiles};
pub use tokens::{Role, TokenError, Tokens, User};

use crate::kind::Kinds;
use gate::Gate;

/// Where and for whom the API is served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen. Without TLS it has to be an address of this machine only.
    pub address: SocketAddr,
    /// Certificate and key, if any.
    pub tls: Tls,
    /// The token file.
    pub tokens: PathBuf,
    /// What clients may take.
    pub limits: Limits,
}

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a body.
    pub body: usize,
    /// How long a body may take to arrive.
    pub body_time: Duration,
    /// Requests of one user per second, in the long run.
    pub requests_per_second: u32,
    /// Requests of one user at once: a client that starts asks for a lot.
    pub burst: u32,
    /// Requests without a valid token, per second and address; ten times as many at once.
    pub refusals_per_second: u32,
    /// Connections at a time.
    pub connections: usize,
    /// How long the handshake of TLS may take.
    pub handshake_time: Duration,
    /// How long the headers of a request may take, and how long a connection may be idle before them.
    pub header_time: Duration,
    /// How long a client may take nothing of what it is sent.
    pub write_time: Duration,
    /// How often the files of tokens and certificate are looked at.
    pub reload: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 3 << 20,
            body_time: Duration::from_secs(30),
            requests_per_second: 50,
            burst: 300,
            refusals_per_second: 5,
            connections: 512,
            handshake_time: Duration::from_secs(30),
            // Clients keep a connection for 90 s: one that the server closes first fails a request now and then.
            header_time: Duration::from_mins(2),
            write_time: Duration::from_mins(1),
            reload: Duration::from_secs(2),
        }
    }
}

/// Why the API is not served over HTTP.
#[derive(Debug, thiserror::Error)]
pub enum ExposeError {
    /// Tokens would travel in the clear.
    #[error(
        "the API is not served at {0} without TLS, for everybody on the way could read the tokens: give a certificate \
         and a key, or listen on a loopback address"
    )]
    Plain(SocketAddr),
    /// The address is taken or not ours.
    #[error("the API cannot be served at {address}: {why}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        why: String,
    },
    /// The token file cannot be read.
    #[error("the token file {} cannot be read: {why}", file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// The token file is wrong.
    #[error("the token file {}: {cause}", file.display())]
    Tokens {
        /// Which.
        file: PathBuf,
        /// Where and how.
        cause: TokenError,
    },
    /// There is no TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The API, listening. Nobody is served until [`run`](Self::run).
pub struct Exposure {
    listener: Listener,
    gate: Arc<Gate>,
    router: Router,
    file: TokenFile,
    reload: Duration,
}

impl Exposure {
    /// Reads tokens and certificate and takes the address. `router` is the API; requests reach it with the
    /// [`Identity`](crate::Identity) of who sent them.
    pub async fn bind(settings: Settings, kinds: Kinds, router: Router) -> Result<Self, ExposeError> {
        let Settings { address, tls, tokens, limits } = settings;
        if matches!(tls, Tls::Plain) && !address.ip().is_loopback() {
            return Err(ExposeError::Plain(address));
        }
        let (file, tokens) = TokenFile::open(&tokens)?;
        let listener =
            Listener::bind(address, tls, limits.of_connections()).await.map_err(|error| match error {
                BindError::Listen { address, why } => ExposeError::Listen { address, why },
                BindError::Tls(error) => ExposeError::Tls(error),
            })?;
        let gate = Arc::new(Gate::new(kinds, tokens, limits));
        let router = gate.guard(router);
        Ok(Self { listener, gate, router, file, reload: limits.reload })
    }

    /// Where it listens: with the port that was free, if none was asked for.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// The certificate that it shows, which a client may have to be given; `None` for plain text.
    pub fn certificate(&self) -> Option<&Path> {
        self.listener.certificate()
    }

    /// Serves until told to stop; then requests under way are finished, for at most five seconds.
    pub async fn run(self, stop: CancellationToken) {
        let Self { listener, gate, router, mut file, reload } = self;
        let mut reload = tokio::time::interval(reload);
        let watching = async {
            loop {
                reload.tick().await;
                file.reload(&gate);
            }
        };
        tokio::select! {
            () = listener.run(router, stop) => {}
            () = watching => {}
        }
    }
}

impl Limits {
    fn of_connections(&self) -> tagwarden_serve::Limits {
        tagwarden_serve::Limits {
            connections: self.connections,
            connections_per_address: self.connections,
            handshake_time: self.handshake_time,
            head_time: self.header_time,
            idle_time: self.header_time,
            write_time: self.write_time,
            reload: self.reload,
        }
    }
}

/// The token file, with what it was when it was last read.
struct TokenFile {
    path: PathBuf,
    seen: Option<[u8; 32]>,
}

impl TokenFile {
    fn open(path: &Path) -> Result<(Self, Tokens), ExposeError> {
        let mut file = Self { path: path.to_owned(), seen: None };
        let tokens = file.changed()?.unwrap_or_default();
        Ok((file, tokens))
    }

    /// Takes up a file that has changed.
    fn reload(&mut self, gate: &Gate) {
        gate.tidy();
        match self.changed() {
            Ok(None) => {}
            Ok(Some(tokens)) => {
                tracing::info!("the token file changed and is in force");
                gate.replace(tokens);
            }
            Err(error) => tracing::warn!(%error, "the tokens from before stay in force"),
        }
    }

    /// The tokens, if the file is not what it was. What is wrong with a file is said once.
    fn changed(&mut self) -> Result<Option<Tokens>, ExposeError> {
        let bytes = read_bounded(&self.path);
        let digest = bytes.as_ref().map_or([0; 32], |bytes| Sha256::digest(bytes).into());
        if self.seen == Some(digest) {
            return Ok(None);
        }
        self.seen = Some(digest);
        let file = || self.path.clone();
        let bytes =
            bytes.map_err(|error| ExposeError::Unreadable { file: file(), why: error.kind().to_string() })?;
        Tokens::parse(&bytes).map(Some).map_err(|cause| ExposeError::Tokens { file: file(), cause })
    }
}

/// A file, as far as it may be long: one byte more tells that it is longer.
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(tokens::MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
