//! What a backend says of itself: that it is to be drained.

use steadfast_protocol::time::Time;
use steadfast_protocol::websocket::close_code::CloseCode;

use super::Backend;
use crate::metric;
use crate::upstream::health::drain_requests::{DrainReason, DrainRequests};

impl Backend {
    /// It has closed a session, which it had since `linked`, with a code that stands for a failure.
    pub(super) fn closed_with(&self, now: Time, linked: Time, code: CloseCode) {
        let held = self.sessions();
        self.ask(|drain_requests| drain_requests.closed_with(now, linked, held, code));
    }

    /// Its answer to an upgrade says `Steadfast-Drain: on`.
    pub(crate) fn asked_in_upgrade(&self, now: Time) {
        self.ask(|drain_requests| drain_requests.asked_in_upgrade(now));
    }

    /// A health check was good. `drain`: its answer says `Steadfast-Drain: on`.
    pub(crate) fn answered(&self, drain: bool) {
        self.ask(|drain_requests| drain_requests.answered(drain));
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
    use crate::upstream::pool::{Ask, Pool};

    const ASK: Ask<'static> = Ask { affinity: None, just_failed: None, tried: &[] };

    /// A pool of one backend.
    fn pool(keys: &str) -> (Pool, Arc<Backend>) {
        let file = "[[listener]]\naddress = \"127.0.0.1:0\"\n[[pool]]\nname = \"a\"\n";
        let backend = "[[pool.backend]]\nurl = \"ws://127.0.0.1:1\"\nname = \"one\"\n";
        let settings =
            parse(&format!("{file}{backend}{keys}"), &Overrides::default()).expect("a sound configuration");
        let pool = Pool::new(&settings.pools[0], &settings);
        let one = pool.named("one").expect("it is there");
        (pool, one)
    }

    fn session(pool: &Pool, now: Time) -> BackendLease {
        let mut lease = pool.pick(now, &ASK).expect("a lease");
        lease.linked(now);
        lease
    }

    #[test]
    fn most_of_its_sessions_ask_for_all() {
        let ((pool, one), now) = (pool(""), clock::now());
        let mut sessions: Vec<_> = (0..5).map(|_| session(&pool, now)).collect();
        for asks in [false, false, true] {
            let lease = sessions.pop().expect("three of five");
            lease.closed_with(now, CloseCode::GOING_AWAY);
            drop(lease);
            assert_eq!(one.asks_for_drain(now).is_some(), asks, "with {} left", sessions.len());
        }
        let why = one.asks_for_drain(now).expect("it asks");
        assert_eq!(why, "the backend said Close 1001 (going away) to most of its sessions within a second");
    }

    #[test]
    fn it_asks_until_it_is_empty_and_the_time_of_the_configuration_is_over() {
        let ((pool, one), now) = (pool("[drain]\nask_timeout = \"3s\""), clock::now());
        let [leaving, staying] = [session(&pool, now), session(&pool, now)];
        leaving.closed_with(now, CloseCode::SERVICE_RESTART);
        drop(leaving);
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
        one.answered(true);
        assert!(one.asks_for_drain(now).is_some());
        one.unchecked(now);
        assert_eq!(one.asks_for_drain(now), None);
    }
}
