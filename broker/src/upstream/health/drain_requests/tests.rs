//! What counts as a request, and when it is over.

use proptest::prelude::*;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(10);

fn at(ms: u64) -> Time {
    Time::after_origin(Duration::from_millis(ms))
}

/// RecentCloses with 1001 at these milliseconds, by sessions that were there from the start; as many as
/// come after one are left at it. Returns when it began to ask.
fn leave(sessions: usize, times: &[u64]) -> Option<u64> {
    let mut drain_requests = DrainRequests::default();
    let begins = |(gone, ms): (usize, &u64)| {
        drain_requests.closed_with(at(*ms), Time::ORIGIN, sessions - gone, CloseCode::GOING_AWAY).map(
            |reason| {
                assert_eq!(reason, DrainReason::GoingAway);
                *ms
            },
        )
    };
    times.iter().enumerate().find_map(begins)
}

#[test]
fn going_away_counts_when_most_are_told_within_a_second() {
    for (sessions, times, begins) in [
        (1, &[100][..], None),
        (2, &[100], None),
        (2, &[100, 100], Some(100)),
        (2, &[100, 1099], Some(1099)),
        (2, &[100, 1100], None),
        (3, &[100, 200], Some(200)),
        (4, &[100, 200], None),
        (4, &[100, 200, 300], Some(300)),
        (5, &[100, 200, 300], Some(300)),
        (5, &[100, 200, 1200], None),
        // One second after the other, until those that are left are few enough.
        (5, &[100, 1200, 2300, 3400, 3500], Some(3500)),
        (6, &[100, 1200, 1300, 1400], Some(1400)),
    ] {
        assert_eq!(leave(sessions, times), begins, "{sessions} sessions at {times:?}");
    }
}

#[test]
fn a_session_that_comes_back_counts_once() {
    let mut drain_requests = DrainRequests::default();
    for (ms, linked) in [(100, 0), (200, 150), (300, 250), (400, 350)] {
        assert_eq!(drain_requests.closed_with(at(ms), at(linked), 2, CloseCode::GOING_AWAY), None, "at {ms}");
    }
    assert_eq!(
        drain_requests.closed_with(at(410), at(0), 2, CloseCode::GOING_AWAY),
        Some(DrainReason::GoingAway)
    );
}

#[test]
fn one_service_restart_is_enough() {
    let mut drain_requests = DrainRequests::default();
    assert_eq!(
        drain_requests.closed_with(at(0), at(0), 1000, CloseCode::SERVICE_RESTART),
        Some(DrainReason::Restart)
    );
    assert_eq!(drain_requests.reason(), None, "it waits until its pool can do without it");
    assert!(drain_requests.is_wished());
    drain_requests.grant();
    assert_eq!(drain_requests.reason(), Some(DrainReason::Restart));
}

#[test]
fn other_codes_ask_for_nothing() {
    let mut drain_requests = DrainRequests::default();
    for code in (1000..5000)
        .map(CloseCode)
        .filter(|code| ![CloseCode::GOING_AWAY, CloseCode::SERVICE_RESTART].contains(code))
    {
        assert_eq!(drain_requests.closed_with(at(0), at(0), 1, code), None, "{code}");
    }
    assert!(!drain_requests.is_wished());
}

#[test]
fn who_asks_already_does_not_begin_again() {
    let mut drain_requests = DrainRequests::default();
    assert_eq!(drain_requests.answered(at(0), true), Some(DrainReason::Health));
    assert_eq!(drain_requests.answered(at(0), true), None);
    assert_eq!(drain_requests.asked_in_upgrade(at(0)), None);
    assert_eq!(drain_requests.closed_with(at(0), at(0), 1, CloseCode::SERVICE_RESTART), None);
    assert_eq!(drain_requests.answered(at(0), false), None);
    assert_eq!(drain_requests.reason(), Some(DrainReason::Upgrade), "what it asked in its sessions stands");
}

#[test]
fn the_checks_answer_ends_what_a_check_began() {
    let mut drain_requests = DrainRequests::default();
    drain_requests.answered(at(0), true);
    drain_requests.advance(at(1_000_000), 0, TIMEOUT);
    assert_eq!(drain_requests.reason(), Some(DrainReason::Health), "time alone does not end it");
    drain_requests.recovered();
    assert_eq!(drain_requests.reason(), Some(DrainReason::Health), "it may be restarted and ask at once");
    drain_requests.answered(at(0), false);
    assert_eq!(drain_requests.reason(), None);
}

#[test]
fn who_is_not_checked_any_more_does_not_ask_in_checks() {
    let mut drain_requests = DrainRequests::default();
    drain_requests.answered(at(0), true);
    drain_requests.unchecked();
    assert_eq!(drain_requests.reason(), None);
    drain_requests.asked_in_upgrade(at(0));
    drain_requests.unchecked();
    assert_eq!(drain_requests.reason(), Some(DrainReason::Upgrade));
}

