//! A backend that owes something and says nothing, or talks and never answers a ping.

use super::rig::{MUTE, NOTHING, Rig, ms, secs};
use super::wire::{Commit, PING, downstream, plain, upstream};
use crate::session::{AckMode, Command, EndCause, Event, Evidence, Failure, Judgement, Opening};

/// It was left, since it was mute to everybody.
const BLAMED: Judgement = Judgement::Left { blamed: true };

/// It was left without blame.
const LEFT: Judgement = Judgement::Left { blamed: false };

/// Somebody else has heard the backend just now.
fn lives(rig: &Rig) -> Evidence {
    Evidence { lived: Some(rig.now), ..MUTE }
}

/// Waits until the driver is asked, and answers.
fn asked(rig: &mut Rig, evidence: impl Fn(&Rig) -> Evidence) -> Judgement {
    let until = rig.now + secs(1000);
    while !rig.take_notes().iter().any(|told| *told == Command::JudgeSilence) {
        let at = rig.session.poll_timeout().filter(|at| *at <= until).expect("a question");
        rig.wait(at.since(rig.now).max(ms(1)));
    }
    let evidence = evidence(rig);
    rig.judge(evidence)
}

/// The same for so long, as long as the session stays.
fn asked_for(rig: &mut Rig, secs: u64, evidence: impl Fn(&Rig) -> Evidence) -> Judgement {
    let begin = rig.now;
    let mut judgement = Judgement::Stays;
    while judgement == Judgement::Stays && rig.now.since(begin) < super::rig::secs(secs) {
        judgement = asked(rig, &evidence);
    }
    judgement
}

// ---- when the driver is asked ----

#[test]
fn the_driver_is_asked_about_a_backend_that_owes_a_pong_and_says_nothing() {
    let mut rig = Rig::new();
    rig.wait(secs(60));
    rig.client_says("one");
    rig.wait(ms(4_999));
    assert_eq!(rig.take_notes(), NOTHING);
    rig.wait(ms(1));
    assert_eq!(rig.take_notes(), [Command::JudgeSilence], "half of the time is left to find out");
    rig.wait(secs(5));
    assert_eq!(rig.take_notes(), [Command::JudgeSilence], "it is asked again");
    rig.backend_pongs();
    rig.wait(secs(60));
    assert_eq!(rig.take_notes(), [Event::SlowPong(secs(10))], "it has come back");
}

#[test]
fn a_message_that_comes_by_parts_is_a_sign_of_life() {
    let mut rig = Rig::new();
    rig.client_says("one");
    for _ in 0..3 {
        rig.wait(ms(4_900));
        rig.backend_sends(&downstream("a long message")[..4]);
        rig.wait(ms(4_900));
        rig.backend_sends(&downstream("a long message")[4..]);
        assert!(!rig.take_notes().iter().any(|told| *told == Command::JudgeSilence));
    }
}

#[test]
fn pings_of_its_own_are_no_sign_of_life_to_this_session() {
    let mut rig = Rig::new();
    rig.client_says("one");
    for _ in 0..5 {
        rig.wait(secs(1));
        rig.backend_sends(&plain(true, PING, b"still there?"));
    }
    assert_eq!(
        rig.take_notes(),
        [Command::JudgeSilence],
        "a library sends them for a handler that is stuck, too"
    );
}

// ---- what follows from the evidence ----

#[test]
fn a_backend_that_is_mute_everywhere_is_left_after_its_time_if_there_is_another() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.wait(secs(5));
    assert_eq!(rig.judge(MUTE), Judgement::Stays, "its time is not over");
    rig.wait(secs(5));
    assert_eq!(rig.judge(Evidence { other: false, ..MUTE }), Judgement::Stays, "there is no other");
    assert_eq!(rig.session.failovers(), 0);
    rig.wait(secs(5));
    assert_eq!(rig.judge(MUTE), BLAMED);
    rig.link_next();
    assert_eq!(rig.upstream(), ["one", "<ping>"]);
}

