//! The upgrade request and its answer, and what it means when there is none. The answer's head is read here, for mostly
//! it is a 101, and nothing behind that is HTTP; of any other answer hyper reads the body.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::header::HeaderMap;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use crate::http::head::{self, AnswerHead};
use crate::net::stream::Stream;
use crate::upstream::manner::Manner;

/// Bytes of informational answers (RFC 9110, 15.2) that are read before the real one. Whoever sends them without end
/// would otherwise keep a worker busy until the upgrade's time-out.
const INFORMATIONAL_MAX: usize = 64 * 1024;

/// Room for what is read of an answer, at first and whenever that is full.
const ROOM: usize = 1024;
const MORE_ROOM: usize = 4096;

/// What a backend has answered.
pub(super) enum Answer {
    /// It has switched to another protocol.
    Switched(Switched),
    /// Anything else. What of the body has not come yet is read from the connection as it is asked for.
    Other(Response<Incoming>),
}

/// A connection behind a 101.
pub(super) struct Switched {
    pub(super) stream: Stream,
    pub(super) headers: HeaderMap,
    /// What came right behind the head.
    pub(super) early: Bytes,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The backend took the request and ended the connection, without one byte.
    HungUp(String),
    /// Its head is larger than we read.
    OverLimit,
    /// It is something else.
    Failed(String),
}

/// Sends an upgrade request and reads the answer, as the pool's backends are spoken to.
pub(super) async fn exchange(stream: Stream, request: &[u8], manner: Manner) -> Result<Answer, NoAnswer> {
    let mut asking = Asking::new(stream, request);
    let (head, came) = asking.answer(manner).await?;
    let Asking { stream, request, .. } = asking;
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        if !request.is_empty() {
            return Err(NoAnswer::Failed("it switched before it was asked to".to_owned()));
        }
        let early = came.slice(head.length..);
        return Ok(Answer::Switched(Switched { stream, headers: head.headers, early }));
    }
    let read = AnswerReplay { stream, came, asked: false };
    // Few need the room for it.
    Box::pin(with_body(read, manner)).await.map(Answer::Other).map_err(|error| {
        match error.is_parse_too_large() {
            true => NoAnswer::OverLimit,
            false => NoAnswer::Failed(error.to_string()),
        }
    })
}

/// Has hyper read an answer whose head has come, for the sake of its body.
async fn with_body(answered: AnswerReplay, manner: Manner) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) = manner.handshake(answered).await?;
    // It ends with the body, or when that is dropped.
    tokio::spawn(connection);
    // The method is all that matters of it, for the body's length (RFC 9112, 6.3).
    sender.send_request(Request::new(Empty::<Bytes>::new())).await
}

/// A connection on which an answer is awaited.
struct Asking<'a> {
    stream: Stream,
    /// What is not sent yet of the request.
    request: &'a [u8],
    /// Some of the request has gone out.
    asked: bool,
    /// Some of an answer has come in.
    answered: bool,
    /// Bytes of informational answers.
    passed: usize,
    /// What has come behind them.
    came: BytesMut,
    /// So many of its first bytes hold no whole head.
    looked_at: usize,
}

