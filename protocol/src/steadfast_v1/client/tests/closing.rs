//! The application's goodbye, and the broker's.

use super::rig::{Rig, secs};
use crate::steadfast_v1::client::{Cause, Command, End, Event, SendError};
use crate::steadfast_v1::client_wire::Reason;
use crate::websocket::close_code::CloseCode;

fn close() -> Option<Command> {
    Some(Command::Close { code: CloseCode(1000), reason: "done".into() })
}

fn asked() -> Event {
    Event::Closed(End { cause: Cause::Asked, unknown: None, unsent: None })
}

#[test]
fn a_goodbye_follows_what_was_sent() {
    let mut rig = Rig::open();
    rig.send("last");
    rig.client.close(rig.now, CloseCode(1000), "done");
    assert_eq!(rig.client.send(true, b"more"), Err(SendError::Closed));
    assert_eq!(rig.command(), None, "there is something to write yet");
    assert_eq!(rig.written(), ["mlast"]);
    assert_eq!((rig.command(), rig.command()), (close(), None));
    assert_eq!(rig.hear("manswer"), Some(1), "it is read on");
    assert_eq!(rig.written(), [""; 0], "nothing follows a Close");
    rig.hear("a 1 1");
    rig.closed(1000, "done");
    assert_eq!(rig.events(), [Event::Progress { received: 1, committed: 1 }, asked()]);
    assert!(rig.client.is_over());
}

#[test]
fn the_end_tells_what_is_unknown() {
    let mut rig = Rig::open();
    rig.send("last");
    rig.client.close(rig.now, CloseCode(1000), "done");
    rig.written();
    rig.command();
    rig.closed(1000, "done");
    let end = End { cause: Cause::Asked, unknown: Some(1..=1), unsent: None };
    assert_eq!(rig.events(), [Event::Closed(end)]);
}

#[test]
fn a_goodbye_that_was_cut_off_is_said_again_while_something_is_missing() {
    let mut rig = Rig::open();
    rig.send("last");
    rig.client.close(rig.now, CloseCode(1000), "done");
    rig.written();
    assert_eq!(rig.command(), close());
    rig.cut();
    rig.connect();
    rig.welcome_resumed(0, 0);
    assert_eq!((rig.written(), rig.command()), (vec!["a 0".to_owned(), "mlast".to_owned()], close()));
    rig.hear("a 1 0");
    rig.cut();
    assert!(rig.client.is_over(), "nothing is missing now");
}

#[test]
fn a_session_that_has_ended_meanwhile_is_not_told_twice() {
    let mut rig = Rig::open();
    rig.send("last");
    rig.client.close(rig.now, CloseCode(1000), "done");
    rig.written();
    rig.command();
    rig.cut();
    rig.connect();
    rig.events();
    rig.welcome_fresh([2; 16], Reason::Unknown);
    assert_eq!(rig.written(), ["a 0"]);
    assert_eq!(rig.command(), close());
    rig.closed(1000, "done");
    assert_eq!(rig.events(), [Event::Fresh { reason: Reason::Unknown, unknown: Some(1..=1) }, asked()]);
}

#[test]
fn while_nobody_is_connected_it_is_delivered_first() {
    let mut rig = Rig::open();
    rig.cut();
    rig.send("last");
    rig.client.close(rig.now, CloseCode(1000), "done");
    rig.connect();
    rig.welcome_resumed(0, 0);
    assert_eq!((rig.written(), rig.command()), (vec!["a 0".to_owned(), "mlast".to_owned()], close()));
}

#[test]
fn without_a_session_there_is_nobody_to_tell() {
    let mut rig = Rig::new();
    rig.dial();
    rig.client.close(rig.now, CloseCode(1000), "done");
    assert_eq!(rig.command(), Some(Command::Abandon { close: None }));
    assert_eq!(rig.events(), [asked()]);
    let mut rig = Rig::new();
    rig.client.close(rig.now, CloseCode(1000), "done");
    assert_eq!((rig.command(), rig.events()), (None, vec![asked()]));
}

#[test]
fn a_goodbye_does_not_take_for_ever() {
    let mut rig = Rig::open();
    rig.send("last");
    rig.client.close(rig.now, CloseCode(1000), "done");
    rig.written();
    rig.command();
    assert_eq!(rig.client.poll_timeout(), Some(rig.now + secs(10)));
    rig.wait(secs(10));
    assert_eq!(rig.command(), Some(Command::Abandon { close: None }));
    let end = End { cause: Cause::Asked, unknown: Some(1..=1), unsent: None };
    assert_eq!(rig.events(), [Event::Closed(end)]);
}

#[test]
fn other_closes_of_the_broker_are_final() {
    for code in [1000, 1005, 1008, 1009, 1011, 4000, 4400] {
        let mut rig = Rig::open();
        rig.send("one");
        rig.written();
        rig.send("two");
        rig.closed(code, "because");
        let cause = Cause::Closed { code: CloseCode(code), reason: "because".into() };
        let end = End { cause, unknown: Some(1..=1), unsent: Some(2..=2) };
        assert_eq!(rig.events(), [Event::Closed(end)]);
        assert_eq!((rig.command(), rig.client.poll_timeout()), (None, None));
        assert_eq!(rig.client.send(true, b"more"), Err(SendError::Closed));
    }
}

#[test]
fn a_reason_is_cut_between_two_characters() {
    let mut rig = Rig::open();
    rig.client.close(rig.now, CloseCode(1000), &"ä".repeat(100));
    match rig.command() {
        Some(Command::Close { reason, .. }) => assert_eq!(reason, "ä".repeat(61)),
        other => panic!("a Close, not {other:?}"),
    }
}
