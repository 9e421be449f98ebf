//! A next backend that is dialled late: when the one before was lost, or when its pool says so.

use super::planned::{GOING_AWAY, ORDER, move_outcomes};
use super::rig::{Rig, ms, secs};
use super::wire::{CLOSE, CONTINUATION, TEXT, close_payload, masked, plain};
use crate::session::{Config, Event, Failure, Move, MoveOutcome, Status, Stay};

/// It is to leave, its backend alive, and the next one is not to be dialled before it is ready.
fn waiting_with(change: impl FnOnce(&mut Config)) -> Rig {
    let mut rig = Rig::with(|config| {
        config.dial_ahead = false;
        change(config);
    });
    assert!(rig.session.relocate(rig.now, ORDER));
    rig.pump();
    rig.backend_pongs();
    assert_eq!(rig.upstream(), ["<ping>"]);
    rig
}

fn waiting() -> Rig {
    waiting_with(|_| {})
}

/// It was to leave, the next one was connected, and closed it for saying nothing.
fn bereft() -> Rig {
    let mut rig = Rig::new();
    assert!(rig.session.relocate(rig.now, ORDER));
    rig.pump();
    assert!(rig.link_successor());
    rig.backend_pongs();
    rig.upstream();
    lose(&mut rig);
    rig
}

fn lose(rig: &mut Rig) {
    rig.successor_sends(&plain(true, CLOSE, &close_payload(4408, "connection initialisation timeout")));
}

const MOVED: MoveOutcome = MoveOutcome::Moved { forced: false };

#[test]
fn it_is_dialled_when_the_session_is_ready_and_not_before() {
    let mut rig = waiting();
    rig.wait(ms(499));
    assert!(rig.successor_dials.is_empty());
    rig.wait(ms(1));
    assert_eq!((rig.successor_dials.clone(), rig.upstream()), (vec![ORDER.ticket], vec![]));
    rig.wait(ms(5));
    assert!(rig.link_successor());
    assert_eq!((rig.upstream(), rig.session.status()), (vec![GOING_AWAY.to_owned()], Status::Draining));
    rig.backend_closes(1001, "");
    assert_eq!((move_outcomes(&mut rig), rig.links.len()), (vec![MOVED], 2));
    assert_eq!((rig.session.moves(), rig.session.failovers()), (1, 0));
}

#[test]
fn what_is_said_during_the_dial_makes_it_wait_for_the_next_moment() {
    let mut rig = waiting();
    rig.wait(ms(500));
    rig.client_says("a question");
    assert!(rig.link_successor());
    rig.backend_pongs();
    rig.backend_says("an answer");
    assert_eq!(rig.session.status(), Status::Quiescing);
    assert_eq!(
        (rig.upstream(), rig.downstream()),
        (vec!["a question".into(), "<ping>".into()], vec!["an answer".to_owned()])
    );
    rig.wait(ms(500));
    assert_eq!(rig.upstream(), [GOING_AWAY]);
    assert_eq!(rig.successor_dials.len(), 1, "it is there already");
}

#[test]
fn one_that_is_lost_is_dialled_anew_when_the_session_is_ready() {
    let mut rig = bereft();
    assert_eq!((rig.session.status(), rig.session.wants_successor()), (Status::Quiescing, false));
    assert_eq!(rig.successor_dials.len(), 1);
    rig.client_sends(&masked(false, TEXT, b"a message that "));
    rig.wait(secs(10));
    assert_eq!(rig.successor_dials.len(), 1, "it would be lost again");
    rig.client_sends(&masked(true, CONTINUATION, b"ends"));
    rig.backend_pongs();
    rig.wait(ms(2100));
    assert_eq!(rig.successor_dials.len(), 2);
    assert!(rig.link_successor());
    rig.backend_closes(1001, "");
    assert_eq!(move_outcomes(&mut rig), [MOVED]);
}

