//! What a backend says of itself: that it is to be drained.

use steadfast_protocol::time::Time;

use super::Backend;
use crate::asks::{Asks, Reason};

impl Backend {
    /// It has closed a session, which it had since `linked`, with a code that stands for a failure.
    pub(super) fn closed_with(&self, now: Time, linked: Time, code: u16) {
        let held = self.sessions();
        self.ask(|asks| asks.closed_with(now, linked, held, code));
    }

    /// Its answer to an upgrade says `Steadfast-Drain: on`.
    pub(crate) fn asked_in_upgrade(&self, now: Time) {
        self.ask(|asks| asks.asked_in_upgrade(now));
    }

    /// A health check was good. `drain`: its answer says `Steadfast-Drain: on`.
    pub(crate) fn answered(&self, drain: bool) {
        self.ask(|asks| asks.answered(drain));
    }

    /// Why it is to be drained, as a sentence; `None`: it does not ask, or not any more.
    pub(crate) fn asks_for_drain(&self, now: Time) -> Option<String> {
        let mut condition = self.condition();
        let timeout = condition.rules.ask_timeout;
        condition.asks.advance(now, self.sessions(), timeout);
        condition.asks.reason().map(|reason| reason.sentence().to_owned())
    }

    /// Tells of it when it begins to ask.
    fn ask(&self, ask: impl FnOnce(&mut Asks) -> Option<Reason>) {
        let Some(reason) = ask(&mut self.condition().asks) else { return };
        let labels = [
            ("pool", self.pool.to_string()),
            ("backend", self.series()),
            ("reason", reason.name().to_owned()),
        ];
        metrics::counter!("steadfast_drain_requests_total", &labels).increment(1);
        let (pool, backend, sessions, why) = (&*self.pool, &self.name, self.sessions(), reason.sentence());
        tracing::info!(pool, backend, sessions, why, "a backend asks to be drained");
    }
}
