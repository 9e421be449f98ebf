//! Who must speak before a backend is ejected.

use super::*;

/// So many sessions of clients with addresses of their own, each on whichever backend.
fn innocents(pool: &Pool, now: Time, count: u8) -> Vec<BackendLease> {
    let session = |client: u8| session(pool, now, [192, 0, 2, client]);
    (1..=count).map(session).collect()
}

fn session(pool: &Pool, now: Time, client: [u8; 4]) -> BackendLease {
    let mut lease = pool.pick(now, &ASK).expect("a lease");
    lease.linked(now, IpAddr::from(client));
    lease
}

/// Failures of this backend, a second apart, by these sessions of these clients. Returns after how many it is out.
fn out_after(
    pool: &Pool,
    backend: &Backend,
    now: Time,
    failures: impl Iterator<Item = ([u8; 4], String)>,
) -> Option<usize> {
    for (n, (client, session)) in failures.enumerate() {
        let at = now + Duration::from_secs(n as u64);
        pool.failed(at, backend, pool.complaint(at, IpAddr::from(client), &session));
        if backend.is_out() {
            return Some(n + 1);
        }
    }
    None
}

#[test]
fn one_client_among_many_takes_no_backend_out() {
    let (pool, now) = (four(), clock::now());
    let _innocents = innocents(&pool, now, 20);
    let one = pool.named("1").expect("it is there");
    let attack = (0..50).map(|n| ([203, 0, 113, 7], format!("{n}")));
    assert_eq!(out_after(&pool, &one, now, attack), None);
}

#[test]
fn as_many_clients_as_failures_are_wanted_take_it_out_at_once() {
    let (pool, now) = (four(), clock::now());
    let _innocents = innocents(&pool, now, 20);
    let one = pool.named("1").expect("it is there");
    let failures = (1..50).map(|n| ([192, 0, 2, n], format!("{n}")));
    assert_eq!(out_after(&pool, &one, now, failures), Some(5));
}

#[test]
fn behind_one_address_each_session_speaks() {
    let (pool, now) = (four(), clock::now());
    let balancer = [10, 0, 0, 1];
    let _sessions: Vec<_> = (0..20).map(|_| session(&pool, now, balancer)).collect();
    let [one, two] = ["1", "2"].map(|name| pool.named(name).expect("it is there"));
    let same = (0..50).map(|_| (balancer, "one".to_owned()));
    assert_eq!(out_after(&pool, &one, now, same), None, "one session is one witness");
    let all = (0..50).map(|n| (balancer, format!("{n}")));
    assert_eq!(out_after(&pool, &two, now, all), Some(5));
}

#[test]
fn the_only_client_there_is_takes_a_backend_out_as_before() {
    let (pool, now) = (four(), clock::now());
    let one = pool.named("1").expect("it is there");
    let failures = (0..50).map(|_| ([192, 0, 2, 1], "one".to_owned()));
    assert_eq!(out_after(&pool, &one, now, failures), Some(5));
}

#[test]
fn idle_sessions_do_not_acquit_a_backend_that_fails_when_it_is_used() {
    for (messages, acquits) in [(0, false), (1, true)] {
        let (pool, now) = (four(), clock::now());
        let _innocents = innocents(&pool, now, 20);
        let one = pool.named("1").expect("it is there");
        let fail = |second, client| {
            let at = now + Duration::from_secs(second);
            pool.failed(at, &one, pool.complaint(at, IpAddr::from([192, 0, 2, client]), "one"));
        };
        (0..4).for_each(|n| fail(n, n as u8 + 1));
        let reason = pool.pick(now, &ASK).expect("a lease").reason;
        let mut young = one.lease(now, CandidateTrust::Eligible, reason).expect("it is up");
        young.linked(now + Duration::from_secs(1), IpAddr::from([192, 0, 2, 30]));
        young.begins(0);
        young.heard(now + Duration::from_secs(12), || messages);
        fail(13, 5);
        assert_eq!(one.is_out(), !acquits, "after {messages} messages");
    }
}
