//! Leaving a backend that failed and taking the next: back-off, replay and deadline. `suspects` guards against messages
//! that kill every backend they reach, `words` knows what clients are told.
//!
//! ```text
//!              leave_backend            plan_dial          take_dial
//!   Linked ------------------> Waiting ----------> (at) --------------> Dialing
//!      ^                          ^                                       |
//!      |                          '------------ handle_dial_failed -------+
//!      '------------------------------------------- handle_linked --------'
//!
//!   episode: begins with the first failure, ends when the replay is acknowledged and the backend
//!   has lasted `stable`; past its deadline the session ends.
//! ```

mod suspects;
mod words;

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::entropy::Entropy;
use crate::time::Time;
use crate::websocket::close_code::CloseCode;
use crate::websocket::scanner::Data;

use super::backend_link::BackendLink;
use super::migration::Successor;
use super::report::{Dial, DialFailure, EndCause, Event, Failure, Status};
use super::{BackendPhase, ClientPhase, ClosingWords, Session};

pub(super) use suspects::PoisonGuard;
use words::Words;

/// A failover, from the first failure until the session is stable again.
#[derive(Debug)]
pub(super) struct Episode {
    /// It ends when nothing has moved until then,
    deadline: Time,
    /// or then, whatever moves.
    ends: Time,
    /// How far any backend of it has acknowledged, or been given of a message that goes alone.
    best: u64,
    failed: Time,
    dials: u32,
    linked: Option<Time>,
    /// Seq up to which the replay goes.
    replay_to: u64,
    pub(super) words: Words,
}

impl Episode {
    /// Positions are others by now: up to this one, some backend has acknowledged all.
    pub(super) fn set_best(&mut self, reached: u64) {
        self.best = reached;
    }
}

impl Session {
    /// Leaves the backend: the session ends with it, or waits for the next one.
    pub(super) fn leave_backend(&mut self, now: Time, failure: Failure) {
        // However a backend ends that was told to go, that is no failure of its.
        let draining = matches!(self.backend, BackendPhase::Draining { .. });
        let failure = if draining { Failure::Planned } else { failure };
        let since = self.held_since().unwrap_or(now);
        self.drop_half();
        self.exceptions().unread = self.unread_range();
        self.count_unmarked();
        self.fence(failure);
        self.release_all_committed();
        if self.nothing_to_deliver() {
            return self.backend_over();
        }
        if !self.config.failover || self.state.no_failover {
            self.backend_over();
            if matches!(self.state.client, ClientPhase::Open) {
                let code = self.config.codes.on_failure;
                self.dismiss(now, code, "the backend failed", EndCause::BackendFailed, false);
            }
            return;
        }
        if self.state.begins_anew {
            return self.orphan(now, failure);
        }
        // One that was told to go and has said Close gets an orderly end.
        self.backend_link.reset = !(draining && self.backend_link.deaf);
        self.note(Event::Failed(failure));
        self.count_leaving(now, failure);
        self.suspect(now, failure);
        let reached = self.reseed(now);
        self.state.ring.rewind();
        self.backend_link.forget_writing(&self.state.ring);
        if !matches!(self.state.client, ClientPhase::Open) {
            self.state.ring.drop_open();
        }
        self.backend = BackendPhase::Waiting { at: None };
        self.begin_episode(now, since);
        if let (Some(reached), Some(episode)) = (reached, self.underway.episode_mut()) {
            episode.set_best(reached);
        }
        self.hear_word(failure);
        self.cross(now, failure);
    }

    /// The client has left, or is being sent away, and no whole message is unacknowledged.
    fn nothing_to_deliver(&self) -> bool {
        match self.closing() {
            Some(_) => self.state.ring.all_released(),
            // The backend has said Close, as the application decided; nothing goes upstream any more.
            None => !matches!(self.state.client, ClientPhase::Open),
        }
    }

