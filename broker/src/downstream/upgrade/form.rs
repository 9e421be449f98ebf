//! What a client's handshake must be, before anything else of it is looked at.

use http::header;
use http::{Method, Request, StatusCode, Version};

use crate::http::hostname::is_authority;
use crate::http::token_list::{asks_for_websocket, has_token};

/// What is wrong with a request.
pub(super) struct FormRefusal {
    pub(super) status: StatusCode,
    pub(super) sentence: &'static str,
}

impl FormRefusal {
    /// Of a request that cannot be understood.
    pub(super) fn bad(sentence: &'static str) -> FormRefusal {
        FormRefusal { status: StatusCode::BAD_REQUEST, sentence }
    }
}

/// RFC 6455, 4.2.1: what a client's handshake must be.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), FormRefusal> {
    let headers = request.headers();
    let bad = |sentence| Err(FormRefusal::bad(sentence));
    let required = |sentence| Err(FormRefusal { status: StatusCode::UPGRADE_REQUIRED, sentence });
    if !asks_for_websocket(headers) {
        return required("this address speaks WebSocket only; send an upgrade request");
    }
    if request.method() != Method::GET || request.version() != Version::HTTP_11 {
        return bad("a WebSocket upgrade is a GET request of HTTP/1.1");
    }
    if !has_token(headers, &header::CONNECTION, "Upgrade") {
        return bad("the Connection header must name Upgrade");
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return bad("the request needs one Host header");
    };
    if !is_authority(host.as_bytes()) {
        return bad("the Host header must be a host, with a port or without");
    }
    let mut versions = headers.get_all(header::SEC_WEBSOCKET_VERSION).iter();
    let version = versions.next();
    // RFC 6455, 11.3.5: once at the most. Of two, nobody knows which one somebody else goes by.
    if versions.next().is_some() {
        return bad("the request needs one Sec-WebSocket-Version header");
    }
    if version.is_none_or(|version| version != "13") {
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
