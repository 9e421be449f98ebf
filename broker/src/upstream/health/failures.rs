//! Failures of one backend in a row: how many there are, and how many witnesses speak for them.
//!
//! ```text
//!               a failure, not within HERD of the last that counted        another; later than WINDOW: the first anew
//!   +-------+ ----------------------------------------------> +--------+ ------------------------+
//!   | none  |                                                 | a row  |                         |
//!   +-------+ <---------------------------------------------- +--------+ <-----------------------+
//!                a young session has lasted that began in it
//! ```
//!
//! Like is weighed with like: a session that was there before says nothing of those that fail, nor does one that
//! was idle speak for a service that fails when it is used.

use std::time::Duration;

use steadfast_protocol::time::Time;

use super::witness::{WITNESSES_MAX, Witness};

/// Failures closer to each other than this count as one: when a process dies, all of its sessions
/// fail within moments.
const HERD: Duration = Duration::from_millis(100);

/// Failures further apart than this are not in a row. A backend with hardly any sessions would
/// otherwise be ejected for what happened over days.
const WINDOW: Duration = Duration::from_secs(60);

/// The row.
#[derive(Debug, Default)]
pub(crate) struct FailureRow {
    count: u32,
    /// The first failure.
    first: Option<Time>,
    /// The last one that counted.
    last: Option<Time>,
    /// Those who speak for it, each once.
    witnesses: Vec<Witness>,
    /// The last failure that counted has brought a new one.
    has_brought: bool,
    /// Some of them have met a client's request or messages.
    of_use: bool,
}

/// A session that has lasted `early_death`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lasting {
    /// Since when it was linked.
    pub(crate) linked: Time,
    /// Messages of it were handled since, or it got some.
    pub(crate) used: bool,
}

impl FailureRow {
    /// Counts a failure, and its witness.
    pub(crate) fn add(&mut self, now: Time, witness: Witness) {
        self.of_use |= witness != Witness::Broker;
        let gap = self.last.map(|last| now.since(last));
        // Reckoned from the last failure that counted, or a backend that fails all the time would never be found out.
        if gap.is_none_or(|gap| gap >= HERD) {
            if gap.is_some_and(|gap| gap > WINDOW) {
                *self = FailureRow { of_use: witness != Witness::Broker, ..FailureRow::default() };
            }
            self.count = self.count.saturating_add(1);
            self.first = self.first.or(Some(now));
            (self.last, self.has_brought) = (Some(now), false);
        }
        // One of a herd brings one, whoever of it comes first.
        let is_new = witness == Witness::Broker || !self.witnesses.contains(&witness);
        if is_new && !self.has_brought && self.witnesses.len() < WITNESSES_MAX {
            self.witnesses.push(witness);
            self.has_brought = true;
        }
    }

    /// How many failures there are, if that is enough.
    pub(crate) fn convicts(&self, wanted: u32, witnesses: usize) -> Option<u32> {
        (self.count >= wanted && self.witnesses.len() >= witnesses).then_some(self.count)
    }

    /// The last failure was not the backend's.
    pub(super) fn pardon(&mut self) {
        self.count = self.count.saturating_sub(1);
        if std::mem::take(&mut self.has_brought) {
            self.witnesses.pop();
        }
    }

    /// A session has lasted. The row ends, if that speaks against it.
    pub(super) fn lasted(&mut self, session: Lasting) {
        let young = self.first.is_some_and(|first| session.linked >= first);
        if young && (session.used || !self.of_use) {
            *self = FailureRow::default();
        }
    }

    /// Whether there is none, or its next failure would begin another.
    pub(super) fn is_over(&self, now: Time) -> bool {
        self.last.is_none_or(|last| now.since(last) > WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::after_origin(Duration::from_millis(ms))
    }

    fn session(n: u64) -> Witness {
        Witness::Session(n)
    }

    /// Failures at these times, with these witnesses.
    fn row(failures: &[(u64, Witness)]) -> FailureRow {
        let mut row = FailureRow::default();
        failures.iter().for_each(|(ms, witness)| row.add(at(*ms), *witness));
        row
    }

    #[test]
    fn one_witness_is_one_however_often_it_speaks() {
        let row = row(&[(0, session(1)), (200, session(1)), (400, session(1)), (600, session(2))]);
        assert_eq!([1, 2, 3].map(|witnesses| row.convicts(3, witnesses)), [Some(4), Some(4), None]);
    }

    #[test]
    fn a_herd_is_one_failure_and_brings_one_witness() {
        let herd = row(&[(0, session(1)), (50, session(2)), (90, session(3))]);
        assert_eq!((herd.convicts(1, 1), herd.convicts(1, 2), herd.convicts(2, 1)), (Some(1), None, None));
        let second = row(&[(0, session(1)), (200, session(1)), (250, session(2)), (260, session(3))]);
        assert_eq!((second.convicts(2, 2), second.convicts(2, 3)), (Some(2), None), "whoever comes first");
    }

    #[test]
    fn each_dial_that_meets_nobody_speaks_for_itself() {
        let row = row(&[(0, Witness::Broker), (200, Witness::Broker), (400, Witness::Broker)]);
        assert_eq!(row.convicts(3, 3), Some(3));
    }

    #[test]
    fn what_is_long_ago_belongs_to_no_row() {
        let row = row(&[(0, session(1)), (200, session(2)), (60_201, session(3))]);
        assert_eq!((row.convicts(1, 1), row.convicts(1, 2)), (Some(1), None));
    }

    #[test]
    fn a_pardon_takes_the_witness_back() {
        let mut row = row(&[(0, session(1)), (200, session(2))]);
        row.pardon();
        assert_eq!((row.convicts(1, 1), row.convicts(1, 2), row.convicts(2, 1)), (Some(1), None, None));
    }

    #[test]
    fn a_row_to_none_when_a_young_session_has_lasted() {
        let lasting = |ms, used| Lasting { linked: at(ms), used };
        for (session, ends) in
            [(lasting(1000, true), true), (lasting(999, true), false), (lasting(1001, false), false)]
        {
            let mut row = row(&[(1000, self::session(1)), (2000, self::session(2))]);
            row.lasted(session);
            assert_eq!(row.count == 0, ends, "{session:?}");
        }
    }

    #[test]
    fn an_idle_session_speaks_for_a_backend_that_could_not_be_reached() {
        let mut row = row(&[(1000, Witness::Broker)]);
        row.lasted(Lasting { linked: at(1500), used: false });
        assert_eq!(row.count, 0);
    }

    #[test]
    fn it_is_over_when_the_next_would_begin_another() {
        let row = row(&[(1000, session(1))]);
        assert_eq!([61_000, 61_001].map(|ms| row.is_over(at(ms))), [false, true]);
        assert!(FailureRow::default().is_over(at(0)));
    }

    #[test]
    fn the_witnesses_have_a_bound() {
        let mut row = FailureRow::default();
        (0..1000).for_each(|n| row.add(at(n * 200), session(n)));
        assert_eq!(row.witnesses.len(), WITNESSES_MAX);
    }
}
