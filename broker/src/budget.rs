//! The memory that all sessions together may hold.
//!
//! When it is used up, sessions stop reading and TCP pushes back. So that they do not all wait for
//! each other, each in the middle of a message, one message limit is kept aside: the session whose
//! message has been open longest may go on, within it.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// A session's use below this is not counted: most messages come and go within it, and counting
/// each would cost more than it tells.
const UNCOUNTED: usize = 16 * 1024;

/// The total; one for all workers.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
    /// Sessions that wait in the middle of a message, by the time they began to.
    waiting: Mutex<BTreeSet<(NonZeroU32, u128)>>,
    turn: AtomicU32,
}

/// One session's share of it.
#[derive(Debug, Default)]
pub(crate) struct Share {
    counted: u32,
    /// Its place among those that wait in the middle of a message.
    place: Option<NonZeroU32>,
    /// The last answer was no.
    denied: bool,
}

impl Share {
    /// It wants to read and may not yet.
    pub(crate) fn waits(&self) -> bool {
        self.denied
    }
}

impl Budget {
    /// `total` bytes, of which `reserve` are kept aside.
    pub(crate) fn new(total: usize, reserve: usize) -> Budget {
        Budget {
            limit: total.saturating_sub(reserve),
            used: AtomicUsize::new(0),
            waiting: Mutex::default(),
            turn: Default::default(),
        }
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// A session now holds `buffered` bytes.
    #[inline]
    pub(crate) fn count(&self, share: &mut Share, buffered: usize) {
        let counts = buffered.saturating_sub(UNCOUNTED);
        if counts != share.counted as usize {
            self.used.fetch_add(counts, Relaxed);
            self.used.fetch_sub(share.counted as usize, Relaxed);
            // A session holds less than two message limits and a ring, which are below 2^30 each.
            share.counted = counts as u32;
        }
    }

    /// Whether a session may read on. `open`: it is in the middle of a message.
    #[inline]
    pub(crate) fn may_read(&self, share: &mut Share, id: u128, open: bool) -> bool {
        if self.used() < self.limit && share.place.is_none() {
            share.denied = false;
            return true;
        }
        let may = self.may_read_when_tight(share, id, open);
        share.denied = !may;
        may
    }

    fn may_read_when_tight(&self, share: &mut Share, id: u128, open: bool) -> bool {
        if !open || self.used() < self.limit {
            self.leave(share, id);
            return self.used() < self.limit;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = || NonZeroU32::MIN.saturating_add(self.turn.fetch_add(1, Relaxed));
        let place = *share.place.get_or_insert_with(turn);
        waiting.insert((place, id));
        waiting.first() == Some(&(place, id))
    }

    fn leave(&self, share: &mut Share, id: u128) {
        if let Some(place) = share.place.take() {
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&(place, id));
        }
    }

    /// A session has ended.
    pub(crate) fn give_back(&self, share: &mut Share, id: u128) {
        self.count(share, 0);
        self.leave(share, id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_open_message_goes_on_when_memory_is_short() {
        let budget = Budget::new(200_000, 100_000);
        let (mut hog, mut one, mut two) = (Share::default(), Share::default(), Share::default());
        assert!(budget.may_read(&mut one, 1, true));
        budget.count(&mut hog, 150_000);
        assert!(budget.may_read(&mut one, 1, true), "the first to ask");
        assert!(!budget.may_read(&mut two, 2, true));
        assert!(budget.may_read(&mut one, 1, true));
        assert!(!budget.may_read(&mut one, 1, false), "its message has ended");
        assert!(budget.may_read(&mut two, 2, true), "the next in line");
        budget.give_back(&mut hog, 0);
        assert!(budget.may_read(&mut one, 1, false) && budget.may_read(&mut two, 2, true));
        assert_eq!(budget.used(), 0);
        assert!(budget.waiting.lock().expect("unpoisoned").is_empty());
    }

    #[test]
    fn small_use_costs_nothing() {
        let budget = Budget::new(200_000, 100_000);
        let mut share = Share::default();
        budget.count(&mut share, UNCOUNTED);
        assert_eq!(budget.used(), 0);
        budget.count(&mut share, UNCOUNTED + 5);
        assert_eq!(budget.used(), 5);
    }
}
