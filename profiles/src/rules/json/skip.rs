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

/// Where a value ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) end: usize,
    /// It is a string with a backslash in it.
    pub(super) escaped: bool,
}

/// Where what is no white space begins.
#[inline(always)]
pub(super) fn space(text: &[u8], mut at: usize) -> usize {
    while text.get(at).is_some_and(|byte| *byte <= b' ' && matches!(byte, b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

/// The value that begins at `at`. `may_end`: a number may reach to the end of the text, else more of it may follow.
#[inline]
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
    let at = at + 1;
    let hits = ends(word(text, at)?);
    if hits == 0 {
        return rest_of_string(text, at + 8);
    }
    let at = at + first(hits);
    match *text.get(at)? {
        b'"' => Some(End { end: at + 1, escaped: false }),
        _ => rest_of_string(text, at),
    }
}

/// The end of the string that `at` stands in, not behind a backslash.
fn rest_of_string(text: &[u8], mut at: usize) -> Option<End> {
    let mut escaped = false;
    loop {
        at += plain(text.get(at..)?);
        let hits = ends(word(text, at)?);
        if hits == 0 {
            at += 8;
            continue;
        }
        at += first(hits);
        if *text.get(at)? == b'"' {
            return Some(End { end: at + 1, escaped });
        }
        escaped = true;
        at += 2;
    }
}

/// How many bytes are neither a quote nor a backslash: the whole blocks of them. This is made of instructions for many
/// bytes at once, where the machine has them.
#[inline(always)]
fn plain(rest: &[u8]) -> usize {
    let (blocks, _) = rest.as_chunks::<32>();
    let is_plain = |block: &&[u8; 32]| {
        let end = block.iter().fold(false, |end, byte| end | (*byte == b'"') | (*byte == b'\\'));
        !end
    };
    blocks.iter().take_while(is_plain).count() * 32
}

/// The end of the array or object that `at` stands in.
pub(super) fn rest_of_container(text: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 1;
    loop {
        match *text.get(at)? {
            b'"' => at = string(text, at)?.end,
            b'{' | b'[' if depth == DEPTH_MAX => return None,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth -= 1;
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            b',' | b':' | b' ' => at += 1,
            _ => at = structure(text, at + 1)?,
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
fn token(text: &[u8], at: usize, may_end: bool) -> Option<End> {
    let mut end = at;
    loop {
        match text.get(end) {
            Some(b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t') => break,
            Some(_) => end += 1,
            None if may_end => break,
            None => return None,
        }
    }
    Some(End { end, escaped: false })
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

/// The bytes of a word by which a string ends, or goes on in another way: the lowest bit that is set is right.
#[inline(always)]
fn ends(word: u64) -> u64 {
    zeros(word ^ QUOTES) | zeros(word ^ BACKSLASHES)
}

/// Which byte the lowest bit is in.
#[inline(always)]
fn first(hits: u64) -> usize {
    hits.trailing_zeros() as usize / 8
}
