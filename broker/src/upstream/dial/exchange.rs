//! The upgrade request and its answer, and what it means when there is none.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::stream::Stream;
use crate::upstream::manner::Manner;

/// A connection that notices whether it has carried anything.
pub(super) struct Watched {
    stream: Stream,
    carried: Arc<Carried>,
}

#[derive(Debug, Default)]
struct Carried {
    /// Some of the request has gone out.
    asked: AtomicBool,
    /// Some of an answer has come in.
    answered: AtomicBool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The backend took the request and ended the connection, without one byte.
    HungUp(hyper::Error),
    /// It is something else.
    Failed(hyper::Error),
}

/// Sends the upgrade, as the pool's backends are spoken to.
pub(super) async fn exchange(
    stream: Stream,
    request: Request<Empty<Bytes>>,
    manner: Manner,
) -> Result<Response<Incoming>, NoAnswer> {
    let carried = Arc::<Carried>::default();
    let watched = Watched { stream, carried: Arc::clone(&carried) };
    let asked = async {
        let (mut sender, connection) = manner.handshake(watched).await?;
        // It ends with the upgrade, with the body of another answer, or when both are dropped.
        tokio::spawn(connection.with_upgrades());
        sender.send_request(request).await
    };
    asked.await.map_err(|error| match carried.asked.load(Relaxed) && !carried.answered.load(Relaxed) {
        true => NoAnswer::HungUp(error),
        false => NoAnswer::Failed(error),
    })
}

/// hyper hides what the kernel said behind its own words.
pub(super) fn cause(error: &hyper::Error) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

impl Watched {
    /// Returns the connection, after the upgrade.
    pub(super) fn into_inner(self) -> Stream {
        self.stream
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(1..)) = written {
            self.carried.asked.store(true, Relaxed);
        }
        written
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.carried.answered.store(true, Relaxed);
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.wrote(written)
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
