//! How the backends of a pool answer pings. They run the same program, so that what one shows holds for all.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// So many times the slowest pong that came is a time after which another is missed.
const MARGIN: u32 = 4;

/// What was seen of pongs.
#[derive(Debug, Default)]
pub(crate) struct Pongs {
    /// One has come.
    any: AtomicBool,
    /// One that talks has answered none in time.
    missed: AtomicBool,
    /// The slowest that came before it was missed, in microseconds.
    slowest: AtomicU64,
}

impl Pongs {
    /// One has come.
    pub(crate) fn came(&self) {
        self.any.store(true, Relaxed);
    }

    /// Returns whether one ever has.
    pub(crate) fn ever_came(&self) -> bool {
        self.any.load(Relaxed)
    }

    /// One that talks has answered none in time.
    pub(crate) fn was_missed(&self) {
        self.missed.store(true, Relaxed);
    }

    /// Returns whether that is all that is known.
    pub(crate) fn only_missed(&self) -> bool {
        self.missed.load(Relaxed) && !self.ever_came()
    }

    /// One has come after `took`. What came after it was missed says how long a backend was stopped, not how
    /// slow it is.
    pub(crate) fn was_slow(&self, took: Duration, ack_timeout: Duration) {
        if took <= self.patience(ack_timeout) {
            self.slowest.fetch_max(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
        }
    }

    /// Returns how long a pong may take where nothing else is known of its backend.
    pub(crate) fn patience(&self, ack_timeout: Duration) -> Duration {
        ack_timeout.max(Duration::from_micros(self.slowest.load(Relaxed)).saturating_mul(MARGIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_pool_that_is_slow_while_it_works_gets_more_time() {
        let pongs = Pongs::default();
        assert_eq!(pongs.patience(TIMEOUT), TIMEOUT);
        pongs.was_slow(secs(2), TIMEOUT);
        assert_eq!(pongs.patience(TIMEOUT), TIMEOUT);
        pongs.was_slow(secs(8), TIMEOUT);
        assert_eq!(pongs.patience(TIMEOUT), secs(32));
    }

    #[test]
    fn one_that_was_stopped_gets_no_more() {
        let pongs = Pongs::default();
        pongs.was_slow(secs(60), TIMEOUT);
        assert_eq!(pongs.patience(TIMEOUT), TIMEOUT);
    }
}
