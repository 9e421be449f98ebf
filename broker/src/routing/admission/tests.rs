use std::thread;
use std::time::Duration;

use governor::clock::FakeRelativeClock;
use http::header::{self, HeaderValue};

use super::*;
use crate::config::settings::OriginPattern;

fn client(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

fn from(origin: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))])
}

fn guard(access: &AccessSettings) -> (Guard<FakeRelativeClock>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    (Guard::with_clock(access, clock.clone()), clock)
}

fn strict() -> AccessSettings {
    AccessSettings {
        allow: vec!["10.0.0.0/8".parse().expect("a network")],
        origins: vec![OriginPattern::Exact("https://a.com".into())],
        upgrades_per_second: Some(1),
        upgrades_burst: 1,
        sessions_per_address: Some(1),
        ..AccessSettings::default()
    }
}

fn limited(sessions: u32) -> AccessSettings {
    AccessSettings { sessions_per_address: Some(sessions), ..AccessSettings::default() }
}

fn rated(burst: u32) -> AccessSettings {
    AccessSettings { upgrades_per_second: Some(1), upgrades_burst: burst, ..AccessSettings::default() }
}

fn reason<T>(result: Result<T, Denial>) -> Option<DenialReason> {
    result.err().map(|denial| denial.reason)
}

#[test]
fn workers_share_a_guard() {
    fn shared<T: Send + Sync>() {}
    shared::<Guard>();
    shared::<AddressPermit>();
}

#[test]
fn without_rules_everybody_comes_in_without_a_pass() {
    let guard = Guard::new(&AccessSettings::default());
    for address in ["192.0.2.1", "2001:db8::1"] {
        assert!(matches!(guard.admit(client(address), &HeaderMap::new()), Ok(None)));
    }
}

#[test]
fn denials_say_what_the_client_is_told() {
    let (guard, _) = guard(&strict());
    let denied = |address, origin| guard.admit(client(address), &from(origin)).expect_err("a denial");
    assert_eq!(denied("192.0.2.1", "https://a.com"), NETWORK);
    assert_eq!(denied("10.0.0.1", "https://b.com"), ORIGIN);
    let permit = guard.admit(client("10.0.0.1"), &from("https://a.com")).expect("no denial");
    assert!(permit.is_some());
    assert_eq!(denied("10.0.0.1", "https://a.com"), SESSIONS);
    drop(permit);
    let rate = denied("10.0.0.1", "https://a.com");
    assert_eq!((rate.reason, rate.retry_after), (DenialReason::Rate, Some(1)));
    for (denial, status) in [(NETWORK, 403), (ORIGIN, 403), (SESSIONS, 429), (rate, 429)] {
        assert_eq!(denial.status, status);
        assert_eq!(denial.retry_after.is_some(), status == 429);
    }
}

#[test]
fn only_who_may_come_in_otherwise_uses_up_the_rate() {
    let (guard, clock) = guard(&strict());
    let try_from = |address, origin| guard.admit(client(address), &from(origin));
    let permit = try_from("10.0.0.1", "https://a.com").expect("no denial");
    clock.advance(Duration::from_secs(1));
    for _ in 0..3 {
        assert_eq!(reason(try_from("10.0.0.1", "https://b.com")), Some(DenialReason::Origin));
        assert_eq!(reason(try_from("10.0.0.1", "https://a.com")), Some(DenialReason::Sessions));
    }
    drop(permit);
    assert_eq!(reason(try_from("10.0.0.1", "https://a.com")), None);
}

#[test]
fn the_rate_s_denial_gives_the_place_back() {
    let (guard, clock) = guard(&strict());
    let upgrade = || guard.admit(client("10.0.0.1"), &from("https://a.com"));
    drop(upgrade().expect("no denial"));
    assert_eq!(reason(upgrade()), Some(DenialReason::Rate));
    assert_eq!(reason(upgrade()), Some(DenialReason::Rate));
    clock.advance(Duration::from_secs(1));
    assert_eq!(reason(upgrade()), None);
}

