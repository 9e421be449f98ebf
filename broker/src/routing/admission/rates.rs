//! How often each address may upgrade.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::{DashMapStateStore, ShrinkableKeyedStateStore};
use governor::{Quota, RateLimiter};

use crate::clock;
use crate::config::settings::AccessSettings;
use crate::net::address::Address;

/// Addresses that are remembered at the most. One is forgotten when it has its whole burst again, and
/// every upgrade puts that off by a second at the most, so that the table fills only when there are
/// tens of thousands of upgrades in each second.
const ADDRESSES_MAX: usize = 100_000;

/// How often addresses that are quiet again are forgotten; in nanoseconds.
const SWEEP: u64 = 1_000_000_000;

/// The broker's clock, as the rate limiter reads it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BrokerClock;

impl Clock for BrokerClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        clock::now().since_origin().into()
    }
}

/// What the rules allow each address; `None`: all.
pub(super) fn quota(access: &AccessSettings) -> Option<Quota> {
    let rate = NonZeroU32::new(access.upgrades_per_second?).unwrap_or(NonZeroU32::MIN);
    let burst = NonZeroU32::new(access.upgrades_burst).unwrap_or(rate);
    Some(Quota::per_second(rate).allow_burst(burst))
}

/// A token bucket for each address.
pub(super) struct Rates<C: Clock<Instant = Nanos>> {
    quota: Quota,
    limiter: RateLimiter<Address, RateTable, C, NoOpMiddleware<Nanos>>,
    table: RateTable,
    clock: C,
    addresses_max: usize,
    /// Addresses in the table, give or take a few that came at the same time; each sweep counts anew.
    addresses: AtomicUsize,
    /// When the table was last swept.
    swept: AtomicU64,
}

impl<C: Clock<Instant = Nanos> + Clone> Rates<C> {
    pub(super) fn new(quota: Quota, clock: C) -> Rates<C> {
        let table = RateTable::default();
        Rates {
            quota,
            limiter: RateLimiter::new(quota, table.clone(), clock.clone()),
            table,
            clock,
            addresses_max: ADDRESSES_MAX,
            addresses: AtomicUsize::new(0),
            swept: AtomicU64::new(0),
        }
    }

    pub(super) fn quota(&self) -> Quota {
        self.quota
    }

    /// Takes one upgrade from the address's bucket.
    ///
    /// When the table is full, addresses that are not in it are denied: to let them in unjudged would
    /// lift the limit for whoever fills the table, and to push others out would give those their
    /// bursts again. It lasts no longer than the flood, and known addresses do not notice.
    ///
    /// # Errors
    /// The bucket is empty, or the table full. The number says when to try again: in seconds, rounded
    /// up.
    pub(super) fn check(&self, address: Address) -> Result<(), u32> {
        let now = self.clock.now();
        self.sweep(now.as_u64());
        if !self.table.0.contains_key(&address) {
            if self.addresses.load(Relaxed) >= self.addresses_max {
                return Err(1);
            }
            self.addresses.fetch_add(1, Relaxed);
        }
        self.limiter.check_key(&address).map_err(|denied| seconds(denied.wait_time_from(now)))
    }

    /// One of the workers does it for all, and not too often, so that a full table costs little.
    fn sweep(&self, now: u64) {
        let last = self.swept.load(Relaxed);
        let due = now.saturating_sub(last) >= SWEEP;
        if due && self.swept.compare_exchange(last, now, Relaxed, Relaxed).is_ok() {
            self.limiter.retain_recent();
            self.addresses.store(self.table.0.len(), Relaxed);
        }
    }
}

/// Whole seconds that are no shorter than `wait`; at least one.
fn seconds(wait: Duration) -> u32 {
    let begun = u64::from(wait.subsec_nanos() > 0);
    u32::try_from(wait.as_secs().saturating_add(begun)).unwrap_or(u32::MAX).max(1)
}

/// The limiter's table, which it does not show otherwise.
#[derive(Clone, Default)]
struct RateTable(Arc<DashMapStateStore<Address>>);

impl StateStore for RateTable {
    type Key = Address;

    fn measure_and_replace<T, F, E>(&self, key: &Address, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure_and_replace(key, f)
    }
}

