//! The conversation of a session whose protocol is known: what the next backend must hear again, what it answers
//! that the client has had, and what must not reach it.
//!
//! ```text
//!   one link                      linked                      greeted                     all awaited answers are there
//!   (no backend) --------------------------> Greeting ------------------> Prologue ----------------------------> Through
//!                                              |  nothing is written         |  written up to the first record      |
//!                                              |                             |  whose answer is awaited             |
//!                                              '-- profiles without a greeting begin here                           |
//!        ^                                                                                                          |
//!        '------- the backend fails, is left, refuses (twice: the client is closed), or makes no progress ----------'
//!
//!   one mark                                          answered, or over
//!   Ask, Keep, Retire in the ring -------------------------------------------------> Done, in the ring ---- a pong ----.
//!        |                                                                                                           v
//!        | a pong: the ring lets it go, and its bytes stay with its mark     answered, or over                     gone
//!        '--------------------------------------> Ask, Keep, Retire kept -------------------------------------------^
//! ```
//!
//! The first link is Through from the beginning: the client itself waits for what it must.
//!
//! **Marks** lie beside the ring, in its order: one for each message that is more than told. What is told is done when a
//! pong has come, as without a profile, and has no mark.
//!
//! **When a backend is left** the ring is made anew (`prologue`): what is kept and open goes back to its front, in the
//! order in which the client said it; what was answered, and what only that backend could understand, falls out. So the
//! next backend hears what a fresh client would say that asks for what is open, by the one way there is: with pings,
//! within the window, and one suspect at a time.
//!
//! **Units.** Some protocols say one thing in several messages. Upstream the ring counts them as whole when the last is
//! there, and keeps all or none; downstream the client gets all or none.

mod down;
mod faults;
mod framing;
mod marks;
mod prologue;
mod up;

use std::collections::VecDeque;
use std::time::Duration;

use steadfast_profiles::{Key, Machine};

use crate::buffer::ring::Ring;
use crate::time::Time;

use super::report::{Event, Failure};
use super::{BackendPhase, Session};
#[cfg(test)]
pub(super) use faults::Fault;
use marks::Marks;
use prologue::LinkTalk;

/// What backends have asked and the client has not replied to, at the most; what is more is not told apart.
const OWED_MAX: usize = 1024;

/// What is acknowledged waits for the end of `ack_hold` in so many steps at the most.
const HOLD_STEPS: usize = 64;

/// The conversation of one session.
#[derive(Debug)]
pub(super) struct Conversation {
    machine: Machine,
    marks: Marks,
    link: LinkTalk,
    /// Where the ring's messages were looked at up to, and the seq of the last of them.
    judged: (u64, u64),
    /// Where the client's unit begins that has no end yet, the seq before it, and how many messages it has.
    unit: Option<(u64, u64, u64)>,
    /// The backend's unit that has no end yet, and how many bytes and messages of it were looked at.
    open: Vec<u8>,
    looked: usize,
    open_messages: u32,
    /// What backends have asked, by which link, and when.
    owed: VecDeque<(Key, u32, Time)>,
    /// Signs of life that the broker has asked for, and that are to come.
    own_beats: u32,
    /// When the client had the last sign of life.
    beaten: Time,
    /// When the present backend has given one last, and the shortest time between two of a backend's.
    heard_beat: Option<Time>,
    beat_gap: Option<Duration>,
    /// The client has had one at all.
    has_beat: bool,
    /// What is acknowledged and held: until when, and up to where.
    held: VecDeque<(Time, u64, u64)>,
    /// Links in a row that did not take the client.
    denials: u32,
    /// Messages of the ring that a pong had acknowledged before they came back into it.
    repeats: u64,
    #[cfg(test)]
    pub(super) fault: Option<Fault>,
}

