//! How sessions at services end, and how services are left that may still live.

use super::*;
use crate::session::{Command, EndCause, Event, SessionEnd};
use crate::websocket::close_code::CloseCode;

fn end(rig: &Rig) -> Option<SessionEnd> {
    rig.session.ended().copied()
}

/// Messages up: forwarded, committed, lost, in doubt.
fn counts(rig: &Rig) -> (u64, u64, u64, u64) {
    let upstream = rig.session.ledger().upstream;
    (upstream.forwarded, upstream.acknowledged, upstream.lost, upstream.in_doubt)
}

// ---- the client's end ----

#[test]
fn a_clients_close_comes_behind_its_messages_and_commits_still_count() {
    let mut rig = serving();
    says(&mut rig, &["one", "two"]);
    rig.client_closes(1000, "bye");
    assert_eq!(got(&mut rig), ["<attach 1: applied 0, committed 0>", "one", "two", "<close 1000 bye>"][1..]);
    commits(&mut rig, 1, 2, &["last words"]);
    rig.backend_closes(1000, "bye");
    assert_eq!(rig.downstream(), ["last words", "<close 1000 bye>"]);
    assert_eq!(end(&rig), Some(SessionEnd { cause: EndCause::ClientClose, code: Some(CloseCode(1000)) }));
    assert_eq!((counts(&rig), rig.links[0].dropped), ((2, 2, 0, 0), Some(Drop::Closed)));
}

#[test]
fn what_is_not_committed_when_the_close_is_answered_is_lost() {
    let mut rig = serving();
    says(&mut rig, &["one", "two", "three"]);
    rig.backend_pongs();
    rig.client_closes(1000, "");
    commits(&mut rig, 1, 1, &[]);
    rig.backend_closes(1000, "");
    assert_eq!(end(&rig).map(|end| end.cause), Some(EndCause::ClientClose));
    assert_eq!(counts(&rig), (3, 1, 2, 0));
    assert_eq!(rig.links.len(), 1);
}

#[test]
fn a_service_that_dies_behind_a_close_has_its_work_done_elsewhere() {
    let mut rig = serving();
    says(&mut rig, &["one", "two"]);
    rig.client_closes(1000, "bye");
    commits(&mut rig, 1, 1, &[]);
    rig.backend_dies();
    rig.link_next();
    assert_eq!(got(&mut rig), ["<attach 2: applied 1, committed 1>", "two", "<close 1000 bye>"]);
    commits(&mut rig, 2, 2, &["done"]);
    rig.backend_closes(1000, "bye");
    assert_eq!(
        (rig.downstream(), counts(&rig)),
        (vec!["done".to_owned(), "<close 1000 bye>".into()], (2, 2, 0, 0))
    );
}

#[test]
fn a_service_that_dies_with_everything_committed_is_not_replaced() {
    let mut rig = serving();
    rig.client_says("one");
    rig.client_closes(1000, "");
    commits(&mut rig, 1, 1, &[]);
    rig.backend_dies();
    assert_eq!((rig.downstream(), rig.dials.len()), (vec!["<close 1000>".to_owned()], 0));
    assert_eq!(counts(&rig), (1, 1, 0, 0));
    assert!(rig.session.ended().is_some());
}

#[test]
fn a_client_that_hangs_up_leaves_its_messages_to_be_committed() {
    let mut rig = serving();
    says(&mut rig, &["one", "two"]);
    rig.backend_pongs();
    rig.client_goes();
    assert_eq!(end(&rig), None);
    commits(&mut rig, 1, 1, &["nobody hears it"]);
    assert_eq!((end(&rig), rig.links[0].dropped), (None, None));
    commits(&mut rig, 2, 2, &[]);
    assert_eq!(end(&rig).map(|end| end.cause), Some(EndCause::ClientGone));
    assert_eq!((counts(&rig), rig.downstream()), ((2, 2, 0, 0), vec![]));
}

