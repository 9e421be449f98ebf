//! Puts a message's payload together from its frames.

use crate::frame::{Header, Opcode};

/// A large message's room grows by at most so many bytes ahead of what has come, whatever its headers say.
const AHEAD: usize = 256 * 1024;

/// The message that is open.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    /// The payload bytes of the present frame that are still to come.
    left: u64,
    /// The present frame is its message's last.
    fin: bool,
    /// A message has begun and not ended.
    open: bool,
    text: bool,
    payload: Vec<u8>,
}

/// A step through the input.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// A whole message that lies in the input.
    Whole { text: bool, payload: &'a [u8] },
    /// A message is whole that came in parts: see [`Assembler::take`].
    Assembled,
}

impl Assembler {
    /// Takes bytes of frames off the front of `input` up to the end of a message; `None`: none ends
    /// there. The frames must be unmasked, and every header whole, as they are where a scanner has passed.
    pub(crate) fn next<'i>(&mut self, input: &mut &'i [u8]) -> Option<Step<'i>> {
        while !input.is_empty() {
            if self.left == 0 {
                let header = Header::parse(input).ok()??;
                *input = &input[header.len..];
                if let Some(whole) = self.begin(&header, input) {
                    return Some(whole);
                }
            }
            let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
            let (now, rest) = input.split_at(n);
            self.payload.extend_from_slice(now);
            *input = rest;
            if self.skip(n as u64) {
                return Some(Step::Assembled);
            }
        }
        None
    }

    fn begin<'i>(&mut self, header: &Header, input: &mut &'i [u8]) -> Option<Step<'i>> {
        let first = !std::mem::replace(&mut self.open, true);
        if first {
            self.text = header.opcode == Opcode::Text;
        }
        let whole = usize::try_from(header.payload_len).ok().and_then(|len| input.split_at_checked(len));
        if let (true, true, Some((payload, rest))) = (first, header.fin, whole) {
            (self.open, *input) = (false, rest);
            return Some(Step::Whole { text: self.text, payload });
        }
        (self.left, self.fin) = (header.payload_len, header.fin);
        // An empty last fragment has no payload that could end it.
        if self.skip(0) { Some(Step::Assembled) } else { None }
    }

    /// Room for payload bytes that need no look, in the payload.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        let ahead = usize::try_from(self.left).unwrap_or(usize::MAX).min(AHEAD);
        self.payload.reserve(ahead);
        &mut self.payload
    }

    /// Counts `n` payload bytes of the present frame that were put there. True: they end the message.
    pub(crate) fn skip(&mut self, n: u64) -> bool {
        self.left = self.left.saturating_sub(n);
        let ended = self.left == 0 && self.fin && self.open;
        self.open &= !ended;
        ended
    }

    /// The message that is whole now: whether it is text, and its payload.
    pub(crate) fn take(&mut self) -> (bool, Vec<u8>) {
        (self.text, std::mem::take(&mut self.payload))
    }

    /// Bytes that are kept.
    pub(crate) fn len(&self) -> usize {
        self.payload.len()
    }
}
