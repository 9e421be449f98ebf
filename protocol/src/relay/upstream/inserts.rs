//! What is written to a backend between the client's messages, apart from pings.

use crate::websocket::frame::{Opcode, control_frame, data_frame};

use crate::entropy::{Entropy, mask_key};

use super::NOWHERE;

/// Control frames other than the ping; rare.
#[derive(Debug)]
pub(super) struct Inserts {
    /// Nothing behind this position is written, if it is not [`NOWHERE`]: something before it is to be answered first.
    pub(super) barrier: u64,
    pub(super) pong: Option<Insert>,
    /// The answer to a ping that came while an earlier pong was half written.
    pub(super) late_pong: Option<Vec<u8>>,
    pub(super) close: Option<Insert>,
    /// The first message to a service that links the shim.
    pub(super) attach: Option<Insert>,
}

#[derive(Debug)]
pub(super) struct Insert {
    pub(super) at: u64,
    payload: Vec<u8>,
    /// The masked frame, once there was entropy to make it.
    pub(super) frame: Vec<u8>,
    pub(super) written: usize,
}

impl Default for Inserts {
    fn default() -> Inserts {
        Inserts { barrier: NOWHERE, pong: None, late_pong: None, close: None, attach: None }
    }
}

impl Inserts {
    pub(super) fn is_empty(&self) -> bool {
        let pong = self.pong.is_some() || self.late_pong.is_some();
        !pong && self.close.is_none() && self.attach.is_none() && self.barrier == NOWHERE
    }

    pub(super) fn seal(&mut self, entropy: &mut Entropy<'_>) {
        for (insert, opcode) in [(&mut self.pong, Opcode::Pong), (&mut self.close, Opcode::Close)] {
            if let Some(insert) = insert.as_mut().filter(|insert| !insert.sealed()) {
                insert.frame = control_frame(opcode, &insert.payload, Some(mask_key(entropy)));
            }
        }
        if let Some(attach) = self.attach.as_mut().filter(|attach| !attach.sealed()) {
            attach.frame = data_frame(Opcode::Binary, &attach.payload, Some(mask_key(entropy)));
        }
    }

    pub(super) fn attach_written(&mut self, n: usize) {
        if let Some(attach) = &mut self.attach {
            attach.written += n;
            if attach.written == attach.frame.len() {
                self.attach = None;
            }
        }
    }

    pub(super) fn close_written(&mut self, n: usize) {
        if let Some(close) = &mut self.close {
            close.written += n;
        }
    }

    pub(super) fn pong_written(&mut self, n: usize) {
        if let Some(pong) = &mut self.pong {
            pong.written += n;
            if pong.written == pong.frame.len() {
                self.pong = None;
            }
        }
    }
}

impl Insert {
    pub(super) fn new(at: u64, payload: &[u8]) -> Insert {
        Insert { at, payload: payload.to_vec(), frame: Vec::new(), written: 0 }
    }

    pub(super) fn sealed(&self) -> bool {
        !self.frame.is_empty()
    }

    pub(super) fn unwritten(&self) -> &[u8] {
        &self.frame[self.written..]
    }
}
