//! Rendezvous by a key: shares, and what moves when candidates change.

use super::*;

const KEYS: usize = 20_000;

/// Those keys whose place differs: from where, to where.
fn moves(before: &[PlacementChoice], after: &[PlacementChoice]) -> Vec<(usize, usize)> {
    let pairs = before.iter().zip(after).map(|(before, after)| (before.id, after.id));
    pairs.filter(|(from, to)| from != to).collect()
}

#[test]
fn keys_are_shared_by_weight() {
    for weights in [vec![1; 7], vec![1, 2, 3, 4], vec![1, 256]] {
        let placed = Bench::new(&weights).keyed(100_000);
        assert_fits(&key_counts(&placed, weights.len()), &weights);
    }
}

#[test]
fn the_same_key_has_the_same_place() {
    let mut bench = Bench::new(&[1, 2, 3]);
    let before = bench.keyed(KEYS);
    bench.candidates.reverse();
    for candidate in &mut bench.candidates {
        candidate.sessions += 100;
    }
    assert_eq!(before, bench.keyed(KEYS));
}

#[test]
fn source_and_hash_place_the_same_way() {
    let mut bench = Bench::new(&[1, 1, 1]);
    for number in 0..100 {
        let source = bench.place(&Balance::Source, Some(key(number))).expect("a place");
        let hash = bench.place(&by_key(), Some(key(number))).expect("a place");
        assert_eq!(source.id, hash.id);
        assert_eq!([source.reason.to_string(), hash.reason.to_string()], ["source", "hash"]);
    }
}

#[test]
fn who_leaves_takes_only_its_own_keys_along() {
    let mut bench = Bench::new(&[1, 2, 3, 4, 5]);
    let before = bench.keyed(KEYS);
    bench.candidates.remove(3);
    let moves = moves(&before, &bench.keyed(KEYS));
    assert!(moves.iter().all(|(from, _)| *from == 3));
    assert_eq!(moves.len(), key_counts(&before, 5)[3]);
    // The others share them by weight.
    let gains = [0, 1, 2, 4].map(|id| moves.iter().filter(|(_, to)| *to == id).count());
    assert_fits(&gains, &[1, 2, 3, 5]);
}

#[test]
fn who_joins_takes_only_its_share() {
    let mut bench = Bench::new(&[1, 2, 3, 4, 5]);
    let newcomer = bench.candidates.remove(2);
    let before = bench.keyed(KEYS);
    bench.candidates.push(newcomer);
    let after = bench.keyed(KEYS);
    let moves = moves(&before, &after);
    assert!(moves.iter().all(|(_, to)| *to == 2));
    assert_fits(&[moves.len(), KEYS - moves.len()], &[3, 12]);
}

#[test]
fn who_gains_weight_only_gains_keys() {
    let mut bench = Bench::new(&[1, 1, 1]);
    let before = bench.keyed(KEYS);
    bench.candidates[0].weight = 2000;
    let after = bench.keyed(KEYS);
    assert!(moves(&before, &after).iter().all(|(_, to)| *to == 0));
    assert_fits(&key_counts(&after, 3), &[2, 1, 1]);
}

#[test]
fn who_loses_weight_only_loses_keys() {
    let mut bench = Bench::new(&[4, 1, 1]);
    let before = bench.keyed(KEYS);
    bench.candidates[0].weight = 500;
    let after = bench.keyed(KEYS);
    assert!(moves(&before, &after).iter().all(|(from, _)| *from == 0));
    assert_fits(&key_counts(&after, 3), &[1, 2, 2]);
}

#[test]
fn the_next_in_the_hashs_order_stands_in_for_a_full_one() {
    let mut bench = Bench::new(&[1, 2, 3]);
    let before = bench.keyed(KEYS);
    bench.candidates[1].max_sessions = Some(0);
    let full = bench.keyed(KEYS);
    let moved = |placed: &&PlacementChoice| placed.reason.to_string() == "hash, the first choice is full";
    assert_eq!(full.iter().filter(moved).count(), key_counts(&before, 3)[1]);
    assert!(moves(&before, &full).iter().all(|(from, _)| *from == 1));
    bench.candidates.remove(1);
    assert_eq!(moves(&full, &bench.keyed(KEYS)), []);
}

#[test]
fn the_reason_says_what_the_first_choice_is() {
    let mut bench = Bench::new(&[1, 1, 1]);
    let first = bench.place(&by_key(), Some(key(1))).expect("a place").id;
    let mut reason = |standing, max_sessions| {
        bench.candidates[first].standing = standing;
        bench.candidates[first].max_sessions = max_sessions;
        let placed = bench.place(&by_key(), Some(key(1))).expect("a place");
        assert_eq!(placed.id == first, standing == CandidateTrust::Eligible && max_sessions.is_none());
        placed.reason.to_string()
    };
    assert_eq!(reason(CandidateTrust::Eligible, None), "hash");
    assert_eq!(reason(CandidateTrust::Eligible, Some(0)), "hash, the first choice is full");
    assert_eq!(reason(CandidateTrust::Suspect, None), "hash, the first choice is suspect");
    assert_eq!(reason(CandidateTrust::Ejected, None), "hash, the first choice is ejected");
}

#[test]
fn a_full_first_choice_among_suspects_is_full() {
    let mut bench = Bench::new(&[1, 1, 1]);
    let first = bench.place(&by_key(), Some(key(1))).expect("a place").id;
    for candidate in &mut bench.candidates {
        candidate.standing = CandidateTrust::Suspect;
    }
    bench.candidates[first].max_sessions = Some(0);
    let placed = bench.place(&by_key(), Some(key(1))).expect("a place");
    let text = "hash, the first choice is full; a suspect, for want of better";
    assert_eq!(placed.reason.to_string(), text);
}

#[test]
fn without_a_key_it_is_least_sessions_and_says_so() {
    let mut bench = Bench::new(&[1, 1, 1]);
    bench.candidates[1].sessions = 1;
    for balance in [Balance::Source, by_key()] {
        assert_eq!(bench.choices(&balance, 2), [0, 2]);
        assert_eq!(bench.reason(&balance), "no key: least_sessions");
        bench.turns = Turns::default();
    }
}

#[test]
fn other_rules_do_not_look_at_a_key() {
    let mut bench = Bench::new(&[1, 1]);
    bench.candidates[0].max_sessions = Some(0);
    for number in 0..20 {
        let placed = bench.place(&Balance::Random, Some(key(number))).expect("a place");
        assert_eq!(placed.reason.to_string(), "random");
    }
}
