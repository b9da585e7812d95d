//! The API over HTTP, for people and tools outside of this process.
//!
//! It is off until asked for, speaks TLS or to this machine only, knows everybody by a token, lets nobody wait for
//! ever, and never tells about Secrets.

mod access;
mod gate;
mod patient;
mod protobuf;
mod threshold;
mod tls;
mod tokens;

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

pub use tls::{Tls, TlsError, TlsFiles};
pub use tokens::{Role, TokenError, Tokens, User};

use crate::kind::Kinds;
use gate::{Gate, Peer};
use patient::Patient;
use threshold::{Step, Threshold};

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
    /// Connections at a time on which nobody has shown a valid token yet. The rest of `connections` is for those who
    /// have.
    pub strangers: usize,
    /// How many of them may come from one address (of IPv6: from one network of 64 bits).
    pub strangers_per_address: usize,
    /// How long a connection may take, its handshake included, until somebody shows a valid token.
    pub stranger_time: Duration,
    /// How long the headers of a request may take, and how long a connection may be idle before them.
    pub header_time: Duration,
    /// How long a client may take nothing of what it is sent.
    pub write_time: Duration,
    /// How often the token file is looked at.
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
            strangers: 128,
            strangers_per_address: 32,
            stranger_time: Duration::from_secs(30),
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
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    certificate: Option<PathBuf>,
    gate: Arc<Gate>,
    router: Router,
    file: TokenFile,
    limits: Limits,
}

impl Exposure {
    /// Reads tokens and certificate and takes the address. `router` is the API; requests reach it with the
    /// [`Identity`](crate::Identity) of who sent them.
    pub async fn bind(settings: Settings, kinds: Kinds, router: Router) -> Result<Self, ExposeError> {
        let Settings { address, tls, tokens, limits } = settings;
        if matches!(tls, Tls::Plain) && !address.ip().is_loopback() {
            return Err(ExposeError::Plain(address));
        }
        let files = tls.files(address.ip())?;
        let tls = files.as_ref().map(tls::load).transpose()?.map(TlsAcceptor::from);
        let certificate = files.map(|files| files.certificate);
        let (file, tokens) = TokenFile::open(&tokens)?;
        let refused = |error: std::io::Error| ExposeError::Listen { address, why: error.kind().to_string() };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let gate = Arc::new(Gate::new(kinds, tokens, limits));
        let router = gate.guard(router);
        Ok(Self { listener, address, tls, certificate, gate, router, file, limits })
    }

    /// Where it listens: with the port that was free, if none was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate that it shows, which a client may have to be given; `None` for plain text.
    pub fn certificate(&self) -> Option<&Path> {
        self.certificate.as_deref()
    }

    /// Serves until told to stop; then requests under way are finished, for at most five seconds.
    pub async fn run(mut self, stop: CancellationToken) {
        let connections = TaskTracker::new();
        let room = Arc::new(Semaphore::new(self.limits.connections));
        let threshold = Threshold::new(self.limits.strangers, self.limits.strangers_per_address);
        let mut reload = tokio::time::interval(self.limits.reload);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = reload.tick() => self.reload(),
                accepted = self.listener.accept() => match accepted {
                    // Whoever comes when it is full is turned away at once, rather than left waiting.
                    Ok((stream, peer)) => if let Some(step) = threshold.enter(peer.ip())
                        && let Ok(seat) = Arc::clone(&room).try_acquire_owned()
                    {
                        let connection = self.connection(stream, peer, step, stop.clone());
                        connections.spawn(async move {
                            connection.await;
                            drop(seat);
                        });
                    },
                    // Out of file descriptors, mostly: others have to leave first.
                    Err(error) => {
                        tracing::warn!(%error, "a connection to the API could not be accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
        connections.close();
        let _ = tokio::time::timeout(Duration::from_secs(5), connections.wait()).await;
    }

    fn reload(&mut self) {
        self.gate.tidy();
        match self.file.changed() {
            Ok(None) => {}
            Ok(Some(tokens)) => {
                tracing::info!("the token file changed and is in force");
                self.gate.replace(tokens);
            }
            Err(error) => tracing::warn!(%error, "the tokens from before stay in force"),
        }
    }

    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        step: Step,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (router, tls, limits) = (self.router.clone(), self.tls.clone(), self.limits);
        async move {
            // Watch events are small, and waiting for more of them would delay each.
            let _ = stream.set_nodelay(true);
            let stream = Patient::new(stream, limits.write_time);
            let served = async {
                match tls {
                    None => serve(stream, router, peer, step.clone(), limits, stop).await,
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            serve(stream, router, peer, step.clone(), limits, stop).await;
                        }
                    }
                }
            };
            tokio::select! {
                () = served => {}
                () = step.overstayed(limits.stranger_time) => {
                    tracing::debug!(%peer, "a connection showed no valid token in time");
                }
            }
        }
    }
}

async fn serve<S>(
    stream: S,
    router: Router,
    peer: SocketAddr,
    step: Step,
    limits: Limits,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer { address: peer.ip(), step: step.clone() });
        router.clone().oneshot(request.map(Body::new))
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(limits.header_time).max_buf_size(64 << 10);
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection to the API ended early");
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
            bytes.map_err(|error| ExposeError::Unreadable { file: file(), why: unreadable(&error) })?;
        Tokens::parse(&bytes).map(Some).map_err(|cause| ExposeError::Tokens { file: file(), cause })
    }
}

/// Why a file cannot be read, for people.
fn unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "this process may not".to_owned(),
        kind => kind.to_string(),
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
