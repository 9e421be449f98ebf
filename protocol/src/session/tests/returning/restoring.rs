//! A session that another process goes on with: what its client and its backends see of that.

use super::*;
use crate::session::Move;
use crate::websocket::close_code::CloseCode;

/// As [`both`], with a client and a service that have talked before.
fn talked() -> [Rig; 2] {
    both().map(|mut rig| {
        rig.client_says("mone");
        rig.client_says("mtwo");
        answers(&mut rig, "first");
        answers(&mut rig, "second");
        assert_eq!(heard(&mut rig), ["mfirst", "msecond"]);
        rig
    })
}

#[test]
fn it_dials_anew_and_waits_for_its_client() {
    for mut rig in talked() {
        rig.restore();
        assert!(rig.take_notes().iter().any(|told| *told == Event::Failed(Failure::Restored)));
        assert!(!rig.session.wants_client() && !rig.session.wants_link());
        rig.link_next();
        assert_eq!(rig.session.failovers(), 1);
        assert_eq!(back(&mut rig, 2), Ok(vec![]));
        answers(&mut rig, "third");
        assert_eq!(heard(&mut rig), ["mthird"]);
    }
}

#[test]
fn what_no_backend_has_acknowledged_is_replayed_and_what_the_client_has_not_comes_again() {
    for mut rig in talked() {
        got(&mut rig);
        rig.restore();
        rig.link_next();
        assert_eq!(got(&mut rig), ["one", "two"], "no pong has come, and a push commits nothing");
        assert_eq!(back(&mut rig, 1), Ok(vec!["msecond".to_owned()]));
    }
}

#[test]
fn what_was_acknowledged_does_not_come_again_and_the_client_is_told_no_less() {
    let mut rig = shim_with(|config| config.ack_hold = secs(1));
    rig.client_says("mone");
    rig.backend_pongs();
    rig.wait(ms(100));
    assert!(rig.downstream().contains(&"a 1 1".to_owned()), "it is acknowledged, and held");
    rig.restore();
    assert_eq!(rig.client_back(Some(&resume(1, 0)), 2), Ok(()));
    assert_eq!(rig.downstream(), [welcome(2, "resumed 1 1")]);
    rig.link_next();
    assert_eq!(got(&mut rig), ["one"], "but what is held is replayed, as in any failover");
    let upstream = rig.session.ledger().upstream;
    assert_eq!((upstream.forwarded, upstream.acknowledged, upstream.replayed), (1, 1, 1));
}

#[test]
fn a_service_gets_what_was_committed_and_a_later_epoch() {
    let mut rig = shim_served();
    rig.client_says("mone");
    rig.client_says("mtwo");
    rig.backend_sends(&Commit { number: 1, upto: 1, capsule: Some("state"), ..Commit::default() }.frame());
    rig.restore();
    rig.link_next();
    assert_eq!(rig.upstream(), ["<attach 2: applied 1, committed 1 capsule \"state\">", "two", "<notice 1>"]);
}

#[test]
fn what_came_by_halves_has_never_been() {
    for mut rig in talked() {
        let fragment = masked(false, BINARY, b"mhalf");
        rig.client_sends(&fragment);
        if rig.session.commits().is_none() {
            rig.backend_sends(&plain(false, TEXT, b"half"));
        }
        got(&mut rig);
        rig.restore();
        rig.link_next();
        assert_eq!(back(&mut rig, 2), Ok(vec![]));
        rig.client_says("mthree");
        answers(&mut rig, "third");
        assert_eq!(
            (got(&mut rig).last().map(String::as_str), heard(&mut rig)),
            (Some("three"), vec!["mthird".to_owned()])
        );
    }
}

#[test]
fn a_close_is_said_again() {
    for mut rig in talked() {
        rig.set_client_room(0);
        answers(&mut rig, "last");
        rig.backend_closes(4001, "done");
        rig.restore();
        assert!(!rig.session.wants_link() && rig.session.ended().is_none());
        assert_eq!(back(&mut rig, 2), Ok(vec!["mlast".to_owned(), "<close 4001 done>".to_owned()]));
        rig.client_closes(4001, "");
        assert_eq!(
            rig.session.ended().map(|end| (end.cause, end.code)),
            Some((EndCause::BackendClose, Some(CloseCode(4001))))
        );
    }
}

