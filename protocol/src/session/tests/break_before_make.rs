//! A planned move that breaks before it makes: the session leaves a backend that works, at a moment when
//! nothing is under way, and then dials the next.

use super::planned::{GOING_AWAY, ORDER, ended, quiescing};
use super::rig::{Drop, Rig, ms, secs};
use super::wire::{CONTINUATION, PING, TEXT, downstream, masked, plain, upstream};
use crate::session::{AckMode, Command, Config, Dial, EndCause, Event, Failure, Move, MoveOutcome, Status};
use crate::websocket::close_code::CloseCode;

fn rig() -> Rig {
    rig_with(|_| {})
}

fn rig_with(change: impl FnOnce(&mut Config)) -> Rig {
    Rig::with(|config| {
        config.break_before_make = true;
        change(config);
    })
}

/// One that has told its backend to go.
fn draining() -> Rig {
    let mut rig = quiescing(rig());
    rig.wait(ms(500));
    assert_eq!(rig.upstream(), [GOING_AWAY]);
    rig
}

#[test]
fn a_quiet_session_says_goodbye_and_goes_on_elsewhere() {
    let mut rig = draining();
    assert_eq!(rig.session.status(), Status::Draining);
    rig.backend_closes(1001, "");
    assert_eq!(rig.links[0].dropped, Some(Drop::Closed), "both have said Close: an orderly end");
    assert_eq!(
        rig.take_notes(),
        [Event::Failed(Failure::Planned), ended(MoveOutcome::Moved { forced: false })]
    );
    rig.link_next();
    assert_eq!(
        rig.dials.last().map(|dial| dial.1),
        Some(Dial { attempt: 2, held: false, suspect: false, accused: None })
    );
    rig.client_says("one");
    rig.backend_says("answer");
    assert_eq!(
        (rig.upstream(), rig.downstream()),
        (vec!["one".to_owned(), "<ping>".to_owned()], vec!["answer".to_owned()])
    );
    let ledger = rig.session.ledger().upstream;
    assert_eq!((ledger.replayed, ledger.in_doubt, ledger.lost), (0, 0, 0));
}

#[test]
fn without_acknowledgements_one_that_answers_the_goodbye_has_read_what_it_was_given() {
    for (code, lost) in [(1001, 0), (1000, 1)] {
        let mut rig = rig_with(|config| config.ack = AckMode::None);
        rig.session.relocate(rig.now, ORDER);
        rig.pump();
        rig.backend_pongs();
        rig.client_says("one");
        rig.backend_says("answer");
        rig.wait(secs(3));
        assert_eq!(rig.upstream(), ["<ping>", "one", GOING_AWAY]);
        rig.backend_closes(code, "");
        let upstream = rig.session.ledger().upstream;
        assert_eq!((upstream.acknowledged, upstream.lost), (1 - lost, lost), "it says {code}");
    }
}

#[test]
fn it_departs_only_after_a_ping_of_this_time_is_answered() {
    let mut rig = rig();
    rig.session.relocate(rig.now, ORDER);
    rig.pump();
    rig.wait(secs(5));
    assert_eq!(rig.upstream(), ["<ping>"], "no goodbye to a backend that may be dead");
    rig.backend_pongs();
    assert_eq!(rig.upstream(), [GOING_AWAY]);
}

#[test]
fn traffic_flows_until_there_is_a_quiet_moment() {
    let mut rig = quiescing(rig());
    for n in 0..10 {
        rig.wait(ms(300));
        rig.client_says(&format!("question {n}"));
        rig.backend_pongs();
        rig.wait(ms(300));
        rig.backend_says(&format!("answer {n}"));
    }
    assert!(!rig.upstream().contains(&GOING_AWAY.to_owned()));
    assert_eq!(rig.downstream().len(), 10);
    rig.wait(ms(499));
    assert_eq!(rig.upstream(), [""; 0]);
    rig.wait(ms(1));
    assert_eq!(rig.upstream(), [GOING_AWAY]);
}

#[test]
fn pings_of_either_side_are_no_traffic() {
    let mut rig = quiescing(rig());
    rig.wait(ms(300));
    rig.client_sends(&masked(true, PING, b"client"));
    rig.backend_sends(&plain(true, PING, b"backend"));
    assert_eq!(rig.upstream(), ["<pong backend>"]);
    rig.wait(ms(200));
    assert_eq!(rig.upstream(), [GOING_AWAY]);
}

