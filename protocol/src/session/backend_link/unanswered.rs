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
    /// By how much what is acknowledged was ahead of what is heard when the link began.
    ahead_at_link: u32,
    /// When the present bucket began, in [`ticks`], and acknowledgements before it and before the last one.
    turned: u32,
    acked_before: u32,
    acked_before_last: u32,
    /// Messages of before the last bucket but one that were not answered when the present one began.
    never_answered: u32,
}

impl Unanswered {
    pub(in crate::session) fn new(now: Time, acked_seq: u64, downstream: u64) -> Unanswered {
        let acked_seq = acked_seq as u32;
        Unanswered {
            ahead_at_link: acked_seq.wrapping_sub(downstream as u32),
            turned: ticks(now),
            acked_before: acked_seq,
            acked_before_last: acked_seq,
            never_answered: 0,
        }
    }

    /// Notes that messages up to `acked_seq` are acknowledged, with `downstream` messages heard; `window` is how long
    /// an answer may take at the most.
    pub(in crate::session) fn acknowledged(
        &mut self,
        now: Time,
        acked_seq: u64,
        downstream: u64,
        window: Duration,
    ) {
        // As if a part of a tick were a whole one.
        let age = u128::from(ticks(now).wrapping_sub(self.turned).saturating_add(1)) * TICK.as_micros();
        let window = window.as_micros();
        if age < window {
            return;
        }
        let acked_seq = acked_seq as u32;
        self.never_answered = self.overdue(downstream);
        self.acked_before_last = if age < window * 2 { self.acked_before } else { acked_seq };
        (self.acked_before, self.turned) = (acked_seq, ticks(now));
    }

    /// The estimate for messages up to `acked_seq`, with `downstream` messages heard.
    pub(in crate::session) fn estimate(&self, acked_seq: u64, downstream: u64) -> u64 {
        let lately = since(acked_seq as u32, self.acked_before_last);
        u64::from(self.unanswered(acked_seq as u32, downstream).min(lately))
    }

    /// The same, for one that may still be about to answer: nothing, when of late it has left messages unanswered.
    pub(in crate::session) fn expected(&self, acked_seq: u64, downstream: u64) -> u64 {
        let overdue = self.overdue(downstream);
        if overdue > self.never_answered {
            return 0;
        }
        u64::from(self.unanswered(acked_seq as u32, downstream).saturating_sub(overdue))
    }

    /// Messages that are older than an answer may be, and not answered.
    fn overdue(&self, downstream: u64) -> u32 {
        self.unanswered(self.acked_before_last, downstream)
    }

    /// Messages up to `acked_seq` beyond those that are answered.
    fn unanswered(&self, acked_seq: u32, downstream: u64) -> u32 {
        since(acked_seq.wrapping_sub(downstream as u32), self.ahead_at_link)
    }
}

fn since(now: u32, then: u32) -> u32 {
    now.wrapping_sub(then).cast_signed().max(0) as u32
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
        unanswered.acknowledged(Time::ORIGIN + WINDOW, 1000, 0, WINDOW);
        unanswered.acknowledged(Time::ORIGIN + WINDOW * 2, 1001, 0, WINDOW);
        assert_eq!(unanswered.estimate(1001, 0), 1, "the thousand before are more than a window old");
    }

    /// So many messages are acknowledged in each window, and so many of them answered.
    fn after(windows: u32, acked: u64, answered: u64) -> (Unanswered, u64, u64) {
        let mut unanswered = Unanswered::new(Time::ORIGIN, 0, 0);
        let (mut acked_seq, mut downstream) = (0, 0);
        for n in 1..=windows {
            (acked_seq, downstream) = (acked_seq + acked, downstream + answered);
            unanswered.acknowledged(Time::ORIGIN + WINDOW * n, acked_seq, downstream, WINDOW);
        }
        (unanswered, acked_seq, downstream)
    }

    #[test]
    fn an_answer_is_expected_of_a_service_that_answers() {
        let (unanswered, acked, heard) = after(10, 5, 5);
        assert_eq!(unanswered.expected(acked, heard), 0);
        assert_eq!(unanswered.expected(acked + 2, heard), 2);
        assert_eq!(unanswered.expected(acked + 2, heard + 1), 1);
    }

    #[test]
    fn none_is_expected_of_a_service_that_leaves_messages_unanswered() {
        for answered in [0, 1, 4] {
            let (unanswered, acked, heard) = after(10, 5, answered);
            assert_eq!(unanswered.expected(acked + 2, heard), 0, "{answered} of 5");
        }
    }

    #[test]
    fn who_has_not_had_time_to_answer_is_expected_to() {
        let (unanswered, acked, heard) = after(1, 5, 0);
        assert_eq!(unanswered.expected(acked, heard), 5);
    }

    #[test]
    fn one_message_that_was_never_answered_is_forgotten_after_a_while() {
        let (mut unanswered, mut acked, heard) = after(5, 5, 5);
        acked += 1;
        let mut expected = Vec::new();
        for n in 6..=8 {
            unanswered.acknowledged(Time::ORIGIN + WINDOW * n, acked, heard, WINDOW);
            expected.push(unanswered.expected(acked + 1, heard));
        }
        assert_eq!(expected, [2, 0, 1]);
    }
}