impl Asking<'_> {
    fn new(stream: Stream, request: &[u8]) -> Asking<'_> {
        let came = BytesMut::with_capacity(ROOM);
        Asking { stream, request, asked: false, answered: false, passed: 0, came, looked_at: 0 }
    }

    /// Returns the answer's head, with what has come from its first byte on.
    async fn answer(&mut self, manner: Manner) -> Result<(AnswerHead, Bytes), NoAnswer> {
        loop {
            match poll_fn(|cx| self.poll_talk(cx)).await {
                Ok(0) => {
                    return Err(
                        self.no_answer("the connection ended before there was a whole answer".to_owned())
                    );
                }
                Ok(_) => self.answered = true,
                Err(error) => return Err(self.no_answer(error.to_string())),
            }
            while let Some((head, mut came)) = self.head(manner)? {
                if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                    return Ok((head, came));
                }
                came.advance(head.length);
                self.passed += head.length;
                drop(head);
                self.keep(came);
            }
            if self.passed > INFORMATIONAL_MAX {
                return Err(NoAnswer::Failed("there is no end of its informational answers".to_owned()));
            }
        }
    }

    /// Reads a head from what has come; `None`: it is not whole.
    fn head(&mut self, manner: Manner) -> Result<Option<(AnswerHead, Bytes)>, NoAnswer> {
        // Of one that trickles in not each part is parsed.
        let may_be_whole = self.looked_at == 0
            || self.came.get(self.looked_at.saturating_sub(2)..).is_some_and(head::may_end_in);
        let limit = manner.header_max();
        if may_be_whole && !self.came.is_empty() {
            let came = std::mem::take(&mut self.came).freeze();
            match head::answer(&came, manner.header_lines) {
                Ok(Some(head)) if head.length <= limit => return Ok(Some((head, came))),
                Ok(Some(_)) | Err(httparse::Error::TooManyHeaders) => return Err(NoAnswer::OverLimit),
                Ok(None) => self.keep(came),
                Err(error) => return Err(NoAnswer::Failed(format!("its answer is no HTTP: {error}"))),
            }
        }
        self.looked_at = self.came.len();
        if self.came.len() < limit { Ok(None) } else { Err(NoAnswer::OverLimit) }
    }

    /// Goes on with these bytes.
    fn keep(&mut self, came: Bytes) {
        self.came = came.try_into_mut().unwrap_or_else(|came| BytesMut::from(&came[..]));
        self.looked_at = 0;
    }

    /// Sends what is left of the request, and reads: a backend may answer before it has taken all of it, and hang up on the
    /// rest.
    fn poll_talk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // Who has hung up by now has not done so on this request.
        let before = (!self.asked && self.stream.may_be_readable()).then(|| self.poll_read(cx));
        if let Some(ended @ Poll::Ready(Ok(0) | Err(_))) = before {
            return ended;
        }
        let sent = self.poll_send(cx);
        let read = before.filter(Poll::is_ready).unwrap_or_else(|| self.poll_read(cx));
        match (sent, read) {
            (Poll::Ready(Err(error)), Poll::Pending | Poll::Ready(Ok(0) | Err(_))) => Poll::Ready(Err(error)),
            (_, read) => read,
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.came.len() == self.came.capacity() {
            self.came.reserve(MORE_ROOM);
        }
        poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.came)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.request.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, self.request)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(sent) => {
                    self.asked = true;
                    self.request = self.request.get(sent..).unwrap_or_default();
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn no_answer(&self, why: String) -> NoAnswer {
        match self.asked && !self.answered {
            true => NoAnswer::HungUp(why),
            false => NoAnswer::Failed(why),
        }
    }
}

/// A connection whose request was sent and of whose answer some was read, for one who does both once more.
struct AnswerReplay {
    stream: Stream,
    /// What is to be read again.
    came: Bytes,
    /// The request was sent again, and so is its answer expected.
    asked: bool,
}