#[test]
fn limits_are_per_ipv4_address_and_per_ipv6_network() {
    let (guard, _) = guard(&limited(1));
    let enter = |address| guard.admit(client(address), &HeaderMap::new());
    let _v4 = enter("192.0.2.1").expect("no denial");
    assert_eq!(reason(enter("::ffff:192.0.2.1")), Some(DenialReason::Sessions));
    let _other = enter("::ffff:192.0.2.2").expect("no denial");
    assert_eq!(reason(enter("192.0.2.2")), Some(DenialReason::Sessions));
    let _v6 = enter("2001:db8::1").expect("no denial");
    assert_eq!(reason(enter("2001:db8::2")), Some(DenialReason::Sessions));
    assert_eq!(reason(enter("2001:db8:0:1::1")), None);
}

#[test]
fn a_reload_keeps_the_sessions_under_any_limit() {
    let (old, _) = guard(&limited(2));
    let enter = |guard: &Guard<_>| guard.admit(client("192.0.2.1"), &HeaderMap::new());
    let first = enter(&old).expect("no denial");
    let _second = enter(&old).expect("no denial");
    assert_eq!(reason(enter(&old.renewed(&limited(2)))), Some(DenialReason::Sessions));
    let wider = old.renewed(&limited(3));
    let third = enter(&wider).expect("no denial");
    assert_eq!(reason(enter(&wider)), Some(DenialReason::Sessions));
    // A session of the old guard makes room in the new one.
    drop((first, old));
    let _fourth = enter(&wider).expect("no denial");
    let narrower = wider.renewed(&limited(1));
    drop(third);
    assert_eq!(reason(enter(&narrower)), Some(DenialReason::Sessions));
    assert_eq!(reason(enter(&narrower.renewed(&AccessSettings::default()))), None);
}

#[test]
fn a_reload_keeps_the_rates_as_long_as_they_are_the_same() {
    let (old, _) = guard(&rated(2));
    let upgrade = |guard: &Guard<_>| reason(guard.admit(client("192.0.2.1"), &HeaderMap::new()));
    assert_eq!([upgrade(&old), upgrade(&old), upgrade(&old)], [None, None, Some(DenialReason::Rate)]);
    let same = old.renewed(&AccessSettings { sessions_per_address: Some(9), ..rated(2) });
    assert_eq!(upgrade(&same), Some(DenialReason::Rate));
    let other = same.renewed(&rated(1));
    assert_eq!([upgrade(&other), upgrade(&other)], [None, Some(DenialReason::Rate)]);
    assert_eq!(upgrade(&other.renewed(&AccessSettings::default())), None);
}

#[test]
fn a_reload_takes_the_new_networks_and_origins() {
    let old = Guard::new(&AccessSettings::default());
    let new = old.renewed(&strict());
    assert_eq!(reason(new.admit(client("192.0.2.1"), &HeaderMap::new())), Some(DenialReason::Network));
    assert_eq!(reason(new.admit(client("10.0.0.1"), &HeaderMap::new())), Some(DenialReason::Origin));
    let open = new.renewed(&AccessSettings::default());
    assert_eq!(reason(open.admit(client("192.0.2.1"), &HeaderMap::new())), None);
}

#[test]
fn threads_and_reloads_never_exceed_the_limit() {
    let (guard, _) = guard(&limited(4));
    let permits: Vec<AddressPermit> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let guard = guard.renewed(&limited(4));
                    let enter = |_| guard.admit(client("192.0.2.1"), &HeaderMap::new());
                    (0..1000).map(enter).filter_map(Result::ok).flatten().collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    assert_eq!(permits.len(), 4);
}

#[test]
fn who_comes_back_needs_no_second_place() {
    let (strictly, _) = guard(&strict());
    let _pass = strictly.admit(client("10.0.0.1"), &from("https://a.com")).expect("the first session");
    let again = |address, origin| reason(strictly.readmit(client(address), &from(origin)));
    assert_eq!(again("192.0.2.1", "https://a.com"), Some(DenialReason::Network));
    assert_eq!(again("10.0.0.1", "https://b.com"), Some(DenialReason::Origin));
    assert_eq!(again("10.0.0.1", "https://a.com"), Some(DenialReason::Rate), "but it uses up the rate");
    let (guard, _) = guard(&limited(1));
    let _pass = guard.admit(client("10.0.0.1"), &HeaderMap::new()).expect("the first session");
    assert_eq!(reason(guard.admit(client("10.0.0.1"), &HeaderMap::new())), Some(DenialReason::Sessions));
    assert_eq!(reason(guard.readmit(client("10.0.0.1"), &HeaderMap::new())), None);
}
