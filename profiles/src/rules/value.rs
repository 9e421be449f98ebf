//! One value of a JSON text.

use std::borrow::Cow;

use super::hash;

/// A value as it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'a> {
    raw: &'a [u8],
    /// It is a string with a backslash in it.
    escaped: bool,
}

impl<'a> Value<'a> {
    pub(crate) fn new(raw: &'a [u8], escaped: bool) -> Value<'a> {
        Value { raw, escaped }
    }

    /// A value that was kept.
    pub(crate) fn of_raw(raw: &'a [u8]) -> Value<'a> {
        Value { raw, escaped: raw.starts_with(b"\"") && raw.contains(&b'\\') }
    }

    /// As it is written, a string with its quotes.
    pub(crate) fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// What a string says.
    #[inline]
    pub(crate) fn string(self) -> Option<Cow<'a, [u8]>> {
        let [b'"', inner @ .., b'"'] = self.raw else { return None };
        Some(if self.escaped { Cow::Owned(resolved(inner)) } else { Cow::Borrowed(inner) })
    }

    /// What a string says, if that is as it is written.
    #[inline(always)]
    pub(crate) fn plain_string(self) -> Option<&'a [u8]> {
        if self.escaped {
            return None;
        }
        self.raw.strip_prefix(b"\"")?.split_last().map(|(_, said)| said)
    }

    /// It is a string, a number, true or false.
    #[inline(always)]
    pub(crate) fn is_scalar(self) -> bool {
        !matches!(self.raw.first(), None | Some(b'{' | b'[' | b'n'))
    }

    /// 64 bits of its hash. Strings that say the same have the same, however they are written; other values if they
    /// are written the same.
    #[inline]
    pub(crate) fn fingerprint(self) -> u64 {
        if !self.escaped {
            return hash::of(self.raw);
        }
        hash::of(&[b"\"", &*self.string().unwrap_or_default(), b"\""].concat())
    }
}

/// A string's escapes, as what they stand for. What is no escape stands for itself; half a pair of surrogates for
/// U+FFFD.
fn resolved(inner: &[u8]) -> Vec<u8> {
    let mut said = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        let (before, escape) = rest.split_at(at);
        said.extend_from_slice(before);
        rest = match escape {
            [_, b'u', digits @ ..] => unicode(digits, &mut said),
            [_, letter, after @ ..] => {
                said.push(match letter {
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => *other,
                });
                after
            }
            _ => &[],
        };
    }
    said.extend_from_slice(rest);
    said
}

/// Adds the character of one or two `\u`, the first without it. Returns what follows.
fn unicode<'a>(digits: &'a [u8], said: &mut Vec<u8>) -> &'a [u8] {
    let Some((first, rest)) = code_unit(digits) else {
        said.push(b'u');
        return digits;
    };
    let pair =
        (0xD800..0xDC00).contains(&first).then(|| rest.strip_prefix(b"\\u").and_then(code_unit)).flatten();
    let (code, rest) = match pair {
        Some((second @ 0xDC00..0xE000, rest)) => {
            (0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00), rest)
        }
        _ => (first, rest),
    };
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    said.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    rest
}

/// Four hexadecimal digits, and what follows.
fn code_unit(digits: &[u8]) -> Option<(u32, &[u8])> {
    let (four, rest) = digits.split_at_checked(4)?;
    let value =
        four.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))?;
    Some((value, rest))
}
