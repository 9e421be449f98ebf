mod evidence;
mod own;
mod reserved;
mod witnesses;

use super::*;
use crate::config::{Overrides, parse};
use crate::upstream::balance::CandidateTrust;
use crate::upstream::health::agent;

const ASK: Ask<'static> = Ask { preferred: None, affinity: None, just_failed: None, tried: &[] };

/// A pool with these keys, and the settings around it.
fn pool(keys: &str) -> (Pool, Settings) {
    let text = format!("[[listener]]\naddress = \"127.0.0.1:0\"\n[[pool]]\nname = \"a\"\n{keys}");
    let settings = parse(&text, &Overrides::default()).expect("a sound configuration");
    (Pool::new(&settings.pools[0], &settings, &TlsSetup::default()), settings)
}

fn backend(number: u16, more: &str) -> String {
    format!("[[pool.backend]]\nurl = \"ws://127.0.0.1:{number}\"\nname = \"{number}\"\n{more}\n")
}

fn tell(backend: &Backend, report: &str) {
    backend.told(clock::now(), agent::parse(report).expect("a report"));
}

#[test]
fn a_pools_own_close_codes_win_over_the_brokers() {
    let own = "[pool.close_codes]\nrefused = 4001\nshutdown = 4002\n";
    let keys = format!("{own}{}[close_codes]\nrefused = 4003\npoison = 4004\n", backend(1, ""));
    let (pool, _) = pool(&keys);
    let codes = pool.snapshot().session.codes;
    assert_eq!(
        (codes.refused, codes.poison, codes.deadline),
        (CloseCode(4001), CloseCode(4004), CloseCode::TRY_AGAIN_LATER)
    );
    assert_eq!(pool.shutdown_code(CloseCode::GOING_AWAY), CloseCode(4002));
}

#[test]
fn a_backend_that_was_taken_away_gives_no_seat() {
    let (pool, _) = pool(&format!("{}{}", backend(1, ""), backend(2, "")));
    let (one, now) = (pool.named("1").expect("it is there"), clock::now());
    let lease = pool.pick(now, &ASK).expect("a lease");
    pool.remove("1").expect("it is there");
    assert!(one.lease(now, CandidateTrust::Eligible, lease.reason).is_none());
}

#[test]
fn nobody_leaves_for_a_backend_that_was_not_checked_yet() {
    let keys = format!("[pool.health]\ntype = \"tcp\"\n{}{}", backend(1, ""), backend(2, ""));
    let (pool, now) = (pool(&keys).0, clock::now());
    let [one, two] = ["1", "2"].map(|name| pool.named(name).expect("it is there"));
    assert!(!pool.has_other(now, one.id));
    two.checked(now, Ok(()), 1, 1);
    assert!(pool.has_other(now, one.id));
}

#[test]
fn a_half_open_backend_gives_one_seat() {
    let (pool, _) = pool(&format!("[pool.outlier]\nfailures = 1\n{}{}", backend(1, ""), backend(2, "")));
    let (one, now) = (pool.named("1").expect("it is there"), clock::now());
    pool.failed(now, &one, Complaint::BROKERS);
    assert!(one.is_out());
    let later = now + Duration::from_secs(11);
    one.advance(later);
    assert_eq!(pool.room_beside(later, pool.named("2").map(|two| two.id)), 1);
    let reason = pool.pick(now, &ASK).expect("a lease").reason;
    let trial = one.lease(later, CandidateTrust::Eligible, reason);
    assert!(trial.is_some() && one.lease(later, CandidateTrust::Eligible, reason).is_none());
    assert_eq!(pool.room_beside(later, pool.named("2").map(|two| two.id)), 0);
}

#[test]
fn a_draining_backend_gets_no_session_even_when_it_is_ejected() {
    let (pool, _) = pool(&format!("[pool.outlier]\nfailures = 1\nmax_ejected = 100\n{}", backend(1, "")));
    let (one, now) = (pool.named("1").expect("it is there"), clock::now());
    pool.failed(now, &one, Complaint::BROKERS);
    assert!(pool.pick(now, &ASK).is_ok(), "a bad backend is better than none");
    tell(&one, "drain");
    assert_eq!(pool.pick(now, &ASK).err(), Some(NoLease::Nobody));
}

#[test]
fn a_full_primary_is_no_reason_to_leave_for_a_backup() {
    let keys = [backend(1, ""), backend(2, "max_sessions = 1"), backend(3, "backup = true")].concat();
    let (pool, now) = (pool(&keys).0, clock::now());
    let one = pool.named("1").expect("it is there");
    assert!(pool.has_other(now, one.id));
    let two = pool.named("2").expect("it is there");
    let reason = pool.pick(now, &ASK).expect("a lease").reason;
    let lease = two.lease(now, CandidateTrust::Eligible, reason);
    assert!(lease.is_some() && !pool.has_other(now, one.id));
}

