//! The ends of JSON values. Most strings are short, and most of what stands between them is a byte or two; the rest is
//! read in larger steps.

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

/// So many words of a string are looked at before it is taken for a long one.
const SHORT_WORDS: usize = 9;

/// Where a value ends, and in the highest bit whether it is a string with a backslash in it: so it stays in a register.
#[derive(Debug, Clone, Copy)]
pub(super) struct End(usize);

const ESCAPED: usize = 1 << (usize::BITS - 1);

impl End {
    #[inline(always)]
    pub(super) fn at(self) -> usize {
        self.0 & !ESCAPED
    }

    #[inline(always)]
    pub(super) fn escaped(self) -> bool {
        self.0 & ESCAPED != 0
    }
}

/// Where what is no white space begins.
#[inline(always)]
pub(super) fn space(text: &[u8], mut at: usize) -> usize {
    while let Some(byte) = text.get(at).filter(|byte| **byte <= b' ') {
        if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            break;
        }
        at += 1;
    }
    at
}

/// The value that begins at `at`. `may_end`: a number may reach to the end of the text, else more of it may follow.
#[inline(always)]
pub(super) fn value(text: &[u8], at: usize, may_end: bool) -> Option<End> {
    match *text.get(at)? {
        b'"' => string(text, at),
        b'{' | b'[' => rest_of_container(text, at + 1).map(End),
        b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => token(text, at, may_end).map(End),
        _ => None,
    }
}

/// The string whose quote stands at `at`.
#[inline(always)]
pub(super) fn string(text: &[u8], at: usize) -> Option<End> {
    let mut at = at + 1;
    let (words, _) = text.get(at..)?.as_chunks::<8>();
    for bytes in words.get(..SHORT_WORDS).unwrap_or(words) {
        let word = u64::from_le_bytes(*bytes);
        let (quotes, backslashes) = (zeros(word ^ QUOTES), zeros(word ^ BACKSLASHES));
        let hits = quotes | backslashes;
        if hits != 0 {
            at += first(hits);
            if quotes & hits & hits.wrapping_neg() != 0 {
                return Some(End(at + 1));
            }
            break;
        }
        at += 8;
    }
    rest_of_string(text, at)
}

/// The end of the string that `at` stands in, not behind a backslash: one that is long, has backslashes, or is near the
/// text's end.
#[inline(never)]
fn rest_of_string(text: &[u8], mut at: usize) -> Option<End> {
    let mut escaped = 0;
    loop {
        at += plain(text.get(at..)?);
        let word = word(text, at)?;
        let hits = zeros(word ^ QUOTES) | zeros(word ^ BACKSLASHES);
        if hits == 0 {
            at += 8;
            continue;
        }
        at += first(hits);
        if *text.get(at)? == b'"' {
            return Some(End((at + 1) | escaped));
        }
        escaped = ESCAPED;
        at += 2;
    }
}

/// How many bytes are neither a quote nor a backslash: the whole pairs of words of them.
#[inline(always)]
fn plain(rest: &[u8]) -> usize {
    let (pairs, _) = rest.as_chunks::<16>();
    let mut bytes = 0;
    for pair in pairs {
        let word = |at: usize| {
            pair.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u64::from_le_bytes(*word))
        };
        let (one, two) = (word(0), word(8));
        let ends = |word: u64| zeros(word ^ QUOTES) | zeros(word ^ BACKSLASHES);
        if ends(one) | ends(two) != 0 {
            break;
        }
        bytes += 16;
    }
    bytes
}

/// The end of the array or object that `at` stands in.
#[inline(never)]
pub(super) fn rest_of_container(text: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 1;
    loop {
        let byte = *text.get(at)?;
        if byte == b'"' {
            at = string(text, at)?.at();
            // Mostly a colon or a comma follows, and another string.
            if let Some(b':' | b',') = text.get(at) {
                at += 1;
            }
            continue;
        }
        at += 1;
        // Braces and brackets differ in this bit alone.
        match byte | 0x20 {
            b'{' if depth == DEPTH_MAX => return None,
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            b',' | b':' | b' ' => {}
            _ => at = structure(text, at)?,
        }
    }
}

/// The next quote, bracket or brace, or something before it.
#[inline]
fn structure(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let word = word(text, at)?;
        let brackets = word | LOWER;
        let hits = zeros(word ^ QUOTES) | zeros(brackets ^ OPENING) | zeros(brackets ^ CLOSING);
        if hits != 0 {
            return Some(at + first(hits));
        }
        at += 8;
    }
}

#[inline]
fn token(text: &[u8], at: usize, may_end: bool) -> Option<usize> {
    let mut end = at;
    loop {
        match text.get(end) {
            Some(b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t') => break,
            Some(_) => end += 1,
            None if may_end => break,
            None => return None,
        }
    }
    Some(end)
}

/// Eight bytes, the first of them the lowest; zeros behind the end of the text. `None`: it ends before.
#[inline(always)]
pub(super) fn word(text: &[u8], at: usize) -> Option<u64> {
    let rest = text.get(at..)?;
    match rest.first_chunk() {
        Some(bytes) => Some(u64::from_le_bytes(*bytes)),
        None => last_word(text, rest.len()),
    }
}

#[inline(never)]
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

/// Which byte the lowest bit is in.
#[inline(always)]
fn first(hits: u64) -> usize {
    hits.trailing_zeros() as usize / 8
}