impl Conversation {
    pub(super) fn new(machine: Machine, now: Time) -> Conversation {
        Conversation {
            machine,
            marks: Marks::default(),
            link: LinkTalk::first(),
            judged: (0, 0),
            unit: None,
            open: Vec::new(),
            looked: 0,
            open_messages: 0,
            owed: VecDeque::new(),
            own_beats: 0,
            beaten: now,
            heard_beat: None,
            beat_gap: None,
            has_beat: false,
            held: VecDeque::new(),
            denials: 0,
            repeats: 0,
            #[cfg(test)]
            fault: None,
        }
    }

    /// Bytes that it keeps of both directions.
    pub(super) fn buffered(&self) -> usize {
        self.marks.kept_bytes() + self.open.len()
    }

    /// Bytes of the backend's unit that has no end yet.
    pub(super) fn opened(&self) -> usize {
        self.open.len()
    }

    /// Room for payload bytes of the backend's open message that need no scanning.
    pub(super) fn tail(&mut self, want: u64) -> &mut Vec<u8> {
        self.open.reserve(usize::try_from(want).unwrap_or(usize::MAX).min(crate::buffer::chain::CHUNK));
        &mut self.open
    }

    /// Nothing more of the client's may be looked at before the backend has acknowledged some.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.marks.are_full()
    }

    /// Everything that is to be repeated was, and was answered.
    pub(super) fn is_through(&self) -> bool {
        self.link.is_through()
    }

    /// The client is in the middle of what it says in several messages.
    pub(super) fn in_unit(&self) -> bool {
        self.unit.is_some()
    }

    /// What the client has begun is not there any more.
    pub(super) fn drop_open(&mut self) {
        if let Some((start, before, _)) = self.unit.take() {
            self.judged = (start, before);
        }
    }

    /// Takes the bytes of everything that is open and leaves the ring up to a position, behind message `seq`; returns
    /// how far it may be let go of: never within a unit.
    fn take_out(&mut self, ring: &Ring, to: (u64, u64)) -> (u64, u64) {
        let to = self.marks.not_within_units(to);
        for slot in self.marks.leave(ring, to.0) {
            self.machine.forget(slot);
        }
        to
    }
}

#[cfg(debug_assertions)]
impl Conversation {
    /// Panics if something does not hold that does at any time.
    pub(super) fn check_invariants(&self) {
        self.marks.check_invariants();
        assert!(
            self.looked <= self.open.len(),
            "{} of {} bytes were looked at",
            self.looked,
            self.open.len()
        );
        assert!(self.owed.len() <= OWED_MAX && self.held.len() <= HOLD_STEPS, "there are bounds");
    }
}

impl Session {
    /// What the client says is known to mean something.
    #[inline]
    pub(super) fn converses(&self) -> bool {
        self.state.conversation.is_some()
    }

    /// The next backend is told again what makes the conversation.
    pub(super) fn in_prologue(&self) -> bool {
        let talk = self.state.conversation.as_ref();
        self.backend == BackendPhase::Linked && talk.is_some_and(|talk| !talk.is_through())
    }

    /// How many asks of the client, and of the backend, are not answered, as far as answers are to be expected. `None`:
    /// nobody knows what is one.
    pub(super) fn open_asks(&self, now: Time) -> Option<u64> {
        let talk = self.state.conversation.as_ref()?;
        let patience = self.reply_patience();
        let is_due = |(_, link, at): &&(Key, u32, Time)| *link == talk.link.number && *at + patience > now;
        let owed = talk.owed.iter().filter(is_due).count() as u64;
        Some(talk.marks.open_asks(now, patience) + owed)
    }

    /// How long an ask may wait for its answer.
    fn reply_patience(&self) -> Duration {
        self.config.reply_timeout.max(self.config.stall_timeout)
    }

    /// The ring lets go of what the backend has acknowledged, unless it is to be said again.
    pub(super) fn release_conversed(&mut self, now: Time) {
        let writer = &self.backend_link.writer;
        let acked = (writer.acked(&self.state.ring), writer.acked_seq(&self.state.ring));
        let Some(talk) = &mut self.state.conversation else { return };
        if acked.0 <= self.state.ring.base() {
            return;
        }
        talk.link.moved = now;
        if self.config.ack_hold.is_zero() {
            return self.let_go(now, acked);
        }
        // A full queue merges: what came before waits a little longer, never shorter.
        if talk.held.len() == HOLD_STEPS {
            talk.held.pop_back();
        }
        talk.held.push_back((now + self.config.ack_hold, acked.0, acked.1));
    }

