//! The circuit breaker of one backend: failures of its sessions eject it, and a trial takes it back.
//!
//! ```text
//!            failures in a row, by witnesses      the ejection is over
//!   +--------+ ------------------> +------+ --------------------------> +-----------+
//!   | closed |                     | open |                             | half open |
//!   +--------+ <------------+      +------+ <-------------------------- +-----------+
//!                           |                      a failure                  |
//!                           +-------------------------------------------------+
//!                             a session has lasted, or ejections are switched off
//! ```
//!
//! Half open, the backend gets one session at a time, the trial. A trial that ends neither well nor
//! badly makes room for the next; one that was failed, when its failure has not counted for `early_death`.

use std::time::Duration;

use steadfast_protocol::time::Time;

use super::failures::{FailureRow, Lasting};
use super::witness::Complaint;
use crate::config::settings::Outlier;
use crate::words::words;

words! {
    /// Where a circuit stands.
    pub(crate) enum CircuitWord {
        Closed = "closed",
        Open = "open",
        HalfOpen = "half_open",
    }
}

/// Whether one backend is ejected, and why.
#[derive(Debug)]
pub(crate) struct Circuit {
    state: CircuitState,
    /// Ejections in a row, the present one included. The row ends when the circuit was closed for as
    /// long as the longest ejection.
    ejections: u32,
}

#[derive(Debug)]
enum CircuitState {
    Closed {
        failures: FailureRow,
        /// Since when it is closed.
        since: Time,
    },
    Open {
        since: Time,
        until: Time,
    },
    HalfOpen {
        since: Time,
        trial: Option<Trial>,
    },
}

/// The session that decides.
#[derive(Debug, Clone, Copy)]
enum Trial {
    /// It has a lease, and the backend has not answered yet.
    Dialing,
    /// It is linked since then.
    Linked(Time),
    /// The backend has failed it then. Whether that counts is not known yet.
    Failed(Time),
}

/// What has become of a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// The backend gets no new sessions for this time, after so many failures in a row.
    Ejected { duration: Duration, failures: u32 },
    /// The ejection is over; a trial may come.
    HalfOpened,
    /// The backend is as good as any other again.
    Closed,
}

/// How many of `total` backends may be ejected at once. Never all of them, unless `percent` is 100
/// or more.
pub(crate) fn ejectable(total: usize, percent: u32) -> usize {
    let part = total as u128 * u128::from(percent.min(100)) / 100;
    // A part is never more than the whole.
    usize::try_from(part).unwrap_or(total)
}

impl Circuit {
    pub(crate) fn new() -> Circuit {
        Circuit {
            state: CircuitState::Closed { failures: FailureRow::default(), since: Time::ORIGIN },
            ejections: 0,
        }
    }

    /// A dial or a young session has failed. `may_eject`: with this backend, not more than
    /// [`ejectable`] of its pool would be ejected. When it may not be, a closed circuit goes on
    /// counting, and a half open one waits for the next trial.
    pub(crate) fn failed(
        &mut self,
        now: Time,
        complaint: Complaint,
        settings: &Outlier,
        may_eject: bool,
    ) -> Option<Change> {
        if settings.failures == 0 {
            return None;
        }
        match &mut self.state {
            CircuitState::Closed { failures, since } => {
                failures.add(complaint.at.unwrap_or(now), complaint.witness);
                if now.since(*since) >= settings.ejection_max {
                    self.ejections = 0;
                }
                let counted = failures.convicts(settings.failures, complaint.needed)?;
                may_eject.then(|| self.eject(now, settings, counted))
            }
            CircuitState::Open { .. } => None,
            CircuitState::HalfOpen { trial, .. } => {
                *trial = None;
                may_eject.then(|| self.eject(now, settings, 1))
            }
        }
    }

    /// The last failure was not the backend's.
    pub(crate) fn pardon(&mut self) {
        if let CircuitState::Closed { failures, .. } = &mut self.state {
            failures.pardon();
        }
    }

    /// A session has lasted `early_death`.
    pub(crate) fn lasted(&mut self, now: Time, session: Lasting) -> Option<Change> {
        match &mut self.state {
            CircuitState::Closed { failures, .. } => {
                failures.lasted(session);
                None
            }
            // An ejection lasts its time: a session that was there before says little of new ones.
            CircuitState::Open { .. } => None,
            CircuitState::HalfOpen { since, .. } => (session.linked >= *since).then(|| self.close(now)),
        }
    }

