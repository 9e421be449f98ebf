//! Clients that have never shown that they know their tokens.

use super::*;

/// A client that was never heard, at a broker that keeps such sessions for 5 seconds.
fn unheard() -> Rig {
    shim_with(|config| config.unproven_window = secs(5))
}

/// How long its session is kept when it goes, in seconds.
fn kept(rig: &mut Rig) -> u64 {
    rig.client_goes();
    let until = rig.session.away_until().expect("it may come back");
    assert_eq!(rig.session.holding().unproven, until.since(rig.now) < secs(120));
    until.since(rig.now).as_secs()
}

#[test]
fn one_that_goes_without_a_word_is_waited_for_for_seconds_only() {
    let mut rig = unheard();
    assert_eq!(kept(&mut rig), 5);
    rig.wait(ms(4999));
    assert_eq!(rig.session.status(), Status::Detached);
    rig.wait(ms(1));
    assert_eq!(rig.session.ended().map(|end| end.cause), Some(EndCause::ResumeExpired));
}

#[test]
fn one_that_has_said_anything_is_waited_for_for_the_whole_window() {
    let mut rig = unheard();
    rig.client_sends(&upstream("a 0"));
    assert_eq!(kept(&mut rig), 120);
}

#[test]
fn one_that_has_shown_its_token_is_too() {
    let mut rig = unheard();
    rig.client_goes();
    rig.wait(secs(4));
    assert_eq!(back(&mut rig, 0), Ok(vec![]));
    assert_eq!(kept(&mut rig), 120);
}

#[test]
fn an_answer_to_a_ping_shows_that_it_has_read_its_welcome() {
    let mut rig = shim_with(|config| (config.unproven_window, config.keepalive) = (secs(5), secs(20)));
    rig.client_sends(&masked(true, PONG, b"unasked"));
    assert_eq!(kept(&mut rig), 5);
    let mut rig = shim_with(|config| (config.unproven_window, config.keepalive) = (secs(5), secs(20)));
    rig.wait(secs(20));
    assert_eq!(heard(&mut rig), ["<ping>"]);
    rig.client_sends(&masked(true, PONG, b""));
    assert_eq!(kept(&mut rig), 120);
}

#[test]
fn a_window_that_is_shorter_still_counts() {
    let kind = ClientKind::Shim { secret: [1; 32], reason: Reason::New };
    let mut rig = open(kind, |config| (config.unproven_window, config.resume_window) = (secs(5), secs(2)));
    rig.client_goes();
    rig.wait(secs(2));
    assert_eq!(rig.session.ended().map(|end| end.cause), Some(EndCause::ResumeExpired));
}

#[test]
fn no_backend_is_dialled_for_one_before_it_is_back() {
    for proves in [false, true] {
        let mut rig = unheard();
        if proves {
            rig.client_sends(&upstream("a 0"));
        }
        rig.client_goes();
        rig.backend_dies();
        rig.wait(secs(3));
        assert_eq!(rig.session.wants_dial(), proves);
        assert_eq!(back(&mut rig, 0), Ok(vec![]));
        rig.wait(secs(1));
        assert!(rig.session.wants_dial());
    }
}
