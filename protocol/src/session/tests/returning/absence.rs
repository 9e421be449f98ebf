//! A session whose client is away: what goes on, what waits, and what ends it.

use super::*;
use crate::session::{DialFailure, Move, SessionEnd};
use crate::websocket::close_code::CloseCode;

/// The client is away, and has something to come back for.
fn away(mut rig: Rig) -> Rig {
    rig.client_says("mone");
    answers(&mut rig, "1");
    rig.downstream();
    rig.client_goes();
    assert_eq!((rig.session.status(), rig.session.wants_client()), (Status::Detached, false));
    rig
}

fn both_away() -> [Rig; 2] {
    both().map(away)
}

fn end(rig: &Rig) -> Option<SessionEnd> {
    rig.session.ended().copied()
}

// ---- how a connection is lost ----

#[test]
fn a_client_that_answers_no_ping_is_away() {
    for mut rig in both_with(|config| config.keepalive = secs(25)) {
        rig.wait(secs(45));
        assert_eq!((rig.session.status(), rig.session.wants_client()), (Status::Detached, false));
        comes_back(&mut rig, 1, 0, 2);
        assert_eq!(heard(&mut rig).last(), Some(&welcome(2, "resumed 0 0")));
        rig.wait(secs(24));
        assert_eq!(rig.session.status(), Status::Relaying, "it is heard anew");
    }
}

#[test]
fn a_client_that_takes_nothing_is_away() {
    for mut rig in both() {
        rig.set_client_room(0);
        answers(&mut rig, "1");
        rig.wait(secs(60));
        assert_eq!(rig.session.status(), Status::Detached);
        comes_back(&mut rig, 1, 0, 2);
        assert_eq!(heard(&mut rig), [welcome(2, "resumed 0 0"), "m1".into()]);
    }
}

#[test]
fn a_client_that_reads_and_acknowledges_nothing_while_the_ring_is_full_is_away() {
    for mut rig in both_with(|config| config.ring_limit = 1000) {
        (0..3).for_each(|_| answers(&mut rig, &"x".repeat(600)));
        rig.wait(secs(60));
        assert_eq!(rig.session.status(), Status::Detached);
        comes_back(&mut rig, 1, 2, 2);
        assert_eq!(heard(&mut rig).last().map(String::len), Some(601));
    }
}

// ---- what goes on ----

#[test]
fn the_application_goes_on_until_the_ring_is_full() {
    for mut rig in both_with(|config| config.ring_limit = 10_000) {
        rig.client_goes();
        for _ in 0..30 {
            answers(&mut rig, &"x".repeat(1000));
        }
        assert!(!rig.session.wants_backend());
        rig.wait(secs(100));
        assert_eq!(
            (rig.session.status(), rig.take_notes()),
            (Status::Detached, vec![]),
            "nobody is judged for that"
        );
        comes_back(&mut rig, 1, 0, 2);
        let mut has = heard(&mut rig).len() - 1;
        assert!((10..12).contains(&has), "{has} messages");
        while has < 30 {
            rig.client_sends(&upstream(&format!("a {has}")));
            let more = heard(&mut rig).len();
            assert!(more > 0, "it goes on");
            has += more;
        }
    }
}

#[test]
fn messages_of_a_client_that_is_away_go_on() {
    for mut rig in both() {
        rig.client_says("mone");
        rig.client_goes();
        rig.backend_dies();
        rig.link_next();
        rig.client_goes();
        assert_eq!(got(&mut rig), ["one"], "{:?}", rig.session.status());
        rig.backend_pongs();
        comes_back(&mut rig, 1, 0, 2);
        let committed = u8::from(rig.session.commits().is_none());
        assert_eq!(heard(&mut rig), [welcome(2, &format!("resumed 1 {committed}"))]);
    }
}

