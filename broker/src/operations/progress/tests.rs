use proptest::prelude::*;

use super::*;

const NOW: Time = Time::ORIGIN;
const BUSY: MoveOutcome = MoveOutcome::Stayed(Stay::Busy);

fn of(sessions: u128) -> SessionProgress {
    let mut progress = SessionProgress::default();
    (0..sessions).for_each(|id| progress.join(NOW, id, None));
    progress
}

#[test]
fn each_session_has_its_turn_once() {
    let mut progress = of(3);
    let mut turns = Vec::new();
    while let Some(id) = progress.next(NOW) {
        progress.begun(id, 1);
        turns.push(id);
    }
    assert_eq!(turns, [0, 1, 2]);
    assert_eq!(progress.remaining(), Tally { remaining: 3, moving: 3, untried: 3, ..Tally::default() });
}

#[test]
fn one_that_stays_waits_longer_each_time() {
    let (mut progress, mut now) = (of(1), NOW);
    for seconds in [1, 2, 4, 8, 15, 15] {
        progress.begun(0, 1);
        progress.ended(now, 0, BUSY);
        let early = now + Duration::from_millis(seconds * 1000 - 1);
        assert_eq!(progress.next(early), None);
        now = now + Duration::from_secs(seconds);
        assert_eq!(progress.next(now), Some(0));
        assert_eq!(progress.remaining().busy, 1);
    }
    assert_eq!(progress.remaining().untried, 0);
}

#[test]
fn what_was_called_off_does_not_count_as_a_try() {
    let mut progress = of(1);
    progress.begun(0, 1);
    progress.ended(NOW, 0, MoveOutcome::Stayed(Stay::Asked));
    assert_eq!(progress.remaining(), Tally { remaining: 1, untried: 1, ..Tally::default() });
}

#[test]
fn a_pinned_one_has_no_turn() {
    let mut progress = of(0);
    progress.pin(0);
    progress.join(NOW, 0, Some(1));
    assert_eq!((progress.next(NOW), progress.is_idle()), (None, true));
    assert_eq!(progress.remaining().pinned, 1);
}

#[test]
fn those_that_rest_are_tried_again_when_they_are_wanted() {
    let mut progress = of(2);
    progress.begun(0, 1);
    progress.ended(NOW, 0, BUSY);
    progress.rest();
    assert_eq!(progress.next(NOW + BACKOFF_MAX), None);
    progress.join(NOW, 0, Some(4));
    assert_eq!((progress.next(NOW), progress.next(NOW + BACKOFF_MAX)), (None, Some(0)));
    assert_eq!(progress.target(0), Some(4));
}

#[test]
fn an_ended_operation_still_counts_what_was_under_way() {
    let mut progress = of(4);
    progress.pin(9);
    for id in 0..3 {
        progress.begun(id, 1 + id as u64);
    }
    progress.close();
    assert_eq!((progress.total(), progress.remaining().moving, progress.remaining().pinned), (5, 3, 1));
    progress.settle(NOW, 0, MoveOutcome::Moved { forced: false });
    progress.settle(NOW, 1, MoveOutcome::Stayed(Stay::Asked));
    progress.settle(NOW, 2, BUSY);
    assert_eq!((progress.moved, progress.remaining().remaining, progress.total()), (1, 4, 5));
    assert!(progress.is_idle());
    progress.reopen();
    (1..4).for_each(|id| progress.join(NOW, id, None));
    assert_eq!(progress.total(), 4, "the pinned one is yet to be found");
}

proptest! {
    /// Whatever happens in whatever order, every session is in one count.
    #[test]
    fn nobody_is_lost_or_counted_twice(steps in prop::collection::vec((0_u8..9, 0_u128..6), 0..200)) {
        let mut progress = of(6);
        for (n, (step, id)) in steps.into_iter().enumerate() {
            let now = NOW + Duration::from_secs(n as u64);
            let known = progress.is_member(id);
            match step {
                0 => progress.begun(id, 1),
                1 => progress.ended(now, id, MoveOutcome::Moved { forced: true }),
                2 => progress.ended(now, id, MoveOutcome::FailedOver),
                3 => progress.ended(now, id, BUSY),
                4 => progress.gone(id),
                5 => progress.put_off(id, now),
                6 => progress.rest(),
                7 if known => progress.pin(id),
                8 if known => progress.join(now, id, None),
                _ => {}
            }
            prop_assert_eq!(progress.total(), 6);
            let Tally { remaining, moving, busy, no_target, target_lost, pinned, .. } = progress.remaining();
            prop_assert!(moving + busy + no_target + target_lost + pinned <= remaining);
            prop_assert_eq!(remaining, moving + progress.idle_ids().count());
        }
    }
}
