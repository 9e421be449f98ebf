//! 64-bit hashes of names. Who makes up names that collide harms his own session and no other, so none of them is keyed.

/// Digits of pi.
const FACTOR: u64 = 0x243F_6A88_85A3_08D3;
const BEGIN: u64 = 0x1319_8A2E_0370_7344;

/// Puts a word into a state.
#[inline(always)]
pub(crate) fn mix(state: u64, word: u64) -> u64 {
    let product = u128::from(state ^ word) * u128::from(FACTOR);
    (product as u64) ^ (product >> 64) as u64 ^ word.rotate_left(23)
}

/// Of bytes.
#[inline]
pub(crate) fn of(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let state = words.iter().fold(BEGIN, |state, word| mix(state, u64::from_le_bytes(*word)));
    let last = match bytes.last_chunk() {
        // With some that were in the last word before it; the length tells which.
        Some(last) => u64::from_le_bytes(*last),
        None => rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    mix(mix(state, last), bytes.len() as u64)
}
