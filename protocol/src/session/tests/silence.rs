//! A backend that owes something and says nothing, or talks and never answers a ping.

use super::rig::{Rig, ms, secs};
use super::wire::{PING, down, plain, up};
use crate::session::{AckMode, Failure, Note};

#[test]
fn a_backend_that_owes_a_pong_and_says_nothing_is_silent() {
    let mut rig = Rig::new();
    rig.wait(secs(60));
    rig.client_says("one");
    rig.wait(ms(9_999));
    assert_eq!(rig.take_notes(), []);
    rig.wait(ms(1));
    assert_eq!(rig.take_notes(), [Note::Silent]);
    assert_eq!(rig.session.failovers(), 0, "whether there is another backend, the driver knows");
}

#[test]
fn the_driver_may_leave_a_silent_backend() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.wait(secs(10));
    assert_eq!(rig.take_notes(), [Note::Silent]);
    rig.backend_fails(Failure::Silence);
    rig.link_next();
    assert_eq!(rig.up(), ["one", "<ping>"]);
}

#[test]
fn the_driver_may_stay_and_is_told_again() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.wait(secs(10));
    rig.session.stay(rig.now);
    rig.wait(ms(9_999));
    assert_eq!(rig.take_notes(), [Note::Silent]);
    rig.wait(ms(1));
    assert_eq!(rig.take_notes(), [Note::Silent]);
    rig.session.stay(rig.now);
    rig.backend_pongs();
    rig.wait(secs(60));
    assert_eq!(rig.take_notes(), [], "it has come back");
}

#[test]
fn any_byte_is_a_sign_of_life() {
    let mut rig = Rig::new();
    rig.client_says("one");
    for _ in 0..3 {
        rig.wait(secs(9));
        rig.backend_sends(&down("a long message")[..2]);
        rig.backend_sends(&down("a long message")[2..]);
        assert!(!rig.take_notes().contains(&Note::Silent));
    }
}

#[test]
fn a_backend_that_owes_nothing_may_be_quiet() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.backend_pongs();
    rig.wait(secs(600));
    assert_eq!(rig.notes, []);
}

#[test]
fn an_open_message_owes_nothing_yet() {
    let mut rig = Rig::new();
    rig.client_sends(&up("one")[..8]);
    rig.wait(secs(60));
    assert_eq!(rig.notes, [], "the timer counts whole messages");
}

#[test]
fn the_timer_runs_also_while_writes_block() {
    for ack in [AckMode::Pong, AckMode::None] {
        let mut rig = Rig::with(|config| config.ack = ack);
        rig.backend_room = 3;
        rig.client_says("one");
        rig.wait(secs(10));
        assert_eq!(rig.take_notes(), [Note::Silent]);
    }
}

#[test]
fn without_acks_nothing_is_owed_once_it_is_written() {
    let mut rig = Rig::with(|config| config.ack = AckMode::None);
    rig.client_says("one");
    rig.wait(secs(600));
    assert_eq!(rig.notes, []);
}

#[test]
fn without_acks_nothing_is_owed_also_when_the_driver_sleeps_right_after_its_write() {
    let mut rig = Rig::with(|config| config.ack = AckMode::None);
    for _ in 0..20 {
        rig.session.handle_client(rig.now, &up("one"));
        rig.round();
        rig.wait(secs(1));
    }
    assert_eq!(rig.up().len(), 20);
    assert_eq!(rig.notes, [], "a backend that reads all and has nothing to say is healthy");
}

#[test]
fn the_timer_stands_still_while_the_client_is_slow() {
    let mut rig = Rig::new();
    rig.client_room = 0;
    rig.client_says("one");
    rig.backend_says(&"x".repeat(300 * 1024));
    assert!(!rig.session.wants_backend(), "the pong would be stuck behind what waits for the client");
    rig.wait(secs(30));
    assert_eq!(rig.take_notes(), []);
    rig.client_room = usize::MAX;
    rig.pump();
    assert!(rig.session.wants_backend());
    assert_eq!(rig.take_notes(), [], "the backend is read again, and has its whole time");
    rig.wait(ms(9_999));
    assert_eq!(rig.take_notes(), []);
    rig.wait(ms(1));
    assert_eq!(rig.take_notes(), [Note::Silent]);
}

#[test]
fn the_timer_starts_anew_also_when_the_slow_client_leaves() {
    let mut rig = Rig::new();
    rig.client_room = 0;
    rig.client_says("one");
    rig.backend_says(&"x".repeat(300 * 1024));
    rig.wait(secs(30));
    rig.client_goes();
    assert!(rig.session.wants_backend());
    assert_eq!(rig.take_notes(), [], "its pong may lie in the socket that was not read");
    rig.wait(ms(9_999));
    assert_eq!(rig.take_notes(), []);
    rig.wait(ms(1));
    assert_eq!(rig.take_notes(), [Note::Silent]);
}

