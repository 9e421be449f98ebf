//! Frames as they come in pieces from a socket, and as they are written (RFC 6455 section 5.2).

use std::fmt;

/// A continuation of a fragmented message.
pub(crate) const CONTINUATION: u8 = 0x0;
/// A text message, or its first fragment.
pub(crate) const TEXT: u8 = 0x1;
/// A binary message, or its first fragment.
pub(crate) const BINARY: u8 = 0x2;
/// The closing handshake.
pub(crate) const CLOSE: u8 = 0x8;
/// A ping.
pub(crate) const PING: u8 = 0x9;
/// A pong.
pub(crate) const PONG: u8 = 0xA;

/// The longest frame taken, in bytes of payload. Nothing here sends more.
const PAYLOAD_MAX: u64 = 1 << 30;
/// The longest frame header, in bytes.
const HEADER_MAX: usize = 14;

/// What stands before a frame's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// The last frame of its message.
    pub(crate) fin: bool,
    /// One of the constants of this module.
    pub(crate) opcode: u8,
    /// The masking key, when the frame came from a client.
    pub(crate) mask: Option<[u8; 4]>,
    /// Bytes of payload.
    pub(crate) length: u64,
}

impl Header {
    /// Close, ping and pong.
    pub(crate) fn is_control(&self) -> bool {
        self.opcode >= CLOSE
    }
}

/// The next part of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A frame begins.
    Start(Header),
    /// Payload as it came, still masked. Every frame ends with a piece that says `last`, which is
    /// empty when the frame is.
    Payload {
        /// The bytes that are here.
        bytes: &'a [u8],
        /// The frame ends with them.
        last: bool,
    },
}

/// Bytes that are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameError {
    /// RSV1 to RSV3: no extension was agreed on.
    ReservedBits,
    /// Opcodes 3 to 7 and 0xB to 0xF.
    UnknownOpcode(u8),
    /// A control frame that is fragmented or over 125 bytes.
    BadControl,
    /// More than this program ever sends.
    TooLong(u64),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReservedBits => write!(f, "a frame with reserved bits, though no extension was agreed on"),
            Self::UnknownOpcode(opcode) => write!(f, "a frame with the unknown opcode {opcode:#x}"),
            Self::BadControl => write!(f, "a control frame that is fragmented or too long"),
            Self::TooLong(length) => write!(f, "a frame of {length} bytes, longer than any that was sent"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Cuts a byte stream into pieces of frames, whatever the reads.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    head: [u8; HEADER_MAX],
    head_filled: usize,
    /// Payload to come; `None` between frames.
    remaining: Option<u64>,
}

impl Reader {
    /// Takes the next piece off the front of `input`. `None` when `input` is used up.
    pub(crate) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, FrameError> {
        let Some(remaining) = self.remaining else {
            return Ok(self.header(input)?.map(Piece::Start));
        };
        if input.is_empty() && remaining > 0 {
            return Ok(None);
        }
        let take = usize::try_from(remaining).unwrap_or(usize::MAX).min(input.len());
        let (bytes, rest) = input.split_at(take);
        *input = rest;
        let left = remaining - take as u64;
        self.remaining = (left > 0).then_some(left);
        Ok(Some(Piece::Payload { bytes, last: left == 0 }))
    }

    fn header(&mut self, input: &mut &[u8]) -> Result<Option<Header>, FrameError> {
        loop {
            let needed = self.header_length();
            let take = (needed - self.head_filled).min(input.len());
            self.head[self.head_filled..self.head_filled + take].copy_from_slice(&input[..take]);
            self.head_filled += take;
            *input = &input[take..];
            if self.head_filled < needed {
                return Ok(None);
            }
            if self.head_filled == self.header_length() {
                break;
            }
        }
        let header = parse(&self.head[..self.head_filled])?;
        self.head_filled = 0;
        self.remaining = Some(header.length);
        Ok(Some(header))
    }

    /// How long the header is, as far as its first two bytes are known to tell.
    fn header_length(&self) -> usize {
        if self.head_filled < 2 {
            return 2;
        }
        let extended = match self.head[1] & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        2 + extended + mask
    }
}

fn parse(head: &[u8]) -> Result<Header, FrameError> {
    let (fin, opcode) = (head[0] & 0x80 != 0, head[0] & 0x0F);
    if head[0] & 0x70 != 0 {
        return Err(FrameError::ReservedBits);
    }
    if matches!(opcode, 0x3..=0x7 | 0xB..) {
        return Err(FrameError::UnknownOpcode(opcode));
    }
    let (length, rest) = match head[1] & 0x7F {
        126 => (big_endian(&head[2..4]), &head[4..]),
        127 => (big_endian(&head[2..10]), &head[10..]),
        short => (u64::from(short), &head[2..]),
    };
    if length > PAYLOAD_MAX {
        return Err(FrameError::TooLong(length));
    }
    if opcode >= CLOSE && (!fin || length > 125) {
        return Err(FrameError::BadControl);
    }
    let mask = rest.first_chunk::<4>().copied();
    Ok(Header { fin, opcode, mask, length })
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Appends a frame's header to `out`, with the shortest length encoding.
pub(crate) fn put_header(out: &mut Vec<u8>, header: &Header) {
    let mask_bit = if header.mask.is_some() { 0x80 } else { 0 };
    out.push(if header.fin { 0x80 } else { 0 } | header.opcode);
    match header.length {
        short @ 0..=125 => out.push(mask_bit | short as u8),
        medium @ 126..=0xFFFF => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&long.to_be_bytes());
        }
    }
    out.extend_from_slice(header.mask.as_ref().map_or(&[], |key| key.as_slice()));
}

