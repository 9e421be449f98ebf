//! What a service that links the shim holds for its session, and the commits that it answers with
//! (`docs/protocol.md`, the service link). Sans-IO, and by hand on raw frames, so that it costs little
//! more than the plain echo.

use steadfast_protocol::steadfast_v1::service_wire::{Attach, EnvelopeWriter, Malformed};

use crate::wire::frame::{self, Header};

/// The answers of one connection, put together to commits.
#[derive(Debug)]
pub(super) struct Commits {
    /// `None`: ATTACH is still to come.
    standing: Option<Standing>,
    /// Payloads of the outputs for the next commit, one behind the other, and that of the open message.
    payloads: Vec<u8>,
    /// Of each of these outputs, whether it is a text, and how long.
    outputs: Vec<(bool, usize)>,
    /// Where the open message begins in `payloads`.
    begin: usize,
    /// The open message is a text.
    text: bool,
}

/// How far the session has come.
#[derive(Debug)]
struct Standing {
    /// Number of the last commit.
    number: u64,
    /// Seq of the last message that came.
    seq: u64,
}

impl Commits {
    /// A service to which nothing has come.
    pub(super) fn new() -> Self {
        Self { standing: None, payloads: Vec::new(), outputs: Vec::new(), begin: 0, text: false }
    }

    /// A data frame begins. `name` is put in front of what a message says.
    pub(super) fn start(&mut self, header: &Header, name: &[u8]) {
        if header.opcode == frame::CONTINUATION {
            return;
        }
        (self.begin, self.text) = (self.payloads.len(), header.opcode == frame::TEXT);
        if self.standing.is_some() {
            self.payloads.extend_from_slice(name);
        }
    }

    /// Where payload is appended.
    pub(super) fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.payloads
    }

    /// The open message is whole.
    pub(super) fn end_message(&mut self) -> Result<(), Malformed> {
        let message = &self.payloads[self.begin..];
        if let Some(standing) = &mut self.standing {
            standing.seq += 1;
            self.outputs.push((self.text, message.len()));
            return Ok(());
        }
        if self.text {
            return Err(Malformed::Kind);
        }
        let attach = Attach::decode(message)?;
        self.standing = Some(Standing { number: attach.applied, seq: attach.committed });
        self.payloads.clear();
        Ok(())
    }

    /// Appends the commit of all whole messages that have come since the last one to `frames`. False:
    /// there are none.
    pub(super) fn commit(&mut self, frames: &mut Vec<u8>) -> bool {
        let Some(standing) = self.standing.as_mut().filter(|_| !self.outputs.is_empty()) else {
            return false;
        };
        standing.number += 1;
        // Of the open message there is nothing yet that a commit could speak of.
        let mut rest = self.payloads.as_slice();
        let mut commit = EnvelopeWriter::commit(standing.number, standing.seq, None, false);
        for (text, length) in self.outputs.drain(..) {
            let (payload, behind) = rest.split_at(length);
            commit.output(text, payload);
            rest = behind;
        }
        frame::put_frame(frames, frame::BINARY, None, &commit.finish());
        let committed = self.payloads.len() - rest.len();
        self.payloads.drain(..committed);
        self.begin = self.begin.saturating_sub(committed);
        true
    }
}
