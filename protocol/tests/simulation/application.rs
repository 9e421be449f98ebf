//! The application: what its messages are, and what it makes of them. It is a sum over all messages in their
//! order, so that one which is missing, comes twice or in the wrong place changes all that follows.

use std::collections::BTreeMap;

use steadfast_protocol::steadfast_v1::SessionId;
use steadfast_protocol::steadfast_v1::service_wire::Output;

use crate::random::mixed;

/// A message, of either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) text: bool,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    pub(crate) fn output(&self) -> Output<'_> {
        Output { text: self.text, payload: &self.payload }
    }
}

/// How long the messages of a schedule are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// The longest of the many.
    pub(crate) common: u64,
    /// The longest of the few.
    pub(crate) rare: u64,
    /// How few.
    pub(crate) one_in: u64,
}

/// Room for the name of a message, and for what it costs in an envelope.
const NAME: usize = 60;

impl Sizes {
    /// The longest message.
    pub(crate) fn longest(&self) -> usize {
        self.common.max(self.rare) as usize + NAME
    }

    /// What the client says under this id. It is never too short to tell which one it is.
    pub(crate) fn said(&self, id: u64) -> Message {
        self.message(format!("say {id} "), mixed(id))
    }

    /// What the service answers to the message that has led to this sum: nothing, or one message or two.
    pub(crate) fn answers(&self, sum: Sum) -> Vec<Message> {
        let count = [0, 1, 1, 1, 1, 2][(sum.sum % 6) as usize];
        (0..count)
            .map(|n| self.message(format!("answer {} {n} {:x} ", sum.seq, sum.sum), mixed(sum.sum + n)))
            .collect()
    }

    fn message(&self, name: String, dice: u64) -> Message {
        let most = if dice.is_multiple_of(self.one_in) { self.rare } else { self.common };
        let len = (dice >> 8) % (most + 1);
        let mut payload = name.into_bytes();
        payload.resize(payload.len() + len as usize, b'x');
        Message { text: !dice.is_multiple_of(3), payload }
    }
}

/// Which message of the client's this is.
pub(crate) fn id_of(payload: &[u8]) -> u64 {
    let mut words = payload.split(|byte| *byte == b' ');
    let id = words.next().filter(|word| *word == b"say").and_then(|_| words.next());
    let id = id.and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|digits| digits.parse().ok());
    id.unwrap_or_else(|| panic!("{:?} is nothing that the client has said", String::from_utf8_lossy(payload)))
}

/// The application's state: a sum over everything consumed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) seq: u64,
    pub(crate) sum: u64,
}

impl Sum {
    pub(crate) fn with(self, id: u64) -> Sum {
        Sum { seq: self.seq + 1, sum: mixed(self.sum.wrapping_mul(31).wrapping_add(id)) }
    }

    pub(crate) fn capsule(self) -> Vec<u8> {
        let padding = (self.sum % 40) as usize;
        let mut capsule = [self.seq.to_be_bytes(), self.sum.to_be_bytes()].concat();
        capsule.resize(capsule.len() + padding, 0);
        capsule
    }

    pub(crate) fn of_capsule(capsule: &[u8]) -> Sum {
        let number =
            |at| u64::from_be_bytes(*capsule[at..].first_chunk().expect("a capsule has two numbers"));
        let sum = Sum { seq: number(0), sum: number(8) };
        assert_eq!(sum.capsule(), capsule, "a capsule is not as it was given");
        sum
    }
}

/// The services' own store, which outlives them.
#[derive(Debug, Default)]
pub(crate) struct Store {
    sessions: BTreeMap<SessionId, Kept>,
}

/// What the store has of a session.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// No service of a lower one may write.
    pub(crate) epoch: u64,
    pub(crate) state: Sum,
    /// Number of the last commit.
    pub(crate) number: u64,
    /// Commits that may have to be said again, with the last one at any rate.
    pub(crate) rows: Vec<Row>,
}

/// A commit, as it is written in one transaction with its effects.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) number: u64,
    pub(crate) state: Sum,
    pub(crate) outputs: Vec<Message>,
}

impl Store {
    pub(crate) fn get(&self, session: SessionId) -> Option<&Kept> {
        self.sessions.get(&session)
    }

    /// A service takes the session over. `None`: a later one has it.
    pub(crate) fn take_over(&mut self, session: SessionId, epoch: u64, applied: u64) -> Option<&Kept> {
        let kept = self.sessions.entry(session).or_default();
        if kept.epoch > epoch {
            return None;
        }
        kept.epoch = epoch;
        assert!(kept.number >= applied, "commit {applied} is applied, and the store has {}", kept.number);
        kept.forget(applied);
        Some(kept)
    }

    /// The transaction: the effects, and the commit. False: another service has the session.
    pub(crate) fn write(&mut self, session: SessionId, epoch: u64, row: Row) -> bool {
        let kept = self.sessions.entry(session).or_default();
        if kept.epoch != epoch {
            return false;
        }
        assert_eq!(row.number, kept.number + 1, "a commit's number in the store");
        assert!(row.state.seq >= kept.state.seq, "an effect is taken back");
        (kept.number, kept.state) = (row.number, row.state);
        kept.rows.push(row);
        true
    }

    /// The broker has the commits up to this number.
    pub(crate) fn forget(&mut self, session: SessionId, applied: u64) {
        if let Some(kept) = self.sessions.get_mut(&session) {
            kept.forget(applied);
        }
    }
}

impl Kept {
    fn forget(&mut self, applied: u64) {
        let last = self.number;
        self.rows.retain(|row| row.number > applied || row.number == last);
    }
}
