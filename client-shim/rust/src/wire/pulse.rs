//! A stream that knows whether its peer is alive while a long message is on its way.
//!
//! The WebSocket layer tells of whole messages only, and one may take longer than silence is borne. Bytes
//! that are read are a sign of life. So are bytes that the system takes after it has taken none: its buffer
//! had been full, and the peer has made room. Other writes say nothing of the peer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whether there was a sign of life since it was last asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pulse(Arc<AtomicBool>);

impl Pulse {
    fn beat(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Observed<S> {
    stream: S,
    pulse: Pulse,
    /// The system has taken nothing of the last write.
    full: bool,
}

impl<S> Observed<S> {
    pub(crate) fn new(stream: S) -> (Observed<S>, Pulse) {
        let pulse = Pulse::default();
        (Observed { stream, pulse: pulse.clone(), full: false }, pulse)
    }

    fn watch(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if self.full && matches!(written, Poll::Ready(Ok(1..))) {
            self.pulse.beat();
        }
        self.full = written.is_pending();
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.pulse.beat();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_is_read_is_a_sign_of_life() {
        let (near, mut far) = tokio::io::duplex(64);
        let (mut near, pulse) = Observed::new(near);
        assert!(!pulse.take());
        far.write_all(b"half a mess").await.expect("room");
        near.read_u8().await.expect("a byte");
        assert!(pulse.take() && !pulse.take());
    }

    #[tokio::test]
    async fn what_is_written_is_one_after_the_buffer_was_full() {
        let (near, mut far) = tokio::io::duplex(8);
        let (mut near, pulse) = Observed::new(near);
        near.write_all(b"12345678").await.expect("room");
        assert!(!pulse.take(), "the peer need not be there for that");
        assert_eq!(near.write(b"9").now_or_never().map(|written| written.is_ok()), None);
        assert!(!pulse.take());
        far.read_u8().await.expect("a byte");
        near.write_all(b"9").await.expect("room");
        assert!(pulse.take());
    }
}
