//! What all sessions together noticed.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::client::dial;
use crate::client::sessions::Outcome;
use crate::stats;

/// The longest send-to-answer times of some sessions, one value per session.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// The sessions.
    pub(crate) sessions: usize,
    /// Those of them that were closed before their time: they have no part in the times below, which
    /// their end would make short.
    pub(crate) closed: usize,
    /// Those that stayed open, and had no answer to anything they had sent.
    pub(crate) unanswered: usize,
    /// Milliseconds: the median session.
    pub(crate) p50_ms: Option<f64>,
    /// The 99th of 100.
    pub(crate) p99_ms: Option<f64>,
    /// The worst.
    pub(crate) max_ms: Option<f64>,
}

/// The figures of one round.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    /// Around the event, the sessions that were on the struck backend.
    pub(crate) moved: Spread,
    /// The curve of their times; see [`stats::percentiles`].
    pub(crate) moved_percentiles_ms: Vec<f64>,
    /// Around the event, all sessions.
    pub(crate) all: Spread,
    /// Before it, all sessions.
    pub(crate) calm: Spread,
    /// Over the whole run, all sessions.
    pub(crate) whole_run: Spread,
    /// Messages sent.
    pub(crate) sent: usize,
    /// Messages never answered, in all sessions.
    pub(crate) lost: usize,
    /// Those of them that were lost in sessions that stayed open.
    pub(crate) lost_in_open_sessions: usize,
    /// Answers beyond the first of their message.
    pub(crate) answered_twice: usize,
    /// First answers that came after the first answer to a later message.
    pub(crate) reordered: usize,
    /// Answers to nothing that was sent.
    pub(crate) wrong: usize,
    /// Sessions closed before their time.
    pub(crate) clients_closed: usize,
    /// The same by close code; 1006 is an end without a Close frame.
    pub(crate) close_codes: BTreeMap<u16, usize>,
    /// As many bare connections as there are moved sessions, a bounded number at a time.
    pub(crate) floor: Option<dial::Figures>,
    /// The same, with all of them begun at once.
    pub(crate) floor_all_at_once: Option<dial::Figures>,
}

impl Verdict {
    /// Sums up. `struck` is the name of the backend to which it happened, when it is known; otherwise the sessions
    /// count as moved that were answered by another backend afterwards.
    pub(crate) fn new(outcomes: &[Outcome], struck: Option<&str>) -> Self {
        let moved: Vec<&Outcome> = outcomes.iter().filter(|outcome| was_moved(outcome, struck)).collect();
        let all: Vec<&Outcome> = outcomes.iter().collect();
        let sum = |count: fn(&Outcome) -> usize| outcomes.iter().map(count).sum();
        let mut close_codes = BTreeMap::new();
        for code in outcomes.iter().filter_map(|outcome| outcome.closed) {
            *close_codes.entry(code).or_insert(0) += 1;
        }
        Self {
            moved: spread(&moved, |outcome| outcome.pause_ms),
            moved_percentiles_ms: stats::percentiles(&times(&moved, |outcome| outcome.pause_ms)),
            all: spread(&all, |outcome| outcome.pause_ms),
            calm: spread(&all, |outcome| outcome.calm_ms),
            whole_run: spread(&all, |outcome| outcome.longest_ms),
            sent: sum(|outcome| outcome.sent),
            lost: sum(|outcome| outcome.lost),
            lost_in_open_sessions: sum(|outcome| if outcome.closed.is_none() { outcome.lost } else { 0 }),
            answered_twice: sum(|outcome| outcome.twice),
            reordered: sum(|outcome| outcome.reordered),
            wrong: sum(|outcome| outcome.wrong),
            clients_closed: close_codes.values().sum(),
            close_codes,
            floor: None,
            floor_all_at_once: None,
        }
    }
}

fn was_moved(outcome: &Outcome, struck: Option<&str>) -> bool {
    match struck {
        Some(name) => outcome.backend_before.as_deref() == Some(name),
        None => outcome.backend_before.is_some() && outcome.backend_before != outcome.backend_after,
    }
}

fn spread(outcomes: &[&Outcome], time: fn(&Outcome) -> Option<f64>) -> Spread {
    let open = outcomes.iter().filter(|outcome| outcome.closed.is_none()).count();
    let times = times(outcomes, time);
    Spread {
        sessions: outcomes.len(),
        closed: outcomes.len() - open,
        unanswered: open - times.len(),
        p50_ms: stats::quantile(&times, 0.5),
        p99_ms: stats::quantile(&times, 0.99),
        max_ms: stats::quantile(&times, 1.0),
    }
}

/// The times of those that stayed open.
fn times(outcomes: &[&Outcome], time: fn(&Outcome) -> Option<f64>) -> Vec<f64> {
    let open = outcomes.iter().filter(|outcome| outcome.closed.is_none());
    open.filter_map(|outcome| time(outcome)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(before: &str, after: &str, pause_ms: Option<f64>, closed: Option<u16>) -> Outcome {
        Outcome {
            pause_ms,
            calm_ms: Some(1.0),
            longest_ms: pause_ms,
            backend_before: Some(before.to_owned()),
            backend_after: Some(after.to_owned()),
            sent: 10,
            lost: 2,
            twice: 1,
            reordered: 0,
            wrong: 0,
            closed,
        }
    }

    fn outcomes() -> Vec<Outcome> {
        vec![
            outcome("a", "b", Some(30.0), None),
            outcome("a", "b", Some(10.0), None),
            outcome("a", "a", Some(90.0), Some(1006)),
            outcome("a", "a", None, None),
            outcome("b", "b", Some(2.0), None),
        ]
    }

    #[test]
    fn sessions_of_a_named_backend_count_as_moved_even_when_closed() {
        let verdict = Verdict::new(&outcomes(), Some("a"));
        let moved = &verdict.moved;
        assert_eq!((moved.sessions, moved.closed, moved.unanswered), (4, 1, 1));
        assert_eq!((verdict.moved.p50_ms, verdict.moved.max_ms), (Some(10.0), Some(30.0)));
        assert_eq!(
            verdict.moved_percentiles_ms.first().zip(verdict.moved_percentiles_ms.last()),
            Some((&10.0, &30.0))
        );
        assert_eq!((verdict.all.sessions, verdict.all.p50_ms), (5, Some(10.0)));
        assert_eq!((verdict.lost, verdict.lost_in_open_sessions, verdict.answered_twice), (10, 8, 5));
        assert_eq!((verdict.clients_closed, &verdict.close_codes), (1, &BTreeMap::from([(1006, 1)])));
    }

    #[test]
    fn without_a_name_a_change_of_backend_counts() {
        let verdict = Verdict::new(&outcomes(), None);
        assert_eq!((verdict.moved.sessions, verdict.moved.unanswered), (2, 0));
        let mut nameless = outcomes();
        nameless.iter_mut().for_each(|outcome| {
            outcome.backend_before = Some(String::new());
            outcome.backend_after = Some(String::new());
        });
        assert_eq!(Verdict::new(&nameless, None).moved.sessions, 0);
    }
}
