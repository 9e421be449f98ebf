//! One test for each arrow of the diagram in [`super`], and for what is alike.

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

/// The session in question.
const SESSION: u64 = 7;

fn at(ms: u64) -> Time {
    Time::after_origin(Duration::from_millis(ms))
}

fn client() -> Address {
    Address::V4([192, 0, 2, 1])
}

/// Close 1011 of this backend, with these messages unacknowledged.
fn oops(backend: usize, ms: u64, messages: RangeInclusive<u64>) -> Failing {
    let what = Mishap::Close(CloseCode::INTERNAL_ERROR);
    Failing { backend, at: at(ms), what, when: Occasion::Messages(messages), young: true }
}

fn refused(backend: usize, ms: u64) -> Failing {
    Failing { backend, at: at(ms), what: Mishap::Error, when: Occasion::Handshake, young: true }
}

fn idle(backend: usize, ms: u64, what: Mishap, after: u64) -> Failing {
    let when = Occasion::Idle(Duration::from_millis(after));
    Failing { backend, at: at(ms), what, when, young: true }
}

/// A docket in which these have failed the session.
fn docket(failures: impl IntoIterator<Item = Failing>) -> Docket {
    let mut docket = Docket::default();
    for failure in failures {
        assert_eq!(docket.failed((SESSION, client()), failure, true), None);
    }
    docket
}

/// The backends against which something counts by then, when all are well, or not, or nobody has heard of them.
fn charged(docket: &mut Docket, ms: u64, well: Option<bool>) -> Vec<usize> {
    let ruling = docket.advance(at(ms), PATIENCE, |_, _| well);
    ruling.charges.into_iter().map(|charge| charge.backend).collect()
}

#[test]
fn placed_to_counted_when_the_messages_are_acknowledged_and_it_has_lasted() {
    let mut docket = docket([oops(1, 0, 3..=3)]);
    assert_eq!(docket.placed(at(100), SESSION), []);
    assert_eq!(charged(&mut docket, 5000, Some(true)), [0; 0], "it may work on the same message yet");
    docket.settled(SESSION);
    docket.placed(at(6000), SESSION);
    docket.settled(SESSION);
    assert_eq!(charged(&mut docket, 6999, Some(true)), [0; 0]);
    assert_eq!(charged(&mut docket, 7000, Some(true)), [1]);
    assert!(docket.is_empty());
}

#[test]
fn placed_to_counted_when_it_has_lasted_long_without_an_acknowledgement() {
    let mut docket = docket([oops(1, 0, 3..=3)]);
    docket.placed(at(100), SESSION);
    assert_eq!(charged(&mut docket, 10_099, Some(true)), [0; 0]);
    assert_eq!(charged(&mut docket, 10_100, Some(true)), [1]);
}

#[test]
fn placed_to_searching_when_that_one_fails_it() {
    let mut docket = docket([oops(1, 0, 3..=3)]);
    docket.placed(at(100), SESSION);
    docket.settled(SESSION);
    docket.failed((SESSION, client()), oops(2, 200, 4..=4), true);
    assert_eq!(charged(&mut docket, 999, Some(true)), [0; 0]);
    assert_eq!(charged(&mut docket, 1200, Some(true)), [1, 2], "another message, and no other backend");
}

#[test]
fn searching_to_counted_when_nobody_takes_it() {
    let mut docket = docket([oops(1, 0, 3..=3)]);
    assert_eq!(charged(&mut docket, 999, Some(true)), [0; 0]);
    assert_eq!(charged(&mut docket, 1000, Some(true)), [1]);
    assert_eq!(charged(&mut docket, 2000, Some(true)), [0; 0], "once");
}

#[test]
fn searching_to_nobodys_when_two_have_failed_it_alike_and_are_well() {
    let mut docket = docket([oops(1, 0, 3..=4), oops(2, 300, 4..=4)]);
    assert_eq!(charged(&mut docket, 1299, Some(true)), [0; 0]);
    let ruling = docket.advance(at(1300), PATIENCE, |_, _| Some(true));
    assert_eq!((ruling.charges.len(), ruling.acquitted.len()), (0, 2));
    assert_eq!(charged(&mut docket, 1400, Some(false)), [0; 0], "it is settled");
    assert!(!docket.is_empty(), "a third may fail it alike");
    charged(&mut docket, 10_300, None);
    assert!(docket.is_empty());
}

