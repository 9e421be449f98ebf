//! How a backend is tried that is out by inference, when nobody else has room: with one session at a time.
//!
//! ```text
//!             a session is sent             it is linked            it has lasted
//!   +------+ ------------------> +---------+ ----------> +--------+ -------------> free, and proven
//!   | free |                     | dialing |             | linked |
//!   +------+ <------------------ +---------+             +--------+
//!       ^          no link                                   |
//!       +----------------------------------------------------+  it has failed, or left
//! ```

use std::time::Duration;

use steadfast_protocol::time::Time;

/// How long the session must last. Long enough for a process that goes to say so again, short enough for those who
/// wait behind it.
const LASTING: Duration = Duration::from_secs(1);

/// Whether a session tries the backend.
#[derive(Debug, Default)]
pub(crate) enum LastResort {
    #[default]
    Free,
    Dialing,
    Linked(Time),
}

impl LastResort {
    /// Whether a session may be sent.
    pub(crate) fn is_free(&self) -> bool {
        matches!(self, LastResort::Free)
    }

    /// A session is sent.
    pub(crate) fn sent(&mut self) {
        *self = LastResort::Dialing;
    }

    /// The backend has taken it.
    pub(crate) fn linked(&mut self, now: Time) {
        *self = LastResort::Linked(now);
    }

    /// It has failed, or left.
    pub(crate) fn left(&mut self) {
        *self = LastResort::Free;
    }

    /// Time alone. `early_death`: where less is enough. True: it has lasted.
    pub(crate) fn advance(&mut self, now: Time, early_death: Duration) -> bool {
        let lasts = matches!(self, LastResort::Linked(at) if now.since(*at) >= LASTING.min(early_death));
        if lasts {
            *self = LastResort::Free;
        }
        lasts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLY: Duration = Duration::from_secs(10);

    fn at(ms: u64) -> Time {
        Time::after_origin(Duration::from_millis(ms))
    }

    #[test]
    fn free_to_dialing_when_a_session_is_sent() {
        let mut resort = LastResort::default();
        assert!(resort.is_free());
        resort.sent();
        assert!(!resort.is_free());
        assert!(!resort.advance(at(60_000), EARLY), "the time that a dial takes says nothing for it");
    }

    #[test]
    fn linked_to_free_when_it_has_lasted() {
        for (early, lasts) in [(EARLY, 1000), (Duration::from_millis(200), 200)] {
            let mut resort = LastResort::Dialing;
            resort.linked(at(500));
            assert!(!resort.advance(at(499 + lasts), early));
            assert!(resort.advance(at(500 + lasts), early) && resort.is_free());
            assert!(!resort.advance(at(9000), early), "it is proven once");
        }
    }

    #[test]
    fn to_free_when_it_has_failed_or_left() {
        for mut resort in [LastResort::Dialing, LastResort::Linked(at(0))] {
            resort.left();
            assert!(resort.is_free() && !resort.advance(at(60_000), EARLY));
        }
    }
}