#[test]
fn a_session_may_move_meanwhile() {
    for rig in both_away() {
        let mut rig = rig;
        if rig.session.commits().is_some() {
            rig.backend_sends(&Commit { number: 1, upto: 1, ..Commit::default() }.frame());
        }
        rig.backend_pongs();
        assert!(rig.session.relocate(rig.now, Move { ticket: 1, force_at: None }));
        rig.pump();
        rig.backend_pongs();
        rig.link_successor();
        if rig.session.commits().is_some() {
            rig.backend_pongs();
        }
        rig.wait(secs(2));
        assert_eq!(got(&mut rig).last().map(String::as_str), Some("<close 1001>"));
        rig.backend_closes(1001, "");
        assert_eq!((rig.links.len(), rig.session.moves()), (2, 1));
        answers(&mut rig, "2");
        comes_back(&mut rig, 1, 1, 2);
        assert_eq!(heard(&mut rig), [welcome(2, "resumed 1 1"), "m2".into()]);
    }
}

#[test]
fn half_a_message_of_a_backend_that_fails_meanwhile_is_dropped() {
    let mut rig = away(shim());
    rig.backend_sends(&plain(false, TEXT, b"half"));
    rig.backend_dies();
    rig.link_next();
    answers(&mut rig, "whole");
    comes_back(&mut rig, 1, 1, 2);
    assert_eq!(heard(&mut rig)[1..], ["mwhole"]);
    assert_eq!(rig.session.ledger().downstream.suppressed, 1);
}

#[test]
fn a_client_may_come_back_while_there_is_no_backend() {
    for mut rig in both_away() {
        rig.backend_dies();
        comes_back(&mut rig, 1, 0, 2);
        assert_eq!(heard(&mut rig), [welcome(2, "resumed 1 0"), "m1".into()]);
        rig.client_says("mtwo");
        rig.link_next();
        assert_eq!(got(&mut rig).iter().rev().take(2).collect::<Vec<_>>(), ["two", "one"]);
    }
}

// ---- what waits for it ----

#[test]
fn the_applications_close_waits_behind_the_last_messages() {
    for mut rig in both_away() {
        answers(&mut rig, "2");
        rig.backend_closes(4000, "enough");
        rig.wait(secs(110));
        assert_eq!(end(&rig), None);
        comes_back(&mut rig, 1, 1, 2);
        assert_eq!(heard(&mut rig), [welcome(2, "resumed 1 0"), "m2".into(), "<close 4000 enough>".into()]);
        rig.client_sends(&upstream("a 2"));
        rig.client_closes(4000, "enough");
        assert_eq!(
            end(&rig),
            Some(SessionEnd { cause: EndCause::BackendClose, code: Some(CloseCode(4000)) })
        );
        assert_eq!(rig.session.ledger().downstream.lost, 0);
    }
}

#[test]
fn so_does_the_brokers_own_when_no_backend_is_found() {
    for mut rig in both_away() {
        rig.backend_dies();
        rig.fail_dial(DialFailure::Refused);
        assert_eq!(end(&rig), None);
        comes_back(&mut rig, 1, 1, 2);
        assert_eq!(
            heard(&mut rig),
            [welcome(2, "resumed 1 0"), "<close 1012 refused by every backend>".into()],
            "and what is lost is not said to be committed"
        );
        rig.client_closes(1012, "");
        assert_eq!(
            (end(&rig).map(|end| end.cause), rig.session.ledger().upstream.lost),
            (Some(EndCause::Refused), 1)
        );
    }
}

#[test]
fn a_client_that_does_not_come_for_its_close_is_not_waited_for_for_ever() {
    for mut rig in both_away() {
        answers(&mut rig, "2");
        rig.backend_closes(4000, "");
        rig.wait(secs(119));
        assert_eq!(end(&rig), None);
        rig.wait(secs(1));
        assert_eq!(end(&rig).map(|end| end.cause), Some(EndCause::BackendClose));
        let downstream = rig.session.ledger().downstream;
        assert_eq!((downstream.forwarded, downstream.acknowledged, downstream.lost), (2, 1, 1));
    }
}

