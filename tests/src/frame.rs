//! WebSocket frames made and read by hand, right or wrong as a test wants them (RFC 6455 section 5.2).

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Opcode of a continuation frame.
pub const CONTINUATION: u8 = 0x0;
/// Opcode of a text frame.
pub const TEXT: u8 = 0x1;
/// Opcode of a binary frame.
pub const BINARY: u8 = 0x2;
/// Opcode of a Close frame.
pub const CLOSE: u8 = 0x8;
/// Opcode of a ping.
pub const PING: u8 = 0x9;
/// Opcode of a pong.
pub const PONG: u8 = 0xA;

/// Reserved bit 1, which permessage-deflate uses for "compressed".
pub const RSV1: u8 = 0b100;

/// One frame. Nothing about it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Whether it ends its message.
    pub fin: bool,
    /// The three reserved bits, RSV1 the highest.
    pub rsv: u8,
    /// Four bits.
    pub opcode: u8,
    /// The masking key, if masked.
    pub mask: Option<[u8; 4]>,
    /// The content, unmasked.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A whole, unmasked frame without reserved bits.
    pub fn new(opcode: u8, payload: impl Into<Vec<u8>>) -> Self {
        Self { fin: true, rsv: 0, opcode, mask: None, payload: payload.into() }
    }

    /// A whole text message.
    pub fn text(payload: &str) -> Self {
        Self::new(TEXT, payload)
    }

    /// A Close with a code and a reason.
    pub fn close(code: u16, reason: &str) -> Self {
        Self::new(CLOSE, [&code.to_be_bytes(), reason.as_bytes()].concat())
    }

    /// A Close without a code.
    pub fn close_empty() -> Self {
        Self::new(CLOSE, [])
    }

    /// The same frame, to be followed by a continuation.
    pub fn unfinished(mut self) -> Self {
        self.fin = false;
        self
    }

    /// The same frame with these reserved bits.
    pub fn reserved(mut self, rsv: u8) -> Self {
        self.rsv = rsv;
        self
    }

    /// The same frame, masked with `key`.
    pub fn masked(mut self, key: [u8; 4]) -> Self {
        self.mask = Some(key);
        self
    }

    /// The frame's bytes, with the shortest length form.
    pub fn encode(&self) -> Vec<u8> {
        let width = match self.payload.len() {
            0..=125 => 0,
            126..=0xffff => 2,
            _ => 8,
        };
        self.encode_wide(width)
    }

    /// The frame's bytes with the length in 0, 2 or 8 extra bytes, whether that is minimal or not.
    pub fn encode_wide(&self, width: u8) -> Vec<u8> {
        let mut bytes = self.header(self.payload.len() as u64, width);
        let start = bytes.len();
        bytes.extend_from_slice(&self.payload);
        if let Some(key) = self.mask {
            apply_mask(&mut bytes[start..], key);
        }
        bytes
    }

    /// Only a header, which announces `length` bytes in a field of `width` extra bytes.
    pub fn header(&self, length: u64, width: u8) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.fin) << 7 | self.rsv << 4 | self.opcode];
        let mask_bit = u8::from(self.mask.is_some()) << 7;
        match width {
            0 => bytes.push(mask_bit | (length & 0x7f) as u8),
            2 => {
                bytes.push(mask_bit | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask_bit | 127);
                bytes.extend_from_slice(&length.to_be_bytes());
            }
        }
        bytes.extend(self.mask.iter().flatten());
        bytes
    }

    /// Code and reason of a Close frame's payload; no code when it is empty.
    pub fn close_parts(&self) -> (Option<u16>, String) {
        match self.payload.split_first_chunk::<2>() {
            Some((code, reason)) => {
                (Some(u16::from_be_bytes(*code)), String::from_utf8_lossy(reason).into_owned())
            }
            None => (None, String::new()),
        }
    }
}

fn apply_mask(bytes: &mut [u8], key: [u8; 4]) {
    for (byte, key) in bytes.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// How a connection's bytes came to their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// FIN after a whole frame.
    Eof,
    /// FIN in the middle of a frame.
    EofInFrame,
    /// A reset, or another error of the socket.
    Reset,
}

/// Reads frames from a stream. Cancelling [`FrameReader::next`] loses nothing.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader that begins with `read_ahead`, which came behind the handshake.
    pub fn new(stream: R, read_ahead: BytesMut) -> Self {
        Self { stream, buffer: read_ahead }
    }

    /// The next frame, or how the connection ended.
    pub async fn next(&mut self) -> Result<Frame, End> {
        loop {
            if let Some(frame) = take_frame(&mut self.buffer) {
                return Ok(frame);
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) if self.buffer.is_empty() => return Err(End::Eof),
                Ok(0) => return Err(End::EofInFrame),
                Ok(_) => {}
                Err(_) => return Err(End::Reset),
            }
        }
    }
}

fn take_frame(buffer: &mut BytesMut) -> Option<Frame> {
    let [first, second, rest @ ..] = &buffer[..] else { return None };
    let (length_bytes, length) = match second & 0x7f {
        126 => (2, u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (8, u64::from_be_bytes(*rest.first_chunk()?)),
        short => (0, u64::from(short)),
    };
    let is_masked = second & 0x80 != 0;
    let header = 2 + length_bytes + if is_masked { 4 } else { 0 };
    let total = header + usize::try_from(length).expect("a test's frame fits into memory");
    if buffer.len() < total {
        buffer.reserve((total - buffer.len()).min(64 << 20));
        return None;
    }
    let mut frame = Frame::new(first & 0x0f, []);
    frame.fin = first & 0x80 != 0;
    frame.rsv = first >> 4 & 0b111;
    frame.mask = is_masked.then(|| buffer[header - 4..header].try_into().expect("four bytes"));
    buffer.advance(header);
    frame.payload = buffer.split_to(total - header).to_vec();
    if let Some(key) = frame.mask {
        apply_mask(&mut frame.payload, key);
    }
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_read_back() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let frame = Frame::new(BINARY, crate::payload::noise(len, 3)).masked([1, 2, 3, 4]).reserved(RSV1);
            let mut bytes = BytesMut::from(&frame.encode()[..]);
            assert_eq!(take_frame(&mut bytes), Some(frame));
            assert!(bytes.is_empty());
        }
    }

    #[test]
    fn known_bytes_of_rfc_6455_section_5_7() {
        assert_eq!(Frame::text("Hello").encode(), [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        let masked = Frame::text("Hello").masked([0x37, 0xfa, 0x21, 0x3d]).encode();
        assert_eq!(masked, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }
}
