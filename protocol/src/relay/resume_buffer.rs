//! The messages for a client that may come back: kept until it has them, and given again on its next
//! connection.
//!
//! ```text
//!   base            at      sent        whole     end
//!    |--- written ---|--begun-|- to write -|--open--|      bytes
//!    ^ the client has what is before        ^ our own frames go in between messages: first, or where
//!                                             the one that is begun ends; a Close goes behind them all
//! ```

use crate::buffer::chain::{Chain, Gather};
use crate::buffer::frame_iter::Frames;
use crate::buffer::ring::Ring;
use crate::websocket::frame::{Opcode, control_frame};
use crate::websocket::scanner::Data;

/// While more than this of our own frames waits, a pong or a message of our own replaces the one before it.
const OURS_ROOM: usize = 4096;

/// The ring of a client's messages, and what else it is told.
#[derive(Debug, Default)]
pub(crate) struct ResumeBuffer {
    pub(crate) ring: Ring,
    /// Whole frames of our own.
    ours: Chain,
    /// The latest pong, and the latest message of our own, that found no room.
    late: [Option<Vec<u8>>; 2],
    close: Option<KeptClose>,
    /// Position of the first byte of the message that is begun, or of the next.
    at: u64,
    /// Seq of the last message before it.
    at_seq: u64,
    /// Seq of the last message that was written to its last byte, on whatever connection.
    given_seq: u64,
    /// Bytes that the client's connections have taken, and messages that it has acknowledged.
    progress: u64,
    /// The client has no connection.
    away: bool,
}

#[derive(Debug)]
struct KeptClose {
    frame: Vec<u8>,
    written: usize,
}

/// An acknowledgement of what was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotSent;

impl ResumeBuffer {
    pub(crate) fn append(&mut self, data: &Data<'_>) {
        self.ring.append(data);
    }

    /// Queues a frame of our own; a Close goes behind everything.
    pub(crate) fn control(&mut self, opcode: Opcode, payload: &[u8]) {
        let frame = control_frame(opcode, payload, None);
        match opcode {
            Opcode::Close => {
                // Nothing may follow it (RFC 6455, 5.5.1).
                self.queue_late();
                self.close = Some(KeptClose { frame, written: 0 });
            }
            Opcode::Pong if self.ours.len() > OURS_ROOM => self.late[0] = Some(frame),
            _ => self.ours.push(&frame),
        }
    }

    /// Queues a message of our own, which is not numbered. A later one says all that this one does.
    pub(crate) fn say(&mut self, frame: &[u8]) {
        if self.ours.len() > OURS_ROOM {
            self.late[1] = Some(frame.to_vec());
        } else {
            self.ours.push(frame);
        }
    }

    fn queue_late(&mut self) {
        for frame in self.late.iter_mut().filter_map(Option::take) {
            self.ours.push(&frame);
        }
    }

