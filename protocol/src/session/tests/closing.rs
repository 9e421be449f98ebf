//! The backend or the broker ends the session: whose Close goes where.

use super::rig::{Drop, Rig, secs};
use super::wire::{CLOSE, PING, TEXT, close_payload, downstream, masked, plain, upstream};
use crate::session::{EndCause, Failure, SessionEnd, Status};
use crate::websocket::close_code::CloseCode;

fn ended(rig: &Rig) -> (EndCause, Option<CloseCode>) {
    let SessionEnd { cause, code } =
        *rig.session.ended().unwrap_or_else(|| panic!("it has not ended: {:?}", rig.session));
    (cause, code)
}

#[test]
fn an_applications_close_is_relayed_and_answered_by_the_clients() {
    for (code, reason, seen) in [
        (0, "", "<close>"),
        (1000, "done", "<close 1000 done>"),
        (1002, "", "<close 1002>"),
        (1008, "", "<close 1008>"),
        (3000, "", "<close 3000>"),
        (4001, "kicked", "<close 4001 kicked>"),
    ] {
        let mut rig = Rig::new();
        rig.client_says("one");
        rig.backend_pongs();
        rig.upstream();
        rig.backend_closes(code, reason);
        assert_eq!(rig.downstream(), [seen]);
        assert_eq!((rig.session.status(), rig.link().dropped), (Status::Closing, None));
        rig.client_closes(code, "client's own");
        let answer = if code == 0 { "<close>".to_owned() } else { format!("<close {code} client's own>") };
        assert_eq!(rig.upstream(), [answer]);
        assert_eq!(ended(&rig), (EndCause::BackendClose, (code != 0).then_some(CloseCode(code))));
        assert_eq!((rig.dials.len(), rig.session.failovers(), rig.session.ledger().upstream.lost), (0, 0, 0));
    }
}

#[test]
fn the_last_answers_come_before_the_close_and_nothing_after_it_counts() {
    let mut rig = Rig::new();
    rig.client_room = 4;
    let close = plain(true, CLOSE, &close_payload(1000, ""));
    rig.backend_sends(
        &[downstream("first"), downstream("last"), plain(false, TEXT, b"half"), close, downstream("ghost")]
            .concat(),
    );
    rig.backend_dies();
    assert!(!rig.session.client_finished());
    rig.client_room = usize::MAX;
    rig.pump();
    assert!(rig.session.client_finished(), "its socket's write side may be shut");
    assert_eq!(rig.downstream(), ["first", "last", "<close 1000>"]);
    rig.client_closes(1000, "");
    assert_eq!(ended(&rig), (EndCause::BackendClose, Some(CloseCode(1000))));
    let ledger = rig.session.ledger().downstream;
    assert_eq!((ledger.forwarded, ledger.suppressed, ledger.lost), (2, 1, 0));
    assert_eq!(rig.dials.len(), 0, "an EOF after a Close is no failure");
}

#[test]
fn what_the_client_says_after_the_backends_close_is_not_written_to_it() {
    let mut rig = Rig::new();
    rig.backend_closes(1000, "");
    rig.client_says("too late");
    rig.client_sends(&masked(true, PING, b"too late"));
    assert_eq!((rig.upstream(), rig.downstream()), (vec![], vec!["<close 1000>".to_owned()]));
    rig.client_closes(1000, "");
    assert_eq!(rig.upstream(), ["<close 1000>"]);
}

#[test]
fn what_an_application_may_not_have_read_before_its_close_is_in_doubt() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.client_says("two");
    rig.backend_closes(1000, "");
    rig.client_closes(1000, "");
    assert_eq!(ended(&rig), (EndCause::BackendClose, Some(CloseCode(1000))));
    let upstream = rig.session.ledger().upstream;
    assert_eq!((upstream.in_doubt, upstream.lost, rig.session.buffered()), (2, 0, 0));
}

#[test]
fn a_client_that_never_answers_a_close_is_not_waited_for_longer_than_its_time() {
    let mut rig = Rig::new();
    rig.backend_closes(1000, "");
    rig.wait(secs(5));
    assert_eq!(ended(&rig), (EndCause::BackendClose, Some(CloseCode(1000))));
}

#[test]
fn a_client_that_hangs_up_instead_of_answering_ends_the_session() {
    let mut rig = Rig::new();
    rig.backend_closes(4001, "");
    rig.client_goes();
    assert_eq!((ended(&rig), rig.upstream().len()), ((EndCause::BackendClose, Some(CloseCode(4001))), 0));
}

#[test]
fn a_client_that_talks_nonsense_instead_of_answering_changes_nothing() {
    // In one piece and byte by byte: nothing may spin, panic or grow.
    let nonsense: Vec<u8> = [[0xFF; 20], [0x7F; 20]].concat();
    for step in [1, 40] {
        let mut rig = Rig::new();
        rig.backend_closes(1000, "");
        for bytes in nonsense.chunks(step) {
            rig.client_sends(bytes);
        }
        assert_eq!(rig.downstream(), ["<close 1000>"]);
        assert!(rig.notes.len() <= 2, "{:?}", rig.notes);
        rig.wait(secs(5));
        assert_eq!((ended(&rig), rig.dials.len()), ((EndCause::BackendClose, Some(CloseCode(1000))), 0));
    }
}

