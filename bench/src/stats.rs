//! Medians and quantiles of few values.

/// The value below or at which `quantile` (0 to 1) of `values` lie: the nearest rank, never a value
/// that was not measured. `None` without values.
pub(crate) fn quantile(values: &[f64], quantile: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

/// The quantiles of 0, 1, 2 ... 100 of a hundred, as a curve is drawn by. Empty without values.
pub(crate) fn percentiles(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (0..=100).filter_map(|percent| quantile(&sorted, f64::from(percent) / 100.0)).collect()
}

/// The middle value, or the mean of the two in the middle. `None` without values.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    sorted.get(sorted.len() / 2 - 1).map(|lower| f64::midpoint(*lower, upper))
}

/// What `ours` is beside `theirs` in each round, where both had the same machine. Rounds in which
/// either is missing do not count.
pub(crate) fn ratios(ours: &[Option<f64>], theirs: &[Option<f64>]) -> Vec<f64> {
    let rounds = ours.iter().zip(theirs).filter_map(|pair| match pair {
        (Some(ours), Some(theirs)) if *theirs > 0.0 => Some(ours / theirs),
        _ => None,
    });
    rounds.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_measured_values() {
        let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(quantile(&values, 0.5), Some(100.0));
        assert_eq!(quantile(&values, 0.99), Some(198.0));
        assert_eq!(quantile(&values, 1.0), Some(200.0));
        assert_eq!(quantile(&values, 0.0), Some(1.0));
        assert_eq!(quantile(&[7.0], 0.99), Some(7.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn percentiles_are_a_curve_that_ends_with_the_largest() {
        let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        let curve = percentiles(&values);
        assert_eq!(
            (curve.len(), curve[0], curve[50], curve[99], curve[100]),
            (101, 1.0, 100.0, 198.0, 200.0)
        );
        assert!(percentiles(&[]).is_empty());
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn ratios_are_taken_within_rounds() {
        let ours = [Some(10.0), Some(30.0), None, Some(12.0)];
        let theirs = [Some(20.0), Some(20.0), Some(1.0), Some(0.0)];
        assert_eq!(ratios(&ours, &theirs), [0.5, 1.5]);
        assert!(ratios(&ours, &[None; 4]).is_empty());
    }
}
