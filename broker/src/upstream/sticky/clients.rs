//! What a pool knows of its clients: where those belong of whom that is remembered, and whose the sessions are that are
//! there. It has nothing for a pool that is not sticky.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::UNIX_EPOCH;

use super::learned::{Belonging, Bounds, Learned};
use crate::clock;
use crate::lock::OrderedMutex;
use crate::lock::rank::{LearnedRank, StickySessionsRank};
use crate::metric::{self, Series, StickyWord};
use crate::words::Word;

/// What a pool knows of its clients. It outlives reloads.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    learned: OrderedMutex<Learned, LearnedRank>,
    /// The clients of the sessions that are there, by the sessions' ids.
    sessions: OrderedMutex<HashMap<u128, u64>, StickySessionsRank>,
    /// Makes numbers of what clients are known by. Nobody is to know who shares one.
    hasher: RandomState,
    /// Requests, in the order of the words for what became of them.
    counts: [Series; StickyWord::ALL.len()],
}

impl Clients {
    /// A session of this client has begun.
    pub(crate) fn begins(&self, session: u128, client: u64) {
        self.sessions.lock().insert(session, client);
    }

    /// It has ended.
    pub(crate) fn ended(&self, session: u128) {
        let mut sessions = self.sessions.lock();
        sessions.remove(&session);
        if sessions.capacity() > 64 && sessions.len() < sessions.capacity() / 4 {
            sessions.shrink_to_fit();
        }
    }

    /// Whether its client would come back to its backend.
    pub(crate) fn holds(&self, session: u128) -> bool {
        self.of_session(session).is_some()
    }

    /// The client of this session.
    pub(super) fn of_session(&self, session: u128) -> Option<u64> {
        self.sessions.lock().get(&session).copied()
    }

    /// The number of the client that is known by this value.
    pub(super) fn number(&self, value: &[u8]) -> u64 {
        self.hasher.hash_one(value)
    }

    /// The client belongs to the backend whose name has this hash, from now on.
    pub(super) fn bind(&self, client: u64, backend: u64, bounds: Bounds) {
        let belonging = Belonging { backend, since: seconds() };
        self.learned.lock().put(clock::now(), client, belonging, bounds);
    }

    /// Where it belongs, as far as that is remembered.
    pub(super) fn belonging(&self, client: u64, bounds: Bounds) -> Option<Belonging> {
        self.learned.lock().get(clock::now(), client, bounds)
    }

    /// Counts a request to the pool of this name, which is the same each time.
    pub(super) fn count(&self, pool: &str, word: StickyWord) {
        let place = StickyWord::ALL.iter().position(|known| *known == word);
        if let Some(series) = place.and_then(|place| self.counts.get(place)) {
            series.count(&metric::STICKY, || (pool.to_owned(), word));
        }
    }
}

/// Now, in seconds since 1970.
pub(super) fn seconds() -> u32 {
    let since_1970 = clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since_1970.as_secs()).unwrap_or(u32::MAX)
}
