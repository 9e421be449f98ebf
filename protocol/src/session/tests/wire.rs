//! Frames as the tests write and read them: a codec of its own, so that a mistake of the machine's
//! is not repeated here.

use std::collections::VecDeque;

use crate::steadfast_v1::client_wire::MESSAGE;

pub(super) const CONTINUATION: u8 = 0;
pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// A frame of a client's, masked with a key that depends on its content.
pub(super) fn masked(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let sum = payload.iter().fold(opcode, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
    let key = [sum, sum.wrapping_add(77), sum ^ 0x5A, 0xC3];
    let mut frame = header(fin, opcode, payload.len(), 0x80);
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A frame of a backend's.
pub(super) fn plain(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(fin, opcode, payload.len(), 0);
    frame.extend(payload);
    frame
}

fn header(fin: bool, opcode: u8, len: usize, mask: u8) -> Vec<u8> {
    let mut header = vec![u8::from(fin) << 7 | opcode];
    match len {
        0..126 => header.push(mask | len as u8),
        126..0x1_0000 => header.extend([mask | 126, (len >> 8) as u8, len as u8]),
        _ => {
            header.push(mask | 127);
            header.extend((len as u64).to_be_bytes());
        }
    }
    header
}

/// A Close's payload; none for code 0.
pub(super) fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    match code {
        0 => Vec::new(),
        code => [&code.to_be_bytes(), reason.as_bytes()].concat(),
    }
}

/// A whole text message of a client's.
pub(super) fn upstream(text: &str) -> Vec<u8> {
    masked(true, TEXT, text.as_bytes())
}

/// A whole text message of a backend's.
pub(super) fn downstream(text: &str) -> Vec<u8> {
    plain(true, TEXT, text.as_bytes())
}

/// Reads what one end of one connection has received, strictly.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// What comes is masked.
    from_client: bool,
    /// Every byte that ever came.
    pub(super) bytes: Vec<u8>,
    parsed: usize,
    /// The open message: its opcode, and what has come of it.
    open: Option<(u8, Vec<u8>)>,
    closed: bool,
    /// Whole messages, and those of them that have the kind byte of the application's.
    pub(super) messages: u64,
    pub(super) numbered: u64,
    got: Vec<String>,
    /// Payloads of pings that were not answered yet.
    pub(super) pings: VecDeque<Vec<u8>>,
}

impl Reader {
    /// For a backend's end.
    pub(super) fn of_backend() -> Reader {
        Reader { from_client: true, ..Reader::default() }
    }

    /// Takes more bytes.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        while let Some(frame) = frame(&self.bytes[self.parsed..], self.from_client) {
            self.parsed += frame.len;
            self.take(frame);
        }
    }

    /// What came since the last call: messages as their text, control frames in angle brackets.
    pub(super) fn drain(&mut self) -> Vec<String> {
        std::mem::take(&mut self.got)
    }

    /// A Close has come.
    pub(super) fn closed(&self) -> bool {
        self.closed
    }

    /// Bytes of a frame that is not whole, or an open message.
    pub(super) fn in_the_middle(&self) -> bool {
        self.parsed < self.bytes.len() || self.open.is_some()
    }

    fn take(&mut self, frame: Frame) {
        assert!(!self.closed, "a frame after a Close: {frame:?}");
        let text = String::from_utf8_lossy(&frame.payload).into_owned();
        match frame.opcode {
            CLOSE => {
                self.closed = true;
                self.got.push(close_text(&frame.payload));
            }
            PING => {
                self.got.push(ping_text(&frame.payload));
                self.pings.push_back(frame.payload);
            }
            PONG => self.got.push(format!("<pong {text}>")),
            CONTINUATION => {
                let (opcode, mut open) = self.open.take().expect("a continuation continues a message");
                open.extend(frame.payload);
                self.message(frame.fin, opcode, open);
            }
            opcode => {
                assert!(opcode <= 2 && self.open.is_none(), "opcode {opcode}, open {:?}", self.open);
                self.message(frame.fin, opcode, frame.payload);
            }
        }
    }

    fn message(&mut self, fin: bool, opcode: u8, payload: Vec<u8>) {
        if fin {
            self.messages += 1;
            self.numbered += u64::from(payload.first() == Some(&MESSAGE));
            let attach = attach_text(&payload).filter(|_| self.from_client && opcode == BINARY);
            self.got.push(attach.unwrap_or_else(|| String::from_utf8_lossy(&payload).into_owned()));
        } else {
            self.open = Some((opcode, payload));
        }
    }
}