#[test]
fn a_service_that_never_commits_is_not_waited_for_for_ever() {
    let mut rig = serving();
    says(&mut rig, &["one", "two"]);
    rig.backend_pongs();
    rig.client_goes();
    rig.wait(secs(30));
    assert_eq!((end(&rig).map(|end| end.cause), counts(&rig)), (Some(EndCause::ClientGone), (2, 0, 2, 0)));
}

#[test]
fn half_a_message_of_a_client_that_hangs_up_ends_with_a_reset() {
    let mut rig = serving();
    rig.client_says("one");
    rig.client_sends(&masked(false, BINARY, b"half"));
    rig.backend_pongs();
    rig.client_goes();
    commits(&mut rig, 1, 1, &[]);
    assert_eq!((rig.links[0].dropped, counts(&rig)), (Some(Drop::Reset), (1, 1, 0, 0)));
    assert!(rig.session.ended().is_some());
}

// ---- the application's end ----

#[test]
fn the_services_close_ends_the_session_behind_its_outputs() {
    let mut rig = serving();
    says(&mut rig, &["one", "two"]);
    rig.backend_pongs();
    rig.upstream();
    rig.backend_sends(
        &[Commit { number: 1, upto: 1, outputs: &["1"], ..Commit::default() }.frame(), push(&["bye"])]
            .concat(),
    );
    rig.backend_closes(4000, "enough");
    assert_eq!(rig.downstream(), ["1", "bye", "<close 4000 enough>"]);
    rig.client_closes(4000, "enough");
    assert_eq!(rig.upstream(), ["<close 4000 enough>"]);
    assert_eq!(end(&rig), Some(SessionEnd { cause: EndCause::BackendClose, code: Some(CloseCode(4000)) }));
    assert_eq!(counts(&rig), (2, 1, 1, 0), "what it has not committed has had no effect");
}

#[test]
fn a_close_that_stands_for_a_failure_moves_the_session() {
    for code in [1001, 1011, 1012, 1013, 1014] {
        let mut rig = serving();
        says(&mut rig, &["one", "two"]);
        rig.upstream();
        commits(&mut rig, 1, 1, &[]);
        rig.backend_closes(code, "");
        assert_eq!(rig.links[0].reader.drain(), [""; 0], "it has said goodbye of itself");
        rig.link_next();
        assert_eq!(got(&mut rig), ["<attach 2: applied 1, committed 1>", "two"]);
    }
}

#[test]
fn the_brokers_end_is_told_to_both() {
    let mut rig = serving();
    rig.client_says("one");
    rig.upstream();
    rig.session.shut_down(rig.now, CloseCode(1001));
    rig.pump();
    assert_eq!(rig.downstream(), ["<close 1001 the service is going away>"]);
    assert_eq!(rig.upstream(), ["<close 1001 the service is going away>"]);
    commits(&mut rig, 1, 1, &["too late for the client"]);
    rig.backend_closes(1001, "");
    rig.client_closes(1001, "");
    assert_eq!((counts(&rig), rig.downstream()), ((1, 1, 0, 0), vec![]));
    assert!(rig.session.ended().is_some());
}

// ---- services that may still live ----

const FENCED: &str = "<close 4409 fenced: epoch 1 is over>";

#[test]
fn a_silent_service_is_told_that_the_session_goes_on_elsewhere() {
    for failure in [Failure::Silence, Failure::SlowMessage] {
        let mut rig = serving();
        rig.client_says("one");
        rig.upstream();
        rig.backend_fails(failure);
        assert_eq!(rig.upstream(), [FENCED]);
        rig.link_next();
        assert_eq!(got(&mut rig), ["<attach 2: applied 0, committed 0>", "one"]);
    }
}

#[test]
fn so_is_one_that_is_left_by_order() {
    let mut rig = serving();
    assert!(rig.session.fail_over(rig.now));
    rig.pump();
    assert_eq!(rig.upstream(), [FENCED]);
    rig.link_next();
    rig.session.fail_over(rig.now);
    rig.pump();
    assert_eq!(rig.upstream().last().map(String::as_str), Some("<close 4409 fenced: epoch 2 is over>"));
}

#[test]
fn one_whose_connection_has_ended_is_told_nothing() {
    for failure in [Failure::Eof, Failure::Reset] {
        let mut rig = serving();
        rig.backend_fails(failure);
        assert_eq!(rig.upstream(), [""; 0]);
    }
}

