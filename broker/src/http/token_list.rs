//! Lists in the values of headers (RFC 9110, 5.6.1). Elements are bytes: one that is no text says nothing
//! against the others.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue, UPGRADE};

/// The elements of a header, over all its lines, without those that are empty.
pub(super) fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).into_iter().map(HeaderValue::as_bytes).flat_map(split)
}

/// The elements of one value, without those that are empty.
pub(crate) fn split(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// Whether a header has this token, in any case of letters.
pub(crate) fn has_token(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    let wanted = wanted.as_bytes();
    // Mostly it is spelled like that, and the only one.
    let is_wanted = |element: &[u8]| element == wanted || element.eq_ignore_ascii_case(wanted);
    let has_wanted = |value: &[u8]| is_wanted(value) || split(value).any(is_wanted);
    headers.get_all(name).iter().any(|value| has_wanted(value.as_bytes()))
}

/// Whether a request with these headers asks for a WebSocket.
pub(crate) fn asks_for_websocket(headers: &HeaderMap) -> bool {
    has_token(headers, &UPGRADE, "websocket")
}

#[cfg(test)]
mod tests {
    use http::header::CONNECTION;

    use super::*;

    fn connection(lines: &[&[u8]]) -> HeaderMap {
        let value = |line: &&[u8]| (CONNECTION, HeaderValue::from_bytes(line).expect("a value"));
        lines.iter().map(value).collect()
    }

    #[test]
    fn several_lines_are_one_list_without_empty_elements() {
        let headers = connection(&[b"a, b", b"", b" ,\tc ,,d,"]);
        let found: Vec<_> = elements(&headers, &CONNECTION).collect();
        assert_eq!(found, [b"a", b"b", b"c", b"d"]);
        assert_eq!(elements(&HeaderMap::new(), &CONNECTION).count(), 0);
    }

    #[test]
    fn what_is_no_text_hides_nothing_beside_it() {
        for line in [&b"f\xf6o, Upgrade"[..], b"UPGRADE,\xff", b"keep-alive, upgrade, \xc3\xb6"] {
            assert!(has_token(&connection(&[line]), &CONNECTION, "upgrade"), "{}", line.escape_ascii());
        }
        for line in [&b"upgraded"[..], b"up grade", b"", b"\xf6upgrade", b"upgrade;q=1"] {
            assert!(!has_token(&connection(&[line]), &CONNECTION, "upgrade"), "{}", line.escape_ascii());
        }
    }
}