impl AsyncRead for AnswerReplay {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.asked {
            return Poll::Pending;
        }
        if self.came.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let length = self.came.len().min(buffer.remaining());
        buffer.put_slice(&self.came.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for AnswerReplay {
    /// Nothing is sent a second time.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !std::mem::replace(&mut self.asked, true) {
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
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
    use crate::config::settings::{HeaderCase, SendProxy};

    const MANNER: Manner =
        Manner { case: HeaderCase::Lower, header: 16 * 1024, header_lines: 100, proxy: SendProxy::Off };

    /// What becomes of a request to a backend that answers with `continues` times 100 and then `last`.
    async fn answered(continues: usize, last: &'static [u8]) -> Result<Answer, NoAnswer> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let backend = async move {
            let (mut stream, _) = listener.accept().await.expect("it is dialled");
            let answers = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(continues);
            // Who gives up does not read it all.
            let _ = stream.write_all(&answers).await;
            let _ = stream.write_all(last).await;
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        };
        tokio::spawn(backend);
        let stream = TcpStream::connect(address).await.expect("it listens");
        exchange(stream.into(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", MANNER).await
    }

    /// The body of an answer that is none of a 101.
    async fn body(continues: usize, answer: &'static [u8]) -> Bytes {
        let Answer::Other(answer) = answered(continues, answer).await.expect("an answer") else {
            panic!("it has switched")
        };
        answer.into_body().collect().await.expect("its body").to_bytes()
    }

    #[tokio::test]
    async fn some_informational_answers_are_read_over() {
        assert_eq!(body(100, b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone").await, "none");
        let switched = answered(100, b"HTTP/1.1 101 Switching Protocols\r\nX-A: 1\r\n\r\n\x81\x00").await;
        let Ok(Answer::Switched(Switched { headers, early, .. })) = switched else {
            panic!("it has switched")
        };
        assert_eq!((&headers["x-a"], &early[..]), (&"1".parse().expect("a value"), &b"\x81\x00"[..]));
    }

    /// A request to a backend that ends each connection, before or after it was asked.
    async fn hung_up_on(asked: bool) -> NoAnswer {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("it is dialled");
            if asked {
                stream.read_u8().await.expect("a request");
            }
        });
        let mut stream = Stream::from(TcpStream::connect(address).await.expect("it listens"));
        if !asked {
            stream.readable().await.expect("an orderly end");
        }
        exchange(stream, b"GET / HTTP/1.1\r\n\r\n", MANNER).await.err().expect("no answer")
    }

    #[tokio::test]
    async fn who_ends_the_connection_before_it_is_asked_does_not_hang_up_on_the_request() {
        assert!(matches!(hung_up_on(false).await, NoAnswer::Failed(_)));
        assert!(matches!(hung_up_on(true).await, NoAnswer::HungUp(_)));
    }

    #[tokio::test]
    async fn informational_answers_come_to_an_end() {
        let Err(NoAnswer::Failed(why)) = answered(100_000, b"").await else {
            panic!("it has said something")
        };
        assert!(why.contains("no end of its informational answers"), "{why}");
    }

    #[tokio::test]
    async fn the_body_behind_a_head_has_no_such_bound() {
        static LONG: [u8; 400_000] = [b'x'; 400_000];
        let head = b"HTTP/1.1 404 Not Found\r\nContent-Length: 400000\r\n\r\n";
        let all: &'static [u8] = Box::leak([&head[..], &LONG[..]].concat().into());
        assert_eq!(body(0, all).await.len(), LONG.len());
    }

    #[tokio::test]
    async fn bodies_are_read_in_each_form() {
        for (head, rest) in [
            ("Content-Length: 4\r\n\r\n", "none, and more"),
            ("Transfer-Encoding: chunked\r\n\r\n", "1\r\nn\r\n3\r\none\r\n0\r\n\r\n"),
            ("Connection: close\r\n\r\n", "none"),
            ("X-A: 1\r\n 2\r\nContent-Length : 4\r\n\r\n", "none"),
        ] {
            let answer = format!("HTTP/1.1 404 Not Found\r\n{head}{rest}");
            assert_eq!(body(0, Box::leak(answer.into_bytes().into())).await, "none", "{head}");
        }
        assert_eq!(body(0, b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nnone").await, "");
    }

    /// However an answer comes in, and whatever its head is ended with.
    #[tokio::test]
    async fn a_head_that_trickles_in_is_read() {
        for end in ["\r\n", "\n"] {
            let answer = "HTTP/1.1 100 Continue\n\nHTTP/1.1 101 Switching Protocols\nX-A: 1\nX-B: 2\n\n"
                .replace('\n', end);
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
            let address = listener.local_addr().expect("it is bound");
            let backend = async move {
                let (mut stream, _) = listener.accept().await.expect("it is dialled");
                stream.set_nodelay(true).expect("it stands");
                for byte in answer.as_bytes() {
                    stream.write_all(&[*byte]).await.expect("it is read");
                    tokio::task::yield_now().await;
                }
                stream
            };
            let stream = TcpStream::connect(address).await.expect("it listens");
            let asking = exchange(stream.into(), b"GET / HTTP/1.1\r\n\r\n", MANNER);
            let (_backend, answer) = tokio::join!(backend, asking);
            let Ok(Answer::Switched(Switched { headers, .. })) = answer else { panic!("it has switched") };
            assert_eq!(headers.len(), 2);
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_is_told_apart() {
        let failed = async |last| match answered(0, last).await {
            Err(NoAnswer::Failed(why)) => why,
            other => panic!("{:?}", other.err()),
        };
        assert!(failed(b"SSH-2.0-x\r\n").await.contains("no HTTP"));
        let lines =
            [&b"HTTP/1.1 101 Switching Protocols\r\n"[..], &b"X-A: 1\r\n".repeat(101), b"\r\n"].concat();
        let long =
            [b"HTTP/1.1 101 Switching Protocols\r\nX-A: ", &[b'x'; 16 * 1024][..], b"\r\n\r\n"].concat();
        for large in [lines, long] {
            let answer = answered(0, Box::leak(large.into())).await;
            assert!(matches!(answer, Err(NoAnswer::OverLimit)), "{:?}", answer.err());
        }
    }
}
