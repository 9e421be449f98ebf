//! The check of a WebSocket: upgrade, ping, its pong, Close (RFC 6455).

use std::pin::pin;
use std::time::Duration;

use ::http::header::{self, HeaderMap};
use ::http::{Request, StatusCode};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http_body_util::Empty;
use hyper::client::conn::http1::Parts;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::http::{self, USER_AGENT};
use super::{ProbeAnswer, ProbeDeadlines, ProbeFailure};
use crate::http::backend_headers::{check_upgrade, requests_drain};
use crate::net::connect::reason;
use crate::net::stream::Stream;
use crate::upstream::manner::Manner;

type ProbeSocket = WebSocketStream<Stream>;

/// What a backend may say before its pong, such as a greeting.
const MESSAGES_MAX: usize = 64;
const BYTES_MAX: usize = 64 << 10;

/// How long its Close is waited for. The verdict is known by then.
const CLOSING: Duration = Duration::from_millis(250);

/// Upgrades, pings, and awaits the pong with the same payload.
///
/// # Errors
/// When the upgrade is refused, the pong does not come in time, or something else comes in its place.
pub(super) async fn check(
    stream: Stream,
    path: &str,
    (authority, shim): (&str, bool),
    (deadlines, manner): (ProbeDeadlines, Manner),
) -> Result<ProbeAnswer, ProbeFailure> {
    let key = generate_key();
    let request = request(path, authority, &key, shim)?;
    let upgraded = upgrade(stream, request, &key, manner);
    let (mut socket, answer) = deadlines.within("answer to the upgrade", upgraded).await??;
    deadlines.within("pong", ping(&mut socket)).await??;
    // It has passed: neither a slow Close nor none changes that.
    let _ = deadlines.within("close", timeout(CLOSING, close(&mut socket))).await;
    Ok(ProbeAnswer { drain: requests_drain(&answer) })
}

/// Asks as a session would, and gives the socket with the headers of the answer. The connection is driven by
/// this future alone.
async fn upgrade(
    stream: Stream,
    request: Request<Empty<Bytes>>,
    key: &str,
    manner: Manner,
) -> Result<(ProbeSocket, HeaderMap), ProbeFailure> {
    let handshake = manner.handshake(stream).await;
    let (mut sender, connection) = handshake.map_err(|error| http::complaint(&error))?;
    let (mut talk, mut driven) = (pin!(sender.send_request(request)), pin!(connection.without_shutdown()));
    // With a 101, the connection may be done before the answer is looked at.
    let (answer, done) = tokio::select! {
        biased;
        answer = &mut talk => (answer, None),
        done = &mut driven => (talk.await, Some(done)),
    };
    let answer = answer.map_err(|error| http::complaint(&error))?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(ProbeFailure::Backend(format!("answered {} to the upgrade", answer.status().as_u16())));
    }
    check_upgrade(answer.headers(), key).map_err(str::to_owned)?;
    let done = match done {
        Some(done) => done,
        None => driven.await,
    };
    let Parts { io, read_buf, .. } = done.map_err(|error| http::complaint(&error))?;
    let (stream, early) = (io.into_inner().into_inner(), read_buf.to_vec());
    let socket = WebSocketStream::from_partially_read(stream, early, Role::Client, Some(limits())).await;
    Ok((socket, answer.headers().clone()))
}

fn request(path: &str, authority: &str, key: &str, shim: bool) -> Result<Request<Empty<Bytes>>, String> {
    let mut request = Request::builder()
        .uri(path)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, key);
    if shim {
        request = request.header("Steadfast-Shim", "1");
    }
    request.body(Empty::new()).map_err(|error| format!("{path:?} with host {authority:?}: {error}"))
}

fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4 << 10)
        .write_buffer_size(0)
        .max_write_buffer_size(BYTES_MAX)
        .max_message_size(Some(BYTES_MAX))
        .max_frame_size(Some(BYTES_MAX))
}

/// Pongs with another payload are nobody's answer (RFC 6455, 5.5.3) and are passed over.
async fn ping(socket: &mut ProbeSocket) -> Result<(), String> {
    let payload = Bytes::from(rand::random::<u128>().to_be_bytes().to_vec());
    socket.send(Message::Ping(payload.clone())).await.map_err(|error| complaint(&error))?;
    let mut bytes = 0;
    for _ in 0..MESSAGES_MAX {
        match socket.next().await {
            Some(Ok(Message::Pong(echo))) if echo == payload => return Ok(()),
            Some(Ok(Message::Close(frame))) => return Err(closed_instead(frame)),
            Some(Ok(message)) => bytes += message.len(),
            Some(Err(error)) => return Err(complaint(&error)),
            None => return Err("closed instead of a pong".to_owned()),
        }
        if bytes > BYTES_MAX {
            break;
        }
    }
    Err(format!("no pong after {MESSAGES_MAX} messages or {} KiB", BYTES_MAX >> 10))
}

async fn close(socket: &mut ProbeSocket) {
    let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    if socket.close(Some(normal)).await.is_ok() {
        while let Some(Ok(_)) = socket.next().await {}
    }
}

fn closed_instead(frame: Option<CloseFrame>) -> String {
    match frame {
        Some(frame) => format!("closed with {} instead of a pong", u16::from(frame.code)),
        None => "closed instead of a pong".to_owned(),
    }
}

fn complaint(error: &Error) -> String {
    match error {
        Error::Io(error) => reason(error),
        Error::Capacity(_) => format!("sent more than {} KiB at once", BYTES_MAX >> 10),
        error => error.to_string(),
    }
}
