//! Marks: which of the client's messages are more than told, where they are, and what they still wait for.

use std::collections::VecDeque;
use std::time::Duration;

use steadfast_profiles::{Keep, Key};

use crate::buffer::ring::Ring;
use crate::time::Time;

/// Asks that are open at once, at the most.
const ASKS_MAX: u64 = 4096;

/// The client is not read while so many of its messages have marks: more than may be kept, so that a pong makes room.
const MARKS_MAX: usize = 8192;

/// Records that are kept, at the most.
const KEPT_MAX: usize = 1024;

/// What a message is, as long as that matters.
#[derive(Debug)]
pub(super) enum MarkKind {
    /// Told, in several messages.
    Tell,
    /// It waits for this answer.
    Ask(Key),
    /// It stands until it is over. `answered`: the client has had an answer. `awaits`: the present backend owes one.
    /// `retired`: the client has ended it, in a message that is marked too.
    Keep { keep: Keep, answered: bool, awaits: bool, retired: bool },
    /// It ends what stands in a slot; `done`: what the client is told where no backend needs to hear of it.
    Retire { slot: Key, answer: Option<Key>, done: Option<Box<[u8]>> },
    /// It replies to a backend, or is a sign of life: nobody else understands it. `answer`: what the client is told if no
    /// backend has heard it.
    Once { answer: Option<Box<[u8]>> },
    /// It was answered, or is over.
    Done,
}

/// One message of the client's, or several that are one.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) kind: MarkKind,
    /// Where it stands, and stood when it was in the ring.
    pub(super) start: u64,
    pub(super) end: u64,
    /// Of its last message.
    pub(super) seq: u64,
    /// Among which messages the next backend hears it: behind the one with this seq. A later record of a slot is heard
    /// where the first was.
    pub(super) place: u64,
    pub(super) messages: u32,
    pub(super) said: Time,
    /// Its frames, once they have left the ring.
    pub(super) frames: Option<Box<[u8]>>,
    /// A backend has acknowledged it.
    pub(super) acked: bool,
}

impl Mark {
    /// It ends something, and nobody needs to hear of that who has not heard of what it ends: it has no answer, or the
    /// broker knows which.
    pub(super) fn ends_in_silence(&self) -> bool {
        matches!(self.kind, MarkKind::Retire { answer: None, .. } | MarkKind::Retire { done: Some(_), .. })
    }

    fn is_open_ask(&self) -> bool {
        matches!(
            self.kind,
            MarkKind::Ask(_)
                | MarkKind::Retire { answer: Some(_), .. }
                | MarkKind::Keep { keep: Keep { answer: Some(_), .. }, answered: false, .. }
                | MarkKind::Keep { keep: Keep { awaited: true, .. }, retired: false, .. }
        )
    }
}

impl Drop for Mark {
    /// What is kept may be a password.
    fn drop(&mut self) {
        if let Some(frames) = &mut self.frames {
            frames.fill(0);
            std::hint::black_box(&frames);
        }
    }
}

/// All of a session's, in the order in which they were said. Those whose frames are kept stand before those that are in
/// the ring.
#[derive(Debug, Default)]
pub(super) struct Marks {
    marks: VecDeque<Mark>,
    /// So many at the front are done at the least: nothing is looked for among them.
    done: usize,
    /// How many are open asks, and how many are kept.
    asks: u64,
    kept: usize,
    /// Bytes of frames: of records, and of asks.
    record_bytes: usize,
    ask_bytes: usize,
}

/// What was found for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    /// An ask, which is done.
    Ask,
    /// This slot's record; `again`: the client has had an answer before.
    Record { slot: Key, again: bool },
    /// What ends this slot's record, which is over.
    Retired { slot: Key },
}

impl Marks {
    /// How many asks are open that have not waited for longer than this.
    pub(super) fn open_asks(&self, now: Time, patience: Duration) -> u64 {
        if self.asks == 0 {
            return 0;
        }
        self.marks.iter().filter(|mark| mark.is_open_ask() && mark.said + patience > now).count() as u64
    }

    /// No more may come before a pong has made room.
    pub(super) fn are_full(&self) -> bool {
        self.marks.len() >= MARKS_MAX
    }

    pub(super) fn kept_bytes(&self) -> usize {
        self.record_bytes + self.ask_bytes
    }

