//! What a backend says to the broker in headers of its answers.

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::http::token_list::has_token;

const DRAIN: HeaderName = HeaderName::from_static("steadfast-drain");
const FAILOVER: HeaderName = HeaderName::from_static("steadfast-failover");
const SHIM: HeaderName = HeaderName::from_static("steadfast-shim");

/// `Steadfast-Drain: on`, in the answer to an upgrade or to a health check: it asks to be drained.
pub(crate) fn requests_drain(headers: &HeaderMap) -> bool {
    has_word(headers, &DRAIN, "on")
}

/// `Steadfast-Failover: off`, in the answer to an upgrade: the service cannot go on elsewhere, and the
/// session ends with it.
pub(crate) fn declines_failover(headers: &HeaderMap) -> bool {
    has_word(headers, &FAILOVER, "off")
}

/// `Steadfast-Failover: on`, in the answer to an upgrade: the service can go on elsewhere, whatever protocol its
/// clients speak.
pub(crate) fn supports_failover(headers: &HeaderMap) -> bool {
    has_word(headers, &FAILOVER, "on")
}

/// `Steadfast-Shim: 1`, in the answer to an upgrade that said the same: the service speaks `steadfast.v1`.
pub(crate) fn links_shim(headers: &HeaderMap) -> bool {
    has_word(headers, &SHIM, "1")
}

/// Whether a 101 with these headers answers an upgrade with this key (RFC 6455, 4.1).
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_upgrade(headers: &HeaderMap, key: &str) -> Result<(), &'static str> {
    if !has_token(headers, &header::UPGRADE, "websocket")
        || !has_token(headers, &header::CONNECTION, "Upgrade")
    {
        return Err("it switched to another protocol");
    }
    if only(headers, &header::SEC_WEBSOCKET_ACCEPT)?
        .is_none_or(|accept| accept.as_bytes() != derive_accept_key(key.as_bytes()).as_bytes())
    {
        return Err("its Sec-WebSocket-Accept is wrong");
    }
    only(headers, &header::SEC_WEBSOCKET_PROTOCOL).map(|_| ())
}

/// The value of a header that may come once only (RFC 6455, 11.3.3 and 11.3.4): of several, nobody knows
/// which one the client goes by. The same again is no second one.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, &'static str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    match values.all(|value| Some(value) == first) {
        true => Ok(first),
        false if name == header::SEC_WEBSOCKET_ACCEPT => Err("it answered two Sec-WebSocket-Accept"),
        false => Err("it chose two subprotocols"),
    }
}

/// Whether a header is this word, in any case of letters. Of a header that came several times, the first
/// counts.
fn has_word(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    headers.get(name).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(word.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
    }

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    /// Of this key, from RFC 6455, 1.3.
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    /// A right answer, and these lines besides.
    fn switched(lines: &[(&'static str, &'static [u8])]) -> Result<(), &'static str> {
        let right: [(_, &[u8]); 3] = [
            ("upgrade", b"WebSocket"),
            ("connection", b"upgrade"),
            ("sec-websocket-accept", ACCEPT.as_bytes()),
        ];
        let pair = |(name, value): &(&'static str, &'static [u8])| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value).expect("a value"))
        };
        check_upgrade(&right.iter().chain(lines).map(pair).collect(), KEY)
    }

    #[test]
    fn what_may_come_once_comes_once_in_a_right_answer() {
        const ACCEPT_NAME: &str = "sec-websocket-accept";
        const PROTOCOL: &str = "sec-websocket-protocol";
        for lines in [
            &[][..],
            &[(ACCEPT_NAME, ACCEPT.as_bytes())],
            &[(PROTOCOL, b"chat")],
            &[(PROTOCOL, b"ch\xe4t"), (PROTOCOL, b"ch\xe4t")],
            &[("connection", b"\xe4"), ("upgrade", b"\xe4")],
        ] {
            assert_eq!(switched(lines), Ok(()), "{lines:?}");
        }
        let two = Err("it chose two subprotocols");
        assert_eq!(switched(&[(PROTOCOL, b"chat"), (PROTOCOL, b"superchat")]), two);
        assert_eq!(switched(&[(PROTOCOL, b"chat"), (PROTOCOL, b"Chat")]), two);
        assert_eq!(switched(&[(PROTOCOL, b"chat"), (PROTOCOL, b"chat"), (PROTOCOL, b"")]), two);
        assert_eq!(switched(&[(ACCEPT_NAME, b"other")]), Err("it answered two Sec-WebSocket-Accept"));
    }

    #[test]
    fn a_header_says_its_word_in_any_case_of_letters() {
        for (value, on, off) in [
            ("on", true, false),
            ("On", true, false),
            ("ON", true, false),
            ("off", false, true),
            ("OFF", false, true),
            ("", false, false),
            ("yes", false, false),
            ("on, off", false, false),
        ] {
            assert_eq!(requests_drain(&headers("steadfast-drain", value)), on, "{value:?}");
            assert_eq!(declines_failover(&headers("steadfast-failover", value)), off, "{value:?}");
            assert_eq!(supports_failover(&headers("steadfast-failover", value)), on, "{value:?}");
        }
    }

    #[test]
    fn other_headers_say_nothing() {
        for headers in
            [HeaderMap::new(), headers("steadfast-drain", "off"), headers("steadfast-failover", "on")]
        {
            assert!(!requests_drain(&headers) && !declines_failover(&headers), "{headers:?}");
        }
    }

    #[test]
    fn a_service_names_the_version_of_the_shim() {
        assert!(links_shim(&headers("steadfast-shim", "1")));
        for value in ["", "0", "2", "11", "1, 2", "on"] {
            assert!(!links_shim(&headers("steadfast-shim", value)), "{value:?}");
        }
        assert!(!links_shim(&HeaderMap::new()));
    }
}
