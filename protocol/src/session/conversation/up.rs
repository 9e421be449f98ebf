//! What the client says: each of its messages is looked at once, when it has become whole.

use std::cell::Cell;

use steadfast_profiles::{HEAD, Key, Message, Up, Words};

use crate::buffer::ring::{Ring, RingMessage};
use crate::time::Time;
use crate::websocket::frame::Opcode;

use super::super::Session;
use super::Conversation;
use super::faults::Fault;
use super::framing::framed;
use super::marks::{Mark, MarkKind};

/// Bytes that a thread keeps for the next payload.
const SCRATCH_MAX: usize = 4096;

thread_local! {
    /// A payload that is looked at.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What has come of a look.
#[derive(Debug, Default)]
struct Heard {
    /// What the client is told by the broker.
    answers: Vec<Vec<u8>>,
    /// Messages that go nowhere.
    withheld: u64,
    /// Something that stands is ended, and who has not heard of it need not hear of that.
    retired: bool,
    /// Why the conversation cannot be repeated.
    unsaveable: Option<&'static str>,
}

impl Session {
    /// Looks at what has come of the client's messages.
    pub(in crate::session) fn converse_up(&mut self, now: Time) {
        let linked = self.linked();
        let Some(talk) = &mut self.state.conversation else { return };
        let heard = talk.hear_client(&mut self.state.ring, now, linked);
        if heard.retired && !linked {
            self.reseed_unheard(now);
        }
        if heard.withheld > 0 {
            self.exceptions().withheld += heard.withheld;
        }
        for answer in heard.answers {
            self.say_to_client(true, &answer);
        }
        match heard.unsaveable {
            Some(reason) => self.cannot_be_saved(now, reason),
            None => self.bound_records(now),
        }
    }

    /// Says a message of the broker's own to the client.
    pub(super) fn say_to_client(&mut self, text: bool, payload: &[u8]) {
        if self.client_hears() {
            self.pass_down(&framed(text, payload, None), 1, &mut |_| 0);
        }
    }
}

impl Conversation {
    fn hear_client(&mut self, ring: &mut Ring, now: Time, linked: bool) -> Heard {
        let mut heard = Heard::default();
        if self.judged.0 < ring.base() {
            self.judged = (ring.base(), ring.base_seq());
        }
        if let Some((start, _, messages)) = self.unit {
            match ring.whole() > start {
                true => ring.count_reopened(messages),
                // Nothing more is whole, and what was is open.
                false => return heard,
            }
        }
        while let Some(found) = ring.message_after(self.judged.0) {
            let (seq, text) = (self.judged.1 + 1, found.first.opcode == Opcode::Text);
            // Most of what is told is known by its first bytes.
            if self.unit.is_none() && self.machine.tells(text, ring.head(&found, &mut [0; HEAD])) {
                self.judged = (found.end, seq);
                continue;
            }
            let mut scratch = SCRATCH.take();
            let whole = ring.payload(&found, self.machine.window(), &mut scratch);
            let mut words = Words::default();
            let verdict = self.machine.up(Message { text, payload: &scratch, whole }, &mut words);
            let end = match words.instead.take() {
                Some(instead) => put_instead(ring, &found, instead, scratch.len()),
                None => found.end,
            };
            self.judged = (end, seq);
            self.take(ring, (now, linked), (found.start, verdict, words.answer), &mut heard);
            scratch.clear();
            scratch.shrink_to(SCRATCH_MAX);
            SCRATCH.set(scratch);
            if heard.unsaveable.is_some() {
                break;
            }
        }
        if let Some((start, before, _)) = self.unit {
            ring.reopen(start, before);
        }
        heard
    }

    /// Does what a verdict says of the message that was judged last, which begins at `start`.
    fn take(
        &mut self,
        ring: &mut Ring,
        (now, linked): (Time, bool),
        (start, verdict, answer): (u64, Up, Option<Vec<u8>>),
        heard: &mut Heard,
    ) {
        let (end, seq) = self.judged;
        let (start, before, messages) = self.unit.unwrap_or((start, seq - 1, 0));
        let unit = (start, before, messages + 1);
        if verdict == Up::More && !self.is_at_fault(Fault::NoUnits) {
            self.unit = Some(unit);
            return;
        }
        self.unit = None;
        let goes_nowhere = match verdict {
            // Whatever this ends, the present backend has never heard of it, or has ended it itself.
            Up::Retire { slot, answer: awaited } => {
                let in_silence = awaited.is_none() || answer.is_some();
                in_silence && !self.link.is_first() && !self.marks.stands(slot)
            }
            Up::Reply(key) => self.is_stale(key, linked),
            Up::Beat => !self.beat_passes(linked, answer.is_some()),
            _ => false,
        };
        if goes_nowhere {
            heard.withheld += 1;
            heard.answers.extend(answer);
            ring.splice((start, end), &[], unit.2);
            self.judged = (start, before);
            return;
        }
        let answer = answer.map(Vec::into_boxed_slice);
        let kind = match verdict {
            Up::Tell | Up::More if unit.2 == 1 => return,
            Up::Tell | Up::More => MarkKind::Tell,
            Up::Ask(key) => MarkKind::Ask(key),
            Up::Keep(keep) => {
                MarkKind::Keep { keep, answered: false, awaits: keep.answer.is_some(), retired: false }
            }
            Up::Retire { slot, answer: awaited } => MarkKind::Retire { slot, answer: awaited, done: answer },
            Up::Reply(_) | Up::Beat => MarkKind::Once { answer },
            Up::Unsaveable(reason) => {
                heard.unsaveable = Some(reason);
                return;
            }
        };
        let messages = u32::try_from(unit.2).unwrap_or(u32::MAX);
        let mark =
            Mark { kind, start, end, seq, place: seq, messages, said: now, frames: None, acked: false };
        heard.retired |= mark.ends_in_silence();
        self.marks.push(mark);
    }

    /// A reply is to what an earlier backend has asked, or one that is gone.
    fn is_stale(&mut self, key: Key, linked: bool) -> bool {
        let Some(index) = self.owed.iter().position(|(owed, ..)| *owed == key) else { return false };
        let link = self.owed.remove(index).map(|(_, link, _)| link);
        (!linked || link != Some(self.link.number)) && !self.is_at_fault(Fault::StaleReplies)
    }

    /// A sign of life is for the backend: it is not the answer to one of the broker's, nor does the broker answer it.
    fn beat_passes(&mut self, linked: bool, answered_here: bool) -> bool {
        if self.own_beats > 0 && !answered_here {
            self.own_beats -= 1;
            return false;
        }
        linked && (self.is_through() || !answered_here)
    }
}

/// Puts another payload in the place of what was looked at of a message's, `looked_at` bytes, and returns where that ends.
fn put_instead(ring: &mut Ring, found: &RingMessage, mut instead: Vec<u8>, looked_at: usize) -> u64 {
    let mut all = Vec::new();
    ring.payload(found, usize::MAX, &mut all);
    instead.extend_from_slice(all.get(looked_at..).unwrap_or_default());
    let frame = framed(found.first.opcode == Opcode::Text, &instead, found.first.mask);
    ring.splice((found.start, found.end), &frame, 0);
    found.start + frame.len() as u64
}
