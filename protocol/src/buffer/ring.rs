//! The replay ring: the upstream messages that are not yet acknowledged, as the bytes in which they came.
//!
//! ```text
//!   base            sent         whole     end
//!    |--- written ---|-- to write --|--open--|      bytes
//!    ^ first byte that is kept      ^ end of the last whole message
//! ```
//!
//! Positions count bytes upstream since the session began, data frames only and those that are said again, so they do
//! not shift when the front is released. The bytes are masked client frames; a replay writes the same
//! bytes again (RFC 6455 asks for a fresh key for each frame that a client makes, 5.3; these are the
//! client's own). A message's end is found again by its headers, so that no index is kept.

use crate::buffer::chain::Chain;
use crate::buffer::frame_iter::Frames;
use crate::websocket::frame::{Header, apply_mask};
use crate::websocket::scanner::Data;

/// Where a whole message stands, and the header of its first frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RingMessage {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) first: Header,
}

/// Bounded by its user: a session stops reading its client when the ring is full.
#[derive(Debug, Default)]
pub struct Ring {
    chain: Chain,
    base: u64,
    /// The next byte to write to the present backend.
    sent: u64,
    whole: u64,
    /// Seq of the last message before `base`.
    base_seq: u64,
    /// Seq of the last whole message.
    whole_seq: u64,
}

impl Ring {
    /// Appends what the scanner found.
    pub fn append(&mut self, data: &Data<'_>) {
        let end = self.end();
        self.chain.push(data.bytes);
        if data.messages > 0 {
            self.whole = end + data.whole as u64;
            self.whole_seq += u64::from(data.messages);
        }
    }

    /// Takes over what the scanner found, the bytes of `chunk` from `start` on: so many messages end there,
    /// the last of them after `whole` bytes.
    pub fn adopt(&mut self, chunk: Vec<u8>, start: usize, messages: u32, whole: usize) {
        let end = self.end();
        self.chain.adopt(chunk, start);
        if messages > 0 {
            self.whole = end + whole as u64;
            self.whole_seq += u64::from(messages);
        }
    }

    /// Room for payload bytes that need no scanning; see [`Chain::tail`].
    pub fn tail(&mut self, want: usize) -> &mut Vec<u8> {
        self.chain.tail(want)
    }

    /// Counts `n` bytes that were put there, the last of which may have ended a message.
    pub fn grown(&mut self, n: usize, message_ended: bool) {
        self.chain.grown(n);
        if message_ended {
            self.whole = self.end();
            self.whole_seq += 1;
        }
    }

    /// Counts `n` bytes that were put there, so many whole messages.
    pub(crate) fn grown_by(&mut self, n: usize, messages: u32) {
        if messages > 0 {
            self.chain.grown(n);
            self.whole = self.end();
            self.whole_seq += u64::from(messages);
        }
    }

    /// Position of the first byte kept.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Position of the next byte to write.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Position behind the last whole message.
    pub fn whole(&self) -> u64 {
        self.whole
    }

    /// Position behind the last byte.
    pub fn end(&self) -> u64 {
        self.base + self.chain.len() as u64
    }

    /// Seq of the last message that was released.
    pub fn base_seq(&self) -> u64 {
        self.base_seq
    }

    /// Seq of the last whole message.
    pub fn whole_seq(&self) -> u64 {
        self.whole_seq
    }

    /// Bytes kept.
    pub fn len(&self) -> usize {
        self.chain.len()
    }

