//! Randomness as the machine sees it: given by the driver, never drawn.

/// A source of unpredictable numbers, the driver's. Masking keys must be unpredictable
/// (RFC 6455, 5.3), and a nonce must not be guessed by a backend that never read the ping.
pub type Entropy<'a> = dyn FnMut() -> u64 + 'a;

/// A masking key.
pub(crate) fn mask_key(entropy: &mut Entropy<'_>) -> [u8; 4] {
    key_of(entropy())
}

/// A masking key of a number that was drawn.
#[inline]
pub(crate) fn key_of(drawn: u64) -> [u8; 4] {
    let [a, b, c, d, ..] = drawn.to_be_bytes();
    [a, b, c, d]
}
