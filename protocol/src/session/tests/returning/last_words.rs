//! What a client is told last, and who is not waited for any more.

use crate::websocket::close_code::CloseCode;

use super::*;

fn cause(rig: &Rig) -> Option<EndCause> {
    rig.session.ended().map(|end| end.cause)
}

#[test]
fn what_a_service_has_said_last_waits_for_a_client_that_was_lost_behind_it() {
    let mut rig = shim();
    rig.backend_says("last");
    rig.backend_closes(1000, "done");
    assert_eq!(
        rig.downstream(),
        ["mlast", "<close 1000 done>"],
        "the socket took it, and the client never read it"
    );
    rig.client_goes();
    rig.wait(config().resume_window - secs(1));
    assert_eq!(back(&mut rig, 0), Ok(vec!["mlast".to_owned(), "<close 1000 done>".into()]));
    rig.client_sends(&upstream("a 1"));
    rig.client_closes(1000, "done");
    assert_eq!(cause(&rig), Some(EndCause::BackendClose));
}

#[test]
fn what_a_service_has_said_last_waits_for_a_client_that_only_seems_to_be_there() {
    let mut rig = shim();
    rig.backend_says("last");
    rig.backend_closes(1000, "done");
    rig.wait(config().close_timeout + secs(1));
    assert!(!rig.session.wants_client(), "a Close that is not answered is a lost connection");
    assert_eq!(back(&mut rig, 0), Ok(vec!["mlast".to_owned(), "<close 1000 done>".into()]));
    rig.client_sends(&upstream("a 1"));
    rig.client_goes();
    assert_eq!(cause(&rig), Some(EndCause::BackendClose), "it has everything, so nothing waits for it");
}

#[test]
fn last_words_wait_no_longer_than_the_window() {
    let mut rig = shim();
    rig.backend_says("last");
    rig.backend_closes(1000, "done");
    rig.client_goes();
    rig.wait(config().resume_window);
    assert_eq!((cause(&rig), rig.session.ledger().downstream.lost), (Some(EndCause::BackendClose), 0));
}

#[test]
fn nobody_who_was_sent_away_by_an_operator_is_waited_for() {
    for answers in [true, false] {
        let mut rig = shim();
        rig.backend_says("one");
        assert!(rig.session.abort(rig.now, CloseCode(1008), "no more"));
        rig.pump();
        rig.backend_closes(1008, "");
        assert_eq!(back(&mut rig, 0), Err(Reason::Unknown), "nor taken back");
        if answers {
            rig.client_goes();
        } else {
            rig.wait(config().close_timeout);
        }
        assert_eq!(cause(&rig), Some(EndCause::Aborted));
    }
}

#[test]
fn once_the_door_is_closed_nobody_is_waited_for() {
    let mut away = shim();
    away.client_goes();
    assert_eq!(away.session.status(), Status::Detached);
    away.session.stop_accepting(away.now, CloseCode(1001));
    away.pump();
    assert_eq!(away.upstream(), ["<close 1001 the service is going away>"]);
    away.backend_closes(1001, "");
    assert_eq!(cause(&away), Some(EndCause::Shutdown));

    let mut connected = shim();
    connected.session.stop_accepting(connected.now, CloseCode(1001));
    connected.client_sends(&upstream("mgoes on"));
    assert_eq!(connected.upstream()[0], "goes on");
    connected.client_goes();
    connected.backend_pongs();
    assert_eq!(cause(&connected), Some(EndCause::ClientGone));
}