    /// What can be written now.
    pub(crate) fn transmit(&self) -> Gather<'_> {
        let mut gather = Gather::new();
        if self.away {
            return gather;
        }
        let turn = self.turn();
        self.gather(self.ring.sent(), turn, &mut gather);
        self.ours.gather(0, self.ours.len(), &mut gather);
        self.gather(turn, self.ring.whole(), &mut gather);
        if let Some(close) = &self.close {
            gather.add(&close.frame[close.written..]);
        }
        gather
    }

    fn gather<'a>(&'a self, from: u64, to: u64, gather: &mut Gather<'a>) {
        let (chain, index) = self.ring.bytes_at(from);
        chain.gather(index, index + (to - from) as usize, gather);
    }

    /// Notes that the client's connection took `n` bytes of it.
    pub(crate) fn written(&mut self, mut n: usize) {
        self.progress += n as u64;
        let before = (self.turn() - self.ring.sent()).min(n as u64);
        self.data_written(before);
        n -= before as usize;
        let ours = self.ours.len().min(n);
        self.ours.consume(ours);
        n -= ours;
        let behind = (self.ring.whole() - self.ring.sent()).min(n as u64);
        self.data_written(behind);
        n -= behind as usize;
        if let Some(close) = &mut self.close {
            close.written += n;
        }
        if self.ours.len() <= OURS_ROOM {
            self.queue_late();
        }
    }

    /// Where our own frames may stand: in front, or behind the message that is begun.
    fn turn(&self) -> u64 {
        if self.ring.sent() == self.at { self.at } else { self.next_end().unwrap_or(self.ring.whole()) }
    }

    /// Where the message that begins at `at` ends.
    fn next_end(&self) -> Option<u64> {
        let (chain, index) = self.ring.bytes_at(self.at);
        let end = Frames::new(chain, index).find(|frame| frame.ends_message())?.end;
        Some(self.at + (end - index) as u64).filter(|end| *end <= self.ring.whole())
    }

    fn data_written(&mut self, n: u64) {
        self.ring.written(n);
        if self.ring.sent() >= self.ring.whole() {
            (self.at, self.at_seq) = (self.ring.whole(), self.ring.whole_seq());
        }
        while self.at < self.ring.sent()
            && let Some(end) = self.next_end().filter(|end| *end <= self.ring.sent())
        {
            (self.at, self.at_seq) = (end, self.at_seq + 1);
        }
        self.given_seq = self.given_seq.max(self.at_seq);
    }

    /// The client has everything up to this seq.
    pub(crate) fn acknowledge(&mut self, seq: u64) -> Result<(), NotSent> {
        if seq > self.at_seq {
            return Err(NotSent);
        }
        self.release(seq);
        Ok(())
    }

    fn release(&mut self, seq: u64) {
        if seq <= self.ring.base_seq() {
            return;
        }
        let end = if seq == self.at_seq { Some(self.at) } else { self.end_of(seq) };
        if let Some(end) = end {
            self.ring.release(end, seq);
            self.progress += 1;
        }
    }

    fn end_of(&self, seq: u64) -> Option<u64> {
        self.ring.messages().find(|(_, at)| *at == seq).map(|(end, _)| end)
    }

    /// Whether everything behind this seq is here, and the client can have what is before it.
    pub(crate) fn reaches(&self, last: u64) -> bool {
        (self.ring.base_seq()..=self.given_seq).contains(&last)
    }

    /// The client has lost its connection.
    pub(crate) fn detach(&mut self) {
        self.away = true;
        self.ours.clear();
        self.late = Default::default();
        if let Some(close) = &mut self.close {
            close.written = 0;
        }
        self.ring.rewind();
        (self.at, self.at_seq) = (self.ring.base(), self.ring.base_seq());
    }

    /// It has another one, and everything up to `last`, which must be within reach; `None`: as far as it
    /// was known.
    pub(crate) fn attach(&mut self, last: Option<u64>) {
        self.detach();
        self.away = false;
        let last = last.unwrap_or(self.ring.base_seq());
        if let Some(end) = self.end_of(last) {
            self.ring.release(end, last);
            (self.at, self.at_seq) = (end, last);
        }
    }

    /// A frame may be written by itself now: none is begun.
    pub(crate) fn between_frames(&self) -> bool {
        // Of our own frames, a part may be written.
        let idle = self.ours.is_empty() && self.close.is_none();
        self.ring.sent() == self.at && idle && !self.away
    }

    /// Returns what the client's connection is told before another takes its place: the rest of what is begun on it, and
    /// `farewell`, unless a Close is begun. `None`: more than `max` bytes are begun, or there is no connection.
    pub(crate) fn last_words(&self, farewell: &[u8], max: usize) -> Option<Vec<u8>> {
        let begun = (self.turn() - self.ring.sent()) as usize + self.ours.len();
        if self.away || begun > max {
            return None;
        }
        let mut words = Vec::with_capacity(begun + farewell.len());
        let (chain, index) = self.ring.bytes_at(self.ring.sent());
        let rest = (self.turn() - self.ring.sent()) as usize;
        words.extend(chain.slices(index).flatten().take(rest));
        // Of our own frames, a part may be written.
        words.extend(self.ours.slices(0).flatten());
        let close = self.close.as_ref().filter(|close| close.written > 0);
        words.extend_from_slice(close.map_or(farewell, |close| &close.frame[close.written..]));
        Some(words)
    }

    /// Seq of the last message that was written on this connection.
    pub(crate) fn sent_seq(&self) -> u64 {
        self.at_seq
    }

    /// All is written, and the client has not acknowledged all of it: it may be asked.
    pub(crate) fn may_ask(&self) -> bool {
        !self.data_waits() && self.ring.base_seq() < self.at_seq
    }

    /// Bytes that can be written now.
    pub(crate) fn waiting(&self) -> usize {
        if self.away {
            return 0;
        }
        let close = self.close.as_ref().map_or(0, |close| close.frame.len() - close.written);
        (self.ring.whole() - self.ring.sent()) as usize + self.ours.len() + close
    }

    /// Whole messages wait to be written.
    pub(crate) fn data_waits(&self) -> bool {
        !self.away && self.ring.sent() < self.ring.whole()
    }

    /// The client has all that was for it, and nothing is to come.
    pub(crate) fn all_acknowledged(&self) -> bool {
        self.ring.all_released()
    }

    pub(crate) fn progress(&self) -> u64 {
        self.progress
    }

    /// Bytes of messages that are whole.
    pub(crate) fn whole_len(&self) -> usize {
        (self.ring.whole() - self.ring.base()) as usize
    }

    pub(crate) fn buffered(&self) -> usize {
        self.ring.len() + self.ours.len()
    }

    /// Drops the open message and says whether there was one.
    pub(crate) fn drop_open(&mut self) -> bool {
        let any = self.ring.end() > self.ring.whole();
        self.ring.drop_open();
        any
    }

    /// Whole messages that were never written to their last byte.
    pub(crate) fn ungiven(&self) -> u64 {
        self.ring.whole_seq() - self.given_seq.max(self.ring.base_seq())
    }

    /// Panics if what is written at the head of this file does not hold.
    #[cfg(debug_assertions)]
    pub(crate) fn check_invariants(&self) {
        self.ring.check_invariants();
        let (base, sent, whole) = (self.ring.base(), self.ring.sent(), self.ring.whole());
        assert!(base <= self.at && self.at <= sent, "begun at {} of {base}..{sent}", self.at);
        assert!(sent <= whole, "{sent} is written of {whole}");
        assert!(self.ring.may_be_boundary(self.at), "a message begins at {}", self.at);
        let seqs = self.ring.base_seq()..=self.ring.whole_seq();
        assert!(seqs.contains(&self.at_seq), "{} of {seqs:?}", self.at_seq);
        assert!(self.given_seq <= self.ring.whole_seq(), "{} of {seqs:?} was given", self.given_seq);
        if self.away {
            let ours = self.ours.is_empty() && self.late.iter().all(Option::is_none);
            assert!(sent == base && ours, "something is written to a client without a connection");
            assert!(self.close.as_ref().is_none_or(|close| close.written == 0), "a part of a Close is");
        }
    }
}

#[cfg(test)]
mod tests;
