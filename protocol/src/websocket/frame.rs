//! Frame headers and control frames (RFC 6455, section 5.2 and 5.5).
//!
//! ```text
//!   0                   1                   2                   3
//!   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//!  +-+-+-+-+-------+-+-------------+-------------------------------+
//!  |F|R|R|R| opcode|M| length (7)  | length (16 or 64, if 126/127) |
//!  +-+-+-+-+-------+-+-------------+-------------------------------+
//!  | masking key (if M): 4 bytes   | payload ...                   |
//!  +-------------------------------+-------------------------------+
//! ```

use crate::websocket::close_code::CloseCode;
use crate::websocket::violation::Violation;

/// The longest header: two bytes, eight of length, four of masking key.
pub const HEADER_MAX: usize = 14;

/// The longest payload of a control frame (RFC 6455, 5.5).
pub const CONTROL_MAX: usize = 125;

/// What a frame is (RFC 6455, 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation,
    /// The first (or only) frame of a text message.
    Text,
    /// The first (or only) frame of a binary message.
    Binary,
    /// The last frame that a side sends.
    Close,
    /// Asks for a pong with the same payload.
    Ping,
    /// Answers a ping, or comes unasked.
    Pong,
}

impl Opcode {
    fn from_bits(bits: u8) -> Result<Opcode, Violation> {
        match bits {
            0x0 => Ok(Opcode::Continuation),
            0x1 => Ok(Opcode::Text),
            0x2 => Ok(Opcode::Binary),
            0x8 => Ok(Opcode::Close),
            0x9 => Ok(Opcode::Ping),
            0xA => Ok(Opcode::Pong),
            other => Err(Violation::ReservedOpcode(other)),
        }
    }

    fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0x0,
            Opcode::Text => 0x1,
            Opcode::Binary => 0x2,
            Opcode::Close => 0x8,
            Opcode::Ping => 0x9,
            Opcode::Pong => 0xA,
        }
    }

    /// Control frames may stand between the fragments of a message (RFC 6455, 5.4).
    pub fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

/// A parsed frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The last frame of its message.
    pub fin: bool,
    /// The bit that permessage-deflate uses (RFC 7692, section 6).
    pub rsv1: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The masking key, when the frame is masked.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload that follow the header.
    pub payload_len: u64,
    /// Bytes of the header itself, 2 to [`HEADER_MAX`].
    pub len: usize,
}

impl Header {
    /// Parses the header at the start of `bytes`. `None`: more bytes are needed.
    ///
    /// # Errors
    /// What the two first bytes or the length already give away: reserved bits and opcodes,
    /// control frames that are fragmented or long, lengths that are not minimal. Masking, RSV1 and
    /// the order of fragments depend on the connection and are checked by the scanner.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Option<Header>, Violation> {
        let [first, second, ..] = *bytes else { return Ok(None) };
        // RFC 6455, 5.2: RSV2 and RSV3 "MUST be 0 unless an extension is negotiated".
        if first & 0x30 != 0 {
            return Err(Violation::ReservedBits);
        }
        let fin = first & 0x80 != 0;
        let opcode = Opcode::from_bits(first & 0x0F)?;
        let short = second & 0x7F;
        if opcode.is_control() {
            check_control(fin, short)?;
        }
        let masked = second & 0x80 != 0;
        let length_bytes = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let len = 2 + length_bytes + if masked { 4 } else { 0 };
        if bytes.len() < len {
            return Ok(None);
        }
        let payload_len = match length_bytes {
            0 => u64::from(short),
            n => long_length(&bytes[2..2 + n])?,
        };
        let mask = masked.then(|| [bytes[len - 4], bytes[len - 3], bytes[len - 2], bytes[len - 1]]);
        Ok(Some(Header { fin, rsv1: first & 0x40 != 0, opcode, mask, payload_len, len }))
    }
}

