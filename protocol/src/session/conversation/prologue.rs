//! The next backend hears the conversation: what goes back into the ring when one is left, what is waited for on the next
//! link, and who speaks for a backend while there is none.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Duration;

use steadfast_profiles::{Key, Message};

use crate::buffer::chain::Chain;
use crate::buffer::ring::Ring;
use crate::time::Time;

use super::super::{BackendPhase, ClientPhase, Session};
use super::Conversation;
use super::faults::Fault;
use super::framing::{framed, next_message};
use super::marks::{Mark, MarkKind};
use crate::session::report::{EndCause, Event, Failure};

/// How many next backends may refuse a client in a row that one has taken.
const DENIALS: u32 = 2;

/// Signs of life do not come more often.
const BEATS_MIN: Duration = Duration::from_millis(100);

/// A sign of life of the broker's comes so much later than the one of a backend that is linked would: a fifth.
const LATER: u32 = 5;

/// One connection to a backend, as the conversation sees it.
#[derive(Debug)]
pub(super) struct LinkTalk {
    /// 1 for the first.
    pub(super) number: u32,
    stage: LinkStage,
    /// When there was progress last.
    pub(super) moved: Time,
    /// The backend has said that it goes away, which is to be told.
    pub(super) parting: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinkStage {
    Greeting,
    Prologue,
    Through,
}

impl LinkTalk {
    pub(super) fn first() -> LinkTalk {
        LinkTalk { number: 1, stage: LinkStage::Through, moved: Time::ORIGIN, parting: false }
    }

    fn next(&self, now: Time, greets: bool) -> LinkTalk {
        let stage = if greets { LinkStage::Greeting } else { LinkStage::Prologue };
        LinkTalk { number: self.number.wrapping_add(1).max(2), stage, moved: now, parting: false }
    }

    pub(super) fn is_first(&self) -> bool {
        self.number == 1
    }

    pub(super) fn is_through(&self) -> bool {
        self.stage == LinkStage::Through
    }

    pub(super) fn greeted(&mut self, now: Time) {
        if self.stage == LinkStage::Greeting {
            (self.stage, self.moved) = (LinkStage::Prologue, now);
        }
    }
}

/// What the next backend is to hear.
#[derive(Debug)]
struct Repeated {
    /// Behind which seq it is heard.
    place: u64,
    /// That of its last message.
    seq: u64,
    frames: Box<[u8]>,
    /// A backend was given a part of it, and all.
    begun: bool,
    given: bool,
    mark: Option<Mark>,
}

/// The ring made anew.
#[derive(Debug, Default)]
struct Reseeding {
    items: Vec<Repeated>,
    chain: Chain,
    messages: u64,
    /// The seqs that they had, in order.
    old: Vec<u64>,
    /// The last seq that some backend was given a part of, and the last of those that were counted in doubt by seq.
    written_seq: u64,
    doubted_seq: u64,
    /// The same of these messages, counted from the front, and how many of them some backend has acknowledged.
    written: u64,
    doubted: u64,
    repeats: u64,
    /// Bytes up to the last that was acknowledged.
    acked_bytes: u64,
    in_doubt: u64,
    marks: VecDeque<Mark>,
    /// What the client is told in place of a backend.
    said: Vec<Box<[u8]>>,
}

impl Session {
    /// A backend was left: puts what the next one must hear into the ring, and nothing else. The ring must not have been
    /// rewound. Returns the position up to which a backend had acknowledged all; `None`: nothing is known of what
    /// messages mean.
    pub(in crate::session) fn reseed(&mut self, now: Time) -> Option<u64> {
        let patience = self.reply_patience();
        let counted = self.state.exceptions.as_ref();
        let counted = counted.map_or((0, 0), |counts| (counts.written_seq, counts.doubted_seq));
        let talk = self.state.conversation.as_mut()?;
        talk.machine.left();
        let mut made = talk.made_anew(&self.state.ring, (now, patience), counted);
        let whole = self.state.ring.whole();
        self.state.ring.replace(std::mem::take(&mut made.chain), made.messages);
        talk.settle_anew(&self.state.ring, &made, whole);
        let (base, base_seq) = (self.state.ring.base(), self.state.ring.base_seq());
        for mut mark in std::mem::take(&mut made.marks) {
            (mark.start, mark.end) = (mark.start + base, mark.end + base);
            (mark.seq, mark.place) = (mark.seq + base_seq, mark.place + base_seq);
            talk.marks.push(mark);
        }
        let exceptions = self.exceptions();
        exceptions.in_doubt += made.in_doubt;
        exceptions.written_seq = base_seq + made.written;
        exceptions.doubted_seq = base_seq + made.doubted;
        let renumber = |range: &RangeInclusive<u64>| renumbered(&made.old, base_seq, range);
        exceptions.unread = exceptions.unread.as_ref().and_then(renumber);
        if let Some(guard) = &mut exceptions.poison_guard {
            guard.renumber(renumber);
        }
        for said in made.said {
            self.say_to_client(true, &said);
        }
        Some(base + made.acked_bytes)
    }

