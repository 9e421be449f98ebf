//! One test for each arrow of the diagram in [`super`], and for each rule of counting.

use proptest::prelude::*;

use super::super::witness::Witness;
use super::*;

const SETTINGS: Outlier = Outlier {
    failures: 3,
    early_death: Duration::from_secs(10),
    ejection_min: Duration::from_secs(20),
    ejection_max: Duration::from_secs(100),
    max_ejected: 50,
};

const ALONE: Complaint = Complaint::BROKERS;

/// A session that was linked so late that it says something of the present.
fn young(linked: Time) -> Lasting {
    Lasting { linked, used: true }
}

fn at(millis: u64) -> Time {
    Time::after_origin(Duration::from_millis(millis))
}

fn seconds(seconds: u64) -> Time {
    at(seconds * 1000)
}

fn ejected(seconds: u64, failures: u32) -> Option<Change> {
    Some(Change::Ejected { duration: Duration::from_secs(seconds), failures })
}

/// Fails three times, the last time at `second`, and returns what came of it.
fn eject(circuit: &mut Circuit, second: u64) -> Option<Change> {
    assert_eq!(circuit.failed(seconds(second - 2), ALONE, &SETTINGS, true), None);
    assert_eq!(circuit.failed(seconds(second - 1), ALONE, &SETTINGS, true), None);
    circuit.failed(seconds(second), ALONE, &SETTINGS, true)
}

/// Half open at second 30.
fn half_open() -> Circuit {
    let mut circuit = Circuit::new();
    assert_eq!(eject(&mut circuit, 10), ejected(20, 3));
    assert_eq!(circuit.advance(seconds(30), &SETTINGS), Some(Change::HalfOpened));
    circuit
}

#[test]
fn closed_to_open_after_failures_in_a_row() {
    let mut circuit = Circuit::new();
    assert_eq!((circuit.word().name(), circuit.admits(), circuit.is_ejected()), ("closed", true, false));
    assert_eq!(eject(&mut circuit, 10), ejected(20, 3));
    assert_eq!((circuit.word().name(), circuit.admits(), circuit.is_ejected()), ("open", false, true));
    assert_eq!(circuit.opened_until(), Some(seconds(30)));
}

#[test]
fn open_to_half_open_when_the_time_is_over() {
    let mut circuit = Circuit::new();
    eject(&mut circuit, 10);
    assert_eq!(circuit.advance(at(29_999), &SETTINGS), None);
    assert_eq!(circuit.advance(at(30_000), &SETTINGS), Some(Change::HalfOpened));
    assert_eq!((circuit.word().name(), circuit.admits(), circuit.is_ejected()), ("half_open", true, false));
    assert_eq!(circuit.opened_until(), None);
}

#[test]
fn half_open_to_closed_when_a_session_has_lasted() {
    let mut circuit = half_open();
    circuit.leased();
    circuit.linked(seconds(31));
    assert_eq!(circuit.lasted(seconds(41), young(seconds(41))), Some(Change::Closed));
    assert_eq!((circuit.word().name(), circuit.admits()), ("closed", true));
    assert_eq!(circuit.lasted(seconds(42), young(seconds(42))), None);
}

#[test]
fn half_open_to_closed_when_the_trial_outlives_early_death() {
    let mut circuit = half_open();
    circuit.leased();
    circuit.linked(at(31_000));
    assert_eq!(circuit.advance(at(40_999), &SETTINGS), None);
    assert_eq!(circuit.advance(at(41_000), &SETTINGS), Some(Change::Closed));
}

#[test]
fn half_open_to_open_with_a_failure() {
    let mut circuit = half_open();
    circuit.leased();
    assert_eq!(circuit.failed(seconds(31), ALONE, &SETTINGS, true), ejected(40, 1));
    assert_eq!(circuit.opened_until(), Some(seconds(71)));
}

#[test]
fn open_and_half_open_to_closed_when_switched_off() {
    let off = Outlier { failures: 0, ..SETTINGS };
    let mut open = Circuit::new();
    eject(&mut open, 10);
    assert_eq!(open.advance(seconds(11), &off), Some(Change::Closed));
    let mut half_open = half_open();
    assert_eq!(half_open.advance(seconds(31), &off), Some(Change::Closed));
    assert_eq!(half_open.advance(seconds(32), &off), None);
}

#[test]
fn switched_off_nothing_is_counted() {
    let off = Outlier { failures: 0, ..SETTINGS };
    let mut circuit = Circuit::new();
    for second in 0..50 {
        assert_eq!(circuit.failed(seconds(second), ALONE, &off, true), None);
    }
    assert_eq!(circuit.failed(seconds(51), ALONE, &SETTINGS, true), None);
    assert_eq!(circuit.word().name(), "closed");
}

#[test]
fn one_trial_at_a_time() {
    let mut circuit = half_open();
    circuit.leased();
    assert_eq!((circuit.word().name(), circuit.admits(), circuit.is_ejected()), ("half_open", false, true));
    circuit.left();
    assert_eq!((circuit.word().name(), circuit.admits(), circuit.is_ejected()), ("half_open", true, false));
}

