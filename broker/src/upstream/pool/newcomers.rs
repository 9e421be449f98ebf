//! Newcomers: clients whose request is read and who have no backend yet: a pool whose backends take long, or never
//! answer, may keep only so many of them, so that places for handshakes are left for clients of other pools.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// Those of one pool.
#[derive(Debug, Default)]
pub(crate) struct Newcomers {
    waiting: Arc<AtomicUsize>,
}

/// One that waits; given back when dropped, at the latest.
#[derive(Debug)]
pub(crate) struct NewcomerPermit {
    waiting: Arc<AtomicUsize>,
    held: AtomicBool,
}

impl Newcomers {
    /// Counts one in, if fewer than `max` wait.
    pub(crate) fn join(&self, max: usize) -> Option<NewcomerPermit> {
        let more = |waiting| (waiting < max).then_some(waiting + 1);
        self.waiting.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(NewcomerPermit { waiting: Arc::clone(&self.waiting), held: AtomicBool::new(true) })
    }
}

impl NewcomerPermit {
    /// Makes room for another. What comes after the first time has no effect.
    pub(crate) fn give_back(&self) {
        if self.held.swap(false, Relaxed) {
            self.waiting.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for NewcomerPermit {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_so_many_wait_and_each_is_given_back_once() {
        let newcomers = Newcomers::default();
        let first = newcomers.join(2).expect("room");
        let second = newcomers.join(2).expect("room");
        assert!(newcomers.join(2).is_none());
        first.give_back();
        drop(first);
        let third = newcomers.join(2).expect("room for one");
        assert!(newcomers.join(2).is_none(), "and for no other");
        drop((second, third));
        assert_eq!(newcomers.waiting.load(Relaxed), 0);
    }
}
