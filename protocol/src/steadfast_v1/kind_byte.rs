//! Takes the kind byte off the frames of a client that links the shim, and puts it on those for it,
//! without a look at the payload behind it.
//!
//! ```text
//!   client:   header(n, key k0 k1 k2 k3) | kind, payload ...
//!   ring:     header(n - 1, key k1 k2 k3 k0)   | payload ...       the same masked bytes
//!
//!   backend:  header(n)     | payload ...
//!   client:   header(n + 1) | kind, payload ...
//! ```
//!
//! Almost every message is short and one frame, and comes with others: a run of them passes in one loop, as it does
//! where a scanner has found it.
//!
//! A payload that moves by one byte meets the masking key one byte further on (RFC 6455, 5.3), so the key
//! is turned instead of the payload masked anew.

use super::client_wire::{FromClient, MESSAGE, TEXT_MAX};
use super::service_wire::Output;
use crate::buffer::ring::Ring;
use crate::websocket::frame::{Header, Opcode, apply_mask, encode_header};
use crate::websocket::scanner::Data;

/// Up to so many bytes, a text that lies in one piece is read without keeping it.
const SHORT_TEXT: usize = 64;

/// The first byte of a text in one frame; a binary message's is the next one (RFC 6455, 5.2).
const FIRST: u8 = 0x81;

/// The bit of a frame's second byte that says that it is masked, and bytes of a short header that is, and that is not.
const MASKED: u8 = 0x80;
const MASKED_HEAD: usize = 6;
const PLAIN_HEAD: usize = 2;

/// The longest payload whose length is in a header's second byte (RFC 6455, 5.2).
const SHORT_MAX: u8 = 125;

/// A client's message that is none of `steadfast.v1`: its first fragment is empty, or a text of a known
/// kind is too long or cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadFrame;

/// Takes the kind byte off.
#[derive(Debug, Default)]
pub(crate) struct Strip {
    at: At,
    /// The payload bytes of the present frame that are still to come.
    left: u64,
    /// The present frame is its message's last.
    fin: bool,
    /// What has come of a text of the client's own, and the text's masking key for what follows.
    text: Vec<u8>,
    mask: [u8; 4],
}

/// Where the stream of frames is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum At {
    /// Between two messages.
    #[default]
    Between,
    /// Behind the header of a message's first frame, in front of the kind byte.
    Kind(Header),
    /// Within a message, in a frame or between two.
    Within(MessageKind),
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessageKind {
    /// It is the application's.
    Message,
    /// It is for the broker.
    Text,
    /// It is of an unknown kind.
    Other,
}

impl Strip {
    /// Takes frames, of which every header is whole, off the front of `bytes` up to the end of the first
    /// text; `None`: none ends there. The application's messages go to `ring`, if there is one.
    pub(crate) fn pass(
        &mut self,
        bytes: &mut &[u8],
        mut ring: Option<&mut Ring>,
    ) -> Result<Option<FromClient>, BadFrame> {
        while !bytes.is_empty() {
            match self.at {
                At::Kind(header) => {
                    let (kind, rest) = bytes.split_at(1);
                    *bytes = rest;
                    self.begin(&header, kind[0], rest.len(), ring.as_deref_mut());
                }
                At::Within(kind) if self.left > 0 => {
                    let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                    let (now, rest) = bytes.split_at(n);
                    *bytes = rest;
                    self.payload(kind, now, ring.as_deref_mut())?;
                }
                _ => {
                    let run = ring.as_deref_mut().filter(|_| self.at == At::Between);
                    if let Some(taken) = run.map(|ring| strip_run(bytes, ring)).filter(|taken| *taken > 0) {
                        *bytes = &bytes[taken..];
                        continue;
                    }
                    // A scanner has passed here; without a whole header there would be nothing to go by.
                    let Ok(Some(header)) = Header::parse(bytes) else { return Err(BadFrame) };
                    let (frame, rest) = bytes.split_at(header.len);
                    if let Some(behind) = self.whole_message(&header, rest, ring.as_deref_mut()) {
                        *bytes = behind;
                        continue;
                    }
                    if let Some((text, behind)) = self.whole_text(&header, rest) {
                        *bytes = behind;
                        return text.ok_or(BadFrame).map(Some);
                    }
                    *bytes = rest;
                    self.header(&header, frame, ring.as_deref_mut())?;
                }
            }
            if let Some(text) = self.end_frame()? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// The payload that follows goes to the ring as it is.
    pub(crate) fn in_message(&self) -> bool {
        self.at == At::Within(MessageKind::Message) && self.left > 0
    }

    /// Counts `n` bytes of it that went there without a look.
    pub(crate) fn skip(&mut self, n: u64) {
        self.left = self.left.saturating_sub(n);
        if self.left == 0 && self.fin {
            self.at = At::Between;
        }
    }

    /// The way of almost every message: one frame of the application's that is whole in `bytes`, which
    /// stand behind its header. Returns what is behind it; `None`: it is another one.
    fn whole_message<'a>(
        &self,
        header: &Header,
        bytes: &'a [u8],
        ring: Option<&mut Ring>,
    ) -> Option<&'a [u8]> {
        let (message, behind) = self.whole(header, bytes)?;
        let [a, b, c, d] = header.mask?;
        let payload = message.split_first().filter(|(kind, _)| **kind ^ a == MESSAGE)?.1;
        if let Some(ring) = ring {
            let key = [b, c, d, a];
            let (head, head_len) = encode_header(true, header.opcode, payload.len() as u64, Some(key));
            let (head, frame_len) = (&head[..head_len], head_len + payload.len());
            // Room for what follows too, so that a span of small messages takes one allocation.
            let tail = ring.tail(head_len + bytes.len());
            if tail.capacity() - tail.len() >= frame_len {
                tail.extend_from_slice(head);
                tail.extend_from_slice(payload);
                ring.grown(frame_len, true);
            } else {
                append(ring, head, false);
                append(ring, payload, true);
            }
        }
        Some(behind)
    }

