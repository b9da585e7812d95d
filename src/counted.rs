//! Counts what is asked of the control plane, whichever it is.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::http::{Request, Response};
use tagwarden_operator::metrics::Metrics;
use tower::{Layer, Service};

/// Counts requests by method and answer. What is asked before there are metrics goes uncounted.
#[derive(Debug, Clone, Default)]
pub struct Counting {
    metrics: Arc<OnceLock<Metrics>>,
}

impl Counting {
    /// Counts into these from now on.
    pub fn counted_by(&self, metrics: &Metrics) {
        // A second time would be a mistake of ours, and changes nothing.
        let _ = self.metrics.set(metrics.clone());
    }
}

impl<S> Layer<S> for Counting {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, metrics: Arc::clone(&self.metrics) }
    }
}

/// A service whose requests are counted.
#[derive(Debug, Clone)]
pub struct Counted<S> {
    inner: S,
    metrics: Arc<OnceLock<Metrics>>,
}

impl<S, B, R> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let method = request.method().clone();
        let metrics = Arc::clone(&self.metrics);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            if let (Some(metrics), Ok(answer)) = (metrics.get(), &answer) {
                metrics.request(answer.status().as_u16(), method.as_str());
            }
            answer
        })
    }
}