/// RFC 6455, 5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT
/// be fragmented."
fn check_control(fin: bool, short: u8) -> Result<(), Violation> {
    if !fin {
        Err(Violation::FragmentedControl)
    } else if usize::from(short) > CONTROL_MAX {
        Err(Violation::LongControl)
    } else {
        Ok(())
    }
}

/// RFC 6455, 5.2: "the minimal number of bytes MUST be used to encode the length", and of a 64-bit
/// length "the most significant bit MUST be 0".
fn long_length(bytes: &[u8]) -> Result<u64, Violation> {
    let value = bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let smallest = if bytes.len() == 2 { 126 } else { 0x1_0000 };
    if value >> 63 != 0 {
        Err(Violation::LengthTopBit)
    } else if value < smallest {
        Err(Violation::NonMinimalLength)
    } else {
        Ok(value)
    }
}

/// A Close's payload (RFC 6455, 5.5.1).
pub fn close_payload(code: CloseCode, reason: &str) -> Box<[u8]> {
    [&code.0.to_be_bytes(), reason.as_bytes()].concat().into()
}

/// A Close as bytes, for a client.
pub fn close_frame(code: CloseCode, reason: &str) -> Vec<u8> {
    control_frame(Opcode::Close, &close_payload(code, reason), None)
}

/// Writes a frame's header in its shortest form (RFC 6455, 5.2), and says how long that is.
pub fn encode_header(
    fin: bool,
    opcode: Opcode,
    payload_len: u64,
    mask: Option<[u8; 4]>,
) -> ([u8; HEADER_MAX], usize) {
    let mut bytes = [0; HEADER_MAX];
    let mask_bit = if mask.is_some() { 0x80 } else { 0 };
    bytes[0] = u8::from(fin) << 7 | opcode.bits();
    let mut len = match payload_len {
        0..126 => {
            bytes[1] = mask_bit | payload_len as u8;
            2
        }
        126..0x1_0000 => {
            bytes[1] = mask_bit | 126;
            bytes[2..4].copy_from_slice(&(payload_len as u16).to_be_bytes());
            4
        }
        _ => {
            bytes[1] = mask_bit | 127;
            bytes[2..10].copy_from_slice(&payload_len.to_be_bytes());
            10
        }
    };
    if let Some(key) = mask {
        bytes[len..len + 4].copy_from_slice(&key);
        len += 4;
    }
    (bytes, len)
}

/// A whole message in one frame, masked when `mask` is given.
pub fn data_frame(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let (header, len) = encode_header(true, opcode, payload.len() as u64, mask);
    let mut frame = Vec::with_capacity(len + payload.len());
    frame.extend_from_slice(&header[..len]);
    frame.extend_from_slice(payload);
    if let Some(key) = mask {
        apply_mask(&mut frame[len..], key, 0);
    }
    frame
}

