//! Deaths of a pool's backends, and whose messages each had been given and had not acknowledged: of which message
//! backends die.
//!
//! ```text
//!               its backend fails it        the next one has acknowledged that       and it has lasted a second
//!   a session ------------------> present ------------------------------------> survives -----------> acquitted
//!                                   ^                                                  |
//!                                   '--------------------------------------------------'
//!                                                  its backend fails it
//! ```
//!
//! A message is convicted when it is the only one that is left of three deaths, since everybody else who was there is
//! acquitted. Who has left before that, or waits for its own turn yet, is not; so fresh sessions that kill beside a slow
//! one do not convict it. Deaths at which it was not there speak for it, unless they are another's: as many more are
//! wanted, up to twice as many in all. What others may have begun with a request, or as soon as they were linked, counts
//! as a message of theirs.

use std::collections::{HashMap, VecDeque};
use std::ops::RangeInclusive;
use std::time::Duration;

use steadfast_protocol::time::Time;

/// How long a session must last after what it was given is acknowledged, and how long after a death those that were
/// there may tell of it.
const SETTLED: Duration = Duration::from_secs(1);

/// How long after the last death an accused message waits for the others to be acquitted.
const PATIENCE: Duration = Duration::from_secs(3);

/// How much later somebody may notice a death.
const LATE: Duration = Duration::from_secs(10);

/// How long a backend that has died may seem to take sessions.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Deaths that are remembered; the oldest is forgotten for a new one.
const DEATHS_MAX: usize = 64;

/// Sessions that are remembered of one death. When more were there, nobody is ever the only one.
const PRESENT_MAX: usize = 1024;

/// Deaths of one pool's backends.
#[derive(Debug, Default)]
pub(crate) struct Deaths {
    /// The oldest first.
    deaths: VecDeque<BackendDeath>,
    /// Since when each of those that were there survives.
    survivors: HashMap<u64, Time>,
}

#[derive(Debug)]
struct BackendDeath {
    backend: usize,
    at: Time,
    /// Sessions that may have brought it about, each with its messages; `None`: it was not given one yet.
    present: HashMap<u64, Option<RangeInclusive<u64>>>,
    /// There were more.
    crowded: bool,
    /// A connection has ended without a Close.
    ended: bool,
}

/// A session has lost its backend.
#[derive(Debug, Clone)]
pub(crate) struct BackendLoss {
    /// The backend's id.
    pub(crate) backend: usize,
    pub(crate) at: Time,
    /// Since when the session had the backend, or asked for it.
    pub(crate) since: Time,
    /// What it may have died of.
    pub(crate) given: Given,
    /// The backend's connection has ended without a Close.
    pub(crate) ended: bool,
}

/// What a backend was given by a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given {
    /// Messages, by their seqs, that it has not acknowledged.
    Messages(RangeInclusive<u64>),
    /// A request, or no more than that.
    Request,
    /// Nothing that it has not acknowledged long ago.
    Nothing,
}

/// What is to become of a message that is accused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PoisonVerdict {
    /// Nobody else can have brought it about.
    Convicted,
    /// That will be known soon.
    Waits,
    /// Others may have.
    Doubted,
}

impl Given {
    /// What a session that has lost its backend `at` this time had given it; linked `since` then, and `unread` as the
    /// machine says.
    pub(crate) fn new(unread: Option<RangeInclusive<u64>>, since: Time, at: Time) -> Given {
        match unread {
            Some(messages) => Given::Messages(messages),
            None if at.since(since) < SETTLED => Given::Request,
            None => Given::Nothing,
        }
    }
}

