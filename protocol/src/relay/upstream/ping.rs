//! The ping that asks a backend what it has read, and tells a service that links the shim what is new.

use crate::steadfast_v1::service_wire::{NOTICE_LEN, Notice};
use crate::time::Time;
use crate::websocket::frame::apply_mask;

use crate::entropy::{Entropy, key_of};

/// Bytes of a masked ping before its payload: two of header, four of key.
const PING_HEAD: usize = 6;

/// A masked ping with eight bytes of nonce.
const PING_LEN: usize = PING_HEAD + 8;

/// A masked ping with a notice.
const NOTICE_PING_LEN: usize = PING_HEAD + NOTICE_LEN;

/// What a ping to a service that links the shim tells it besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PingNotice {
    pub(crate) applied: u64,
    pub(crate) draining: bool,
}

#[derive(Debug)]
pub(super) struct Ping {
    pub(super) at: u64,
    /// The lower half of the seq that it covers.
    seq: u32,
    /// Bytes before it that were not acknowledged when it was made.
    pub(super) covers: u32,
    /// When it was written, or was last found not to be.
    pub(super) asked: Time,
    pub(super) frame: PingFrame,
}

/// A ping's bytes, and how many of them are written.
#[derive(Debug)]
pub(super) enum PingFrame {
    Plain(u8, [u8; PING_LEN]),
    /// One with a notice.
    Notice(u8, Box<[u8; NOTICE_PING_LEN]>),
}

impl Ping {
    /// One behind position `at`, where message `seq` ends; up to `acked`, everything is acknowledged.
    #[inline]
    pub(super) fn new(
        now: Time,
        (at, seq): (u64, u64),
        acked: u64,
        notice: Option<PingNotice>,
        entropy: &mut Entropy<'_>,
    ) -> Ping {
        // One draw for both: what the key keeps an attacker from choosing (RFC 6455, 10.3), nobody chooses here.
        let nonce = entropy();
        let frame = PingFrame::new(key_of(nonce), nonce, notice);
        let covers = u32::try_from(at.saturating_sub(acked)).unwrap_or(u32::MAX);
        Ping { at, seq: seq as u32, covers, asked: now, frame }
    }

    /// The seq that it covers, which is near to `seq`.
    #[inline]
    pub(super) fn seq_near(&self, seq: u64) -> u64 {
        seq.wrapping_add_signed(i64::from(self.seq.wrapping_sub(seq as u32).cast_signed()))
    }

    /// It was written to its last byte.
    #[inline]
    pub(super) fn written(&self) -> bool {
        self.frame.unwritten().is_empty()
    }

    #[inline]
    pub(super) fn note_unwritten(&mut self, now: Time) {
        if !self.written() {
            self.asked = now;
        }
    }
}

impl PingFrame {
    #[inline]
    fn new(key: [u8; 4], nonce: u64, notice: Option<PingNotice>) -> PingFrame {
        match notice {
            None => PingFrame::Plain(0, filled(key, &nonce.to_be_bytes())),
            Some(PingNotice { applied, draining }) => {
                let notice = Notice { nonce, applied, draining };
                PingFrame::Notice(0, Box::new(filled(key, &notice.encode())))
            }
        }
    }

    #[inline]
    fn parts(&self) -> (usize, &[u8]) {
        match self {
            PingFrame::Plain(written, frame) => (usize::from(*written), frame),
            PingFrame::Notice(written, frame) => (usize::from(*written), frame.as_slice()),
        }
    }

    #[inline]
    pub(super) fn written(&self) -> usize {
        self.parts().0
    }

    #[inline]
    pub(super) fn unwritten(&self) -> &[u8] {
        let (written, frame) = self.parts();
        &frame[written..]
    }

    /// A part of it is written, and not all.
    pub(super) fn is_begun(&self) -> bool {
        self.written() > 0 && !self.unwritten().is_empty()
    }

    #[inline]
    pub(super) fn add_written(&mut self, n: usize) {
        let (PingFrame::Plain(written, _) | PingFrame::Notice(written, _)) = self;
        *written += n as u8;
    }

    /// The payload of a plain one.
    #[cfg(test)]
    pub(super) fn nonce(&self) -> Vec<u8> {
        let (_, frame) = self.parts();
        let key = &frame[PING_HEAD - 4..PING_HEAD];
        frame[PING_HEAD..].iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
    }

    /// This is its payload.
    #[inline]
    pub(super) fn is(&self, payload: &[u8]) -> bool {
        match self {
            PingFrame::Plain(_, frame) => has_payload::<PING_LEN, { PING_LEN - PING_HEAD }>(frame, payload),
            PingFrame::Notice(_, frame) => has_payload::<NOTICE_PING_LEN, NOTICE_LEN>(frame, payload),
        }
    }
}

/// A masked ping that fills `N` bytes.
#[inline]
fn filled<const N: usize, const PAYLOAD: usize>(key: [u8; 4], payload: &[u8; PAYLOAD]) -> [u8; N] {
    const { assert!(N == PING_HEAD + PAYLOAD) };
    let mut frame = [0; N];
    // FIN and the opcode; masked, with its length (RFC 6455, 5.2).
    (frame[0], frame[1]) = (0x89, 0x80 | PAYLOAD as u8);
    frame[PING_HEAD - 4..PING_HEAD].copy_from_slice(&key);
    frame[PING_HEAD..].copy_from_slice(&masked(key, payload));
    frame
}

#[inline]
fn masked<const PAYLOAD: usize>(key: [u8; 4], payload: &[u8; PAYLOAD]) -> [u8; PAYLOAD] {
    let mut masked = *payload;
    apply_mask(&mut masked, key, 0);
    masked
}

/// Whether the masked ping `frame` carries this.
#[inline]
fn has_payload<const N: usize, const PAYLOAD: usize>(frame: &[u8; N], payload: &[u8]) -> bool {
    const { assert!(N == PING_HEAD + PAYLOAD) };
    let key = [frame[2], frame[3], frame[4], frame[5]];
    let payload: Option<&[u8; PAYLOAD]> = payload.try_into().ok();
    payload.is_some_and(|payload| masked(key, payload)[..] == frame[PING_HEAD..])
}
