//! What one session has sent, and what became of it. No sockets and no clock: times are arguments, in
//! nanoseconds of the machine's monotonic clock.

use serde::{Deserialize, Serialize};

/// The time around an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Window {
    /// Messages sent before this belong to the calm before.
    pub(crate) from_ns: u64,
    /// When it began.
    pub(crate) event_ns: u64,
    /// Messages sent after this no longer belong to it.
    pub(crate) until_ns: u64,
}

/// What became of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// The longest time from sending to the first answer, of the messages sent around the event;
    /// milliseconds. `None` when none of them was answered.
    pub(crate) pause_ms: Option<f64>,
    /// The same, of the messages sent before it: what the machine does without any event.
    pub(crate) calm_ms: Option<f64>,
    /// The same, of all messages.
    pub(crate) longest_ms: Option<f64>,
    /// Who answered last before the event.
    pub(crate) backend_before: Option<String>,
    /// Who answered last.
    pub(crate) backend_after: Option<String>,
    /// Messages sent.
    pub(crate) sent: usize,
    /// Messages never answered.
    pub(crate) lost: usize,
    /// Answers beyond the first of their message.
    pub(crate) twice: usize,
    /// First answers that came after the first answer to a later message.
    pub(crate) reordered: usize,
    /// Answers to nothing that was sent.
    pub(crate) wrong: usize,
    /// The code with which the session was closed before its time.
    pub(crate) closed: Option<u16>,
}

#[derive(Debug)]
struct Message {
    sent_ns: u64,
    answered_ns: Option<u64>,
}

/// One session's book.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    messages: Vec<Message>,
    missing: usize,
    /// The highest number answered so far, plus one.
    highest: usize,
    twice: usize,
    reordered: usize,
    wrong: usize,
    /// Who answered from when on; one entry per change.
    backends: Vec<(u64, String)>,
    closed: Option<u16>,
}

impl Ledger {
    /// Books the next message, and returns its number.
    pub(super) fn sent(&mut self, now: u64) -> usize {
        self.messages.push(Message { sent_ns: now, answered_ns: None });
        self.missing += 1;
        self.messages.len() - 1
    }

    /// Books an answer.
    pub(super) fn answered(&mut self, number: usize, backend: &str, now: u64) {
        let Some(message) = self.messages.get_mut(number) else {
            return self.wrong();
        };
        if self.backends.last().is_none_or(|(_, last)| last != backend) {
            self.backends.push((now, backend.to_owned()));
        }
        if message.answered_ns.is_some() {
            self.twice += 1;
            return;
        }
        message.answered_ns = Some(now);
        self.missing -= 1;
        if number < self.highest {
            self.reordered += 1;
        }
        self.highest = self.highest.max(number + 1);
    }

    /// Books an answer to nothing.
    pub(super) fn wrong(&mut self) {
        self.wrong += 1;
    }

    /// Books the end of the connection. The first code counts.
    pub(super) fn closed(&mut self, code: u16) {
        self.closed.get_or_insert(code);
    }

    /// Whether the connection has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Messages without an answer so far.
    pub(super) fn missing(&self) -> usize {
        self.missing
    }

    /// The sum of it.
    pub(super) fn outcome(&self, window: Window) -> Outcome {
        let before = self.backends.iter().rev().find(|(since, _)| *since < window.event_ns);
        let around = window.from_ns..=window.until_ns;
        Outcome {
            pause_ms: self.longest_ms(|sent| around.contains(&sent)),
            calm_ms: self.longest_ms(|sent| sent < window.from_ns),
            longest_ms: self.longest_ms(|_| true),
            backend_before: before.map(|(_, name)| name.clone()),
            backend_after: self.backends.last().map(|(_, name)| name.clone()),
            sent: self.messages.len(),
            lost: self.missing,
            twice: self.twice,
            reordered: self.reordered,
            wrong: self.wrong,
            closed: self.closed,
        }
    }

    fn longest_ms(&self, counts: impl Fn(u64) -> bool) -> Option<f64> {
        let counted = self.messages.iter().filter(|message| counts(message.sent_ns));
        let times = counted.filter_map(|message| Some(message.answered_ns? - message.sent_ns));
        times.max().map(|ns| ns as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const WINDOW: Window = Window { from_ns: 90 * MS, event_ns: 100 * MS, until_ns: 200 * MS };

    /// Messages sent every 10 ms from 0 on.
    fn paced(count: u64) -> Ledger {
        let mut ledger = Ledger::default();
        for number in 0..count {
            assert_eq!(ledger.sent(number * 10 * MS), number as usize);
        }
        ledger
    }

    #[test]
    fn the_pause_is_the_longest_time_around_the_event() {
        let mut ledger = paced(30);
        for number in 0..30 {
            let takes = match number {
                3 => 7,
                9 => 40,
                10 => 30,
                25 => 90,
                _ => 1,
            };
            let backend = if number < 9 { "a" } else { "b" };
            ledger.answered(number, backend, (number as u64 * 10 + takes) * MS);
        }
        let outcome = ledger.outcome(WINDOW);
        assert_eq!(outcome.pause_ms, Some(40.0));
        assert_eq!(outcome.calm_ms, Some(7.0));
        assert_eq!(outcome.longest_ms, Some(90.0));
        assert_eq!(
            (outcome.backend_before.as_deref(), outcome.backend_after.as_deref()),
            (Some("a"), Some("b"))
        );
        assert_eq!((outcome.sent, outcome.lost), (30, 0));
    }

    #[test]
    fn losses_and_second_answers_are_counted() {
        let mut ledger = paced(4);
        for number in [0, 1, 1, 3, 1] {
            ledger.answered(number, "", 500 * MS);
        }
        let outcome = ledger.outcome(WINDOW);
        assert_eq!((outcome.lost, outcome.twice, outcome.reordered), (1, 2, 0));
        assert_eq!(ledger.missing(), 1);
    }

    #[test]
    fn order_is_judged_on_first_answers() {
        let mut ledger = paced(5);
        for number in [0, 2, 1, 4, 3, 0] {
            ledger.answered(number, "", 500 * MS);
        }
        let outcome = ledger.outcome(WINDOW);
        assert_eq!((outcome.reordered, outcome.twice, outcome.lost), (2, 1, 0));
    }

    #[test]
    fn answers_to_nothing_and_the_first_close_are_kept() {
        let mut ledger = paced(1);
        ledger.answered(1, "a", MS);
        ledger.closed(1012);
        ledger.closed(1006);
        let outcome = ledger.outcome(WINDOW);
        assert_eq!((outcome.wrong, outcome.lost, outcome.closed), (1, 1, Some(1012)));
        assert_eq!((outcome.pause_ms, outcome.backend_before), (None, None));
    }
}
