//! Clients that come back and speak as any other: what a pong of theirs proves they have.

use super::*;

fn plain_client(ack: AckMode) -> Rig {
    let mut rig = open(ClientKind::Returning, |config| (config.ack, config.keepalive) = (ack, secs(25)));
    rig.upstream();
    assert_eq!(rig.downstream(), [""; 0], "nothing but what the application says");
    rig
}

/// Before a plain backend, and before a service.
fn each() -> [Rig; 2] {
    [AckMode::Pong, AckMode::Shim].map(plain_client)
}

/// The client answers every ping that it has got.
fn pongs(rig: &mut Rig) {
    let pings = std::mem::take(&mut rig.client.pings);
    assert!(!pings.is_empty(), "there is no ping to answer");
    pings.iter().for_each(|nonce| rig.client_sends(&masked(true, PONG, nonce)));
}

fn comes_back_plainly(rig: &mut Rig) {
    assert_eq!(rig.client_back(None, 0), Ok(()));
}

#[test]
fn it_speaks_as_any_other() {
    for mut rig in each() {
        rig.client_says("m is no kind here");
        rig.client_says("");
        answers(&mut rig, "answer");
        assert_eq!(got(&mut rig), ["m is no kind here", ""]);
        assert_eq!(rig.downstream(), ["answer", "<ping>"]);
    }
}

#[test]
fn a_pong_proves_what_was_sent_before_its_ping() {
    for mut rig in each() {
        answers(&mut rig, "1");
        answers(&mut rig, "2");
        assert_eq!(rig.downstream(), ["1", "<ping>", "2"], "one ping at a time");
        let kept = rig.session.buffered();
        rig.client_sends(&masked(true, PONG, b"unasked"));
        assert_eq!(rig.session.buffered(), kept);
        pongs(&mut rig);
        assert_eq!((rig.session.buffered(), rig.downstream()), (3, vec!["<ping>".to_owned()]));
        pongs(&mut rig);
        assert_eq!((rig.session.buffered(), rig.downstream()), (0, vec![]));
    }
}

#[test]
fn what_no_pong_has_proved_comes_again() {
    for mut rig in each() {
        answers(&mut rig, "1");
        pongs(&mut rig);
        answers(&mut rig, "2");
        answers(&mut rig, "3");
        rig.downstream();
        rig.client_goes();
        assert_eq!(rig.session.status(), Status::Detached);
        answers(&mut rig, "4");
        comes_back_plainly(&mut rig);
        assert_eq!(rig.downstream(), ["2", "3", "4", "<ping>"]);
        pongs(&mut rig);
        assert_eq!(rig.session.buffered(), 0);
    }
}

#[test]
fn a_pong_to_a_ping_of_another_connection_proves_nothing() {
    for mut rig in each() {
        answers(&mut rig, "1");
        let old = rig.client.pings.pop_front().expect("a ping");
        rig.client_goes();
        rig.session.handle_client_back(rig.now, None, [0; 32]).expect("it may come back");
        rig.clients.push(std::mem::take(&mut rig.client));
        rig.set_client_room(1);
        rig.client_sends(&masked(true, PONG, &old));
        assert!(rig.session.buffered() > 0, "the message is not even written on this one");
        rig.set_client_room(usize::MAX);
        assert_eq!(rig.downstream(), ["1", "<ping>"]);
    }
}

/// A peer may answer the latest ping only (RFC 6455, 5.5.3).
#[test]
fn a_client_that_answers_only_the_latest_ping_proves_it_all_the_same() {
    for mut rig in each() {
        answers(&mut rig, "1");
        rig.wait(secs(25));
        assert_eq!(rig.downstream(), ["1", "<ping>", "<ping>"], "the second one is a keepalive");
        let latest = rig.client.pings.pop_back().expect("a ping");
        rig.client.pings.clear();
        rig.client_sends(&masked(true, PONG, &latest));
        assert_eq!(rig.session.buffered(), 0);
        answers(&mut rig, "2");
        pongs(&mut rig);
        assert_eq!(rig.session.buffered(), 0);
    }
}

#[test]
fn what_it_has_sent_goes_on_and_half_a_message_does_not() {
    for mut rig in each() {
        rig.client_says("one");
        rig.client_sends(&upstream("two")[..8]);
        rig.client_goes();
        comes_back_plainly(&mut rig);
        rig.client_says("three");
        assert_eq!(got(&mut rig), ["one", "three"]);
    }
}

#[test]
fn it_takes_over() {
    for mut rig in each() {
        answers(&mut rig, "1");
        comes_back_plainly(&mut rig);
        assert_eq!(
            rig.clients[0].drain(),
            ["1", "<ping>", "<close 4409 superseded: the session goes on elsewhere>"]
        );
        assert_eq!(rig.downstream(), ["1", "<ping>"]);
        assert_eq!(rig.client_back(Some(&resume(1, 0)), 2), Err(Reason::Unknown), "it has no such token");
    }
}

#[test]
fn a_close_waits_for_it() {
    for mut rig in each() {
        rig.client_goes();
        answers(&mut rig, "1");
        rig.backend_closes(4000, "enough");
        rig.wait(secs(100));
        comes_back_plainly(&mut rig);
        assert_eq!(rig.downstream(), ["1", "<close 4000 enough>"]);
        rig.client_closes(4000, "enough");
        assert!(rig.session.ended().is_some());
        assert!(!rig.session.plainly_resumable());
    }
}

#[test]
fn its_window_ends_too() {
    for mut rig in each() {
        rig.client_goes();
        rig.wait(secs(120));
        assert!(!rig.session.plainly_resumable());
        assert_eq!(rig.session.ended().map(|end| end.cause), Some(EndCause::ResumeExpired));
        assert_eq!(rig.links[0].dropped, Some(Drop::Closed));
    }
}

#[test]
fn its_close_is_final() {
    for mut rig in each() {
        rig.client_closes(1000, "bye");
        assert!(!rig.session.plainly_resumable());
        rig.backend_closes(1000, "bye");
        assert_eq!(rig.downstream(), ["<close 1000 bye>"]);
        assert!(rig.session.ended().is_some());
    }
}

#[test]
fn one_that_proves_nothing_holds_the_backend_up_and_is_away_at_last() {
    let mut rig = open(ClientKind::Returning, |config| config.ring_limit = 1000);
    (0..3).for_each(|_| answers(&mut rig, &"x".repeat(600)));
    assert!(!rig.session.wants_backend());
    rig.wait(secs(60));
    assert_eq!(rig.session.status(), Status::Detached);
    rig.backend_fails(Failure::Eof);
    rig.link_next();
    comes_back_plainly(&mut rig);
    assert_eq!(rig.downstream().len(), 3, "two messages and a ping");
}
