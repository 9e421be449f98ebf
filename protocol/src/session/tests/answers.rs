//! A planned move while an answer seems to be out: how long it is waited for, and what is in doubt when it has not come.

use super::planned::{GOING_AWAY, ended, outcomes, sets_out};
use super::rig::{Rig, ms, secs};
use crate::session::{Config, MoveOutcome, Status};

/// A session whose service answers at once, and is then asked these questions, which it reads.
fn asked_with(questions: &[&str], change: impl FnOnce(&mut Config)) -> Rig {
    let mut rig = Rig::with(change);
    for question in ["first", "second"] {
        rig.client_says(question);
        rig.backend_pongs();
        rig.wait(ms(10));
        rig.backend_says("answer");
    }
    for question in questions {
        rig.client_says(question);
    }
    rig.backend_pongs();
    sets_out(&mut rig);
    rig.upstream();
    rig
}

fn asked(questions: &[&str]) -> Rig {
    asked_with(questions, |_| {})
}

/// How many messages are in doubt once the session, which has said goodbye, has gone on.
fn left_in_doubt(mut rig: Rig) -> u64 {
    rig.backend_closes(1001, "");
    assert_eq!((outcomes(&mut rig), rig.links.len()), (vec![ended(MoveOutcome::Moved { forced: false })], 2));
    rig.session.ledger().upstream.in_doubt
}

/// The same, of one that waits as long as it may for an answer.
fn left_late(mut rig: Rig) -> u64 {
    rig.wait(ms(1990));
    assert_eq!(rig.upstream(), [""; 0]);
    rig.wait(ms(20));
    assert_eq!(rig.upstream(), [GOING_AWAY]);
    left_in_doubt(rig)
}

#[test]
fn an_answer_that_takes_longer_than_those_before_is_waited_for() {
    let mut rig = asked(&["slow"]);
    rig.wait(ms(1900));
    assert_eq!(rig.upstream(), [""; 0]);
    rig.backend_says("a slow answer");
    rig.wait(ms(1990));
    assert_eq!(rig.upstream(), [""; 0], "the next one may be as slow");
    rig.wait(ms(10));
    assert_eq!(rig.upstream(), [GOING_AWAY]);
    assert_eq!(left_in_doubt(rig), 0);
}

#[test]
fn an_answer_that_does_not_come_in_time_is_in_doubt() {
    let rig = asked(&["slow"]);
    assert_eq!(left_late(rig), 1);
}

#[test]
fn an_answer_among_the_last_words_leaves_no_doubt() {
    let mut rig = asked(&["slow"]);
    rig.wait(ms(2010));
    assert_eq!(rig.upstream(), [GOING_AWAY]);
    rig.backend_says("a slow answer");
    assert_eq!(left_in_doubt(rig), 0);
}

#[test]
fn one_of_several_answers_is_waited_for_though_others_have_come() {
    let mut rig = asked(&["slow", "fast", "fast too"]);
    rig.backend_says("fast");
    rig.backend_says("fast too");
    assert_eq!(left_late(rig), 1);
}

#[test]
fn an_answer_that_was_out_before_the_move_began_is_no_longer_waited_for() {
    let mut rig = asked(&["slow"]);
    rig.session.remain();
    rig.wait(secs(5));
    rig.upstream();
    sets_out(&mut rig);
    rig.wait(ms(500));
    assert_eq!(rig.upstream(), ["<ping>", GOING_AWAY]);
}

#[test]
fn while_messages_are_held_no_answer_is_waited_for_without_end() {
    let mut rig = asked_with(&["slow"; 9], |config| config.patience = ms(100));
    rig.wait(ms(100));
    assert_eq!(rig.session.status(), Status::Holding);
    rig.client_says("held");
    for time in [100, 900, 900] {
        rig.wait(ms(time));
        rig.backend_says("an answer, or something else");
        assert_eq!(rig.upstream(), [""; 0]);
    }
    rig.wait(ms(499));
    assert_eq!(rig.upstream(), [""; 0]);
    rig.wait(ms(1));
    assert_eq!(rig.upstream(), [GOING_AWAY], "the last word is half a second ago, and the hold two and more");
    assert_eq!(left_in_doubt(rig), 6);
}

/// It does not answer each message, so nothing says that an answer is out.
#[test]
fn a_service_that_leaves_messages_unanswered_is_left_as_soon_as_it_is_quiet() {
    let mut rig = Rig::new();
    for n in 0..300 {
        rig.client_says("telemetry");
        rig.backend_pongs();
        rig.wait(ms(100));
        if n % 10 == 0 {
            rig.backend_says("news");
        }
    }
    rig.backend_says("news");
    rig.client_says("telemetry");
    rig.backend_pongs();
    rig.upstream();
    sets_out(&mut rig);
    rig.wait(ms(1500));
    assert_eq!(rig.upstream(), ["<ping>", GOING_AWAY], "news came within a second of telemetry");
    assert_eq!(left_in_doubt(rig), 0);
}
