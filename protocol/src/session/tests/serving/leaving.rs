//! A service is left by plan: it hears that the session is to leave, commits what it can, and is told 1001.

use super::super::planned::{GOING_AWAY, ORDER, move_outcomes};
use super::*;
use crate::session::{Move, MoveOutcome, Stay};

/// The next backend is connected; the present one was told that the session is to leave.
fn waiting() -> Rig {
    let mut rig = serving();
    says(&mut rig, &["one"]);
    rig.backend_pongs();
    commits(&mut rig, 1, 1, &["1"]);
    assert!(rig.session.relocate(rig.now, ORDER));
    rig.pump();
    rig.backend_pongs();
    assert_eq!(rig.upstream(), ["one", "<notice 0>", "<notice 1>"], "it lives, and need not hurry yet");
    assert!(rig.link_successor());
    assert_eq!(rig.upstream(), ["<notice 1 draining>"]);
    rig.downstream();
    rig
}

#[test]
fn a_quiet_session_is_attached_to_the_next_service() {
    let mut rig = waiting();
    rig.wait(secs(5));
    assert_eq!(rig.upstream(), [""; 0], "it must have heard of it first");
    rig.backend_sends(&Commit { number: 2, upto: 1, capsule: Some("last"), ..Commit::default() }.frame());
    rig.backend_pongs();
    rig.wait(ms(500));
    assert_eq!(rig.upstream(), [GOING_AWAY]);
    rig.client_says("two");
    rig.backend_closes(1001, "");
    assert_eq!(rig.links[0].dropped, Some(Drop::Closed));
    assert_eq!(rig.upstream(), ["<attach 2: applied 2, committed 1 capsule \"last\">", "two", "<notice 2>"]);
    assert_eq!(move_outcomes(&mut rig), [MoveOutcome::Moved { forced: false }]);
    commits(&mut rig, 3, 2, &["2"]);
    assert_eq!((rig.downstream(), rig.session.ledger().upstream.replayed), (vec!["2".to_owned()], 0));
}

#[test]
fn what_is_not_committed_keeps_it() {
    let mut rig = waiting();
    rig.backend_pongs();
    rig.client_says("two");
    rig.backend_pongs();
    rig.wait(secs(20));
    assert_eq!(got(&mut rig), ["two"], "received is not enough");
    commits(&mut rig, 2, 2, &["2"]);
    rig.wait(ms(500));
    assert_eq!(got(&mut rig), [GOING_AWAY]);
}

#[test]
fn commits_are_traffic() {
    let mut rig = waiting();
    rig.backend_pongs();
    for number in 2..12 {
        rig.wait(ms(300));
        commits(&mut rig, number, 1, &[]);
    }
    assert_eq!(got(&mut rig), [""; 0]);
    rig.wait(ms(500));
    assert_eq!(got(&mut rig), [GOING_AWAY]);
}

#[test]
fn commits_that_are_on_their_way_are_applied_until_its_close() {
    let mut rig = waiting();
    rig.backend_pongs();
    rig.wait(ms(500));
    assert_eq!((rig.upstream(), rig.session.status()), (vec![GOING_AWAY.to_owned()], Status::Draining));
    let last = Commit { number: 2, upto: 1, capsule: Some("last"), outputs: &["bye"], prompt: true };
    rig.backend_sends(&last.frame());
    assert_eq!((rig.upstream(), rig.downstream()), (vec![], vec!["bye".to_owned()]));
    rig.backend_closes(1001, "");
    assert_eq!(rig.upstream(), ["<attach 2: applied 2, committed 1 capsule \"last\">",]);
}

#[test]
fn a_breach_while_it_parts_is_only_noted() {
    let mut rig = waiting();
    rig.backend_pongs();
    rig.wait(ms(500));
    rig.upstream();
    rig.backend_sends(&downstream("text"));
    assert_eq!(rig.links[0].reader.drain(), [""; 0], "it has had its Close");
    assert_eq!(rig.upstream(), ["<attach 2: applied 1, committed 1>"]);
    assert_eq!(move_outcomes(&mut rig), [MoveOutcome::Moved { forced: false }]);
}

#[test]
fn a_service_that_does_not_answer_the_goodbye_is_left() {
    let mut rig = waiting();
    rig.backend_pongs();
    rig.wait(ms(500));
    rig.upstream();
    rig.wait(secs(5));
    assert_eq!((rig.links[0].dropped, rig.links[0].reader.drain()), (Some(Drop::Reset), vec![]));
    assert_eq!(rig.upstream(), ["<attach 2: applied 1, committed 1>"]);
}

#[test]
fn an_operator_may_change_their_mind() {
    let mut rig = waiting();
    rig.backend_pongs();
    rig.session.remain();
    rig.pump();
    rig.client_says("two");
    assert_eq!(rig.upstream(), ["two", "<notice 1>"], "not draining any more");
    rig.wait(secs(60));
    assert_eq!((got(&mut rig), move_outcomes(&mut rig)), (vec![], vec![MoveOutcome::Stayed(Stay::Asked)]));
    rig.backend_pongs();
    commits(&mut rig, 2, 2, &[]);
    assert!(rig.session.relocate(rig.now, ORDER));
    rig.pump();
    assert_eq!(rig.upstream(), ["<notice 2>"]);
    rig.backend_pongs();
    rig.link_successor();
    rig.wait(secs(5));
    assert_eq!(rig.upstream(), ["<notice 2 draining>"], "told anew before it is left");
}