#[test]
fn a_slow_client_gets_its_last_answers_before_the_close_is_waited_for() {
    let mut rig = Rig::new();
    rig.client_room = 0;
    let answer = "x".repeat(100_000);
    rig.backend_says(&answer);
    rig.backend_closes(1000, "");
    // Ten seconds for the answer; the client stalls at no time.
    for _ in 0..11 {
        rig.client_room = 10_000;
        rig.pump();
        rig.wait(secs(1));
    }
    assert_eq!(rig.downstream(), [answer.as_str(), "<close 1000>"]);
    rig.client_closes(1000, "");
    assert_eq!(
        (ended(&rig), rig.session.ledger().downstream.lost),
        ((EndCause::BackendClose, Some(CloseCode(1000))), 0)
    );
}

#[test]
fn no_pong_follows_the_close_to_a_client() {
    let mut rig = Rig::new();
    rig.client_room = 0;
    rig.backend_says(&"x".repeat(5000));
    for _ in 0..3 {
        rig.client_sends(&masked(true, PING, b"?"));
    }
    rig.backend_closes(1000, "");
    rig.client_sends(&masked(true, PING, b"?"));
    rig.client_room = usize::MAX;
    rig.pump();
    // The reader objects to any frame behind a Close.
    assert_eq!(rig.downstream().last().map(String::as_str), Some("<close 1000>"));
}

#[test]
fn no_pong_follows_the_close_to_a_backend() {
    let mut rig = Rig::new();
    rig.backend_room = 1;
    rig.backend_sends(&plain(true, PING, b"first"));
    rig.backend_sends(&plain(true, PING, b"second"));
    rig.client_closes(1000, "");
    rig.set_backend_room(usize::MAX);
    // The reader objects to any frame behind a Close.
    assert_eq!(rig.upstream().last().map(String::as_str), Some("<close 1000>"));
    rig.backend_closes(1000, "");
    assert_eq!(ended(&rig), (EndCause::ClientClose, Some(CloseCode(1000))));
}

#[test]
fn the_answer_to_a_close_has_no_place_in_a_message_that_is_half_written() {
    let mut rig = Rig::new();
    rig.backend_room = 8;
    rig.client_says("a longer message");
    rig.backend_closes(1000, "");
    rig.backend_room = usize::MAX;
    rig.client_closes(1000, "");
    assert_eq!(rig.link().reader.bytes, upstream("a longer message")[..8]);
    assert!(rig.link().dropped.is_some());
    assert_eq!(
        (ended(&rig), rig.session.ledger().upstream.lost),
        ((EndCause::BackendClose, Some(CloseCode(1000))), 1)
    );
}

#[test]
fn a_shutdown_closes_both_sides() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.backend_pongs();
    rig.upstream();
    rig.session.shut_down(rig.now, CloseCode(1001));
    rig.pump();
    assert!(rig.upstream()[0].starts_with("<close 1001") && rig.downstream()[0].starts_with("<close 1001"));
    rig.client_closes(1001, "");
    rig.backend_closes(1001, "");
    assert_eq!((ended(&rig), rig.dials.len()), ((EndCause::Shutdown, Some(CloseCode(1001))), 0));
    assert_eq!(rig.session.ledger().upstream.lost, 0);
}

#[test]
fn a_shutdown_delivers_what_the_backend_still_takes() {
    let mut rig = Rig::new();
    rig.backend_room = 3;
    rig.client_says("one");
    rig.session.shut_down(rig.now, CloseCode(1001));
    rig.backend_room = usize::MAX;
    rig.pump();
    let upstream = rig.upstream();
    assert!(
        upstream[0] == "one" && upstream.last().is_some_and(|last| last.starts_with("<close 1001")),
        "{upstream:?}"
    );
    rig.backend_closes(1001, "");
    rig.client_closes(1001, "");
    assert_eq!(
        (ended(&rig), rig.session.ledger().upstream.lost),
        ((EndCause::Shutdown, Some(CloseCode(1001))), 0)
    );
}

#[test]
fn a_shutdown_during_a_failover_ends_it() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.backend_dies();
    rig.dial();
    rig.session.shut_down(rig.now, CloseCode(1001));
    rig.pump();
    assert!(rig.downstream()[0].starts_with("<close 1001") && !rig.session.wants_dial());
    rig.client_closes(1001, "");
    assert_eq!(
        (ended(&rig), rig.session.ledger().upstream.lost),
        ((EndCause::Shutdown, Some(CloseCode(1001))), 1)
    );
}

#[test]
fn a_shutdown_with_nobody_answering_ends_in_its_time() {
    let mut rig = Rig::new();
    rig.session.shut_down(rig.now, CloseCode(1001));
    rig.pump();
    rig.wait(secs(10));
    assert_eq!(ended(&rig), (EndCause::Shutdown, Some(CloseCode(1001))));
}

#[test]
fn a_backend_that_was_left_is_heard_no_more() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.backend_fails(Failure::Silence);
    assert_eq!(rig.links[0].dropped, Some(Drop::Reset));
    rig.session.handle_backend(rig.now, &downstream("ghost"), &mut { u32::MAX }, &mut |bytes| bytes.len());
    rig.session.handle_backend_lost(rig.now, Failure::Eof);
    rig.pump();
    assert_eq!((rig.downstream().len(), rig.session.failovers()), (0, 1));
}