    /// What is kept is more than these bytes, or than is kept apart.
    pub(super) fn records_full(&self, bytes: usize) -> bool {
        self.record_bytes > bytes || self.kept > KEPT_MAX
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Mark> {
        self.marks.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Mark> {
        self.marks.iter_mut()
    }

    /// Adds the latest.
    pub(super) fn push(&mut self, mut mark: Mark) {
        if let MarkKind::Keep { keep, .. } = &mark.kind {
            mark.place = self.supersede(keep.slot).unwrap_or(mark.place);
            self.kept += 1;
        }
        if let MarkKind::Retire { slot, .. } = &mark.kind {
            self.retire(*slot);
        }
        self.asks += u64::from(mark.is_open_ask());
        self.marks.push_back(mark);
    }

    /// Takes all of them out, to be sorted anew.
    pub(super) fn take(&mut self) -> VecDeque<Mark> {
        std::mem::take(self).marks
    }

    /// A later record takes the place of one of the same slot, which is returned.
    fn supersede(&mut self, slot: Key) -> Option<u64> {
        let index = self.find_kept(slot)?;
        let mark = &self.marks[index];
        let place = matches!(mark.kind, MarkKind::Keep { retired: false, .. }).then_some(mark.place);
        self.finish(index);
        place
    }

    /// The record that the client has ended with the mark that is, or was, at `index` is over: one before that. A later one
    /// of the slot has an end of its own.
    fn end_retired(&mut self, slot: Key, index: usize) {
        let ended = |mark: &Mark| matches!(&mark.kind, MarkKind::Keep { keep, retired: true, .. } if keep.slot == slot);
        if let Some(index) = self.marks.iter().take(index).position(ended) {
            self.finish(index);
        }
    }

    /// A record stands in this slot that nobody has ended.
    pub(super) fn stands(&self, slot: Key) -> bool {
        self.marks.iter().any(
            |mark| matches!(&mark.kind, MarkKind::Keep { keep, retired: false, .. } if keep.slot == slot),
        )
    }

    fn retire(&mut self, ended: Key) {
        if let Some(index) = self.find_kept(ended)
            && let open = self.marks[index].is_open_ask()
            && let MarkKind::Keep { retired, .. } = &mut self.marks[index].kind
        {
            *retired = true;
            self.asks -= u64::from(open && !self.marks[index].is_open_ask());
        }
    }

    fn find_kept(&self, wanted: Key) -> Option<usize> {
        if self.kept == 0 {
            return None;
        }
        self.marks
            .iter()
            .rposition(|mark| matches!(&mark.kind, MarkKind::Keep { keep, .. } if keep.slot == wanted))
    }

    /// What stands in this slot is over. False: nothing does.
    pub(super) fn end(&mut self, slot: Key) -> bool {
        let found = self.find_kept(slot);
        if let Some(index) = found {
            self.finish(index);
        }
        found.is_some()
    }

    /// An answer has come. `None`: nothing waits for it.
    pub(super) fn answer(&mut self, key: Key) -> Option<Answered> {
        let index = self.marks.iter().skip(self.done).position(|mark| match &mark.kind {
            MarkKind::Ask(asked) => *asked == key,
            MarkKind::Keep { keep, awaits, .. } => *awaits && keep.answer == Some(key),
            MarkKind::Retire { answer, .. } => *answer == Some(key),
            MarkKind::Tell | MarkKind::Once { .. } | MarkKind::Done => false,
        })?;
        let index = self.done + index;
        let open = self.marks[index].is_open_ask();
        match &mut self.marks[index].kind {
            MarkKind::Keep { keep, answered, awaits, .. } => {
                let (slot, again) = (keep.slot, std::mem::replace(answered, true));
                *awaits = false;
                self.asks -= u64::from(open && !self.marks[index].is_open_ask());
                Some(Answered::Record { slot, again })
            }
            MarkKind::Retire { slot, .. } => {
                let slot = *slot;
                self.finish(index);
                self.end_retired(slot, index);
                Some(Answered::Retired { slot })
            }
            _ => {
                self.finish(index);
                Some(Answered::Ask)
            }
        }
    }

    /// A mark has come to its end: it is gone, or stays until its message has left the ring.
    fn finish(&mut self, index: usize) {
        let mark = &mut self.marks[index];
        self.asks -= u64::from(mark.is_open_ask());
        self.kept -= usize::from(matches!(mark.kind, MarkKind::Keep { .. }));
        if let Some(frames) = &mark.frames {
            let bytes = match mark.kind {
                MarkKind::Keep { .. } => &mut self.record_bytes,
                _ => &mut self.ask_bytes,
            };
            *bytes -= frames.len();
            self.marks.remove(index);
        } else {
            mark.kind = MarkKind::Done;
            while self.marks.get(self.done).is_some_and(|mark| matches!(mark.kind, MarkKind::Done)) {
                self.done += 1;
            }
        }
    }

    /// The last place between two units that is not behind `to`.
    pub(super) fn not_within_units(&self, to: (u64, u64)) -> (u64, u64) {
        let cut = self.marks.iter().rev().take_while(|mark| mark.end > to.0).find(|mark| mark.start < to.0);
        cut.map_or(to, |mark| (mark.start, mark.seq - u64::from(mark.messages)))
    }

    /// The ring lets go of everything up to `to`: what is open keeps its frames. Returns slots that are over with that.
    pub(super) fn leave(&mut self, ring: &Ring, to: u64) -> Vec<Key> {
        // What is done goes first, in one step.
        while self.done > 0
            && self.marks.front().is_some_and(|mark| matches!(mark.kind, MarkKind::Done) && mark.end <= to)
        {
            self.marks.pop_front();
            self.done -= 1;
        }
        let mut over = Vec::new();
        let first = self.marks.iter().position(|mark| mark.frames.is_none()).unwrap_or(self.marks.len());
        let mut index = first;
        while let Some(mark) = self.marks.get_mut(index).filter(|mark| mark.end <= to) {
            mark.acked = true;
            let stays = matches!(
                mark.kind,
                MarkKind::Ask(_) | MarkKind::Keep { .. } | MarkKind::Retire { answer: Some(_), .. }
            );
            if stays {
                let frames = ring.copy((mark.start, mark.end));
                match mark.kind {
                    MarkKind::Keep { .. } => self.record_bytes += frames.len(),
                    _ => self.ask_bytes += frames.len(),
                }
                mark.frames = Some(frames);
                index += 1;
                continue;
            }
            let gone = self.marks.remove(index);
            if let Some(MarkKind::Retire { slot, .. }) = gone.map(|mark| mark.kind_taken()) {
                // The backend has read that it ends.
                let before = self.marks.len();
                self.end_retired(slot, index);
                index -= before - self.marks.len();
                if !self.stands(slot) {
                    over.push(slot);
                }
            }
        }
        over
    }

    /// Forgets the oldest asks that have left the ring, until no more are open than may be, nor bytes of them than
    /// `bytes`; returns how many.
    pub(super) fn bound_asks(&mut self, bytes: usize) -> u64 {
        let mut dropped = 0;
        while self.asks > ASKS_MAX || self.ask_bytes > bytes {
            let kept = |mark: &Mark| {
                mark.frames.is_some() && matches!(mark.kind, MarkKind::Ask(_) | MarkKind::Retire { .. })
            };
            let Some(index) = self.marks.iter().position(kept) else { break };
            dropped += 1;
            self.finish(index);
        }
        dropped
    }
}

impl Mark {
    /// What it is, with its frames given up.
    fn kind_taken(mut self) -> MarkKind {
        std::mem::replace(&mut self.kind, MarkKind::Done)
    }
}

#[cfg(debug_assertions)]
impl Marks {
    /// Panics if what is counted is not so.
    pub(super) fn check_invariants(&self) {
        let (mut asks, mut kept, mut bytes, mut before) = (0, 0, 0, (0, true));
        for (index, mark) in self.marks.iter().enumerate() {
            let is_done = matches!(mark.kind, MarkKind::Done);
            assert!(is_done || index >= self.done, "mark {index} of {} is not done", self.done);
            asks += u64::from(mark.is_open_ask());
            kept += usize::from(matches!(mark.kind, MarkKind::Keep { .. }));
            bytes += mark.frames.as_ref().map_or(0, |frames| frames.len());
            let now = (mark.start, mark.frames.is_some());
            assert!(before.0 <= now.0 && before.1 >= now.1, "marks stand in the order of the ring");
            before = now;
        }
        assert_eq!((asks, kept, bytes), (self.asks, self.kept, self.kept_bytes()), "what the marks are");
    }
}
