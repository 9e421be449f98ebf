//! Whether one backend asks to be drained: what counts as a request, and how long it stands.
//!
//! ```text
//!   Close 1012 to a session ----------------------+
//!   Close 1001 to most sessions within a second --+--> inferred: see `departure`
//!
//!                                                      asked in   its checks: down, then up
//!   the header in the answer to an upgrade ----------> sessions --------------------------------> over
//!                                                                 no session, and long silent
//!
//!                                                      asked in   a good check without it
//!   the header in the answer to a health check -------> checks  --------------------------------> over
//! ```

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use steadfast_protocol::time::Time;
use steadfast_protocol::websocket::close_code::CloseCode;

use super::departure::Departure;
use super::drain_reason::DrainReason;

/// How long most sessions may take to be told that their backend is going away.
const SECOND: Duration = Duration::from_secs(1);

/// Seconds begin so far apart, so that there are at most twenty at a time.
const APART: Duration = Duration::from_millis(50);

/// What one backend has asked for, and not taken back.
#[derive(Debug, Default)]
pub(crate) struct DrainRequests {
    closes: RecentCloses,
    /// What its Closes let infer.
    departure: Departure,
    /// When it last asked in the answer to an upgrade.
    in_sessions: Option<Time>,
    /// In its last good health check.
    in_checks: bool,
}

impl DrainRequests {
    /// It has closed a session with `code`, a failure. `linked`: since when it had that; `held`: how
    /// many it has, this one included. `Some`: it begins to ask, for this reason.
    pub(crate) fn closed_with(
        &mut self,
        now: Time,
        linked: Time,
        held: usize,
        code: CloseCode,
    ) -> Option<DrainReason> {
        match code {
            CloseCode::SERVICE_RESTART => self.inferred(now, DrainReason::Restart),
            CloseCode::GOING_AWAY if self.closes.add(now, linked, held) => {
                self.inferred(now, DrainReason::GoingAway)
            }
            _ => None,
        }
    }

    /// It has answered an upgrade with the header. `Some`: it begins to ask, for this reason.
    pub(crate) fn asked_in_upgrade(&mut self, now: Time) -> Option<DrainReason> {
        let begins = self.said().is_none();
        // Workers read the clock before they come here, and may come in another order.
        self.in_sessions = self.in_sessions.max(Some(now));
        begins.then_some(DrainReason::Upgrade)
    }

    /// A health check was good that was begun then, with the header (`drain`) or without. `Some`: it begins to ask,
    /// for this reason.
    pub(crate) fn answered(&mut self, begun: Time, drain: bool) -> Option<DrainReason> {
        let begins = drain && self.said().is_none();
        self.in_checks = drain;
        self.departure.answered(begun);
        begins.then_some(DrainReason::Health)
    }

    /// Its checks were bad and are good again: another process stands there now. What its checks say
    /// comes with the next answer.
    pub(crate) fn recovered(&mut self) {
        (self.in_sessions, self.closes) = (None, RecentCloses::default());
        self.departure.end();
    }

    /// It is no longer checked.
    pub(crate) fn unchecked(&mut self) {
        self.in_checks = false;
    }

    /// A session that was sent to try it has lasted: it serves on, whatever its Closes let infer.
    pub(crate) fn serves_on(&mut self) {
        self.departure.end();
    }

    /// Time alone may have ended a request. What it said in sessions is over `timeout` after the last time when it
    /// has none any more, `held` being how many it has; what was inferred, in any case.
    pub(crate) fn advance(&mut self, now: Time, held: usize, timeout: Duration) {
        if held == 0 {
            self.in_sessions.take_if(|last| now.since(*last) >= timeout);
        }
        self.departure.advance(now, timeout);
    }

    /// Something lets infer that it goes, and it waits until its pool can do without it.
    pub(crate) fn is_wished(&self) -> bool {
        self.departure.is_wished()
    }

    /// It leaves for what was inferred.
    pub(crate) fn leaves(&self) -> bool {
        self.departure.leaves().is_some()
    }

    /// Its pool can do without it.
    pub(crate) fn grant(&mut self) {
        self.departure.grant();
    }

    /// Why it is to be drained; `None`: it does not ask, or its pool cannot do without it yet.
    pub(crate) fn reason(&self) -> Option<DrainReason> {
        self.said().or(self.departure.leaves())
    }

    /// Why it is to be drained, as it has said itself.
    pub(crate) fn said(&self) -> Option<DrainReason> {
        let in_sessions = self.in_sessions.map(|_| DrainReason::Upgrade);
        in_sessions.or(self.in_checks.then_some(DrainReason::Health))
    }

    fn inferred(&mut self, now: Time, reason: DrainReason) -> Option<DrainReason> {
        let begins = self.departure.inferred(now, reason);
        (begins && self.said().is_none()).then_some(reason)
    }
}

/// Sessions that were told that their backend is going away, by the second. Seconds overlap; each
/// begins with a goodbye.
#[derive(Debug, Default)]
struct RecentCloses(VecDeque<Second>);

#[derive(Debug)]
struct Second {
    since: Time,
    /// Sessions at its beginning.
    held: usize,
    /// How many of them were told.
    said: usize,
}

impl RecentCloses {
    /// One more session is told. True: those were most of the sessions, within a second.
    fn add(&mut self, now: Time, linked: Time, held: usize) -> bool {
        while self.0.front().is_some_and(|second| now.since(second.since) >= SECOND) {
            self.0.pop_front();
        }
        if self.0.back().is_none_or(|last| now.since(last.since) >= APART) {
            self.0.push_back(Second { since: now, held, said: 0 });
        }
        // A session that came later, perhaps for the second time, is none of those of the beginning.
        for second in self.0.iter_mut().filter(|second| linked <= second.since) {
            second.said += 1;
        }
        self.0.iter().any(Second::is_told_to_most)
    }
}

impl Second {
    /// One session's goodbye is a matter of that session.
    fn is_told_to_most(&self) -> bool {
        self.said >= 2 && self.said > self.held / 2
    }
}
