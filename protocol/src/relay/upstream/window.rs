//! How much may be written beyond the last pong, so that little lies unread at a slow backend.
//!
//! A backend that is fast gets as much as it reads in the time of two pongs, and one that is slow no more than a
//! few messages. The kernel cannot bound this: its buffers for one connection take megabytes, and a reader that
//! was fast for a moment keeps them for good.
//!
//! ```text
//!   sample = bytes that a pong acknowledges / its time         (from the ping's writing to the pong)
//!   rate   = the best sample of late; falls only while the window is the limit
//!   window = 2 x rate x shortest pong time, the ring at most; or MESSAGES, with FLOOR bytes at most.
//!            4 x, as long as pongs do not wait behind anything
//! ```

use std::time::Duration;

use super::NOWHERE;

/// Messages that may always be written beyond the last pong,
pub(super) const MESSAGES: u64 = 64;

/// if they have no more bytes than these.
pub(super) const FLOOR: u64 = 256 * 1024;

/// So many times what is under way on the way itself is the window, and as long as nothing waits at its end.
const GAIN: u128 = 2;
const FASTER: u128 = 4;

/// The floors are divided by so many powers of two at the most, for a backend whose pongs take long.
const SLOWEST: u8 = 3;

/// A part of [`WindowPace::patience`]; a pong that takes longer makes the floors lower.
const LATE: u32 = 2;

/// And one that takes less than this part makes them higher again.
const PROMPT: u32 = 8;

/// The window of one connection, once it has been a limit.
#[derive(Debug)]
pub(super) struct WindowPace {
    /// Nothing behind this position is written, if it is not [`NOWHERE`].
    pub(super) limit: u64,
    /// Seq of the message that ends there.
    pub(super) limit_seq: u64,
    /// The acknowledged position for which the limit was found, if more messages cannot change it.
    pub(super) found_for: Option<u64>,
    bytes: u64,
    /// Bytes a second.
    rate: u64,
    slow: u8,
    /// The ring's bytes.
    most: u64,
    /// How long a pong may take at all.
    patience: Duration,
}

impl WindowPace {
    pub(super) fn new(most: u64, patience: Duration) -> WindowPace {
        WindowPace {
            limit: NOWHERE,
            limit_seq: 0,
            found_for: None,
            bytes: 0,
            rate: 0,
            slow: 0,
            most,
            patience,
        }
    }

    /// Whether so many messages, of so many bytes, may be written beyond the last pong.
    pub(super) fn holds(&self, messages: u64, bytes: u64) -> bool {
        let few = messages <= MESSAGES >> self.slow && bytes <= FLOOR >> self.slow;
        few || bytes <= self.bytes
    }

    /// Bytes that may.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.max(FLOOR >> self.slow)
    }

    /// Whether it is as small as it gets with a backend that is not late.
    pub(super) fn is_least(&self) -> bool {
        self.bytes <= FLOOR
    }

    /// A pong has come after `took`, which acknowledges `bytes` more than was when its ping was made. The
    /// shortest that has come on this connection took `shortest`.
    pub(super) fn pong(&mut self, bytes: u64, took: Duration, shortest: Duration) {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        let sample = bytes.saturating_mul(1_000_000) / micros(took);
        let limited = self.limit != NOWHERE;
        // What was not asked for says nothing of how fast it could have come.
        let kept = if limited { self.rate - self.rate / 8 } else { self.rate };
        self.rate = kept.max(sample);
        if !limited {
            return;
        }
        let flight = u128::from(self.rate) * u128::from(micros(shortest)) / 1_000_000;
        // A pong that has not waited behind anything: more can be under way than is.
        let gain = if took * 4 <= shortest * 5 { FASTER } else { GAIN };
        let wanted = u64::try_from(flight.saturating_mul(gain)).unwrap_or(u64::MAX);
        self.bytes = wanted.min(self.bytes.saturating_mul(FASTER as u64).max(FLOOR)).min(self.most);
        if took * LATE > self.patience {
            self.slow = (self.slow + 1).min(SLOWEST);
        } else if took * PROMPT < self.patience {
            self.slow = self.slow.saturating_sub(1);
        }
        self.found_for = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RING: u64 = 16 << 20;
    const PATIENCE: Duration = Duration::from_secs(10);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn limited() -> WindowPace {
        WindowPace { limit: 1, ..WindowPace::new(RING, PATIENCE) }
    }

    #[test]
    fn a_long_way_opens_it_until_it_is_no_limit() {
        let mut pace = limited();
        // A way of 200 ms that carries 20 MB/s.
        for _ in 0..100 {
            let bytes = pace.bytes().min(4_000_000);
            pace.pong(bytes, ms(200), ms(200));
        }
        assert_eq!(pace.bytes(), 16_000_000, "four times what is under way");
        for _ in 0..100 {
            pace.pong(4_000_000, ms(251), ms(200));
        }
        assert!((6_300_000..6_500_000).contains(&pace.bytes()), "twice, at {} bytes a second", pace.rate);
        assert!(pace.holds(1 << 20, 6_300_000) && !pace.holds(MESSAGES + 1, 6_500_000));
    }

    #[test]
    fn a_backend_that_falls_slow_gets_a_few_messages() {
        let mut pace = limited();
        for _ in 0..100 {
            pace.pong(1 << 20, ms(2), ms(2));
        }
        assert!(pace.bytes() > FLOOR);
        for _ in 0..100 {
            pace.pong(8 << 10, ms(400), ms(2));
        }
        assert!(pace.holds(MESSAGES, FLOOR));
        assert!(!pace.holds(MESSAGES, FLOOR + 1) && !pace.holds(MESSAGES + 1, 10_000), "tiny ones as well");
    }

    #[test]
    fn pongs_that_take_long_lower_the_floor_and_prompt_ones_raise_it() {
        let mut pace = limited();
        for _ in 0..10 {
            pace.pong(100, ms(6000), ms(1));
        }
        assert!(pace.holds(MESSAGES >> SLOWEST, 1000) && !pace.holds((MESSAGES >> SLOWEST) + 1, 1000));
        for _ in 0..10 {
            pace.pong(100, ms(10), ms(1));
        }
        assert!(pace.holds(MESSAGES, FLOOR));
    }

    #[test]
    fn what_was_no_limit_neither_opens_nor_narrows_it() {
        let mut pace = limited();
        pace.pong(1 << 20, ms(10), ms(10));
        let before = pace.bytes();
        pace.limit = NOWHERE;
        for _ in 0..100 {
            pace.pong(100, ms(10), ms(10));
        }
        assert_eq!(pace.bytes(), before);
    }

    #[test]
    fn it_is_never_more_than_the_ring() {
        let mut pace = WindowPace { limit: 1, ..WindowPace::new(1 << 20, PATIENCE) };
        for _ in 0..20 {
            pace.pong(1 << 30, ms(100), ms(100));
        }
        assert_eq!(pace.bytes(), 1 << 20);
    }
}