    /// A short text that is whole in `bytes`, if it can be read, and what is behind it.
    fn whole_text<'a>(&self, header: &Header, bytes: &'a [u8]) -> Option<(Option<FromClient>, &'a [u8])> {
        let (message, behind) = self.whole(header, bytes)?;
        let mut text = [0; SHORT_TEXT];
        let text = text.get_mut(..message.len())?;
        text.copy_from_slice(message);
        apply_mask(text, header.mask?, 0);
        let known = text.first().is_some_and(|kind| FromClient::is_known(*kind));
        known.then(|| (FromClient::parse(text), behind))
    }

    /// The payload of a message in one frame that is whole in `bytes`, and what is behind it.
    fn whole<'a>(&self, header: &Header, bytes: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let len = usize::try_from(header.payload_len).ok()?;
        let alone = header.fin && self.at == At::Between;
        bytes.split_at_checked(len).filter(|_| alone)
    }

    fn header(&mut self, header: &Header, bytes: &[u8], ring: Option<&mut Ring>) -> Result<(), BadFrame> {
        (self.fin, self.left) = (header.fin, header.payload_len);
        self.mask = header.mask.unwrap_or_default();
        match self.at {
            At::Within(kind) => {
                if let (MessageKind::Message, Some(ring)) = (kind, ring) {
                    append(ring, bytes, header.fin && header.payload_len == 0);
                }
                Ok(())
            }
            // The first frame has the kind byte.
            _ if header.payload_len == 0 => Err(BadFrame),
            _ => {
                self.at = At::Kind(*header);
                Ok(())
            }
        }
    }

    /// `present`: how much of the payload behind the kind byte, and of what follows it, is there.
    fn begin(&mut self, header: &Header, masked: u8, present: usize, ring: Option<&mut Ring>) {
        let [a, b, c, d] = self.mask;
        let kind = masked ^ a;
        self.left = header.payload_len - 1;
        self.mask = [b, c, d, a];
        self.at = At::Within(match kind {
            MESSAGE => MessageKind::Message,
            kind if FromClient::is_known(kind) => MessageKind::Text,
            _ => MessageKind::Other,
        });
        match (self.at, ring) {
            (At::Within(MessageKind::Message), Some(ring)) => {
                let (bytes, len) = encode_header(header.fin, header.opcode, self.left, Some(self.mask));
                let follows = usize::try_from(self.left).unwrap_or(usize::MAX).min(present);
                // Room for both, so that a small message takes one allocation.
                ring.tail(len + follows);
                append(ring, &bytes[..len], header.fin && self.left == 0);
            }
            (At::Within(MessageKind::Text), _) => self.text.push(kind),
            _ => {}
        }
    }

    fn payload(&mut self, kind: MessageKind, bytes: &[u8], ring: Option<&mut Ring>) -> Result<(), BadFrame> {
        self.left -= bytes.len() as u64;
        match (kind, ring) {
            (MessageKind::Message, Some(ring)) => append(ring, bytes, self.left == 0 && self.fin),
            (MessageKind::Text, _) if self.text.len() + bytes.len() > TEXT_MAX => return Err(BadFrame),
            (MessageKind::Text, _) => {
                let start = self.text.len();
                self.text.extend_from_slice(bytes);
                apply_mask(&mut self.text[start..], self.mask, 0);
                self.mask.rotate_left(bytes.len() % 4);
            }
            _ => {}
        }
        Ok(())
    }

    fn end_frame(&mut self) -> Result<Option<FromClient>, BadFrame> {
        let At::Within(kind) = self.at else { return Ok(None) };
        if self.left > 0 || !self.fin {
            return Ok(None);
        }
        self.at = At::Between;
        if kind != MessageKind::Text {
            return Ok(None);
        }
        let text = std::mem::take(&mut self.text);
        FromClient::parse(&text).ok_or(BadFrame).map(Some)
    }
}