    /// Counts the move or failover, and what it leaves in doubt. After a quiet moment that is what was not answered in
    /// spite of it.
    fn count_leaving(&mut self, now: Time, failure: Failure) {
        if failure != Failure::Planned {
            self.exceptions().failovers += 1;
            return self.count_doubt();
        }
        self.exceptions().moves += 1;
        // It has worked until now, so what was before is over.
        self.underway.end_episode();
        if self.converses() {
            self.count_doubt();
        } else if self.leaves_by_force() && self.commits().is_none() {
            let before = self.exceptions().in_doubt;
            self.count_doubt();
            let least = before + 1;
            self.exceptions().in_doubt = self.exceptions().in_doubt.max(least);
        } else {
            let expected = self.expected_answers(now);
            self.exceptions().in_doubt += expected;
        }
    }

    /// How many messages the backend has acknowledged and may still answer: none, where it has left others unanswered
    /// of late, or says by commits what it has done.
    pub(super) fn expected_answers(&self, now: Time) -> u64 {
        if let Some(open) = self.open_asks(now) {
            return open;
        }
        if !self.backend_link.pongs || self.commits().is_some() {
            return 0;
        }
        self.backend_link.unanswered.expected(self.state.ring.base_seq(), self.state.downstream.messages())
    }

    /// Counts what the dead backend may have handled: what is replayed, and what it acknowledged
    /// but may not have answered.
    fn count_doubt(&mut self) {
        let ring = &self.state.ring;
        let (full, base) = (ring.fully_written(), ring.base_seq());
        let last_end = ring.messages().take(full as usize).last().map_or(ring.base(), |m| m.0);
        let cut = u64::from(ring.sent() > last_end);
        // A message that is still open is not replayed: it goes on.
        let written = (base + full + cut).min(ring.whole_seq());
        let acked = self.backend_link.writer.acked_seq(&self.state.ring);
        // What a service has not committed has had no effect.
        if !self.backend_link.pongs {
            return;
        }
        if self.commits().is_some() {
            self.exceptions().written_seq = self.exceptions().written_seq.max(written);
            return;
        }
        if self.converses() {
            // What is in doubt is known message by message, when the ring is made anew.
            self.exceptions().acked_seq = self.exceptions().acked_seq.max(acked);
            return;
        }
        let answers = self.backend_link.unanswered.estimate(base, self.state.downstream.messages());
        let exceptions = self.exceptions();
        exceptions.written_seq = exceptions.written_seq.max(written);
        exceptions.acked_seq = exceptions.acked_seq.max(acked);
        exceptions.in_doubt += answers + (base + full).saturating_sub(exceptions.doubted_seq.max(base));
        exceptions.doubted_seq = exceptions.doubted_seq.max(base + full);
    }

    /// The whole messages that the backend was given and has not acknowledged, as far as it acknowledges any.
    fn unread_range(&self) -> Option<RangeInclusive<u64>> {
        let last = self.state.ring.base_seq() + self.state.ring.fully_written();
        let first = self.backend_link.writer.acked_seq(&self.state.ring) + 1;
        (self.backend_link.pongs && first <= last).then_some(first..=last)
    }

    /// The same of the backend that was left last, when it was left. What fails two backends in turn, with one such
    /// message in common, may be that message.
    pub fn left_unread(&self) -> Option<RangeInclusive<u64>> {
        self.state.exceptions.as_ref().and_then(|exceptions| exceptions.unread.clone())
    }

    /// `since`: from when on the client has waited for the next backend.
    fn begin_episode(&mut self, now: Time, since: Time) {
        let (deadline, ends) = (now + self.config.deadline, now + self.config.longest);
        let (best, words) = (self.backend_link.writer.acked(&self.state.ring), Words::default());
        let (failed, dials, linked, replay_to) = (since, 0, None, 0);
        let fresh = || Episode { deadline, ends, best, failed, dials, linked, replay_to, words };
        let episode = self.underway.begin_episode(fresh);
        if episode.linked.take().is_some() {
            episode.failed = since;
        }
    }

    /// Chooses the time of the next dial: at once (but for jitter) after a first failure, then with
    /// a back-off that doubles.
    pub(super) fn plan_dial(&mut self, now: Time, entropy: &mut Entropy<'_>) {
        let (BackendPhase::Waiting { at: None }, Some(episode)) = (self.backend, self.underway.episode())
        else {
            return;
        };
        // Whoever does not come back within seconds needs none.
        if self.away() && !self.is_proven() && self.state.ring.all_released() {
            return;
        }
        let config = &self.config;
        let most = match episode.dials {
            0 => config.jitter,
            n => config.backoff_min.saturating_mul(1 << (n - 1).min(16)).min(config.backoff_max),
        };
        let least = if episode.dials == 0 { Duration::ZERO } else { most / 2 };
        let spread = (most - least).as_micros() as u64;
        let delay = least + Duration::from_micros(entropy() % (spread + 1));
        self.backend = BackendPhase::Waiting { at: Some(now + delay) };
    }