    /// The client has ended something while there is no backend: the next one never hears of it.
    pub(super) fn reseed_unheard(&mut self, now: Time) {
        let reached = self.reseed(now);
        self.backend_link.forget_writing(&self.state.ring);
        if let (Some(reached), Some(episode)) = (reached, self.underway.episode_mut()) {
            episode.set_best(reached);
        }
    }

    /// The next backend is linked, and has said nothing yet.
    pub(in crate::session) fn begin_prologue(&mut self, now: Time) {
        let Some(talk) = &mut self.state.conversation else { return };
        talk.link = talk.link.next(now, talk.machine.greets());
        talk.heard_beat = None;
        talk.own_marks_await();
        let repeats = std::mem::take(&mut talk.repeats);
        let exceptions = self.exceptions();
        exceptions.repeated += repeats;
        exceptions.replayed = exceptions.replayed.saturating_sub(repeats);
        self.set_barrier();
    }

    /// Finds how far the present backend may be told the conversation.
    pub(super) fn set_barrier(&mut self) {
        let Some(talk) = &mut self.state.conversation else { return };
        if talk.is_through() {
            return;
        }
        let barrier = match talk.link.stage {
            LinkStage::Greeting => Some(self.state.ring.base()),
            _ if talk.is_at_fault(Fault::NoBarrier) => None,
            _ => talk.first_awaited(),
        };
        if barrier.is_none() {
            talk.link.stage = LinkStage::Through;
        }
        self.backend_link.writer.set_barrier(barrier);
    }

    /// The next backend does not take the client that the one before has taken. Another one may; if not, the client
    /// begins anew, and is not told what this backend has said.
    pub(in crate::session) fn denied(&mut self, now: Time) {
        self.note(Event::Denied);
        let Some(talk) = &mut self.state.conversation else { return };
        talk.denials += 1;
        if talk.denials < DENIALS {
            return self.leave_backend(now, Failure::Denied);
        }
        self.backend_link.deaf = true;
        self.backend_over();
        if matches!(self.state.client, ClientPhase::Open) {
            let code = self.config.codes.reconnect;
            self.dismiss(
                now,
                code,
                "the login is not taken any more; connect again",
                EndCause::Reconnect,
                false,
            );
        } else {
            self.settle(now);
        }
    }

    /// The episode is over: the backend has taken the client, and lasts.
    pub(in crate::session) fn forget_denials(&mut self) {
        if let Some(talk) = &mut self.state.conversation {
            talk.denials = 0;
        }
    }

    // ---- signs of life ----

    /// When the client is to have a sign of life from the broker.
    pub(super) fn beat_at(&self, talk: &Conversation) -> Option<Time> {
        let first = talk.link.is_first() && self.linked();
        let listens = matches!(self.state.client, ClientPhase::Open) && !self.away();
        if first || !listens || self.backend == BackendPhase::Over {
            return None;
        }
        let spoken_for = !(self.linked() && talk.is_through());
        let every = talk.beats_every(spoken_for)?;
        Some(talk.beaten + if spoken_for { every } else { every + every / LATER })
    }

