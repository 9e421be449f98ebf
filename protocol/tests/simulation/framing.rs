//! WebSocket frames as the simulation's own ends write and read them. That is not the machine's code, so
//! that a mistake of its is not made here as well.

use crate::random::Random;
use steadfast_protocol::websocket::close_code::CloseCode;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Writes frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pen {
    masked: bool,
}

impl Pen {
    /// A client's, whose frames are masked.
    pub(crate) fn masked() -> Pen {
        Pen { masked: true }
    }

    /// A service's.
    pub(crate) fn plain() -> Pen {
        Pen { masked: false }
    }

    /// A message in one frame or several, the first of which has at least one byte if there is one.
    pub(crate) fn message(self, dice: &mut Random, text: bool, payload: &[u8], out: &mut Vec<u8>) {
        let mut opcode = if text { TEXT } else { BINARY };
        let mut rest = payload;
        for _ in 0..dice.pick(&[0, 0, 0, 0, 1, 2]) {
            let first = usize::from(opcode != CONTINUATION);
            let (part, later) = rest.split_at(dice.size(first.min(rest.len()), rest.len()));
            self.frame(dice, (false, opcode), part, out);
            if dice.chance(10) {
                self.frame(dice, (true, PONG), b"between", out);
            }
            (opcode, rest) = (CONTINUATION, later);
        }
        self.frame(dice, (true, opcode), rest, out);
    }

    pub(crate) fn ping(self, dice: &mut Random, payload: &[u8], out: &mut Vec<u8>) {
        self.frame(dice, (true, PING), payload, out);
    }

    pub(crate) fn pong(self, dice: &mut Random, payload: &[u8], out: &mut Vec<u8>) {
        self.frame(dice, (true, PONG), payload, out);
    }

    /// `None`: a Close without a code.
    pub(crate) fn close(self, dice: &mut Random, close: Option<(CloseCode, &str)>, out: &mut Vec<u8>) {
        let payload =
            close.map_or_else(Vec::new, |(code, reason)| [&code.0.to_be_bytes(), reason.as_bytes()].concat());
        self.frame(dice, (true, CLOSE), &payload, out);
    }

    fn frame(self, dice: &mut Random, (fin, opcode): (bool, u8), payload: &[u8], out: &mut Vec<u8>) {
        let mask = if self.masked { 0x80 } else { 0 };
        out.push(if fin { 0x80 | opcode } else { opcode });
        match payload.len() {
            len @ 0..126 => out.push(mask | len as u8),
            len @ 126..0x1_0000 => {
                out.push(mask | 126);
                out.extend((len as u16).to_be_bytes());
            }
            len => {
                out.push(mask | 127);
                out.extend((len as u64).to_be_bytes());
            }
        }
        if self.masked {
            let key: [u8; 4] = dice.bytes();
            out.extend(key);
            out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        } else {
            out.extend(payload);
        }
    }
}

/// What is in frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Message {
        text: bool,
        payload: Vec<u8>,
    },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// Code and reason, if there are.
    Close(Option<(CloseCode, String)>),
}

/// Reads frames from a stream of bytes. Frames that RFC 6455 forbids are a failure of the schedule.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    masked: bool,
    unread: Vec<u8>,
    open: Option<(bool, Vec<u8>)>,
    closed: bool,
}

impl Ear {
    /// For what a client says.
    pub(crate) fn masked() -> Ear {
        Ear { masked: true, ..Ear::default() }
    }

    /// For what a server says.
    pub(crate) fn plain() -> Ear {
        Ear::default()
    }

    /// Everything that has come whole with these bytes.
    pub(crate) fn hear(&mut self, bytes: &[u8]) -> Vec<Heard> {
        assert!(bytes.is_empty() || !self.closed, "{} bytes come behind a Close", bytes.len());
        self.unread.extend_from_slice(bytes);
        let mut heard = Vec::new();
        let mut from = 0;
        while let Some((first, payload, len)) = frame(&self.unread[from..], self.masked) {
            from += len;
            heard.extend(self.understand(first, payload));
        }
        self.unread.drain(..from);
        heard
    }

    fn understand(&mut self, first: u8, payload: Vec<u8>) -> Option<Heard> {
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0F);
        assert_eq!(first & 0x70, 0, "reserved bits are set");
        assert!(!self.closed, "a frame stands behind a Close");
        assert!(opcode < CLOSE || (fin && payload.len() <= 125), "a control frame is long or in parts");
        match opcode {
            PING => return Some(Heard::Ping(payload)),
            PONG => return Some(Heard::Pong(payload)),
            CLOSE => {
                self.closed = true;
                return Some(Heard::Close(close(&payload)));
            }
            TEXT | BINARY => {
                assert!(self.open.is_none(), "a message begins within another");
                self.open = Some((opcode == TEXT, payload));
            }
            CONTINUATION => self.open.as_mut().expect("a message that goes on has begun").1.extend(payload),
            other => panic!("opcode {other}"),
        }
        self.open.take_if(|_| fin).map(|(text, payload)| Heard::Message { text, payload })
    }
}

fn close(payload: &[u8]) -> Option<(CloseCode, String)> {
    let (code, reason) = payload.split_first_chunk()?;
    let reason = String::from_utf8(reason.to_vec()).expect("a reason is UTF-8");
    Some((CloseCode(u16::from_be_bytes(*code)), reason))
}

/// The frame in front, if all of it is there: its first byte, its payload, and its length.
fn frame(bytes: &[u8], masked: bool) -> Option<(u8, Vec<u8>, usize)> {
    let [first, second, ..] = *bytes else { return None };
    assert_eq!(second & 0x80 != 0, masked, "the wrong side masks");
    let (len, at) = match second & 0x7F {
        126 => (u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
        short => (u64::from(short), 2),
    };
    let from = if masked { at + 4 } else { at };
    let end = from + usize::try_from(len).expect("lengths are small here");
    let mut payload = bytes.get(from..end)?.to_vec();
    for (n, byte) in payload.iter_mut().enumerate().filter(|_| masked) {
        *byte ^= bytes[at + n % 4];
    }
    Some((first, payload, end))
}
