//! How long a failover may take: back-off, the deadline, stability.

use std::time::Duration;

use super::rig::{Rig, ms, secs};
use super::wire::{CONTINUATION, TEXT, masked};
use crate::session::{AckMode, DialFailure, EndCause, SessionEnd, Status};
use crate::websocket::close_code::CloseCode;

/// The waits before each dial, the first one since `rig`'s present time.
fn waits(rig: &mut Rig, dials: usize, mut each: impl FnMut(&mut Rig)) -> Vec<Duration> {
    let mut waits = Vec::new();
    for _ in 0..dials {
        let before = rig.now;
        rig.dial();
        waits.push(rig.now.since(before));
        each(rig);
    }
    waits
}

#[test]
fn the_first_dial_is_due_at_once_but_for_the_jitter() {
    let mut rig = Rig::new();
    rig.backend_dies();
    assert_eq!(rig.dials.len(), 1);
    let mut rig = Rig::with(|config| config.jitter = ms(10));
    rig.backend_dies();
    let before = rig.now;
    rig.dial();
    assert!(rig.now.since(before) <= ms(10));
}

#[test]
fn the_back_off_grows_and_is_bounded() {
    let mut rig = Rig::with(|config| config.deadline = secs(3600));
    rig.backend_dies();
    let fail = |rig: &mut Rig| rig.fail_dial(DialFailure::Unreachable);
    let waits = waits(&mut rig, 20, fail);
    assert_eq!(waits[0], Duration::ZERO);
    assert!(ms(25) <= waits[1] && waits[1] <= ms(50), "{waits:?}");
    for pair in waits[1..7].windows(2) {
        assert!(pair[1] >= pair[0], "each may be twice the one before, less the jitter: {waits:?}");
    }
    for wait in &waits[8..] {
        assert!(secs(1) <= *wait && *wait <= secs(2), "{waits:?}");
    }
}

#[test]
fn the_back_off_grows_also_when_backends_accept_and_then_fail() {
    let mut rig = Rig::with(|config| config.deadline = secs(3600));
    rig.backend_dies();
    let waits = waits(&mut rig, 12, |rig| {
        assert!(rig.link_with(false));
        rig.backend_closes(1013, "try again later");
    });
    assert!(waits[11] >= secs(1), "{waits:?}");
    assert_eq!(rig.downstream(), [""; 0]);
}

#[test]
fn redials_of_one_session_are_bounded_until_its_deadline() {
    let mut rig = Rig::new();
    rig.backend_dies();
    while rig.session.status() != Status::Closing {
        if rig.session.wants_dial() {
            assert!(rig.link_with(false));
            rig.backend_dies();
        } else {
            rig.wait(ms(10));
        }
    }
    assert!(rig.dials.len() < 60, "{} dials in thirty seconds", rig.dials.len());
    assert!(rig.downstream()[0].starts_with("<close 1013"));
}

#[test]
fn past_the_deadline_the_session_ends() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.backend_dies();
    let failed = rig.now;
    while rig.now.since(failed) < secs(29) {
        rig.fail_dial(DialFailure::Unreachable);
    }
    assert_eq!(rig.downstream(), [""; 0]);
    rig.wait(secs(30) - rig.now.since(failed));
    let downstream = rig.downstream();
    assert!(matches!(&downstream[..], [close] if close.starts_with("<close 1013")), "{downstream:?}");
    assert_eq!((rig.session.wants_dial(), rig.session.handle_linked(rig.now, false, 2)), (false, false));
    rig.client_closes(1013, "");
    assert_eq!(
        rig.session.ended(),
        Some(&SessionEnd { cause: EndCause::Deadline, code: Some(CloseCode(1013)) })
    );
    let ledger = rig.session.ledger().upstream;
    assert_eq!((ledger.lost, ledger.acknowledged), (1, 0), "what is lost is counted");
}

#[test]
fn a_dial_that_never_ends_does_not_outlive_the_deadline() {
    let mut rig = Rig::new();
    rig.backend_dies();
    rig.dial();
    rig.wait(secs(30));
    assert!(rig.downstream()[0].starts_with("<close 1013"));
    assert!(!rig.session.wants_dial());
}

