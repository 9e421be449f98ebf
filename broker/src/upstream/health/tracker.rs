//! The health of one backend as active checks see it, and its share while it recovers.
//!
//! ```text
//!                +----------+   a good probe   +------+
//!                | unproven | ---------------> |  up  | <--+
//!                +----------+                  +------+    |
//!                     | a bad probe               | `fall` | `rise`
//!                     |                           v bad    | good
//!                     |                        +------+    |
//!                     +----------------------> | down | ---+
//!                                              +------+
//! ```

use std::time::Duration;

use crate::words::words;

words! {
    /// What checks say of a backend.
    pub(crate) enum HealthWord {
        /// Nothing so far.
        Unproven = "unproven",
        Up = "up",
        Down = "down",
    }
}

/// Whether a backend is up. It starts up, so that a broker without a single answer yet can serve, but
/// unproven: nothing speaks for it, so one bad probe is enough.
#[derive(Debug)]
pub(crate) struct HealthTracker(HealthState);

#[derive(Debug)]
enum HealthState {
    Unproven,
    Up {
        /// Bad probes in a row.
        bad: u32,
    },
    Down {
        /// Good probes in a row.
        good: u32,
    },
}

/// A change of health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It was down and is up.
    Up,
    /// It was up and is down.
    Down,
}

impl HealthTracker {
    pub(crate) fn new() -> HealthTracker {
        HealthTracker(HealthState::Unproven)
    }

    /// A probe has ended. `rise` good ones in a row take the backend up, `fall` bad ones take it down;
    /// both may change from one probe to the next, and zero counts as one.
    pub(crate) fn observe(&mut self, good: bool, rise: u32, fall: u32) -> Option<Turn> {
        let (state, turn) = match (&self.0, good) {
            (HealthState::Unproven | HealthState::Up { .. }, true) => (HealthState::Up { bad: 0 }, None),
            (HealthState::Unproven, false) => (HealthState::Down { good: 0 }, Some(Turn::Down)),
            (HealthState::Up { bad }, false) => match bad.saturating_add(1) {
                bad if bad >= fall => (HealthState::Down { good: 0 }, Some(Turn::Down)),
                bad => (HealthState::Up { bad }, None),
            },
            (HealthState::Down { .. }, false) => (HealthState::Down { good: 0 }, None),
            (HealthState::Down { good }, true) => match good.saturating_add(1) {
                good if good >= rise => (HealthState::Up { bad: 0 }, Some(Turn::Up)),
                good => (HealthState::Down { good }, None),
            },
        };
        self.0 = state;
        turn
    }

    /// Whether a probe has come back.
    pub(crate) fn is_proven(&self) -> bool {
        !matches!(self.0, HealthState::Unproven)
    }

    /// Whether sessions may come.
    pub(crate) fn is_up(&self) -> bool {
        !matches!(self.0, HealthState::Down { .. })
    }

    /// Where it stands, in one word.
    pub(crate) fn word(&self) -> HealthWord {
        match self.0 {
            HealthState::Unproven => HealthWord::Unproven,
            HealthState::Up { .. } => HealthWord::Up,
            HealthState::Down { .. } => HealthWord::Down,
        }
    }
}