#[test]
fn an_unacknowledged_message_keeps_it() {
    let mut rig = quiescing(rig());
    rig.client_says("one");
    rig.wait(secs(3));
    assert_eq!(rig.upstream(), ["one", "<ping>"]);
    rig.backend_pongs();
    assert_eq!(rig.upstream(), [GOING_AWAY], "it was quiet for long enough");
}

#[test]
fn an_open_message_of_either_side_keeps_it() {
    let mut rig = quiescing(rig());
    rig.client_sends(&masked(false, TEXT, b"a beginning"));
    rig.wait(secs(3));
    rig.client_sends(&masked(true, CONTINUATION, b" and an end"));
    rig.backend_pongs();
    rig.backend_sends(&plain(false, TEXT, b"a beginning"));
    rig.wait(secs(3));
    assert_eq!(rig.upstream(), ["a beginning and an end", "<ping>"]);
    rig.backend_sends(&plain(true, CONTINUATION, b" and an end"));
    rig.wait(ms(499));
    assert_eq!(rig.upstream(), [""; 0]);
    rig.wait(ms(1));
    assert_eq!(rig.upstream(), [GOING_AWAY]);
}

/// What it has said may stand unread in its socket, and would be lost with it.
#[test]
fn a_client_that_is_slow_to_take_its_messages_keeps_it() {
    let mut rig = quiescing(rig());
    rig.set_client_room(0);
    for _ in 0..8 {
        rig.backend_says(&"x".repeat(64 * 1024));
    }
    rig.wait(secs(3));
    assert_eq!(rig.upstream(), [""; 0]);
    rig.set_client_room(usize::MAX);
    assert_eq!(rig.downstream().len(), 8);
    rig.wait(ms(500));
    assert_eq!(rig.upstream(), [GOING_AWAY]);
}

#[test]
fn held_acknowledgements_keep_it() {
    let mut rig = rig_with(|config| config.ack_hold = secs(4));
    rig.client_says("one");
    rig.session.relocate(rig.now, ORDER);
    rig.backend_pongs();
    rig.wait(ms(3999));
    assert_eq!(rig.upstream(), ["one", "<ping>"]);
    rig.wait(ms(1));
    assert_eq!(rig.upstream(), [GOING_AWAY]);
}

#[test]
fn last_words_are_relayed_and_what_the_client_says_waits_for_the_next_backend() {
    let mut rig = draining();
    rig.client_says("one");
    rig.backend_says("last words");
    rig.client_says("two");
    assert_eq!((rig.upstream(), rig.downstream()), (vec![], vec!["last words".to_owned()]));
    rig.backend_closes(1001, "");
    rig.link_next();
    assert_eq!(rig.upstream(), ["one", "two", "<ping>"]);
    let expected = [upstream("one"), upstream("two")].concat();
    assert!(rig.link().reader.bytes.starts_with(&expected), "with the client's own masks");
    let ledger = rig.session.ledger().upstream;
    assert_eq!((ledger.replayed, ledger.in_doubt), (0, 0), "they are new to every backend");
}

#[test]
fn a_backend_that_only_hangs_up_has_not_failed() {
    for failure in [Failure::Eof, Failure::Reset] {
        let mut rig = draining();
        rig.backend_fails(failure);
        let moved = ended(MoveOutcome::Moved { forced: false });
        assert_eq!(rig.take_notes(), [Event::Failed(Failure::Planned), moved]);
        rig.link_next();
    }
}

#[test]
fn a_backend_that_does_not_answer_the_goodbye_is_left_after_a_while() {
    let mut rig = draining();
    rig.wait(ms(4999));
    assert_eq!(rig.links[0].dropped, None);
    rig.wait(ms(1));
    assert_eq!(rig.links[0].dropped, Some(Drop::Reset));
    rig.link_next();
}

#[test]
fn half_of_its_last_message_is_kept_from_the_client() {
    let mut rig = draining();
    rig.backend_sends(&plain(false, TEXT, b"half a"));
    rig.backend_closes(1001, "");
    rig.link_next();
    rig.backend_says("whole");
    assert_eq!(rig.downstream(), ["whole"]);
    assert_eq!(rig.session.ledger().downstream.suppressed, 1);
}