/// Masks or unmasks `payload`, whose first byte is byte `offset` of the frame (RFC 6455, 5.3).
#[inline]
pub fn apply_mask(payload: &mut [u8], mut key: [u8; 4], offset: usize) {
    key.rotate_left(offset & 3);
    let (fours, rest) = payload.as_chunks_mut::<4>();
    for four in fours {
        *four = (u32::from_ne_bytes(*four) ^ u32::from_ne_bytes(key)).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// A whole control frame as bytes, masked when `mask` is given. Payload beyond [`CONTROL_MAX`]
/// bytes is cut off.
pub fn control_frame(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let payload = &payload[..payload.len().min(CONTROL_MAX)];
    let mut frame = Vec::with_capacity(6 + payload.len());
    let mask_bit = if mask.is_some() { 0x80 } else { 0 };
    frame.extend_from_slice(&[0x80 | opcode.bits(), mask_bit | payload.len() as u8]);
    frame.extend(mask.iter().flatten());
    let start = frame.len();
    frame.extend_from_slice(payload);
    if let Some(key) = mask {
        apply_mask(&mut frame[start..], key, 0);
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(bytes: &[u8]) -> Header {
        Header::parse(bytes).expect("legal").expect("whole")
    }

    #[test]
    fn the_examples_of_rfc_6455_section_5_7() {
        let hello = parsed(&[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        assert_eq!((hello.fin, hello.opcode, hello.payload_len, hello.len), (true, Opcode::Text, 5, 2));
        let masked = parsed(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f]);
        assert_eq!((masked.mask, masked.len), (Some([0x37, 0xfa, 0x21, 0x3d]), 6));
        let medium = parsed(&[0x82, 0x7E, 0x01, 0x00]);
        assert_eq!((medium.payload_len, medium.len), (256, 4));
        let long = parsed(&[0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!((long.payload_len, long.len), (65536, 10));
    }

    #[test]
    fn a_short_header_asks_for_more() {
        let whole = [0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4];
        for cut in 0..whole.len() {
            assert_eq!(Header::parse(&whole[..cut]), Ok(None), "cut at {cut}");
        }
        assert_eq!(parsed(&whole).len, HEADER_MAX);
    }

    #[test]
    fn headers_parse_as_what_they_were_built_from() {
        for payload_len in [0, 125, 126, 0xFFFF, 0x1_0000, u64::from(u32::MAX)] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let (bytes, len) = encode_header(false, Opcode::Text, payload_len, mask);
                let expected =
                    Header { fin: false, rsv1: false, opcode: Opcode::Text, mask, payload_len, len };
                assert_eq!(parsed(&bytes[..len]), expected);
            }
        }
    }

    #[test]
    fn a_close_is_its_code_and_its_reason() {
        assert_eq!(close_frame(CloseCode(1000), "done"), b"\x88\x06\x03\xe8done");
    }

    #[test]
    fn a_data_frame_is_a_whole_message() {
        assert_eq!(data_frame(Opcode::Text, b"Hello", None), b"\x81\x05Hello");
        let masked = data_frame(Opcode::Text, b"Hello", Some([0x37, 0xfa, 0x21, 0x3d]));
        assert_eq!(masked, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn what_the_rfc_forbids() {
        let cases: [(&[u8], Violation); 9] = [
            (&[0xA1, 0x00], Violation::ReservedBits),
            (&[0x91, 0x00], Violation::ReservedBits),
            (&[0x83, 0x00], Violation::ReservedOpcode(3)),
            (&[0x8B, 0x00], Violation::ReservedOpcode(11)),
            (&[0x09, 0x00], Violation::FragmentedControl),
            (&[0x89, 0x7E], Violation::LongControl),
            (&[0x82, 0x7E, 0, 125], Violation::NonMinimalLength),
            (&[0x82, 0x7F, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], Violation::NonMinimalLength),
            (&[0x82, 0x7F, 0x80, 0, 0, 0, 0, 0, 0, 0], Violation::LengthTopBit),
        ];
        for (bytes, violation) in cases {
            assert_eq!(Header::parse(bytes), Err(violation));
        }
    }

    #[test]
    fn control_frames_parse_as_what_they_were_built_from() {
        let frame = control_frame(Opcode::Ping, b"abc", Some([1, 2, 3, 4]));
        let header = parsed(&frame);
        assert_eq!((header.opcode, header.payload_len, header.mask), (Opcode::Ping, 3, Some([1, 2, 3, 4])));
        let mut payload = frame[header.len..].to_vec();
        apply_mask(&mut payload, [1, 2, 3, 4], 0);
        assert_eq!(payload, b"abc");
    }

    #[test]
    fn a_mask_goes_on_where_it_left_off() {
        let mut at_once = *b"hello world";
        apply_mask(&mut at_once, [9, 8, 7, 6], 0);
        let mut in_two = *b"hello world";
        apply_mask(&mut in_two[..3], [9, 8, 7, 6], 0);
        apply_mask(&mut in_two[3..], [9, 8, 7, 6], 3);
        assert_eq!(at_once, in_two);
    }
}
