//! Who comes into question before any rule chooses.

use super::*;

/// One candidate for each tier, the best first.
fn ladder() -> Bench {
    let mut bench = Bench::new(&[1; 8]);
    let tiers = [
        (CandidateTrust::Eligible, false),
        (CandidateTrust::Eligible, true),
        (CandidateTrust::Suspect, false),
        (CandidateTrust::Suspect, true),
        (CandidateTrust::Ejected, false),
        (CandidateTrust::Ejected, true),
        (CandidateTrust::Leaving, false),
        (CandidateTrust::Leaving, true),
    ];
    for (candidate, (standing, backup)) in bench.candidates.iter_mut().zip(tiers) {
        candidate.standing = standing;
        candidate.backup = backup;
    }
    bench
}

fn all_balances() -> [Balance; 6] {
    [
        Balance::LeastSessions,
        Balance::RoundRobin,
        Balance::PowerOfTwo,
        Balance::Random,
        Balance::Source,
        by_key(),
    ]
}

#[test]
fn the_best_that_is_there_is_chosen_by_each_rule() {
    for balance in all_balances() {
        for key in [None, Some(key(1))] {
            let mut bench = ladder();
            bench.candidates.reverse();
            for best in 0..8 {
                assert_eq!(bench.place(&balance, key).expect("a place").id, best, "{balance:?}");
                bench.candidates.pop();
            }
            assert_eq!(bench.place(&balance, key), Err(NoPlace::Nobody));
        }
    }
}

#[test]
fn the_reason_says_the_tier() {
    let mut bench = ladder();
    let mut reasons = Vec::new();
    while !bench.candidates.is_empty() {
        reasons.push(bench.reason(&Balance::LeastSessions));
        bench.candidates.remove(0);
    }
    let expected = [
        "least_sessions",
        "least_sessions; a backup, no primary is eligible",
        "least_sessions; a suspect, for want of better",
        "least_sessions; a suspect backup, for want of better",
        "least_sessions; last resort: ejected",
        "least_sessions; last resort: an ejected backup",
        "least_sessions; last resort: it seems to leave",
        "least_sessions; last resort: a backup that seems to leave",
    ];
    assert_eq!(reasons, expected);
}

#[test]
fn who_has_no_room_is_passed_over_within_a_tier() {
    let mut bench = Bench::new(&[1, 1]);
    bench.candidates[0].max_sessions = Some(1);
    assert_eq!(bench.staying(&Balance::LeastSessions, 4), [1, 3]);
}

#[test]
fn a_full_primary_calls_no_backup() {
    let mut bench = ladder();
    bench.candidates[0].max_sessions = Some(0);
    assert_eq!(bench.choose(&Balance::LeastSessions), 2);
    bench.candidates.retain(|candidate| candidate.id == 0 || candidate.backup);
    assert_eq!(bench.place(&Balance::LeastSessions, None), Err(NoPlace::Full));
}

#[test]
fn full_backups_leave_it_to_suspects() {
    let mut bench = ladder();
    bench.candidates.remove(0);
    bench.candidates[0].max_sessions = Some(0);
    assert_eq!(bench.choose(&Balance::LeastSessions), 2);
}

#[test]
fn each_tier_can_be_full() {
    for balance in all_balances() {
        let mut bench = ladder();
        // Without the sound primary, backups come into question.
        bench.candidates.remove(0);
        let ejected = bench.candidates.split_off(3);
        use_up(&mut bench, &balance);
        bench.candidates = ejected;
        use_up(&mut bench, &balance);
    }
}

/// Fills one candidate after another, in their order.
fn use_up(bench: &mut Bench, balance: &Balance) {
    for candidate in 0..bench.candidates.len() {
        let expected = bench.candidates[candidate].id;
        assert_eq!(bench.place(balance, Some(Affinity::of_hash(1))).expect("a place").id, expected);
        bench.candidates[candidate].max_sessions = Some(0);
    }
    assert_eq!(bench.place(balance, Some(Affinity::of_hash(1))), Err(NoPlace::Full));
}

#[test]
fn nobody_goes_to_an_ejected_one_while_others_are_only_full() {
    for kept in [0, 2] {
        let mut bench = ladder();
        bench
            .candidates
            .retain(|candidate| candidate.id == kept || candidate.standing == CandidateTrust::Ejected);
        assert_eq!(bench.choose(&Balance::LeastSessions), kept);
        bench.candidates[0].max_sessions = Some(0);
        assert_eq!(bench.place(&Balance::LeastSessions, None), Err(NoPlace::Full));
        bench.candidates.remove(0);
        assert_eq!(bench.choose(&Balance::LeastSessions), 4);
    }
}

#[test]
fn the_limit_is_reached_with_its_last_session() {
    let mut bench = Bench::new(&[1]);
    bench.candidates[0].max_sessions = Some(5);
    bench.candidates[0].sessions = 4;
    assert_eq!(bench.choose(&Balance::LeastSessions), 0);
    for sessions in [5, 6, usize::MAX] {
        bench.candidates[0].sessions = sessions;
        assert_eq!(bench.place(&Balance::LeastSessions, None), Err(NoPlace::Full));
    }
}

#[test]
fn room_is_that_of_sound_primaries_or_else_of_sound_backups() {
    let mut candidates = ladder().candidates;
    assert_eq!(room(&candidates), usize::MAX);
    for candidate in &mut candidates {
        (candidate.sessions, candidate.max_sessions) = (3, Some(5));
    }
    candidates[1].max_sessions = None;
    assert_eq!(room(&candidates), 2, "a backup does not stand in for a busy primary");
    candidates[0].sessions = 7;
    assert_eq!(room(&candidates), 0);
    candidates[0].standing = CandidateTrust::Suspect;
    assert_eq!(room(&candidates), usize::MAX);
    assert_eq!(room(&candidates[2..]), 0);
}
