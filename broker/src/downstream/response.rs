//! What clients are answered over HTTP: that they may begin, what a backend has said instead, or the broker's own sentence
//! why not. Every answer to a client is made here, so that all say alike what becomes of the connection.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use steadfast_protocol::websocket::deflate::Agreement;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::config::settings::HeaderRules;
use crate::http::denial::Denial;
use crate::http::header_rules;
use crate::http::hop_by_hop::end_to_end;
use crate::routing::route::NoRoute;
use crate::upstream::forward::AnswerFault;

/// A backend's refusal is streamed through; the broker's own answers are short.
pub(super) type ResponseBody = UnsyncBoxBody<Bytes, AnswerFault>;

/// Whoever is turned away dials again. (To switch keep-alive off would mark the 101 as well.)
const ONE_REQUEST: HeaderValue = HeaderValue::from_static("close");

/// Headers of an answer, line by line.
pub(super) type AnswerLines = Vec<(HeaderName, HeaderValue)>;

/// A 101, in the words that are agreed on. Everything else of it is the same for all.
pub(super) struct Switching<'a> {
    /// The client's `Sec-WebSocket-Key`.
    pub(super) key: Option<&'a HeaderValue>,
    /// The backend's headers; `None`: no backend was asked, as for a client that comes back to its session.
    pub(super) headers: Option<&'a HeaderMap>,
    /// The route's rules for them.
    pub(super) rules: Option<&'a HeaderRules>,
    /// `Set-Cookie`, of the broker's own cookie.
    pub(super) cookie: Option<HeaderValue>,
    /// `Sec-WebSocket-Protocol`.
    pub(super) protocol: Option<HeaderValue>,
    /// The compression, for `Sec-WebSocket-Extensions`.
    pub(super) deflate: Option<Agreement>,
}

impl Switching<'_> {
    /// Makes the answer's lines.
    pub(super) fn lines(self) -> AnswerLines {
        let Switching { key, headers: theirs, rules, cookie, protocol, deflate } = self;
        let extensions = deflate.and_then(|deflate| HeaderValue::from_str(&deflate.to_client()).ok());
        let accept = derive_accept_key(key.map_or(b"", HeaderValue::as_bytes));
        let ours = [
            (header::CONNECTION, Some(HeaderValue::from_static("Upgrade"))),
            (header::UPGRADE, Some(HeaderValue::from_static("websocket"))),
            (header::SEC_WEBSOCKET_PROTOCOL, protocol),
            (header::SEC_WEBSOCKET_EXTENSIONS, extensions),
            (header::SEC_WEBSOCKET_ACCEPT, HeaderValue::try_from(accept).ok()),
            (header::SET_COOKIE, cookie),
        ];
        let mut lines = AnswerLines::with_capacity(theirs.map_or(0, HeaderMap::len) + ours.len());
        let passed = theirs.into_iter().flat_map(end_to_end);
        lines.extend(passed.map(|(name, value)| (name.clone(), value.clone())));
        if let Some(rules) = rules.filter(|rules| !rules.is_empty()) {
            // Neither what goes on nor what a rule names is one of ours, but for a cookie, which stands beside others.
            let mut headers = lines.drain(..).collect();
            header_rules::apply(rules, &mut headers, |_| false);
            lines.extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        lines.extend(ours.into_iter().filter_map(|(name, value)| Some((name, value?))));
        lines
    }
}

/// A 101 with these lines, for hyper to send.
pub(super) fn switching(lines: AnswerLines) -> Response<ResponseBody> {
    let mut response = Response::new(Full::default().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = lines.into_iter().collect();
    response
}

/// A backend's redirect or refusal, with its headers and body.
pub(super) fn relayed(answer: Response<Incoming>, rules: Option<&HeaderRules>) -> Response<ResponseBody> {
    let (parts, body) = answer.into_parts();
    let mut response = Response::new(body.map_err(Into::into).boxed_unsync());
    *response.status_mut() = parts.status;
    let headers = response.headers_mut();
    for (name, value) in end_to_end(&parts.headers) {
        headers.append(name, value.clone());
    }
    if let Some(rules) = rules {
        // The body is passed on as it is.
        let of_the_body = [header::CONTENT_TYPE, header::CONTENT_ENCODING];
        header_rules::apply(rules, headers, |name| of_the_body.contains(name));
    }
    end_connection(parts.status, headers);
    response
}

/// Why a client may not come in.
pub(super) fn denied(denial: &Denial) -> Response<ResponseBody> {
    let mut response = plain(denial.status, denial.sentence);
    if let Some(seconds) = denial.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Nobody serves what was asked for.
pub(super) fn no_route(none: NoRoute) -> Response<ResponseBody> {
    match none {
        NoRoute::Nothing => plain(StatusCode::NOT_FOUND, "no route leads from this request to a service"),
        NoRoute::OnlyHttp => plain(
            StatusCode::NOT_FOUND,
            "no route leads from this WebSocket to a service; other requests are served here",
        ),
        NoRoute::OnlyWebSocket => {
            plain(StatusCode::UPGRADE_REQUIRED, "this address speaks WebSocket only; send an upgrade request")
        }
    }
}

/// A 503: for this moment only, for the reason that the sentence gives.
pub(super) fn busy(sentence: &'static str) -> Response<ResponseBody> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, sentence);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// A sentence for the person who reads the answer.
pub(super) fn plain(status: StatusCode, sentence: &'static str) -> Response<ResponseBody> {
    let mut response =
        Response::new(Full::from(format!("{sentence}\n")).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    end_connection(status, headers);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// No other request comes after an answer that is no 101. A 426 says, besides, what to upgrade to (RFC 9110, 15.5.22,
/// and RFC 6455, 4.4): to what is spoken on this side, whoever wants it.
fn end_connection(status: StatusCode, headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, ONE_REQUEST);
    if status == StatusCode::UPGRADE_REQUIRED {
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade, close"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
}
