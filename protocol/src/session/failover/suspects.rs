//! The session's part of the guard against messages that kill every backend they reach: which of them are suspects, and
//! one at a time for these. Who else was there when a backend died, the driver knows.
//!
//! ```text
//!                 handle_turn_awaited           handle_linked              a pong
//!   Dialing --.  (its deadline is put off)  .--------------> (one ping) ----------> one message at a time
//!      |  ^   '-----------------------------'                                          |
//!      |  '------------------------------------- another failure ----------------------'
//!      '--> Over: handle_convicted, when one was there at `convictions` deaths, and alone at all but one
//! ```

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use super::super::{BackendPhase, Session};
use crate::session::report::{Command, Event, Failure};
use crate::time::Time;

/// A session some of whose messages may be killers.
#[derive(Debug, Default)]
pub(in crate::session) struct PoisonGuard {
    deaths: VecDeque<Death>,
    /// Messages up to this seq are replayed one at a time.
    until_seq: Option<u64>,
    /// The one that was there alone at the last death, and at all but one of as many as convict.
    accused: Option<u64>,
}

/// A backend has failed with messages that it had been given and had not acknowledged.
#[derive(Debug)]
struct Death {
    at: Time,
    messages: RangeInclusive<u64>,
}

impl PoisonGuard {
    /// Messages have other seqs by now, or are gone.
    pub(in crate::session) fn renumber(
        &mut self,
        renumbered: impl Fn(&RangeInclusive<u64>) -> Option<RangeInclusive<u64>>,
    ) {
        self.deaths.retain_mut(|death| match renumbered(&death.messages) {
            Some(messages) => {
                death.messages = messages;
                true
            }
            None => false,
        });
        let one = |seq: u64| renumbered(&(seq..=seq)).map(|range| *range.start());
        self.until_seq = self.until_seq.and_then(|until| renumbered(&(0..=until))).map(|range| *range.end());
        self.accused = self.accused.and_then(one);
    }

    /// Suspects stay so; when they have killed is known no more.
    pub(in crate::session) fn forget_times(&mut self) {
        self.deaths.clear();
        self.accused = None;
    }
}

impl Session {
    /// Counts a death against the messages that were fully written and not acknowledged. One that was there alone
    /// is accused, when it has met enough.
    pub(super) fn suspect(&mut self, now: Time, failure: Failure) {
        let Some(messages) = self.unread_range().filter(|_| failure.is_death()) else { return };
        let (first, last) = (*messages.start(), *messages.end());
        let (window, suspicious) = (self.config.poison_window, (self.config.poison_deaths as usize).max(1));
        let convicting = (self.config.poison_convictions as usize).max(1);
        let poison_guard = self.exceptions().poison_guard.get_or_insert_default();
        poison_guard.deaths.retain(|death| now.since(death.at) < window);
        if poison_guard.deaths.len() >= suspicious.max(convicting) {
            poison_guard.deaths.pop_front();
        }
        poison_guard.deaths.push_back(Death { at: now, messages });
        let alone = poison_guard.until_seq.is_some() && first == last;
        let met = poison_guard.deaths.iter().filter(|death| death.messages.contains(&first)).count();
        let met_alone = poison_guard.deaths.iter().filter(|death| death.messages == (first..=first)).count();
        // While suspects go one at a time, every death meets one that is alone. Twice the same one is no chance.
        let is_accused = alone && met >= convicting && met_alone + 1 >= convicting;
        poison_guard.accused = is_accused.then_some(first);
        if poison_guard.deaths.len() >= suspicious {
            poison_guard.until_seq = poison_guard.until_seq.max(Some(last));
        }
    }

    fn note_poison(&mut self, seq: u64) {
        let ring = &self.state.ring;
        let ends = |wanted: u64| ring.messages().find(|(_, seq)| *seq == wanted).map(|(end, _)| end);
        let begin = ends(seq - 1).unwrap_or(ring.base());
        let bytes = ends(seq).unwrap_or(begin) - begin;
        self.note(Event::Poison { seq, bytes });
    }

    /// Nobody else can have killed the backends that the accused message has met, in answer to [`Command::Dial`]: the
    /// session ends.
    pub fn handle_convicted(&mut self, now: Time) {
        if self.backend == BackendPhase::Dialing
            && let Some(seq) = self.accused()
        {
            self.backend = BackendPhase::Waiting { at: None };
            self.note_poison(seq);
            self.convicted(now);
        }
    }

    /// The dial waits for the session's turn: its deadline does not run meanwhile, only the longest time that a
    /// failover may take.
    pub fn handle_turn_awaited(&mut self, now: Time) {
        let deadline = now + self.config.deadline;
        if self.backend == BackendPhase::Dialing
            && self.suspected()
            && let Some(episode) = self.underway.episode_mut()
        {
            episode.deadline = deadline;
        }
    }

    fn poison_guard(&mut self) -> Option<&mut PoisonGuard> {
        self.state.exceptions.as_mut().and_then(|e| e.poison_guard.as_mut())
    }

    fn suspects_until(&self) -> Option<u64> {
        self.state
            .exceptions
            .as_ref()
            .and_then(|e| e.poison_guard.as_ref())
            .and_then(|poison_guard| poison_guard.until_seq)
    }

    pub(super) fn accused(&self) -> Option<u64> {
        self.state.exceptions.as_ref()?.poison_guard.as_ref()?.accused
    }

    /// A backend that may be given a killer first shows with a pong that it works: one that fails all the same has not
    /// died of a message.
    #[inline]
    pub(in crate::session) fn wants_first_pong(&self) -> bool {
        self.backend == BackendPhase::Linked && self.suspected() && !self.backend_link.writer.has_ponged()
    }

    /// One message at a time, since some may be killers.
    pub(in crate::session) fn suspected(&self) -> bool {
        self.suspects_until().is_some()
    }

    /// The backend answers no pings, so suspects cannot be cleared one by one.
    pub(in crate::session) fn suspects_unjudged(&mut self) {
        if self.poison_guard().is_some_and(|poison_guard| poison_guard.until_seq.take().is_some()) {
            self.backend_link.writer.one_at_a_time(&self.state.ring, false);
            self.ask(Command::ReleaseTurn);
        }
    }

    /// After a pong: the next suspect may go, or all are cleared.
    #[inline]
    pub(in crate::session) fn suspects_acknowledged(&mut self) {
        if let Some(until) = self.suspects_until() {
            self.next_suspect(until);
        }
    }

    fn next_suspect(&mut self, until: u64) {
        let cleared = self.backend_link.writer.acked_seq(&self.state.ring) >= until;
        if cleared && let Some(poison_guard) = self.poison_guard() {
            (poison_guard.until_seq, poison_guard.accused) = (None, None);
            self.ask(Command::ReleaseTurn);
        }
        if !cleared && !self.backend_link.writer.has_ponged() {
            return self.backend_link.writer.hold_all(&self.state.ring);
        }
        self.backend_link.writer.one_at_a_time(&self.state.ring, !cleared);
    }
}
