use super::PoisonVerdict::{Convicted, Doubted, Waits};
use super::*;

const WINDOW: Duration = Duration::from_secs(60);

/// The session whose message is accused, and the message.
const ACCUSED: (u64, u64) = (1, 7);

fn at(ms: u64) -> Time {
    Time::ORIGIN + Duration::from_millis(1_000_000 + ms)
}

fn message(seq: u64) -> Given {
    Given::Messages(seq..=seq)
}

/// A session that was linked half a second before has lost this backend.
fn lost(deaths: &mut Deaths, session: u64, (backend, ms): (usize, u64), given: Given) {
    let (at, since) = (at(ms), at(ms - 500));
    deaths.lost(session, BackendLoss { backend, at, since, given, ended: true }, WINDOW);
}

/// The accused message at three deaths, two seconds apart, and at each another session, which says how it was there.
fn three_deaths(other: impl Fn(u64) -> (u64, Given)) -> Deaths {
    let mut deaths = Deaths::default();
    for n in 0..3 {
        let place = (n as usize, 1000 + 2000 * n);
        lost(&mut deaths, ACCUSED.0, place, message(ACCUSED.1));
        let (session, given) = other(n);
        lost(&mut deaths, session, place, given);
    }
    deaths
}

#[test]
fn the_only_one_that_is_left_of_three_deaths_is_convicted() {
    let mut deaths = three_deaths(|n| (10 + n, message(1)));
    for n in 0..3 {
        assert_eq!(deaths.judge(at(5500), ACCUSED, 3), Waits, "{n} have survived");
        deaths.survived(at(5200), 10 + n);
    }
    assert_eq!(deaths.judge(at(6199), ACCUSED, 3), Waits, "they must last");
    assert_eq!(deaths.judge(at(6200), ACCUSED, 3), Convicted);
    assert_eq!(deaths.judge(at(6200), ACCUSED, 4), Doubted, "four deaths are wanted");
    assert_eq!(deaths.judge(at(6200), (ACCUSED.0, 8), 3), Doubted, "of another message");
    assert_eq!(deaths.judge(at(6200), (10, 1), 3), Doubted, "and of another session");
}

#[test]
fn who_was_there_and_has_not_survived_leaves_it_in_doubt() {
    for given in [message(1), Given::Request] {
        let mut deaths = three_deaths(|n| (10 + n, given.clone()));
        for n in 0..2 {
            deaths.survived(at(5100), 10 + n);
        }
        assert_eq!(deaths.judge(at(7999), ACCUSED, 3), Waits);
        assert_eq!(deaths.judge(at(8000), ACCUSED, 3), Doubted, "{given:?}");
    }
}

#[test]
fn who_had_nothing_to_do_with_it_leaves_no_doubt() {
    let deaths = three_deaths(|n| (10 + n, Given::Nothing));
    assert_eq!(deaths.judge(at(5999), ACCUSED, 3), Waits, "others may tell of it yet");
    assert_eq!(deaths.judge(at(6000), ACCUSED, 3), Convicted);
}

#[test]
fn who_dies_again_has_not_survived() {
    let mut deaths = three_deaths(|_| (10, message(1)));
    deaths.survived(at(5100), 10);
    assert_eq!(deaths.judge(at(6500), ACCUSED, 3), Convicted);
    let loss = BackendLoss { backend: 5, at: at(5900), since: at(5800), given: message(2), ended: false };
    deaths.lost(10, loss, WINDOW);
    assert_eq!(deaths.judge(at(6500), ACCUSED, 3), Waits);
}

#[test]
fn deaths_that_another_is_convicted_of_speak_of_nobody_else() {
    let mut deaths = three_deaths(|n| (10 + n.min(1), message(1)));
    deaths.convicted(11);
    deaths.survived(at(5100), 10);
    assert_eq!(deaths.judge(at(7000), ACCUSED, 3), Doubted);
    assert_eq!(deaths.judge(at(7000), ACCUSED, 1), Convicted, "one is left");
}