#[test]
fn searching_to_counted_when_two_have_failed_it_alike_and_one_is_not_well() {
    let mut docket = docket([oops(1, 0, 3..=3), oops(2, 300, 3..=3)]);
    let mut advance = |ms| {
        let ruling = docket.advance(at(ms), PATIENCE, |backend, _| Some(backend == 1));
        ruling.charges.into_iter().map(|charge| charge.backend).collect::<Vec<_>>()
    };
    assert_eq!(advance(1299), [0; 0], "the second is not due");
    assert_eq!(advance(1300), [1, 2]);
}

#[test]
fn searching_to_counted_when_nobody_hears_of_them() {
    let mut docket = docket([oops(1, 0, 3..=3), oops(2, 300, 3..=3)]);
    assert_eq!(charged(&mut docket, 9_999, None), [0; 0]);
    assert_eq!(charged(&mut docket, 10_000, None), [1]);
    assert_eq!(charged(&mut docket, 10_300, None), [2]);
}

#[test]
fn a_session_whose_message_two_have_failed_alike_is_blamed_until_one_acknowledges_it() {
    let mut docket = docket([oops(1, 0, 3..=3), oops(2, 300, 3..=3)]);
    assert_eq!(charged(&mut docket, 1299, Some(true)), [0; 0]);
    assert!(!docket.blames(SESSION));
    assert_eq!(charged(&mut docket, 1300, Some(true)), [0; 0]);
    assert!(docket.blames(SESSION));
    docket.placed(at(1400), SESSION);
    docket.settled(SESSION);
    assert!(!docket.blames(SESSION));
    let mut refused = self::docket([refused(1, 0), refused(2, 5)]);
    charged(&mut refused, 1300, Some(true));
    assert!(!refused.blames(SESSION), "without a message nothing is known to be to blame");
}

#[test]
fn a_session_whose_backends_have_ended_one_after_the_other_is_not_to_blame() {
    // Both were restarted: others are heard there again at once, and nobody has said that it is the message.
    let end = |backend, ms| Failing { what: Mishap::End, ..oops(backend, ms, 3..=3) };
    let mut docket = docket([end(1, 0), end(2, 300)]);
    charged(&mut docket, 1300, Some(true));
    assert!(!docket.blames(SESSION));
}

#[test]
fn of_one_that_meets_the_same_again_and_again_the_first_time_is_judged() {
    let mut docket = docket((0..90).map(|n| oops(n as usize % 3, n * 30, 3..=3)));
    let ruling = docket.advance(at(2700), PATIENCE, |_, _| Some(true));
    assert_eq!((ruling.charges.len(), ruling.acquitted.len()), (0, 3));
    docket.failed((SESSION, client()), oops(1, 2710, 3..=3), true);
    assert_eq!(charged(&mut docket, 6000, Some(false)), [0; 0], "that is decided");
}

#[test]
fn what_has_counted_counts_again() {
    let mut docket = docket([oops(1, 0, 3..=3)]);
    assert_eq!(charged(&mut docket, 1000, Some(true)), [1]);
    docket.failed((SESSION, client()), oops(1, 2000, 3..=3), true);
    assert_eq!(charged(&mut docket, 3000, Some(true)), [1]);
}

#[test]
fn it_is_asked_how_they_fared_a_second_later() {
    let mut docket = docket([oops(1, 0, 3..=3), oops(2, 300, 3..=3)]);
    let heard = |backend, since: Time| Some(since <= at(if backend == 1 { 1000 } else { 1299 }));
    let ruling = docket.advance(at(1300), PATIENCE, heard);
    assert_eq!(ruling.charges.len(), 2, "the second one was heard too soon");
}

#[test]
fn one_that_keeps_it_speaks_against_all_that_have_failed_it() {
    let mut docket = docket([oops(1, 0, 3..=3), oops(2, 100, 3..=3)]);
    docket.placed(at(200), SESSION);
    docket.settled(SESSION);
    assert_eq!(charged(&mut docket, 1200, Some(true)), [1, 2]);
}

#[test]
fn without_another_backend_it_counts_at_once() {
    let mut docket = Docket::default();
    let charge = docket.failed((SESSION, client()), oops(1, 0, 3..=3), false).expect("it counts");
    assert_eq!((charge.backend, charge.session, charge.client), (1, SESSION, client()));
    assert_eq!(charged(&mut docket, 5000, Some(true)), [0; 0], "once");
}

#[test]
fn a_request_that_one_takes_counts_at_once_against_the_others() {
    let mut docket = docket([refused(1, 0), refused(2, 5)]);
    let charges = docket.placed(at(10), SESSION);
    assert_eq!(charges.iter().map(|charge| charge.backend).collect::<Vec<_>>(), [1, 2]);
    assert!(docket.is_empty());
}