#[test]
fn a_pool_may_be_given_more_time() {
    let mut rig = Rig::new();
    rig.client_says("one");
    let patient = |_: &Rig| Evidence { patience: secs(40), ..MUTE };
    let begin = rig.now;
    assert_eq!(asked_for(&mut rig, 100, patient), BLAMED);
    assert_eq!(rig.now.since(begin), secs(40));
}

#[test]
fn a_session_whose_backend_lives_stays_for_the_time_of_a_stall() {
    let mut rig = Rig::new();
    rig.client_says("one");
    let begin = rig.now;
    assert_eq!(asked_for(&mut rig, 1000, lives), LEFT);
    assert_eq!(rig.now.since(begin), secs(300));
}

#[test]
fn without_a_time_for_stalls_it_stays_for_ever() {
    let mut rig = Rig::with(|config| config.stall_timeout = secs(0));
    rig.client_says("one");
    assert_eq!(asked_for(&mut rig, 10_000, lives), Judgement::Stays);
}

#[test]
fn a_sign_of_life_from_before_its_time_counts_no_more() {
    let mut rig = Rig::new();
    rig.client_says("one");
    let last = rig.now + secs(8);
    let stopped = move |_: &Rig| Evidence { lived: Some(last), ..MUTE };
    assert_eq!(asked_for(&mut rig, 100, stopped), BLAMED);
    assert_eq!(rig.now.since(last), secs(12), "asked every five seconds, ten after it was heard last");
}

#[test]
fn a_socket_that_takes_more_is_a_reason_to_wait() {
    let mut rig = Rig::new();
    rig.set_backend_room(100);
    rig.client_says(&"x".repeat(300_000));
    for _ in 0..10 {
        assert_eq!(asked(&mut rig, |_| MUTE), Judgement::Stays);
        rig.set_backend_room(1000);
    }
    assert_eq!(asked_for(&mut rig, 20, |_| MUTE), BLAMED, "now it takes nothing");
}

#[test]
fn a_dead_connection_is_left_whatever_else_lives_and_also_for_the_same_backend() {
    let mut rig = Rig::new();
    rig.client_says("one");
    let dead = |rig: &Rig| Evidence { dead: true, other: false, ..lives(rig) };
    assert_eq!(asked(&mut rig, dead), LEFT);
    assert!(rig.take_notes().iter().any(|told| *told == Event::Failed(Failure::Dead)));
    rig.link_next();
    assert_eq!(rig.upstream(), ["one", "<ping>"]);
}

#[test]
fn an_answer_that_nobody_asked_for_changes_nothing() {
    let mut rig = Rig::new();
    rig.wait(secs(100));
    assert_eq!(rig.judge(Evidence { dead: true, ..MUTE }), Judgement::Stays, "it owes nothing");
}

// ---- silence that follows a message ----

/// The backend has fallen silent on a message and was left, and so has the next.
fn followed() -> Rig {
    let mut rig = Rig::new();
    rig.client_says("works for a minute");
    assert_eq!(asked_for(&mut rig, 100, |_| MUTE), BLAMED);
    rig.link_next();
    assert_eq!(asked_for(&mut rig, 100, |_| MUTE), Judgement::Follows);
    rig
}

#[test]
fn a_second_backend_that_falls_silent_on_the_same_message_is_not_left() {
    let mut rig = followed();
    for _ in 0..20 {
        assert_eq!(asked(&mut rig, |_| MUTE), Judgement::Stays, "and it is said once");
    }
    rig.backend_pongs();
    rig.backend_says("done");
    assert_eq!((rig.downstream(), rig.links.len()), (vec!["done".to_owned()], 2));
}

#[test]
fn the_session_ends_when_the_second_one_stalls() {
    let mut rig = followed();
    assert_eq!(asked_for(&mut rig, 1000, |_| MUTE), LEFT);
    assert_eq!(rig.downstream(), ["<close 1013 the service does not read on>"]);
    rig.client_closes(1013, "");
    rig.wait(secs(60));
    assert_eq!(rig.session.ended().map(|end| end.cause), Some(EndCause::Stalled));
    assert_eq!((rig.links.len(), rig.session.ledger().upstream.lost), (2, 1));
}