#[test]
fn backends_that_fail_without_it_speak_for_it() {
    for (elsewhere, wanted) in [(1, 4), (3, 6), (9, 6)] {
        let mut deaths = Deaths::default();
        for n in 0..elsewhere {
            lost(&mut deaths, 10, (10 + n, 900), Given::Nothing);
        }
        for n in 0..wanted {
            assert_ne!(deaths.judge(at(90_000), ACCUSED, 3), Convicted, "{elsewhere} elsewhere, {n} deaths");
            lost(&mut deaths, ACCUSED.0, (n, 1000 + n as u64), message(ACCUSED.1));
        }
        assert_eq!(deaths.judge(at(9000), ACCUSED, 3), Convicted, "{elsewhere} elsewhere");
    }
}

#[test]
fn what_has_failed_long_before_does_not() {
    let mut deaths = Deaths::default();
    lost(&mut deaths, 10, (9, 900), Given::Nothing);
    for n in 0..3 {
        lost(&mut deaths, ACCUSED.0, (n, 2000), message(ACCUSED.1));
    }
    assert_eq!(deaths.judge(at(3000), ACCUSED, 3), Convicted);
}

#[test]
fn that_other_sessions_are_closed_does_not() {
    let mut deaths = Deaths::default();
    let loss = BackendLoss { backend: 9, at: at(1000), since: at(0), given: Given::Nothing, ended: false };
    deaths.lost(10, loss, WINDOW);
    assert!(deaths.is_empty());
}

#[test]
fn whoever_notices_a_death_late_was_there() {
    let mut deaths = three_deaths(|n| (10 + n, Given::Nothing));
    for (session, since, noticed) in [(20, 900, 1500), (21, 0, 10_900), (22, 1050, 1051)] {
        let (at, since) = (at(noticed), at(since));
        deaths.lost(
            session,
            BackendLoss { backend: 0, at, since, given: Given::Nothing, ended: true },
            WINDOW,
        );
        assert_eq!(deaths.deaths.len(), 3, "{session}");
    }
    lost(&mut deaths, 23, (0, 5000), message(1));
    assert_eq!(deaths.deaths.len(), 4, "it was linked after the first death");
}

#[test]
fn a_backend_that_is_back_at_once_dies_once_more() {
    let mut deaths = Deaths::default();
    for n in 0..3 {
        let (at, since) = (at(1000 + n * 60), at(960 + n * 60));
        deaths.lost(
            ACCUSED.0,
            BackendLoss { backend: 0, at, since, given: message(ACCUSED.1), ended: true },
            WINDOW,
        );
    }
    assert_eq!(deaths.deaths.len(), 3);
    assert_eq!(deaths.judge(at(3000), ACCUSED, 3), Convicted);
}

#[test]
fn deaths_that_are_far_apart_do_not_add_up() {
    let mut deaths = Deaths::default();
    for n in 0..3 {
        let ms = 1000 + n * 31_000;
        lost(&mut deaths, ACCUSED.0, (0, ms), message(ACCUSED.1));
        lost(&mut deaths, 10, (0, ms), message(1));
        deaths.survived(at(ms + 100), 10);
    }
    assert_eq!(deaths.judge(at(65_000), ACCUSED, 2), Convicted);
    assert_eq!(deaths.judge(at(65_000), ACCUSED, 3), Doubted, "the first is forgotten");
    deaths.forget(at(200_000), WINDOW);
    assert!(deaths.is_empty() && deaths.survivors.is_empty());
}

#[test]
fn what_is_remembered_has_a_bound() {
    let mut deaths = Deaths::default();
    for n in 0..3 {
        lost(&mut deaths, ACCUSED.0, (n, 1000), message(ACCUSED.1));
        for other in 0..2000 {
            lost(&mut deaths, 10 + other, (n, 1000), message(1));
        }
    }
    (0..2000).for_each(|other| deaths.survived(at(1100), 10 + other));
    assert!(deaths.deaths.iter().all(|death| death.present.len() == PRESENT_MAX));
    assert!(deaths.survivors.len() <= 3 * PRESENT_MAX);
    assert_eq!(deaths.judge(at(3900), ACCUSED, 3), Waits, "among so many nobody is ever the only one");
    for n in 0..200 {
        lost(&mut deaths, 5000, (n, 4000), Given::Nothing);
    }
    assert_eq!(deaths.deaths.len(), DEATHS_MAX);
}
