use proptest::prelude::*;

use super::*;
use crate::upstream::balance::hash;

/// Weight, sessions and limit of each; the id is the place in the list.
fn all(bearers: &[(u32, usize, Option<usize>)]) -> Vec<Bearer> {
    let bearer = |(id, (weight, sessions, max_sessions)): (usize, &(u32, usize, Option<usize>))| Bearer {
        id,
        weight: weight * 1000,
        sessions: *sessions,
        max_sessions: *max_sessions,
    };
    bearers.iter().enumerate().map(bearer).collect()
}

fn moved(bearers: &[Bearer], shifts: &[Shift]) -> Vec<Bearer> {
    let mut after = bearers.to_vec();
    for Shift { from, to, sessions } in shifts {
        after[*from].sessions -= sessions;
        after[*to].sessions += sessions;
    }
    after
}

#[test]
fn shares_follow_weights_and_limits() {
    for (bearers, expected) in [
        (vec![(1, 10, None), (1, 0, None)], vec![5, 5]),
        (vec![(3, 0, None), (1, 100, None)], vec![75, 25]),
        (vec![(1, 90, Some(10)), (1, 0, None), (1, 0, None)], vec![10, 40, 40]),
        (vec![(1, 10, None), (1, 0, None), (1, 0, None)], vec![4, 3, 3]),
        (vec![(1, 9, None), (0, 3, None)], vec![12, 0]),
        (vec![(1, 5, Some(2)), (1, 5, Some(4))], vec![5, 5]),
        (vec![(0, 3, None), (0, 4, None)], vec![3, 4]),
        (vec![(1, 0, None), (1, 0, None)], vec![0, 0]),
        (vec![], vec![]),
    ] {
        assert_eq!(shares(&all(&bearers)), expected, "{bearers:?}");
    }
}

#[test]
fn only_as_many_move_as_the_tolerance_asks_for() {
    let new = all(&[(1, 50, None), (1, 50, None), (1, 0, None)]);
    let count = |tolerance| shifts(&new, tolerance).iter().map(|shift| shift.sessions).sum::<usize>();
    assert_eq!((count(0), count(10), count(50)), (32, 30, 17));
    assert!(shifts(&all(&[(1, 51, None), (1, 49, None)]), 0).is_empty(), "one session is no imbalance");
    assert_eq!(shifts(&all(&[(1, 8, None), (0, 2, None)]), 100), [Shift { from: 1, to: 0, sessions: 2 }]);
}

fn any_bearers() -> impl Strategy<Value = Vec<Bearer>> {
    let bearer = (0_u32..=256, 0_usize..300, prop::option::of(1_usize..400));
    prop::collection::vec(bearer, 0..8).prop_map(|bearers| all(&bearers))
}

proptest! {
    #[test]
    fn shares_add_up_and_keep_limits(bearers in any_bearers()) {
        let shares = shares(&bearers);
        let total: usize = bearers.iter().map(|bearer| bearer.sessions).sum();
        prop_assert_eq!(shares.iter().sum::<usize>(), total);
        for (share, bearer) in shares.iter().zip(&bearers) {
            // What nobody has room for stays where it is.
            prop_assert!(*share <= bearer.max().max(bearer.sessions));
        }
    }

    #[test]
    fn after_the_moves_all_are_within_the_tolerance(bearers in any_bearers(), tolerance in 0_u32..150) {
        let (before, shifts) = (shares(&bearers), shifts(&bearers, tolerance));
        let after = moved(&bearers, &shifts);
        for (n, bearer) in after.iter().enumerate() {
            prop_assert!(bearer.sessions.abs_diff(before[n]) <= allowed(bearer, before[n], tolerance));
            // Each comes nearer to its share and not past it.
            let (was, is) = (bearers[n].sessions, bearer.sessions);
            prop_assert!((was.min(before[n])..=was.max(before[n])).contains(&is));
        }
        for Shift { from, to, sessions } in shifts {
            prop_assert!(from != to && sessions > 0);
        }
    }

    /// It ends: what has been planned and done needs no second plan.
    #[test]
    fn a_second_look_finds_nothing_to_do(bearers in any_bearers(), tolerance in 0_u32..150) {
        let after = moved(&bearers, &shifts(&bearers, tolerance));
        let same_shares = shares(&after) == shares(&bearers);
        prop_assume!(same_shares);
        prop_assert!(shifts(&after, tolerance).is_empty());
    }
}

fn candidate(id: usize, sessions: usize, max_sessions: Option<usize>) -> Candidate {
    let hash = hash::of(format!("b{id}").as_bytes());
    Candidate {
        id,
        weight: 1000,
        sessions,
        max_sessions,
        backup: false,
        standing: CandidateTrust::Eligible,
        hash,
    }
}

/// Where each of these keys is placed when nobody else is there.
fn placed(candidates: &[Candidate], keys: impl Iterator<Item = u64>) -> Vec<Keyed> {
    let place = |number| {
        let key = Affinity::of_hash(number);
        let placed =
            balance::place(candidates, &Balance::Source, Some(key), &mut Turns::default(), &mut || 0);
        Keyed { id: u128::from(number), here: placed.expect("a place").id, key }
    };
    keys.map(place).collect()
}

#[test]
fn who_is_where_its_key_says_stays() {
    let candidates = [candidate(0, 50, None), candidate(1, 50, None)];
    assert!(by_key(placed(&candidates, 0..100), &candidates, &Balance::Source).is_empty());
}

#[test]
fn a_new_backend_gets_its_keys_and_nobody_else_moves() {
    let (before, after) = ([candidate(0, 50, None)], [candidate(0, 50, None), candidate(1, 0, None)]);
    let (sessions, wanted) = (placed(&before, 0..100), placed(&after, 0..100));
    let moves = by_key(sessions, &after, &Balance::Source);
    let expected: Vec<_> = wanted.iter().filter(|own| own.here == 1).map(|own| (own.id, 1)).collect();
    assert_eq!(moves, expected);
    assert!((20..80).contains(&moves.len()), "{}", moves.len());
}

#[test]
fn limits_hold_for_keys_too() {
    let candidates = [candidate(0, 100, None), candidate(1, 0, Some(3))];
    let sessions =
        (0..100).map(|number| Keyed { id: u128::from(number), here: 0, key: Affinity::of_hash(number) });
    assert_eq!(by_key(sessions, &candidates, &Balance::Source).len(), 3);
}

#[test]
fn a_full_backend_keeps_the_sessions_it_has() {
    let candidates = [candidate(0, 40, Some(40)), candidate(1, 60, None)];
    let home = [candidate(0, 0, None), candidate(1, 0, None)];
    let mine = placed(&home, 0..200).into_iter().filter(|own| own.here == 0).take(40);
    assert!(by_key(mine, &candidates, &Balance::Source).is_empty());
}

#[test]
fn nobody_goes_to_one_that_is_penalised_or_leaves_it_for_that() {
    let mut candidates = [candidate(0, 50, None), candidate(1, 50, None)];
    let sessions = placed(&candidates, 0..100);
    candidates[1].standing = CandidateTrust::Suspect;
    assert!(by_key(sessions.clone(), &candidates, &Balance::Source).is_empty());
    let elsewhere = sessions.into_iter().map(|own| Keyed { here: 0, ..own });
    assert!(by_key(elsewhere, &candidates, &Balance::Source).is_empty());
}
