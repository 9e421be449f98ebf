//! When a backend last gave a sign of life, to whomever. Any session's thread notes it and asks for it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use steadfast_protocol::time::Time;

/// Signs nearer to each other than this count as one, so that busy threads do not share a write for each.
const GRAIN: u64 = 10_000;

/// The time between probes doubles so often at the most.
const BACK_OFF: u32 = 6;

/// Times in microseconds since the clock's origin; zero: never.
#[derive(Debug, Default)]
pub(crate) struct Life {
    /// A byte of it has come to a session.
    heard: AtomicU64,
    /// It has answered a check, or a probe with at least one byte.
    answered: AtomicU64,
    /// A probe was begun.
    probed: AtomicU64,
    /// So many probes in a row have got no answer.
    unanswered: AtomicU32,
}

impl Life {
    pub(crate) fn heard(&self, now: Time) {
        if note(&self.heard, now) {
            self.unanswered.store(0, Relaxed);
        }
    }

    pub(crate) fn answered(&self, now: Time) {
        self.unanswered.store(0, Relaxed);
        note(&self.answered, now);
    }

    /// Returns when a session last heard it.
    pub(crate) fn last_heard(&self) -> Option<Time> {
        time(self.heard.load(Relaxed))
    }

    /// Returns when it last gave any sign of life.
    pub(crate) fn last(&self) -> Option<Time> {
        time(self.heard.load(Relaxed).max(self.answered.load(Relaxed)))
    }

    /// Whether the caller is to probe it now: once in `interval`, whoever asks, and more seldom while it does not
    /// answer, since what a stopped process has not accepted waits for it.
    pub(crate) fn begins_probe(&self, now: Time, interval: Duration) -> bool {
        let micros = micros(now);
        let interval = interval * (1 << self.unanswered.load(Relaxed).min(BACK_OFF));
        let due = |last: u64| {
            let over = last == 0 || u128::from(micros.saturating_sub(last)) >= interval.as_micros();
            over.then_some(micros)
        };
        let begins = self.probed.fetch_update(Relaxed, Relaxed, due).is_ok();
        if begins {
            self.unanswered.fetch_add(1, Relaxed);
        }
        begins
    }
}

/// True: it is far enough from the last one to be noted.
fn note(at: &AtomicU64, now: Time) -> bool {
    let micros = micros(now);
    let far = micros.saturating_sub(at.load(Relaxed)) >= GRAIN;
    if far {
        at.fetch_max(micros, Relaxed);
    }
    far
}

fn micros(at: Time) -> u64 {
    at.micros_since(Time::ORIGIN).max(1)
}

fn time(micros: u64) -> Option<Time> {
    (micros > 0).then(|| Time::after_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::after_origin(Duration::from_millis(millis))
    }

    #[test]
    fn the_last_sign_of_any_kind_counts() {
        let life = Life::default();
        assert_eq!((life.last(), life.last_heard()), (None, None));
        life.heard(at(100));
        life.answered(at(200));
        assert_eq!((life.last(), life.last_heard()), (Some(at(200)), Some(at(100))));
        life.heard(at(300));
        assert_eq!(life.last(), Some(at(300)));
    }

    #[test]
    fn a_clock_that_another_thread_read_earlier_does_not_set_it_back() {
        let life = Life::default();
        life.heard(at(300));
        life.heard(at(100));
        assert_eq!(life.last(), Some(at(300)));
    }

    #[test]
    fn one_probe_serves_all_who_ask_meanwhile() {
        let (life, interval) = (Life::default(), Duration::from_secs(5));
        assert!(life.begins_probe(at(0), interval));
        assert!(!life.begins_probe(at(4_999), interval));
        assert!(!life.begins_probe(at(5_001), interval), "the first has got no answer");
        assert!(life.begins_probe(at(10_001), interval));
        life.answered(at(10_002));
        assert!(life.begins_probe(at(15_002), interval));
    }
}