#[test]
fn a_few_may_be_lost_and_then_it_stays() {
    let mut rig = bereft();
    for _ in 0..2 {
        rig.wait(ms(2100));
        rig.client_says("it is not quiet");
        assert!(rig.link_successor());
        assert!(move_outcomes(&mut rig).is_empty());
        rig.backend_pongs();
        lose(&mut rig);
    }
    assert_eq!(
        (move_outcomes(&mut rig), rig.session.status()),
        (vec![MoveOutcome::Stayed(Stay::TargetLost)], Status::Relaying)
    );
}

#[test]
fn without_a_next_backend_it_stays() {
    let mut rig = waiting();
    rig.wait(ms(500));
    rig.fail_successor();
    assert_eq!(
        (move_outcomes(&mut rig), rig.session.status()),
        (vec![MoveOutcome::Stayed(Stay::NoTarget)], Status::Relaying)
    );
}

#[test]
fn while_it_is_dialled_nothing_else_happens() {
    let mut rig = waiting();
    rig.wait(ms(500));
    rig.wait(secs(20));
    assert_eq!((rig.successor_dials.len(), rig.session.status()), (1, Status::Quiescing));
    rig.session.remain();
    rig.pump();
    assert!(!rig.session.wants_successor() && !rig.link_successor());
    assert_eq!(move_outcomes(&mut rig), [MoveOutcome::Stayed(Stay::Asked)]);
}

#[test]
fn messages_are_held_until_it_is_connected() {
    let mut rig = waiting_with(|config| config.patience = secs(1));
    rig.client_says("one");
    rig.wait(ms(900));
    rig.backend_pongs();
    rig.backend_says("answer");
    rig.wait(ms(100));
    assert_eq!(rig.session.status(), Status::Holding);
    rig.upstream();
    rig.client_says("held");
    rig.wait(ms(1400));
    assert_eq!((rig.successor_dials.len(), rig.upstream()), (1, vec![]));
    assert!(rig.link_successor());
    assert_eq!(rig.upstream(), [GOING_AWAY]);
    rig.backend_closes(1001, "");
    assert_eq!(rig.upstream(), ["held", "<ping>"]);
}

#[test]
fn when_the_hold_is_over_meanwhile_it_stays() {
    let mut rig = waiting_with(|config| config.patience = secs(1));
    rig.client_says("one");
    rig.wait(ms(900));
    rig.backend_pongs();
    rig.backend_says("answer");
    rig.wait(ms(100));
    rig.client_says("held");
    rig.wait(secs(3));
    assert_eq!(move_outcomes(&mut rig), [MoveOutcome::Stayed(Stay::Busy)]);
    assert!(rig.upstream().contains(&"held".to_owned()) && !rig.link_successor());
}

#[test]
fn by_force_it_is_dialled_at_the_next_safepoint() {
    let mut rig = waiting_with(|config| config.patience = secs(1));
    assert!(rig.session.relocate(rig.now, Move { force_at: Some(rig.now + secs(1)), ..ORDER }));
    rig.backend_says("news");
    rig.wait(secs(1));
    assert_eq!(rig.successor_dials.len(), 1);
    rig.backend_says("more news");
    assert!(rig.link_successor());
    assert_eq!(rig.upstream(), [GOING_AWAY]);
    rig.backend_closes(1001, "");
    assert_eq!(move_outcomes(&mut rig), [MoveOutcome::Moved { forced: true }]);
}

#[test]
fn a_backend_that_fails_meanwhile_is_a_failover() {
    let mut rig = waiting();
    rig.wait(ms(500));
    rig.backend_dies();
    assert_eq!(move_outcomes(&mut rig), [MoveOutcome::FailedOver]);
    assert!(!rig.link_successor());
    rig.link_next();
    assert_eq!(rig.session.status(), Status::Settling);
    assert!(!rig.notes.iter().any(|told| *told == Event::Failed(Failure::Planned)));
}
