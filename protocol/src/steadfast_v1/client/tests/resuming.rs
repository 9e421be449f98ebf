//! Connections that end, and what the next one goes on with.

use super::rig::{Rig, SESSION, secs, token};
use crate::steadfast_v1::client::{Cause, Event, Fate, Loss};
use crate::steadfast_v1::client_wire::Reason;
use crate::websocket::close_code::CloseCode;

fn resume_of(secret: u8, last: u64) -> String {
    format!("steadfast.resume.{}.{last}", token(SESSION, secret).text())
}

#[test]
fn a_session_goes_on_where_both_sides_stopped() {
    let mut rig = Rig::open();
    rig.hear("mdown one");
    for text in ["one", "two", "three"] {
        rig.send(text);
    }
    assert_eq!(rig.written(), ["a 1", "mone", "mtwo", "mthree"]);
    rig.hear("mdown two");
    rig.cut();
    assert_eq!(rig.events(), [Event::Lost(Loss::Ended)]);
    rig.send("four");
    assert_eq!(rig.connect(), ["steadfast.v1".to_owned(), resume_of(1, 2)]);
    assert_eq!(rig.written(), [""; 0]);
    rig.welcome_resumed(2, 1);
    assert_eq!(rig.events(), [Event::Resumed, Event::Progress { received: 2, committed: 1 }]);
    assert_eq!(rig.written(), ["a 2", "mthree", "mfour"]);
    assert_eq!(rig.hear("mdown three"), Some(3));
}

#[test]
fn the_latest_welcome_that_was_read_counts() {
    let mut rig = Rig::open();
    rig.cut();
    rig.connect();
    rig.cut();
    assert_eq!(rig.connect()[1], resume_of(1, 0), "the second welcome was lost");
    rig.welcome_resumed(0, 0);
    rig.cut();
    assert_eq!(rig.connect()[1], resume_of(2, 0));
}

#[test]
fn an_acknowledgement_that_was_lost_is_said_again() {
    let mut rig = Rig::open();
    rig.hear("mone");
    rig.cut();
    assert_eq!(rig.connect()[1], resume_of(1, 1));
    rig.welcome_resumed(0, 0);
    assert_eq!(rig.written(), ["a 1"]);
}

#[test]
fn after_some_closes_a_client_comes_back() {
    for code in [1001, 1012, 1013, 4401] {
        let mut rig = Rig::open();
        rig.closed(code, "");
        assert_eq!(rig.events(), [Event::Lost(Loss::Closed(CloseCode(code)))]);
        assert_eq!(rig.connect()[1], resume_of(1, 0));
    }
}

#[test]
fn a_refused_resume_is_a_fresh_session_and_says_what_is_unknown() {
    let mut rig = Rig::open();
    for text in ["committed", "received", "written"] {
        rig.send(text);
    }
    rig.written();
    rig.hear("a 2 1");
    rig.hear("mdown one");
    rig.cut();
    let late = rig.send("not written");
    rig.connect();
    rig.events();
    rig.welcome_fresh([2; 16], Reason::Unknown);
    assert_eq!(rig.events(), [Event::Fresh { reason: Reason::Unknown, unknown: Some(2..=3) }]);
    assert_eq!(rig.client.session(), Some([2; 16]));
    let fates: Vec<_> = (1..=4).filter_map(|id| rig.client.fate(id)).collect();
    assert_eq!(fates, [Fate::Committed, Fate::Unknown, Fate::Unknown, Fate::Kept]);
    assert_eq!(rig.written(), ["a 0", "mnot written"], "both directions begin anew");
    assert_eq!(rig.hear("mdown"), Some(1));
    rig.hear("a 1 1");
    assert_eq!(rig.events(), [Event::Progress { received: late, committed: late }]);
}

#[test]
fn every_reason_is_told() {
    for reason in [Reason::New, Reason::Unknown, Reason::Stale, Reason::Seq] {
        let mut rig = Rig::open();
        rig.cut();
        rig.connect();
        rig.events();
        rig.welcome_fresh([2; 16], reason);
        assert_eq!(rig.events(), [Event::Fresh { reason, unknown: None }]);
    }
}

#[test]
fn messages_of_a_connection_that_was_never_welcomed_are_not_unknown() {
    let mut rig = Rig::new();
    rig.send("one");
    rig.connect();
    rig.cut();
    rig.connect();
    rig.events();
    rig.welcome_fresh(SESSION, Reason::New);
    assert_eq!(rig.events(), [Event::Fresh { reason: Reason::New, unknown: None }]);
    assert_eq!(rig.written(), ["a 0", "mone"]);
}

#[test]
fn superseded_is_final() {
    let mut rig = Rig::open();
    rig.closed(4409, "superseded");
    match &rig.events()[..] {
        [Event::Closed(end)] => {
            assert!(end.cause.is_superseded());
            assert_eq!(end.cause, Cause::Closed { code: CloseCode(4409), reason: "superseded".into() });
        }
        other => panic!("the end, not {other:?}"),
    }
    assert_eq!((rig.command(), rig.client.is_over()), (None, true));
}

#[test]
fn superseded_by_an_attempt_of_its_own_is_not() {
    let mut rig = Rig::open();
    rig.cut();
    rig.dial();
    rig.wait(secs(10));
    rig.command();
    rig.connect();
    rig.welcome_resumed(0, 0);
    rig.closed(4409, "superseded");
    assert_eq!(rig.events().last(), Some(&Event::Lost(Loss::Closed(CloseCode(4409)))));
    rig.connect();
    rig.welcome_resumed(0, 0);
    rig.closed(4409, "superseded");
    assert!(rig.client.is_over(), "the second time it is somebody else");
}

#[test]
fn as_many_attempts_of_its_own_as_there_were_may_supersede_it() {
    let mut rig = Rig::open();
    rig.cut();
    for _ in 0..2 {
        rig.dial();
        rig.wait(secs(10));
        rig.command();
    }
    for _ in 0..2 {
        rig.connect();
        rig.welcome_resumed(0, 0);
        rig.wait(secs(15));
        rig.closed(4409, "superseded");
        assert!(!rig.client.is_over());
    }
    rig.connect();
    rig.closed(4409, "superseded");
    assert!(rig.client.is_over(), "the third time it is somebody else");
}

/// The `a` that is heard, and whether it proves that the broker has read something of this connection.
fn superseded_after(heard: &str) -> bool {
    let mut rig = Rig::open();
    rig.send("one");
    rig.written();
    rig.hear("a 1 0");
    rig.cut();
    rig.dial();
    rig.wait(secs(10));
    rig.command();
    rig.connect();
    rig.welcome_resumed(1, 0);
    rig.send("two");
    rig.written();
    rig.hear(heard);
    rig.closed(4409, "superseded");
    rig.client.is_over()
}

#[test]
fn no_attempt_supersedes_a_connection_that_the_broker_has_read() {
    assert!(superseded_after("a 2 0"), "it has a message of this connection's");
    assert!(superseded_after("a 1 0"), "it has a question, and no other reason to say this");
    assert!(!superseded_after("a 1 1"), "that a service commits proves nothing");
}
