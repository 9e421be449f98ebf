//! The ends of JSON values, eight bytes at a time.

/// Arrays and objects in one another that are looked through, at the most.
const DEPTH_MAX: u32 = 128;

const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES << 7;
const QUOTES: u64 = ONES * b'"' as u64;
const BACKSLASHES: u64 = ONES * b'\\' as u64;
const OPENING: u64 = ONES * b'{' as u64;
const CLOSING: u64 = ONES * b'}' as u64;
/// Makes braces of brackets, and no quote of anything but itself and a control character.
const LOWER: u64 = ONES * 0x20;

/// Where a value ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) end: usize,
    /// It is a string with a backslash in it.
    pub(super) escaped: bool,
}

/// Where what is no white space begins.
#[inline]
pub(super) fn space(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = text.get(at) {
        at += 1;
    }
    at
}

/// The value that begins at `at`. `may_end`: a number may reach to the end of the text, else more of it may follow.
pub(super) fn value(text: &[u8], at: usize, may_end: bool) -> Option<End> {
    match *text.get(at)? {
        b'"' => string(text, at),
        b'{' | b'[' => Some(End { end: rest_of_container(text, at + 1)?, escaped: false }),
        b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => token(text, at, may_end),
        _ => None,
    }
}

/// The string whose quote stands at `at`.
#[inline]
pub(super) fn string(text: &[u8], at: usize) -> Option<End> {
    let mut at = at + 1;
    let mut escaped = false;
    loop {
        let word = word(text, at)?;
        let hits = zeros(word ^ QUOTES) | zeros(word ^ BACKSLASHES);
        if hits == 0 {
            at += 8;
            continue;
        }
        at += hits.trailing_zeros() as usize / 8;
        if *text.get(at)? == b'"' {
            return Some(End { end: at + 1, escaped });
        }
        escaped = true;
        at += 2;
    }
}

/// The end of the array or object that `at` stands in.
pub(super) fn rest_of_container(text: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 1;
    loop {
        let word = word(text, at)?;
        let brackets = word | LOWER;
        let hits = zeros(word ^ QUOTES) | zeros(brackets ^ OPENING) | zeros(brackets ^ CLOSING);
        if hits == 0 {
            at += 8;
            continue;
        }
        at += hits.trailing_zeros() as usize / 8;
        match *text.get(at)? {
            b'"' => at = string(text, at)?.end,
            b'{' | b'[' if depth == DEPTH_MAX => return None,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            _ => {
                depth -= 1;
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
    }
}

fn token(text: &[u8], at: usize, may_end: bool) -> Option<End> {
    let is_end = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t');
    let rest = text.get(at..)?;
    let length = rest.iter().position(is_end).or(may_end.then_some(rest.len()))?;
    Some(End { end: at + length, escaped: false })
}

/// Eight bytes, the first of them the lowest; zeros behind the end of the text. `None`: it ends before.
#[inline(always)]
fn word(text: &[u8], at: usize) -> Option<u64> {
    let rest = text.get(at..)?;
    match rest.first_chunk() {
        Some(bytes) => Some(u64::from_le_bytes(*bytes)),
        None => last_word(text, rest.len()),
    }
}

#[inline]
fn last_word(text: &[u8], left: usize) -> Option<u64> {
    if left == 0 {
        return None;
    }
    match text.last_chunk() {
        Some(bytes) => Some(u64::from_le_bytes(*bytes) >> (8 * (8 - left))),
        None => Some(text.iter().rev().take(left).fold(0, |word, byte| word << 8 | u64::from(*byte))),
    }
}

/// The high bit of the lowest byte that is zero, and of no byte below it.
#[inline(always)]
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}
