//! What may last how long: stalls, open messages, and the session's next timeout.

use crate::time::Time;

use super::report::{EndCause, Failure};
use super::{BackendPhase, ClientPhase, Session};

impl Session {
    /// When [`Session::advance`] must be called again, whatever happens until then.
    pub fn poll_timeout(&mut self) -> Option<Time> {
        let at = self.earliest();
        self.due = at.unwrap_or(Time::NEVER);
        at
    }

    fn earliest(&self) -> Option<Time> {
        let ends = match self.state.client {
            ClientPhase::Told { until, .. } => until,
            _ => None,
        };
        let backend = match self.backend {
            BackendPhase::Waiting { at } => at,
            BackendPhase::Closing { until } | BackendPhase::Parting { until } => Some(until),
            _ => None,
        };
        [
            ends,
            backend,
            self.closing().map(|closing| closing.give_up).filter(|_| self.backend != BackendPhase::Over),
            self.away_until(),
            self.tell_client_at(),
            self.backend_link.writer.hold_ends(),
            self.episode_timeout(),
            self.orphan_at(),
            self.migration_at(),
            self.silence_at(),
            self.unfit_at(),
            self.backend_keepalive_at(),
            self.client_keepalive_at(),
            self.stall_at(),
            self.slow_message_at(),
        ]
        // Without a look whether there is each of them.
        .map(|at| at.unwrap_or(Time::NEVER))
        .into_iter()
        .min()
        .filter(|at| *at < Time::NEVER)
    }

    /// Acts on every time that has come.
    pub(super) fn expire(&mut self, now: Time) {
        // Whatever came up since the driver was told the time lies behind it, or is not due yet.
        if now < self.due {
            return;
        }
        let due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        self.expire_episode(now);
        self.expire_orphan(now);
        self.expire_closes(now);
        self.expire_absence(now);
        if due(self.unfit_at()) {
            self.ask_about_fitness(now);
        }
        if due(self.silence_at()) {
            self.ask_about_silence(now);
        }
        if due(self.stall_at()) {
            self.client_lost(now, EndCause::ClientStall);
        }
        if due(self.client_keepalive_at()) {
            self.client_is_silent(now);
        }
        if due(self.slow_message_at()) {
            self.message_too_slow(now);
        }
    }

    #[inline]
    fn stall_at(&self) -> Option<Time> {
        let over = matches!(self.state.client, ClientPhase::Over);
        self.client_link
            .timers
            .stalled_since()
            .filter(|_| !over && !self.away() && (self.state.down.waiting() > 0 || self.client_is_behind()))
            .map(|since| since + self.config.client_stall)
    }

    /// Neither side may keep a message open for long. The client's does not age while it is not
    /// read.
    #[inline]
    fn slow_message_at(&self) -> Option<Time> {
        let read = matches!(self.state.client, ClientPhase::Open) && !self.client_link.timers.paused();
        let client = self.client_link.timers.message_since().filter(|_| read);
        let backend = self.backend_link.timers.message_since().filter(|_| self.listens_to_backend());
        [client, backend].into_iter().flatten().min().map(|since| since + self.config.message_timeout)
    }

    fn message_too_slow(&mut self, now: Time) {
        let limit = self.config.message_timeout;
        if self.client_link.timers.message_since().is_some_and(|since| since + limit <= now)
            && matches!(self.state.client, ClientPhase::Open)
        {
            self.client_link.timers.forget_message();
            let code = self.config.codes.slow_message;
            self.dismiss(now, code, "a message took too long", EndCause::SlowMessage, true);
        } else {
            self.backend_link.timers.forget_message();
            self.leave_backend(now, Failure::SlowMessage);
        }
    }
}
