//! What becomes of what sessions say, for the backends.

use super::*;
use crate::upstream::health::docket::{Failing, Mishap, Occasion};

const CLIENT: [u8; 4] = [203, 0, 113, 7];

/// Four backends, each with sessions of other clients, which are heard at this second and later.
fn busy_pool(now: Time, heard: u64) -> (Pool, Vec<BackendLease>) {
    let pool = four();
    let mut leases: Vec<_> = (0..12).map(|_| pool.pick(now, &ASK).expect("a lease")).collect();
    for (client, lease) in (1..).zip(&mut leases) {
        lease.linked(now, IpAddr::from([192, 0, 2, client]));
    }
    for backend in &pool.snapshot().backends {
        backend.life.heard(now + Duration::from_secs(heard));
    }
    (pool, leases)
}

fn failing(pool: &Pool, name: &str, at: Time, (what, when): (Mishap, Occasion)) -> Failing {
    let backend = pool.named(name).expect("it is there").id;
    Failing { backend, at, what, when, young: true }
}

fn testify(pool: &Pool, name: &str, at: Time, what: Mishap, when: Occasion) {
    pool.testify(("one", IpAddr::from(CLIENT)), failing(pool, name, at, (what, when)), true);
}

const RESTART: Mishap = Mishap::Close(CloseCode::SERVICE_RESTART);

fn message() -> Occasion {
    Occasion::Messages(3..=3)
}

#[test]
fn a_message_that_two_answer_with_service_restart_lets_infer_nothing() {
    let now = clock::now();
    let (pool, _sessions) = busy_pool(now, 3);
    let [one, two] = ["1", "2"].map(|name| pool.named(name).expect("it is there"));
    testify(&pool, "1", now, RESTART, message());
    testify(&pool, "2", now, RESTART, message());
    pool.judge(now + Duration::from_secs(3));
    assert!(!one.wishes_to_leave(now) && !two.wishes_to_leave(now));
}

#[test]
fn a_restart_that_meets_a_busy_session_is_inferred_when_the_next_one_keeps_it() {
    let now = clock::now();
    let (pool, _sessions) = busy_pool(now, 3);
    let one = pool.named("1").expect("it is there");
    testify(&pool, "1", now, RESTART, message());
    pool.placed(now, "one");
    pool.settled(now, "one");
    assert!(!one.wishes_to_leave(now));
    let later = now + Duration::from_secs(1);
    pool.judge(later);
    assert!(one.wishes_to_leave(later));
}

#[test]
fn a_request_that_another_takes_penalises_who_has_answered_it_with_an_error() {
    for (what, penalised) in [(Mishap::Error, true), (Mishap::NoAnswer, true), (Mishap::Busy, false)] {
        let now = clock::now();
        let (pool, _sessions) = busy_pool(now, 3);
        let one = pool.named("1").expect("it is there");
        testify(&pool, "1", now, what, Occasion::Handshake);
        assert!(!one.is_penalised(now), "{what:?}: it may be the request");
        pool.placed(now, "one");
        assert_eq!(one.is_penalised(now), penalised, "{what:?}");
    }
}

#[test]
fn the_second_client_that_is_told_to_wait_has_the_backend_tried_last() {
    let now = clock::now();
    let (pool, _sessions) = busy_pool(now, 3);
    let one = pool.named("1").expect("it is there");
    for (n, (session, client)) in [("one", 7), ("two", 7), ("three", 8)].into_iter().enumerate() {
        assert!(!one.is_penalised(now), "before {session}");
        let at = now + Duration::from_millis(200 * n as u64);
        let failure = failing(&pool, "1", at, (Mishap::Busy, Occasion::Handshake));
        pool.testify((session, IpAddr::from([203, 0, 113, client])), failure, true);
        pool.placed(at, session);
    }
    assert!(one.is_penalised(now));
}

#[test]
fn nobody_speaks_for_backends_without_sessions_or_that_are_penalised() {
    let now = clock::now();
    let later = now + Duration::from_secs(3);
    for empty in [true, false] {
        let (pool, mut sessions) = busy_pool(now, if empty { 0 } else { 3 });
        let backends = ["1", "2"].map(|name| pool.named(name).expect("it is there"));
        if empty {
            sessions.clear();
        } else {
            backends.iter().for_each(|backend| backend.penalise(later));
        }
        for name in ["1", "2"] {
            testify(&pool, name, now, RESTART, message());
        }
        pool.judge(later);
        assert!(backends.iter().all(|backend| backend.wishes_to_leave(later)), "empty: {empty}");
    }
}

#[test]
fn in_a_pool_of_one_everything_counts_at_once() {
    let now = clock::now();
    let pool = pool(&backend(1, "")).0;
    testify(&pool, "1", now, Mishap::Error, Occasion::Handshake);
    assert!(pool.named("1").expect("it is there").is_penalised(now));
}
