//! The memory that all sessions together may hold.
//!
//! When it is used up, sessions stop reading and TCP pushes back. So that they do not all wait for
//! each other, each in the middle of a message, one message limit is kept aside: the session whose
//! message has been open longest may go on, within it.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

use crate::lock::OrderedMutex;
use crate::lock::rank::MemoryRank;

/// A session's use below this is not counted: most messages come and go within it, and counting
/// each would cost more than it tells.
const UNCOUNTED: usize = 16 * 1024;

/// The total; one for all workers.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
    /// Sessions that wait in the middle of a message, by the time they began to.
    waiting: OrderedMutex<BTreeSet<MemoryPlace>, MemoryRank>,
    turn: AtomicU32,
}

/// A place in the line for it, and whose it is.
type MemoryPlace = (NonZeroU32, (u128, Direction));

/// One session's share of it.
#[derive(Debug, Default)]
pub(crate) struct MemoryShare {
    counted: u32,
    upstream: MemoryLine,
    downstream: MemoryLine,
}

/// Where one direction of a session stands when memory is short.
#[derive(Debug, Default)]
struct MemoryLine {
    /// Its place among those that wait in the middle of a message.
    place: Option<NonZeroU32>,
    /// The last answer was no.
    denied: bool,
}

/// Which way a session wants to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    /// From the client.
    Upstream,
    /// From the backend. Between messages it is always read: pongs come from there, and they are
    /// what makes room.
    Downstream,
}

impl MemoryShare {
    /// It wants to read and may not yet.
    pub(crate) fn waits(&self) -> bool {
        self.upstream.denied || self.downstream.denied
    }

    fn line(&mut self, direction: Direction) -> &mut MemoryLine {
        match direction {
            Direction::Upstream => &mut self.upstream,
            Direction::Downstream => &mut self.downstream,
        }
    }
}

impl Budget {
    /// `total` bytes, of which `reserve` are kept aside.
    pub(crate) fn new(total: usize, reserve: usize) -> Budget {
        Budget {
            limit: total.saturating_sub(reserve),
            used: AtomicUsize::new(0),
            waiting: OrderedMutex::default(),
            turn: Default::default(),
        }
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// It is used up.
    #[inline]
    pub(crate) fn is_short(&self) -> bool {
        self.used() >= self.limit
    }

    /// A session now holds `buffered` bytes.
    #[inline]
    pub(crate) fn count(&self, share: &mut MemoryShare, buffered: usize) {
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
    pub(crate) fn may_read(
        &self,
        share: &mut MemoryShare,
        id: u128,
        direction: Direction,
        open: bool,
    ) -> bool {
        let line = share.line(direction);
        if self.used() < self.limit && line.place.is_none() {
            line.denied = false;
            return true;
        }
        let may = self.may_read_when_tight(line, (id, direction), open);
        line.denied = !may;
        may
    }

    fn may_read_when_tight(&self, line: &mut MemoryLine, who: (u128, Direction), open: bool) -> bool {
        if !open || self.used() < self.limit {
            self.leave(line, who);
            return self.used() < self.limit || who.1 == Direction::Downstream;
        }
        let mut waiting = self.waiting.lock();
        let turn = || NonZeroU32::MIN.saturating_add(self.turn.fetch_add(1, Relaxed));
        let place = *line.place.get_or_insert_with(turn);
        waiting.insert((place, who));
        waiting.first() == Some(&(place, who))
    }

    fn leave(&self, line: &mut MemoryLine, who: (u128, Direction)) {
        if let Some(place) = line.place.take() {
            self.waiting.lock().remove(&(place, who));
        }
    }

    /// A session has nothing to read this way, or wants nothing: it is in nobody's way.
    #[inline]
    pub(crate) fn rest(&self, share: &mut MemoryShare, id: u128, direction: Direction) {
        let line = share.line(direction);
        line.denied = false;
        self.leave(line, (id, direction));
    }

    /// A session has ended.
    pub(crate) fn give_back(&self, share: &mut MemoryShare, id: u128) {
        self.count(share, 0);
        for direction in [Direction::Upstream, Direction::Downstream] {
            self.rest(share, id, direction);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Direction::{Downstream, Upstream};
    use super::*;

    #[test]
    fn pongs_are_read_however_short_memory_is() {
        let budget = Budget::new(200_000, 100_000);
        let (mut hog, mut one, mut two) =
            (MemoryShare::default(), MemoryShare::default(), MemoryShare::default());
        budget.count(&mut hog, 150_000);
        assert!(budget.may_read(&mut one, 1, Upstream, true));
        assert!(budget.may_read(&mut one, 1, Downstream, false), "between messages");
        assert!(!budget.may_read(&mut two, 2, Downstream, true), "one is first");
        assert!(
            budget.may_read(&mut one, 1, Upstream, true),
            "asking for the other way has not cost its place"
        );
        assert!(two.waits() && !one.waits());
        budget.give_back(&mut one, 1);
        assert!(budget.may_read(&mut two, 2, Downstream, true));
    }

    #[test]
    fn the_oldest_open_message_goes_on_when_memory_is_short() {
        let budget = Budget::new(200_000, 100_000);
        let (mut hog, mut one, mut two) =
            (MemoryShare::default(), MemoryShare::default(), MemoryShare::default());
        assert!(budget.may_read(&mut one, 1, Upstream, true));
        budget.count(&mut hog, 150_000);
        assert!(budget.may_read(&mut one, 1, Upstream, true), "the first to ask");
        assert!(!budget.may_read(&mut two, 2, Upstream, true));
        assert!(budget.may_read(&mut one, 1, Upstream, true));
        assert!(!budget.may_read(&mut one, 1, Upstream, false), "its message has ended");
        assert!(budget.may_read(&mut two, 2, Upstream, true), "the next in line");
        budget.give_back(&mut hog, 0);
        assert!(
            budget.may_read(&mut one, 1, Upstream, false) && budget.may_read(&mut two, 2, Upstream, true)
        );
        assert_eq!(budget.used(), 0);
        assert!(budget.waiting.lock().is_empty());
    }

    #[test]
    fn who_does_not_read_keeps_nobody_waiting() {
        let budget = Budget::new(200_000, 100_000);
        let (mut hog, mut one, mut two) =
            (MemoryShare::default(), MemoryShare::default(), MemoryShare::default());
        budget.count(&mut hog, 150_000);
        assert!(budget.may_read(&mut one, 1, Upstream, true));
        assert!(!budget.may_read(&mut two, 2, Upstream, true));
        budget.rest(&mut one, 1, Upstream);
        assert!(budget.may_read(&mut two, 2, Upstream, true));
        assert!(!budget.may_read(&mut one, 1, Upstream, true), "it has lost its place");
        budget.rest(&mut one, 1, Upstream);
        assert!(!one.waits());
    }

    #[test]
    fn small_use_costs_nothing() {
        let budget = Budget::new(200_000, 100_000);
        let mut share = MemoryShare::default();
        budget.count(&mut share, UNCOUNTED);
        assert_eq!(budget.used(), 0);
        budget.count(&mut share, UNCOUNTED + 5);
        assert_eq!(budget.used(), 5);
    }
}
