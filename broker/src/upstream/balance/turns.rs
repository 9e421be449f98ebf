//! What algorithms remember from one choice to the next.

use std::collections::{BTreeMap, BTreeSet};

use super::Candidate;

/// Whose turn it is. It forgets candidates that are gone, so it never holds more than there are.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// What each candidate is owed by round robin, in thousandths of weight.
    credits: BTreeMap<usize, i64>,
    /// The last one chosen among equals.
    last: Option<usize>,
}

/// No credit is more than this many rounds. Rounds among the same candidates stay below; those that
/// come and go or change their weights would add up to more, and one of them would then get all
/// sessions for a while, or none.
const ROUNDS: i64 = 4;

impl Turns {
    /// Smooth weighted round robin: in each round everybody in `open` is credited its weight, and the
    /// one with the most credit is served and pays for all. Turns of a heavy candidate are spread
    /// between those of the others. Who is in `candidates` but not in `open` keeps its credit.
    pub(super) fn round_robin<'a>(
        &mut self,
        candidates: &[Candidate],
        open: &[&'a Candidate],
    ) -> Option<&'a Candidate> {
        self.forget(candidates);
        let total = open.iter().map(|candidate| i64::from(candidate.share())).fold(0, i64::saturating_add);
        let most = total.saturating_mul(ROUNDS);
        let mut best: Option<(i64, &Candidate)> = None;
        for candidate in open.iter().copied() {
            let credit = self.credits.entry(candidate.id).or_default();
            *credit = credit.saturating_add(i64::from(candidate.share())).clamp(-most, most);
            // Of equals the first.
            if best.is_none_or(|(highest, _)| *credit > highest) {
                best = Some((*credit, candidate));
            }
        }
        let (credit, chosen) = best?;
        self.credits.insert(chosen.id, credit.saturating_sub(total));
        Some(chosen)
    }

    /// The next of `equals` after the last one chosen, in the order of their ids.
    pub(super) fn rotate<'a>(
        &mut self,
        equals: impl Iterator<Item = &'a Candidate>,
    ) -> Option<&'a Candidate> {
        let last = self.last;
        // Those up to the last one come after all others.
        let chosen =
            equals.min_by_key(|candidate| (last.is_some_and(|last| candidate.id <= last), candidate.id))?;
        self.last = Some(chosen.id);
        Some(chosen)
    }

    /// Drops the credits of those that are gone.
    fn forget(&mut self, candidates: &[Candidate]) {
        for candidate in candidates {
            self.credits.entry(candidate.id).or_default();
        }
        // With everybody present counted in, there are more only when somebody is gone.
        if self.credits.len() > candidates.len() {
            let present: BTreeSet<usize> = candidates.iter().map(|candidate| candidate.id).collect();
            self.credits.retain(|id, _| present.contains(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::CandidateTrust;
    use super::*;

    fn candidate(id: usize, weight: u32) -> Candidate {
        Candidate {
            id,
            weight: weight * 1000,
            sessions: 0,
            max_sessions: None,
            backup: false,
            standing: CandidateTrust::Eligible,
            hash: 0,
        }
    }

    fn candidates(ids: impl IntoIterator<Item = usize>) -> Vec<Candidate> {
        ids.into_iter().map(|id| candidate(id, 1)).collect()
    }

    fn next(turns: &mut Turns, candidates: &[Candidate]) -> usize {
        let open: Vec<_> = candidates.iter().collect();
        turns.round_robin(candidates, &open).expect("somebody is there").id
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let mut turns = Turns::default();
        for first in 0..1000 {
            next(&mut turns, &candidates(first..first + 3));
            let known: Vec<_> = turns.credits.keys().copied().collect();
            assert_eq!(known, [first, first + 1, first + 2]);
        }
    }

    #[test]
    fn who_is_there_but_not_open_keeps_its_credit() {
        let mut turns = Turns::default();
        let all = candidates(0..3);
        assert_eq!(next(&mut turns, &all), 0);
        for expected in [1, 2, 1, 2] {
            assert_eq!(turns.round_robin(&all, &[&all[1], &all[2]]).map(|chosen| chosen.id), Some(expected));
        }
        assert_eq!(turns.credits.get(&0), Some(&-2000));
    }

    /// Those that leave right after their turn leave debts behind, which the others share.
    #[test]
    fn a_newcomer_is_not_starved_by_what_others_left_behind() {
        let mut turns = Turns::default();
        let mut present: Vec<usize> = (0..5).collect();
        for newcomer in 5..2000 {
            let chosen = next(&mut turns, &candidates(present.iter().copied()));
            present.retain(|id| *id != chosen);
            present.push(newcomer);
        }
        let newcomer = 5000;
        present.push(newcomer);
        let all = candidates(present);
        let rounds = usize::try_from(ROUNDS).expect("a small number") + 2;
        let waited = (0..all.len() * rounds).position(|_| next(&mut turns, &all) == newcomer);
        assert!(waited.is_some());
    }

    #[test]
    fn equals_come_in_the_order_of_their_ids() {
        let mut turns = Turns::default();
        let mut rotate = |ids: &[usize]| {
            let all = candidates(ids.iter().copied());
            turns.rotate(all.iter()).expect("somebody is there").id
        };
        assert_eq!(
            [rotate(&[3, 1, 2]), rotate(&[3, 1, 2]), rotate(&[3, 1, 2]), rotate(&[3, 1, 2])],
            [1, 2, 3, 1]
        );
        // The last one is gone; the order goes on behind its place.
        assert_eq!([rotate(&[2, 0]), rotate(&[2, 0])], [2, 0]);
    }

    #[test]
    fn of_nobody_nobody_is_chosen() {
        let mut turns = Turns::default();
        assert!(turns.round_robin(&[], &[]).is_none());
        assert!(turns.rotate([].into_iter()).is_none());
    }
}