    fn let_go(&mut self, now: Time, to: (u64, u64)) {
        let Some(talk) = &mut self.state.conversation else { return };
        if to.0 <= self.state.ring.base() {
            return;
        }
        let to = talk.take_out(&self.state.ring, to);
        self.state.ring.release(to.0, to.1);
        self.bound_records(now);
    }

    /// Nothing grows without a bound: too much that is kept makes the session one that begins anew, and asks that are
    /// too many or too large are in doubt, the oldest first.
    fn bound_records(&mut self, now: Time) {
        let (most, ring_limit) = (self.config.profile_records, self.config.ring_limit);
        let unit_most = u64::from(self.config.message_limit).max(ring_limit as u64);
        let Some(talk) = &mut self.state.conversation else { return };
        let dropped = talk.marks.bound_asks(ring_limit);
        let full = talk.marks.records_full(most);
        let unit =
            talk.unit.map_or(0, |(start, ..)| self.state.ring.end() - start).max(talk.open.len() as u64);
        if dropped > 0 {
            self.exceptions().in_doubt += dropped;
        }
        if full {
            self.cannot_be_saved(now, "its logins and subscriptions take more than profile_records");
        } else if unit > unit_most {
            self.cannot_be_saved(now, "what is one thing in several messages takes more than a message may");
        }
    }

    /// The conversation cannot be repeated: the session goes on, and its client begins anew when the backend is left. If
    /// one was left already, and the next does not know the client yet, it begins anew at once.
    fn cannot_be_saved(&mut self, now: Time, reason: &'static str) {
        let repeats = self.in_prologue();
        let Some(talk) = self.state.conversation.take() else { return };
        let talk = *talk;
        if let Some((_, _, messages)) = talk.unit
            && self.state.ring.whole_seq() < talk.judged.1
        {
            // Its messages stand by themselves from now on.
            self.state.ring.reopen(talk.judged.0, self.state.ring.whole_seq() + messages);
        }
        if talk.looked > 0 && self.client_hears() {
            self.pass_down(&talk.open[..talk.looked], talk.open_messages, &mut |_| 0);
        }
        if talk.looked < talk.open.len() && self.client_hears() {
            self.pass_open(&talk.open[talk.looked..]);
        }
        self.backend_link.writer.set_barrier(None);
        self.state.begins_anew = true;
        self.note(Event::Unsaveable(reason));
        if repeats {
            self.leave_backend(now, Failure::Prologue);
        } else if matches!(self.backend, BackendPhase::Waiting { .. } | BackendPhase::Dialing) {
            self.orphan(now, Failure::Prologue);
        }
    }

    /// When [`Session::expire_conversation`] has something to do.
    #[inline]
    pub(super) fn conversation_at(&self) -> Option<Time> {
        self.state.conversation.as_ref().and_then(|talk| self.talk_at(talk))
    }

    fn talk_at(&self, talk: &Conversation) -> Option<Time> {
        let prologue = self.in_prologue().then(|| talk.link.moved + self.config.prologue_timeout);
        let held = talk.held.front().map(|(until, ..)| *until);
        [prologue, held, self.beat_at(talk)].into_iter().flatten().min()
    }

    /// Does what time has brought about.
    pub(super) fn expire_conversation(&mut self, now: Time) {
        while let Some(talk) = &mut self.state.conversation
            && let Some((_, at, seq)) = talk.held.pop_front_if(|(until, ..)| *until <= now)
        {
            self.let_go(now, (at, seq));
        }
        self.fill_in(now);
        let late =
            self.state.conversation.as_ref().map(|talk| talk.link.moved + self.config.prologue_timeout);
        if self.in_prologue() && late.is_some_and(|late| late <= now) {
            self.leave_backend(now, Failure::Prologue);
        }
    }
}
