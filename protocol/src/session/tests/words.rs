//! Whose word a client gets when no backend keeps its session.

use super::rig::{Rig, Told, secs};
use crate::session::{DialFailure, EndCause, Event, Failure, Move};
use crate::websocket::close_code::CloseCode;

/// The session fails on one backend after the other, until its client is told something. `fail` fails the n-th.
fn told(rig: &mut Rig, fail: impl Fn(&mut Rig, u32)) -> String {
    rig.client_says("a message");
    for n in 0..20 {
        fail(rig, n);
        rig.link_next_if_wanted();
        if let Some(close) = rig.downstream().pop() {
            return close;
        }
        if rig.upstream() == ["<ping>"] {
            rig.backend_pongs();
        }
    }
    panic!("twenty failures and no end");
}

fn ended(rig: &mut Rig) -> Option<(EndCause, Option<CloseCode>)> {
    rig.client_closes(1000, "");
    rig.session.ended().map(|end| (end.cause, end.code))
}

#[test]
fn when_every_backend_says_close_the_client_gets_the_last_ones_code_and_reason() {
    let mut rig = Rig::new();
    let close = told(&mut rig, |rig, n| rig.backend_closes(1011, &format!("invalid input, {n}")));
    assert_eq!(close, "<close 1011 invalid input, 2>", "the third convicts");
    assert!(
        rig.notes.iter().any(|note| matches!(note, Told::Event(Event::Poison { seq: 1, .. }))),
        "it is told all the same"
    );
    assert_eq!(ended(&mut rig), Some((EndCause::Poison, Some(CloseCode(1011)))));
}

#[test]
fn a_code_of_the_applications_own_is_passed_on_too() {
    let mut rig = Rig::with(|config| config.failure_codes.push(CloseCode(4500)));
    assert_eq!(told(&mut rig, |rig, _| rig.backend_closes(4500, "mine")), "<close 4500 mine>");
    assert_eq!(ended(&mut rig), Some((EndCause::Poison, Some(CloseCode(4500)))));
}

#[test]
fn deaths_without_a_word_are_the_brokers_to_explain() {
    let mut rig = Rig::new();
    let close = told(&mut rig, |rig, _| rig.backend_dies());
    assert_eq!(close, "<close 1011 a message fails every backend>");
}

#[test]
fn where_some_have_said_close_and_some_have_died_it_may_be_tried_again() {
    let mut rig = Rig::new();
    let close = told(&mut rig, |rig, n| match n % 2 {
        0 => rig.backend_closes(1011, "invalid input"),
        _ => rig.backend_dies(),
    });
    assert_eq!(close, "<close 1013 no backend can go on with the session>");
    assert_eq!(ended(&mut rig), Some((EndCause::Poison, Some(CloseCode(1013)))));
}

#[test]
fn past_the_deadline_their_word_counts_as_well() {
    let mut rig = Rig::new();
    let close = told(&mut rig, |rig, n| {
        rig.wait(secs(4));
        rig.backend_closes(1013, &format!("overloaded, {n}"));
    });
    assert_eq!(close.get(..23), Some("<close 1013 overloaded,"), "{close}");
    assert_eq!(ended(&mut rig).map(|end| end.0), Some(EndCause::Deadline));
}

#[test]
fn a_backend_that_cannot_be_reached_has_said_nothing() {
    let mut rig = Rig::new();
    rig.backend_closes(1012, "restart");
    while rig.downstream().is_empty() {
        rig.fail_dial(DialFailure::Unreachable);
        let wait = rig.session.poll_timeout().map(|at| at.since(rig.now));
        rig.wait(wait.expect("something is to come"));
        if rig.client.bytes.first() == Some(&0x88) {
            break;
        }
    }
    assert_eq!(ended(&mut rig), Some((EndCause::Deadline, Some(CloseCode(1013)))));
}

#[test]
fn a_backend_that_is_left_by_plan_has_said_nothing() {
    let mut rig = Rig::with(|config| config.break_before_make = true);
    assert!(rig.session.relocate(rig.now, Move { ticket: 7, force_at: None }));
    rig.pump();
    rig.backend_pongs();
    rig.wait(secs(1));
    rig.backend_closes(1001, "");
    rig.link_next();
    let close = told(&mut rig, |rig, _| rig.backend_closes(1011, "invalid input"));
    assert_eq!(close, "<close 1011 invalid input>");
}

#[test]
fn an_episode_that_is_over_says_nothing_any_more() {
    let mut rig = Rig::with(|config| config.deadline = secs(20));
    rig.backend_closes(1011, "long ago");
    rig.link_next();
    rig.wait(secs(6));
    rig.backend_fails(Failure::Eof);
    rig.dial();
    rig.wait(secs(30));
    assert!(rig.downstream()[0].starts_with("<close 1013 no backend in time"));
}

#[test]
fn a_session_that_is_blamed_ends_with_what_the_last_backend_has_said() {
    let mut rig = Rig::new();
    rig.client_says("a message");
    rig.backend_closes(1012, "one");
    rig.link_next();
    rig.backend_closes(1012, "two");
    rig.dial();
    rig.session.handle_blamed(rig.now);
    rig.pump();
    assert_eq!(rig.downstream(), ["<close 1012 two>"]);
    assert_eq!(ended(&mut rig), Some((EndCause::Poison, Some(CloseCode::SERVICE_RESTART))));
}

#[test]
fn who_has_a_backend_is_not_blamed() {
    let mut rig = Rig::new();
    rig.client_says("a message");
    rig.session.handle_blamed(rig.now);
    rig.pump();
    assert_eq!((rig.downstream(), rig.session.ended()), (Vec::new(), None));
}
