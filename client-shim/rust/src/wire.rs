//! One WebSocket that one task reads and writes at the same time, so that neither waits for the other.

mod pulse;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Sink, Stream};
use steadfast_protocol::websocket::close_code::CloseCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

pub(crate) use pulse::{Observed, Pulse};
pub(crate) use tokio_tungstenite::tungstenite::Message as Outgoing;

/// Bytes that are read at once. The library keeps so many for each connection.
const READ_BUFFER: usize = 16 * 1024;

/// Bytes that are gathered for one write.
const WRITE_BUFFER: usize = 16 * 1024;

/// What the library may hold beyond a message and [`WRITE_BUFFER`]: headers and control frames.
const SPARE: usize = 1024;

/// What the reason of a Close may be long, in bytes.
const REASON_MAX: usize = 123;

/// How long a goodbye may take, once nothing else is to be said.
const GOODBYE: Duration = Duration::from_secs(5);

/// Bounds for a connection that reads messages up to `read` bytes and writes such up to `written`.
pub(crate) fn config(read: usize, written: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(WRITE_BUFFER.saturating_add(written).saturating_add(SPARE))
        .max_message_size(Some(read))
        .max_frame_size(Some(read))
}

/// What came.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A data message, whole.
    Message { text: bool, payload: Bytes },
    /// A ping. The library answers it, before anything that is read after it.
    Ping(Bytes),
    /// Something else: the peer is alive.
    Alive,
    /// A Close, and 1005 when it had no code (RFC 6455, 7.1.5).
    Closed { code: CloseCode, reason: String },
    /// The end, without a Close.
    Ended { error: Option<Error> },
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Wire<S> {
    socket: WebSocketStream<S>,
    unflushed: bool,
    /// Writing has failed. It is still read: the peer's last words may say why.
    broken: bool,
    /// How, until somebody was told.
    error: Option<Error>,
    pulse: Pulse,
}

/// A data message as the library wants it. `text`: the payload is UTF-8.
pub(crate) fn data(text: bool, payload: Vec<u8>) -> Message {
    if !text {
        return Message::Binary(payload.into());
    }
    let text = String::from_utf8(payload);
    Message::text(text.unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// A Close that is to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: CloseCode,
    pub(crate) reason: String,
}

impl Close {
    /// An application's. A code that it must not use is taken for 1000 (RFC 6455, 7.4), and a reason that does
    /// not fit is cut (5.5).
    pub(crate) fn new(code: CloseCode, reason: &str) -> Close {
        let code = if code.is_private() { code } else { CloseCode::NORMAL };
        Close { code, reason: reason[..reason.floor_char_boundary(REASON_MAX)].to_owned() }
    }
}

/// A Close as the library wants it.
pub(crate) fn close(close: Close) -> Outgoing {
    Message::Close(Some(CloseFrame { code: close.code.0.into(), reason: close.reason.into() }))
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// `pulse`: of the stream below the socket, if it is observed.
    pub(crate) fn new(socket: WebSocketStream<S>, pulse: Pulse) -> Wire<S> {
        Wire { socket, unflushed: false, broken: false, error: None, pulse }
    }

    /// Writes what `next` gives, and reads until something has come. Nothing is lost when it is dropped
    /// before. With `read` false it writes only, and ends when that fails.
    pub(crate) async fn turn(&mut self, read: bool, next: &mut impl FnMut() -> Option<Message>) -> Heard {
        std::future::poll_fn(|cx| {
            self.poll_write(cx, next);
            match read {
                true => match self.poll_read(cx) {
                    Poll::Pending if self.pulse.take() => Poll::Ready(Heard::Alive),
                    heard => heard,
                },
                false if self.broken => Poll::Ready(Heard::Ended { error: self.error.take() }),
                false => Poll::Pending,
            }
        })
        .await
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, next: &mut impl FnMut() -> Option<Message>) {
        if self.broken {
            return;
        }
        if let Err(error) = self.try_write(cx, next) {
            (self.broken, self.error) = (true, Some(error));
        }
    }

    fn try_write(
        &mut self,
        cx: &mut Context<'_>,
        next: &mut impl FnMut() -> Option<Message>,
    ) -> Result<(), Error> {
        let mut socket = Pin::new(&mut self.socket);
        while socket.as_mut().poll_ready(cx)?.is_ready() {
            let Some(message) = next() else { break };
            socket.as_mut().start_send(message)?;
            self.unflushed = true;
        }
        if self.unflushed && socket.as_mut().poll_flush(cx)?.is_ready() {
            self.unflushed = false;
        }
        Ok(())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        let came = std::task::ready!(Pin::new(&mut self.socket).poll_next(cx));
        // The library may have an answer to what came, which waits for the next write.
        self.unflushed = true;
        Poll::Ready(match came {
            Some(Ok(Message::Text(text))) => Heard::Message { text: true, payload: text.into() },
            Some(Ok(Message::Binary(payload))) => Heard::Message { text: false, payload },
            Some(Ok(Message::Ping(payload))) => Heard::Ping(payload),
            Some(Ok(Message::Pong(_) | Message::Frame(_))) => Heard::Alive,
            Some(Ok(Message::Close(Some(CloseFrame { code, reason })))) => {
                Heard::Closed { code: CloseCode(code.into()), reason: reason.as_str().to_owned() }
            }
            Some(Ok(Message::Close(None))) => {
                Heard::Closed { code: CloseCode::NO_CODE, reason: String::new() }
            }
            Some(Err(error)) => Heard::Ended { error: Some(error) },
            None => Heard::Ended { error: self.error.take() },
        })
    }

    /// Says a last Close, if one is given, and lets the closing handshake come to its end (RFC 6455, 7.1.2),
    /// for a few seconds at the most. What still comes is not read by anybody.
    pub(crate) async fn finish(mut self, close: Option<Message>) {
        let mut close = close;
        let goodbye = async {
            loop {
                if let Heard::Ended { .. } = self.turn(true, &mut || close.take()).await {
                    return;
                }
            }
        };
        // Too late is the same as in time: the connection is dropped.
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    }
}
