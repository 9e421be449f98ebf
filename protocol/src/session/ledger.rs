//! What became of a session's messages, counted.

use super::Closing;
use super::backend_link::{TICK, ticks};
use super::ending::SessionEnd;
use super::failover::PoisonGuard;
use super::orphan::Orphan;
use super::silence::Stall;

/// Counts of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Whole messages that the broker has taken over.
    pub forwarded: u64,
    /// Up: messages that a backend has read, as its pong proves (in ack mode `none`: to a ping now and then,
    /// or an end without a failure; in `shim`: that were committed). Down: messages handed to the client's socket.
    pub acknowledged: u64,
    /// Messages written again, to another backend.
    pub replayed: u64,
    /// Messages kept from the client: halves whose backend died in the middle.
    pub suppressed: u64,
    /// Whole messages that were not delivered before the session ended. In ack mode `none` also those that a
    /// backend was given before it failed and may not have read.
    pub lost: u64,
    /// Messages whose effect the broker cannot know: handled perhaps twice (written, not
    /// acknowledged, replayed), or acknowledged and perhaps unanswered when their backend died.
    pub in_doubt: u64,
}

/// Counts of both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Client to backend.
    pub up: Counts,
    /// Backend to client.
    pub down: Counts,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.forwarded += other.forwarded;
        self.acknowledged += other.acknowledged;
        self.replayed += other.replayed;
        self.suppressed += other.suppressed;
        self.lost += other.lost;
        self.in_doubt += other.in_doubt;
    }
}

impl std::ops::AddAssign for Ledger {
    fn add_assign(&mut self, other: Ledger) {
        self.up += other.up;
        self.down += other.down;
    }
}

/// What most sessions never need: counts that do not follow from seqs, and what is known of failures
/// and of the end.
#[derive(Debug, Default)]
pub(crate) struct Exceptions {
    pub(crate) replayed: u64,
    pub(crate) suppressed: u64,
    pub(crate) lost_up: u64,
    /// Those of them that had been written, without acknowledgements.
    pub(crate) lost_unmarked: u64,
    pub(crate) lost_down: u64,
    pub(crate) in_doubt: u64,
    /// Highest seq that is counted in doubt, so that a message is counted once.
    pub(crate) doubted_seq: u64,
    /// Highest seq of which some backend was given a part: up to it, a new one gets a replay.
    pub(crate) written_seq: u64,
    /// Highest seq that any backend has acknowledged.
    pub(crate) acked_seq: u64,
    pub(crate) failovers: u32,
    /// Planned moves.
    pub(crate) moves: u32,
    /// Dials after the first.
    pub(crate) dials: u32,
    pub(super) poison_guard: Option<PoisonGuard>,
    /// The client's connection ends with a reset: it has not taken all that was begun.
    pub(crate) reset_client: bool,
    /// The message on which the last backend fell silent.
    pub(super) stall: Option<Stall>,
    pub(super) orphan: Option<Orphan>,
    /// The Close with which the present backend fails.
    pub(super) word: Option<Box<[u8]>>,
    pub(super) end: Option<SessionEnd>,
    pub(super) closing: Option<Closing>,
}

impl Exceptions {
    /// Drops what is measured by a clock that has ended. `give_up`: when a goodbye that is under way is given up.
    pub(super) fn forget_times(&mut self, give_up: crate::time::Time) {
        (self.orphan, self.word) = (None, None);
        if let Some(poison_guard) = &mut self.poison_guard {
            poison_guard.forget_times();
        }
        if let Some(closing) = &mut self.closing {
            closing.give_up = give_up;
        }
    }
}

/// Estimates how many acknowledged messages were still unanswered, for a service that answers each
/// message once: what it has acknowledged on this link, less what it has said, but no more than was
/// acknowledged lately. A service that pushes besides hides some; one that answers nothing is
/// bounded by the second figure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unanswered {
    // Seqs and counts by their lower halves: what counts is how far they are apart.
    acked_at_link: u32,
    down_at_link: u32,
    /// When the present bucket began, in [`ticks`], and acknowledgements before it and before the last one.
    turned: u32,
    acked_before: u32,
    acked_before_last: u32,
}

impl Unanswered {
    pub(crate) fn new(now: crate::time::Time, acked_seq: u64, down: u64) -> Unanswered {
        let acked_seq = acked_seq as u32;
        Unanswered {
            acked_at_link: acked_seq,
            down_at_link: down as u32,
            turned: ticks(now),
            acked_before: acked_seq,
            acked_before_last: acked_seq,
        }
    }

    /// Notes that messages up to `acked_seq` are acknowledged; `window` is how long an answer may
    /// take at the most.
    pub(crate) fn acknowledged(
        &mut self,
        now: crate::time::Time,
        acked_seq: u64,
        window: std::time::Duration,
    ) {
        // As if a part of a tick were a whole one.
        let age = TICK * ticks(now).wrapping_sub(self.turned).saturating_add(1);
        if age < window {
            return;
        }
        let acked_seq = acked_seq as u32;
        self.acked_before_last = if age < window * 2 { self.acked_before } else { acked_seq };
        (self.acked_before, self.turned) = (acked_seq, ticks(now));
    }

    /// The estimate for messages up to `acked_seq`, with `down` messages heard.
    pub(crate) fn estimate(&self, acked_seq: u64, down: u64) -> u64 {
        let since =
            |now: u64, then: u32| u64::from((now as u32).wrapping_sub(then).cast_signed().max(0) as u32);
        let acked = since(acked_seq, self.acked_at_link);
        let answered = since(down, self.down_at_link);
        acked.saturating_sub(answered).min(since(acked_seq, self.acked_before_last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Time;
    use std::time::Duration;

    const WINDOW: Duration = Duration::from_secs(10);

    #[test]
    fn what_is_acknowledged_and_not_answered_is_in_doubt() {
        let unanswered = Unanswered::new(Time::ORIGIN, 100, 40);
        assert_eq!(unanswered.estimate(105, 43), 2);
        assert_eq!(unanswered.estimate(105, 60), 0);
    }

    #[test]
    fn old_silence_is_not_doubt() {
        let mut unanswered = Unanswered::new(Time::ORIGIN, 0, 0);
        unanswered.acknowledged(Time::ORIGIN + WINDOW, 1000, WINDOW);
        unanswered.acknowledged(Time::ORIGIN + WINDOW * 2, 1001, WINDOW);
        assert_eq!(unanswered.estimate(1001, 0), 1, "the thousand before are more than a window old");
    }
}