    /// The dial that is due, if one is.
    pub(super) fn take_dial(&mut self, now: Time) -> Option<Dial> {
        let (BackendPhase::Waiting { at: Some(at) }, Some(episode)) =
            (self.backend, self.underway.episode_mut())
        else {
            return None;
        };
        if at > now {
            return None;
        }
        episode.dials += 1;
        self.backend = BackendPhase::Dialing;
        let exceptions = self.state.exceptions.get_or_insert_default();
        exceptions.dials += 1;
        let attempt = 1 + exceptions.dials;
        Some(Dial { attempt, held: self.crossing(), suspect: self.suspected(), accused: self.accused() })
    }

    /// The session still wants the dial that is under way.
    pub fn wants_dial(&self) -> bool {
        self.backend == BackendPhase::Dialing
    }

    /// The next backend is connected. `no_failover`: it asks not to be replaced; `epoch`: what
    /// `Steadfast-Attempt` has told it. False when the
    /// session does not want it any more; the driver drops it then.
    pub fn handle_linked(&mut self, now: Time, no_failover: bool, epoch: u64) -> bool {
        if self.backend != BackendPhase::Dialing {
            return false;
        }
        self.backend = BackendPhase::Linked;
        let successor = self.take_crossed();
        self.backend_link = BackendLink::new(&self.config, self.state.backend_terms(), now);
        self.state.no_failover = no_failover;
        let (base, whole) = (self.state.ring.base_seq(), self.state.ring.whole_seq());
        let replay_to = self.exceptions().written_seq.clamp(base, whole);
        let replayed = replay_to - base;
        if whole > base {
            // It is asked now what the client has said so far.
            self.backend_link.timers.question(now);
        }
        self.exceptions().replayed += replayed;
        let failed = self.underway.episode_mut().map_or(now, |episode| {
            (episode.linked, episode.replay_to) = (Some(now), replay_to);
            episode.failed
        });
        self.note(Event::Linked { pause: now.since(failed), replayed });
        self.begin_prologue(now);
        self.suspects_acknowledged();
        if let Some(successor) = successor {
            self.take_over(now, successor);
        }
        self.attach_service(epoch);
        true
    }

    /// The next backend was connected already: what it has said follows.
    fn take_over(&mut self, now: Time, successor: Successor) {
        self.backend_link.scanner = successor.scan;
        self.backend_link.timers.message(now, false, self.backend_link.scanner.message_open());
        self.kind_begins(successor.add_kind);
        if self.converses() {
            let bytes = successor.held.into_bytes();
            self.converse_down(now, &Data { bytes: &bytes, messages: 0, whole: 0 }, &mut |_| 0);
        } else if self.client_hears() {
            self.state.downstream.absorb(successor.held);
        }
        if let Some(payload) = successor.pinged {
            self.backend_link.writer.pong(&self.state.ring, &payload, self.client_link.scanner.remaining());
        }
    }

    /// The dial brought no backend.
    pub fn handle_dial_failed(&mut self, now: Time, failure: DialFailure) {
        if self.backend != BackendPhase::Dialing {
            return;
        }
        self.backend = BackendPhase::Waiting { at: None };
        self.hear_word(Failure::Eof);
        if failure == DialFailure::Refused {
            self.dismiss(
                now,
                self.config.codes.refused,
                "refused by every backend",
                EndCause::Refused,
                false,
            );
        } else if self.underway.episode().is_some_and(|episode| episode.deadline <= now) {
            self.past_deadline(now, self.config.codes.deadline);
        }
    }

    /// Two backends have failed the session on the same message, and are well, in answer to
    /// [`Command::Dial`](super::Command::Dial): it ends with what the last one has said.
    pub fn handle_blamed(&mut self, now: Time) {
        if self.backend == BackendPhase::Dialing {
            self.backend = BackendPhase::Waiting { at: None };
            self.convicted(now);
        }
    }

