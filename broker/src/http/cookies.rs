//! Cookies of a request (RFC 6265, 4.2.1), as its lines have them.

use http::header::{COOKIE, HeaderMap};

/// The pairs of all lines, in their order, with what stands around them; also what is none.
pub(crate) fn pairs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(COOKIE).into_iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
}

/// The value of a pair of this name, without what stands around it; `None`: it has another, or is no pair.
pub(crate) fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    let (found, value) = (&pair[..equals], &pair[equals + 1..]);
    (found.trim_ascii() == name.as_bytes()).then(|| value.trim_ascii())
}
