//! The frame scanner: finds frames and messages in a byte stream that it does not keep.
//!
//! ```text
//!            header of a data frame                 payload ended
//!   Between ------------------------> InPayload ---------------------> Between
//!      | ^                                          (a message ended too, if FIN)
//!      | | payload whole
//!      v |
//!   InControl   (collected, unmasked and handed out by itself)
//! ```
//!
//! Bytes of data frames are handed on as they came, in spans as long as the input allows. Only a
//! header or a control frame that the input cuts in two is kept, so an idle scanner holds no buffer.

#[cfg(test)]
pub(crate) mod tests;

use crate::websocket::frame::{CONTROL_MAX, HEADER_MAX, Header, Opcode, apply_mask};
use crate::websocket::violation::Violation;

/// Set in the first byte of a control frame, and of those alone (RFC 6455, 5.2).
const CONTROL_BIT: u8 = 0x08;

/// Bytes of a short header that is not masked.
const PONG_HEAD: usize = 2;

/// Whose frames they are; it decides whether they must be masked (RFC 6455, 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameSender {
    /// Masked.
    Client,
    /// Not masked.
    Backend,
}

/// One step through the input.
#[derive(Debug)]
pub enum Item<'a> {
    /// Bytes of data frames, to be passed on verbatim.
    Data(Data<'a>),
    /// A data frame's header that the input had cut in two, to be passed on as it is.
    Header(Mended),
    /// A whole control frame.
    Control(Control<'a>),
}

impl Item<'_> {
    /// What is to be passed on; `None` for a control frame.
    pub fn data(&self) -> Option<Data<'_>> {
        match self {
            Item::Data(data) => Some(*data),
            Item::Header(mended) => Some(mended.data()),
            Item::Control(_) => None,
        }
    }
}

/// A data frame's header that came in parts.
#[derive(Debug, Clone, Copy)]
pub struct Mended {
    bytes: [u8; HEADER_MAX],
    len: u8,
    /// It has no payload, and its message ends with it.
    ends: bool,
}

impl Mended {
    /// As a span of its own.
    pub fn data(&self) -> Data<'_> {
        let bytes = &self.bytes[..usize::from(self.len)];
        let whole = if self.ends { bytes.len() } else { 0 };
        Data { bytes, messages: u32::from(self.ends), whole }
    }
}

/// A span of data frames, or of parts of them.
#[derive(Debug, Clone, Copy)]
pub struct Data<'a> {
    /// The bytes as they came, headers and masks included.
    pub bytes: &'a [u8],
    /// Messages that end within the span.
    pub messages: u32,
    /// Bytes up to the end of the last of them; zero when none ends here.
    pub whole: usize,
}

/// A control frame, unmasked.
#[derive(Debug)]
pub struct Control<'a> {
    /// Close, Ping or Pong.
    pub opcode: Opcode,
    payload: Payload<'a>,
}

/// Where the payload of a control frame lies.
#[derive(Debug)]
enum Payload<'a> {
    /// In the input: it came whole, and not masked, as each pong of a backend does.
    Read(&'a [u8]),
    Kept(Box<Partial>),
}

impl Control<'_> {
    /// The unmasked payload, at most [`CONTROL_MAX`] bytes.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        match &self.payload {
            Payload::Read(payload) => payload,
            Payload::Kept(partial) => &partial.payload[..usize::from(partial.len)],
        }
    }
}

/// What the input cut in two.
#[derive(Debug)]
enum Cut {
    /// A header.
    Header(CutHeader),
    /// A control frame, behind its header.
    Control(Box<Partial>),
}

/// The bytes of a header that have come.
#[derive(Debug, Clone, Copy)]
struct CutHeader {
    bytes: [u8; HEADER_MAX],
    len: u8,
}

/// The payload of a control frame, as far as it has come.
#[derive(Debug)]
struct Partial {
    opcode: Opcode,
    payload: [u8; CONTROL_MAX],
    len: u8,
    wanted: u8,
    mask: Option<[u8; 4]>,
}

/// Scans one direction of one connection.
#[derive(Debug)]
pub struct Scanner {
    /// Payload bytes of the present data frame that are still to come.
    remaining: u64,
    /// Bytes of the open message, announced by its headers so far.
    message_len: u32,
    limit: u32,
    cut: Option<Box<Cut>>,
    sender: FrameSender,
    /// Whether permessage-deflate is agreed, so that RSV1 may open a message.
    deflate: bool,
    /// The present data frame is its message's last.
    fin: bool,
    /// A message has begun and not ended.
    open: bool,
}

