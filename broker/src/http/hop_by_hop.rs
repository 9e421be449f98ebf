//! Which headers go on from one connection to the next, in either direction.

use std::borrow::Cow;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::http::header_rules::retain;
use crate::http::token_list::elements;

/// Where proxies say for whom they ask, beside `X-Forwarded-*`; whose certificate a client has shown is one (RFC 9440).
const FORWARDING: [&str; 10] = [
    "cf-connecting-ip",
    "client-cert",
    "client-cert-chain",
    "forwarded",
    "true-client-ip",
    "via",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-real-ip",
];

/// Bytes that a name has in one spelling. Each byte of each header is asked for more than once.
const PLAIN: [bool; 256] = {
    let (mut plain, mut byte) = ([false; 256], 0);
    while byte < plain.len() {
        plain[byte] = (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'-';
        byte += 1;
    }
    plain
};

/// The headers that are passed on, in either direction.
pub(crate) fn end_to_end(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    // Mostly there is no name in it, and nothing to compare each header with.
    let named: Vec<_> = elements(headers, &header::CONNECTION).filter(|token| !is_option(token)).collect();
    headers.iter().filter(move |(name, _)| passes(name) && !is_named(name, &named))
}

/// Takes out of an answer's headers what concerns one connection alone. What frames its body stays.
pub(crate) fn keep_end_to_end(headers: &mut HeaderMap) {
    drop_named(headers);
    // It has the last word on the length (RFC 9112, 6.3).
    if headers.contains_key(header::TRANSFER_ENCODING) {
        retain(headers, |name| passes(name) || *name == header::TRAILER);
    } else {
        retain(headers, |name| passes(name) || frames(name));
    }
}

/// Takes out what [`end_to_end`] leaves out because `Connection` names it.
pub(super) fn drop_named(headers: &mut HeaderMap) {
    let named = elements(headers, &header::CONNECTION).filter(|token| !is_option(token));
    let named: Vec<Vec<u8>> = named.map(<[u8]>::to_vec).collect();
    if !named.is_empty() {
        retain(headers, |name| !is_named(name, &named));
    }
}

/// Whether a header may go on at all, in either direction: not those that concern one connection only (RFC 9110,
/// 7.6.1), nor those of the WebSocket handshake that each connection negotiates for itself, nor what a service could
/// take for one of these.
pub(crate) fn passes(name: &HeaderName) -> bool {
    let name = name.as_str();
    // Most of a client's names begin otherwise, and an odd sign is no letter.
    if !matches!(
        name.as_bytes(),
        [b'c', b'o', ..]
            | [b'e', b'x', ..]
            | [b'k', b'e', ..]
            | [b'p', b'r', ..]
            | [b's', b'e' | b't', ..]
            | [b't', b'e' | b'r', ..]
            | [b'u', b'p', ..]
    ) {
        return true;
    }
    let spelled_otherwise = || match one_spelling(name) {
        Cow::Borrowed(_) => false,
        Cow::Owned(spelled) => stays(&spelled),
    };
    !stays(name) && !spelled_otherwise()
}

/// Whether a header says how long a body is, or what comes behind it: where a body is passed on as it comes, so are these.
pub(crate) fn frames(name: &HeaderName) -> bool {
    [header::CONTENT_LENGTH, header::TRAILER].contains(name)
}

/// By its name in the usual spelling.
fn stays(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "upgrade"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "content-length"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "expect"
            | "keep-alive"
            | "proxy-connection"
            | "sec-websocket-key"
            | "sec-websocket-accept"
            | "sec-websocket-version"
            | "sec-websocket-extensions"
            | "sec-websocket-protocol"
    ) || name.starts_with("steadfast-")
}

/// The name as services read it that get it as a variable (RFC 3875, 4.1.18): there `X_Forwarded_For` and
/// `X-Forwarded-For` are one, and in some of them any other sign is a hyphen too.
pub(super) fn one_spelling(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|byte| PLAIN[usize::from(byte)]) {
        return name.into();
    }
    name.replace(|sign: char| !sign.is_ascii_alphanumeric(), "-").into()
}

/// Tokens of `Connection` that name a header which never passes anyway.
fn is_option(token: &[u8]) -> bool {
    ["upgrade", "keep-alive"].iter().any(|option| token.eq_ignore_ascii_case(option.as_bytes()))
}

/// RFC 9110, 7.6.1: a header that `Connection` names goes no further.
fn is_named(name: &HeaderName, named: &[impl AsRef<[u8]>]) -> bool {
    // No request is one without a host (RFC 9112, 3.2), and a proxy that passes on its client's
    // Connection has said for whom it asks, whatever that names.
    named.iter().any(|token| token.as_ref().eq_ignore_ascii_case(name.as_str().as_bytes()))
        && *name != header::HOST
        && !is_forwarding(name.as_str())
}

/// Whether a name may be one of these in any spelling: their first letters have one.
pub(super) fn may_be_forwarding(name: &str) -> bool {
    matches!(
        name.as_bytes(),
        [b'c', b'f' | b'l', ..] | [b'f', b'o', ..] | [b't', b'r', ..] | [b'v', b'i', ..] | [b'x', ..]
    )
}

/// Headers in which proxies say for whom, and how, they were asked: intended for whoever answers.
pub(super) fn is_forwarding(name: &str) -> bool {
    FORWARDING.contains(&name) || name.starts_with("x-forwarded-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_may_take_for_one_of_the_brokers_own_goes_no_further() {
        for name in [
            "steadfast_session",
            "steadfast-session",
            "steadfast.shim",
            "sec_websocket_key",
            "content_length",
        ] {
            assert!(!passes(&HeaderName::from_static(name)), "{name}");
        }
        for name in ["x_custom", "steadfast", "x-steadfast_session", "_", "content_type"] {
            assert!(passes(&HeaderName::from_static(name)), "{name}");
        }
    }

    /// The first letters are looked at before anything else.
    #[test]
    fn no_name_is_missed_for_its_first_letter() {
        const STAY: [&str; 17] = [
            "connection",
            "upgrade",
            "te",
            "trailer",
            "transfer-encoding",
            "content-length",
            "proxy-authenticate",
            "proxy-authorization",
            "expect",
            "keep-alive",
            "proxy-connection",
            "sec-websocket-key",
            "sec-websocket-accept",
            "sec-websocket-version",
            "sec-websocket-extensions",
            "sec-websocket-protocol",
            "steadfast-x",
        ];
        for name in STAY {
            assert!(!passes(&HeaderName::from_static(name)), "{name}");
        }
        for name in FORWARDING.into_iter().chain(["x-forwarded-x"]) {
            assert!(is_forwarding(name) && may_be_forwarding(name), "{name}");
        }
    }
}
