//! A connection to a backend, over which requests go one after another. hyper speaks HTTP on it.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::body::{BodyWatch, RequestBody};
use crate::net::stream::Stream;
use crate::upstream::manner::Manner;

/// How often the kernel asks whether a silent backend's host is there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// A connection for requests.
pub(super) struct RequestConnection {
    sender: SendRequest<RequestBody>,
    /// For the answers, one after another. It is not set anew for each: when it is over, it is looked what holds by then.
    timer: Pin<Box<Sleep>>,
    /// Something has come since the last request was sent.
    heard: Arc<AtomicBool>,
}

/// What became of a request without an answer.
pub(super) enum Undelivered {
    /// There was none in time.
    Late,
    /// Nothing of it was written.
    Whole(Box<Request<RequestBody>>),
    Lost {
        /// Something has come of an answer.
        answered: bool,
    },
}

impl RequestConnection {
    /// A connection over this stream, which is driven by a task of its own until one of its ends is closed. Answers are
    /// waited for about so long.
    ///
    /// # Errors
    /// Those of hyper, which waits for nothing here.
    pub(super) async fn new(
        stream: Stream,
        manner: Manner,
        limit: Duration,
    ) -> io::Result<RequestConnection> {
        // An answer may take its time, and a host that has vanished says nothing.
        if let Err(error) = stream.set_keepalive(KEEPALIVE) {
            tracing::debug!(%error, "a socket option was refused");
        }
        let heard = Arc::new(AtomicBool::new(false));
        let stream = TokioIo::new(HeardStream { stream, heard: Arc::clone(&heard) });
        let made = manner.keep_alive().handshake(stream).await;
        let (sender, connection) = made.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(RequestConnection { sender, timer: Box::pin(sleep(limit)), heard })
    }

    /// Its end has not been seen.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Waits until it can take a request, which is in a moment if its last answer has just ended; false: it has ended.
    pub(super) async fn is_ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends a request, and returns the head of its answer, if it comes within `limit` of the last that was read of the
    /// request's body.
    ///
    /// # Errors
    /// What is left of the request.
    pub(super) fn send<'a>(
        &'a mut self,
        request: Request<RequestBody>,
        (limit, body): (Duration, &'a BodyWatch),
    ) -> impl Future<Output = Result<Response<Incoming>, Undelivered>> + 'a {
        self.heard.store(false, Relaxed);
        let mut until = Instant::now() + limit;
        let answer = self.sender.try_send_request(request);
        let (timer, heard) = (&mut self.timer, &self.heard);
        async move {
            let mut answer = pin!(answer);
            let answered = poll_fn(|cx| {
                if let Poll::Ready(answered) = answer.as_mut().poll(cx) {
                    return Poll::Ready(Some(answered));
                }
                if timer.deadline() > until {
                    timer.as_mut().reset(until);
                }
                while timer.as_mut().poll(cx).is_ready() {
                    let now = Instant::now();
                    until = body.last_read().map_or(until, |at| until.max(at + limit));
                    if now >= until {
                        return Poll::Ready(None);
                    }
                    timer.as_mut().reset(until);
                }
                Poll::Pending
            });
            let Some(answered) = answered.await else { return Err(Undelivered::Late) };
            answered.map_err(|mut error| match error.take_message() {
                Some(whole) => Undelivered::Whole(Box::new(whole)),
                None => {
                    tracing::debug!(error = %error.error(), "a request got no answer");
                    Undelivered::Lost { answered: heard.load(Relaxed) }
                }
            })
        }
    }
}

/// A stream that notes whether something has come.
struct HeardStream {
    stream: Stream,
    heard: Arc<AtomicBool>,
}

impl AsyncRead for HeardStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.heard.store(true, Relaxed);
        }
        read
    }
}

impl AsyncWrite for HeardStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
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