#[test]
fn two_stalls_while_the_backends_live_end_it_too() {
    let mut rig = Rig::new();
    rig.client_says("is never read");
    assert_eq!(asked_for(&mut rig, 1000, lives), LEFT);
    rig.link_next();
    assert_eq!(asked_for(&mut rig, 1000, lives), LEFT);
    assert_eq!(rig.downstream(), ["<close 1013 the service does not read on>"]);
    assert_eq!(rig.links.len(), 2);
}

#[test]
fn silence_on_another_message_is_another_silence() {
    let mut rig = Rig::new();
    rig.client_says("one");
    assert_eq!(asked_for(&mut rig, 100, |_| MUTE), BLAMED);
    rig.link_next();
    rig.backend_pongs();
    rig.client_says("two");
    assert_eq!(asked_for(&mut rig, 100, |_| MUTE), BLAMED);
}

/// A service that commits nothing meanwhile has fallen silent on the first of two messages, and so has the next, and
/// then it has read that one.
fn followed_without_a_commit() -> Rig {
    let opening = Opening { session: [7; 16], epoch: 1, ..Opening::default() };
    let mut rig = Rig::open(|config| config.ack = AckMode::Shim, opening);
    rig.pump();
    rig.client_says("works for a minute");
    assert_eq!(asked_for(&mut rig, 100, |_| MUTE), BLAMED);
    rig.link_next();
    rig.client_says("works as long");
    assert_eq!(asked_for(&mut rig, 100, |_| MUTE), Judgement::Follows);
    rig.backend_pongs();
    rig
}

#[test]
fn what_two_fell_silent_on_is_begun_by_no_third_for_the_sake_of_a_later_message() {
    let mut rig = followed_without_a_commit();
    assert_eq!(asked_for(&mut rig, 100, |_| MUTE), Judgement::Stays, "the next one would get both again");
    assert_eq!(rig.links.len(), 2);
}

#[test]
fn once_it_is_committed_a_later_one_is_another_silence() {
    let mut rig = followed_without_a_commit();
    rig.backend_sends(&Commit { number: 1, upto: 1, ..Commit::default() }.frame());
    assert_eq!(asked_for(&mut rig, 100, |_| MUTE), BLAMED);
}

#[test]
fn an_idle_session_that_is_silent_twice_has_no_message_to_blame() {
    let mut rig = Rig::with(|config| config.keepalive = secs(25));
    let talk = |rig: &mut Rig| rig.client_sends(&super::wire::masked(true, PING, b""));
    for _ in 0..3 {
        rig.wait(secs(26));
        talk(&mut rig);
        assert_eq!(asked_for(&mut rig, 100, |_| MUTE), BLAMED);
        rig.link_next();
        talk(&mut rig);
    }
}

#[test]
fn a_backend_that_owes_nothing_may_be_quiet() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.backend_pongs();
    rig.wait(secs(600));
    assert_eq!(rig.notes, NOTHING);
}

#[test]
fn an_open_message_owes_nothing_yet() {
    let mut rig = Rig::new();
    rig.client_sends(&upstream("one")[..8]);
    rig.wait(secs(60));
    assert_eq!(rig.notes, NOTHING, "the timer counts whole messages");
}

#[test]
fn the_timer_runs_also_while_writes_block() {
    for ack in [AckMode::Pong, AckMode::None] {
        let mut rig = Rig::with(|config| config.ack = ack);
        rig.backend_room = 3;
        rig.client_says("one");
        assert_eq!(asked_for(&mut rig, 1000, |_| MUTE), if ack == AckMode::Pong { BLAMED } else { LEFT });
    }
}

#[test]
fn without_acks_a_backend_is_not_left_for_silence_alone() {
    let mut rig = Rig::with(|config| (config.ack, config.keepalive) = (AckMode::None, secs(25)));
    rig.client_says("one");
    rig.wait(secs(24));
    let keep = |rig: &mut Rig| rig.client_sends(&super::wire::masked(true, PING, b""));
    keep(&mut rig);
    rig.wait(secs(1));
    let begin = rig.now;
    let mut judgement = Judgement::Stays;
    while judgement == Judgement::Stays {
        judgement = asked(&mut rig, |_| MUTE);
        keep(&mut rig);
    }
    assert_eq!((judgement, rig.now.since(begin)), (LEFT, secs(300)), "the time of a stall");
}

