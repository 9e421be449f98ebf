//! From nothing to a welcome, and the ways in which an attempt fails.

use super::rig::{Rig, SESSION, ms, secs};
use crate::steadfast_v1::client::{Cause, Command, End, Event, Loss};
use crate::steadfast_v1::client_wire::Reason;

#[test]
fn the_first_attempt_comes_at_once_and_leads_to_a_session() {
    let mut rig = Rig::new();
    assert_eq!(rig.connect(), ["steadfast.v1"]);
    assert!(!rig.client.is_open());
    assert_eq!(rig.written(), [""; 0], "nothing before the welcome");
    rig.welcome_fresh(SESSION, Reason::New);
    assert_eq!(rig.events(), [Event::Fresh { reason: Reason::New, unknown: None }]);
    assert!(rig.client.is_open());
    assert_eq!((rig.client.session(), rig.client.window()), (Some(SESSION), Some(secs(120))));
    assert_eq!(rig.written(), ["a 0"], "it confirms the token");
}

#[test]
fn the_applications_protocols_are_offered_in_both_forms() {
    let mut rig = Rig::with(|config| config.protocols = vec!["chat.v2".into(), "chat.v1".into()]);
    assert_eq!(rig.dial(), ["steadfast.v1+chat.v2", "steadfast.v1+chat.v1", "chat.v2", "chat.v1"]);
    rig.client.handle_connected(rig.now, Some("steadfast.v1+chat.v1"));
    assert_eq!(rig.client.protocol(), Some("chat.v1"));
    rig.welcome_fresh(SESSION, Reason::New);
    assert!(rig.client.is_open());
}

#[test]
fn a_server_without_our_protocol_is_left() {
    for answer in [None, Some("chat"), Some("steadfast.v1"), Some("steadfast.v2+chat")] {
        let mut rig = Rig::with(|config| config.protocols = vec!["chat".into()]);
        rig.dial();
        rig.client.handle_connected(rig.now, answer);
        assert_eq!(rig.command(), Some(Command::Abandon { close: None }), "{answer:?}");
        assert_eq!(rig.events(), [Event::Lost(Loss::Incompatible)]);
        rig.dial();
    }
}

#[test]
fn attempts_that_fail_are_repeated_after_a_growing_wait() {
    let mut rig = Rig::new();
    let mut waits = Vec::new();
    for attempt in 1..=4 {
        let before = rig.now;
        rig.client.advance(rig.now, &mut || 0);
        rig.now = rig.client.poll_timeout().expect("an attempt");
        waits.push(rig.now.since(before));
        match rig.command() {
            Some(Command::Connect { attempt: counted, .. }) => assert_eq!(counted, attempt),
            other => panic!("a command to connect, not {other:?}"),
        }
        rig.client.handle_connect_failed(rig.now);
        assert_eq!(rig.events(), [Event::Lost(Loss::Unreachable)]);
    }
    assert_eq!(waits, [ms(0), ms(50), ms(100), ms(200)]);
}

#[test]
fn the_wait_is_not_over_before_its_time() {
    let mut rig = Rig::new();
    rig.dial();
    rig.client.handle_connect_failed(rig.now);
    assert_eq!(rig.command(), None);
    rig.wait(ms(49));
    assert_eq!(rig.client.poll_command(rig.now), None);
    rig.wait(ms(1));
    assert!(matches!(rig.client.poll_command(rig.now), Some(Command::Connect { .. })));
}

#[test]
fn an_attempt_that_takes_too_long_is_given_up() {
    let mut rig = Rig::new();
    rig.dial();
    assert_eq!(rig.client.poll_timeout(), Some(rig.now + secs(10)));
    rig.wait(secs(10));
    assert_eq!(rig.command(), Some(Command::Abandon { close: None }));
    assert_eq!(rig.events(), [Event::Lost(Loss::Timeout)]);
    rig.client.handle_connected(rig.now, Some("steadfast.v1"));
    assert_eq!(rig.client.handle_message(rig.now, true, b"mlate"), None, "of the one that was given up");
    rig.dial();
}

#[test]
fn a_welcome_that_does_not_come_is_not_waited_for() {
    let mut rig = Rig::new();
    rig.connect();
    rig.wait(secs(10));
    assert_eq!(rig.command(), Some(Command::Abandon { close: None }));
    assert_eq!(rig.events(), [Event::Lost(Loss::Timeout)]);
}

#[test]
fn a_connection_that_lasts_makes_attempts_count_anew() {
    for (lasts, expected) in [(secs(10), 1), (ms(9999), 2)] {
        let mut rig = Rig::open();
        for _ in 0..10 {
            rig.client.handle_alive(rig.now);
            rig.wait(lasts / 10);
        }
        rig.cut();
        rig.wait(ms(0));
        rig.now = rig.client.poll_timeout().expect("an attempt");
        match rig.command() {
            Some(Command::Connect { attempt, .. }) => assert_eq!(attempt, expected),
            other => panic!("a command to connect, not {other:?}"),
        }
    }
}

#[test]
fn without_a_connection_for_long_it_gives_up() {
    let mut rig = Rig::with(|config| config.give_up = secs(15));
    let id = rig.send("never");
    rig.dial();
    rig.wait(secs(10));
    rig.events();
    assert_eq!(rig.command(), Some(Command::Abandon { close: None }));
    rig.dial();
    rig.wait(secs(5));
    let end = End { cause: Cause::GaveUp, unknown: None, unsent: Some(id..=id) };
    assert_eq!(rig.events(), [Event::Closed(end)]);
    assert_eq!(rig.command(), Some(Command::Abandon { close: None }));
    assert_eq!((rig.command(), rig.client.poll_timeout()), (None, None));
}

#[test]
fn being_connected_is_not_being_apart() {
    let mut rig = Rig::with(|config| {
        config.give_up = secs(15);
        config.silence = secs(60);
    });
    rig.connect();
    rig.welcome_fresh(SESSION, Reason::New);
    rig.wait(secs(20));
    assert!(rig.client.is_open());
    rig.cut();
    rig.events();
    rig.wait(secs(14));
    assert!(!rig.client.is_over());
    rig.wait(secs(1));
    assert!(rig.client.is_over());
}
