//! The less loaded of two.

use super::*;

#[test]
fn equals_have_equal_shares() {
    let counts = Bench::new(&[1; 5]).passing(&Balance::PowerOfTwo, 50_000);
    assert_fits(&counts, &[1; 5]);
}

#[test]
fn the_busiest_is_never_chosen() {
    let mut bench = Bench::new(&[1; 4]);
    bench.candidates[2].sessions = 1;
    let counts = bench.passing(&Balance::PowerOfTwo, 30_000);
    assert_eq!(counts[2], 0);
    assert_fits(&[counts[0], counts[1], counts[3]], &[1; 3]);
}

#[test]
fn of_two_the_less_loaded_for_its_weight_is_chosen() {
    let mut bench = Bench::new(&[1, 10]);
    bench.candidates[0].sessions = 1;
    bench.candidates[1].sessions = 9;
    assert_eq!(bench.passing(&Balance::PowerOfTwo, 100), [0, 100]);
    bench.candidates[1].sessions = 30;
    assert_eq!(bench.passing(&Balance::PowerOfTwo, 100), [100, 0]);
}

#[test]
fn sessions_that_stay_are_close_to_the_weights() {
    for weights in [[1, 1, 1], [1, 2, 5], [10, 1, 1]] {
        let whole: u32 = weights.iter().sum();
        let counts = Bench::new(&weights).staying(&Balance::PowerOfTwo, whole as usize * 1000);
        for (count, weight) in counts.iter().zip(weights) {
            let expected = weight as usize * 1000;
            assert!(count.abs_diff(expected) < 100, "{counts:?} for {weights:?}");
        }
    }
    assert_eq!(Bench::new(&[1, 256]).staying(&Balance::PowerOfTwo, 257 * 3), [3, 768]);
}

#[test]
fn the_one_that_is_there_is_chosen() {
    assert_eq!(Bench::new(&[1]).choices(&Balance::PowerOfTwo, 3), [0, 0, 0]);
}