#[test]
fn a_second_session_does_not_take_the_trial_over() {
    let mut circuit = half_open();
    circuit.leased();
    circuit.linked(seconds(31));
    circuit.leased();
    circuit.linked(seconds(35));
    assert_eq!(circuit.advance(seconds(41), &SETTINGS), Some(Change::Closed));
}

#[test]
fn a_dial_that_hangs_proves_nothing() {
    let mut circuit = half_open();
    circuit.leased();
    assert_eq!(circuit.advance(seconds(1000), &SETTINGS), None);
    assert_eq!(circuit.failed(seconds(1001), ALONE, &SETTINGS, true), ejected(40, 1));
}

#[test]
fn the_next_trial_waits_until_it_is_known_whether_the_last_ones_failure_counts() {
    let mut circuit = half_open();
    circuit.leased();
    circuit.linked(seconds(31));
    circuit.let_down(seconds(32));
    assert_eq!(circuit.advance(at(41_999), &SETTINGS), None);
    assert!(!circuit.admits());
    assert_eq!(circuit.advance(at(42_000), &SETTINGS), None);
    assert!(circuit.admits(), "it was nobody's");
    circuit.leased();
    circuit.let_down(seconds(43));
    assert_eq!(circuit.failed(seconds(44), ALONE, &SETTINGS, true), ejected(40, 1));
}

#[test]
fn sessions_before_the_half_opening_change_nothing() {
    let mut circuit = Circuit::new();
    circuit.leased();
    circuit.linked(seconds(1));
    circuit.left();
    eject(&mut circuit, 10);
    circuit.leased();
    circuit.linked(seconds(11));
    circuit.left();
    assert_eq!(circuit.lasted(seconds(12), young(seconds(12))), None);
    assert_eq!(circuit.failed(seconds(13), ALONE, &SETTINGS, true), None);
    assert_eq!(circuit.opened_until(), Some(seconds(30)));
}

#[test]
fn a_session_that_lasts_ends_the_row_of_failures() {
    let mut circuit = Circuit::new();
    circuit.failed(seconds(1), ALONE, &SETTINGS, true);
    circuit.failed(seconds(2), ALONE, &SETTINGS, true);
    assert_eq!(circuit.lasted(seconds(3), young(seconds(3))), None);
    assert_eq!(eject(&mut circuit, 6), ejected(20, 3));
}

#[test]
fn a_herd_is_one_failure() {
    let mut circuit = Circuit::new();
    for millis in [1000, 1000, 1050, 1099] {
        assert_eq!(circuit.failed(at(millis), ALONE, &SETTINGS, true), None);
    }
    assert_eq!(circuit.failed(at(1100), ALONE, &SETTINGS, true), None);
    assert_eq!(circuit.failed(at(1200), ALONE, &SETTINGS, true), ejected(20, 3));
}

#[test]
fn without_enough_witnesses_a_closed_circuit_stays_closed() {
    let said = |session| Complaint { witness: Witness::Session(session), needed: 3, at: None };
    let mut circuit = Circuit::new();
    for second in 1..20 {
        assert_eq!(circuit.failed(seconds(second), said(second % 2), &SETTINGS, true), None);
    }
    assert_eq!(circuit.failed(seconds(20), said(7), &SETTINGS, true), ejected(20, 20));
}

#[test]
fn sessions_of_before_the_half_opening_do_not_close_it() {
    let mut circuit = half_open();
    assert_eq!(circuit.lasted(seconds(50), young(seconds(29))), None);
    assert_eq!(circuit.word().name(), "half_open");
}

#[test]
fn steady_failures_are_more_than_one_herd() {
    let mut circuit = Circuit::new();
    let changes: Vec<_> =
        (0..5).filter_map(|step| circuit.failed(at(1000 + step * 50), ALONE, &SETTINGS, true)).collect();
    assert_eq!(changes, [Change::Ejected { duration: SETTINGS.ejection_min, failures: 3 }]);
}

#[test]
fn failures_far_apart_are_not_in_a_row() {
    let mut near = Circuit::new();
    near.failed(at(0), ALONE, &SETTINGS, true);
    near.failed(at(60_000), ALONE, &SETTINGS, true);
    assert_eq!(near.failed(at(120_000), ALONE, &SETTINGS, true), ejected(20, 3));
    let mut far = Circuit::new();
    far.failed(at(0), ALONE, &SETTINGS, true);
    far.failed(at(60_000), ALONE, &SETTINGS, true);
    assert_eq!(far.failed(at(120_001), ALONE, &SETTINGS, true), None);
    far.failed(at(121_000), ALONE, &SETTINGS, true);
    assert_eq!(far.failed(at(122_000), ALONE, &SETTINGS, true), ejected(20, 3));
}

