//! How fast an operation goes: a token bucket, filled by time and emptied by moves.

use std::time::Duration;

use steadfast_protocol::time::Time;

/// One session, in the unit in which the bucket is filled: sessions per second times microseconds.
const SESSION: u64 = 1_000_000;

/// What may be saved up for a burst, as time.
const BURST: Duration = Duration::from_millis(250);

/// A token bucket. With the same times it always grants the same.
#[derive(Debug, Clone)]
pub(super) struct TokenBucket {
    level: u64,
    at: Time,
}

impl TokenBucket {
    /// One session may go at once.
    pub(super) fn new(now: Time) -> TokenBucket {
        TokenBucket { level: SESSION, at: now }
    }

    /// How many sessions may go now, at `rate` sessions per second.
    pub(super) fn granted(&mut self, now: Time, rate: u32) -> usize {
        let micros = u64::try_from(now.since(self.at).as_micros()).unwrap_or(u64::MAX);
        let full = (u64::from(rate) * BURST.as_micros() as u64).max(SESSION);
        self.level = self.level.saturating_add(micros.saturating_mul(u64::from(rate))).min(full);
        self.at = now;
        usize::try_from(self.level / SESSION).unwrap_or(usize::MAX)
    }

    /// One of those that were granted has gone.
    pub(super) fn spend(&mut self) {
        self.level = self.level.saturating_sub(SESSION);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Time = Time::ORIGIN;

    /// Takes what is granted at each of these times.
    fn take(pace: &mut TokenBucket, rate: u32, times: impl IntoIterator<Item = Time>) -> Vec<usize> {
        let mut one = |now| {
            let granted = pace.granted(now, rate);
            (0..granted).for_each(|_| pace.spend());
            granted
        };
        times.into_iter().map(&mut one).collect()
    }

    fn every(step: Duration, times: u32) -> impl Iterator<Item = Time> {
        (1..=times).map(move |n| START + step * n)
    }

    #[test]
    fn a_slow_rate_is_kept_to_the_session() {
        let mut pace = TokenBucket::new(START);
        assert_eq!(take(&mut pace, 1, [START]), [1], "the first goes at once");
        let later = take(&mut pace, 1, every(Duration::from_millis(100), 30));
        assert_eq!(later.iter().sum::<usize>(), 3);
        assert!(later.iter().all(|granted| *granted <= 1));
    }

    #[test]
    fn a_fast_rate_is_smooth() {
        let mut pace = TokenBucket::new(START);
        take(&mut pace, 200, [START]);
        assert!(take(&mut pace, 200, every(Duration::from_millis(100), 10)).iter().all(|n| *n == 20));
    }

    #[test]
    fn a_long_wait_saves_up_little() {
        let mut pace = TokenBucket::new(START);
        assert_eq!(pace.granted(START + Duration::from_secs(3600), 200), 50);
    }

    proptest! {
        #[test]
        fn no_more_go_than_the_rate_and_one_burst(
            rate in 1_u32..100_000,
            steps in prop::collection::vec(0_u64..1_000_000, 1..100),
        ) {
            let mut now = START;
            let times: Vec<_> = steps.iter().map(|step| { now = now + Duration::from_micros(*step); now }).collect();
            let gone: usize = take(&mut TokenBucket::new(START), rate, times).iter().sum();
            let allowed = now.since(START).as_secs_f64() * f64::from(rate);
            let burst = (f64::from(rate) * BURST.as_secs_f64()).max(1.0);
            prop_assert!(gone as f64 <= allowed + burst + 1.0);
        }
    }
}
