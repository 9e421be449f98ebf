//! Messages with a name in them that is another on the other side.

use super::json::Found;
use super::value::Value;
use crate::Message;

/// A number that a backend will hardly count to, and that is exact in JavaScript.
const FRESH_NUMBER: u64 = 1 << 52;
/// Names that are tried: more than are ever taken.
const TRIES_MAX: u64 = 2_048;

/// Whether a value can be the name of something: a text or a number.
pub(super) fn is_name(value: Value<'_>) -> bool {
    matches!(value.raw().first(), Some(b'"' | b'-' | b'0'..=b'9'))
}

/// Another name of the same kind: a number, or the text with hexadecimal digits behind it.
pub(super) fn fresh_name(name: Value<'_>, is_taken: impl Fn(Value<'_>) -> bool) -> Option<Vec<u8>> {
    let begin = name.raw().strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    (0..TRIES_MAX)
        .map(|number| match begin {
            Some(begin) => [b"\"", begin, format!("{number:x}\"").as_bytes()].concat(),
            None => (FRESH_NUMBER + number).to_string().into_bytes(),
        })
        .find(|name| !is_taken(Value::of_raw(name)))
}

/// The message, or as much of it as is there, with other values in some places. `None`: in none.
pub(super) fn spliced<'l>(
    found: &Found<'_>,
    message: &Message<'_>,
    instead: impl Fn(u8, Value<'_>) -> Option<&'l [u8]>,
) -> Option<Vec<u8>> {
    if found.mask() == 0 {
        return None;
    }
    let mut parts: Vec<_> = (0..u32::BITS as u8)
        .filter_map(|place| {
            let value = found.value(place)?;
            let new = instead(place, value).filter(|new| *new != value.raw())?;
            Some((found.range(place)?, new))
        })
        .collect();
    parts.sort_by_key(|(range, _)| range.start);
    let mut said = Vec::with_capacity(message.payload.len() + 64);
    let mut from = 0;
    for (range, new) in &parts {
        // A value within one that was replaced is gone.
        if let Some(before) = message.payload.get(from..range.start) {
            said.extend_from_slice(before);
            said.extend_from_slice(new);
            from = range.end;
        }
    }
    said.extend_from_slice(message.payload.get(from..)?);
    (!parts.is_empty()).then_some(said)
}
