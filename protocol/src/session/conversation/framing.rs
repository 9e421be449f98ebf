//! One message as frames: taken apart, and put together.

use std::borrow::Cow;

use crate::websocket::frame::{Header, Opcode, apply_mask, data_frame};

/// A whole message at the front of some bytes.
pub(super) struct FoundMessage<'a> {
    /// It is a text message; else it is binary.
    pub(super) text: bool,
    /// Its payload, unmasked, as far as it was asked for.
    pub(super) payload: Cow<'a, [u8]>,
    /// All of it was.
    pub(super) whole: bool,
    /// Where it ends.
    pub(super) end: usize,
    /// The first frame's masking key.
    pub(super) mask: Option<[u8; 4]>,
}

/// The message that begins at `at`, if it is whole, with up to `window` bytes of its payload.
pub(super) fn next_message(bytes: &[u8], at: usize, window: usize) -> Option<FoundMessage<'_>> {
    let span = |at: usize, header: &Header| {
        let start = at + header.len;
        let end = start.checked_add(usize::try_from(header.payload_len).ok()?)?;
        (end <= bytes.len()).then_some((start, end))
    };
    let first = Header::parse(bytes.get(at..)?).ok()??;
    let (start, mut end) = span(at, &first)?;
    let mut whole = end - start <= window;
    let mut payload = Cow::Borrowed(&bytes[start..end.min(start.saturating_add(window))]);
    if let Some(key) = first.mask {
        apply_mask(payload.to_mut(), key, 0);
    }
    let mut fin = first.fin;
    while !fin {
        let header = Header::parse(bytes.get(end..)?).ok()??;
        let (start, next) = span(end, &header)?;
        let (room, from) = (window - payload.len(), payload.len());
        whole &= next - start <= room;
        payload.to_mut().extend_from_slice(&bytes[start..next.min(start.saturating_add(room))]);
        if let Some(key) = header.mask {
            apply_mask(&mut payload.to_mut()[from..], key, 0);
        }
        (end, fin) = (next, header.fin);
    }
    Some(FoundMessage { text: first.opcode == Opcode::Text, payload, whole, end, mask: first.mask })
}

/// A message of one frame, masked when `mask` is given.
pub(super) fn framed(text: bool, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    data_frame(if text { Opcode::Text } else { Opcode::Binary }, payload, mask)
}
