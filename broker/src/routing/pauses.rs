//! Listeners that take no new sessions for a while, as an operator has asked. A listener is known by its
//! number, its place in the configuration, which no reload changes.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Which listeners are paused. None is at the start.
#[derive(Debug)]
pub(crate) struct Pauses(Box<[AtomicBool]>);

impl Pauses {
    /// For so many listeners.
    pub(crate) fn new(listeners: usize) -> Pauses {
        Pauses((0..listeners).map(|_| AtomicBool::new(false)).collect())
    }

    /// True: the listener was not in this state.
    pub(crate) fn set(&self, listener: usize, paused: bool) -> bool {
        self.0.get(listener).is_some_and(|state| state.swap(paused, Relaxed) != paused)
    }

    pub(crate) fn is_paused(&self, listener: usize) -> bool {
        self.0.get(listener).is_some_and(|state| state.load(Relaxed))
    }

    /// Nobody gets in anywhere.
    pub(crate) fn all(&self) -> bool {
        self.0.iter().all(|state| state.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_listener_is_paused_for_itself() {
        let pauses = Pauses::new(2);
        assert!(!pauses.is_paused(0) && !pauses.all());
        assert!(pauses.set(0, true));
        assert!(!pauses.set(0, true), "it was already");
        assert!(pauses.is_paused(0) && !pauses.is_paused(1) && !pauses.all());
        assert!(pauses.set(1, true) && pauses.all());
        assert!(pauses.set(0, false) && !pauses.all());
    }

    #[test]
    fn an_unknown_listener_is_none() {
        let pauses = Pauses::new(1);
        assert!(!pauses.set(1, true) && !pauses.is_paused(1));
    }
}
