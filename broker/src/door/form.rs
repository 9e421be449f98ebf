//! What a client's handshake must be, before anything else of it is looked at.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};

use super::{Body, plain};

/// What is wrong with a request.
pub(super) struct Refusal {
    status: StatusCode,
    sentence: &'static str,
}

impl Refusal {
    /// The answer that says so.
    pub(super) fn response(self) -> Response<Body> {
        let mut response = plain(self.status, self.sentence);
        if self.status == StatusCode::UPGRADE_REQUIRED {
            let headers = response.headers_mut();
            // RFC 9110, 15.5.22, and RFC 6455, 4.4.
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade, close"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    }
}

/// RFC 6455, 4.2.1: what a client's handshake must be.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), Refusal> {
    let headers = request.headers();
    let bad = |sentence| Err(Refusal { status: StatusCode::BAD_REQUEST, sentence });
    let required = |sentence| Err(Refusal { status: StatusCode::UPGRADE_REQUIRED, sentence });
    if !has_token(headers, &header::UPGRADE, "websocket") {
        return required("this address speaks WebSocket only; send an upgrade request");
    }
    if request.method() != Method::GET || request.version() != Version::HTTP_11 {
        return bad("a WebSocket upgrade is a GET request of HTTP/1.1");
    }
    if !has_token(headers, &header::CONNECTION, "upgrade") {
        return bad("the Connection header must name Upgrade");
    }
    if headers.get_all(header::HOST).iter().count() != 1 {
        return bad("the request needs one Host header");
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return required("this broker speaks Sec-WebSocket-Version 13");
    }
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    if !matches!((keys.next(), keys.next()), (Some(key), None) if is_key(key.as_bytes())) {
        return bad("the request needs one Sec-WebSocket-Key: 16 bytes in base64");
    }
    if headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|n| n != "0")
    {
        return bad("an upgrade request has no body");
    }
    Ok(())
}

/// 16 bytes in base64: 22 characters and the padding.
fn is_key(key: &[u8]) -> bool {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(digit)
}

fn has_token(headers: &HeaderMap, name: &header::HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case(wanted))
}