/// Appends a whole frame to `out`, masked when the header has a key.
pub(crate) fn put_frame(out: &mut Vec<u8>, opcode: u8, mask: Option<[u8; 4]>, payload: &[u8]) {
    put_header(out, &Header { fin: true, opcode, mask, length: payload.len() as u64 });
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = mask {
        apply_mask(&mut out[start..], key, 0);
    }
}

/// Masks or unmasks in place. `offset` is where in its frame's payload `bytes` begins.
pub(crate) fn apply_mask(bytes: &mut [u8], key: [u8; 4], offset: usize) {
    let mut turned = [0; 8];
    for (at, byte) in turned.iter_mut().enumerate() {
        *byte = key[(offset + at) % 4];
    }
    let wide = u64::from_ne_bytes(turned);
    let (words, tail) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in tail.iter_mut().zip(turned) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

    /// Reads a stream given in reads of `step` bytes; payloads come out unmasked.
    fn read_all(stream: &[u8], step: usize) -> Result<Vec<(Header, Vec<u8>)>, FrameError> {
        let mut reader = Reader::default();
        let mut frames: Vec<(Header, Vec<u8>)> = Vec::new();
        let mut ended = 0;
        for mut input in stream.chunks(step) {
            while let Some(piece) = reader.next(&mut input)? {
                match piece {
                    Piece::Start(header) => frames.push((header, Vec::new())),
                    Piece::Payload { bytes, last } => {
                        let (_, payload) = frames.last_mut().expect("a payload has a header");
                        payload.extend_from_slice(bytes);
                        ended += usize::from(last);
                    }
                }
            }
        }
        assert_eq!(ended, frames.len(), "every frame ends exactly once");
        for (header, payload) in &mut frames {
            if let Some(key) = header.mask {
                apply_mask(payload, key, 0);
            }
        }
        Ok(frames)
    }

    #[test]
    fn frames_survive_any_cut() {
        let payloads: Vec<Vec<u8>> =
            [0, 1, 125, 126, 65_535, 65_536].iter().map(|n| (0..*n).map(|i| i as u8).collect()).collect();
        let mut stream = Vec::new();
        for payload in &payloads {
            put_frame(&mut stream, BINARY, Some(KEY), payload);
            put_frame(&mut stream, PING, None, b"hi");
        }
        for step in [1, 2, 3, 7, 64, 4_096, stream.len()] {
            let frames = read_all(&stream, step).unwrap();
            assert_eq!(frames.len(), 2 * payloads.len(), "in reads of {step}");
            for (pair, payload) in frames.chunks(2).zip(&payloads) {
                assert_eq!(pair[0].1, *payload);
                assert_eq!((pair[0].0.opcode, pair[0].0.mask), (BINARY, Some(KEY)));
                assert_eq!((pair[1].0.opcode, pair[1].1.as_slice()), (PING, b"hi".as_slice()));
            }
        }
    }

    #[test]
    fn the_masked_hello_of_rfc_6455_section_5_7() {
        let stream = [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58];
        let frames = read_all(&stream, stream.len()).unwrap();
        assert_eq!(frames[0].1, b"Hello");
        assert_eq!(frames[0].0.opcode, 1);
    }

    #[test]
    fn a_mask_goes_on_where_it_was_cut() {
        let whole: Vec<u8> = (0..100).collect();
        for cut in 0..100 {
            let mut bytes = whole.clone();
            let (left, right) = bytes.split_at_mut(cut);
            apply_mask(left, KEY, 0);
            apply_mask(right, KEY, cut);
            for (at, byte) in bytes.iter().enumerate() {
                assert_eq!(*byte, whole[at] ^ KEY[at % 4], "cut at {cut}, byte {at}");
            }
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        assert_eq!(read_all(&[0xC1, 0x00], 2), Err(FrameError::ReservedBits));
        assert_eq!(read_all(&[0x83, 0x00], 2), Err(FrameError::UnknownOpcode(3)));
        assert_eq!(read_all(&[0x8B, 0x00], 2), Err(FrameError::UnknownOpcode(0xB)));
        assert_eq!(read_all(&[0x09, 0x00], 2), Err(FrameError::BadControl));
        assert_eq!(read_all(&[0x89, 126, 0, 126], 4), Err(FrameError::BadControl));
        assert_eq!(read_all(&[0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0], 10), Err(FrameError::TooLong(1 << 40)));
    }
}