/// Passes the run of frames in front that are what almost every one is, and returns how many bytes they take: short
/// messages of the application's, each whole in `bytes`, as far as the ring has room where it ends.
fn strip_run(bytes: &[u8], ring: &mut Ring) -> usize {
    let Some(mut next) = strip_short(bytes) else { return 0 };
    // Room for all of them, so that a span of small messages takes one allocation.
    let tail = ring.tail(bytes.len());
    let (before, mut at, mut messages) = (tail.len(), 0, 0);
    loop {
        let (head, payload) = next;
        if tail.capacity() - tail.len() < MASKED_HEAD + payload.len() {
            break;
        }
        tail.extend_from_slice(&head);
        tail.extend_from_slice(payload);
        (at, messages) = (at + MASKED_HEAD + 1 + payload.len(), messages + 1);
        let Some(following) = strip_short(&bytes[at..]) else { break };
        next = following;
    }
    let n = tail.len() - before;
    ring.grown_by(n, messages);
    at
}

/// This is the first byte of a whole message in one frame.
#[inline(always)]
fn is_first(byte: u8) -> bool {
    byte.wrapping_sub(FIRST) < 2
}

/// The message in front without its kind, as a header and the masked payload, if it is such a one.
#[inline(always)]
fn strip_short(bytes: &[u8]) -> Option<([u8; MASKED_HEAD], &[u8])> {
    // In one piece, so that nothing is read twice: two bytes of header, four of key, the kind, and one of payload.
    let word = u64::from_le_bytes(*bytes.first_chunk()?);
    let [first, second, a, .., kind, _] = word.to_le_bytes();
    let len = second ^ MASKED;
    let fits = is_first(first) && len.wrapping_sub(1) < SHORT_MAX && kind ^ a == MESSAGE;
    let payload = bytes.get(MASKED_HEAD + 1..MASKED_HEAD + usize::from(len)).filter(|_| fits)?;
    // The length is less by one, and the key's first byte is its last.
    let turned = ((word & 0xFFFF) - 0x100) | ((word >> 8) & 0xFF_FFFF_0000) | (u64::from(a) << 40);
    let [first, second, b, c, d, a, ..] = turned.to_le_bytes();
    Some(([first, second, b, c, d, a], payload))
}

/// A part of a frame that may end a message.
fn append(ring: &mut Ring, bytes: &[u8], ends: bool) {
    ring.append(&Data { bytes, messages: u32::from(ends), whole: if ends { bytes.len() } else { 0 } });
}

/// Puts the kind byte on.
#[derive(Debug, Default)]
pub(crate) struct AddKind {
    /// The payload bytes of the present frame that are still to come.
    left: u64,
    /// The present frame is its message's last.
    fin: bool,
    /// A message has begun and not ended.
    open: bool,
}

/// Frames with the kind byte.
#[derive(Debug, Default)]
pub(crate) struct Kinded {
    bytes: Vec<u8>,
    messages: u32,
    whole: usize,
}