#[test]
fn a_close_that_is_on_its_way_when_the_connection_breaks_waits_too() {
    for mut rig in both() {
        answers(&mut rig, "1");
        rig.backend_closes(4000, "enough");
        rig.client_goes();
        rig.wait(secs(60));
        assert_eq!(end(&rig), None, "longer than the answer to a Close is waited for");
        comes_back(&mut rig, 1, 0, 2);
        assert_eq!(heard(&mut rig), [welcome(2, "resumed 0 0"), "m1".into(), "<close 4000 enough>".into()]);
        rig.client_closes(4000, "");
        assert!(end(&rig).is_some());
    }
}

#[test]
fn a_close_that_is_not_answered_waits_for_the_client_that_has_not_acknowledged_all() {
    for mut rig in both() {
        answers(&mut rig, "1");
        rig.backend_closes(4000, "enough");
        rig.wait(secs(5));
        assert_eq!(
            (end(&rig), rig.session.wants_client()),
            (None, false),
            "its connection is taken for lost"
        );
        comes_back(&mut rig, 1, 0, 2);
        assert_eq!(heard(&mut rig).len(), 3);
        rig.client_sends(&upstream("a 1"));
        rig.wait(secs(5));
        assert!(end(&rig).is_some(), "it has everything");
    }
}

#[test]
fn a_client_that_has_everything_is_not_waited_for() {
    for mut rig in both() {
        answers(&mut rig, "1");
        rig.client_sends(&upstream("a 1"));
        rig.backend_closes(4000, "enough");
        rig.client_goes();
        rig.wait(secs(5));
        assert_eq!(end(&rig).map(|end| end.cause), Some(EndCause::BackendClose));
    }
}

// ---- what ends it ----

#[test]
fn the_window_is_over() {
    for mut rig in both_away() {
        rig.wait(ms(119_999));
        assert_eq!(rig.session.resumable(&resume(1, 0)), Ok(()));
        rig.wait(ms(1));
        assert_eq!(rig.session.resumable(&resume(1, 0)), Err(Reason::Unknown));
        if rig.session.commits().is_some() {
            rig.backend_sends(&Commit { number: 1, upto: 1, ..Commit::default() }.frame());
        } else {
            rig.backend_pongs();
        }
        assert_eq!(end(&rig).map(|end| end.cause), Some(EndCause::ResumeExpired));
        assert_eq!(got(&mut rig), ["one"], "it hangs up, as the client did");
        let ledger = rig.session.ledger();
        assert_eq!((ledger.upstream.lost, ledger.downstream.lost), (0, 0), "its socket took what was for it");
    }
}

#[test]
fn the_window_begins_anew_with_each_loss() {
    for mut rig in both_away() {
        rig.wait(secs(119));
        comes_back(&mut rig, 1, 0, 2);
        rig.client_goes();
        rig.wait(secs(119));
        assert_eq!(rig.session.resumable(&resume(2, 1)), Ok(()));
        rig.session.handle_client_gone(rig.now);
        rig.wait(secs(1));
        assert_eq!(rig.session.resumable(&resume(2, 1)), Err(Reason::Unknown), "but not while it is away");
    }
}

#[test]
fn what_never_reached_the_client_is_lost_with_it() {
    for mut rig in both_away() {
        answers(&mut rig, "2");
        answers(&mut rig, "3");
        rig.wait(secs(120));
        rig.wait(secs(30));
        let downstream = rig.session.ledger().downstream;
        assert_eq!((downstream.forwarded, downstream.acknowledged, downstream.lost), (3, 1, 2));
        assert!(end(&rig).is_some());
    }
}

#[test]
fn the_broker_and_its_operators_do_not_wait() {
    for mut rig in both_away() {
        assert!(rig.session.abort(rig.now, CloseCode(4321), "away with you"));
        rig.pump();
        assert_eq!(rig.session.resumable(&resume(1, 0)), Err(Reason::Unknown));
        assert_eq!(got(&mut rig), ["one", "<close 4321 away with you>"]);
        rig.backend_closes(4321, "");
        assert_eq!(end(&rig), Some(SessionEnd { cause: EndCause::Aborted, code: Some(CloseCode(4321)) }));
    }
    for mut rig in both_away() {
        rig.session.shut_down(rig.now, CloseCode(1001));
        rig.pump();
        rig.backend_closes(1001, "");
        assert_eq!(end(&rig).map(|end| end.cause), Some(EndCause::Shutdown));
    }
}

