//! The broker's clock: the only place that reads it for the session machine.
//!
//! Time in which the broker itself was stopped is left out (SIGSTOP, a debugger, a machine whose guests are paused): nobody
//! else has failed to do anything in it, and what was said meanwhile is still to be read. The main thread notes four times
//! a second that the broker runs; who reads the clock much later than the last note puts it back to where it may have been.

use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use nix::time::ClockId;
use steadfast_protocol::time::Time;

/// After so long without a note, the broker has not run. Much longer than a busy main thread keeps a note waiting.
const STOPPED: Duration = Duration::from_secs(1);

static CLOCK: OnceLock<Clock> = OnceLock::new();

/// A clock that leaves out what it is told to.
#[derive(Debug)]
struct Clock {
    origin: Instant,
    /// The same by [`monotonic`].
    origin_micros: u64,
    /// When the broker was last known to run, in microseconds since the origin; zero: nobody notes it.
    noted: AtomicU64,
    /// Microseconds that are left out.
    left_out: AtomicU64,
    /// Whoever puts the clock back does so alone.
    putting_back: Mutex<()>,
}

impl Clock {
    fn new() -> Clock {
        let [noted, left_out] = [const { AtomicU64::new(0) }; 2];
        // In this order: a timer may be late by what lies between, and never early.
        let origin_micros = monotonic();
        let origin = Instant::now();
        Clock { origin, origin_micros, noted, left_out, putting_back: Mutex::new(()) }
    }

    /// Microseconds since the origin.
    #[inline]
    fn passed(&self) -> u64 {
        monotonic().saturating_sub(self.origin_micros)
    }

    /// `passed`: since the origin, in microseconds. It is asked again when the clock was put back meanwhile.
    #[inline]
    fn read(&self, passed: impl Fn() -> u64) -> u64 {
        loop {
            let left_out = self.left_out.load(Acquire);
            let now = passed();
            let noted = self.noted.load(Acquire);
            if noted > 0 && now.saturating_sub(noted) > STOPPED.as_micros() as u64 {
                self.put_back(now);
            } else if self.left_out.load(Acquire) == left_out {
                return now - left_out;
            }
        }
    }

    /// To the latest moment that anybody may have read before the broker was stopped.
    #[cold]
    fn put_back(&self, now: u64) {
        let _alone = self.putting_back.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = self.noted.load(Acquire) + STOPPED.as_micros() as u64;
        if now > latest {
            self.left_out.store(self.left_out.load(Acquire) + (now - latest), Release);
            self.noted.store(now, Release);
        }
    }

    fn note(&self, now: u64) {
        let _alone = self.putting_back.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_sub(self.noted.load(Acquire)) <= STOPPED.as_micros() as u64
            || self.noted.load(Acquire) == 0
        {
            self.noted.store(now.max(1), Release);
        }
    }
}

/// Microseconds of the clock that [`Instant`] reads too (clock_gettime(2)). It is read with each message, and the
/// difference of two instants costs as much as the reading.
#[inline]
fn monotonic() -> u64 {
    let since_boot = ClockId::CLOCK_MONOTONIC.now();
    since_boot.map_or(0, |time| time.tv_sec() as u64 * 1_000_000 + time.tv_nsec() as u64 / 1000)
}

fn clock() -> &'static Clock {
    CLOCK.get_or_init(Clock::new)
}

/// Now, counted from the first time that anyone asked, without the time in which the broker was stopped.
pub(crate) fn now() -> Time {
    let clock = clock();
    Time::after_micros(clock.read(|| clock.passed()))
}

/// Notes that the broker runs, and returns the time. To be called several times in a second.
pub(crate) fn note() -> Time {
    let (clock, now) = (clock(), now());
    clock.note(clock.passed());
    now
}

/// The same moment as tokio's timers understand it.
pub(crate) fn instant(at: Time) -> tokio::time::Instant {
    let clock = clock();
    let left_out = Duration::from_micros(clock.left_out.load(Acquire));
    (clock.origin + at.since_origin() + left_out).into()
}

/// Now as people write it. It may jump, so it is shown and nothing else.
#[allow(clippy::disallowed_methods, reason = "the one place")]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn time_in_which_the_broker_did_not_run_is_left_out() {
        let clock = Clock::new();
        let at = |micros| clock.read(|| micros);
        assert_eq!(at(100 * SECOND), 100 * SECOND, "nobody notes whether it runs");
        clock.note(100 * SECOND);
        assert_eq!(at(101 * SECOND), 101 * SECOND);
        assert_eq!(at(500 * SECOND), 101 * SECOND, "it never goes back behind what was read");
        assert_eq!(at(501 * SECOND), 102 * SECOND);
        clock.note(501 * SECOND);
        assert_eq!(at(502 * SECOND), 103 * SECOND);
        // The main thread is the first that runs again.
        clock.note(900 * SECOND);
        assert_eq!(at(900 * SECOND), 103 * SECOND);
    }

    #[test]
    fn a_busy_broker_loses_no_time_though_nothing_is_noted() {
        let clock = Clock::new();
        clock.note(1);
        let read = |tenths: u64| clock.read(|| tenths * SECOND / 10);
        let all: Vec<_> = (1..=100).map(read).collect();
        assert!(all.is_sorted());
        assert!(all[99] >= 9 * SECOND, "{} of ten seconds", all[99]);
    }

    #[test]
    fn who_is_stopped_while_it_reads_the_clock_reads_it_again() {
        let (clock, reads) = (Clock::new(), Cell::new(0));
        clock.note(SECOND);
        let read = clock.read(|| {
            reads.set(reads.get() + 1);
            if reads.get() == 1 {
                // Between its two looks another thread puts the clock back.
                clock.put_back(500 * SECOND);
            }
            if reads.get() == 1 { SECOND } else { 500 * SECOND }
        });
        assert_eq!((read, reads.get()), (2 * SECOND, 2));
    }
}