#[test]
fn without_acks_nothing_is_owed_once_it_is_written() {
    let mut rig = Rig::with(|config| config.ack = AckMode::None);
    rig.client_says("one");
    rig.wait(secs(600));
    assert_eq!(rig.notes, NOTHING);
}

#[test]
fn without_acks_nothing_is_owed_also_when_the_driver_sleeps_right_after_its_write() {
    let mut rig = Rig::with(|config| config.ack = AckMode::None);
    for _ in 0..20 {
        rig.session.handle_client(rig.now, &upstream("one"), &mut { u32::MAX });
        rig.round();
        rig.wait(secs(1));
    }
    assert_eq!(rig.upstream().len(), 20);
    assert_eq!(rig.notes, NOTHING, "a backend that reads all and has nothing to say is healthy");
}

#[test]
fn the_timer_stands_still_while_the_client_is_slow() {
    let mut rig = Rig::new();
    rig.client_room = 0;
    rig.client_says("one");
    rig.backend_says(&"x".repeat(300 * 1024));
    assert!(!rig.session.wants_backend(), "the pong would be stuck behind what waits for the client");
    rig.wait(secs(30));
    assert_eq!(rig.take_notes(), NOTHING);
    rig.client_room = usize::MAX;
    rig.pump();
    assert!(rig.session.wants_backend());
    assert_eq!(rig.take_notes(), NOTHING, "the backend is read again, and has its whole time");
    rig.wait(ms(4_999));
    assert_eq!(rig.take_notes(), NOTHING);
    rig.wait(ms(1));
    assert_eq!(rig.take_notes(), [Command::JudgeSilence]);
    assert_eq!(rig.judge(MUTE), Judgement::Stays);
    rig.wait(secs(5));
    assert_eq!(rig.judge(MUTE), BLAMED);
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
    assert_eq!(rig.take_notes(), NOTHING, "its pong may lie in the socket that was not read");
    rig.wait(ms(4_999));
    assert_eq!(rig.take_notes(), NOTHING);
    rig.wait(ms(1));
    assert_eq!(rig.take_notes(), [Command::JudgeSilence]);
    assert_eq!(rig.judge(MUTE), Judgement::Stays);
    rig.wait(secs(5));
    assert_eq!(rig.judge(MUTE), BLAMED);
}

/// A backend that talks and answers no ping, until the driver is asked about it.
fn talks(rig: &mut Rig) {
    rig.client_says("one");
    for _ in 0..299 {
        rig.wait(secs(1));
        rig.backend_says("talk");
    }
    assert_eq!(rig.take_notes(), NOTHING);
    rig.wait(secs(2));
    rig.backend_says("talk");
    assert!(rig.take_notes().iter().any(|told| *told == Command::JudgeFitness));
}

#[test]
fn a_backend_that_talks_and_never_pongs_is_unfit_and_runs_without_acks() {
    let mut rig = Rig::new();
    talks(&mut rig);
    assert!(
        rig.session.unacknowledged() > 0,
        "nothing is let go of before the driver has said what it knows"
    );
    rig.session.set_unfit(rig.now);
    rig.pump();
    assert_eq!(rig.take_notes(), [Event::Unfit]);
    assert_eq!(rig.session.unacknowledged(), 0, "the ring is not blocked for ever");
    rig.client_says("two");
    assert_eq!(rig.session.unacknowledged(), 0);
    assert_eq!(rig.upstream(), ["one", "<ping>", "two"]);
    rig.backend_dies();
    assert_eq!(rig.session.ledger().upstream.lost, 2, "whether it had them, nobody knows");
    rig.link_next();
    rig.client_says("three");
    assert_eq!(rig.upstream(), ["three", "<ping>"], "the next backend may answer pings");
    rig.backend_pongs();
    let upstream = rig.session.ledger().upstream;
    assert_eq!(
        (upstream.forwarded, upstream.acknowledged, upstream.lost),
        (3, 1, 2),
        "and what was lost stays so"
    );
}