#[test]
fn what_a_question_of_before_a_reload_has_found_is_not_taken_over() {
    let (pool, settings) = pool("[[pool.discovery]]\naddress = \"chat.test:80\"\n");
    let asked = pool.snapshot().settings.discoveries[0].clone();
    let found = [FoundBackend {
        name: "chat.test/127.0.0.1:80".to_owned(),
        address: ([127, 0, 0, 1], 80).into(),
        weight: None,
        backup: false,
    }];
    pool.discovered(&asked, &found);
    assert_eq!(pool.snapshot().backends.len(), 1);
    let mut changed = settings.pools[0].clone();
    changed.discoveries.clear();
    pool.configure(&changed, &settings, &TlsSetup::default());
    assert_eq!(pool.snapshot().backends.len(), 0);
    pool.discovered(&asked, &found);
    assert_eq!(pool.snapshot().backends.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_says_so_and_gets_the_place_that_is_given_back() {
    let (pool, now) = (pool(&backend(1, "max_sessions = 1")).0, clock::now());
    let lease = pool.pick(now, &ASK).expect("a lease");
    let waits = std::cell::Cell::new(false);
    let mut waiting = Box::pin(pool.lease(&ASK, true, || waits.set(true)));
    assert!(futures::poll!(&mut waiting).is_pending() && waits.get());
    drop(lease);
    assert!(waiting.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn whoever_cannot_use_every_place_holds_nobody_up() {
    let keys = [backend(1, ""), backend(2, "max_sessions = 1")].concat();
    let (pool, now) = (pool(&keys).0, clock::now());
    let (one, two) = (pool.named("1").expect("it is there"), pool.named("2").expect("it is there"));
    let reason = pool.pick(now, &ASK).expect("a lease").reason;
    let lease = two.lease(now, CandidateTrust::Eligible, reason).expect("the only one");
    let tried = [one.id];
    let choosy = Ask { tried: &tried, ..ASK };
    let mut aside = Box::pin(pool.lease(&choosy, true, || {}));
    assert!(futures::poll!(&mut aside).is_pending());
    let next = pool.lease(&ASK, true, || panic!("there is room")).await.expect("a lease");
    assert_eq!(next.backend().id, one.id);
    drop(lease);
    assert_eq!(aside.await.expect("a lease").backend().id, two.id);
}

/// What the triggers would make of a backend whose Close lets infer that it goes.
fn leave(pool: &Pool, backend: &Backend, now: Time) {
    backend.closed_with(now, now, CloseCode::SERVICE_RESTART);
    pool.grant_leaves(now);
    if backend.asks_for_drain(now).is_some() {
        backend.set_admin_state(now, backend.asked_state(), "it asks for it");
    }
}

fn four() -> Pool {
    pool(&(1..=4).map(|number| backend(number, "")).collect::<String>()).0
}

#[test]
fn who_seems_to_leave_and_who_is_ejected_are_half_of_the_pool_together() {
    let (pool, now) = (four(), clock::now());
    let all: Vec<_> = pool.snapshot().backends.clone();
    for backend in &all[..3] {
        leave(&pool, backend, now);
    }
    for n in 0..10 {
        pool.failed(now + Duration::from_millis(200 * n), &all[3], Complaint::BROKERS);
    }
    let out: Vec<_> = all.iter().map(|backend| backend.is_out()).collect();
    assert_eq!(out, [true, true, false, false]);
    assert!(pool.pick(now, &ASK).is_ok());
}

#[test]
fn it_leaves_when_another_is_back() {
    let (pool, now) = (pool(&format!("{}{}", backend(1, ""), backend(2, ""))).0, clock::now());
    let [one, two] = ["1", "2"].map(|name| pool.named(name).expect("it is there"));
    leave(&pool, &one, now);
    let later = now + Duration::from_secs(9);
    leave(&pool, &two, later);
    assert_eq!((one.is_out(), two.is_out()), (true, false));
    let end = now + Duration::from_secs(10);
    pool.grant_leaves(end);
    assert_eq!((one.is_out(), two.is_out()), (false, true));
}

#[tokio::test(start_paused = true)]
async fn when_nobody_else_is_there_one_session_at_a_time_tries_who_seems_to_leave() {
    let (pool, now) = (pool(&format!("{}{}", backend(1, ""), backend(2, ""))).0, clock::now());
    let [one, two] = ["1", "2"].map(|name| pool.named(name).expect("it is there"));
    leave(&pool, &one, now);
    tell(&two, "down");
    assert_eq!(pool.pick(now, &ASK).err(), Some(NoLease::Nobody));
    let begun = Instant::now();
    let mut first = pool.lease(&ASK, true, || {}).await.expect("the last resort");
    assert!(begun.elapsed() >= BEFORE_LAST, "it has waited");
    let mut second = Box::pin(pool.lease(&ASK, true, || {}));
    assert!(futures::poll!(&mut second).is_pending());
    tokio::time::advance(BEFORE_LAST * 2).await;
    assert!(futures::poll!(&mut second).is_pending(), "the first is still on its way");
    first.linked(now, IpAddr::from([127, 0, 0, 1]));
    one.advance(now + Duration::from_secs(1));
    assert_eq!(one.asks_for_drain(now), None, "it has taken a session that has lasted");
    assert!(second.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn when_all_others_are_full_one_session_at_a_time_tries_who_is_ejected() {
    let keys = format!("[pool.outlier]\nfailures = 1\n{}{}", backend(1, ""), backend(2, "max_sessions = 1"));
    let (pool, now) = (pool(&keys).0, clock::now());
    let [one, two] = ["1", "2"].map(|name| pool.named(name).expect("it is there"));
    pool.failed(now, &one, Complaint::BROKERS);
    let only = pool.lease(&ASK, true, || {}).await.expect("there is room");
    assert_eq!(only.backend().id, two.id);
    let trial = pool.lease(&ASK, true, || {}).await.expect("the last resort");
    assert_eq!(trial.backend().id, one.id);
    assert_eq!(pool.lease(&ASK, true, || {}).await.err(), Some(NoLease::Full), "one at a time");
    drop(trial);
    let again = pool.lease(&ASK, true, || {}).await.expect("the last resort");
    assert_eq!(again.backend().id, one.id);
}
