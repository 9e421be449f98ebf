//! Chance by weight.

use super::*;

#[test]
fn shares_are_those_of_the_weights() {
    for weights in [vec![1; 7], vec![1, 2, 3, 4], vec![1, 256], vec![256, 1, 256]] {
        let counts = Bench::new(&weights).passing(&Balance::Random, 200_000);
        assert_fits(&counts, &weights);
    }
}

#[test]
fn sessions_do_not_count() {
    let weights = [1, 2, 5];
    let counts = Bench::new(&weights).staying(&Balance::Random, 80_000);
    assert_fits(&counts, &weights);
}

#[test]
fn the_ends_of_the_urn_can_be_drawn() {
    let bench = Bench::new(&[1, 1]);
    for (number, expected) in [(0, 0), (u64::MAX / 2, 0), (u64::MAX / 2 + 1, 1), (u64::MAX, 1)] {
        let placed = place(&bench.candidates, &Balance::Random, None, &mut Turns::default(), &mut || number);
        assert_eq!(placed.expect("a place").id, expected);
    }
}