    /// The backend has acknowledged more, or taken more of a message that goes alone. What no backend of the
    /// episode had got before puts its deadline off; bytes in kernels do not.
    #[inline]
    pub(super) fn note_progress(&mut self, now: Time) {
        let Some(episode) = self.underway.episode_mut() else { return };
        let reached = self.backend_link.writer.reached(&self.state.ring);
        if reached > episode.best {
            (episode.best, episode.deadline) = (reached, now + self.config.deadline);
        }
    }

    /// The backend lives and is slow: deadlines are no judges of that.
    pub(super) fn wait_for_the_slow(&mut self, now: Time) {
        let until = now + self.config.ack_timeout;
        if let Some(episode) = self.underway.episode_mut().filter(|episode| episode.linked.is_some()) {
            (episode.deadline, episode.ends) = (episode.deadline.max(until), episode.ends.max(until));
        }
    }

    fn replayed(&self, episode: &Episode) -> bool {
        if self.in_prologue() {
            return false;
        }
        !self.backend_link.pongs || self.backend_link.writer.acked_seq(&self.state.ring) >= episode.replay_to
    }

    /// No failure before is still to be got over, apart from how long the backend has lasted.
    pub fn settled(&self) -> bool {
        self.underway.episode().is_none_or(|episode| episode.linked.is_some() && self.replayed(episode))
    }

    pub(super) fn linked_state(&self) -> Status {
        match self.underway.episode() {
            None => Status::Relaying,
            Some(_) if self.in_prologue() => Status::Greeting,
            Some(episode) if self.replayed(episode) => Status::Settling,
            Some(_) => Status::Replaying,
        }
    }

    pub(super) fn episode_timeout(&self) -> Option<Time> {
        let episode = self.underway.episode().filter(|_| self.backend != BackendPhase::Over)?;
        match episode.linked {
            Some(linked) if self.replayed(episode) => Some(linked + self.config.stable),
            _ => Some(episode.deadline.min(episode.ends)),
        }
    }

    pub(super) fn expire_episode(&mut self, now: Time) {
        // A backend that has everything and works is not taken away at the deadline: only its
        // failure, or silence, ends the session then.
        let settled = self.underway.episode().is_some_and(|e| e.linked.is_some() && self.replayed(e));
        let ends = self.underway.episode().is_some_and(|episode| episode.ends <= now);
        let codes = self.config.codes;
        match (settled, ends) {
            (true, _) => {
                self.forget_denials();
                self.underway.end_episode();
            }
            (false, true) => self.past_deadline(now, codes.longest),
            (false, false) => self.past_deadline(now, codes.deadline),
        }
    }

    fn past_deadline(&mut self, now: Time, code: CloseCode) {
        let give_up = now + self.config.close_timeout;
        self.dismiss_with_their_word(now, (code, "no backend in time"), EndCause::Deadline);
        self.underway.end_episode();
        if let Some(closing) = self.closing_mut() {
            closing.give_up = give_up;
        }
    }

    /// A cut message follows whole ones that cannot be acknowledged any more, since a ping has no
    /// place in the middle of it: they are delivered to another backend.
    pub(super) fn leave_if_cut(&mut self, now: Time) {
        let cut = self.backend_is_cut() && self.closing().is_some() && self.backend == BackendPhase::Linked;
        let unread = self.backend_link.writer.acked(&self.state.ring) < self.state.ring.whole();
        if cut && self.backend_link.pongs && unread && !self.backend_link.writer.pinging() {
            self.leave_backend(now, Failure::Cut);
        }
    }

    /// The farewell is said to each backend anew.
    pub(super) fn say_closing_words(&mut self, now: Time) {
        if self.backend != BackendPhase::Linked {
            return;
        }
        self.leave_if_cut(now);
        if self.backend_link.writer.closing() || self.backend_is_cut() || self.backend != BackendPhase::Linked
        {
            return;
        }
        if let Some(ClosingWords::Close(payload)) = self.state.closing().map(|closing| &closing.words) {
            self.backend_link.writer.close(&self.state.ring, payload);
        }
    }
}
