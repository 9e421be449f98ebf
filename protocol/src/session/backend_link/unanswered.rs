//! What a backend may not have answered yet, when it fails.

use std::time::Duration;

use crate::time::Time;

use super::timers::{TICK, ticks};

/// Estimates how many acknowledged messages were still unanswered, for a service that answers each
/// message once: what it has acknowledged on this link, less what it has said, but no more than was
/// acknowledged lately. A service that pushes besides hides some; one that answers nothing is
/// bounded by the second figure.
#[derive(Debug, Clone, Copy)]
pub(in crate::session) struct Unanswered {
    // Seqs and counts by their lower halves: what counts is how far they are apart.
    acked_at_link: u32,
    down_at_link: u32,
    /// When the present bucket began, in [`ticks`], and acknowledgements before it and before the last one.
    turned: u32,
    acked_before: u32,
    acked_before_last: u32,
}

impl Unanswered {
    pub(in crate::session) fn new(now: Time, acked_seq: u64, downstream: u64) -> Unanswered {
        let acked_seq = acked_seq as u32;
        Unanswered {
            acked_at_link: acked_seq,
            down_at_link: downstream as u32,
            turned: ticks(now),
            acked_before: acked_seq,
            acked_before_last: acked_seq,
        }
    }

    /// Notes that messages up to `acked_seq` are acknowledged; `window` is how long an answer may
    /// take at the most.
    pub(in crate::session) fn acknowledged(&mut self, now: Time, acked_seq: u64, window: Duration) {
        // As if a part of a tick were a whole one.
        let age = u128::from(ticks(now).wrapping_sub(self.turned).saturating_add(1)) * TICK.as_micros();
        let window = window.as_micros();
        if age < window {
            return;
        }
        let acked_seq = acked_seq as u32;
        self.acked_before_last = if age < window * 2 { self.acked_before } else { acked_seq };
        (self.acked_before, self.turned) = (acked_seq, ticks(now));
    }

    /// The estimate for messages up to `acked_seq`, with `down` messages heard.
    pub(in crate::session) fn estimate(&self, acked_seq: u64, downstream: u64) -> u64 {
        let since =
            |now: u64, then: u32| u64::from((now as u32).wrapping_sub(then).cast_signed().max(0) as u32);
        let acked = since(acked_seq, self.acked_at_link);
        let answered = since(downstream, self.down_at_link);
        acked.saturating_sub(answered).min(since(acked_seq, self.acked_before_last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    #[test]
    fn what_is_acknowledged_and_not_answered_is_in_doubt() {
        let unanswered = Unanswered::new(Time::ORIGIN, 100, 40);
        assert_eq!(unanswered.estimate(105, 43), 2);
        assert_eq!(unanswered.estimate(105, 60), 0);
    }

    #[test]
    fn old_silence_is_not_doubt() {
        let mut unanswered = Unanswered::new(Time::ORIGIN, 0, 0);
        unanswered.acknowledged(Time::ORIGIN + WINDOW, 1000, WINDOW);
        unanswered.acknowledged(Time::ORIGIN + WINDOW * 2, 1001, WINDOW);
        assert_eq!(unanswered.estimate(1001, 0), 1, "the thousand before are more than a window old");
    }
}