impl ShrinkableKeyedStateStore<Address> for RateTable {
    fn retain_recent(&self, drop_below: Nanos) {
        self.0.retain_recent(drop_below);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use governor::clock::FakeRelativeClock;
    use proptest::prelude::*;

    use super::*;

    fn address(number: u32) -> Address {
        Address::V4(number.to_be_bytes())
    }

    fn rates(per_second: u32, burst: u32) -> (Rates<FakeRelativeClock>, FakeRelativeClock) {
        let access = AccessSettings {
            upgrades_per_second: Some(per_second),
            upgrades_burst: burst,
            ..AccessSettings::default()
        };
        let clock = FakeRelativeClock::default();
        (Rates::new(quota(&access).expect("a quota"), clock.clone()), clock)
    }

    fn let_in(rates: &Rates<FakeRelativeClock>, who: u32, tries: u32) -> usize {
        (0..tries).filter(|_| rates.check(address(who)).is_ok()).count()
    }

    #[test]
    fn the_quota_is_that_of_the_rules() {
        assert_eq!(quota(&AccessSettings::default()), None);
        let (rates, _) = rates(10, 20);
        assert_eq!(rates.quota().burst_size().get(), 20);
        assert_eq!(rates.quota().replenish_interval(), Duration::from_millis(100));
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let (rates, clock) = rates(10, 20);
        assert_eq!(let_in(&rates, 1, 30), 20);
        assert_eq!(let_in(&rates, 2, 30), 20);
        clock.advance(Duration::from_millis(99));
        assert_eq!(let_in(&rates, 1, 5), 0);
        clock.advance(Duration::from_millis(1));
        assert_eq!(let_in(&rates, 1, 5), 1);
        clock.advance(Duration::from_secs(1));
        assert_eq!(let_in(&rates, 1, 30), 10);
        clock.advance(Duration::from_secs(60));
        assert_eq!(let_in(&rates, 1, 30), 20);
    }

    #[test]
    fn denied_upgrades_use_up_nothing() {
        let (rates, clock) = rates(1, 1);
        assert_eq!(let_in(&rates, 1, 1000), 1);
        clock.advance(Duration::from_secs(1));
        assert_eq!(rates.check(address(1)), Ok(()));
    }

    #[test]
    fn the_wait_is_in_whole_seconds_rounded_up() {
        let cases = [(0, 1), (1, 1), (999_999_999, 1), (1_000_000_000, 1), (1_000_000_001, 2)];
        for (nanos, expected) in cases {
            assert_eq!(seconds(Duration::from_nanos(nanos)), expected, "{nanos}");
        }
        assert_eq!(seconds(Duration::MAX), u32::MAX);
        let (rates, _) = rates(1, 1);
        assert_eq!(rates.check(address(1)), Ok(()));
        assert_eq!(rates.check(address(1)), Err(1));
    }

    #[test]
    fn quiet_addresses_are_forgotten() {
        let (rates, clock) = rates(10, 20);
        for who in 0..500 {
            assert_eq!(rates.check(address(who)), Ok(()));
        }
        assert_eq!(let_in(&rates, 7, 30), 19);
        assert_eq!(rates.table.len(), 500);
        clock.advance(Duration::from_secs(1));
        assert_eq!(rates.check(address(1000)), Ok(()));
        // The one that has not its whole burst again, and the new one.
        assert_eq!(rates.table.len(), 2);
        assert_eq!(let_in(&rates, 7, 30), 10);
        clock.advance(Duration::from_secs(10));
        assert_eq!(rates.check(address(7)), Ok(()));
        assert_eq!(rates.table.len(), 1);
    }

    #[test]
    fn a_full_table_denies_those_it_does_not_know() {
        let (mut rates, clock) = rates(1, 2);
        rates.addresses_max = 3;
        for who in 0..3 {
            assert_eq!(rates.check(address(who)), Ok(()));
        }
        assert_eq!(rates.check(address(3)), Err(1));
        assert_eq!(rates.check(address(0)), Ok(()));
        assert_eq!(rates.table.len(), 3);
        clock.advance(Duration::from_secs(5));
        assert_eq!(rates.check(address(3)), Ok(()));
    }

    #[test]
    fn threads_share_a_bucket() {
        let (rates, _) = rates(1, 100);
        let total: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| let_in(&rates, 1, 100))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(total, 100);
    }

    proptest! {
        /// Whatever the moments, no stretch of time lets in more than the burst and the rate.
        #[test]
        fn no_stretch_has_more_than_burst_and_rate(
            per_second in 1u32..50,
            burst in 1u32..50,
            waits in prop::collection::vec(0u64..400, 1..100),
        ) {
            let (rates, clock) = rates(per_second, burst);
            let mut now = 0;
            let mut passed = Vec::new();
            for wait in waits {
                clock.advance(Duration::from_millis(wait));
                now += wait;
                passed.extend(rates.check(address(1)).is_ok().then_some(now));
            }
            for (first, from) in passed.iter().enumerate() {
                for (last, to) in passed.iter().enumerate().skip(first) {
                    // The limiter's interval is rounded down to nanoseconds, which adds less than one.
                    let most = u64::from(burst) + (to - from) * u64::from(per_second) / 1000 + 1;
                    prop_assert!((last - first + 1) as u64 <= most);
                }
            }
        }
    }
}