    /// Gives the client a sign of life, when it is due.
    pub(super) fn fill_in(&mut self, now: Time) {
        let Some(talk) = &self.state.conversation else { return };
        if self.beat_at(talk).is_none_or(|at| at > now) {
            return;
        }
        let Some(beat) = talk.machine.fill_in() else { return };
        if let Some(talk) = &mut self.state.conversation {
            (talk.beaten, talk.heard_beat) = (now, None);
            talk.own_beats = talk.own_beats.saturating_add(1);
        }
        self.say_to_client(beat.text, &beat.payload);
    }
}

impl Conversation {
    /// The backend gives a sign of life.
    pub(super) fn note_beat(&mut self, now: Time) {
        if let Some(before) = self.heard_beat.replace(now) {
            let gap = now.since(before).max(BEATS_MIN);
            self.beat_gap = Some(self.beat_gap.map_or(gap, |least| least.min(gap)));
        }
        (self.beaten, self.has_beat) = (now, true);
    }

    /// How often the client is to have a sign of life; `None`: it has had none, and was promised none. `spoken_for`: no
    /// backend gives any.
    fn beats_every(&self, spoken_for: bool) -> Option<Duration> {
        let fill_in = self.machine.fill_in()?;
        match self.beat_gap {
            _ if fill_in.promised => Some(fill_in.every),
            Some(gap) if spoken_for => Some(gap.min(fill_in.every)),
            None if spoken_for => self.has_beat.then_some(fill_in.every),
            gap => gap,
        }
    }

    /// All that the next backend must hear, in the order in which it was said.
    fn made_anew(
        &mut self,
        ring: &Ring,
        (now, patience): (Time, Duration),
        (written_seq, doubted_seq): (u64, u64),
    ) -> Reseeding {
        let mut made = Reseeding { written_seq, doubted_seq, ..Reseeding::default() };
        let mut marks = self.marks.take();
        let over = self.over_with_the_link(&marks, &mut made);
        let stands: Vec<Key> = marks
            .iter()
            .filter_map(|mark| match &mark.kind {
                MarkKind::Keep { keep, retired: false, .. } => Some(keep.slot),
                _ => None,
            })
            .collect();
        let (mut at, mut seq) = (ring.base(), ring.base_seq());
        let sent = ring.sent();
        while let Some(mut mark) = marks.pop_front() {
            if mark.frames.is_none() && mark.start < at {
                // The end of a session lets go of everything.
                continue;
            }
            if mark.frames.is_none() {
                made.add_told(ring, (at, seq), mark.start);
                (at, seq) = (mark.end, mark.seq);
            }
            let (given, begun) =
                (mark.frames.is_some() || mark.end <= sent, mark.frames.is_some() || mark.start < sent);
            let too_old = matches!(mark.kind, MarkKind::Ask(_)) && given && mark.said + patience <= now;
            let falls_out = match &mark.kind {
                MarkKind::Done => !self.is_at_fault(Fault::AnsweredAsks),
                MarkKind::Once { .. } => true,
                MarkKind::Keep { keep, retired, .. } => *retired && over.contains(&keep.slot),
                MarkKind::Retire { .. } => {
                    mark.ends_in_silence() && !self.is_at_fault(Fault::EndsWithoutRecord)
                }
                MarkKind::Tell | MarkKind::Ask(_) => false,
            };
            let asks = match &mark.kind {
                MarkKind::Keep { keep, answered, retired, .. } => {
                    (keep.answer.is_some() && !answered) || (keep.awaited && !retired)
                }
                MarkKind::Retire { answer, .. } => answer.is_some(),
                MarkKind::Tell | MarkKind::Ask(_) => true,
                MarkKind::Once { .. } | MarkKind::Done => false,
            };
            made.in_doubt += u64::from(asks && given && !falls_out);
            if let MarkKind::Once { answer } = &mut mark.kind
                && !given
            {
                made.said.extend(answer.take());
            }
            if falls_out || too_old {
                if let MarkKind::Keep { keep, .. } = &mark.kind
                    && !stands.contains(&keep.slot)
                {
                    self.machine.forget(keep.slot);
                }
                continue;
            }
            let frames = mark.frames.take().unwrap_or_else(|| ring.copy((mark.start, mark.end)));
            let frames = self.said_again(&mark, frames);
            made.items.push(Repeated {
                place: mark.place,
                seq: mark.seq,
                frames,
                begun,
                given,
                mark: Some(mark),
            });
        }
        made.add_told(ring, (at, seq), ring.whole());
        made.settle();
        made
    }

