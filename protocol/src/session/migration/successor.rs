//! The next backend, while the present one still serves: what it says is kept until its turn comes.
//!
//! It is told nothing of the client yet. Its pings are answered, so that it can wait; a Close, a breach
//! or the end of its connection is its loss, and the session stays where it is.

use crate::entropy::{Entropy, mask_key};
use crate::relay::downstream::DownstreamWriter;
use crate::steadfast_v1::kind_byte::AddKind;
use crate::websocket::frame::{Opcode, control_frame};
use crate::websocket::scanner::{Control, Data, Item, Scanner};

/// It is not read while more than this is kept of what it says.
const HELD: usize = 256 * 1024;

/// A backend that waits for its turn.
#[derive(Debug)]
pub(in crate::session) struct Successor {
    pub(in crate::session) scan: Scanner,
    pub(in crate::session) held: DownstreamWriter,
    speech: SuccessorSpeech,
    pub(in crate::session) add_kind: AddKind,
    /// Payload of its latest ping that is not answered yet.
    pub(in crate::session) pinged: Option<Box<[u8]>>,
    /// The answer that is being written, and how far.
    pong: Vec<u8>,
    written: usize,
}

/// What becomes of what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum SuccessorSpeech {
    /// It is for the client.
    Plain,
    /// It is for a client that links the shim.
    Kinded,
    /// A service that links the shim has nothing to say before it is attached.
    None,
}

/// It cannot have its turn: it said Close, or something that is no WebSocket.
#[derive(Debug)]
pub(in crate::session) struct Lost;

impl Successor {
    pub(in crate::session) fn new(scan: Scanner, speech: SuccessorSpeech) -> Successor {
        let (held, add_kind) = (DownstreamWriter::default(), AddKind::default());
        Successor { scan, held, speech, add_kind, pinged: None, pong: Vec::new(), written: 0 }
    }

    /// Takes bytes that were read from it.
    pub(in crate::session) fn handle(&mut self, input: &mut &[u8], frames: &mut u32) -> Result<(), Lost> {
        while let Some(item) = self.scan.next(input, frames).map_err(|_| Lost)? {
            match item {
                Item::Control(control) => self.control(&control)?,
                item => self.data(&item.data().ok_or(Lost)?)?,
            }
        }
        Ok(())
    }

    fn data(&mut self, data: &Data<'_>) -> Result<(), Lost> {
        match self.speech {
            SuccessorSpeech::None => return Err(Lost),
            SuccessorSpeech::Plain => self.held.append(data, &mut |_| 0),
            SuccessorSpeech::Kinded => self.held.append(&self.add_kind.pass(data.bytes).data(), &mut |_| 0),
        }
        Ok(())
    }

    fn control(&mut self, control: &Control) -> Result<(), Lost> {
        match control.opcode {
            Opcode::Close => return Err(Lost),
            // The latest is the one to answer (RFC 6455, 5.5.3).
            Opcode::Ping => self.pinged = Some(control.payload().into()),
            _ => {}
        }
        Ok(())
    }

    /// Whether to read it.
    pub(in crate::session) fn listens(&self) -> bool {
        self.held.buffered() < HELD
    }

    /// Makes the answer to its ping, unless one is being written.
    pub(in crate::session) fn prepare(&mut self, entropy: &mut Entropy<'_>) {
        if self.idle()
            && let Some(payload) = self.pinged.take()
        {
            (self.pong, self.written) = (control_frame(Opcode::Pong, &payload, Some(mask_key(entropy))), 0);
        }
    }

    /// What to write to it now.
    pub(in crate::session) fn transmit(&self) -> &[u8] {
        &self.pong[self.written..]
    }

    pub(in crate::session) fn written(&mut self, n: usize) {
        self.written += n;
    }

    /// It has got nothing but whole frames, so that others may follow.
    pub(in crate::session) fn idle(&self) -> bool {
        self.written == self.pong.len()
    }
}