#[test]
fn a_decision_of_the_application_is_relayed_even_now() {
    for code in [1008, 3000, 4001, 4999] {
        let mut rig = draining();
        rig.client_says("too late");
        rig.backend_closes(code, "kicked");
        assert_eq!(rig.downstream(), [format!("<close {code} kicked>")]);
        rig.client_closes(code, "");
        let end = rig.session.ended().expect("both sides are done");
        assert_eq!((end.cause, end.code), (EndCause::BackendClose, Some(CloseCode(code))));
        assert_eq!(rig.session.ledger().upstream.lost, 1);
    }
}

#[test]
fn any_other_code_is_its_answer() {
    for code in [1000, 1001, 1005, 1011, 1012] {
        let mut rig = draining();
        if code == 1005 {
            rig.backend_sends(&plain(true, super::wire::CLOSE, b""));
        } else {
            rig.backend_closes(code, "");
        }
        rig.link_next();
        assert_eq!(rig.downstream(), [""; 0]);
    }
}

#[test]
fn a_session_that_cannot_be_left_in_order_leaves_by_force_as_in_a_failover() {
    let mut rig = quiescing(rig());
    assert!(rig.session.relocate(rig.now, Move { force_at: Some(rig.now + secs(30)), ..ORDER }));
    for _ in 0..120 {
        rig.wait(ms(249));
        rig.backend_says("news");
    }
    rig.client_says("one");
    assert_eq!(rig.links[0].dropped, None);
    rig.wait(secs(4));
    assert_eq!(rig.links[0].dropped, Some(Drop::Reset));
    let moved = ended(MoveOutcome::Moved { forced: true });
    assert_eq!(rig.take_notes(), [Event::Failed(Failure::Planned), moved]);
    rig.link_next();
    assert_eq!(rig.upstream(), ["one", "<ping>"], "not acknowledged, so replayed");
    assert_eq!(rig.session.ledger().upstream.in_doubt, 1);
}

#[test]
fn a_planned_move_is_nobodys_death() {
    let mut rig = rig_with(|config| config.poison_deaths = 1);
    rig.session.relocate(rig.now, Move { force_at: Some(rig.now), ..ORDER });
    rig.client_says("one");
    rig.wait(secs(4));
    rig.link_next();
    assert_eq!(rig.dials.last().map(|dial| dial.1.suspect), Some(false));
}

#[test]
fn a_backend_that_fails_meanwhile_has_failed() {
    let mut rig = quiescing(rig());
    rig.client_says("one");
    rig.backend_dies();
    assert_eq!(rig.take_notes(), [Event::Failed(Failure::Eof), ended(MoveOutcome::FailedOver)]);
    rig.link_next();
    assert_eq!(rig.upstream(), ["one", "<ping>"]);
    rig.backend_pongs();
    rig.wait(secs(60));
    assert_eq!((rig.upstream(), rig.session.status()), (vec![], Status::Relaying), "the new one is not left");
}

#[test]
fn a_silent_backend_is_noticed_meanwhile() {
    let mut rig = rig();
    rig.session.relocate(rig.now, ORDER);
    rig.pump();
    rig.wait(secs(5));
    assert_eq!(rig.take_notes(), [Command::JudgeSilence]);
}

#[test]
fn a_session_may_be_told_to_remain() {
    let mut rig = quiescing(rig());
    rig.session.remain();
    rig.wait(secs(60));
    assert_eq!((rig.upstream(), rig.session.status()), (vec![], Status::Relaying));
    let mut rig = draining();
    rig.session.remain();
    rig.backend_closes(1001, "");
    rig.link_next();
}

#[test]
fn a_client_that_leaves_meanwhile_is_not_moved() {
    let mut rig = quiescing(rig());
    rig.client_closes(1000, "bye");
    assert_eq!(rig.upstream(), ["<close 1000 bye>"]);
    rig.backend_closes(1000, "bye");
    assert_eq!(rig.downstream(), ["<close 1000 bye>"]);
    assert!(rig.session.ended().is_some());
}

#[test]
fn a_client_that_leaves_a_parting_backend_gets_its_answer() {
    let mut rig = draining();
    rig.client_closes(1000, "bye");
    rig.backend_closes(1001, "");
    assert_eq!(rig.downstream(), ["<close 1000 bye>"]);
    assert_eq!(rig.session.ended().map(|end| end.cause), Some(EndCause::ClientClose));
}

