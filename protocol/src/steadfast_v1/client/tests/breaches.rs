//! A broker that says what it must not is told so and left.

use super::rig::{Rig, SESSION, token};
use crate::steadfast_v1::client::{Breach, Cause, Command, Event};
use crate::steadfast_v1::client_wire::{FromBroker, Reason, Standing, Welcome};
use crate::websocket::close_code::CloseCode;

/// It must be over, because of this.
fn assert_breach(mut rig: Rig, breach: Breach) {
    match rig.events().last() {
        Some(Event::Closed(end)) => assert_eq!(end.cause, Cause::Breach(breach)),
        other => panic!("the end, not {other:?}"),
    }
    match rig.command() {
        Some(Command::Abandon { close: Some((CloseCode(4400), reason)) }) => {
            assert!(reason.starts_with(breach.name()) && reason.len() <= 123, "{reason}");
        }
        other => panic!("a Close with 4400, not {other:?}"),
    }
    assert_eq!(rig.hear("mlate"), None);
}

#[test]
fn messages_that_cannot_be_read() {
    let long = format!("a 0 0 {}", "x".repeat(507));
    for text in ["", "a", "a 1", "a x 0", "apple", "w", "w 1 2 3", &long] {
        let mut rig = Rig::open();
        assert_eq!(rig.hear(text), None);
        assert_breach(rig, Breach::BadFrame);
    }
    let mut rig = Rig::open();
    rig.client.handle_message(rig.now, false, b"a 0 0");
    assert_breach(rig, Breach::BadFrame);
}

#[test]
fn something_before_the_welcome() {
    for text in ["mearly", "a 0 0"] {
        let mut rig = Rig::new();
        rig.connect();
        assert_eq!(rig.hear(text), None);
        assert_breach(rig, Breach::NoWelcome);
    }
}

#[test]
fn a_second_welcome() {
    let mut rig = Rig::open();
    rig.welcome_fresh(SESSION, Reason::New);
    assert_breach(rig, Breach::SecondWelcome);
}

#[test]
fn a_session_that_was_not_asked_for() {
    let mut rig = Rig::new();
    rig.connect();
    rig.welcome_resumed(0, 0);
    assert_breach(rig, Breach::WrongSession);

    let mut rig = Rig::new();
    rig.connect();
    let token = token([2; 16], 1);
    let standing = Standing::Fresh(Reason::New);
    let welcome = Welcome { session: SESSION, token, window_ms: 0, standing };
    rig.hear(&FromBroker::Welcome(welcome).text());
    assert_breach(rig, Breach::WrongSession);
}

#[test]
fn acknowledgements_of_what_was_not_sent() {
    let mut rig = Rig::open();
    rig.send("one");
    rig.hear("a 1 0");
    assert_breach(rig, Breach::FutureAck);

    let mut rig = Rig::open();
    rig.send("one");
    rig.written();
    rig.cut();
    rig.connect();
    rig.welcome_resumed(2, 0);
    assert_breach(rig, Breach::FutureAck);
}

#[test]
fn acknowledgements_that_go_backwards() {
    let mut rig = Rig::open();
    rig.send("one");
    rig.written();
    rig.hear("a 1 0");
    rig.cut();
    rig.connect();
    rig.welcome_resumed(0, 0);
    assert_breach(rig, Breach::BackwardAck);
}