impl Scanner {
    /// A scanner for messages of at most `limit` bytes: the payload of all fragments as it is on
    /// the wire, and the headers of the fragments after the first.
    pub fn new(sender: FrameSender, limit: u32, deflate: bool) -> Scanner {
        Scanner { remaining: 0, message_len: 0, limit, cut: None, sender, deflate, fin: false, open: false }
    }

    /// Between two messages, and not within any frame.
    pub fn at_boundary(&self) -> bool {
        !self.open && self.cut.is_none()
    }

    /// A data message has begun and not ended.
    pub fn message_open(&self) -> bool {
        self.open
    }

    /// Whether what was open has come to its end, and whether something is open now: a message, or a frame of which so
    /// far only a part of the header or, of a control frame, of the payload has come. `ended`: a message has ended with the
    /// last input; `came`: an item has come out of it.
    pub fn unfinished(&self, ended: bool, came: bool) -> (bool, bool) {
        // A frame between messages that was cut is whole, if anything has come out since.
        (ended || came && !self.open, self.open || self.cut.is_some())
    }

    /// Payload bytes of the present data frame that are still to come. So many bytes may be read
    /// straight to where they shall go, without a look at them; tell [`Scanner::skip`].
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Takes the next item off the front of `input`; `None` when it is used up, or as many frames have begun
    /// as `frames` says. Each takes one off that.
    ///
    /// # Errors
    /// The first breach of the protocol. What came before it has been handed out already; the
    /// scanner must not be used after it.
    #[inline(always)]
    pub fn next<'i>(
        &mut self,
        input: &mut &'i [u8],
        frames: &mut u32,
    ) -> Result<Option<Item<'i>>, Violation> {
        if !self.at_boundary() {
            return self.next_of_any(input, frames, (0, 0));
        }
        // Almost always all that has come is a run of whole messages, or a pong.
        let bytes = *input;
        if *frames > 0
            && let Some(len) = self.whole_pong(bytes)
        {
            *frames -= 1;
            return Ok(Some(Item::Control(take_pong(input, len))));
        }
        let (len, messages) = self.whole_messages(bytes, *frames);
        let all = bytes.get(len).is_none_or(|next| next & CONTROL_BIT != 0);
        if messages == 0 || !all {
            return self.next_of_any(input, frames, (len, messages));
        }
        *frames -= messages;
        let (bytes, rest) = bytes.split_at(len);
        *input = rest;
        Ok(Some(Item::Data(Data { bytes, messages, whole: len })))
    }

    /// As [`Scanner::next`], whatever it is, behind the run of messages that was found: so many bytes, and how many they are.
    fn next_of_any<'i>(
        &mut self,
        input: &mut &'i [u8],
        frames: &mut u32,
        (whole, messages): (usize, u32),
    ) -> Result<Option<Item<'i>>, Violation> {
        if self.cut.is_some() {
            // It has been counted when it began.
            return self.mend_cut(input);
        }
        // By itself, since every frame of a run goes past here.
        let mut left = *frames - messages;
        let bytes = *input;
        let mut data = Data { bytes: &[], messages, whole };
        let mut at = if self.remaining > 0 { self.pass_payload(bytes, 0, &mut data) } else { whole };
        while self.remaining == 0 && at < bytes.len() && left > 0 {
            if bytes[at] & CONTROL_BIT != 0 {
                // What stands before a control frame goes first.
                if at > 0 {
                    break;
                }
                if let Some(len) = self.whole_pong(bytes) {
                    *frames = left - 1;
                    return Ok(Some(Item::Control(take_pong(input, len))));
                }
            } else {
                let (len, messages) = self.whole_messages(&bytes[at..], left);
                if messages > 0 {
                    left -= messages;
                    at += len;
                    data.messages += messages;
                    data.whole = at;
                    continue;
                }
            }
            let header = match Header::parse(&bytes[at..]).and_then(|h| self.checked(h)) {
                Ok(header) => header,
                // What stands before the breach is still good.
                Err(_) if at > 0 => break,
                Err(violation) => return Err(violation),
            };
            match header {
                Some(header) if !header.opcode.is_control() => {
                    left -= 1;
                    self.begin(&header);
                    at = self.pass_payload(bytes, at + header.len, &mut data);
                }
                _ if at > 0 => break,
                Some(header) => {
                    *frames = left - 1;
                    *input = &bytes[header.len..];
                    return Ok(self.begin_control(&header, input).map(Item::Control));
                }
                None => {
                    *frames = left - 1;
                    self.cut_header(bytes);
                    *input = &[];
                    return Ok(None);
                }
            }
        }
        *frames = left;
        (data.bytes, *input) = bytes.split_at(at);
        Ok((at > 0).then_some(Item::Data(data)))
    }

    /// Passes over `n` payload bytes of the present frame, at most [`Scanner::remaining`], and
    /// says whether its message ended with them.
    pub fn skip(&mut self, n: u64) -> bool {
        let n = n.min(self.remaining);
        self.remaining -= n;
        n > 0 && self.remaining == 0 && self.end_frame()
    }

    /// The length of the run of frames in front that are what almost every one is, and how many they are, at most `most`:
    /// messages of their own that are there to their ends, with lengths of at most 16 bits. Whatever else one is, also a
    /// breach, is for [`Header::parse`] to say.
    #[inline]
    fn whole_messages(&self, bytes: &[u8], most: u32) -> (usize, u32) {
        if self.open {
            return (0, 0);
        }
        let (masked, key) = match self.sender {
            FrameSender::Client => (0x80, 4),
            FrameSender::Backend => (0, 0),
        };
        let (compressed, limit) = (if self.deflate { 0x40_u8 } else { 0 }, self.limit as usize);
        let (mut at, mut messages) = (0, 0);
        while messages < most {
            // In one piece, so that nothing is read twice.
            let Some(four) = bytes.get(at..).and_then(<[u8]>::first_chunk) else { break };
            let four = u32::from_le_bytes(*four);
            let begins = (four as u8 & !compressed).wrapping_sub(0x81) < 2;
            let (head, payload) = match (four >> 8) as u8 ^ masked {
                short @ 0..126 => (2, usize::from(short)),
                126 => match usize::from(((four >> 16) as u16).swap_bytes()) {
                    // A length must not take more bits than it needs.
                    ..126 => break,
                    long => (4, long),
                },
                // One of 64 bits, or masked as it must not be.
                _ => break,
            };
            let end = at + head + key + payload;
            if !begins || payload > limit || end > bytes.len() {
                break;
            }
            (at, messages) = (end, messages + 1);
        }
        (at, messages)
    }

    /// The length of the frame in front, if it is a backend's pong, all of which is there.
    #[inline(always)]
    fn whole_pong(&self, bytes: &[u8]) -> Option<usize> {
        let [0x8A, payload @ ..=125, ..] = *bytes else { return None };
        let len = PONG_HEAD + usize::from(payload);
        (self.sender == FrameSender::Backend && len <= bytes.len()).then_some(len)
    }

    /// Passes over payload from `at` and returns where it ends.
    fn pass_payload(&mut self, bytes: &[u8], at: usize, data: &mut Data<'_>) -> usize {
        let taken = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(bytes.len() - at);
        let end = at + taken;
        self.remaining -= taken as u64;
        if self.remaining == 0 && self.end_frame() {
            data.messages += 1;
            data.whole = end;
        }
        end
    }

    /// Says whether a message ended with the frame.
    fn end_frame(&mut self) -> bool {
        let ended = self.open && self.fin;
        if ended {
            self.open = false;
            self.message_len = 0;
        }
        ended
    }

    /// The checks that depend on what came before.
    fn checked(&self, header: Option<Header>) -> Result<Option<Header>, Violation> {
        let Some(header) = header else { return Ok(None) };
        // RFC 6455, 5.1: a client masks all frames, a server none.
        match (self.sender, header.mask) {
            (FrameSender::Client, None) => return Err(Violation::Unmasked),
            (FrameSender::Backend, Some(_)) => return Err(Violation::Masked),
            _ => {}
        }
        let first = matches!(header.opcode, Opcode::Text | Opcode::Binary);
        // RFC 7692, 6.1: RSV1 is set on the first frame of a compressed message only.
        if header.rsv1 && !(self.deflate && first) {
            return Err(Violation::ReservedBits);
        }
        if header.opcode.is_control() {
            // RFC 6455, 5.5.1: a Close's body, if there is one, begins with a two-byte code.
            let short = header.opcode == Opcode::Close && header.payload_len == 1;
            return if short { Err(Violation::ShortClose) } else { Ok(Some(header)) };
        }
        match (self.open, first) {
            (true, true) => return Err(Violation::ExpectedContinuation),
            (false, false) => return Err(Violation::UnexpectedContinuation),
            _ => {}
        }
        if u64::from(self.message_len).saturating_add(weight(&header)) > u64::from(self.limit) {
            return Err(Violation::MessageTooBig);
        }
        Ok(Some(header))
    }

    fn begin(&mut self, header: &Header) {
        self.open = true;
        self.fin = header.fin;
        // At most the limit, as was checked.
        self.message_len += weight(header) as u32;
        self.remaining = header.payload_len;
    }

    fn cut_header(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut header = [0; HEADER_MAX];
        header[..bytes.len()].copy_from_slice(bytes);
        self.cut = Some(Box::new(Cut::Header(CutHeader { bytes: header, len: bytes.len() as u8 })));
    }

    /// Goes on with what an earlier input cut in two.
    #[cold]
    fn mend_cut<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Item<'i>>, Violation> {
        match self.cut.take().map(|cut| *cut) {
            Some(Cut::Control(partial)) => Ok(self.fill(partial, input).map(Item::Control)),
            Some(Cut::Header(mut cut)) => match self.complete_header(&mut cut, input)? {
                Some(header) => Ok(self.emit_header(&header, cut.bytes, input)),
                None => {
                    self.cut = Some(Box::new(Cut::Header(cut)));
                    Ok(None)
                }
            },
            None => Ok(None),
        }
    }

    fn complete_header(&self, cut: &mut CutHeader, input: &mut &[u8]) -> Result<Option<Header>, Violation> {
        while let Some((byte, rest)) = input.split_first() {
            cut.bytes[usize::from(cut.len)] = *byte;
            cut.len += 1;
            *input = rest;
            let parsed = Header::parse(&cut.bytes[..usize::from(cut.len)])?;
            if let Some(header) = self.checked(parsed)? {
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    fn emit_header<'i>(
        &mut self,
        header: &Header,
        bytes: [u8; HEADER_MAX],
        input: &mut &'i [u8],
    ) -> Option<Item<'i>> {
        if header.opcode.is_control() {
            return self.begin_control(header, input).map(Item::Control);
        }
        self.begin(header);
        let ends = header.payload_len == 0 && self.end_frame();
        Some(Item::Header(Mended { bytes, len: header.len as u8, ends }))
    }

    #[inline]
    fn begin_control<'i>(&mut self, header: &Header, input: &mut &'i [u8]) -> Option<Control<'i>> {
        let (opcode, mask) = (header.opcode, header.mask);
        // `Header::parse` has bounded it to CONTROL_MAX.
        let wanted = header.payload_len as u8;
        if let (None, Some((payload, rest))) = (mask, input.split_at_checked(usize::from(wanted))) {
            *input = rest;
            return Some(Control { opcode, payload: Payload::Read(payload) });
        }
        let partial = Partial { opcode, payload: [0; CONTROL_MAX], len: 0, wanted, mask };
        self.fill(Box::new(partial), input)
    }

    /// Takes what `input` has of a control frame. What is still to come of it is waited for.
    fn fill<'i>(&mut self, mut partial: Box<Partial>, input: &mut &[u8]) -> Option<Control<'i>> {
        if partial.fill(input) {
            return Some(Control { opcode: partial.opcode, payload: Payload::Kept(partial) });
        }
        self.cut = Some(Box::new(Cut::Control(partial)));
        None
    }
}

