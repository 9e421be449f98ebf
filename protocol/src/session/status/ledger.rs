//! What became of a session's messages, counted.

use std::ops::RangeInclusive;

use crate::session::Closing;
use crate::session::failover::PoisonGuard;
use crate::session::orphan::Orphan;
use crate::session::report::SessionEnd;
use crate::session::silence::Stall;

/// Counts of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Whole messages that the broker has taken over.
    pub forwarded: u64,
    /// Upstream: messages that a backend has read, as its pong proves (in ack mode `none`: to a ping now and then,
    /// or an end without a failure; in `shim`: that were committed). Downstream: messages handed to the client's socket.
    pub acknowledged: u64,
    /// Messages written again, to another backend.
    pub replayed: u64,
    /// Upstream: messages said again to another backend though one had acknowledged them, since they make the client's
    /// conversation or were not answered.
    pub repeated: u64,
    /// Downstream: messages kept from the client: a next backend's answers to what it had an answer to, and halves whose backend died in the middle. Upstream:
    /// replies to what an earlier backend had asked, and signs of life that the broker had asked for.
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
    pub upstream: Counts,
    /// Backend to client.
    pub downstream: Counts,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.forwarded += other.forwarded;
        self.acknowledged += other.acknowledged;
        self.replayed += other.replayed;
        self.repeated += other.repeated;
        self.suppressed += other.suppressed;
        self.lost += other.lost;
        self.in_doubt += other.in_doubt;
    }
}

impl std::ops::AddAssign for Ledger {
    fn add_assign(&mut self, other: Ledger) {
        self.upstream += other.upstream;
        self.downstream += other.downstream;
    }
}

/// What most sessions never need: counts that do not follow from seqs, and what is known of failures
/// and of the end.
#[derive(Debug, Default)]
pub(crate) struct Exceptions {
    pub(crate) replayed: u64,
    pub(crate) repeated: u64,
    /// Messages of the client's that went nowhere.
    pub(crate) withheld: u64,
    pub(crate) suppressed: u64,
    pub(crate) lost_upstream: u64,
    /// Those of them that had been written, without acknowledgements.
    pub(crate) lost_unmarked: u64,
    pub(crate) lost_downstream: u64,
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
    /// Those whole messages, by their seqs, that the last backend was given and had not acknowledged when it was left.
    pub(in crate::session) unread: Option<RangeInclusive<u64>>,
    pub(in crate::session) poison_guard: Option<PoisonGuard>,
    /// The client's connection ends with a reset: it has not taken all that was begun.
    pub(crate) reset_client: bool,
    /// The message on which the last backend fell silent.
    pub(in crate::session) stall: Option<Stall>,
    pub(in crate::session) orphan: Option<Orphan>,
    /// The Close with which the present backend fails.
    pub(in crate::session) word: Option<Box<[u8]>>,
    pub(in crate::session) end: Option<SessionEnd>,
    pub(in crate::session) closing: Option<Closing>,
}

impl Exceptions {
    /// Nothing is to come of them: they are what has been.
    #[inline]
    pub(in crate::session) fn are_counts(&self) -> bool {
        self.closing.is_none() && self.orphan.is_none() && self.poison_guard.is_none()
    }

    /// Drops what is measured by a clock that has ended. `give_up`: when a goodbye that is under way is given up.
    pub(in crate::session) fn forget_times(&mut self, give_up: crate::time::Time) {
        (self.orphan, self.word) = (None, None);
        if let Some(poison_guard) = &mut self.poison_guard {
            poison_guard.forget_times();
        }
        if let Some(closing) = &mut self.closing {
            closing.give_up = give_up;
        }
    }
}