#[test]
fn nor_for_a_client_that_is_lost_after_it_was_told() {
    for abort in [true, false] {
        for mut rig in both() {
            answers(&mut rig, "1");
            if abort {
                rig.session.abort(rig.now, CloseCode(4321), "away with you");
            } else {
                rig.session.shut_down(rig.now, CloseCode(1001));
            }
            rig.pump();
            assert_eq!(rig.session.resumable(&resume(1, 0)), Err(Reason::Unknown));
            rig.client_goes();
            rig.backend_closes(1001, "");
            assert!(end(&rig).is_some(), "there is nothing to come back to");
        }
    }
}

#[test]
fn a_shutdown_does_not_wait_for_a_close_to_be_fetched() {
    for mut rig in both_away() {
        rig.backend_closes(4000, "");
        rig.session.shut_down(rig.now, CloseCode(1001));
        rig.wait(secs(5));
        assert_eq!(end(&rig).map(|end| end.cause), Some(EndCause::BackendClose));
    }
}

#[test]
fn the_ledger_adds_up_whatever_was_left() {
    for mut rig in both_away() {
        rig.client_goes();
        answers(&mut rig, "2");
        rig.backend_dies();
        rig.wait(secs(31));
        assert_eq!(rig.session.status(), Status::Closing, "no backend in time");
        rig.wait(secs(120));
        let ledger = rig.session.ledger();
        assert!(end(&rig).is_some());
        assert_eq!(ledger.upstream.acknowledged + ledger.upstream.lost, ledger.upstream.forwarded);
        assert_eq!(ledger.downstream.acknowledged + ledger.downstream.lost, ledger.downstream.forwarded);
        assert_eq!(rig.session.poll_timeout(), None);
    }
}

// ---- acknowledgements when there is no room ----

/// A client's acknowledgements may stand behind messages for which there is no room, while the backend is not
/// read either, since what it has said is not acknowledged.
#[test]
fn acknowledgements_are_found_behind_messages_for_which_there_is_no_room() {
    for mut rig in both_with(|config| config.ring_limit = 1000) {
        answers(&mut rig, &"x".repeat(1200));
        for _ in 0..4 {
            rig.client_says(&format!("m{}", "x".repeat(300)));
        }
        assert!(!rig.session.wants_backend() && rig.session.unacknowledged() > 1000);
        rig.client_sends(&upstream("a 1"));
        assert!(rig.session.wants_backend(), "the acknowledgement has made room");
        assert_eq!(rig.session.client_read_limit(false), 0, "and the ring is as full as ever");
    }
}

#[test]
fn who_does_not_acknowledge_is_not_read_without_end() {
    for mut rig in both_with(|config| config.ring_limit = 1000) {
        answers(&mut rig, &"x".repeat(1200));
        for _ in 0..20 {
            rig.client_says(&format!("m{}", "x".repeat(300)));
        }
        assert!(rig.session.unacknowledged() < 2400, "{} bytes", rig.session.unacknowledged());
        rig.wait(secs(60));
        assert_eq!(rig.session.status(), Status::Detached, "it may come back and say what it has");
    }
}

#[test]
fn acknowledgements_are_read_though_memory_is_short() {
    let mut rig = shim();
    assert_eq!(rig.session.client_read_limit(true), 0, "there is nothing to acknowledge");
    answers(&mut rig, "1");
    assert!((1..=4096).contains(&rig.session.client_read_limit(true)));
    rig.client_says(&format!("m{}", "x".repeat(70_000)));
    assert_eq!(rig.session.client_read_limit(true), 0, "enough is kept of what it says");
}