#[test]
fn a_request_that_two_fail_alike_is_nobodys() {
    let mut docket = docket([refused(1, 0), refused(2, 5)]);
    assert_eq!(charged(&mut docket, 1005, Some(true)), [0; 0]);
    assert_eq!(charged(&mut docket, 60_000, Some(false)), [0; 0]);
}

#[test]
fn when_the_client_leaves_what_one_has_met_is_nobodys() {
    let mut single = docket([oops(1, 0, 3..=3)]);
    single.placed(at(100), SESSION);
    assert_eq!(single.left(SESSION), []);
    assert_eq!(charged(&mut single, 200, Some(true)), [0; 0]);
    assert!(single.is_empty());
    let mut pair = docket([oops(1, 0, 3..=3), oops(2, 100, 3..=3)]);
    assert_eq!(pair.left(SESSION), []);
    assert_eq!(charged(&mut pair, 1100, Some(false)), [1, 2], "two are judged all the same");
}

#[test]
fn a_session_that_ends_at_the_next_one_has_lasted_there() {
    let mut docket = docket([oops(1, 0, 3..=3)]);
    docket.placed(at(100), SESSION);
    docket.settled(SESSION);
    assert_eq!(docket.left(SESSION).len(), 1);
    assert_eq!(charged(&mut docket, 200, Some(true)), [0; 0], "once");
}

#[test]
fn an_old_session_is_one_of_two_and_does_not_count() {
    let mut docket = docket([Failing { young: false, ..oops(1, 0, 3..=3) }, oops(2, 300, 3..=3)]);
    assert_eq!(charged(&mut docket, 1300, Some(true)), [0; 0]);
    let mut alone = self::docket([Failing { young: false, ..oops(1, 0, 3..=3) }]);
    alone.placed(at(100), SESSION);
    alone.settled(SESSION);
    assert_eq!(charged(&mut alone, 1200, Some(true)), [0; 0]);
}

#[test]
fn the_same_backend_twice_is_one() {
    let mut docket = docket([oops(1, 0, 3..=3), oops(1, 300, 3..=3)]);
    assert_eq!(charged(&mut docket, 1300, Some(true)), [1]);
}

#[test]
fn failures_of_two_kinds_are_not_alike() {
    let end = Failing { what: Mishap::End, ..oops(2, 300, 3..=3) };
    for other in [end, refused(2, 300), oops(2, 300, 4..=4), idle(2, 300, Mishap::Close(CloseCode(1011)), 0)]
    {
        let mut docket = docket([oops(1, 0, 3..=3), other.clone()]);
        assert_eq!(charged(&mut docket, 1300, Some(true)), [1, 2], "{other:?}");
    }
}

#[test]
fn the_same_idle_time_is_alike_unless_it_is_a_deploy() {
    let internal = Mishap::Close(CloseCode::INTERNAL_ERROR);
    for (what, times, alike) in [
        (internal, (5000, 5400), true),
        (internal, (5000, 5700), false),
        (internal, (0, 250), true),
        (Mishap::End, (3000, 3000), true),
        (Mishap::Close(CloseCode::GOING_AWAY), (5000, 5000), false),
        (Mishap::Close(CloseCode::SERVICE_RESTART), (5000, 5000), false),
        (Mishap::Close(CloseCode::TRY_AGAIN_LATER), (5000, 5000), false),
    ] {
        let mut docket = docket([idle(1, 0, what, times.0), idle(2, 300, what, times.1)]);
        assert_eq!(charged(&mut docket, 1300, Some(true)).is_empty(), alike, "{what:?} after {times:?} ms");
    }
}

#[test]
fn a_deploy_meets_a_busy_session_at_two_backends_and_counts_when_the_third_keeps_it() {
    let restart =
        |backend, ms| Failing { what: Mishap::Close(CloseCode::SERVICE_RESTART), ..oops(backend, ms, 3..=3) };
    let mut docket = docket([restart(1, 0), restart(2, 100)]);
    docket.placed(at(200), SESSION);
    docket.settled(SESSION);
    assert_eq!(charged(&mut docket, 1200, Some(true)), [1, 2]);
}

#[test]
fn it_has_a_bound_at_which_failures_count_at_once() {
    let mut docket = Docket::default();
    let mut at_once = 0;
    for session in 0..2 * CASES_MAX as u64 {
        at_once += usize::from(docket.failed((session, client()), oops(1, 0, 3..=3), true).is_some());
    }
    assert_eq!((docket.0.len(), at_once), (CASES_MAX, CASES_MAX));
    for n in 0..100 {
        docket.failed((0, client()), oops(n, 0, 3..=3), true);
    }
    assert_eq!(docket.0[&0].failures.len(), FAILURES_MAX);
}
