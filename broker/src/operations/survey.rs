//! One look at all sessions: where each is, and what it does.

use std::collections::HashMap;
use std::sync::Arc;

use steadfast_protocol::session::Status;

use crate::session::registry::{Entry, Registry};
use crate::upstream::balance::Affinity;
use crate::upstream::pool::Pool;

/// All sessions as they were at one look.
#[derive(Debug, Default)]
pub(super) struct Survey(HashMap<u128, Sighting>);

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sighting {
    pub(super) id: u128,
    /// Its pool, see [`number_of`].
    pub(super) pool: usize,
    /// The id of the backend that it is on.
    pub(super) backend: Option<usize>,
    /// The hash of what it is placed by.
    pub(super) key: Option<Affinity>,
    /// It ends with its backend.
    pub(super) pinned: bool,
    /// Its client would come back to its backend.
    pub(super) settled: bool,
    /// It has said or heard Close, and will leave its backend by itself.
    pub(super) ends: bool,
    /// It looks for a place.
    seeks: bool,
}

/// A pool by its place in memory: of two that have had one name, the older may still have sessions.
pub(super) fn number_of(pool: &Arc<Pool>) -> usize {
    Arc::as_ptr(pool).addr()
}

impl Survey {
    pub(super) fn of(registry: &Registry) -> Survey {
        Survey(registry.all().iter().map(|entry| (entry.id, Sighting::of(entry))).collect())
    }

    pub(super) fn get(&self, id: u128) -> Option<&Sighting> {
        self.0.get(&id)
    }

    /// Those on this backend.
    pub(super) fn on(&self, backend: usize) -> impl Iterator<Item = &Sighting> {
        self.0.values().filter(move |own| own.backend == Some(backend))
    }

    /// How many are on each backend, by its id.
    pub(super) fn counts(&self) -> HashMap<usize, usize> {
        let mut counts = HashMap::new();
        for backend in self.0.values().filter_map(|own| own.backend) {
            *counts.entry(backend).or_default() += 1;
        }
        counts
    }

    /// Those of this pool.
    pub(super) fn of_pool(&self, pool: &Arc<Pool>) -> impl Iterator<Item = &Sighting> {
        let pool = number_of(pool);
        self.0.values().filter(move |own| own.pool == pool)
    }

    /// How many of each pool look for a place.
    pub(super) fn seeking(&self) -> HashMap<usize, usize> {
        let mut pools = HashMap::new();
        for own in self.0.values().filter(|own| own.seeks) {
            *pools.entry(own.pool).or_default() += 1;
        }
        pools
    }
}

impl Sighting {
    /// Whether it goes where there is more room: it does not end with its backend, and its client has nothing there.
    pub(super) fn may_be_spread(&self) -> bool {
        !self.pinned && !self.settled
    }

    fn of(entry: &Arc<Entry>) -> Sighting {
        let core = entry.core();
        Sighting {
            id: entry.id,
            pool: number_of(&entry.binding.pool),
            backend: core.lease.as_ref().map(|lease| lease.backend().id),
            key: entry.affinity(),
            pinned: core.machine.pinned(),
            settled: entry.binding.pool.clients.holds(entry.id),
            ends: core.machine.status() == Status::Closing,
            seeks: seeks_place(core.machine.status()),
        }
    }
}

/// It has left a backend, and looks for the next.
pub(super) fn seeks_place(state: Status) -> bool {
    matches!(state, Status::Waiting | Status::Dialing)
}
