//! Time as the machine sees it: given by the driver, never read from a clock.

use std::num::NonZeroU64;
use std::time::Duration;

/// A moment, in microseconds since an origin that the driver chose. Never zero, so that an
/// `Option<Time>` takes no more room than a `Time`; a session has a dozen of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(NonZeroU64);

impl Time {
    /// The origin.
    pub const ORIGIN: Time = Time(NonZeroU64::MIN);

    /// Later than any other moment.
    pub const NEVER: Time = Time(NonZeroU64::MAX);

    /// The moment `since_origin` after the driver's origin.
    pub fn after_origin(since_origin: Duration) -> Time {
        Time::ORIGIN + since_origin
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.get().saturating_sub(earlier.0.get()))
    }

    /// How long ago `earlier` was, in microseconds; zero when it lies ahead.
    pub fn micros_since(self, earlier: Time) -> u64 {
        self.0.get().saturating_sub(earlier.0.get())
    }

    /// The moment so many microseconds after the driver's origin.
    #[inline]
    pub fn after_micros(micros: u64) -> Time {
        Time(Time::ORIGIN.0.saturating_add(micros))
    }

    /// The time from the driver's origin until this moment.
    pub fn since_origin(self) -> Duration {
        self.since(Time::ORIGIN)
    }
}

impl std::ops::Add<Duration> for Time {
    type Output = Time;

    /// Saturates at the end of time, so that a limit of "never" can be written as `Duration::MAX`.
    fn add(self, by: Duration) -> Time {
        let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(micros))
    }
}

/// Since when a message is open.
pub(crate) fn open_since(before: Option<Time>, now: Time, ended: bool, open: bool) -> Option<Time> {
    open.then(|| before.filter(|_| !ended).unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_and_measures() {
        let t = Time::ORIGIN + Duration::from_millis(5);
        assert_eq!(t.since(Time::ORIGIN), Duration::from_millis(5));
        assert_eq!(Time::ORIGIN.since(t), Duration::ZERO);
        assert_eq!(t.since_origin(), Duration::from_millis(5));
    }

    #[test]
    fn saturates() {
        let end = Time::ORIGIN + Duration::MAX;
        assert_eq!(end + Duration::from_secs(1), end);
    }

    #[test]
    fn an_absent_time_takes_no_room() {
        assert_eq!(size_of::<Option<Time>>(), 8);
    }
}
