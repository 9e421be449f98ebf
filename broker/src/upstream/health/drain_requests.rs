//! Whether one backend asks to be drained: what counts as a request, and how long it stands.
//!
//! ```text
//!   Close 1012 to a session ----------------------+               its checks: down, then up
//!   Close 1001 to most sessions within a second --+--> asked in --------------------------------> over
//!   the header in the answer to an upgrade -------+    sessions   no session, and long silent
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

use crate::words::words;

/// How long most sessions may take to be told that their backend is going away.
const SECOND: Duration = Duration::from_secs(1);

/// Seconds begin so far apart, so that there are at most twenty at a time.
const APART: Duration = Duration::from_millis(50);

/// What one backend has asked for, and not taken back.
#[derive(Debug, Default)]
pub(crate) struct DrainRequests {
    goodbyes: Goodbyes,
    /// In the connections of its sessions.
    in_sessions: Option<DrainRequest>,
    /// In its last good health check.
    in_checks: bool,
}

#[derive(Debug)]
struct DrainRequest {
    /// How it asked first.
    reason: DrainReason,
    /// When it asked last.
    last: Time,
}

words! {
    /// How a backend asks.
    pub(crate) enum DrainReason {
        /// Close 1012 to one of its sessions.
        Restart = "restart",
        /// Close 1001 to most of them.
        GoingAway = "going_away",
        /// The header in its answer to an upgrade.
        Upgrade = "upgrade",
        /// The header in its answer to a health check.
        Health = "health",
    }
}

impl DrainReason {
    /// What the backend did.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            DrainReason::Restart => "the backend said Close 1012 (service restart) to a session",
            DrainReason::GoingAway => {
                "the backend said Close 1001 (going away) to most of its sessions within a second"
            }
            DrainReason::Upgrade => "the backend answered an upgrade with Steadfast-Drain: on",
            DrainReason::Health => "the backend answered a health check with Steadfast-Drain: on",
        }
    }
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
            CloseCode::SERVICE_RESTART => self.asked(now, DrainReason::Restart),
            CloseCode::GOING_AWAY if self.goodbyes.add(now, linked, held) => {
                self.asked(now, DrainReason::GoingAway)
            }
            _ => None,
        }
    }

    /// It has answered an upgrade with the header. `Some`: it begins to ask, for this reason.
    pub(crate) fn asked_in_upgrade(&mut self, now: Time) -> Option<DrainReason> {
        self.asked(now, DrainReason::Upgrade)
    }

    /// A health check was good, with the header (`drain`) or without. `Some`: it begins to ask, for
    /// this reason.
    pub(crate) fn answered(&mut self, drain: bool) -> Option<DrainReason> {
        let begins = drain && self.reason().is_none();
        self.in_checks = drain;
        begins.then_some(DrainReason::Health)
    }

    /// Its checks were bad and are good again: another process stands there now. What its checks say
    /// comes with the next answer.
    pub(crate) fn recovered(&mut self) {
        (self.in_sessions, self.goodbyes) = (None, Goodbyes::default());
    }

    /// It is no longer checked.
    pub(crate) fn unchecked(&mut self) {
        self.in_checks = false;
    }

    /// Time alone may have ended a request: without sessions, what it asked in sessions is over
    /// `timeout` after the last time. `held`: how many it has.
    pub(crate) fn advance(&mut self, now: Time, held: usize, timeout: Duration) {
        if held == 0 {
            self.in_sessions.take_if(|request| now.since(request.last) >= timeout);
        }
    }

    /// Why it is to be drained; `None`: it does not ask.
    pub(crate) fn reason(&self) -> Option<DrainReason> {
        let in_sessions = self.in_sessions.as_ref().map(|request| request.reason);
        in_sessions.or(self.in_checks.then_some(DrainReason::Health))
    }

    fn asked(&mut self, now: Time, reason: DrainReason) -> Option<DrainReason> {
        let begins = self.reason().is_none();
        let request = self.in_sessions.get_or_insert(DrainRequest { reason, last: now });
        // Workers read the clock before they come here, and may come in another order.
        request.last = request.last.max(now);
        begins.then_some(reason)
    }
}

/// Sessions that were told that their backend is going away, by the second. Seconds overlap; each
/// begins with a goodbye.
#[derive(Debug, Default)]
struct Goodbyes(VecDeque<Second>);

#[derive(Debug)]
struct Second {
    since: Time,
    /// Sessions at its beginning.
    held: usize,
    /// How many of them were told.
    said: usize,
}

impl Goodbyes {
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