/// A ping that is a notice tells what was applied, and whether the session is to leave.
fn ping_text(payload: &[u8]) -> String {
    match payload {
        [b'S', b'1', flags, 0, rest @ ..] if rest.len() == 16 => {
            let draining = if *flags == 1 { " draining" } else { "" };
            format!("<notice {}{draining}>", number(&rest[8..]))
        }
        _ => "<ping>".to_owned(),
    }
}

/// An ATTACH: epoch, applied, committed, and the capsule if there is one.
fn attach_text(payload: &[u8]) -> Option<String> {
    let [b'A', 1, flags, 0, rest @ ..] = payload else { return None };
    let (head, capsule) = rest.split_at_checked(44)?;
    let [epoch, applied, committed] = [0, 8, 16].map(|at| number(&head[at..at + 8]));
    assert_eq!(number(&head[40..]), capsule.len() as u64);
    assert!(*flags == 1 || capsule.is_empty());
    let capsule = String::from_utf8_lossy(capsule);
    let capsule = if *flags == 1 { format!(" capsule {capsule:?}") } else { String::new() };
    Some(format!("<attach {epoch}: applied {applied}, committed {committed}{capsule}>"))
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// A commit as a service makes it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Commit<'a> {
    pub(super) number: u64,
    pub(super) upto: u64,
    pub(super) capsule: Option<&'a str>,
    pub(super) prompt: bool,
    pub(super) outputs: &'a [&'a str],
}

impl Commit<'_> {
    /// Its payload. Outputs that begin with `b:` are binary.
    pub(super) fn payload(&self) -> Vec<u8> {
        let flags = u8::from(self.capsule.is_some()) | u8::from(self.prompt) << 1;
        let capsule = self.capsule.unwrap_or_default();
        let mut bytes = vec![b'C', flags, 0, 0];
        bytes.extend([self.number, self.upto].map(u64::to_be_bytes).concat());
        bytes.extend((capsule.len() as u32).to_be_bytes());
        bytes.extend(capsule.as_bytes());
        bytes.extend(outputs(self.outputs));
        bytes
    }

    /// As a frame.
    pub(super) fn frame(&self) -> Vec<u8> {
        plain(true, BINARY, &self.payload())
    }
}

/// A push as a frame.
pub(super) fn push(texts: &[&str]) -> Vec<u8> {
    plain(true, BINARY, &[b"P\0\0\0".as_slice(), &outputs(texts)].concat())
}

fn outputs(texts: &[&str]) -> Vec<u8> {
    let output = |text: &&str| {
        let opcode = if text.starts_with("b:") { BINARY } else { TEXT };
        [&[opcode], (text.len() as u32).to_be_bytes().as_slice(), text.as_bytes()].concat()
    };
    texts.iter().flat_map(output).collect()
}

fn close_text(payload: &[u8]) -> String {
    match payload {
        [] => "<close>".to_owned(),
        [a, b, reason @ ..] => {
            let code = u16::from_be_bytes([*a, *b]);
            format!("<close {code} {}>", String::from_utf8_lossy(reason)).replace(" >", ">")
        }
        [_] => panic!("a Close with one byte of payload"),
    }
}

#[derive(Debug)]
struct Frame {
    fin: bool,
    opcode: u8,
    payload: Vec<u8>,
    len: usize,
}

/// The frame at the start of `bytes`, if it is whole.
fn frame(bytes: &[u8], from_client: bool) -> Option<Frame> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    assert_eq!(second & 0x80 != 0, from_client, "masking");
    let (fin, opcode) = (first & 0x80 != 0, first & 0x0F);
    // RSV1 may open a compressed message.
    let reserved = if [1, 2].contains(&opcode) { 0x30 } else { 0x70 };
    assert_eq!(first & reserved, 0, "reserved bits");
    assert!(opcode < 8 || (fin && second & 0x7F <= 125), "a control frame that is fragmented or long");
    let extra = match second & 0x7F {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mut at = 2 + extra;
    let size = match extra {
        0 => usize::from(second & 0x7F),
        _ => bytes.get(2..at)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
    };
    let key = if from_client { bytes.get(at..at + 4)? } else { &[0; 4] };
    at += if from_client { 4 } else { 0 };
    let body = bytes.get(at..at + size)?;
    let payload = body.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    Some(Frame { fin, opcode, payload, len: at + size })
}