#[test]
fn messages_of_a_client_that_leaves_are_still_delivered_elsewhere() {
    let mut rig = draining();
    rig.client_says("one");
    rig.client_closes(1000, "");
    rig.backend_closes(1001, "");
    rig.link_next();
    assert_eq!(rig.upstream(), ["one", "<ping>", "<close 1000>"]);
    rig.backend_pongs();
    rig.backend_closes(1000, "");
    assert_eq!(rig.session.ledger().upstream.lost, 0);
    assert!(rig.session.ended().is_some());
}

#[test]
fn a_client_that_hangs_up_ends_it_at_once() {
    let mut rig = draining();
    rig.client_goes();
    assert!(rig.session.ended().is_some());
}

#[test]
fn the_brokers_end_ends_it() {
    for mut rig in [quiescing(rig()), draining()] {
        rig.session.shut_down(rig.now, CloseCode(1001));
        rig.pump();
        assert_eq!(rig.downstream(), ["<close 1001 the service is going away>"]);
        rig.client_closes(1001, "");
        rig.wait(secs(10));
        assert!(rig.session.ended().is_some());
    }
}

#[test]
fn sessions_that_end_with_their_backend_stay() {
    let mut closing = rig_with(|config| config.failover = false);
    let mut declined = Rig::begin(|config| config.break_before_make = true, false, true);
    for rig in [&mut closing, &mut declined] {
        assert!(!rig.session.relocate(rig.now, ORDER));
        rig.wait(secs(60));
        assert_eq!((rig.upstream(), rig.session.status()), (vec![], Status::Relaying));
    }
}

#[test]
fn a_session_stays_until_its_replay_is_acknowledged() {
    let mut rig = rig();
    rig.client_says("one");
    rig.backend_dies();
    rig.link_next();
    assert!(!rig.session.relocate(rig.now, ORDER), "still replaying");
    rig.backend_pongs();
    rig.backend_says("answer one");
    rig.take_notes();
    assert_eq!(rig.session.status(), Status::Settling);
    assert!(rig.session.relocate(rig.now, ORDER));
    rig.pump();
    rig.backend_pongs();
    rig.wait(ms(500));
    rig.backend_closes(1001, "");
    rig.link_next();
    let pause = rig.take_events().into_iter().find_map(|note| match note {
        Event::Linked { pause, .. } => Some(pause),
        _ => None,
    });
    assert_eq!(pause, Some(ms(0)), "counted from this move, not from the failure before it");
}

#[test]
fn a_backend_that_said_close_is_not_asked_whether_it_lives() {
    let mut rig = rig();
    rig.session.relocate(rig.now, ORDER);
    rig.backend_closes(1000, "bye");
    rig.client_closes(1000, "bye");
    assert_eq!(rig.upstream(), ["<close 1000 bye>"]);
}

#[test]
fn a_session_without_a_backend_has_nothing_to_leave() {
    let mut rig = rig();
    rig.backend_dies();
    assert!(!rig.session.relocate(rig.now, ORDER));
    rig.link_next();
    rig.wait(secs(60));
    assert_eq!(rig.session.status(), Status::Relaying);
}

#[test]
fn without_acknowledgements_it_parts_as_well() {
    let mut rig = rig_with(|config| config.ack = AckMode::None);
    rig.session.relocate(rig.now, ORDER);
    rig.client_says("one");
    rig.backend_pongs();
    rig.wait(ms(2100));
    assert_eq!(rig.upstream(), ["one", "<ping>", GOING_AWAY]);
    rig.backend_closes(1001, "");
    rig.link_next();
}

#[test]
fn a_backend_unfit_for_acknowledgements_is_left_as_well() {
    let mut rig = rig_with(|config| config.stall_timeout = secs(10));
    rig.client_says("one");
    rig.session.relocate(rig.now, ORDER);
    for _ in 0..25 {
        rig.wait(ms(499));
        rig.backend_sends(&downstream("news"));
    }
    assert!(rig.take_notes().iter().any(|told| *told == Command::JudgeFitness));
    rig.session.set_unfit(rig.now);
    assert_eq!(rig.upstream(), ["one", "<ping>"]);
    rig.wait(ms(800));
    assert_eq!(rig.upstream(), [GOING_AWAY]);
}