    /// Time alone: an ejection is over, a trial has lasted. Settings that have changed hold for the
    /// present ejection too.
    pub(crate) fn advance(&mut self, now: Time, settings: &Outlier) -> Option<Change> {
        let off = settings.failures == 0;
        match self.state {
            CircuitState::Closed { .. } => None,
            _ if off => Some(self.close(now)),
            CircuitState::Open { since, until }
                if now >= until || now.since(since) >= settings.ejection_max =>
            {
                self.state = CircuitState::HalfOpen { since: now, trial: None };
                Some(Change::HalfOpened)
            }
            CircuitState::HalfOpen { trial: Some(Trial::Linked(at)), .. }
                if now.since(at) >= settings.early_death =>
            {
                Some(self.close(now))
            }
            CircuitState::HalfOpen { trial: Some(Trial::Failed(at)), since }
                if now.since(at) >= settings.early_death =>
            {
                self.state = CircuitState::HalfOpen { trial: None, since };
                None
            }
            CircuitState::Open { .. } | CircuitState::HalfOpen { .. } => None,
        }
    }

    /// A session has taken a lease, and dials. Half open, it is the trial if there is none.
    pub(crate) fn leased(&mut self) {
        if let CircuitState::HalfOpen { trial: trial @ None, .. } = &mut self.state {
            *trial = Some(Trial::Dialing);
        }
    }

    /// The backend has answered the dial. Only from here does a trial last: the time that a dial takes
    /// says nothing for the backend.
    pub(crate) fn linked(&mut self, now: Time) {
        if let CircuitState::HalfOpen { trial: Some(trial @ Trial::Dialing), .. } = &mut self.state {
            *trial = Trial::Linked(now);
        }
    }

    /// The backend has failed a session. Half open, the next trial waits until it is known whether that counts.
    pub(crate) fn let_down(&mut self, now: Time) {
        if let CircuitState::HalfOpen { trial: Some(trial), .. } = &mut self.state {
            *trial = Trial::Failed(now);
        }
    }

    /// A session has given its lease back, without a failure and before `early_death`. Which one is not
    /// asked: if it was not the trial, one more session than the trial comes.
    pub(crate) fn left(&mut self) {
        if let CircuitState::HalfOpen { trial, .. } = &mut self.state {
            *trial = None;
        }
    }

    /// Whether new sessions may come.
    pub(crate) fn admits(&self) -> bool {
        matches!(self.state, CircuitState::Closed { .. } | CircuitState::HalfOpen { trial: None, .. })
    }

    /// Whether nothing speaks against the backend at present.
    pub(crate) fn is_clean(&self, now: Time) -> bool {
        matches!(&self.state, CircuitState::Closed { failures, .. } if failures.is_over(now))
    }

    /// Whether it gets no sessions, since it is open or a trial is under way.
    pub(crate) fn is_ejected(&self) -> bool {
        !self.admits()
    }

    /// Where it stands, in one word.
    pub(crate) fn word(&self) -> CircuitWord {
        match self.state {
            CircuitState::Closed { .. } => CircuitWord::Closed,
            CircuitState::Open { .. } => CircuitWord::Open,
            CircuitState::HalfOpen { .. } => CircuitWord::HalfOpen,
        }
    }

    /// When its ejection is over, if it is ejected.
    pub(crate) fn opened_until(&self) -> Option<Time> {
        match self.state {
            CircuitState::Open { until, .. } => Some(until),
            CircuitState::Closed { .. } | CircuitState::HalfOpen { .. } => None,
        }
    }

    fn eject(&mut self, now: Time, settings: &Outlier, failures: u32) -> Change {
        // 2^31 of the shortest time that can be written is more than any that is of use.
        let doubled = settings.ejection_min.saturating_mul(1 << self.ejections.min(31));
        let duration = doubled.min(settings.ejection_max);
        self.ejections = self.ejections.saturating_add(1);
        self.state = CircuitState::Open { since: now, until: now + duration };
        Change::Ejected { duration, failures }
    }

    fn close(&mut self, now: Time) -> Change {
        self.state = CircuitState::Closed { failures: FailureRow::default(), since: now };
        Change::Closed
    }
}

#[cfg(test)]
mod tests;