    /// Nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.chain.is_empty()
    }

    /// No whole message is kept; an open one may be.
    pub fn all_released(&self) -> bool {
        self.base >= self.whole
    }

    /// The chain, to write from, and the index of `position` in it.
    pub fn bytes_at(&self, position: u64) -> (&Chain, usize) {
        (&self.chain, position.saturating_sub(self.base) as usize)
    }

    /// Notes that `n` more bytes were written.
    pub fn written(&mut self, n: u64) {
        self.sent = (self.sent + n).min(self.end());
    }

    /// Forgets everything before `position`, behind message `seq`. Positions that were released
    /// already or are not yet whole are ignored.
    pub fn release(&mut self, position: u64, seq: u64) {
        if position > self.base && position <= self.whole {
            self.chain.consume((position - self.base) as usize);
            self.base = position;
            self.base_seq = seq;
            self.sent = self.sent.max(position);
        }
    }

    /// Releases the messages of which every byte is written: what ack mode `none` keeps is only the
    /// message that is being written.
    pub fn release_written(&mut self) {
        if self.sent >= self.whole {
            return self.release(self.whole, self.whole_seq);
        }
        if let Some((position, seq)) = self.messages().take_while(|(end, _)| *end <= self.sent).last() {
            self.release(position, seq);
        }
    }

    /// The next backend gets everything from the first byte kept.
    pub fn rewind(&mut self) {
        self.sent = self.base;
    }

    /// Drops the message that has no end yet.
    pub fn drop_open(&mut self) {
        self.chain.truncate(self.whole.saturating_sub(self.base) as usize);
        self.sent = self.sent.min(self.whole);
    }

    /// Drops everything; the ledger has counted it.
    pub fn clear(&mut self) {
        self.base = self.end();
        self.chain.clear();
        (self.sent, self.whole, self.base_seq) = (self.base, self.base, self.whole_seq);
    }

    /// The whole messages kept, each as the position behind it and its seq.
    pub fn messages(&self) -> impl Iterator<Item = (u64, u64)> {
        self.messages_after(self.base, self.base_seq)
    }

    /// Those of them behind `position`, where message `seq` ends, which is kept or the last that is not.
    pub fn messages_after(&self, position: u64, mut seq: u64) -> impl Iterator<Item = (u64, u64)> {
        let whole = (self.whole - self.base) as usize;
        let base = self.base;
        let from = position.saturating_sub(base) as usize;
        Frames::new(&self.chain, from).take_while(move |frame| frame.end <= whole).filter_map(move |frame| {
            seq += u64::from(frame.header.fin);
            frame.header.fin.then_some((base + frame.end as u64, seq))
        })
    }

    /// The next whole message behind `position`, where one ends or none was.
    #[inline]
    pub(crate) fn message_after(&self, position: u64) -> Option<RingMessage> {
        let mut frames = Frames::new(&self.chain, position.saturating_sub(self.base) as usize);
        let first = frames.next()?;
        let mut last = first;
        while !last.header.fin {
            last = frames.next()?;
        }
        let end = self.base + last.end as u64;
        (end <= self.whole).then_some(RingMessage { start: position, end, first: first.header })
    }

    /// The first bytes of a message's payload, unmasked, as many as its first frame has.
    #[inline]
    pub(crate) fn head<'a, const N: usize>(&self, message: &RingMessage, into: &'a mut [u8; N]) -> &'a [u8] {
        let header = &message.first;
        let most = usize::try_from(header.payload_len).unwrap_or(usize::MAX).min(N);
        let head = &mut into[..most];
        self.chain.peek((message.start - self.base) as usize + header.len, head);
        if let Some(key) = header.mask {
            apply_mask(head, key, 0);
        }
        head
    }

    /// Nothing is written of a message that is not written whole.
    pub fn sent_between_messages(&self) -> bool {
        self.sent == self.base || self.messages().any(|(end, _)| end == self.sent)
    }

    /// Copies a message's payload to `into`, unmasked, up to `most` bytes, and says whether that is all.
    #[inline]
    pub(crate) fn payload(&self, message: &RingMessage, most: usize, into: &mut Vec<u8>) -> bool {
        into.clear();
        let (mut at, end) = ((message.start - self.base) as usize, (message.end - self.base) as usize);
        // Mostly it is one frame, of which the header need not be read again.
        let mut header = message.first;
        loop {
            let (start, from) = (at + header.len, into.len());
            let all = header.payload_len as usize;
            self.chain.copy(start, all.min(most - from), into);
            if let Some(key) = header.mask {
                apply_mask(&mut into[from..], key, 0);
            }
            at = start + all;
            if into.len() < from + all {
                return false;
            }
            match Frames::new(&self.chain, at).next().filter(|_| at < end) {
                Some(next) => header = next.header,
                None => return true,
            }
        }
    }

    /// The bytes between two positions, which must be kept.
    pub(crate) fn copy(&self, (start, end): (u64, u64)) -> Box<[u8]> {
        let mut bytes = Vec::new();
        self.chain.copy(
            start.saturating_sub(self.base) as usize,
            end.saturating_sub(start) as usize,
            &mut bytes,
        );
        bytes.into()
    }

    /// Puts `bytes` in the place of those between two positions, none of which is written. So many whole messages less
    /// are there then.
    pub(crate) fn splice(&mut self, (start, end): (u64, u64), bytes: &[u8], fewer: u64) {
        let behind: Vec<u8> = self.chain.slices((end - self.base) as usize).flatten().copied().collect();
        self.chain.truncate((start - self.base) as usize);
        self.chain.push(bytes);
        self.chain.push(&behind);
        self.whole = self.whole + bytes.len() as u64 - (end - start);
        self.whole_seq -= fewer;
    }

    /// What stands behind `position`, where message `seq` ends, counts as one that is open.
    pub(crate) fn reopen(&mut self, position: u64, seq: u64) {
        (self.whole, self.whole_seq) = (position, seq);
    }

    /// So many of the messages that were reopened are whole, with those that came since.
    pub(crate) fn count_reopened(&mut self, messages: u64) {
        self.whole_seq += messages;
    }

    /// Keeps these messages instead, so many, and what is open behind them. Their positions are new ones, since none is
    /// used twice.
    pub(crate) fn replace(&mut self, mut kept: Chain, messages: u64) {
        let base = self.end();
        let open = self.whole.saturating_sub(self.base) as usize;
        let whole = base + kept.len() as u64;
        for bytes in self.chain.slices(open) {
            kept.push(bytes);
        }
        self.chain = kept;
        (self.base, self.sent, self.whole) = (base, base, whole);
        self.base_seq = self.whole_seq.saturating_sub(messages);
    }

    /// Panics if what is written at the head of this file does not hold. Messages are walked through only where
    /// that is cheap.
    #[cfg(debug_assertions)]
    pub(crate) fn check_invariants(&self) {
        let Ring { base, sent, whole, base_seq, whole_seq, .. } = *self;
        let end = self.end();
        assert!(base <= sent && sent <= end, "sent {sent} lies outside of {base}..{end}");
        assert!(base <= whole && whole <= end, "whole {whole} lies outside of {base}..{end}");
        assert_eq!(base < whole, base_seq < whole_seq, "messages {base_seq}..{whole_seq} in {base}..{whole}");
        if self.walks_cheaply() {
            let last = self.messages().last().unwrap_or((base, base_seq));
            assert_eq!(last, (whole, whole_seq), "where the last whole message ends, and its seq");
        }
    }

    /// Whether `position` lies between two messages, or cannot be looked up cheaply.
    #[cfg(debug_assertions)]
    pub(crate) fn may_be_boundary(&self, position: u64) -> bool {
        let known = position <= self.base || !self.walks_cheaply();
        known || self.messages().any(|(end, _)| end == position)
    }

    #[cfg(debug_assertions)]
    fn walks_cheaply(&self) -> bool {
        self.len() <= 1024
    }

    /// How many of them are written to their last byte.
    pub fn fully_written(&self) -> u64 {
        if self.sent >= self.whole {
            return self.whole_seq - self.base_seq;
        }
        self.messages().take_while(|(end, _)| *end <= self.sent).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::scanner::{FrameSender, Item, Scanner};

    /// A masked binary frame.
    pub(crate) fn frame(fin: bool, first: bool, payload: &[u8]) -> Vec<u8> {
        let opcode = u8::from(first) << 1;
        let mut bytes = vec![u8::from(fin) << 7 | opcode];
        match payload.len() {
            n @ 0..126 => bytes.push(0x80 | n as u8),
            n => {
                bytes.push(0x80 | 126);
                bytes.extend((n as u16).to_be_bytes());
            }
        }
        bytes.extend([0; 4]);
        bytes.extend(payload);
        bytes
    }

    fn feed(ring: &mut Ring, bytes: &[u8]) {
        let mut scanner = Scanner::new(FrameSender::Client, 1 << 20, false);
        let mut input = bytes;
        while let Some(Item::Data(data)) = scanner.next(&mut input, &mut { u32::MAX }).expect("legal") {
            ring.append(&data);
        }
    }

    fn three() -> (Ring, Vec<usize>) {
        let frames = [frame(true, true, b"one"), frame(true, true, &[2; 300]), frame(true, true, b"")];
        let mut ring = Ring::default();
        let mut ends = Vec::new();
        for frame in &frames {
            feed(&mut ring, frame);
            ends.push(ring.end() as usize);
        }
        (ring, ends)
    }

    #[test]
    fn walks_its_messages() {
        let (ring, ends) = three();
        let found: Vec<_> = ring.messages().collect();
        assert_eq!(found, [(ends[0] as u64, 1), (ends[1] as u64, 2), (ends[2] as u64, 3)]);
    }

    #[test]
    fn a_fragmented_message_is_one() {
        let mut ring = Ring::default();
        let mut bytes = frame(false, true, b"a");
        bytes.extend(frame(false, false, b"b"));
        bytes.extend(frame(true, false, b"c"));
        feed(&mut ring, &bytes);
        assert_eq!(ring.messages().collect::<Vec<_>>(), [(bytes.len() as u64, 1)]);
    }

    #[test]
    fn releases_the_front_and_keeps_positions() {
        let (mut ring, ends) = three();
        ring.written(ends[2] as u64);
        ring.release(ends[0] as u64, 1);
        assert_eq!((ring.base(), ring.base_seq(), ring.len()), (ends[0] as u64, 1, ends[2] - ends[0]));
        assert_eq!(ring.messages().next(), Some((ends[1] as u64, 2)));
        ring.release(ends[0] as u64, 1);
        assert_eq!(ring.base_seq(), 1, "a second release of the same position changes nothing");
        ring.rewind();
        assert_eq!(ring.sent(), ends[0] as u64);
    }

    #[test]
    fn without_acks_only_the_message_being_written_is_kept() {
        let (mut ring, ends) = three();
        ring.written(ends[0] as u64 + 5);
        ring.release_written();
        assert_eq!((ring.base(), ring.base_seq(), ring.sent()), (ends[0] as u64, 1, ends[0] as u64 + 5));
        ring.rewind();
        assert_eq!(ring.sent(), ends[0] as u64, "the cut message restarts from its first byte");
        ring.written(1 << 20);
        ring.release_written();
        assert!(ring.is_empty());
        assert_eq!(ring.base_seq(), 3);
    }

    #[test]
    fn an_open_message_can_be_dropped() {
        let (mut ring, ends) = three();
        let cut = frame(true, true, &[9; 100]);
        let mut scanner = Scanner::new(FrameSender::Client, 1 << 20, false);
        let mut input = &cut[..50];
        while let Some(Item::Data(data)) = scanner.next(&mut input, &mut { u32::MAX }).expect("legal") {
            ring.append(&data);
        }
        assert_eq!((ring.whole(), ring.end()), (ends[2] as u64, ends[2] as u64 + 50));
        ring.written(ends[2] as u64 + 20);
        assert_eq!(ring.fully_written(), 3);
        ring.drop_open();
        assert_eq!((ring.end(), ring.sent()), (ends[2] as u64, ends[2] as u64));
    }

    #[test]
    fn counts_what_is_fully_written() {
        let (mut ring, ends) = three();
        ring.written(ends[1] as u64 - 1);
        assert_eq!(ring.fully_written(), 1);
        ring.written(1);
        assert_eq!(ring.fully_written(), 2);
    }
}