#[test]
fn what_a_client_has_said_before_its_close_is_still_delivered() {
    for client in [ClientKind::Plain, ClientKind::Returning] {
        let mut rig = open(client, |_| {});
        rig.set_backend_room(0);
        rig.client_says("one");
        rig.client_closes(1000, "");
        rig.restore();
        rig.set_backend_room(usize::MAX);
        rig.link_next();
        assert_eq!(got(&mut rig), ["one", "<close 1000>"]);
        rig.backend_pongs();
        rig.backend_closes(1000, "");
        assert_eq!(rig.session.ledger().upstream.lost, 0);
    }
}

#[test]
fn one_whose_client_cannot_come_back_ends_when_all_is_delivered() {
    let mut rig = open(ClientKind::Plain, |_| {});
    rig.client_says("one");
    rig.restore();
    rig.link_next();
    assert_eq!(got(&mut rig), ["one"]);
    rig.backend_pongs();
    assert_eq!(rig.session.ended().map(|end| end.cause), Some(EndCause::ClientGone));
}

#[test]
fn a_client_that_does_not_come_is_not_waited_for_for_ever() {
    for mut rig in talked() {
        rig.restore();
        rig.link_next();
        rig.backend_pongs();
        rig.wait(secs(119));
        assert_eq!(rig.session.status(), Status::Detached);
        rig.wait(secs(60));
        assert_eq!(rig.session.ended().map(|end| end.cause), Some(EndCause::ResumeExpired));
    }
}

#[test]
fn a_move_that_was_under_way_is_none_any_more() {
    for mut rig in talked() {
        assert!(rig.session.relocate(rig.now, Move { ticket: 7, force_at: None }));
        rig.pump();
        rig.restore();
        assert_eq!(rig.session.moving(), None);
        rig.link_next();
        assert_eq!(back(&mut rig, 2), Ok(vec![]));
    }
}

#[test]
fn one_that_ends_with_its_backend_says_so_to_its_client() {
    let mut rig = shim_with(|config| config.failover = false);
    rig.restore();
    let code = config().codes.on_failure;
    assert_eq!(back(&mut rig, 0), Ok(vec![format!("<close {code} the backend failed>")]));
    rig.client_closes(code.0, "");
    assert_eq!(rig.session.ended().map(|end| end.cause), Some(EndCause::BackendFailed));
}

#[test]
fn without_acknowledgements_what_was_not_marked_counts_as_lost() {
    let mut rig = shim_with(|config| config.ack = AckMode::None);
    rig.client_says("mone");
    rig.restore();
    let upstream = rig.session.ledger().upstream;
    assert_eq!((upstream.forwarded, upstream.acknowledged, upstream.lost), (1, 0, 1));
}

/// The process may end as often as it likes.
#[test]
fn again_and_again() {
    for mut rig in talked() {
        for n in 1..10 {
            rig.restore();
            assert_eq!(rig.client_back(Some(&resume(n, 2)), n + 1), Ok(()));
            rig.downstream();
            rig.link_next();
            assert_eq!(got(&mut rig)[..2], ["one", "two"], "{n}");
            assert_eq!(rig.session.failovers(), u32::from(n));
        }
        answers(&mut rig, "third");
        assert_eq!(heard(&mut rig), ["mthird"]);
    }
}

/// When they were, nobody knows by another process's clock.
#[test]
fn deaths_of_before_count_no_more() {
    for (restores, suspect) in [(false, true), (true, false)] {
        let mut rig = shim_with(|config| config.poison_deaths = 2);
        rig.client_says("mone");
        rig.backend_dies();
        rig.link_next();
        if restores {
            rig.restore();
            rig.link_next();
        }
        rig.backend_dies();
        rig.dial();
        assert_eq!(rig.dials.last().map(|(_, dial)| dial.suspect), Some(suspect), "restores: {restores}");
    }
}
