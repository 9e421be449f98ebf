//! What a backend says to the broker in headers of its answers.

use http::HeaderMap;

/// `Steadfast-Drain: on`, in the answer to an upgrade or to a health check: it asks to be drained.
pub(crate) fn requests_drain(headers: &HeaderMap) -> bool {
    has_word(headers, "steadfast-drain", "on")
}

/// `Steadfast-Failover: off`, in the answer to an upgrade: the service cannot go on elsewhere, and the
/// session ends with it.
pub(crate) fn declines_failover(headers: &HeaderMap) -> bool {
    has_word(headers, "steadfast-failover", "off")
}

/// `Steadfast-Failover: on`, in the answer to an upgrade: the service can go on elsewhere, whatever protocol its
/// clients speak.
pub(crate) fn supports_failover(headers: &HeaderMap) -> bool {
    has_word(headers, "steadfast-failover", "on")
}

/// `Steadfast-Shim: 1`, in the answer to an upgrade that said the same: the service speaks `steadfast.v1`.
pub(crate) fn links_shim(headers: &HeaderMap) -> bool {
    has_word(headers, "steadfast-shim", "1")
}

/// Whether a header is this word, in any case of letters. Of a header that came several times, the first
/// counts.
fn has_word(headers: &HeaderMap, name: &str, word: &str) -> bool {
    headers.get(name).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(word.as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
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