#[test]
fn breaking_before_making_tells_it_too() {
    let mut rig = serving_with(|config| config.break_before_make = true);
    assert!(rig.session.relocate(rig.now, ORDER));
    rig.pump();
    assert_eq!(rig.upstream(), ["<notice 0 draining>"]);
    rig.wait(secs(5));
    assert_eq!(rig.upstream(), [""; 0]);
    rig.backend_pongs();
    assert_eq!(rig.upstream(), [GOING_AWAY]);
    rig.backend_closes(1001, "");
    rig.link_next();
    assert_eq!(rig.upstream(), ["<attach 2: applied 0, committed 0>"]);
}

#[test]
fn a_ping_that_was_out_before_does_not_tell_it() {
    let mut rig = serving_with(|config| config.break_before_make = true);
    rig.client_says("one");
    rig.session.relocate(rig.now, ORDER);
    rig.pump();
    assert_eq!(rig.upstream(), ["one", "<notice 0>"]);
    commits(&mut rig, 1, 1, &[]);
    rig.backend_pongs();
    assert_eq!(rig.upstream(), ["<notice 1 draining>"]);
    rig.wait(secs(5));
    assert_eq!(rig.upstream(), [""; 0]);
    rig.backend_pongs();
    assert_eq!(rig.upstream(), [GOING_AWAY]);
}

// ---- the next one ----

#[test]
fn a_next_service_that_speaks_before_it_is_attached_is_none() {
    for bytes in [push(&["hello"]), downstream("hello"), Commit { number: 1, ..Commit::default() }.frame()] {
        let mut rig = waiting();
        rig.successor_sends(&bytes);
        assert!(move_outcomes(&mut rig).is_empty(), "another is dialled when the session is ready");
        assert!(!rig.session.wants_successor() && rig.downstream().is_empty());
        rig.client_says("two");
        assert_eq!(got(&mut rig), ["two"], "the present one serves on");
    }
}

#[test]
fn a_next_service_may_ping() {
    let mut rig = waiting();
    rig.successor_sends(&plain(true, super::super::wire::PING, b"early"));
    assert_eq!(
        rig.successor.as_mut().map(|successor| successor.reader.drain()),
        Some(vec!["<pong early>".to_owned()])
    );
    rig.backend_pongs();
    rig.wait(ms(500));
    rig.successor_sends(&plain(true, super::super::wire::PING, b"late"));
    rig.backend_closes(1001, "");
    assert_eq!(rig.upstream(), ["<attach 2: applied 1, committed 1>", "<pong late>"]);
}

#[test]
fn a_failover_while_the_next_one_waits_attaches_it_at_once() {
    let mut rig = waiting();
    rig.client_says("two");
    rig.backend_dies();
    assert_eq!(got(&mut rig), ["<attach 2: applied 1, committed 1>", "two"]);
    assert_eq!(move_outcomes(&mut rig), [MoveOutcome::FailedOver]);
}

// ---- by force ----

/// A session that never has everything committed.
fn forced() -> Rig {
    let mut rig = waiting();
    assert!(rig.session.relocate(rig.now, Move { force_at: Some(rig.now + secs(10)), ..ORDER }));
    rig.backend_pongs();
    rig.client_says("two");
    rig.backend_pongs();
    rig.upstream();
    rig
}

#[test]
fn what_is_not_committed_leaves_by_force_alone() {
    let mut rig = forced();
    rig.wait(secs(10));
    assert_eq!(rig.session.status(), Status::Holding);
    rig.client_says("held");
    rig.wait(secs(3));
    assert_eq!(rig.links[0].reader.drain(), ["<close 4409 fenced: epoch 1 is over>"]);
    assert_eq!(got(&mut rig), ["<attach 2: applied 1, committed 1>", "two", "held"]);
    assert_eq!(move_outcomes(&mut rig), [MoveOutcome::Moved { forced: true }]);
    assert_eq!(rig.session.ledger().upstream.in_doubt, 0, "what is not committed has had no effect");
}

#[test]
fn a_forced_move_takes_the_moment_when_everything_is_committed() {
    let mut rig = forced();
    rig.wait(secs(10));
    rig.client_says("held");
    commits(&mut rig, 2, 2, &["2"]);
    assert_eq!(got(&mut rig), [GOING_AWAY]);
    commits(&mut rig, 3, 2, &["3"]);
    rig.backend_closes(1001, "");
    assert_eq!(got(&mut rig), ["<attach 2: applied 3, committed 2>", "held"]);
    assert_eq!(
        (rig.downstream(), move_outcomes(&mut rig)),
        (vec!["2".into(), "3".into()], vec![MoveOutcome::Moved { forced: true }])
    );
}

#[test]
fn a_next_service_may_be_dialled_late() {
    let mut rig = serving_with(|config| config.dial_ahead = false);
    assert!(rig.session.relocate(rig.now, ORDER));
    rig.pump();
    assert_eq!(rig.upstream().last().map(String::as_str), Some("<notice 0 draining>"));
    rig.backend_pongs();
    assert!(rig.successor_dials.is_empty());
    rig.wait(secs(5));
    assert_eq!(rig.successor_dials.len(), 1, "it has heard of it, and nothing is under way");
    assert!(rig.link_successor());
    assert_eq!(rig.upstream(), [GOING_AWAY]);
    rig.backend_closes(1001, "");
    assert_eq!(rig.links.len(), 2);
}

#[test]
fn what_a_ping_told_before_a_move_was_called_off_counts_no_more() {
    let mut rig = waiting();
    rig.backend_pongs();
    rig.session.remain();
    rig.pump();
    rig.wait(ms(1));
    rig.client_says("two");
    assert!(rig.session.only_relays());
    assert_eq!(rig.upstream(), ["two", "<notice 1>"]);
    assert_eq!(rig.session.backend_link.tells_draining(), Some(false));
}
