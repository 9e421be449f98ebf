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
    pub fn next<'i>(
        &mut self,
        input: &mut &'i [u8],
        frames: &mut u32,
    ) -> Result<Option<Item<'i>>, Violation> {
        if self.cut.is_some() {
            // It has been counted when it began.
            return self.mend_cut(input);
        }
        // By itself, since every frame of a run goes past here.
        let mut left = *frames;
        let bytes = *input;
        let mut data = Data { bytes: &[], messages: 0, whole: 0 };
        let mut at = if self.remaining > 0 { self.pass_payload(bytes, 0, &mut data) } else { 0 };
        while self.remaining == 0 && at < bytes.len() && left > 0 {
            if bytes[at] & CONTROL_BIT != 0 {
                // What stands before a control frame goes first.
                if at > 0 {
                    break;
                }
                if let Some(len) = self.whole_pong(bytes) {
                    let (pong, rest) = bytes.split_at(len);
                    (*frames, *input) = (left - 1, rest);
                    let payload = Payload::Read(&pong[PONG_HEAD..]);
                    return Ok(Some(Item::Control(Control { opcode: Opcode::Pong, payload })));
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
                126 => (4, usize::from(((four >> 16) as u16).swap_bytes())),
                // One of 64 bits, or masked as it must not be.
                _ => break,
            };
            // A length must not take more bits than it needs.
            let fits = payload <= limit && (head == 2 || payload > 125);
            let end = at + head + key + payload;
            if !begins || !fits || end > bytes.len() {
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::websocket::frame::control_frame;
    use proptest::prelude::*;

    /// The bytes in pieces of these sizes, which come again when they are used up.
    pub(crate) fn cut<'a>(bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
        let (mut rest, mut pieces) = (bytes, Vec::new());
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*size).min(rest.len()));
            pieces.push(now);
            rest = later;
        }
        pieces
    }

    /// What a scanner makes of a stream: data bytes, message ends, control payloads.
    #[derive(Debug, Default, PartialEq)]
    struct Seen {
        data: Vec<u8>,
        ends: Vec<usize>,
        messages: u32,
        controls: Vec<(Opcode, Vec<u8>)>,
    }

    fn scan(scanner: &mut Scanner, bytes: &[u8], seen: &mut Seen) -> Result<(), Violation> {
        let mut input = bytes;
        scan_some(scanner, &mut input, &mut { u32::MAX }, seen)?;
        assert!(input.is_empty());
        Ok(())
    }

    fn scan_some(
        scanner: &mut Scanner,
        input: &mut &[u8],
        frames: &mut u32,
        seen: &mut Seen,
    ) -> Result<(), Violation> {
        while let Some(item) = scanner.next(input, frames)? {
            if let Some(data) = item.data() {
                if data.messages > 0 {
                    seen.ends.push(seen.data.len() + data.whole);
                }
                seen.messages += data.messages;
                seen.data.extend_from_slice(data.bytes);
            }
            if let Item::Control(control) = item {
                seen.controls.push((control.opcode, control.payload().to_vec()));
            }
        }
        Ok(())
    }

    fn client() -> Scanner {
        Scanner::new(FrameSender::Client, 1000, false)
    }

    fn backend() -> Scanner {
        Scanner::new(FrameSender::Backend, 1000, true)
    }

    fn outcome(mut scanner: Scanner, bytes: &[u8]) -> Result<Seen, Violation> {
        let mut seen = Seen::default();
        scan(&mut scanner, bytes, &mut seen).map(|()| seen)
    }

    #[test]
    fn a_run_of_frames_is_one_span() {
        let bytes = b"\x81\x01a\x01\x01b\x80\x01c\x82\x05he";
        let seen = outcome(backend(), bytes).expect("legal");
        assert_eq!((seen.data.as_slice(), seen.messages, seen.ends), (&bytes[..], 2, vec![9]));
    }

    /// Every form of a header, and one byte more or less than each wants.
    #[test]
    fn what_is_there_at_once_is_judged_as_byte_by_byte() {
        let first = [0x81, 0x82, 0xC1, 0xC2, 0x91, 0x83, 0x80, 0x01, 0x88, 0x89, 0x8A, 0xCA, 0x0A, 0x8B];
        let second = [0, 1, 2, 125, 126, 127];
        let length: [&[u8]; 6] =
            [b"", &[0, 125], &[0, 126], &[3, 0xE8], &[3, 0xE9], &[0, 0, 0, 0, 0, 1, 0, 0]];
        for make in [client, backend, || Scanner::new(FrameSender::Client, 1000, true)] {
            for (first, second) in first.iter().flat_map(|first| second.map(|second| (*first, second))) {
                for (mask, length) in [0, 0x80].iter().flat_map(|mask| length.map(|length| (mask, length))) {
                    let mut bytes = vec![first, second | mask];
                    bytes.extend(length);
                    bytes.extend(std::iter::repeat_n(0x8A, 1010));
                    for n in [2, 3, 4, 6, 7, 8, 130, 133, 134, 135, 1004, 1005, 1008, 1009] {
                        let bytes = &bytes[..n.min(bytes.len())];
                        let mut seen = Seen::default();
                        let mut slow = make();
                        let judged =
                            cut(bytes, &[1]).iter().try_for_each(|byte| scan(&mut slow, byte, &mut seen));
                        assert_eq!(outcome(make(), bytes), judged.map(|()| seen), "{bytes:x?}");
                    }
                }
            }
        }
    }

    #[test]
    fn control_frames_are_taken_out_of_the_stream() {
        let ping = control_frame(Opcode::Ping, b"hey", Some([1, 2, 3, 4]));
        let bytes = [b"\x01\x81\0\0\0\0a", ping.as_slice(), b"\x80\x81\0\0\0\0b"].concat();
        let seen = outcome(client(), &bytes).expect("legal");
        assert_eq!(seen.data, b"\x01\x81\0\0\0\0a\x80\x81\0\0\0\0b");
        assert_eq!((seen.messages, seen.controls), (1, vec![(Opcode::Ping, b"hey".to_vec())]));
    }

    #[test]
    fn no_more_frames_begin_than_allowed() {
        let bytes = b"\x89\x00\x81\x01a\x8A\x00\x82\x00";
        let (mut scanner, mut seen, mut input) = (backend(), Seen::default(), &bytes[..]);
        for (frames, rest) in [(0, 9), (2, 4), (0, 4), (1, 2), (9, 0)] {
            let mut left = frames;
            scan_some(&mut scanner, &mut input, &mut left, &mut seen).expect("legal");
            assert_eq!(input.len(), rest, "after {frames} more");
            assert_eq!(left, if frames == 9 { 8 } else { 0 });
        }
        assert_eq!((seen.messages, seen.controls.len()), (2, 2));
    }

    #[test]
    fn what_has_begun_goes_on_when_no_frame_may_begin() {
        let (mut scanner, mut seen) = (client(), Seen::default());
        for (piece, rest) in [(&b"\x81\x82\0"[..], 0), (b"\0\0\0a", 0), (b"b\x81\x80\0\0\0\0", 6)] {
            let (mut input, mut frames) = (piece, u32::from(piece[0] == 0x81));
            scan_some(&mut scanner, &mut input, &mut frames, &mut seen).expect("legal");
            assert_eq!(input.len(), rest);
        }
        assert_eq!((seen.data.as_slice(), seen.messages), (&b"\x81\x82\0\0\0\0ab"[..], 1));
    }

    #[test]
    fn breaches_that_depend_on_the_connection() {
        let cases: [(Scanner, &[u8], Violation); 8] = [
            (client(), b"\x81\x01a", Violation::Unmasked),
            (backend(), b"\x81\x81\0\0\0\0a", Violation::Masked),
            (client(), b"\xC1\x80\0\0\0\0", Violation::ReservedBits),
            (backend(), b"\x01\x01a\xC0\x01b", Violation::ReservedBits),
            (backend(), b"\xC9\x00", Violation::ReservedBits),
            (backend(), b"\x80\x00", Violation::UnexpectedContinuation),
            (backend(), b"\x01\x00\x81\x00", Violation::ExpectedContinuation),
            (backend(), b"\x88\x01a", Violation::ShortClose),
        ];
        for (scanner, bytes, violation) in cases {
            assert_eq!(outcome(scanner, bytes), Err(violation));
        }
        assert!(outcome(backend(), b"\xC1\x01a").is_ok(), "compressed, as agreed");
    }

    #[test]
    fn what_precedes_a_breach_is_still_handed_out() {
        let mut scanner = backend();
        let mut seen = Seen::default();
        let bytes = b"\x81\x01a\x83\x00";
        assert_eq!(scan(&mut scanner, bytes, &mut seen), Err(Violation::ReservedOpcode(3)));
        assert_eq!((seen.data.as_slice(), seen.messages), (&b"\x81\x01a"[..], 1));
    }

    #[test]
    fn the_limit_counts_all_fragments_and_is_judged_by_headers() {
        let big = [0x82, 0x7E, 0x03, 0xE9];
        assert_eq!(outcome(backend(), &big), Err(Violation::MessageTooBig));
        let mut two = vec![0x02, 0x7E, 0x03, 0xE8];
        two.extend([0; 1000]);
        two.extend([0x80, 0x01]);
        assert_eq!(outcome(backend(), &two), Err(Violation::MessageTooBig));
        two.truncate(1004);
        two.extend([0x80, 0x00]);
        assert_eq!(outcome(backend(), &two), Err(Violation::MessageTooBig), "headers of fragments count");
        two[0] = 0x82;
        two.truncate(1004);
        assert!(outcome(backend(), &two).is_ok(), "exactly the limit");
    }

    #[test]
    fn payload_can_be_read_past_the_scanner() {
        let mut scanner = backend();
        let mut seen = Seen::default();
        scan(&mut scanner, b"\x82\x05he", &mut seen).expect("legal");
        assert_eq!(scanner.remaining(), 3);
        assert!(!scanner.skip(2));
        assert!(scanner.message_open() && !scanner.at_boundary());
        assert!(scanner.skip(1));
        assert!(scanner.at_boundary() && !scanner.skip(1));
    }

    fn frames() -> impl Strategy<Value = Vec<u8>> {
        let payload = proptest::collection::vec(any::<u8>(), 0..200);
        let message =
            (payload, any::<bool>(), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)));
        proptest::collection::vec(message, 1..8).prop_map(|messages| {
            messages.into_iter().flat_map(|(payload, split, ping)| encode(&payload, split, ping)).collect()
        })
    }

    fn encode(payload: &[u8], split: bool, ping: Option<Vec<u8>>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let at = if split { payload.len() / 2 } else { payload.len() };
        let mut frame = |first: u8, part: &[u8]| {
            bytes.push(first);
            match part.len() {
                n @ 0..126 => bytes.push(n as u8),
                n => bytes.extend([126, (n >> 8) as u8, n as u8]),
            }
            bytes.extend(part);
        };
        frame(if split { 0x02 } else { 0x82 }, &payload[..at]);
        if let Some(ping) = ping {
            frame(0x89, &ping);
        }
        if split {
            frame(0x80, &payload[at..]);
        }
        bytes
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_makes_no_difference(bytes in frames(), cuts in proptest::collection::vec(1usize..40, 1..50)) {
            let whole = outcome(backend(), &bytes).expect("legal");
            let mut scanner = backend();
            let mut seen = Seen::default();
            for piece in cut(&bytes, &cuts) {
                scan(&mut scanner, piece, &mut seen).expect("legal");
            }
            prop_assert_eq!((&seen.data, seen.messages, &seen.controls), (&whole.data, whole.messages, &whole.controls));
            prop_assert_eq!(seen.ends.last(), whole.ends.last());
            prop_assert!(scanner.at_boundary());
        }

        #[test]
        fn where_frames_are_held_back_makes_no_difference(
            bytes in frames(),
            cuts in proptest::collection::vec(1usize..40, 1..50),
            most in 1u32..4,
        ) {
            let whole = outcome(backend(), &bytes).expect("legal");
            let (mut scanner, mut seen) = (backend(), Seen::default());
            for piece in cut(&bytes, &cuts) {
                let mut input = piece;
                while !input.is_empty() {
                    let before = seen.controls.len() as u32 + seen.messages;
                    scan_some(&mut scanner, &mut input, &mut { most }, &mut seen).expect("legal");
                    // One may have begun before.
                    prop_assert!(seen.controls.len() as u32 + seen.messages <= before + most + 1);
                }
            }
            prop_assert_eq!((&seen.data, seen.messages, &seen.controls), (&whole.data, whole.messages, &whole.controls));
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..300) {
            let cut = cut.min(bytes.len());
            for mut scanner in [client(), backend()] {
                let mut seen = Seen::default();
                if scan(&mut scanner, &bytes[..cut], &mut seen).is_ok() {
                    let _ = scan(&mut scanner, &bytes[cut..], &mut seen);
                }
            }
        }
    }
}
