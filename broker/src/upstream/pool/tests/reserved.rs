//! Places of clients that are sent to their backend.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use proptest::prelude::*;

use super::{ASK, pool, tell};
use crate::clock;
use crate::upstream::backend::RequestLease;
use crate::upstream::balance::CandidateTrust;
use crate::upstream::health::witness::Complaint;
use crate::upstream::pool::{NoLease, Pool};

fn public(number: u16, more: &str) -> String {
    super::backend(number, &format!("public_url = \"https://{number}.test\"\n{more}"))
}

/// The name of the backend that is chosen, and the place there.
fn reserve(pool: &Pool) -> Result<(String, crate::upstream::backend::ReservedPlace), NoLease> {
    let (place, url) = pool.reserve(clock::now(), None)?;
    let name = place.backend().name.clone();
    assert_eq!(url.with(false, "/"), format!("https://{name}.test/"));
    Ok((name, place))
}

#[test]
fn a_place_counts_until_it_is_given_back() {
    let (pool, _) = pool(&public(1, "max_sessions = 1"));
    let (_, place) = reserve(&pool).expect("a place");
    let one = pool.named("1").expect("it is there");
    assert_eq!((one.sessions(), one.reserved()), (0, 1));
    assert_eq!(reserve(&pool).err(), Some(NoLease::Full));
    assert_eq!(pool.pick(clock::now(), &ASK).err(), Some(NoLease::Full), "nor is there one for a session");
    drop(place);
    let lease = pool.pick(clock::now(), &ASK).expect("a lease");
    assert_eq!((one.sessions(), one.reserved()), (1, 0));
    assert_eq!(reserve(&pool).err(), Some(NoLease::Full));
    drop(lease);
    assert!(reserve(&pool).is_ok());
}

#[test]
fn nobody_is_sent_where_a_session_would_only_be_tried() {
    let rules = "[pool.outlier]\nfailures = 1\nmax_ejected = 100\n";
    let (pool, now) = (pool(&format!("{rules}{}", public(1, ""))).0, clock::now());
    let one = pool.named("1").expect("it is there");
    pool.failed(now, &one, Complaint::BROKERS);
    assert_eq!(reserve(&pool).err(), Some(NoLease::Nobody), "ejected");
    assert!(pool.pick(now, &ASK).is_ok(), "a session is better off there than nowhere");
    let later = now + std::time::Duration::from_secs(11);
    one.advance(later);
    assert!(one.takes_one());
    assert_eq!(reserve(&pool).err(), Some(NoLease::Nobody), "half open");
    let reason = pool.pick(later, &ASK).expect("the trial is still to be had").reason;
    assert!(one.lease(later, CandidateTrust::Eligible, reason).is_some());
}

#[test]
fn one_that_is_tried_last_is_named_when_there_is_no_other() {
    let (pool, now) = (pool(&[public(1, ""), public(2, "")].concat()).0, clock::now());
    let [one, two] = ["1", "2"].map(|name| pool.named(name).expect("it is there"));
    one.penalise(now);
    for _ in 0..3 {
        assert_eq!(reserve(&pool).map(|(name, _)| name).as_deref(), Ok("2"));
    }
    tell(&two, "drain");
    assert_eq!(reserve(&pool).map(|(name, _)| name).as_deref(), Ok("1"));
}

#[tokio::test(start_paused = true)]
async fn who_waits_comes_first() {
    let (pool, now) =
        (pool(&[public(1, "max_sessions = 1"), public(2, "max_sessions = 1")].concat()).0, clock::now());
    let leases = [pool.pick(now, &ASK).expect("a lease"), pool.pick(now, &ASK).expect("a lease")];
    let mut waiting = Box::pin(pool.lease(&ASK, true, || {}));
    assert!(futures::poll!(&mut waiting).is_pending());
    drop(leases);
    assert_eq!(reserve(&pool).err(), Some(NoLease::Full), "the place is that of the one who waits");
    let lease = waiting.await.expect("a lease");
    assert!(reserve(&pool).is_ok_and(|(name, _)| name != lease.backend().name));
}

