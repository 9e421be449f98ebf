//! What the client says: each of its messages is looked at once, when it has become whole.

use std::cell::Cell;

use steadfast_profiles::{HEAD, Key, Message, Up, Words};

use crate::buffer::ring::Ring;
use crate::time::Time;
use crate::websocket::frame::{Opcode, data_frame};

use super::super::Session;
use super::Conversation;
use super::faults::Fault;
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

/// A message of the ring's: where it is, its seq, and whether it is text.
#[derive(Debug, Clone, Copy)]
struct Whereabouts {
    start: u64,
    end: u64,
    seq: u64,
    text: bool,
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
            let opcode = if text { Opcode::Text } else { Opcode::Binary };
            let frame = data_frame(opcode, payload, None);
            self.pass_down(&frame, 1, &mut |_| 0);
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
            let (end, seq) = (found.end, self.judged.1 + 1);
            // Most of what is told is known by its first bytes.
            let text = found.first.opcode == Opcode::Text;
            if self.unit.is_none() && self.machine.tells(text, ring.head(&found, &mut [0; HEAD])) {
                self.judged = (end, seq);
                continue;
            }
            let mut scratch = SCRATCH.take();
            let span = (self.judged.0, end);
            let (text, whole) = ring.payload_of(&found, self.machine.window(), &mut scratch);
            let place = Whereabouts { start: span.0, end, seq, text };
            let looked_at = scratch.len();
            let mut words = Words::default();
            let message = Message { text, payload: &scratch, whole };
            let verdict = self.machine.up(message, &mut words);
            self.take(ring, (now, linked), (place, looked_at), (verdict, words), &mut heard);
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

    fn take(
        &mut self,
        ring: &mut Ring,
        (now, linked): (Time, bool),
        (place, looked_at): (Whereabouts, usize),
        (verdict, mut words): (Up, Words),
        heard: &mut Heard,
    ) {
        let mut end = place.end;
        if let Some(instead) = words.instead.take() {
            end = put_instead(ring, place, instead, looked_at);
        }
        self.judged = (end, place.seq);
        let (start, before, messages) = self.unit.unwrap_or((place.start, place.seq - 1, 0));
        let messages = messages + 1;
        if verdict == Up::More && !self.is_at_fault(Fault::NoUnits) {
            self.unit = Some((start, before, messages));
            return;
        }
        self.unit = None;
        let drop = |talk: &mut Conversation, ring: &mut Ring| {
            ring.splice((start, end), &[], messages);
            talk.judged = (start, before);
        };
        let kind = match verdict {
            Up::Tell | Up::More => MarkKind::Tell,
            Up::Ask(key) => MarkKind::Ask(key),
            Up::Keep(keep) => {
                MarkKind::Keep { keep, answered: false, awaits: keep.answer.is_some(), retired: false }
            }
            // Whatever this ends, the present backend has never heard of it, or has ended it itself.
            Up::Retire { slot, answer }
                if !self.link.is_first()
                    && (answer.is_none() || words.answer.is_some())
                    && !self.marks.stands(slot) =>
            {
                heard.withheld += 1;
                heard.answers.extend(words.answer);
                return drop(self, ring);
            }
            Up::Retire { slot, answer } => {
                MarkKind::Retire { slot, answer, done: words.answer.map(Vec::into_boxed_slice) }
            }
            Up::Reply(key) if self.is_stale(key, linked) => {
                heard.withheld += 1;
                return drop(self, ring);
            }
            Up::Reply(_) => MarkKind::Once { answer: None },
            Up::Beat if !self.beat_passes(linked, words.answer.is_some()) => {
                heard.withheld += 1;
                heard.answers.extend(words.answer);
                return drop(self, ring);
            }
            Up::Beat => MarkKind::Once { answer: words.answer.map(Vec::into_boxed_slice) },
            Up::Unsaveable(reason) => {
                heard.unsaveable = Some(reason);
                return;
            }
        };
        if matches!(kind, MarkKind::Tell) && messages == 1 {
            return;
        }
        let messages = u32::try_from(messages).unwrap_or(u32::MAX);
        let mark = Mark {
            kind,
            start,
            end,
            seq: place.seq,
            place: place.seq,
            messages,
            said: now,
            frames: None,
            acked: false,
        };
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
fn put_instead(ring: &mut Ring, place: Whereabouts, mut instead: Vec<u8>, looked_at: usize) -> u64 {
    let (mut all, span) = (Vec::new(), (place.start, place.end));
    ring.payload(span, usize::MAX, &mut all);
    instead.extend_from_slice(all.get(looked_at..).unwrap_or_default());
    let opcode = if place.text { Opcode::Text } else { Opcode::Binary };
    let frame = data_frame(opcode, &instead, Some(ring.mask_at(place.start)));
    ring.splice(span, &frame, 0);
    place.start + frame.len() as u64
}
