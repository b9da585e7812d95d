//! Whether a body was read to its end.
//!
//! A client that is refused in the middle of a long body goes on sending it, and if it keeps the connection it loses its
//! next request there. So an answer to a body that was not read says that the connection ends with it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Frame, SizeHint};

/// Tells whether the body that it belongs to was read.
#[derive(Clone, Debug)]
pub(crate) struct Reading(Arc<AtomicBool>);

impl Reading {
    /// Whether nothing of the body is left.
    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A body that takes note of its end.
pub(crate) struct Watched<B> {
    body: B,
    over: Arc<AtomicBool>,
}

/// The body, watched, and what tells how far it is.
pub(crate) fn watch<B: Body>(body: B) -> (Watched<B>, Reading) {
    let over = Arc::new(AtomicBool::new(body.is_end_stream()));
    (Watched { body, over: Arc::clone(&over) }, Reading(over))
}

impl<B: Body + Unpin> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        if frame.is_none() || this.body.is_end_stream() {
            this.over.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