#[test]
fn a_backend_that_talks_and_never_pongs_is_unfit_and_runs_without_acks() {
    let mut rig = Rig::new();
    rig.client_says("one");
    for _ in 0..12 {
        rig.wait(secs(1));
        rig.backend_says("talk");
    }
    assert_eq!(rig.take_notes(), [Note::Unfit]);
    assert_eq!(rig.session.unacknowledged(), 0, "the ring is not blocked for ever");
    rig.client_says("two");
    assert_eq!(rig.session.unacknowledged(), 0);
    assert_eq!(rig.up(), ["one", "<ping>", "two"]);
    rig.backend_dies();
    rig.link_next();
    rig.client_says("three");
    assert_eq!(rig.up(), ["three", "<ping>"], "the next backend may answer pings");
}

#[test]
fn an_unfit_backend_owes_no_pong_and_is_not_silent_without_one() {
    let mut rig = Rig::with(|config| config.keepalive = secs(25));
    rig.client_says("one");
    for _ in 0..12 {
        rig.wait(secs(1));
        rig.backend_says("talk");
        rig.client_sends(&super::wire::masked(true, PING, b""));
    }
    assert_eq!(rig.take_notes(), [Note::Unfit]);
    for _ in 0..10 {
        rig.wait(secs(10));
        rig.client_sends(&super::wire::masked(true, PING, b""));
    }
    assert_eq!(rig.take_notes(), [], "it never answers pings, so its silence means nothing");
}

#[test]
fn a_ping_that_is_not_written_yet_makes_no_backend_unfit() {
    let mut rig = Rig::new();
    rig.backend_room = 3;
    rig.client_says("one");
    for _ in 0..30 {
        rig.wait(secs(1));
        rig.backend_says("talk");
    }
    assert_eq!(rig.take_notes(), [], "it could not answer what it has not got");
    rig.backend_dies();
    rig.backend_room = usize::MAX;
    rig.link_next();
    assert_eq!(rig.up(), ["one", "<ping>"]);
}

#[test]
fn a_pong_that_comes_late_but_before_the_time_is_up_keeps_the_acks() {
    let mut rig = Rig::new();
    rig.client_says("one");
    for _ in 0..9 {
        rig.wait(secs(1));
        rig.backend_says("talk");
    }
    rig.backend_pongs();
    rig.client_says("two");
    assert_eq!(rig.take_notes(), []);
    assert_eq!(rig.up(), ["one", "<ping>", "two", "<ping>"]);
}

#[test]
fn a_backend_that_has_answered_before_is_not_unfit_for_being_busy() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.backend_pongs();
    rig.client_says("two");
    for _ in 0..30 {
        rig.wait(secs(1));
        rig.backend_says("talk");
    }
    assert_eq!(rig.take_notes(), [], "it does not never pong");
    assert!(rig.session.unacknowledged() > 0);
    rig.backend_pongs();
    assert_eq!(rig.session.unacknowledged(), 0);
}

#[test]
fn an_idle_backend_is_pinged_and_tested_in_the_same_way() {
    let mut rig = Rig::with(|config| config.keepalive = secs(25));
    let idle = |rig: &mut Rig, time| {
        // The client's own pings keep the broker from asking it.
        for _ in 0..time {
            rig.wait(secs(1));
            rig.client_sends(&super::wire::masked(true, PING, b""));
        }
    };
    idle(&mut rig, 24);
    assert_eq!(rig.up(), [""; 0]);
    idle(&mut rig, 2);
    assert_eq!(rig.up(), ["<ping>"]);
    rig.backend_pongs();
    idle(&mut rig, 26);
    assert_eq!(rig.up(), ["<ping>"], "each time anew");
    idle(&mut rig, 10);
    assert_eq!(rig.take_notes(), [Note::Silent]);
}

#[test]
fn a_backend_that_talks_is_not_pinged_for_keepalive() {
    let mut rig = Rig::with(|config| config.keepalive = secs(25));
    for _ in 0..10 {
        rig.wait(secs(20));
        rig.backend_sends(&plain(true, PING, b""));
        rig.client_sends(&super::wire::masked(true, PING, b""));
    }
    assert!(rig.up().iter().all(|frame| frame == "<pong >"));
}

#[test]
fn a_new_backend_has_its_whole_time() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.wait(secs(9));
    rig.backend_dies();
    rig.link_next();
    rig.wait(ms(9_999));
    assert!(!rig.take_notes().contains(&Note::Silent));
    rig.wait(ms(1));
    assert_eq!(rig.take_notes(), [Note::Silent]);
}
