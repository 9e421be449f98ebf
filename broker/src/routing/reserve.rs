//! Clients that were sent to a backend and have had no time yet to get there: their places, until they count no more.

use std::collections::BTreeMap;

use steadfast_protocol::time::Time;

use crate::lock::OrderedMutex;
use crate::lock::rank::ReserveRank;
use crate::routing::admission::AddressPermits;
use crate::upstream::backend::ReservedPlace;

/// Those of all pools. Somebody must [`release`](Reserve::release) them from time to time.
#[derive(Debug)]
pub(crate) struct Reserve<P = SentClient> {
    held: OrderedMutex<HeldPlaces<P>, ReserveRank>,
    /// No more are kept at once.
    max: usize,
}

/// One client that was sent on.
#[derive(Debug)]
pub(crate) struct SentClient {
    pub(crate) _place: ReservedPlace,
    /// Its places among those of its address.
    pub(crate) _permits: AddressPermits,
}

#[derive(Debug)]
struct HeldPlaces<P> {
    /// Tells those of one moment apart.
    number: u64,
    by_end: BTreeMap<(Time, u64), P>,
}

impl<P> Reserve<P> {
    /// Empty, with room for `max`.
    pub(crate) fn new(max: usize) -> Reserve<P> {
        Reserve { held: OrderedMutex::new(HeldPlaces { number: 0, by_end: BTreeMap::new() }), max }
    }

    /// Keeps one until then. False: there are as many as there may be, and this one is not kept.
    pub(crate) fn keep(&self, until: Time, sent: P) -> bool {
        let mut held = self.held.lock();
        let has_room = held.by_end.len() < self.max;
        if has_room {
            held.number += 1;
            let number = held.number;
            held.by_end.insert((until, number), sent);
        }
        // What is left over takes other locks when it is dropped.
        drop(held);
        has_room
    }

    /// Lets those go whose time is over.
    pub(crate) fn release(&self, now: Time) {
        let over = {
            let mut held = self.held.lock();
            if held.by_end.first_key_value().is_none_or(|((until, _), _)| *until > now) {
                return;
            }
            let later = held.by_end.split_off(&(now, u64::MAX));
            std::mem::replace(&mut held.by_end, later)
        };
        drop(over);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Time {
        Time::after_micros(seconds * 1_000_000)
    }

    #[test]
    fn each_counts_until_its_time_is_over() {
        let (reserve, place) = (Reserve::new(8), Arc::new(()));
        let kept = || Arc::strong_count(&place) - 1;
        for until in [5, 3, 5, 9] {
            assert!(reserve.keep(at(until), Arc::clone(&place)));
        }
        for (now, left) in [(0, 4), (2, 4), (3, 3), (4, 3), (5, 1), (8, 1), (9, 0), (10, 0)] {
            reserve.release(at(now));
            assert_eq!(kept(), left, "after {now} s");
        }
    }

    #[test]
    fn there_are_no_more_than_there_may_be() {
        let (reserve, place) = (Reserve::new(2), Arc::new(()));
        assert!(reserve.keep(at(1), Arc::clone(&place)) && reserve.keep(at(2), Arc::clone(&place)));
        assert!(!reserve.keep(at(3), Arc::clone(&place)));
        assert_eq!(Arc::strong_count(&place), 3, "what is not kept is given back");
        reserve.release(at(1));
        assert!(reserve.keep(at(3), Arc::clone(&place)));
    }

    proptest! {
        #[test]
        fn those_of_the_future_are_kept_and_no_others(
            ends in prop::collection::vec(0_u64..10, 0..20),
            now in 0_u64..10,
        ) {
            let (reserve, place) = (Reserve::new(usize::MAX), Arc::new(()));
            for end in &ends {
                reserve.keep(at(*end), Arc::clone(&place));
            }
            reserve.release(at(now));
            let left = ends.iter().filter(|end| **end > now).count();
            prop_assert_eq!(Arc::strong_count(&place) - 1, left);
        }
    }
}