impl Deaths {
    /// A session has lost its backend. Deaths count together within `window`.
    pub(crate) fn lost(&mut self, session: u64, loss: BackendLoss, window: Duration) {
        let BackendLoss { backend, at, since, given, ended } = loss;
        self.forget(at, window);
        let messages = match given {
            Given::Messages(messages) => Some(Some(messages)),
            Given::Request => Some(None),
            Given::Nothing => None,
        };
        // To each session a backend says Close for itself.
        if messages.is_none() && !ended {
            return;
        }
        let is_same = |death: &BackendDeath| {
            // Somebody may be linked while the news of the death is on its way.
            let was_there =
                since < death.at + AT_ONCE && (since < death.at || !death.present.contains_key(&session));
            death.backend == backend && was_there && at.since(death.at) < LATE
        };
        let index = self.deaths.iter().rposition(is_same).unwrap_or_else(|| {
            if self.deaths.len() == DEATHS_MAX {
                self.deaths.pop_front();
            }
            let present = HashMap::new();
            self.deaths.push_back(BackendDeath { backend, at, present, crowded: false, ended });
            self.deaths.len() - 1
        });
        let Some(death) = self.deaths.get_mut(index) else { return };
        death.ended |= ended;
        if let Some(messages) = messages {
            self.survivors.remove(&session);
            death.add(session, messages);
        }
    }

    /// The next backend has acknowledged what the one before had not, or has taken its request.
    pub(crate) fn survived(&mut self, now: Time, session: u64) {
        if self.deaths.iter().any(|death| death.present.contains_key(&session)) {
            self.survivors.entry(session).or_insert(now);
        }
    }

    /// A message of this session was convicted: its deaths speak of nobody else.
    pub(crate) fn convicted(&mut self, session: u64) {
        self.deaths.retain(|death| !death.present.contains_key(&session));
        self.forget_survivors();
    }

    /// Judges a message that is accused, for which `wanted` deaths are enough.
    pub(crate) fn judge(&self, now: Time, (session, seq): (u64, u64), wanted: usize) -> PoisonVerdict {
        let is_own = |death: &&BackendDeath| death.was_given(session, seq);
        let own: Vec<&BackendDeath> = self.deaths.iter().filter(is_own).collect();
        let (Some(first), Some(last)) = (own.first(), own.last()) else { return PoisonVerdict::Doubted };
        let elsewhere = |death: &&BackendDeath| {
            death.ended && first.at.since(death.at) <= SETTLED && !death.present.contains_key(&session)
        };
        let wanted = wanted + self.deaths.iter().filter(elsewhere).count().min(wanted);
        let since = now.since(last.at);
        let alone = own.iter().filter(|death| self.is_the_only_one(now, session, death)).count();
        if alone >= wanted && since >= SETTLED {
            PoisonVerdict::Convicted
        } else if own.len() >= wanted && since < PATIENCE {
            PoisonVerdict::Waits
        } else {
            PoisonVerdict::Doubted
        }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.deaths.is_empty()
    }

    fn is_the_only_one(&self, now: Time, session: u64, death: &BackendDeath) -> bool {
        let is_acquitted =
            |other: &u64| self.survivors.get(other).is_some_and(|at| now.since(*at) >= SETTLED);
        !death.crowded && death.present.keys().all(|other| *other == session || is_acquitted(other))
    }

    /// Forgets what is older than `window`.
    pub(crate) fn forget(&mut self, now: Time, window: Duration) {
        let before = self.deaths.len();
        self.deaths.retain(|death| now.since(death.at) < window);
        if self.deaths.len() < before {
            self.forget_survivors();
        }
    }

    fn forget_survivors(&mut self) {
        let deaths = &self.deaths;
        self.survivors.retain(|session, _| deaths.iter().any(|death| death.present.contains_key(session)));
    }
}

impl BackendDeath {
    fn add(&mut self, session: u64, messages: Option<RangeInclusive<u64>>) {
        if self.present.len() < PRESENT_MAX || self.present.contains_key(&session) {
            self.present.insert(session, messages);
        } else {
            self.crowded = true;
        }
    }

    fn was_given(&self, session: u64, seq: u64) -> bool {
        self.present.get(&session).and_then(Option::as_ref).is_some_and(|messages| messages.contains(&seq))
    }
}

#[cfg(test)]
mod tests;