#[test]
fn one_whose_pool_answers_pings_is_fit_however_long_it_streams() {
    let mut rig = Rig::new();
    talks(&mut rig);
    rig.session.set_fit();
    for _ in 0..1000 {
        rig.wait(secs(1));
        rig.backend_says("talk");
    }
    assert_eq!(rig.take_notes(), NOTHING);
    rig.session.set_unfit(rig.now);
    assert!(rig.session.unacknowledged() > 0, "nothing is let go of");
}

#[test]
fn the_first_pong_makes_a_backend_fit_and_is_told_once() {
    let mut rig = Rig::new();
    rig.client_says("one");
    assert!(!rig.fit);
    rig.backend_pongs();
    assert!(std::mem::take(&mut rig.fit));
    rig.client_says("two");
    rig.backend_pongs();
    assert!(!rig.fit);
}

#[test]
fn a_late_pong_is_told_with_its_time() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.wait(ms(2_500));
    rig.backend_pongs();
    rig.client_says("two");
    rig.wait(ms(2_501));
    rig.backend_pongs();
    assert_eq!(rig.take_notes(), [Event::SlowPong(ms(2_501))], "more than a quarter of its time");
}

#[test]
fn an_unfit_backend_owes_no_pong_and_is_not_silent_without_one() {
    let mut rig = Rig::with(|config| config.keepalive = secs(25));
    let talk = |rig: &mut Rig| rig.client_sends(&super::wire::masked(true, PING, b""));
    rig.client_says("one");
    for _ in 0..302 {
        rig.wait(secs(1));
        rig.backend_says("talk");
        talk(&mut rig);
    }
    assert!(rig.take_notes().iter().any(|told| *told == Command::JudgeFitness));
    rig.session.set_unfit(rig.now);
    rig.pump();
    rig.take_notes();
    for _ in 0..10 {
        rig.wait(secs(10));
        talk(&mut rig);
    }
    assert_eq!(rig.take_notes(), NOTHING, "it never answers pings, so its silence means nothing");
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
    assert_eq!(rig.take_notes(), NOTHING, "it could not answer what it has not got");
    rig.backend_dies();
    rig.backend_room = usize::MAX;
    rig.link_next();
    assert_eq!(rig.upstream(), ["one", "<ping>"]);
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
    assert_eq!(rig.take_notes(), [Event::SlowPong(secs(9))]);
    assert_eq!(rig.upstream(), ["one", "<ping>", "two", "<ping>"]);
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
    assert_eq!(rig.take_notes(), NOTHING, "it does not never pong");
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
    assert_eq!(rig.upstream(), [""; 0]);
    idle(&mut rig, 2);
    assert_eq!(rig.upstream(), ["<ping>"]);
    rig.backend_pongs();
    idle(&mut rig, 26);
    assert_eq!(rig.upstream(), ["<ping>"], "each time anew");
    idle(&mut rig, 5);
    assert_eq!(rig.take_notes(), [Command::JudgeSilence]);
}

#[test]
fn a_backend_that_talks_is_not_pinged_for_keepalive() {
    let mut rig = Rig::with(|config| config.keepalive = secs(25));
    for _ in 0..10 {
        rig.wait(secs(20));
        rig.backend_says("talk");
        rig.client_sends(&super::wire::masked(true, PING, b""));
    }
    assert_eq!(rig.upstream(), [""; 0]);
}

#[test]
fn a_new_backend_has_its_whole_time() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.wait(secs(9));
    rig.backend_dies();
    rig.link_next();
    rig.take_notes();
    rig.wait(ms(4_999));
    assert!(!rig.take_notes().iter().any(|told| *told == Command::JudgeSilence));
    rig.wait(ms(1));
    assert_eq!(rig.take_notes(), [Command::JudgeSilence]);
}