/// The weight that counts `since_recovery`, in thousandths as `weight_thousandths`: it grows in a line
/// from a tenth to the whole during `slow_start`. Only a weight of zero becomes zero.
pub(crate) fn ramp(weight_thousandths: u32, since_recovery: Duration, slow_start: Duration) -> u32 {
    if since_recovery >= slow_start {
        return weight_thousandths;
    }
    // Microseconds, since nanoseconds of the longest duration times a weight do not fit.
    let (gone, whole) = (since_recovery.as_micros(), slow_start.as_micros().max(1));
    let weight = u128::from(weight_thousandths) * (whole + 9 * gone) / (10 * whole);
    u32::try_from(weight).unwrap_or(weight_thousandths).max(weight_thousandths.min(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Rises after 2 and falls after 3; `+` is a good probe, `-` a bad one. Returns what came of each.
    fn observe(health: &mut HealthTracker, probes: &str) -> Vec<Option<Turn>> {
        probes.chars().map(|probe| health.observe(probe == '+', 2, 3)).collect()
    }

    /// Up after a good probe.
    fn up() -> HealthTracker {
        let mut health = HealthTracker::new();
        assert_eq!(observe(&mut health, "+"), [None]);
        health
    }

    fn down() -> HealthTracker {
        let mut health = HealthTracker::new();
        assert_eq!(observe(&mut health, "-"), [Some(Turn::Down)]);
        health
    }

    #[test]
    fn unproven_to_up_with_a_good_probe() {
        let mut health = HealthTracker::new();
        assert_eq!((health.word().name(), health.is_up()), ("unproven", true));
        assert_eq!(observe(&mut health, "+"), [None]);
        assert_eq!((health.word().name(), health.is_up()), ("up", true));
        assert_eq!(observe(&mut health, "--"), [None, None]);
    }

    #[test]
    fn unproven_to_down_with_a_bad_probe() {
        let mut health = HealthTracker::new();
        assert_eq!(observe(&mut health, "-"), [Some(Turn::Down)]);
        assert_eq!((health.word().name(), health.is_up()), ("down", false));
    }

    #[test]
    fn up_to_down_with_bad_probes_in_a_row() {
        let mut health = up();
        assert_eq!(observe(&mut health, "---"), [None, None, Some(Turn::Down)]);
        assert_eq!((health.word().name(), health.is_up()), ("down", false));
    }

    #[test]
    fn down_to_up_with_good_probes_in_a_row() {
        let mut health = down();
        assert_eq!(observe(&mut health, "++"), [None, Some(Turn::Up)]);
        assert_eq!((health.word().name(), health.is_up()), ("up", true));
    }

    #[test]
    fn a_good_probe_ends_the_row_of_bad_ones() {
        assert_eq!(observe(&mut up(), "--+--+--"), [None; 8]);
    }

    #[test]
    fn a_bad_probe_ends_the_row_of_good_ones() {
        assert_eq!(observe(&mut down(), "+-+-+--+"), [None; 8]);
    }

    #[test]
    fn rows_do_not_reach_over_a_turn() {
        let mut health = up();
        observe(&mut health, "---++");
        assert_eq!(observe(&mut health, "--"), [None, None]);
        assert_eq!(observe(&mut health, "-+"), [Some(Turn::Down), None]);
    }

    #[test]
    fn one_and_zero_turn_at_once() {
        for limit in [0, 1] {
            let mut health = up();
            assert_eq!(health.observe(false, limit, limit), Some(Turn::Down));
            assert_eq!(health.observe(true, limit, limit), Some(Turn::Up));
        }
    }

    #[test]
    fn a_lower_limit_holds_from_the_next_probe_on() {
        let mut health = up();
        assert_eq!(health.observe(false, 2, 10), None);
        assert_eq!(health.observe(false, 2, 10), None);
        assert_eq!(health.observe(false, 2, 2), Some(Turn::Down));
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_recovered_backend_grows_from_a_tenth_to_the_whole() {
        let after = |seconds| ramp(2000, Duration::from_secs(seconds), MINUTE);
        assert_eq!([0, 20, 30, 40, 60, 61].map(after), [200, 800, 1100, 1400, 2000, 2000]);
        assert_eq!(ramp(2000, Duration::from_micros(59_999_999), MINUTE), 1999);
    }

    #[test]
    fn without_slow_start_it_has_its_whole_weight() {
        assert_eq!(ramp(1000, Duration::ZERO, Duration::ZERO), 1000);
    }

    #[test]
    fn small_weights_do_not_vanish() {
        assert_eq!([0, 1, 9, 19].map(|weight| ramp(weight, Duration::ZERO, MINUTE)), [0, 1, 1, 1]);
        assert_eq!(ramp(5, Duration::ZERO, Duration::from_nanos(1)), 1);
    }

    proptest! {
        #[test]
        fn it_never_shrinks_and_keeps_its_bounds(
            weight in any::<u32>(),
            slow_start in (any::<u64>(), 0u32..1_000_000_000).prop_map(|(s, n)| Duration::new(s, n)),
            earlier in (any::<u64>(), 0u32..1_000_000_000).prop_map(|(s, n)| Duration::new(s, n)),
            more in 0u64..1_000_000,
        ) {
            let first = ramp(weight, earlier, slow_start);
            let later = ramp(weight, earlier.saturating_add(Duration::from_secs(more)), slow_start);
            prop_assert!(first <= later && later <= weight);
            prop_assert!(first >= weight / 10);
            prop_assert!(weight == 0 || first > 0);
        }
    }
}