    /// Slots of records that the client has ended, where the next backend needs to hear of neither: it has never heard of
    /// the record.
    fn over_with_the_link(&self, marks: &VecDeque<Mark>, made: &mut Reseeding) -> Vec<Key> {
        let mut over = Vec::new();
        for mark in marks.iter().filter(|mark| mark.ends_in_silence()) {
            if let MarkKind::Retire { slot, done, .. } = &mark.kind {
                over.push(*slot);
                made.said.extend(done.clone());
            }
        }
        over
    }

    /// A record's frames as the next backend is to get them.
    fn said_again(&mut self, mark: &Mark, frames: Box<[u8]>) -> Box<[u8]> {
        let MarkKind::Keep { keep, .. } = &mark.kind else { return frames };
        let Some(found) = next_message(&frames, 0, usize::MAX) else { return frames };
        let message = Message { text: found.text, payload: &found.payload, whole: true };
        match self.machine.repeat(keep.slot, message) {
            Some(other) => framed(found.text, &other, found.mask).into(),
            None => frames,
        }
    }

    /// The ring is another: what is known of places in it follows.
    fn settle_anew(&mut self, ring: &Ring, made: &Reseeding, old_whole: u64) {
        let open = self.judged.0.saturating_sub(old_whole);
        self.judged =
            (ring.whole() + open, ring.whole_seq() + self.unit.map_or(0, |(_, _, messages)| messages));
        if let Some((start, before, _)) = &mut self.unit {
            (*start, *before) = (ring.whole(), ring.whole_seq());
        }
        self.held.clear();
        self.repeats = made.repeats;
    }

    /// Every record of the ring that has an answer is to be answered on this link.
    fn own_marks_await(&mut self) {
        for mark in self.marks.iter_mut() {
            if let MarkKind::Keep { keep, awaits, .. } = &mut mark.kind {
                *awaits = keep.answer.is_some();
            }
        }
    }

    /// Where the first record ends whose answer is waited for.
    fn first_awaited(&self) -> Option<u64> {
        let waits =
            |mark: &&Mark| matches!(&mark.kind, MarkKind::Keep { keep, awaits: true, .. } if keep.waits);
        self.marks.iter().find(waits).map(|mark| mark.end)
    }
}

/// The seqs that messages have by now, of those that had these; `None`: none of them is there.
fn renumbered(old: &[u64], base_seq: u64, range: &RangeInclusive<u64>) -> Option<RangeInclusive<u64>> {
    let within = |seq: &u64| range.contains(seq);
    let (first, last) = (old.iter().position(within)?, old.iter().rposition(within)?);
    Some(base_seq + first as u64 + 1..=base_seq + last as u64 + 1)
}

impl Reseeding {
    /// Adds messages without marks that stand between two places.
    fn add_told(&mut self, ring: &Ring, from: (u64, u64), to: u64) {
        let (mut start, sent) = (from.0, ring.sent());
        for (end, seq) in ring.messages_after(from.0, from.1).take_while(|(end, _)| *end <= to) {
            let frames = ring.copy((start, end));
            let (begun, given) = (start < sent, end <= sent);
            self.items.push(Repeated { place: seq, seq, frames, begun, given, mark: None });
            start = end;
        }
    }

    /// Brings all into order. The places of marks are counted from the front until the ring is there.
    fn settle(&mut self) {
        let mut items = std::mem::take(&mut self.items);
        items.sort_by_key(|item| item.place);
        for Repeated { seq, frames, begun, given, mark, .. } in items {
            let start = self.chain.len() as u64;
            self.chain.push(&frames);
            let end = self.chain.len() as u64;
            let messages = mark.as_ref().map_or(1, |mark| u64::from(mark.messages));
            self.old.extend((0..messages).map(|index| seq + 1 + index - messages));
            self.messages += messages;
            if begun || seq <= self.written_seq {
                self.written = self.messages;
            }
            let Some(mut mark) = mark else {
                self.in_doubt += u64::from(given && seq > self.doubted_seq);
                if given || seq <= self.doubted_seq {
                    self.doubted = self.messages;
                }
                continue;
            };
            (mark.start, mark.end, mark.seq, mark.place) = (start, end, self.messages, self.messages);
            if mark.acked {
                (self.repeats, self.acked_bytes) = (self.repeats + messages, end);
            }
            self.marks.push_back(mark);
        }
    }
}
