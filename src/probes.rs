//! `/healthz`, `/readyz` and `/metrics`: open to anybody who can reach the address, so they tell no secrets, and a
//! client that is slow or many costs a bounded amount.

use std::fmt::Write as _;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

/// Connections at a time; further ones wait.
const CONNECTIONS_MAX: usize = 64;

/// A connection is over after this long, whatever is under way. Scrapers connect again.
const CONNECTION_LASTS: Duration = Duration::from_mins(1);

/// What an accept that fails waits for: mostly for files to be closed.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// What the probes tell.
pub trait Observed: Send + Sync + 'static {
    /// What has to work before there is work: a name, and why not.
    fn readiness(&self) -> Vec<(&'static str, Result<(), String>)>;
    /// The metrics in Prometheus' text format.
    fn metrics(&self) -> Result<String, prometheus::Error>;
}

/// Serves until it is cancelled.
pub async fn serve<O: Observed>(listener: TcpListener, observed: Arc<O>, cancel: CancellationToken) {
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz::<O>))
        .route("/metrics", get(metrics::<O>))
        .with_state(observed);
    let listener = Bounded { listener, permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)) };
    // Probes may go on until the process ends: no connection is worth waiting for.
    if let Some(Err(error)) = cancel.run_until_cancelled(async { axum::serve(listener, router).await }).await
    {
        tracing::error!(%error, "health and metrics are not served any more");
    }
}

async fn readyz<O: Observed>(State(observed): State<Arc<O>>) -> Response {
    let checks = observed.readiness();
    let ready = checks.iter().all(|(_, check)| check.is_ok());
    let mut text = String::new();
    for (name, check) in &checks {
        let _ = match check {
            Ok(()) => writeln!(text, "[+] {name}: ok"),
            Err(why) => writeln!(text, "[-] {name}: {why}"),
        };
    }
    text.push_str(if ready { "ready\n" } else { "not ready\n" });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, text).into_response()
}

async fn metrics<O: Observed>(State(observed): State<Arc<O>>) -> Response {
    match observed.metrics() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be shown");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A listener that holds so many connections and no more.
struct Bounded {
    listener: TcpListener,
    permits: Arc<Semaphore>,
}

impl axum::serve::Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // The semaphore is never closed; without a permit, the connection merely is not counted.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    let over = Box::pin(sleep(CONNECTION_LASTS));
                    return (Connection { stream, over, _permit: permit }, address);
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection was lost before it began");
                    sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when its time is over.
struct Connection {
    stream: TcpStream,
    over: Pin<Box<Sleep>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        self.over.as_mut().poll(context).is_ready()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_over(context) {
            // The end of what the client has to say.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_over(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
