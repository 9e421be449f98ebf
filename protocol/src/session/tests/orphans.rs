//! Clients whose conversation ends with their backend: when that is left they are closed, to reconnect.

use std::time::Duration;

use super::planned::{ended, quiescing};
use super::rig::{Rig, ms, secs};
use super::wire::{TEXT, masked, plain, upstream};
use crate::session::{Config, EndCause, Event, Failure, MoveOutcome, Opening, Status};
use crate::websocket::close_code::CloseCode;

const RECONNECT: &str = "<close 1012 the backend failed; connect again>";

const LEAVES: &str = "<close 1012 the backend goes away; connect again>";

/// The wait is 5 s, and the last tenth of it is for the spread.
const EARLIEST: Duration = Duration::from_millis(4500);

fn rig_with(change: impl FnOnce(&mut Config)) -> Rig {
    Rig::open(change, Opening { epoch: 1, begins_anew: true, ..Opening::default() })
}

fn rig() -> Rig {
    rig_with(|_| {})
}

/// One whose backend has just died.
fn orphan() -> Rig {
    let mut rig = rig();
    rig.client_says("one");
    rig.backend_pongs();
    rig.backend_dies();
    assert_eq!(rig.session.status(), Status::Orphaned);
    rig
}

/// The driver looks for room whenever it is asked to, for so long, and finds none.
fn look_in_vain(rig: &mut Rig, time: Duration) -> u32 {
    let (end, mut looks) = (rig.now + time, 0);
    loop {
        rig.pump();
        if rig.seeks_room() {
            rig.session.handle_room(rig.now, false);
            looks += 1;
        }
        match rig.session.poll_timeout().filter(|at| *at <= end) {
            Some(at) => rig.now = rig.now.max(at),
            None => break,
        }
    }
    rig.now = end;
    looks
}

// ---- a failure ----

#[test]
fn no_other_backend_is_dialled_for_it() {
    let mut rig = orphan();
    assert_eq!(rig.take_notes(), [Event::Orphaned(Failure::Eof)]);
    assert!(!rig.session.wants_link() && !rig.session.wants_dial());
    look_in_vain(&mut rig, secs(1));
    assert!(rig.dials.is_empty() && rig.links[0].dropped.is_some());
    assert_eq!(rig.session.failovers(), 0);
}

#[test]
fn the_client_is_closed_when_another_has_room() {
    let mut rig = orphan();
    assert!(look_in_vain(&mut rig, secs(1)) >= 10, "it is asked again and again");
    assert_eq!(rig.downstream(), [""; 0], "nobody could take it");
    rig.now = rig.now + ms(100);
    rig.pump();
    assert!(rig.seeks_room());
    rig.session.handle_room(rig.now, true);
    rig.pump();
    assert!(!rig.seeks_room(), "once is enough");
    rig.wait(ms(500));
    assert_eq!((rig.downstream(), rig.session.status()), (vec![RECONNECT.to_owned()], Status::Closing));
    rig.client_closes(1012, "");
    let end = rig.session.ended().map(|end| (end.cause, end.code));
    assert_eq!(end, Some((EndCause::Reconnect, Some(CloseCode(1012)))));
}

#[test]
fn it_is_closed_at_the_latest_when_the_wait_is_over() {
    let mut rig = orphan();
    look_in_vain(&mut rig, EARLIEST - ms(1));
    assert_eq!(rig.downstream(), [""; 0]);
    look_in_vain(&mut rig, ms(501));
    assert_eq!(rig.downstream(), [RECONNECT]);
}

#[test]
fn without_a_wait_it_is_closed_at_once() {
    let mut rig = rig_with(|config| config.auto_wait = Duration::ZERO);
    rig.backend_dies();
    rig.wait(Duration::ZERO);
    assert_eq!(rig.downstream(), [RECONNECT]);
}

