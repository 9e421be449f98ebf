//! What is known when the last answer has come, and the figures in it. Pure.

use std::iter::Sum;
use std::ops::Add;

use super::cast::Promise;
use super::drain::Drain;
use super::pause::Strike;
use super::transcript::Transcript;
use crate::api::model::sessions::SessionReply;

/// All that is known when the last answer has come.
#[derive(Debug)]
pub(super) struct Evidence {
    /// Of each pool.
    pub(super) pools: Vec<PoolEvidence>,
    /// What was done, in order of time.
    pub(super) strikes: Vec<Strike>,
    /// How the drains among it went.
    pub(super) drains: Vec<Drain>,
}

/// What is known of a pool.
#[derive(Debug)]
pub(super) struct PoolEvidence {
    /// The pool's name.
    pub(super) name: &'static str,
    /// What it is promised.
    pub(super) promise: Promise,
    /// Its sessions.
    pub(super) sessions: Vec<SessionEvidence>,
}

/// What is known of a session.
#[derive(Debug)]
pub(super) struct SessionEvidence {
    /// What the client saw.
    pub(super) transcript: Transcript,
    /// What the broker says; `None` when it does not know the session any more.
    pub(super) broker: Option<SessionReply>,
}

/// The figures of a session, a pool or everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Messages that clients sent.
    pub(super) sent: usize,
    /// Those that got an answer.
    pub(super) answered: usize,
    /// Messages that the broker replayed, by its ledger.
    pub(super) replayed: usize,
    /// Answers beyond the first.
    pub(super) twice: usize,
    /// Those of them that no replay explains.
    pub(super) unexplained: usize,
    /// Messages without an answer that died with their backend: the broker knew it had them, and counts
    /// them in doubt. Only where no more than that is promised.
    pub(super) doubtful: usize,
    /// The other messages without an answer.
    pub(super) lost: usize,
    /// Messages whose effect the broker does not know, by its ledger: `doubtful` ones, and replayed ones.
    pub(super) in_doubt: usize,
    /// First answers that came after that of a later message.
    pub(super) reordered: usize,
    /// Answers that repeat no message.
    pub(super) altered: usize,
    /// Clients that were closed.
    pub(super) closed: usize,
    /// Moves to another backend, by the broker's count.
    pub(super) failovers: usize,
}

impl PoolEvidence {
    /// The figures of all its sessions.
    pub(super) fn tally(&self) -> Tally {
        self.sessions.iter().map(|session| session.tally(self.promise)).sum()
    }

    /// The first session with this fault: where to begin to look.
    pub(super) fn first(&self, fault: impl Fn(&Tally) -> bool) -> Option<&SessionEvidence> {
        self.sessions.iter().find(|session| fault(&session.tally(self.promise)))
    }
}

impl SessionEvidence {
    fn tally(&self, promise: Promise) -> Tally {
        let (transcript, counts) =
            (&self.transcript, self.broker.as_ref().map(|broker| broker.ledger.upstream));
        let counts = counts.unwrap_or_default();
        let [acknowledged, replayed, in_doubt] =
            [counts.acknowledged, counts.replayed, counts.in_doubt].map(|count| count as usize);
        let unanswered = transcript.unanswered();
        let doubtful = match promise {
            Promise::EveryAnswer => 0,
            // What no backend has acknowledged cannot have died with one.
            Promise::EveryAnswerOrDoubt => {
                unanswered.saturating_sub(transcript.sent().saturating_sub(acknowledged)).min(in_doubt)
            }
        };
        Tally {
            sent: transcript.sent(),
            answered: transcript.answered(),
            replayed,
            twice: transcript.twice(),
            unexplained: transcript.twice().saturating_sub(replayed),
            doubtful,
            lost: unanswered - doubtful,
            in_doubt,
            reordered: transcript.reordered(),
            altered: transcript.altered(),
            closed: usize::from(transcript.closed().is_some()),
            failovers: self.broker.as_ref().map_or(0, |broker| broker.failovers as usize),
        }
    }

    /// Who it is, in the crowd and in the broker's log, and what it misses.
    pub(super) fn describe(&self) -> String {
        let session = self.broker.as_ref().map_or("gone from the broker", |broker| &broker.id);
        let mut text = format!("client {}, session {session}", self.transcript.client());
        if let Some(seq) = self.transcript.first_unanswered() {
            text.push_str(&format!(", no answer to message {seq}"));
        }
        if let Some(cause) = self.transcript.closed() {
            text.push_str(&format!(", ended by: {cause}"));
        }
        text
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            answered: self.answered + other.answered,
            replayed: self.replayed + other.replayed,
            twice: self.twice + other.twice,
            unexplained: self.unexplained + other.unexplained,
            doubtful: self.doubtful + other.doubtful,
            lost: self.lost + other.lost,
            in_doubt: self.in_doubt + other.in_doubt,
            reordered: self.reordered + other.reordered,
            altered: self.altered + other.altered,
            closed: self.closed + other.closed,
            failovers: self.failovers + other.failovers,
        }
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), Add::add)
    }
}
