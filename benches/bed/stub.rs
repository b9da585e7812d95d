//! A stub of AWS: one endpoint for all services, page sizes and rate limits as AWS has them, every answer 50 ms
//! after its request. Signatures are not checked.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::answers::Answers;
use super::calls::Call;
use super::estate::Estate;
use super::limits::Limits;

/// From the last byte of a request to the first byte of its answer.
const LATENCY: Duration = Duration::from_millis(50);

/// A running stub. Ends when dropped.
#[derive(Debug)]
pub struct Stub {
    pub estate: Arc<Estate>,
    address: SocketAddr,
    state: Arc<State>,
    _stop: oneshot::Sender<()>,
}

#[derive(Debug)]
struct State {
    answers: Answers,
    /// `None` lets every request through.
    limits: Option<Mutex<Limits>>,
    traffic: Mutex<Traffic>,
}

/// What the stub was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests by `service.Operation`, refused ones included.
    pub requests: BTreeMap<String, u64>,
    /// Requests refused by a rate limit.
    pub throttled: u64,
}

impl Traffic {
    pub fn total(&self) -> u64 {
        self.requests.values().sum()
    }
}

impl Stub {
    /// Serves an estate on a loopback port, from a thread of its own.
    pub fn start(estate: Estate, limited: bool) -> io::Result<Self> {
        let estate = Arc::new(estate);
        let state = Arc::new(State {
            answers: Answers::new(Arc::clone(&estate)),
            limits: limited.then(Mutex::default),
            traffic: Mutex::default(),
        });
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = Arc::clone(&state);
        std::thread::Builder::new().name("aws-stub".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => Ok(()),
                    result = serve(listener, serving) => result,
                }
            })
        })?;
        Ok(Self { estate, address, state, _stop: stop })
    }

    /// For `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Forgets all traffic: full buckets, no counts.
    pub fn forget(&self) {
        *lock(&self.state.traffic) = Traffic::default();
        if let Some(limits) = &self.state.limits {
            *lock(limits) = Limits::default();
        }
    }

    /// What was asked since.
    pub fn traffic(&self) -> Traffic {
        lock(&self.state.traffic).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: std::net::TcpListener, state: Arc<State>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&state), request));
            // A client that hangs up is its own business.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    let due = Instant::now() + LATENCY;
    let call = Call::read(&head, &body);
    let admitted = state.limits.as_ref().is_none_or(|limits| lock(limits).admit(&call));
    state.count(&call, admitted);
    let response = if admitted { state.answers.to(&call) } else { Answers::throttled(&call) };
    sleep_until(due).await;
    Ok(response)
}

impl State {
    fn count(&self, call: &Call, admitted: bool) {
        let mut traffic = lock(&self.traffic);
        *traffic.requests.entry(call.name()).or_default() += 1;
        traffic.throttled += u64::from(!admitted);
    }
}
