//! What a backend says of itself: that it is to be drained.

use steadfast_protocol::time::Time;
use steadfast_protocol::websocket::close_code::CloseCode;

use super::{AdminState, Backend};
use crate::metric;
use crate::upstream::health::drain_reason::DrainReason;
use crate::upstream::health::drain_requests::DrainRequests;

impl Backend {
    /// It has closed a session, which it had since `linked`, with a code that stands for a failure.
    pub(crate) fn closed_with(&self, now: Time, linked: Time, code: CloseCode) {
        let held = self.sessions();
        self.ask(|drain_requests| drain_requests.closed_with(now, linked, held, code));
    }

    /// Its answer to an upgrade says `Steadfast-Drain: on`.
    pub(crate) fn asked_in_upgrade(&self, now: Time) {
        self.ask(|drain_requests| drain_requests.asked_in_upgrade(now));
    }

    /// A health check was good that was begun then. `drain`: its answer says `Steadfast-Drain: on`.
    pub(crate) fn answered(&self, begun: Time, drain: bool) {
        self.ask(|drain_requests| drain_requests.answered(begun, drain));
    }

    /// Its Closes let infer that it goes, and it waits until its pool can do without it.
    pub(crate) fn wishes_to_leave(&self, now: Time) -> bool {
        let mut status = self.status();
        let timeout = status.rules.ask_timeout;
        status.drain_requests.advance(now, self.sessions(), timeout);
        status.drain_requests.is_wished()
    }

    /// Its Closes let infer that it goes, whether or not its pool can do without it.
    pub(crate) fn seems_to_go(&self, now: Time) -> bool {
        self.wishes_to_leave(now) || self.status().drain_requests.leaves()
    }

    /// Its pool can do without it.
    pub(crate) fn grant_leave(&self) {
        self.status().drain_requests.grant();
    }

    /// What the drain makes of it that it asks for now. What an operator has taken out before stays out.
    pub(crate) fn asked_state(&self) -> AdminState {
        let status = self.status();
        let inferred = status.drain_requests.leaves() && status.drain_requests.said().is_none();
        let is_in = matches!(status.admin_state, AdminState::Ready | AdminState::Leaving);
        if inferred && is_in { AdminState::Leaving } else { AdminState::Draining }
    }

    /// Why it is to be drained, as a sentence; `None`: it does not ask, or not any more.
    pub(crate) fn asks_for_drain(&self, now: Time) -> Option<String> {
        let mut status = self.status();
        let timeout = status.rules.ask_timeout;
        status.drain_requests.advance(now, self.sessions(), timeout);
        status.drain_requests.reason().map(|reason| reason.sentence().to_owned())
    }