#[test]
fn the_pools_floor_keeps_a_closed_circuit_closed() {
    let mut circuit = Circuit::new();
    for second in 1..10 {
        assert_eq!(circuit.failed(seconds(second), ALONE, &SETTINGS, false), None);
    }
    assert!(circuit.admits());
    assert_eq!(circuit.failed(seconds(10), ALONE, &SETTINGS, true), ejected(20, 10));
}

#[test]
fn the_pools_floor_keeps_a_half_open_circuit_on_trial() {
    let mut circuit = half_open();
    circuit.leased();
    assert_eq!(circuit.failed(seconds(31), ALONE, &SETTINGS, false), None);
    assert_eq!((circuit.word().name(), circuit.admits()), ("half_open", true));
    circuit.leased();
    assert!(!circuit.admits());
}

#[test]
fn ejections_in_a_row_double_up_to_the_longest() {
    let mut circuit = Circuit::new();
    let mut now = 10;
    eject(&mut circuit, now);
    for expected in [40, 80, 100, 100] {
        now += 100;
        assert_eq!(circuit.advance(seconds(now), &SETTINGS), Some(Change::HalfOpened));
        assert_eq!(circuit.failed(seconds(now), ALONE, &SETTINGS, true), ejected(expected, 1));
    }
}

#[test]
fn the_row_of_ejections_ends_after_a_long_time_closed() {
    let mut soon = half_open();
    soon.lasted(seconds(50), young(seconds(50)));
    assert_eq!(eject(&mut soon, 149), ejected(40, 3));
    let mut late = half_open();
    late.lasted(seconds(50), young(seconds(50)));
    assert_eq!(eject(&mut late, 150), ejected(20, 3));
}

#[test]
fn settings_may_change_in_between() {
    let mut fewer = Circuit::new();
    fewer.failed(seconds(1), ALONE, &SETTINGS, true);
    let strict = Outlier { failures: 2, ..SETTINGS };
    assert_eq!(fewer.failed(seconds(2), ALONE, &strict, true), ejected(20, 2));
    let short = Outlier { ejection_max: Duration::from_secs(5), ..SETTINGS };
    assert_eq!(fewer.advance(at(6_999), &short), None);
    assert_eq!(fewer.advance(at(7_000), &short), Some(Change::HalfOpened));
    assert_eq!(fewer.failed(seconds(8), ALONE, &short, true), ejected(5, 1));
}

#[test]
fn a_part_of_the_pool_may_be_ejected() {
    assert_eq!([0, 1, 2, 3, 4, 10].map(|total| ejectable(total, 50)), [0, 0, 1, 1, 2, 5]);
    assert_eq!([1, 3, 1000].map(|total| ejectable(total, 99)), [0, 2, 990]);
    assert_eq!([0, 1, 7].map(|total| ejectable(total, 100)), [0, 1, 7]);
    assert_eq!([0, 1, 7].map(|total| ejectable(total, 0)), [0, 0, 0]);
    assert_eq!(ejectable(usize::MAX, 100), usize::MAX);
    assert_eq!(ejectable(usize::MAX, u32::MAX), usize::MAX);
}

/// One call, with all its arguments.
fn operation() -> impl Strategy<Value = (u8, Time, Outlier, bool)> {
    let time = any::<u64>().prop_map(|micros| Time::after_origin(Duration::from_micros(micros)));
    let length =
        || prop_oneof![Just(Duration::ZERO), Just(Duration::MAX), (0u64..100).prop_map(Duration::from_secs)];
    let settings = (0u32..4, length(), length(), length()).prop_map(|(failures, early, min, max)| Outlier {
        failures,
        early_death: early,
        ejection_min: min,
        ejection_max: max,
        max_ejected: 50,
    });
    (0u8..7, time, settings, any::<bool>())
}

proptest! {
    /// Whatever comes in whatever order, even with a clock that goes back.
    #[test]
    fn what_it_says_fits_together(operations in proptest::collection::vec(operation(), 0..60)) {
        let mut circuit = Circuit::new();
        for (which, now, settings, may_eject) in operations {
            let before = circuit.word().name();
            let change = match which {
                0 | 1 => circuit.failed(now, ALONE, &settings, may_eject),
                2 => circuit.lasted(now, young(now)),
                3 => circuit.advance(now, &settings),
                4 => { circuit.leased(); circuit.linked(now); None }
                5 => { circuit.let_down(now); None }
                _ => { circuit.left(); None }
            };
            let expected = match change {
                None => before,
                Some(Change::Ejected { duration, .. }) => {
                    prop_assert!(may_eject && duration <= settings.ejection_max);
                    "open"
                }
                Some(Change::HalfOpened) => "half_open",
                Some(Change::Closed) => "closed",
            };
            prop_assert_eq!(circuit.word().name(), expected);
            prop_assert_eq!(circuit.opened_until().is_some(), expected == "open");
            prop_assert!(circuit.is_ejected() || expected != "open");
            prop_assert!(circuit.admits() || expected != "closed");
        }
    }
}
