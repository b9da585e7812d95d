//! Accepts connections, and sees to it that each of them gets on.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::header::CONNECTION;
use http::{HeaderValue, Request};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::patient::{Patient, Stage};
use crate::threshold::{Step, Strangers, Threshold};
use crate::tls::{Certificate, Tls, TlsError};
use crate::unread;

/// How long requests under way may take once the listener is told to stop.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// The most bytes of the head of a request.
const HEAD_BYTES: usize = 64 << 10;

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Of them, those of one address.
    pub connections_per_address: usize,
    /// What those may take of them who have not said yet who they are ([`Peer::known`]); `None`: all.
    pub strangers: Option<Strangers>,
    /// How long the handshake of TLS may take.
    pub handshake_time: Duration,
    /// How long the head of a request may take, from its first byte.
    pub head_time: Duration,
    /// How long a connection may be idle between requests. Clients that keep connections do so for up to 90 seconds, and
    /// one that the server closes first fails a request now and then.
    pub idle_time: Duration,
    /// How long a client may take nothing of what it is sent.
    pub write_time: Duration,
    /// How often the files of the certificate are looked at.
    pub reload: Duration,
}

/// Where a request comes from: an extension that every request has.
#[derive(Clone, Debug)]
pub struct Peer {
    address: IpAddr,
    /// The place among strangers that its connection takes.
    step: Option<Step>,
}

impl Peer {
    /// Somebody at this address who takes no place.
    pub fn at(address: IpAddr) -> Self {
        Self { address, step: None }
    }

    /// The address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Takes note that somebody known is on the connection: they are bounded as such, and strangers have a place more.
    pub fn known(&self) {
        if let Some(step) = &self.step {
            step.leave();
        }
    }
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is taken or not ours.
    #[error("nothing can be served at {address}: {why}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        why: String,
    },
    /// There is no TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// An address, taken. Nobody is served until [`run`](Self::run).
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    certificate: Option<Certificate>,
    limits: Limits,
    guests: Arc<Guests>,
}

impl Listener {
    /// Reads or makes the certificate, and takes the address.
    pub async fn bind(address: SocketAddr, tls: Tls, limits: Limits) -> Result<Self, BindError> {
        let certificate = tls.files(address.ip())?.map(Certificate::load).transpose()?;
        let refused = |error: std::io::Error| BindError::Listen { address, why: error.kind().to_string() };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let guests = Arc::new(Guests::new(limits));
        Ok(Self { listener, address, certificate, limits, guests })
    }

    /// Where it listens: with the port that was free, if none was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file of the certificate that it shows, which a client may have to be given; `None` for plain text.
    pub fn certificate(&self) -> Option<&Path> {
        self.certificate.as_ref().map(Certificate::file)
    }

    /// Serves until told to stop; then requests under way are finished, for at most five seconds.
    pub async fn run(mut self, router: Router, stop: CancellationToken) {
        let connections = TaskTracker::new();
        let threshold = self.limits.strangers.map(Threshold::new);
        let mut reload = tokio::time::interval(self.limits.reload);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = reload.tick() => if let Some(certificate) = &mut self.certificate {
                    certificate.reload();
                },
                accepted = self.listener.accept() => match accepted {
                    // Whoever comes when it is full is turned away at once, rather than left waiting.
                    Ok((stream, address)) => if let Some(peer) = admit(threshold.as_ref(), address.ip())
                        && let Some(seat) = self.guests.seat(address.ip())
                    {
                        let connection = self.connection(stream, peer, router.clone(), stop.clone());
                        connections.spawn(async move {
                            connection.await;
                            drop(seat);
                        });
                    },
                    // Out of file descriptors, mostly: others have to leave first.
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
        connections.close();
        let _ = tokio::time::timeout(FINISH_WITHIN, connections.wait()).await;
    }

    fn connection(
        &self,
        stream: TcpStream,
        peer: Peer,
        router: Router,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let tls = self.certificate.as_ref().map(|certificate| TlsAcceptor::from(certificate.config()));
        let limits = self.limits;
        async move {
            // Events are small, and waiting for more of them would delay each.
            let _ = stream.set_nodelay(true);
            let known = peer.clone();
            let served = async {
                match tls {
                    None => serve(stream, router, peer, limits, stop).await,
                    Some(acceptor) => {
                        let shaken =
                            tokio::time::timeout(limits.handshake_time, acceptor.accept(stream)).await;
                        if let Ok(Ok(stream)) = shaken {
                            serve(stream, router, peer, limits, stop).await;
                        }
                    }
                }
            };
            tokio::select! {
                () = served => {}
                () = overstayed(known.step.as_ref()) => {
                    tracing::debug!(peer = %known.address, "nobody said in time who they are");
                }
            }
        }
    }
}

/// Where this connection comes from, unless there are too many strangers.
fn admit(threshold: Option<&Threshold>, address: IpAddr) -> Option<Peer> {
    let Some(threshold) = threshold else { return Some(Peer::at(address)) };
    Some(Peer { address, step: Some(threshold.enter(address)?) })
}

async fn overstayed(step: Option<&Step>) {
    match step {
        Some(step) => step.overstayed().await,
        None => std::future::pending().await,
    }
}

async fn serve<S>(stream: S, router: Router, peer: Peer, limits: Limits, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (stage, address) = (Stage::default(), peer.address);
    let stream = Patient::new(stream, limits.head_time, limits.write_time, stage.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        let answering = stage.answer();
        request.extensions_mut().insert(peer.clone());
        let (head, body) = request.into_parts();
        let (body, reading) = unread::watch(body);
        let answer = router.clone().oneshot(Request::from_parts(head, Body::new(body)));
        async move {
            let mut answer = answer.await;
            if let Ok(answer) = &mut answer
                && !reading.is_over()
            {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            // Until the last byte of the answer, what the client sends is no new request.
            answer.map(|answer| {
                answer.map(|body| {
                    Body::new(body.map_frame(move |frame| {
                        let _ = &answering;
                        frame
                    }))
                })
            })
        }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(limits.idle_time).max_buf_size(HEAD_BYTES);
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %address, %error, "a connection ended early");
    }
}

/// Who is connected: so many altogether, and so many from one address.
struct Guests {
    room: Arc<Semaphore>,
    per_address: usize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// The place of one connection.
struct Seat {
    guests: Arc<Guests>,
    address: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Guests {
    fn new(limits: Limits) -> Self {
        Self {
            room: Arc::new(Semaphore::new(limits.connections)),
            per_address: limits.connections_per_address,
            by_address: Mutex::default(),
        }
    }

    /// A place, if there is one left.
    fn seat(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let permit = Arc::clone(&self.room).try_acquire_owned().ok()?;
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let seated = by_address.entry(address).or_default();
        if *seated >= self.per_address {
            return None;
        }
        *seated += 1;
        Some(Seat { guests: Arc::clone(self), address, _permit: permit })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut by_address = self.guests.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seated) = by_address.get_mut(&self.address) {
            *seated -= 1;
            if *seated == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
#[path = "listener_tests.rs"]
mod tests;
