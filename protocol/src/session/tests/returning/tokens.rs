//! Which token is good for what, and for how long.

use super::*;

fn may(rig: &Rig, secret: u8) -> Result<(), Reason> {
    rig.session.resumable(&resume(secret, 0))
}

#[test]
fn the_token_before_is_good_until_the_next_one_has_been_heard() {
    for mut rig in both() {
        rig.client_goes();
        comes_back(&mut rig, 1, 0, 2);
        assert_eq!((may(&rig, 1), may(&rig, 2)), (Ok(()), Ok(())), "the welcome may be lost");
        rig.client_sends(&masked(true, PONG, b""));
        assert_eq!(may(&rig, 1), Ok(()), "any connection may say that");
        rig.client_sends(&upstream("a 0"));
        assert_eq!((may(&rig, 1), may(&rig, 2)), (Err(Reason::Stale), Ok(())));
    }
}

#[test]
fn a_welcome_that_was_lost_again_and_again_locks_nobody_out() {
    for mut rig in both() {
        rig.client_sends(&upstream("a 0"));
        for next in 2..20 {
            rig.client_goes();
            comes_back(&mut rig, 1, 0, next);
        }
        comes_back(&mut rig, 19, 0, 20);
        rig.client_sends(&upstream("a 0"));
        assert_eq!((may(&rig, 1), may(&rig, 19)), (Err(Reason::Stale), Err(Reason::Stale)));
    }
}

#[test]
fn a_token_that_was_replaced_is_stale() {
    for mut rig in both() {
        comes_back(&mut rig, 1, 0, 2);
        rig.client_sends(&upstream("a 0"));
        assert_eq!(rig.client_back(Some(&resume(1, 0)), 3), Err(Reason::Stale));
        assert_eq!(
            (rig.clients.len(), rig.session.status()),
            (1, Status::Relaying),
            "the session stays as it is"
        );
        rig.client_says("mstill here");
        assert_eq!(got(&mut rig), ["still here"]);
    }
}

#[test]
fn nobody_comes_in_with_a_token_that_was_never_issued() {
    for mut rig in both() {
        answers(&mut rig, "1");
        for wrong in [resume(2, 0), resume(2, 99), Resume { token: Token::new([8; 16], [1; 32]), last: 0 }] {
            assert_eq!(rig.client_back(Some(&wrong), 3), Err(Reason::Stale), "whatever LAST is");
        }
        assert_eq!(rig.client_back(None, 3), Err(Reason::Unknown), "nor as a plain one");
        assert_eq!(rig.clients.len(), 0);
    }
}

#[test]
fn the_token_dies_with_the_session() {
    for mut rig in both() {
        rig.client_closes(1000, "");
        assert_eq!(may(&rig, 1), Err(Reason::Unknown));
        rig.backend_closes(1000, "");
        assert_eq!(may(&rig, 1), Err(Reason::Unknown));
    }
}

#[test]
fn a_plain_session_cannot_be_come_back_to() {
    let mut rig = Rig::new();
    assert_eq!(rig.client_back(Some(&resume(1, 0)), 2), Err(Reason::Unknown));
    assert_eq!(rig.client_back(None, 2), Err(Reason::Unknown));
    rig.client_goes();
    assert!(rig.session.ended().is_some());
}
