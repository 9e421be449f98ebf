//! What a client that does not link the shim is known by when it comes back.

use std::fmt;
use std::ops::RangeInclusive;

/// Characters of a token: from 128 bits of entropy to what nobody needs.
const LENGTHS: RangeInclusive<usize> = 22..=128;

/// A secret of the client's own making, one for each of its logical connections: whoever shows it again
/// gets the session.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct PlainToken(Box<str>);

impl PlainToken {
    /// `None`: it does not have the form, base64url of so many characters.
    pub(crate) fn new(text: &str) -> Option<PlainToken> {
        let digits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        (digits && LENGTHS.contains(&text.len())).then(|| PlainToken(text.into()))
    }
}

impl fmt::Debug for PlainToken {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainToken(...)")
    }
}
