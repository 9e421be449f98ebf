//! How long the answers of a backend take.

use std::cell::Cell;
use std::time::Duration;

/// Of so many answers, of all connections together, one is late.
const STALLS: u64 = 20;

/// The answers of a whole backend.
#[derive(Debug)]
pub(super) struct Pace {
    delay: Duration,
    stall: Duration,
    answers: Cell<u64>,
}

impl Pace {
    /// Each answer takes `delay`; one in twenty takes `stall` instead, unless that is zero.
    pub(super) fn new(delay: Duration, stall: Duration) -> Self {
        Self { delay, stall, answers: Cell::new(0) }
    }

    /// What the next answer takes.
    pub(super) fn next(&self) -> Duration {
        let answers = self.answers.get() + 1;
        self.answers.set(answers);
        let stalls = !self.stall.is_zero() && answers.is_multiple_of(STALLS);
        if stalls { self.stall } else { self.delay }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_in_twenty_is_late() {
        let (delay, stall) = (Duration::from_millis(1), Duration::from_millis(80));
        let pace = Pace::new(delay, stall);
        let late: Vec<usize> = (1..=60).filter(|_| pace.next() == stall).collect();
        assert_eq!(late, [20, 40, 60]);
        assert!((0..60).all(|_| Pace::new(delay, Duration::ZERO).next() == delay));
    }
}