    /// Tells of it when it begins to ask.
    fn ask(&self, ask: impl FnOnce(&mut DrainRequests) -> Option<DrainReason>) {
        let Some(reason) = ask(&mut self.status().drain_requests) else { return };
        metric::DRAIN_REQUESTS.count((self.pool.to_string(), self.series(), reason.name()));
        let (pool, backend, sessions, why) = (&*self.pool, &self.name, self.sessions(), reason.sentence());
        tracing::info!(pool, backend, sessions, why, "a backend asks to be drained");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::BackendLease;
    use super::*;
    use crate::clock;
    use crate::config::{Overrides, parse};
    use crate::tls::TlsSetup;
    use crate::upstream::pool::{Ask, Pool};

    const ASK: Ask<'static> = Ask { preferred: None, affinity: None, just_failed: None, tried: &[] };

    /// A pool of one backend.
    fn pool(keys: &str) -> (Pool, Arc<Backend>) {
        let file = "[[listener]]\naddress = \"127.0.0.1:0\"\n[[pool]]\nname = \"a\"\n";
        let backend = "[[pool.backend]]\nurl = \"ws://127.0.0.1:1\"\nname = \"one\"\n";
        let settings =
            parse(&format!("{file}{backend}{keys}"), &Overrides::default()).expect("a sound configuration");
        let pool = Pool::new(&settings.pools[0], &settings, &TlsSetup::default());
        let one = pool.named("one").expect("it is there");
        (pool, one)
    }

    fn session(pool: &Pool, now: Time) -> BackendLease {
        let mut lease = pool.pick(now, &ASK).expect("a lease");
        lease.linked(now, [127, 0, 0, 1].into());
        lease
    }

    #[test]
    fn most_of_its_sessions_ask_for_all() {
        let ((pool, one), now) = (pool("[pool.outlier]\nmax_ejected = 100"), clock::now());
        let mut sessions: Vec<_> = (0..5).map(|_| session(&pool, now)).collect();
        for asks in [false, false, true] {
            let lease = sessions.pop().expect("three of five");
            lease.closed_with(now, CloseCode::GOING_AWAY);
            drop(lease);
            pool.grant_leaves(now);
            assert_eq!(one.asks_for_drain(now).is_some(), asks, "with {} left", sessions.len());
        }
        let why = one.asks_for_drain(now).expect("it asks");
        assert_eq!(why, "the backend said Close 1001 (going away) to most of its sessions within a second");
    }

    #[test]
    fn the_last_of_its_pool_is_kept_whatever_its_closes_let_infer() {
        let ((pool, one), now) = (pool(""), clock::now());
        session(&pool, now).closed_with(now, CloseCode::SERVICE_RESTART);
        pool.grant_leaves(now);
        assert_eq!(one.asks_for_drain(now), None);
        one.asked_in_upgrade(now);
        assert!(one.asks_for_drain(now).is_some(), "what it says itself holds");
    }

    #[test]
    fn what_was_inferred_ends_when_the_time_of_the_configuration_is_over() {
        let keys = "[drain]\nask_timeout = \"3s\"\n[pool.outlier]\nmax_ejected = 100";
        let ((pool, one), now) = (pool(keys), clock::now());
        let [leaving, _staying] = [session(&pool, now), session(&pool, now)];
        leaving.closed_with(now, CloseCode::SERVICE_RESTART);
        pool.grant_leaves(now);
        let after = |seconds| now + Duration::from_secs(seconds);
        assert!(one.asks_for_drain(after(2)).is_some(), "it may have only begun");
        assert_eq!(one.asks_for_drain(after(3)), None, "whoever is there yet");
    }

    #[test]
    fn its_own_word_holds_until_it_is_empty_and_the_time_is_over() {
        let ((pool, one), now) = (pool("[drain]\nask_timeout = \"3s\""), clock::now());
        let staying = session(&pool, now);
        one.asked_in_upgrade(now);
        let after = |seconds| now + Duration::from_secs(seconds);
        assert!(one.asks_for_drain(after(60)).is_some(), "a session is there yet");
        drop(staying);
        assert!(one.asks_for_drain(after(2)).is_some(), "it may have only begun");
        assert_eq!(one.asks_for_drain(after(3)), None);
        one.asked_in_upgrade(after(4));
        assert!(one.asks_for_drain(after(4)).is_some(), "it may ask anew");
    }

    #[test]
    fn down_and_up_again_it_is_another() {
        let (_, one) = pool("");
        let now = clock::now();
        let check = |result: Result<(), &str>| one.checked(now, result.map_err(str::to_owned), 1, 1);
        one.asked_in_upgrade(now);
        check(Ok(()));
        assert!(one.asks_for_drain(now).is_some(), "it was not down");
        check(Err("refused"));
        assert!(one.asks_for_drain(now).is_some(), "it is not up again");
        check(Ok(()));
        assert_eq!(one.asks_for_drain(now), None);
    }

    #[test]
    fn what_its_checks_say_goes_with_them() {
        let (_, one) = pool("");
        let now = clock::now();
        one.answered(now, true);
        assert!(one.asks_for_drain(now).is_some());
        one.unchecked(now);
        assert_eq!(one.asks_for_drain(now), None);
    }
}
