//! The fewest sessions for the weight, exactly.

use super::*;

#[test]
fn equals_come_in_turn() {
    let choices = Bench::new(&[1, 1, 1]).choices(&Balance::LeastSessions, 6);
    assert_eq!(choices, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn the_least_busy_is_chosen() {
    let mut bench = Bench::new(&[1, 1, 1]);
    for (candidate, sessions) in bench.candidates.iter_mut().zip([5, 3, 4]) {
        candidate.sessions = sessions;
    }
    assert_eq!(bench.choices(&Balance::LeastSessions, 3), [1, 1, 1]);
    assert_eq!(bench.staying(&Balance::LeastSessions, 3), [5, 5, 5]);
}

#[test]
fn sessions_that_stay_are_in_proportion_to_the_weights() {
    assert_eq!(Bench::new(&[1, 2, 5]).staying(&Balance::LeastSessions, 800), [100, 200, 500]);
    assert_eq!(Bench::new(&[1, 256]).staying(&Balance::LeastSessions, 257 * 3), [3, 768]);
}

#[test]
fn a_fraction_of_a_weight_counts() {
    let mut bench = Bench::new(&[1, 1]);
    bench.candidates[0].weight = 100;
    assert_eq!(bench.staying(&Balance::LeastSessions, 110), [10, 100]);
}

#[test]
fn the_smallest_difference_decides() {
    let mut bench = Bench::new(&[1, 1]);
    bench.candidates[0].sessions = usize::MAX;
    bench.candidates[1].sessions = usize::MAX - 1;
    assert_eq!(bench.choices(&Balance::LeastSessions, 2), [1, 1]);
}