#[test]
fn places_weigh_for_the_choice_and_not_for_a_rebalance() {
    let (pool, now) = (pool(&[public(1, ""), public(2, "")].concat()).0, clock::now());
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(reserve(&pool).expect("a place"));
    }
    let at_one = held.iter().filter(|(name, _)| name == "1").count();
    assert_eq!(at_one, 10, "evenly");
    held.retain(|(name, _)| name == "1");
    let lease = pool.pick(now, &ASK).expect("a lease");
    assert_eq!(lease.backend().name, "2");
    let mut sessions: Vec<usize> = pool.bearers(now).iter().map(|candidate| candidate.sessions).collect();
    sessions.sort_unstable();
    assert_eq!(sessions, [0, 1]);
}

#[test]
fn requests_weigh_for_the_choice_and_not_for_a_rebalance() {
    let (pool, now) = (pool(&[public(1, ""), public(2, "")].concat()).0, clock::now());
    let first = RequestLease::new(pool.pick(now, &ASK).expect("a lease"));
    let session = pool.pick(now, &ASK).expect("another");
    assert_ne!(session.backend().name, first.backend().name, "the request is there");
    let mut sessions: Vec<usize> = pool.bearers(now).iter().map(|candidate| candidate.sessions).collect();
    sessions.sort_unstable();
    assert_eq!(sessions, [0, 1], "it moves nowhere");
}

#[test]
fn threads_never_have_more_than_the_limit() {
    let (pool, _) = pool(&public(1, "max_sessions = 7"));
    let one = pool.named("1").expect("it is there");
    // Of those that are held at a moment: each is counted after it is taken, and no more before it is given back.
    let held = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (pool, held) = (&pool, &held);
            scope.spawn(move || {
                for turn in 0..500 {
                    let now = clock::now();
                    let counted = |taken: bool| {
                        assert!(!taken || held.fetch_add(1, Relaxed) < 7, "more than the limit");
                        usize::from(taken)
                    };
                    let lease = if (thread + turn) % 2 == 0 { pool.pick(now, &ASK).ok() } else { None };
                    let own = counted(lease.is_some());
                    let places = [pool.reserve(now, None).ok(), pool.reserve(now, None).ok()];
                    let own = places.iter().fold(own, |own, place| own + counted(place.is_some()));
                    held.fetch_sub(own, Relaxed);
                    drop((lease, places));
                }
            });
        }
    });
    assert_eq!((one.sessions(), one.reserved()), (0, 0));
    let all: Vec<_> = std::iter::from_fn(|| pool.reserve(clock::now(), None).ok()).take(100).collect();
    assert_eq!(all.len(), 7);
}

proptest! {
    /// Whatever is taken and given back in whatever order, both together never exceed the limit, and fill it.
    #[test]
    fn both_together_fill_the_limit(turns in prop::collection::vec((any::<bool>(), any::<bool>()), 0..60)) {
        let (pool, _) = pool(&public(1, "max_sessions = 3"));
        let one = pool.named("1").expect("it is there");
        let (mut leases, mut places) = (Vec::new(), Vec::new());
        for (reserves, takes) in turns {
            let has_room = leases.len() + places.len() < 3;
            match (reserves, takes) {
                (true, true) => {
                    let place = pool.reserve(clock::now(), None).ok();
                    prop_assert_eq!(place.is_some(), has_room);
                    places.extend(place);
                }
                (false, true) => {
                    let lease = pool.pick(clock::now(), &ASK).ok();
                    prop_assert_eq!(lease.is_some(), has_room);
                    leases.extend(lease);
                }
                (true, false) => drop(places.pop()),
                (false, false) => drop(leases.pop()),
            }
            prop_assert_eq!((one.sessions(), one.reserved()), (leases.len(), places.len()));
        }
    }
}
