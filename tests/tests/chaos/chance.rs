//! Choices that a seed repeats.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Names the seed of a run that is to be repeated.
const SEED: &str = "STEADFAST_CHAOS_SEED";

/// A sequence of choices (splitmix64, Steele, Lea and Flood 2014).
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The choices of this seed.
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % end as u64).expect("it is below a usize")
    }

    /// One of these.
    pub(crate) fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// A number from `from` to `to`.
    pub(crate) fn between(&mut self, from: usize, to: usize) -> usize {
        from + self.below(to + 1 - from)
    }

    /// So many milliseconds.
    pub(crate) fn pause(&mut self, from: usize, to: usize) -> Duration {
        Duration::from_millis(self.between(from, to) as u64)
    }

    /// Choices of their own, for what runs beside.
    pub(crate) fn branch(&mut self) -> Self {
        Self(self.below(usize::MAX) as u64)
    }
}

/// The seed of the environment, or else one of the clock's.
pub(crate) fn seed() -> u64 {
    match std::env::var(SEED) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{SEED} is a number, and not {text:?}")),
        Err(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock beyond 1970");
            u64::from(now.subsec_nanos()) ^ now.as_secs()
        }
    }
}

/// How a run of this seed is repeated.
pub(crate) fn again(seed: u64) -> String {
    format!("{SEED}={seed}")
}

#[test]
fn a_seed_repeats_its_choices_and_another_makes_others() {
    let choices = |seed| {
        let mut chance = Chance::of(seed);
        (0..100).map(|_| chance.below(1000)).collect::<Vec<_>>()
    };
    assert_eq!(choices(7), choices(7));
    assert_ne!(choices(7), choices(8));
    let mut chance = Chance::of(7);
    assert!((0..1000).all(|_| (3..=5).contains(&chance.between(3, 5))));
}