#[test]
fn nothing_is_said_within_a_frame() {
    let message = masked(true, BINARY, b"message");
    let ping = 6 + 20;
    for room in 0..message.len() + ping {
        let mut rig = serving();
        rig.set_backend_room(room);
        rig.client_sends(&message);
        rig.session.fail_over(rig.now);
        rig.pump();
        let between = room == 0 || room == message.len();
        assert_eq!(rig.links[0].reader.in_the_middle(), !between, "room {room}");
        assert_eq!(rig.links[0].reader.closed(), between, "room {room}");
    }
}

#[test]
fn one_that_was_not_attached_yet_is_told_too() {
    let mut rig = serving();
    rig.backend_dies();
    rig.set_backend_room(0);
    rig.link_next();
    rig.session.fail_over(rig.now);
    rig.pump();
    assert_eq!(rig.links[1].reader.drain(), ["<close 4409 fenced: epoch 2 is over>"]);
}

/// What it still says is discarded, though it had not heard of that.
#[test]
fn the_words_of_one_that_was_left_have_no_effect() {
    let mut rig = serving();
    rig.client_says("one");
    rig.session.fail_over(rig.now);
    let frame = Commit { number: 1, upto: 1, outputs: &["ghost"], ..Commit::default() }.frame();
    rig.session.handle_backend(rig.now, &frame, &mut { u32::MAX }, &mut |bytes| panic!("{bytes:?}"));
    rig.pump();
    rig.link_next();
    assert_eq!(
        (got(&mut rig), rig.downstream()),
        (vec!["<attach 2: applied 0, committed 0>".into(), "one".into()], vec![])
    );
}

// ---- suspects ----

#[test]
fn a_message_that_kills_every_service_ends_the_session() {
    let mut rig = serving_with(|config| config.deadline = secs(300));
    says(&mut rig, &["killer", "harmless"]);
    for _ in 0..20 {
        rig.backend_dies();
        if !rig.link_next_if_wanted() {
            break;
        }
        if !got(&mut rig).iter().any(|frame| frame == "killer") {
            rig.backend_pongs();
        }
    }
    assert_eq!(rig.downstream(), ["<close 1011 a message fails every backend>"]);
    assert!(rig.take_events().iter().any(|note| matches!(note, Event::Poison { seq: 1, .. })));
}

#[test]
fn suspects_are_cleared_by_commits_that_come_before_their_pongs() {
    let mut rig = serving();
    says(&mut rig, &["one", "two", "three"]);
    for _ in 0..2 {
        rig.backend_dies();
        rig.link_next();
    }
    assert!(rig.dials.iter().any(|(_, dial)| dial.suspect));
    assert_eq!(rig.upstream(), ["<attach 3: applied 0, committed 0>", "<notice 0>"]);
    rig.backend_pongs();
    assert_eq!(rig.upstream(), ["one", "<notice 0>"]);
    commits(&mut rig, 1, 1, &[]);
    rig.backend_pongs();
    assert_eq!(rig.upstream(), ["two", "<notice 1>"]);
    rig.backend_pongs();
    commits(&mut rig, 2, 2, &[]);
    assert_eq!(rig.upstream(), ["three", "<notice 1>"]);
    commits(&mut rig, 3, 3, &[]);
    rig.backend_pongs();
    assert!(rig.take_notes().iter().any(|told| *told == Command::ReleaseTurn));
    says(&mut rig, &["four", "five"]);
    assert_eq!(rig.upstream(), ["four", "<notice 3>", "five"]);
}

#[test]
fn suspects_that_are_committed_ahead_are_none() {
    let mut rig = serving();
    says(&mut rig, &["one", "two", "three"]);
    for _ in 0..2 {
        rig.backend_dies();
        rig.link_next();
    }
    commits(&mut rig, 1, 3, &[]);
    rig.backend_dies();
    rig.link_next();
    rig.client_says("four");
    assert_eq!(got(&mut rig), ["<attach 4: applied 1, committed 3>", "four"]);
}