#[test]
fn a_herd_does_not_come_back_at_once() {
    let closed = |herd: &[Rig]| herd.iter().filter(|rig| rig.session.status() == Status::Closing).count();
    let mut herd: Vec<Rig> = (0..100).map(|_| rig()).collect();
    for (seed, rig) in herd.iter_mut().enumerate() {
        rig.set_seed(seed as u64);
        rig.backend_dies();
        rig.session.handle_room(rig.now, true);
        rig.wait(ms(1));
    }
    assert!(closed(&herd) < 10, "{} at once", closed(&herd));
    herd.iter_mut().for_each(|rig| rig.wait(ms(250)));
    assert!((25..=75).contains(&closed(&herd)), "{} after half of the spread", closed(&herd));
    herd.iter_mut().for_each(|rig| rig.wait(ms(250)));
    assert_eq!(closed(&herd), 100);
}

#[test]
fn it_is_not_read_any_more() {
    let mut rig = orphan();
    rig.client_sends(&upstream("for nobody"));
    assert_eq!(rig.session.client_read_limit(false), 0);
    assert_eq!(rig.client_pushed_back(), upstream("for nobody").len());
    assert_eq!(rig.session.ledger().upstream.forwarded, 1);
}

#[test]
fn what_the_backend_has_said_whole_comes_before_the_close() {
    let mut rig = rig();
    rig.set_client_room(0);
    rig.backend_says("last words");
    rig.backend_sends(&plain(false, TEXT, b"half a message"));
    rig.backend_dies();
    rig.session.handle_room(rig.now, true);
    rig.wait(secs(1));
    rig.set_client_room(usize::MAX);
    assert_eq!(rig.downstream(), ["last words", RECONNECT]);
    assert_eq!(rig.session.ledger().downstream.suppressed, 1);
}

#[test]
fn what_was_not_acknowledged_is_lost_and_counted() {
    let mut rig = rig();
    rig.client_sends(&[upstream("one"), upstream("two")].concat());
    rig.backend_dies();
    let ledger = rig.session.ledger().upstream;
    assert_eq!((ledger.forwarded, ledger.acknowledged, ledger.lost), (2, 0, 2));
}

#[test]
fn every_failure_is_one() {
    type Fail = fn(&mut Rig);
    let failures: [(Fail, Failure); 4] = [
        (|rig| rig.backend_fails(Failure::Reset), Failure::Reset),
        (|rig| rig.backend_closes(1011, "oops"), Failure::Close(CloseCode(1011))),
        (|rig| rig.backend_sends(b"\xff\xff"), Failure::Protocol),
        (|rig| assert!(rig.session.fail_over(rig.now)), Failure::Ordered),
    ];
    for (fail, failure) in failures {
        let mut rig = rig();
        fail(&mut rig);
        rig.pump();
        assert_eq!(rig.session.status(), Status::Orphaned);
        assert!(rig.notes.iter().any(|told| *told == Event::Orphaned(failure)), "{:?}", rig.notes);
    }
}

#[test]
fn the_applications_close_is_none() {
    let mut rig = rig();
    rig.backend_closes(4001, "bye");
    assert_eq!(
        (rig.downstream(), rig.session.status()),
        (vec!["<close 4001 bye>".to_owned()], Status::Closing)
    );
}

#[test]
fn a_client_that_has_left_is_not_told_to_come_back() {
    let mut rig = orphan();
    rig.client_goes();
    assert_eq!(rig.session.ended().map(|end| end.cause), Some(EndCause::ClientGone));

    let mut rig = rig_with(|_| {});
    rig.client_says("one");
    rig.client_closes(1000, "bye");
    rig.backend_dies();
    assert_eq!(rig.downstream(), ["<close 1000 bye>"], "its messages would mean nothing to another backend");
    assert!(rig.dials.is_empty());
    assert_eq!(rig.session.ledger().upstream.lost, 1);
}

#[test]
fn a_backend_that_declines_failovers_still_ends_its_sessions_at_once() {
    let opening = Opening { epoch: 1, begins_anew: true, no_failover: true, ..Opening::default() };
    let mut rig = Rig::open(|_| {}, opening);
    assert!(rig.session.pinned());
    rig.backend_dies();
    assert_eq!(rig.downstream(), ["<close 1012 the backend failed>"]);
}

#[test]
fn the_broker_may_end_meanwhile() {
    let mut rig = orphan();
    rig.session.shut_down(rig.now, CloseCode(1001));
    rig.pump();
    assert_eq!(rig.downstream(), ["<close 1001 the service is going away>"]);
    rig.client_closes(1001, "");
    assert_eq!(rig.session.ended().map(|end| end.cause), Some(EndCause::Shutdown));
}

