//! The messages for the client that a service's envelopes hold, on their way down.

use crate::chain::CHUNK;
use crate::downlink::DirectWrite;
use crate::scanner::Data;
use crate::shim::kind_byte::message_header;
use crate::shim::service_wire::Outputs;

use super::Session;
use super::service::Breach;

/// Up to so many bytes, an output's header and payload are put together before they go on.
const JOINED: usize = 4096;

/// A message for the client that is too long to be put together with others.
#[derive(Debug)]
pub(super) struct Large {
    header: [u8; 16],
    header_len: usize,
    payload_len: usize,
}

impl Session {
    /// Whether each may go to the client.
    pub(super) fn judge_outputs(&self, mut outputs: Outputs<'_>) -> Result<(), Breach> {
        let limit = self.config.message_limit as usize;
        if outputs.any(|output| output.payload.len() > limit) { Err(Breach::OutputTooBig) } else { Ok(()) }
    }

    /// Delivers all but a large one at the end.
    pub(super) fn deliver(&mut self, outputs: Outputs<'_>, direct: &mut DirectWrite<'_>) -> Option<Large> {
        if !self.client_hears() {
            return None;
        }
        let kind = self.adds_kind();
        let mut joined = Vec::with_capacity(outputs.len().min(JOINED));
        let mut messages = 0;
        let mut outputs = outputs.peekable();
        while let Some(output) = outputs.next() {
            let payload = output.payload;
            let (header, header_len) = message_header(output.text, payload.len(), kind);
            if payload.len() <= JOINED {
                joined.extend_from_slice(&header[..header_len]);
                joined.extend_from_slice(payload);
                messages += 1;
                continue;
            }
            if !joined.is_empty() {
                self.down.append(&Data { bytes: &joined, messages, whole: joined.len() }, direct);
                (messages, joined) = (0, Vec::new());
            }
            let large = Large { header, header_len, payload_len: payload.len() };
            if outputs.peek().is_none() {
                return Some(large);
            }
            self.deliver_copy(&large, payload, direct);
        }
        if !joined.is_empty() {
            self.down.append(&Data { bytes: &joined, messages, whole: joined.len() }, direct);
        }
        None
    }

    /// `at_end` ends with the payload.
    pub(super) fn deliver_copy(&mut self, large: &Large, at_end: &[u8], direct: &mut DirectWrite<'_>) {
        let payload = &at_end[at_end.len() - large.payload_len..];
        let header = &large.header[..large.header_len];
        if payload.len() <= CHUNK {
            return self.down.adopt([header, payload].concat(), 0, direct);
        }
        self.down.append(&Data { bytes: header, messages: 0, whole: 0 }, direct);
        self.down.append(&Data { bytes: payload, messages: 1, whole: payload.len() }, direct);
    }

    /// What stands before the payload has been heeded, so there is room for the header.
    pub(super) fn deliver_in_place(
        &mut self,
        large: &Large,
        mut envelope: Vec<u8>,
        direct: &mut DirectWrite<'_>,
    ) {
        let payload = envelope.len() - large.payload_len;
        match payload.checked_sub(large.header_len) {
            Some(start) => {
                envelope[start..payload].copy_from_slice(&large.header[..large.header_len]);
                self.down.adopt(envelope, start, direct);
            }
            None => self.deliver_copy(large, &envelope, direct),
        }
    }
}
