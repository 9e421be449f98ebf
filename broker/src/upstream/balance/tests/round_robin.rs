//! Turns by weight, spread.

use super::*;

#[test]
fn equal_weights_come_one_after_the_other() {
    let choices = Bench::new(&[3, 3, 3]).choices(&Balance::RoundRobin, 9);
    assert_eq!(choices, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
}

#[test]
fn the_turns_of_a_heavy_one_are_spread() {
    let choices = Bench::new(&[5, 1, 1]).choices(&Balance::RoundRobin, 14);
    assert_eq!(choices, [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn the_lightest_has_its_one_turn_in_each_round() {
    let choices = Bench::new(&[1, 256]).choices(&Balance::RoundRobin, 257 * 3);
    for round in choices.chunks(257) {
        assert_eq!(round.iter().filter(|id| **id == 0).count(), 1);
    }
}

#[test]
fn sessions_do_not_count() {
    assert_eq!(Bench::new(&[1, 2]).staying(&Balance::RoundRobin, 300), [100, 200]);
}

#[test]
fn the_shares_of_one_that_is_full_go_to_the_others() {
    let mut bench = Bench::new(&[1, 2, 3]);
    bench.choices(&Balance::RoundRobin, 5);
    bench.candidates[1].max_sessions = Some(0);
    assert_eq!(bench.passing(&Balance::RoundRobin, 400), [100, 0, 300]);
    bench.candidates[1].max_sessions = None;
    let counts = bench.passing(&Balance::RoundRobin, 600);
    for (count, expected) in counts.iter().zip([100, 200, 300]) {
        assert!(count.abs_diff(expected) <= 4, "{counts:?}");
    }
}

#[test]
fn a_new_weight_holds_at_once() {
    let mut bench = Bench::new(&[1, 1]);
    bench.choices(&Balance::RoundRobin, 7);
    bench.candidates[0].weight = 256_000;
    let counts = bench.passing(&Balance::RoundRobin, 2570);
    assert!(counts[1].abs_diff(10) <= 4, "{counts:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// In a round of as many turns as all weights together, each has as many as it weighs.
    #[test]
    fn a_whole_round_is_exact(weights in proptest::collection::vec(1u32..=256, 1..12)) {
        let round: u32 = weights.iter().sum();
        let counts = Bench::new(&weights).passing(&Balance::RoundRobin, round as usize);
        let expected: Vec<_> = weights.iter().map(|weight| *weight as usize).collect();
        prop_assert_eq!(counts, expected);
    }
}
