//! Control frames, which may stand between the fragments of a message (RFC 6455 section 5.5).

use super::frame::{self, Header};

/// An application's ordinary end (RFC 6455 section 7.4.1).
pub(crate) const NORMAL: u16 = 1000;
/// The code reported for a connection that ended without a Close frame (RFC 6455 section 7.4.1).
pub(crate) const CODE_ABNORMAL: u16 = 1006;
/// The code reported for a Close frame without one.
pub(crate) const CODE_NONE: u16 = 1005;

/// A control frame, whole and unmasked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// To be answered with the same bytes.
    Ping(Vec<u8>),
    /// Nothing here sends pings, so nothing waits for pongs.
    Pong,
    /// The peer ends the connection, with this code; [`CODE_NONE`] when it gave none.
    Close(u16),
}

impl Control {
    /// Answers a ping into `queue`, and returns the code of a Close, whose answer is left to the caller.
    pub(crate) fn answer(self, mask: Option<[u8; 4]>, queue: &mut Vec<u8>) -> Option<u16> {
        match self {
            Control::Ping(payload) => frame::put_frame(queue, frame::PONG, mask, &payload),
            Control::Pong => {}
            Control::Close(code) => return Some(code),
        }
        None
    }
}

/// Appends a server's Close with this code; [`CODE_NONE`]: without one.
pub(crate) fn put_close(queue: &mut Vec<u8>, code: u16) {
    let payload = code.to_be_bytes();
    let payload = if code == CODE_NONE { &[] } else { payload.as_slice() };
    frame::put_frame(queue, frame::CLOSE, None, payload);
}

/// Gathers one control frame at a time.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    payload: Vec<u8>,
}

impl Gather {
    /// Takes a piece of the payload; the whole frame comes back with the last one.
    pub(crate) fn take(&mut self, header: &Header, bytes: &[u8], last: bool) -> Option<Control> {
        self.payload.extend_from_slice(bytes);
        if !last {
            return None;
        }
        let mut payload = std::mem::take(&mut self.payload);
        if let Some(key) = header.mask {
            frame::apply_mask(&mut payload, key, 0);
        }
        Some(match header.opcode {
            frame::PING => Control::Ping(payload),
            frame::PONG => Control::Pong,
            _ => Control::Close(payload.first_chunk().map_or(CODE_NONE, |code| u16::from_be_bytes(*code))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(opcode: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Option<Control> {
        let header = Header { fin: true, opcode, mask, length: payload.len() as u64 };
        let mut gather = Gather::default();
        for byte in payload {
            assert_eq!(gather.take(&header, &[*byte], false), None);
        }
        gather.take(&header, &[], true)
    }

    #[test]
    fn control_frames_come_out_whole_and_unmasked() {
        assert_eq!(gather(frame::PING, None, b"abc"), Some(Control::Ping(b"abc".to_vec())));
        assert_eq!(gather(frame::PING, Some([1; 4]), &[b'a' ^ 1]), Some(Control::Ping(b"a".to_vec())));
        assert_eq!(gather(frame::PONG, None, b""), Some(Control::Pong));
        assert_eq!(gather(frame::CLOSE, None, &[0x03, 0xE9]), Some(Control::Close(1001)));
        assert_eq!(gather(frame::CLOSE, None, b""), Some(Control::Close(CODE_NONE)));
    }
}