#[test]
fn a_restart_ends_what_sessions_were_told() {
    let mut drain_requests = DrainRequests::default();
    drain_requests.closed_with(at(100), at(0), 3, CloseCode::SERVICE_RESTART);
    drain_requests.grant();
    drain_requests.answered(at(5000), false);
    assert_eq!(drain_requests.reason(), Some(DrainReason::Restart), "a process that ends passes its checks");
    drain_requests.recovered();
    assert_eq!(drain_requests.reason(), None);
    // Neither do closes of the old process count for the new one.
    drain_requests.closed_with(at(200), at(0), 4, CloseCode::GOING_AWAY);
    drain_requests.closed_with(at(200), at(0), 3, CloseCode::GOING_AWAY);
    drain_requests.recovered();
    assert_eq!(drain_requests.closed_with(at(300), at(0), 4, CloseCode::GOING_AWAY), None);
}

#[test]
fn without_sessions_its_word_is_over_a_while_after_the_last_time() {
    let mut drain_requests = DrainRequests::default();
    drain_requests.asked_in_upgrade(at(5000));
    for (ms, held, stands) in [(14_999, 0, true), (60_000, 1, true), (60_000, 0, false)] {
        drain_requests.advance(at(ms), held, TIMEOUT);
        assert_eq!(drain_requests.reason().is_some(), stands, "{held} sessions at {ms} ms");
    }
    drain_requests.asked_in_upgrade(at(70_000));
    drain_requests.advance(at(80_000), 0, TIMEOUT);
    assert_eq!(drain_requests.reason(), None, "at the very end of the time");
}

#[test]
fn what_was_inferred_is_over_a_while_after_the_last_time_whoever_is_there() {
    let mut drain_requests = DrainRequests::default();
    drain_requests.closed_with(at(1000), at(0), 2, CloseCode::SERVICE_RESTART);
    drain_requests.grant();
    for (ms, stands) in [(10_999, true), (11_000, false)] {
        drain_requests.advance(at(ms), 5, TIMEOUT);
        assert_eq!(drain_requests.reason().is_some(), stands, "at {ms} ms");
    }
}

#[test]
fn what_it_says_itself_holds_beside_what_was_inferred() {
    let mut drain_requests = DrainRequests::default();
    drain_requests.closed_with(at(1000), at(0), 2, CloseCode::SERVICE_RESTART);
    drain_requests.grant();
    assert_eq!(
        drain_requests.asked_in_upgrade(at(2000)),
        Some(DrainReason::Upgrade),
        "it says so itself now"
    );
    drain_requests.serves_on();
    assert_eq!(drain_requests.reason(), Some(DrainReason::Upgrade));
}

#[test]
fn a_late_word_does_not_shorten_it() {
    let mut drain_requests = DrainRequests::default();
    drain_requests.asked_in_upgrade(at(5000));
    drain_requests.asked_in_upgrade(at(1000));
    drain_requests.advance(at(11_000), 0, TIMEOUT);
    assert_eq!(drain_requests.reason(), Some(DrainReason::Upgrade));
}

/// One that was told: after how many milliseconds, since when it was there, and beside how many.
type Told = (u64, u64, usize);

/// What is to be counted, without slices: from each goodbye on for a second.
fn most_are_told(told: &[Told]) -> bool {
    let Some((now, ..)) = told.last() else { return false };
    told.iter().enumerate().any(|(first, (begin, _, held))| {
        let said = told[first..].iter().filter(|(_, linked, _)| linked <= begin).count();
        now - begin < 1000 && said >= 2 && 2 * said > *held
    })
}

proptest! {
    #[test]
    fn a_herd_is_a_request_when_it_is_more_than_half(
        sessions in 1usize..300,
        share in 0.0f64..=1.0,
        mut times in proptest::collection::vec(0u64..950, 300),
    ) {
        let told = (sessions as f64 * share) as usize;
        times[..told].sort_unstable();
        prop_assert_eq!(leave(sessions, &times[..told]).is_some(), told >= 2 && 2 * told > sessions);
    }

    #[test]
    fn it_never_asks_without_a_second_in_which_most_are_told(
        steps in proptest::collection::vec((0u64..400, 0u64..3000, 1usize..12), 1..60),
    ) {
        let (mut closes, mut told, mut now) = (RecentCloses::default(), Vec::<Told>::new(), 0);
        for (step, age, held) in steps {
            now += step;
            let linked = now.saturating_sub(age);
            told.push((now, linked, held));
            if closes.add(at(now), at(linked), held) {
                prop_assert!(most_are_told(&told), "{told:?}");
            }
        }
    }

    #[test]
    fn the_window_is_bounded(steps in proptest::collection::vec(0u64..20, 1..500)) {
        let (mut closes, mut now) = (RecentCloses::default(), 0);
        for step in steps {
            now += step;
            closes.add(at(now), Time::ORIGIN, usize::MAX);
            prop_assert!(closes.0.len() <= 20);
        }
    }
}
