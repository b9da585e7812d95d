//! A connection that gives up on a client which does not get on: one that takes for ever to say what it wants, or that
//! no longer takes what it is sent.
//!
//! Without the first a client could hold connections with a byte a minute, without the second it could ask for much and
//! never read it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// Whether a request is being answered. What is read while none is, belongs to the head of the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stage(Arc<AtomicBool>);

/// An answer under way; it is over with this value.
pub(crate) struct Answering(Stage);

impl Stage {
    pub fn answer(&self) -> Answering {
        self.0.store(true, Ordering::Relaxed);
        Answering(self.clone())
    }

    fn is_answering(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}

/// A stream that fails once its client is stuck for too long.
pub(crate) struct Patient<S> {
    stream: S,
    stage: Stage,
    head_time: Duration,
    /// Runs from the first byte of a head.
    head: Option<Pin<Box<Sleep>>>,
    write_time: Duration,
    /// Runs while nothing can be written.
    stuck: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub fn new(stream: S, head_time: Duration, write_time: Duration, stage: Stage) -> Self {
        Self { stream, stage, head_time, head: None, write_time, stuck: None }
    }

    /// What came of a write, or an error if nothing did for too long.
    fn judge<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let patience = self.write_time;
        let stuck =
            self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + patience)));
        ready!(stuck.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.stage.is_answering() {
            this.head = None;
        } else if let Some(head) = &mut this.head
            && head.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the head does not come")));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        let came = buffer.filled().len() > before;
        if came && this.head.is_none() && !this.stage.is_answering() {
            this.head = Some(Box::pin(sleep(this.head_time)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.judge(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        this.judge(context, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.stream).poll_shutdown(context);
        this.judge(context, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LONG: Duration = Duration::from_mins(10);
    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_reader_who_stops_is_dropped() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let mut patient = Patient::new(ours, LONG, SHORT, Stage::default());
        patient.write_all(b"hello").await.unwrap();
        let mut taken = [0; 5];
        theirs.read_exact(&mut taken).await.unwrap();
        let error = patient.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_is_dropped_and_a_body_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let stage = Stage::default();
        let mut patient = Patient::new(ours, SHORT, LONG, stage.clone());
        let answering = stage.answer();
        theirs.write_all(b"body").await.unwrap();
        let mut taken = [0; 4];
        patient.read_exact(&mut taken).await.unwrap();
        let late = tokio::time::timeout(2 * SHORT, patient.read_u8()).await;
        assert!(late.is_err(), "a body may take its time");
        drop(answering);
        theirs.write_all(b"GET ").await.unwrap();
        patient.read_exact(&mut taken).await.unwrap();
        let error = patient.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
