//! One request over a connection of its own, and the check of its status.

use std::io::{self, ErrorKind};
use std::ops::RangeInclusive;
use std::pin::pin;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::body::Incoming;

use super::{ProbeAnswer, ProbeDeadlines, ProbeFailure};
use crate::http::backend_headers::requests_drain;
use crate::net::connect::reason;
use crate::net::stream::Stream;
use crate::upstream::manner::{Manner, OVER_LIMIT};

/// How the broker names itself to backends when it asks on its own behalf.
pub(super) const USER_AGENT: &str = "steadfast-health";

/// What hyper says in two ways.
const CUT: &str = "closed without a whole answer";

/// Sends a request and judges the status of the answer, whatever its body.
///
/// # Errors
/// When the status is not one of `expect`, or no answer comes in time.
pub(super) async fn check(
    stream: Stream,
    request: Request<Empty<Bytes>>,
    expect: &[RangeInclusive<u16>],
    (deadlines, manner): (ProbeDeadlines, Manner),
) -> Result<ProbeAnswer, ProbeFailure> {
    let judged = exchange(stream, request, manner, async |answer| {
        judge(answer.status(), expect)?;
        Ok(ProbeAnswer { drain: requests_drain(answer.headers()) })
    });
    deadlines.within("answer", judged).await?
}

/// As [`request`], with the method as it is written.
///
/// # Errors
/// As [`request`], and when `method` is none.
pub(super) fn request_by_name(
    method: &str,
    path: &str,
    authority: &str,
) -> Result<Request<Empty<Bytes>>, String> {
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| format!("{method:?} is no method"))?;
    request(method, path, authority)
}

/// An HTTP/1.1 request after which the connection ends.
///
/// # Errors
/// When `path` or `authority` cannot stand in a request.
pub(crate) fn request(method: Method, path: &str, authority: &str) -> Result<Request<Empty<Bytes>>, String> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONNECTION, "close");
    request.body(Empty::new()).map_err(|error| format!("{path:?} with host {authority:?}: {error}"))
}

/// Sends `request` and gives the answer to `read`. The connection is driven by this future alone and
/// ends with it, read to its end or not.
///
/// # Errors
/// When no answer comes, or `read` fails.
pub(crate) async fn exchange<T>(
    stream: Stream,
    request: Request<Empty<Bytes>>,
    manner: Manner,
    read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, ProbeFailure>,
) -> Result<T, ProbeFailure> {
    let handshake = manner.handshake(stream).await;
    let (mut sender, connection) = handshake.map_err(|error| complaint(&error))?;
    let mut talk = pin!(async move {
        let answer = sender.send_request(request).await.map_err(|error| complaint(&error))?;
        read(answer).await
    });
    tokio::select! {
        biased;
        done = &mut talk => done,
        // What it had to say, its own failure included, is with the talk.
        _ = connection => talk.await,
    }
}

/// `host:port` as it stands in a Host header (RFC 9110, 7.2): IPv6 addresses in brackets.
pub(crate) fn authority(host: &str, port: u16) -> String {
    match host {
        // A file is on this machine.
        _ if host.starts_with('/') => "localhost".to_owned(),
        _ if host.contains(':') => format!("[{host}]:{port}"),
        _ => format!("{host}:{port}"),
    }
}

/// What is wrong with an answer, from hyper's view of it.
pub(crate) fn complaint(error: &hyper::Error) -> ProbeFailure {
    if error.is_parse_too_large() {
        return ProbeFailure::Local(OVER_LIMIT.to_owned());
    }
    let io = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    ProbeFailure::Backend(match io {
        Some(io) if io.kind() == ErrorKind::UnexpectedEof => CUT.to_owned(),
        Some(io) => reason(io),
        None if error.is_parse() => "answered with something that is not HTTP".to_owned(),
        None if error.is_incomplete_message() => CUT.to_owned(),
        None => error.to_string(),
    })
}

fn judge(status: StatusCode, expect: &[RangeInclusive<u16>]) -> Result<(), String> {
    if expect.iter().any(|range| range.contains(&status.as_u16())) {
        return Ok(());
    }
    let wanted: Vec<String> = expect.iter().map(show).collect();
    Err(format!("answered {}, expected {}", status.as_u16(), wanted.join(", ")))
}

fn show(range: &RangeInclusive<u16>) -> String {
    let (first, last) = (range.start(), range.end());
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}
