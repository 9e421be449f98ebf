//! Whether one backend is about to go, as far as its Closes let infer. It has not said so: a Close may be meant for
//! one session alone, so this holds for a while only, and its pool keeps some that stay.
//!
//! ```text
//!   +---------+   a Close lets infer it    +---------+   its pool can do without it   +---------+
//!   | staying | -------------------------> | wishing | -----------------------------> | leaving |
//!   +---------+                            +---------+                                +---------+
//!        ^                                      |                                          |
//!        +--------------------------------------+------------------------------------------+
//!          so long after the last such Close; a good check that was begun late enough after it; its
//!          checks have taken it down and up; a session that was sent to try it has lasted
//! ```

use std::time::Duration;

use steadfast_protocol::time::Time;

use super::drain_reason::DrainReason;

/// A process that ends in good order passes its checks for a while; one that was begun so long after its last
/// Close asks another.
const GRACE: Duration = Duration::from_secs(10);

/// Where it stands.
#[derive(Debug, Default)]
pub(super) enum Departure {
    #[default]
    Staying,
    Wishing(Wish),
    Leaving(Wish),
}

/// What lets infer it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    /// The first Close that did.
    reason: DrainReason,
    /// The last one.
    last: Time,
}

impl Departure {
    /// A Close lets infer it. True: nothing did before.
    pub(super) fn inferred(&mut self, now: Time, reason: DrainReason) -> bool {
        match self {
            Departure::Staying => {
                *self = Departure::Wishing(Wish { reason, last: now });
                true
            }
            Departure::Wishing(wish) | Departure::Leaving(wish) => {
                // Workers read the clock before they come here, and may come in another order.
                wish.last = wish.last.max(now);
                false
            }
        }
    }

    /// Its pool can do without it.
    pub(super) fn grant(&mut self) {
        if let Departure::Wishing(wish) = *self {
            *self = Departure::Leaving(wish);
        }
    }

    /// Time alone: it is over `timeout` after the last Close.
    pub(super) fn advance(&mut self, now: Time, timeout: Duration) {
        if self.wish().is_some_and(|wish| now.since(wish.last) >= timeout) {
            self.end();
        }
    }

    /// A good check, which was begun then, has ended.
    pub(super) fn answered(&mut self, begun: Time) {
        if self.wish().is_some_and(|wish| begun.since(wish.last) >= GRACE) {
            self.end();
        }
    }

    /// It is another process by now, or serves on.
    pub(super) fn end(&mut self) {
        *self = Departure::Staying;
    }

    /// It waits until its pool can do without it.
    pub(super) fn is_wished(&self) -> bool {
        matches!(self, Departure::Wishing(_))
    }

    /// What lets infer it, if its pool can do without it.
    pub(super) fn leaves(&self) -> Option<DrainReason> {
        match self {
            Departure::Leaving(wish) => Some(wish.reason),
            Departure::Staying | Departure::Wishing(_) => None,
        }
    }

    fn wish(&self) -> Option<&Wish> {
        match self {
            Departure::Staying => None,
            Departure::Wishing(wish) | Departure::Leaving(wish) => Some(wish),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Time {
        Time::after_origin(Duration::from_secs(seconds))
    }

    fn wishing() -> Departure {
        let mut departure = Departure::default();
        assert!(departure.inferred(at(100), DrainReason::Restart));
        departure
    }

    fn leaving() -> Departure {
        let mut departure = wishing();
        departure.grant();
        assert_eq!(departure.leaves(), Some(DrainReason::Restart));
        departure
    }

    /// From both states in which it is inferred.
    fn both() -> [Departure; 2] {
        [wishing(), leaving()]
    }

    fn is_over(departure: &Departure) -> bool {
        matches!(departure, Departure::Staying)
    }

    #[test]
    fn staying_to_wishing_by_a_close() {
        let departure = wishing();
        assert_eq!((departure.is_wished(), departure.leaves()), (true, None));
    }

    #[test]
    fn wishing_to_leaving_when_its_pool_can_do_without_it() {
        let departure = leaving();
        assert!(!departure.is_wished());
    }

    #[test]
    fn who_stays_is_granted_nothing() {
        let mut departure = Departure::default();
        departure.grant();
        assert!(is_over(&departure));
    }

    #[test]
    fn to_staying_so_long_after_the_last_close() {
        for mut departure in both() {
            assert!(!departure.inferred(at(120), DrainReason::GoingAway));
            assert!(!departure.inferred(at(110), DrainReason::Restart), "a late word does not shorten it");
            departure.advance(at(179), TIMEOUT);
            assert!(!is_over(&departure));
            departure.advance(at(180), TIMEOUT);
            assert!(is_over(&departure));
        }
    }

    #[test]
    fn to_staying_by_a_good_check_that_was_begun_late_enough() {
        for mut departure in both() {
            departure.answered(at(109));
            assert!(!is_over(&departure), "a process that ends in good order answers its checks");
            departure.answered(at(110));
            assert!(is_over(&departure));
        }
    }

    #[test]
    fn to_staying_when_it_is_another_or_serves_on() {
        for mut departure in both() {
            departure.end();
            assert!(is_over(&departure));
            assert!(departure.inferred(at(101), DrainReason::GoingAway), "it may be inferred anew");
        }
    }
}
