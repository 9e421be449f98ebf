//! As much of JSON as heads, greetings and logins take. What is malformed is not understood, and never a fault.

/// One member of an object, as it stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member<'a> {
    /// Between its quotes, with its escapes.
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    /// Key, colon and value.
    pub(super) text: &'a [u8],
}

/// The members of the object that the whole text is.
pub(super) fn members(text: &[u8]) -> Option<Vec<Member<'_>>> {
    let text = text.trim_ascii();
    let inner = text.strip_prefix(b"{")?.strip_suffix(b"}")?;
    let mut found = Vec::new();
    let mut at = skip_space(inner, 0);
    while at < inner.len() {
        let start = at;
        let key_end = string_end(inner, at)?;
        at = skip_space(inner, key_end);
        if inner.get(at) != Some(&b':') {
            return None;
        }
        let value_start = skip_space(inner, at + 1);
        let value_end = value_end(inner, value_start)?;
        found.push(Member {
            key: &inner[start + 1..key_end - 1],
            value: inner[value_start..value_end].trim_ascii_end(),
            text: inner[start..value_end].trim_ascii_end(),
        });
        at = value_end;
        if at < inner.len() {
            at = skip_space(inner, at + 1);
            if at == inner.len() {
                // A comma with nothing behind it.
                return None;
            }
        }
    }
    Some(found)
}

/// The value of a member.
pub(super) fn value<'a>(members: &[Member<'a>], key: &str) -> Option<&'a [u8]> {
    members.iter().find(|member| member.key == key.as_bytes()).map(|member| member.value)
}

/// A value that is a whole number.
pub(super) fn whole_number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Between the quotes of a value that is a string of plain characters, at most `max`: they stand for themselves.
pub(super) fn plain_string(value: &[u8], max: usize) -> Option<&[u8]> {
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    (inner.len() <= max && inner.iter().all(|byte| is_plain(*byte))).then_some(inner)
}

/// A character of ids, offsets and such names: what Base64 in its sorts, numbers and their punctuation are made of.
pub(super) fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.:+/=~".contains(&byte)
}

/// Where the string that begins at a quote ends, behind its closing quote.
pub(super) fn string_end(text: &[u8], at: usize) -> Option<usize> {
    if text.get(at) != Some(&b'"') {
        return None;
    }
    let mut at = at + 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Whether the string between quotes, with its escapes, is this one.
pub(super) fn is_string(escaped: &[u8], plain: &str) -> bool {
    if !escaped.contains(&b'\\') {
        return escaped == plain.as_bytes();
    }
    let mut units = plain.encode_utf16();
    let Ok(escaped) = std::str::from_utf8(escaped) else { return false };
    let mut rest = escaped.chars();
    while let Some(character) = rest.next() {
        let fits = if character == '\\' {
            escape(&mut rest).is_some_and(|unit| units.next() == Some(unit))
        } else {
            character.encode_utf16(&mut [0; 2]).iter().all(|unit| units.next() == Some(*unit))
        };
        if !fits {
            return false;
        }
    }
    units.next().is_none()
}

/// The unit of UTF-16 that an escape stands for, behind its backslash.
fn escape(rest: &mut std::str::Chars<'_>) -> Option<u16> {
    Some(match rest.next()? {
        'b' => 8,
        't' => 9,
        'n' => 10,
        'f' => 12,
        'r' => 13,
        'u' => {
            let digits = rest.as_str().get(..4)?;
            *rest = rest.as_str().get(4..)?.chars();
            u16::from_str_radix(digits, 16).ok()?
        }
        other @ ('"' | '\\' | '/') => u16::try_from(u32::from(other)).ok()?,
        _ => return None,
    })
}

/// Where the next thing stands.
pub(super) fn skip_space(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// Where a value ends: at the comma behind it, or with the text.
fn value_end(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    let mut depth = 0usize;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                at = string_end(text, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => break,
            _ => {}
        }
        at += 1;
    }
    (depth == 0 && at > start).then_some(at)
}
