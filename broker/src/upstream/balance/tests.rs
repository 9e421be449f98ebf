//! Each rule against the shares that it promises, each tier, and what moves when candidates change.

mod keyed;
mod least_sessions;
mod power_of_two;
mod random;
mod round_robin;
mod tiers;

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::config::settings::HashKey;

/// Candidates with all that [`place`] needs beside them.
struct Bench {
    candidates: Vec<Candidate>,
    turns: Turns,
    random: StdRng,
}

impl Bench {
    /// Candidates with ids from 0 and these whole weights.
    fn new(weights: &[u32]) -> Bench {
        let candidate = |(id, weight): (usize, &u32)| Candidate {
            id,
            weight: weight * 1000,
            sessions: 0,
            max_sessions: None,
            backup: false,
            standing: CandidateTrust::Eligible,
            hash: hash::of(format!("backend-{id}").as_bytes()),
        };
        Bench {
            candidates: weights.iter().enumerate().map(candidate).collect(),
            turns: Turns::default(),
            random: StdRng::seed_from_u64(7),
        }
    }

    fn place(&mut self, balance: &Balance, affinity: Option<Affinity>) -> Result<PlacementChoice, NoPlace> {
        place(&self.candidates, balance, affinity, &mut self.turns, &mut || self.random.next_u64())
    }

    fn choose(&mut self, balance: &Balance) -> usize {
        self.place(balance, None).expect("a place").id
    }

    /// The ids of so many choices, whose sessions end at once.
    fn choices(&mut self, balance: &Balance, count: usize) -> Vec<usize> {
        (0..count).map(|_| self.choose(balance)).collect()
    }

    /// How often each was chosen, with sessions that end at once.
    fn passing(&mut self, balance: &Balance, count: usize) -> Vec<usize> {
        let choices = self.choices(balance, count);
        self.candidates.iter().map(|one| choices.iter().filter(|id| **id == one.id).count()).collect()
    }

    /// How many sessions each has after so many choices, when all sessions stay.
    fn staying(&mut self, balance: &Balance, count: usize) -> Vec<usize> {
        for _ in 0..count {
            let id = self.choose(balance);
            self.candidates[id].sessions += 1;
        }
        self.candidates.iter().map(|one| one.sessions).collect()
    }

    /// Where each of so many keys goes, and why.
    fn keyed(&mut self, keys: usize) -> Vec<PlacementChoice> {
        (0..keys).map(|number| self.place(&by_key(), Some(key(number))).expect("a place")).collect()
    }

    fn reason(&mut self, balance: &Balance) -> String {
        self.place(balance, None).expect("a place").reason.to_string()
    }
}

fn by_key() -> Balance {
    Balance::Hash(HashKey::Path(1))
}

fn key(number: usize) -> Affinity {
    Affinity::of_hash(hash::of(format!("user-{number}").as_bytes()))
}

fn key_counts(placed: &[PlacementChoice], candidates: usize) -> Vec<usize> {
    (0..candidates).map(|id| placed.iter().filter(|placed| placed.id == id).count()).collect()
}

/// Pearson's test with a bound that chance exceeds less than once in a million runs for up to seven
/// counts, and seeds are fixed.
fn assert_fits(counts: &[usize], weights: &[u32]) {
    assert!(counts.len() == weights.len() && counts.len() <= 7);
    let total: usize = counts.iter().sum();
    let whole: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
    let distance = |(count, weight): (&usize, &u32)| {
        let expected = total as f64 * f64::from(*weight) / whole;
        (*count as f64 - expected).powi(2) / expected
    };
    let sum: f64 = counts.iter().zip(weights).map(distance).sum();
    assert!(sum < 39.0, "{counts:?} does not fit {weights:?}: {sum}");
}

fn candidate() -> impl Strategy<Value = Candidate> {
    let weight = prop_oneof![0u32..3, Just(u32::MAX), any::<u32>()];
    let count = || prop_oneof![0usize..3, Just(usize::MAX), any::<usize>()];
    let standing = prop_oneof![
        Just(CandidateTrust::Eligible),
        Just(CandidateTrust::Suspect),
        Just(CandidateTrust::Ejected)
    ];
    let hash = prop_oneof![Just(0u64), any::<u64>()];
    let id = prop_oneof![Just(usize::MAX), 0usize..1000];
    (id, weight, count(), proptest::option::of(count()), any::<bool>(), standing, hash).prop_map(
        |(id, weight, sessions, max_sessions, backup, standing, hash)| Candidate {
            id,
            weight,
            sessions,
            max_sessions,
            backup,
            standing,
            hash,
        },
    )
}

fn balance() -> impl Strategy<Value = Balance> {
    prop_oneof![
        Just(Balance::LeastSessions),
        Just(Balance::RoundRobin),
        Just(Balance::PowerOfTwo),
        Just(Balance::Random),
        Just(Balance::Source),
        Just(by_key()),
    ]
}

proptest! {
    /// Whatever the numbers are: who is chosen has room, and nobody with room is in a better tier.
    #[test]
    fn the_best_tier_with_room_is_served(
        calls in proptest::collection::vec(
            (proptest::collection::vec(candidate(), 0..8), balance(), proptest::option::of(any::<u64>())),
            1..8,
        ),
        numbers in proptest::collection::vec(prop_oneof![Just(0), Just(u64::MAX), any::<u64>()], 1..20),
    ) {
        let mut turns = Turns::default();
        let mut numbers = numbers.iter().copied().cycle();
        for (candidates, balance, key) in calls {
            let by_id: BTreeMap<usize, Candidate> = candidates.into_iter().map(|one| (one.id, one)).collect();
            let candidates: Vec<Candidate> = by_id.values().cloned().collect();
            let random = &mut || numbers.next().unwrap_or_default();
            let affinity = key.map(Affinity::of_hash);
            let placed = place(&candidates, &balance, affinity, &mut turns, random);
            let sound = candidates.iter().any(|one| one.standing == CandidateTrust::Eligible && !one.backup);
            let ejected = candidates.iter().all(|one| one.standing == CandidateTrust::Ejected);
            let fits = |one: &&Candidate| {
                let counts = if one.standing == CandidateTrust::Ejected { ejected } else { !one.backup || !sound };
                one.max_sessions.is_none_or(|max| one.sessions < max) && counts
            };
            let best = candidates.iter().filter(fits).map(|one| (one.standing, one.backup)).min();
            match placed {
                Ok(PlacementChoice { id, .. }) => {
                    let chosen = &by_id[&id];
                    prop_assert!(fits(&chosen));
                    prop_assert_eq!(Some((chosen.standing, chosen.backup)), best);
                }
                Err(NoPlace::Full) => prop_assert!(!candidates.is_empty() && best.is_none()),
                Err(NoPlace::Nobody) => prop_assert!(candidates.is_empty()),
            }
        }
    }
}