impl Kinded {
    pub(crate) fn data(&self) -> Data<'_> {
        Data { bytes: &self.bytes, messages: self.messages, whole: self.whole }
    }

    /// The frames, the messages that end among them, and bytes up to the end of the last of these.
    pub(crate) fn into_parts(self) -> (Vec<u8>, (u32, usize)) {
        (self.bytes, (self.messages, self.whole))
    }

    /// Adds the run of frames in front that are what almost every one is, and returns how many bytes they take: short
    /// messages, each whole in `bytes`.
    fn add_run(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(&[first, len]) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
            let end = at + PLAIN_HEAD + usize::from(len);
            let short = is_first(first) && len < SHORT_MAX;
            let Some(payload) = bytes.get(at + PLAIN_HEAD..end).filter(|_| short) else { break };
            self.bytes.extend_from_slice(&[first, len + 1, MESSAGE]);
            self.bytes.extend_from_slice(payload);
            (at, self.messages) = (end, self.messages + 1);
        }
        if at > 0 {
            self.whole = self.bytes.len();
        }
        at
    }

    fn add(&mut self, bytes: &[u8], ends: bool) {
        self.bytes.extend_from_slice(bytes);
        if ends {
            self.messages += 1;
            self.whole = self.bytes.len();
        }
    }
}

impl AddKind {
    /// Takes a span of a backend's frames, of which every header is whole.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) -> Kinded {
        // One byte for each frame, two more where its length needs more digits then.
        let more = bytes.len() / 16 + 16;
        let mut out = Kinded { bytes: Vec::with_capacity(bytes.len() + more), ..Kinded::default() };
        while !bytes.is_empty() {
            if self.left > 0 {
                let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                let (now, rest) = bytes.split_at(n);
                bytes = rest;
                self.left -= n as u64;
                let ends = self.ends();
                out.add(now, ends);
                continue;
            }
            let taken = if self.open { 0 } else { out.add_run(bytes) };
            if taken > 0 {
                bytes = &bytes[taken..];
                continue;
            }
            // A scanner has passed here, so there is one.
            let Ok(Some(header)) = Header::parse(bytes) else { break };
            let (frame, rest) = bytes.split_at(header.len);
            bytes = rest;
            if let Some(behind) = self.whole_message(&header, rest, &mut out) {
                bytes = behind;
                continue;
            }
            (self.left, self.fin) = (header.payload_len, header.fin);
            let first = !std::mem::replace(&mut self.open, true);
            let ends = self.ends();
            if first {
                let (bytes, len) = encode_header(header.fin, header.opcode, header.payload_len + 1, None);
                out.add(&bytes[..len], false);
                out.add(&[MESSAGE], ends);
            } else {
                out.add(frame, ends);
            }
        }
        out
    }

    /// The way of almost every message: one frame that is whole in `bytes`, which stand behind its header.
    /// Returns what is behind it; `None`: it is another one.
    fn whole_message<'a>(&self, header: &Header, bytes: &'a [u8], out: &mut Kinded) -> Option<&'a [u8]> {
        let len = usize::try_from(header.payload_len).ok().filter(|_| header.fin && !self.open)?;
        let (payload, behind) = bytes.split_at_checked(len)?;
        let (head, head_len) = encode_header(true, header.opcode, header.payload_len + 1, None);
        out.add(&head[..head_len], false);
        out.bytes.push(MESSAGE);
        out.add(payload, true);
        Some(behind)
    }

    /// Counts `n` payload bytes that went on without a look.
    pub(crate) fn skip(&mut self, n: u64) {
        self.left = self.left.saturating_sub(n);
        self.ends();
    }

    /// Whether the message ends with what has passed.
    fn ends(&mut self) -> bool {
        let ends = self.left == 0 && self.fin;
        self.open &= !ends;
        ends
    }
}

/// As [`message_header`] has it, for a short message, as almost every one is, and in any case with the kind byte behind
/// it; `None`: it is longer.
#[inline(always)]
pub(crate) fn short_header(output: &Output<'_>, kind: bool) -> Option<[u8; 3]> {
    let first = if output.text { FIRST } else { FIRST + 1 };
    let len = output.payload.len() + usize::from(kind);
    (len <= usize::from(SHORT_MAX)).then_some([first, len as u8, MESSAGE])
}

/// A whole message in one frame for a client, with the kind byte if `kind` says so: its header, of which
/// the kind byte is the last. The payload follows.
pub(crate) fn message_header(text: bool, payload_len: usize, kind: bool) -> ([u8; 16], usize) {
    let opcode = if text { Opcode::Text } else { Opcode::Binary };
    let (header, mut len) = encode_header(true, opcode, payload_len as u64 + u64::from(kind), None);
    let mut bytes = [0; 16];
    bytes[..len].copy_from_slice(&header[..len]);
    if kind {
        bytes[len] = MESSAGE;
        len += 1;
    }
    (bytes, len)
}

#[cfg(test)]
mod tests;