#[test]
fn the_code_is_the_pools() {
    let mut rig = rig_with(|config| config.codes.reconnect = CloseCode(4012));
    rig.backend_dies();
    rig.session.handle_room(rig.now, true);
    rig.wait(secs(1));
    assert!(rig.downstream()[0].starts_with("<close 4012"));
}

// ---- a planned move ----

#[test]
fn a_move_closes_it_at_a_quiet_moment() {
    let mut rig = quiescing(rig());
    assert!(rig.successor_dials.is_empty(), "no next backend is dialled");
    rig.wait(ms(499));
    assert_eq!(rig.downstream(), [""; 0]);
    rig.wait(ms(1));
    assert_eq!(
        (rig.downstream(), rig.upstream()),
        (vec![LEAVES.to_owned()], vec!["<close 1001>".to_owned()])
    );
    assert_eq!(rig.take_notes(), [ended(MoveOutcome::Reconnects)]);
    rig.backend_closes(1001, "");
    rig.client_closes(1012, "");
    let end = rig.session.ended().map(|end| (end.cause, end.code));
    assert_eq!((end, rig.session.moves()), (Some((EndCause::Reconnect, Some(CloseCode(1012)))), 1));
}

#[test]
fn while_it_talks_nothing_is_held() {
    let mut rig = quiescing(rig());
    for _ in 0..10 {
        rig.client_says("question");
        rig.backend_pongs();
        rig.backend_says("answer");
        rig.wait(ms(300));
    }
    assert_eq!(rig.upstream().iter().filter(|frame| *frame == "question").count(), 10);
    assert_eq!((rig.downstream().len(), rig.session.status()), (10, Status::Quiescing));
}

#[test]
fn once_patience_is_over_the_next_moment_between_two_messages_will_do() {
    let mut rig = quiescing(rig());
    rig.client_sends(&masked(false, TEXT, b"a message that "));
    rig.wait(secs(30) + ms(1));
    assert_eq!((rig.downstream(), rig.session.status()), (vec![], Status::Quiescing));
    rig.client_sends(&masked(true, super::wire::CONTINUATION, b"ends"));
    assert_eq!(rig.downstream(), [""; 0], "it is not acknowledged yet");
    rig.backend_pongs();
    assert_eq!(rig.downstream(), [LEAVES]);
    assert_eq!(rig.session.ledger().upstream.lost, 0);
}

#[test]
fn a_feed_that_never_rests_does_not_stop_a_drain() {
    let mut rig = quiescing(rig());
    for _ in 0..310 {
        rig.backend_says("news");
        rig.wait(ms(100));
    }
    assert_eq!(rig.take_notes(), [ended(MoveOutcome::Reconnects)]);
    assert_eq!(rig.downstream().last().map(String::as_str), Some(LEAVES));
}

#[test]
fn a_message_without_an_end_does_not_stop_a_drain() {
    let mut rig = quiescing(rig());
    rig.client_sends(&masked(false, TEXT, b"a message that never ends"));
    rig.wait(secs(33));
    assert_eq!(
        (rig.take_events(), rig.downstream()),
        (vec![ended(MoveOutcome::Reconnects)], vec![LEAVES.to_owned()])
    );
}

#[test]
fn it_may_be_called_off() {
    let mut rig = quiescing(rig());
    rig.session.remain();
    rig.wait(secs(60));
    assert_eq!((rig.downstream(), rig.session.status()), (vec![], Status::Relaying));
}

#[test]
fn a_backend_that_fails_meanwhile_ends_the_move() {
    let mut rig = quiescing(rig());
    rig.backend_dies();
    assert_eq!(rig.take_notes(), [ended(MoveOutcome::Ended), Event::Orphaned(Failure::Eof)]);
}

#[test]
fn other_clients_are_kept() {
    let mut rig = Rig::new();
    rig.backend_dies();
    rig.link_next();
    assert_eq!((rig.downstream(), rig.session.status()), (vec![], Status::Settling));
}