/// Takes a pong of so many bytes off the front of `input`.
#[inline]
fn take_pong<'i>(input: &mut &'i [u8], len: usize) -> Control<'i> {
    let (pong, rest) = input.split_at(len);
    *input = rest;
    Control { opcode: Opcode::Pong, payload: Payload::Read(&pong[PONG_HEAD..]) }
}

/// What a frame adds to its message: its payload, and the header too of each fragment after the
/// first, so that a flood of empty ones meets the limit.
fn weight(header: &Header) -> u64 {
    let overhead = if header.opcode == Opcode::Continuation { header.len as u64 } else { 0 };
    header.payload_len.saturating_add(overhead)
}

impl Partial {
    /// Takes what `input` has of it and says whether it is whole. Then it is unmasked.
    fn fill(&mut self, input: &mut &[u8]) -> bool {
        let have = usize::from(self.len);
        let taken = usize::from(self.wanted - self.len).min(input.len());
        let (mine, rest) = input.split_at(taken);
        self.payload[have..have + taken].copy_from_slice(mine);
        self.len += taken as u8;
        *input = rest;
        let whole = self.len == self.wanted;
        if let (true, Some(key)) = (whole, self.mask) {
            apply_mask(&mut self.payload[..usize::from(self.len)], key, 0);
        }
        whole
    }
}
