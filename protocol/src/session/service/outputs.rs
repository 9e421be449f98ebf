//! The messages for the client that a service's envelopes hold, on their way downstream.

use crate::buffer::chain::CHUNK;
use crate::relay::downstream::DirectWrite;
use crate::steadfast_v1::kind_byte::{message_header, short_header};
use crate::steadfast_v1::service_wire::{Output, Outputs};
use crate::websocket::scanner::Data;

use super::super::Session;
use crate::session::report::ServiceBreach;

/// Up to so many bytes, an output's header and payload are put together before they go on.
const JOINED: usize = 4096;

/// A message for the client that is too long to be put together with others.
#[derive(Debug)]
pub(in crate::session) struct Large {
    header: [u8; 16],
    header_len: usize,
    payload_len: usize,
}

/// The way to the client for the envelopes that were read at once. Their small messages are put together
/// first, so that they take one write however many commits they come with.
pub(in crate::session) struct EnvelopeRelay<'d, 's> {
    direct: &'d mut DirectWrite<'s>,
    /// How long they may be together, as far as is known.
    room: usize,
    joined: Vec<u8>,
    messages: u32,
}

impl<'d, 's> EnvelopeRelay<'d, 's> {
    /// For envelopes of `read` bytes.
    pub(in crate::session) fn new(read: usize, direct: &'d mut DirectWrite<'s>) -> EnvelopeRelay<'d, 's> {
        EnvelopeRelay { direct, room: read.min(CHUNK), joined: Vec::new(), messages: 0 }
    }

    #[inline]
    fn join(&mut self, output: &Output<'_>, kind: bool) {
        if self.joined.is_empty() {
            self.joined.reserve(self.room);
        }
        match (short_header(output, kind), kind) {
            (Some([first, len, kind]), true) => self.joined.extend_from_slice(&[first, len, kind]),
            (Some([first, len, _]), false) => self.joined.extend_from_slice(&[first, len]),
            (None, _) => {
                let (header, len) = message_header(output.text, output.payload.len(), kind);
                self.joined.extend_from_slice(&header[..len]);
            }
        }
        self.joined.extend_from_slice(output.payload);
        self.messages += 1;
    }
}

impl Session {
    /// Whether each may go to the client.
    pub(in crate::session) fn judge_outputs(&self, mut outputs: Outputs<'_>) -> Result<(), ServiceBreach> {
        let limit = self.config.message_limit as usize;
        // Almost never are all of them together longer than one may be.
        if outputs.len() > limit && outputs.any(|output| output.payload.len() > limit) {
            Err(ServiceBreach::OutputTooBig)
        } else {
            Ok(())
        }
    }

    /// Delivers all but a large one at the end.
    pub(in crate::session) fn deliver(
        &mut self,
        outputs: Outputs<'_>,
        out: &mut EnvelopeRelay<'_, '_>,
    ) -> Option<Large> {
        if !self.client_hears() {
            return None;
        }
        let kind = self.adds_kind();
        let mut outputs = outputs;
        while let Some(output) = outputs.next() {
            let payload = output.payload;
            if payload.len() <= JOINED {
                out.join(&output, kind);
                continue;
            }
            let (header, header_len) = message_header(output.text, payload.len(), kind);
            let large = Large { header, header_len, payload_len: payload.len() };
            if outputs.is_empty() {
                return Some(large);
            }
            self.deliver_copy(&large, payload, out);
        }
        None
    }

    /// Gives the messages that were put together to the client.
    pub(in crate::session) fn deliver_joined(&mut self, out: &mut EnvelopeRelay<'_, '_>) {
        let (bytes, messages) = (std::mem::take(&mut out.joined), std::mem::take(&mut out.messages));
        if !bytes.is_empty() {
            let whole = bytes.len();
            self.state.downstream.append_made(bytes, (messages, whole), out.direct);
        }
    }

    /// `at_end` ends with the payload.
    pub(in crate::session) fn deliver_copy(
        &mut self,
        large: &Large,
        at_end: &[u8],
        out: &mut EnvelopeRelay<'_, '_>,
    ) {
        self.deliver_joined(out);
        let payload = &at_end[at_end.len() - large.payload_len..];
        let header = &large.header[..large.header_len];
        if payload.len() <= CHUNK {
            return self.state.downstream.adopt([header, payload].concat(), 0, out.direct);
        }
        self.state.downstream.append(&Data { bytes: header, messages: 0, whole: 0 }, out.direct);
        self.state.downstream.append(&Data { bytes: payload, messages: 1, whole: payload.len() }, out.direct);
    }

    /// What stands before the payload has been heeded, so there is room for the header.
    pub(in crate::session) fn deliver_in_place(
        &mut self,
        large: &Large,
        mut envelope: Vec<u8>,
        out: &mut EnvelopeRelay<'_, '_>,
    ) {
        let payload = envelope.len() - large.payload_len;
        match payload.checked_sub(large.header_len) {
            Some(start) => {
                self.deliver_joined(out);
                envelope[start..payload].copy_from_slice(&large.header[..large.header_len]);
                self.state.downstream.adopt(envelope, start, out.direct);
            }
            None => self.deliver_copy(large, &envelope, out),
        }
    }
}
