//! Walks the frames that a chain holds.

use crate::buffer::chain::Chain;
use crate::websocket::frame::{HEADER_MAX, Header};

/// A frame of which the header, at least, lies in the chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlacedFrame {
    /// Where it ends, perhaps past the end of the chain.
    pub(crate) end: usize,
    pub(crate) header: Header,
}

impl PlacedFrame {
    /// It is the last frame of a data message.
    pub(crate) fn ends_message(&self) -> bool {
        self.header.fin && !self.header.opcode.is_control()
    }
}

/// Iterates over frames that follow one another. It ends where the chain does, or where there is
/// no legal header (there is one wherever a scanner has passed).
#[derive(Debug)]
pub(crate) struct Frames<'a> {
    chain: &'a Chain,
    at: usize,
}

impl<'a> Frames<'a> {
    /// Begins at index `at`, which must be the first byte of a frame.
    pub(crate) fn new(chain: &'a Chain, at: usize) -> Frames<'a> {
        Frames { chain, at }
    }
}

impl Iterator for Frames<'_> {
    type Item = PlacedFrame;

    fn next(&mut self) -> Option<PlacedFrame> {
        let mut bytes = [0; HEADER_MAX];
        let n = self.chain.peek(self.at, &mut bytes);
        let header = Header::parse(&bytes[..n]).ok()??;
        let start = self.at;
        let payload_len = usize::try_from(header.payload_len).unwrap_or(usize::MAX);
        self.at = (start + header.len).saturating_add(payload_len);
        Some(PlacedFrame { end: self.at, header })
    }
}
