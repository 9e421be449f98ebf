//! A message's content, short enough for a line of a journal and exact enough to compare.

use serde::{Deserialize, Serialize};

/// Longest text that is kept as it is, in bytes.
const TEXT_MAX: usize = 256;

/// Length and 64-bit FNV-1a hash of a message's bytes, and the text itself when it is short.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// Bytes.
    pub len: usize,
    /// FNV-1a, 64 bits, as hex digits.
    pub hash: String,
    /// The content, when it is UTF-8 and at most 256 bytes long.
    pub text: Option<String>,
}

impl Payload {
    /// The payload that stands for `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let text = (bytes.len() <= TEXT_MAX).then(|| String::from_utf8(bytes.to_vec()).ok()).flatten();
        Self { len: bytes.len(), hash: format!("{:016x}", fnv1a(bytes)), text }
    }

    /// The short text, or an empty string for anything else.
    pub fn as_text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.text {
            Some(text) => write!(f, "{text:?}"),
            None => write!(f, "<{} bytes, hash {}>", self.len, self.hash),
        }
    }
}

/// `len` bytes that differ from position to position and from `seed` to `seed`, so that a piece in the wrong
/// place changes the hash.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_differ_in_any_byte() {
        let mut bytes = noise(100_000, 7);
        let before = Payload::of(&bytes);
        bytes[70_000] ^= 1;
        assert_ne!(before, Payload::of(&bytes));
        assert_eq!(before.text, None);
    }

    #[test]
    fn short_text_stays_readable() {
        assert_eq!(Payload::of(b"hello").as_text(), "hello");
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}
