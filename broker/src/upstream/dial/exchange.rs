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

/// Bytes of informational answers (RFC 9110, 15.2) that are read before the real one. Whoever sends them without end
/// would otherwise keep a worker busy until the upgrade's time-out.
const INFORMATIONAL_MAX: usize = 64 * 1024;

/// A connection that notices whether it has carried anything, and brings no more than an answer's head may take until
/// that is there.
pub(super) struct Watched {
    stream: Stream,
    carried: Arc<Carried>,
    /// Bytes that may still come before the answer's head is there.
    head_room: usize,
}

#[derive(Debug, Default)]
struct Carried {
    /// Some of the request has gone out.
    asked: AtomicBool,
    /// Some of an answer has come in.
    answered: AtomicBool,
    /// Its head is there.
    headed: AtomicBool,
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
    let head_room = manner.header + INFORMATIONAL_MAX;
    let watched = Watched { stream, carried: Arc::clone(&carried), head_room };
    let asked = async {
        let (mut sender, connection) = manner.handshake(watched).await?;
        // It ends with the upgrade, with the body of another answer, or when both are dropped.
        tokio::spawn(connection.with_upgrades());
        let answer = sender.send_request(request).await?;
        carried.headed.store(true, Relaxed);
        Ok(answer)
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
        let came = buffer.filled().len() - before;
        if came > 0 {
            self.carried.answered.store(true, Relaxed);
        }
        if !self.carried.headed.load(Relaxed) {
            // What stands behind the head may have come with it.
            if self.head_room == 0 {
                let why = "there is no end of its informational answers";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
            }
            self.head_room = self.head_room.saturating_sub(came);
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

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::config::settings::HeaderCase;

    const MANNER: Manner = Manner { case: HeaderCase::Lower, header: 16 * 1024, header_lines: 100 };

    /// What becomes of a request to a backend that answers with `continues` times 100 and then `last`.
    async fn answered(continues: usize, last: &'static [u8]) -> Result<Response<Incoming>, NoAnswer> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let backend = async move {
            let (mut stream, _) = listener.accept().await.expect("it is dialled");
            let answers = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(continues);
            // Who gives up does not read it all.
            let _ = stream.write_all(&answers).await;
            let _ = stream.write_all(last).await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        };
        tokio::spawn(backend);
        let stream = TcpStream::connect(address).await.expect("it listens");
        let request = Request::builder().uri("/").header("host", "a").body(Empty::new()).expect("a request");
        exchange(stream.into(), request, MANNER).await
    }

    #[tokio::test]
    async fn some_informational_answers_are_read_over() {
        let body = answered(100, b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone").await;
        let body = body.expect("an answer").into_body().collect().await.expect("its body");
        assert_eq!(body.to_bytes(), "none");
    }

    #[tokio::test]
    async fn informational_answers_come_to_an_end() {
        let NoAnswer::Failed(error) = answered(100_000, b"").await.expect_err("no answer comes") else {
            panic!("it has said something");
        };
        assert!(cause(&error).contains("no end of its informational answers"), "{}", cause(&error));
    }

    #[tokio::test]
    async fn the_body_behind_a_head_has_no_such_bound() {
        static LONG: [u8; 400_000] = [b'x'; 400_000];
        let head = b"HTTP/1.1 404 Not Found\r\nContent-Length: 400000\r\n\r\n";
        let all: &'static [u8] = Box::leak([&head[..], &LONG[..]].concat().into());
        let body = answered(0, all).await.expect("an answer").into_body().collect().await;
        assert_eq!(body.expect("its body").to_bytes().len(), LONG.len());
    }
}