#[test]
fn when_all_refuse_the_session_ends() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.backend_dies();
    rig.fail_dial(DialFailure::Refused);
    let downstream = rig.downstream();
    assert!(matches!(&downstream[..], [close] if close.starts_with("<close 1012")), "{downstream:?}");
    rig.client_closes(1012, "");
    assert_eq!(
        rig.session.ended(),
        Some(&SessionEnd { cause: EndCause::Refused, code: Some(CloseCode(1012)) })
    );
    assert_eq!(rig.session.ledger().upstream.lost, 1);
}

#[test]
fn the_episode_ends_when_the_replay_is_acknowledged_and_the_backend_has_lasted() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.backend_dies();
    rig.link_next();
    rig.wait(secs(4));
    rig.backend_pongs();
    assert_eq!(rig.session.status(), Status::Settling);
    rig.wait(secs(1));
    assert_eq!(rig.session.status(), Status::Relaying, "stable counts from the link, not from the pong");
    rig.wait(secs(60));
    rig.backend_dies();
    rig.dial();
    let failed = rig.now;
    rig.wait(secs(29));
    assert!(rig.session.wants_dial(), "a new failure has a deadline of its own");
    rig.wait(secs(1));
    assert_eq!(rig.now.since(failed), secs(30));
    assert!(!rig.session.wants_dial());
}

#[test]
fn a_failure_before_that_belongs_to_the_same_episode() {
    let mut rig = Rig::new();
    rig.backend_dies();
    rig.link_next();
    rig.wait(ms(4900));
    rig.backend_dies();
    rig.dial();
    rig.wait(secs(26));
    assert!(rig.downstream()[0].starts_with("<close 1013"), "the deadline runs from the first failure");
}

#[test]
fn a_replay_that_is_not_acknowledged_by_the_deadline_ends_the_session_without_a_spin() {
    let mut rig = Rig::with(|config| config.ack_timeout = secs(100));
    rig.client_says("one");
    rig.backend_dies();
    rig.link_next();
    rig.wait(secs(31));
    assert_eq!(rig.upstream(), ["one", "<ping>", "<close 1013 no backend in time>"]);
    assert!(rig.downstream()[0].starts_with("<close 1013"));
    rig.wait(secs(60));
    assert_eq!(rig.session.ended().map(|end| end.cause), Some(EndCause::Deadline));
}

#[test]
fn the_replay_counts_as_unacknowledged_also_when_a_backend_before_got_none_of_it() {
    let mut rig = Rig::with(|config| config.ack_timeout = secs(100));
    rig.client_says("one");
    rig.backend_dies();
    rig.dial();
    rig.backend_room = 0;
    assert!(rig.link_with(false));
    rig.backend_dies();
    rig.backend_room = usize::MAX;
    rig.link_next();
    assert_eq!(rig.upstream(), ["one", "<ping>"]);
    assert_eq!(rig.session.status(), Status::Replaying);
    rig.wait(secs(31));
    assert!(rig.downstream()[0].starts_with("<close 1013"), "it was never acknowledged");
}

#[test]
fn a_client_that_takes_its_time_with_a_message_does_not_miss_the_deadline() {
    let mut rig = Rig::new();
    rig.client_sends(&masked(false, TEXT, b"begun, "));
    rig.backend_dies();
    rig.link_next();
    rig.wait(secs(40));
    rig.client_sends(&masked(true, CONTINUATION, b"ended"));
    assert_eq!(rig.downstream(), [""; 0], "the backend has all that there is, and works");
    assert_eq!(rig.upstream(), ["begun, ended", "<ping>"]);
}

#[test]
fn without_acks_there_is_nothing_to_acknowledge() {
    let mut rig = Rig::with(|config| config.ack = AckMode::None);
    rig.backend_dies();
    rig.client_says("one");
    rig.link_next();
    assert_eq!(rig.session.status(), Status::Settling);
    rig.wait(secs(60));
    assert_eq!((rig.session.status(), rig.downstream().len()), (Status::Relaying, 0));
}
