//! The client leaves: what it said is delivered first, wherever that may be.

use super::rig::{Drop, MUTE, Rig, ms, secs};
use super::wire::{CONTINUATION, PING, PONG, TEXT, masked, plain, upstream};
use crate::session::{AckMode, Command, DialFailure, EndCause, Event, Evidence, Failure, SessionEnd, Status};
use crate::websocket::close_code::CloseCode;

fn ended(rig: &Rig) -> (EndCause, Option<CloseCode>) {
    let SessionEnd { cause, code } =
        *rig.session.ended().unwrap_or_else(|| panic!("it has not ended: {:?}", rig.session));
    (cause, code)
}

#[test]
fn a_clients_close_goes_to_the_backend_and_the_answer_comes_back() {
    for (code, reason, seen) in [
        (1000, "bye", "<close 1000 bye>"),
        (0, "", "<close>"),
        (1001, "", "<close 1001>"),
        (4321, "x", "<close 4321 x>"),
    ] {
        let mut rig = Rig::new();
        rig.client_says("one");
        rig.client_closes(code, reason);
        assert_eq!(rig.upstream(), ["one", "<ping>", seen]);
        assert_eq!(rig.session.status(), Status::Closing);
        rig.backend_says("last answer");
        rig.backend_closes(code, reason);
        assert_eq!(rig.downstream(), ["last answer", seen]);
        assert_eq!(ended(&rig), (EndCause::ClientClose, (code != 0).then_some(CloseCode(code))));
        assert_eq!(rig.session.ledger().upstream.lost, 0, "the answer proves that all was read");
        assert_eq!(rig.session.ledger().upstream.acknowledged, 1);
    }
}

#[test]
fn the_backends_own_code_comes_back_when_it_differs() {
    let mut rig = Rig::new();
    rig.client_closes(1000, "");
    rig.backend_closes(4000, "seen");
    assert_eq!(rig.downstream(), ["<close 4000 seen>"]);
    assert_eq!(ended(&rig), (EndCause::ClientClose, Some(CloseCode(1000))));
}

#[test]
fn nothing_that_a_client_says_after_its_close_counts() {
    let mut rig = Rig::new();
    let close = masked(true, super::wire::CLOSE, &1000u16.to_be_bytes());
    rig.client_sends(&[upstream("one"), close, upstream("ghost"), masked(true, PING, b"ghost")].concat());
    assert_eq!(
        rig.upstream().into_iter().filter(|frame| frame != "<ping>").collect::<Vec<_>>(),
        ["one", "<close 1000>"]
    );
    rig.backend_closes(1000, "");
    assert_eq!(rig.downstream(), ["<close 1000>"]);
}

#[test]
fn a_client_that_closes_gets_the_answers_that_are_still_to_come() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.client_closes(1000, "");
    rig.wait(secs(2));
    rig.backend_says("slow answer");
    assert_eq!(rig.downstream(), ["slow answer"]);
}

#[test]
fn an_unanswered_close_is_not_waited_for_longer_than_its_time() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.backend_pongs();
    rig.client_closes(1000, "");
    rig.wait(secs(5));
    assert_eq!(rig.downstream(), ["<close 1000>"], "the client gets its own code back");
    assert_eq!((ended(&rig), rig.dials.len()), ((EndCause::ClientClose, Some(CloseCode(1000))), 0));
}

#[test]
fn undelivered_messages_of_a_client_that_closed_are_delivered_elsewhere_and_then_its_close() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.client_says("two");
    rig.client_closes(1000, "bye");
    rig.backend_dies();
    assert_eq!(rig.downstream(), [""; 0], "it waits for its answer");
    rig.fail_dial(DialFailure::Unreachable);
    rig.link_next();
    let upstream = rig.upstream();
    assert_eq!(
        (upstream.first().map(String::as_str), upstream.last().map(String::as_str)),
        (Some("one"), Some("<close 1000 bye>"))
    );
    assert_eq!(upstream.iter().filter(|frame| *frame != "<ping>").count(), 3, "{upstream:?}");
    rig.backend_closes(1000, "bye");
    assert_eq!(rig.downstream(), ["<close 1000 bye>"]);
    assert_eq!(ended(&rig), (EndCause::ClientClose, Some(CloseCode(1000))));
    assert_eq!(rig.session.ledger().upstream.lost, 0);
}

#[test]
fn a_close_that_is_not_answered_proves_nothing_and_the_messages_are_delivered_elsewhere() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.client_closes(1000, "");
    rig.wait(secs(5));
    rig.link_next();
    assert_eq!(rig.upstream().first().map(String::as_str), Some("one"));
    rig.backend_closes(1000, "");
    assert_eq!(ended(&rig), (EndCause::ClientClose, Some(CloseCode(1000))));
}

#[test]
fn a_backend_that_reads_on_slowly_is_given_the_time_to_come_to_the_close() {
    let mut rig = Rig::new();
    let all: Vec<u8> = (0..60).flat_map(|n| upstream(&n.to_string())).collect();
    rig.client_sends(&all);
    rig.client_closes(1000, "");
    assert!(rig.upstream().last().is_some_and(|frame| frame.starts_with("<close")));
    let pings = rig.link().reader.pings.len();
    assert!(pings > 3, "{pings} pings show how far it is");
    for _ in 1..pings {
        rig.wait(secs(4));
        let nonce = rig.link().reader.pings.pop_front().expect("a ping");
        rig.backend_sends(&plain(true, PONG, &nonce));
        assert_eq!((rig.links.len(), rig.session.wants_link()), (1, true), "it reads on");
    }
    rig.wait(secs(10));
    assert!(!rig.session.wants_link(), "it reads no further");
    assert!(rig.notes.iter().any(|told| *told == Event::Failed(Failure::Silence)));
}

#[test]
fn a_backend_is_not_left_for_a_close_that_waits_behind_what_a_slow_client_does_not_take() {
    let mut rig = Rig::new();
    rig.set_client_room(0);
    rig.backend_says(&"x".repeat(900_000));
    rig.backend_says(&"x".repeat(900_000));
    rig.client_says("one");
    rig.client_closes(1000, "");
    assert!(!rig.session.wants_backend());
    rig.wait(secs(20));
    assert!(rig.session.wants_link(), "it may have answered");
    rig.set_client_room(usize::MAX);
    rig.backend_closes(1000, "");
    assert_eq!((ended(&rig), rig.links.len()), ((EndCause::ClientClose, Some(CloseCode(1000))), 1));
}

#[test]
fn a_failure_code_that_crosses_the_clients_close_is_no_answer_to_it() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.client_closes(1000, "");
    // The backend restarts. It said so before it read the message; its pong has not come either.
    rig.backend_closes(1012, "service restart");
    rig.link_next();
    assert_eq!(rig.upstream().first().map(String::as_str), Some("one"), "nobody has acknowledged it");
}

#[test]
fn a_session_whose_messages_are_delivered_is_never_redialled_for_a_close() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.backend_pongs();
    rig.client_closes(1000, "");
    rig.backend_dies();
    rig.wait(secs(60));
    assert_eq!((rig.downstream(), rig.dials.len()), (vec!["<close 1000>".to_owned()], 0));
    assert_eq!(ended(&rig), (EndCause::ClientClose, Some(CloseCode(1000))));
}

#[test]
fn after_a_clients_eof_its_messages_are_delivered_and_then_the_backend_is_hung_up_on() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.client_goes();
    assert_eq!(rig.link().dropped, None, "one is not acknowledged yet");
    rig.backend_pongs();
    assert_eq!(rig.upstream(), ["one", "<ping>"], "an EOF is passed on as one");
    assert_eq!(rig.link().dropped, Some(Drop::Closed));
    assert_eq!(ended(&rig), (EndCause::ClientGone, None));
}

#[test]
fn undelivered_messages_of_a_gone_client_are_delivered_elsewhere() {
    for ack in [AckMode::Pong, AckMode::None] {
        let mut rig = Rig::with(|config| config.ack = ack);
        rig.backend_room = 3;
        rig.client_says("one");
        rig.client_goes();
        rig.backend_dies();
        rig.backend_room = usize::MAX;
        rig.link_next();
        assert_eq!(rig.upstream()[0], "one");
        if ack == AckMode::Pong {
            assert_eq!(rig.session.ended(), None);
            rig.backend_pongs();
        }
        assert_eq!(ended(&rig), (EndCause::ClientGone, None));
        assert_eq!((rig.link().dropped, rig.session.ledger().upstream.lost), (Some(Drop::Closed), 0));
    }
}

#[test]
fn a_gone_client_that_owes_nothing_ends_its_session_at_once() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.backend_pongs();
    rig.client_goes();
    assert_eq!((ended(&rig), rig.link().dropped), ((EndCause::ClientGone, None), Some(Drop::Closed)));
}

#[test]
fn a_client_that_goes_in_its_own_failover_with_an_empty_ring_is_not_redialled() {
    // Before the dial, and in the middle of it.
    for dialing in [false, true] {
        let mut rig = Rig::with(|config| config.jitter = if dialing { ms(0) } else { secs(1) });
        rig.session.handle_backend_lost(rig.now, Failure::Eof);
        rig.round();
        assert_eq!(rig.session.wants_dial(), dialing);
        rig.client_goes();
        assert!(!rig.session.wants_dial());
        assert!(!rig.session.handle_linked(rig.now, false, 2), "the driver drops the backend");
        rig.wait(secs(60));
        assert_eq!((ended(&rig), rig.dials.len()), ((EndCause::ClientGone, None), usize::from(dialing)));
    }
}

#[test]
fn a_client_that_goes_in_its_own_failover_with_messages_is_still_delivered() {
    let mut rig = Rig::new();
    rig.backend_dies();
    rig.client_says("one");
    rig.client_sends(&masked(false, TEXT, b"never ended"));
    rig.client_goes();
    assert!(rig.link_with(false));
    assert_eq!(rig.upstream(), ["one", "<ping>"]);
    rig.backend_pongs();
    assert_eq!((ended(&rig), rig.link().dropped), ((EndCause::ClientGone, None), Some(Drop::Closed)));
}

#[test]
fn delivery_for_a_gone_client_does_not_outlast_the_deadline() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.backend_dies();
    rig.client_goes();
    rig.wait(secs(31));
    assert_eq!(ended(&rig), (EndCause::ClientGone, None));
    assert_eq!(rig.session.ledger().upstream.lost, 1);
}

#[test]
fn delivery_to_a_stopped_backend_does_not_outlast_the_deadline_either() {
    for close in [false, true] {
        let mut rig = Rig::new();
        // The backend takes nothing, says nothing, and there is no other.
        rig.backend_room = 3;
        rig.client_says("one");
        if close {
            rig.client_closes(1000, "");
        } else {
            rig.client_goes();
        }
        for _ in 0..120 {
            rig.wait(secs(1));
            if rig.take_notes().iter().any(|told| *told == Command::JudgeSilence) {
                rig.judge(Evidence { other: false, ..MUTE });
            }
        }
        assert!(rig.session.ended().is_some(), "close {close}: {:?}", rig.session);
        assert_eq!(rig.session.ledger().upstream.lost, 1);
    }
}

#[test]
fn a_cut_message_is_dropped_and_the_backend_reset() {
    for ack in [AckMode::Pong, AckMode::None] {
        let mut rig = Rig::with(|config| config.ack = ack);
        rig.client_sends(&masked(false, TEXT, b"a part"));
        rig.client_goes();
        assert_eq!(rig.link().dropped, Some(Drop::Reset));
        assert_eq!((ended(&rig), rig.dials.len()), ((EndCause::ClientGone, None), 0));
        assert_eq!(rig.session.ledger().upstream.lost, 0, "it was never a message");
    }
}

#[test]
fn a_message_of_which_the_backend_has_seen_nothing_is_not_cut() {
    let mut rig = Rig::new();
    rig.backend_room = 0;
    rig.client_sends(&[upstream("one"), masked(false, TEXT, b"a part")].concat());
    rig.client_goes();
    rig.backend_room = usize::MAX;
    rig.pump();
    rig.backend_pongs();
    assert_eq!(rig.upstream(), ["one", "<ping>"]);
    assert_eq!(rig.link().dropped, Some(Drop::Closed));
}

#[test]
fn whole_messages_that_cannot_be_acknowledged_before_a_cut_one_go_to_another_backend() {
    let mut rig = Rig::new();
    let open = masked(false, TEXT, b"a part");
    // As many pings are out as may be, each in front of a message that comes by parts.
    for n in 0..8 {
        rig.client_sends(&[upstream(&n.to_string()), open.clone()].concat());
        rig.client_sends(&masked(true, CONTINUATION, b", the rest"));
    }
    rig.client_sends(&[upstream("last"), open].concat());
    rig.client_goes();
    rig.backend_pongs();
    assert_eq!(rig.session.ledger().upstream.acknowledged, 15);
    rig.link_next();
    let replay = ["a part, the rest", "last", "<ping>"];
    assert_eq!(rig.upstream(), replay, "no part of the message that was cut");
    rig.backend_pongs();
    assert_eq!((ended(&rig), rig.session.ledger().upstream.lost), ((EndCause::ClientGone, None), 0));
    assert_eq!(rig.session.ledger().upstream.replayed, 2, "nothing else was written again");
}

#[test]
fn held_messages_before_a_cut_one_are_acknowledged_and_not_sent_elsewhere() {
    let mut rig = Rig::with(|config| config.ack_hold = ms(200));
    rig.client_says("one");
    rig.backend_pongs();
    rig.client_sends(&masked(false, TEXT, b"a part"));
    rig.client_goes();
    rig.wait(secs(1));
    assert_eq!((rig.dials.len(), rig.link().dropped), (0, Some(Drop::Reset)), "the backend lives and has it");
}

#[test]
fn a_client_that_closes_in_the_middle_of_a_message_is_answered_and_the_backend_reset() {
    let mut rig = Rig::new();
    rig.client_sends(&masked(false, TEXT, b"a part"));
    rig.client_closes(1000, "");
    assert_eq!(rig.downstream(), ["<close 1000>"]);
    assert_eq!(
        (rig.link().dropped, rig.upstream().len()),
        (Some(Drop::Reset), 0),
        "a Close has no place in a message"
    );
    assert_eq!(ended(&rig), (EndCause::ClientClose, Some(CloseCode(1000))));
}

#[test]
fn the_client_may_go_while_its_close_is_delivered_elsewhere() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.client_closes(1000, "bye");
    rig.backend_dies();
    rig.client_goes();
    rig.link_next();
    assert_eq!(rig.upstream().last().map(String::as_str), Some("<close 1000 bye>"));
    rig.backend_closes(1000, "bye");
    assert_eq!(ended(&rig), (EndCause::ClientClose, Some(CloseCode(1000))));
}

#[test]
fn answers_for_a_gone_client_go_nowhere() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.client_goes();
    rig.backend_says("too late");
    rig.backend_sends(&super::wire::plain(false, TEXT, b"too"));
    rig.backend_sends(&super::wire::plain(true, CONTINUATION, b"late"));
    assert_eq!((rig.downstream().len(), rig.session.ledger().downstream.forwarded), (0, 0));
    rig.backend_pongs();
    assert_eq!(ended(&rig), (EndCause::ClientGone, None));
}

#[test]
fn what_a_gone_client_has_not_read_is_counted_as_lost() {
    let mut rig = Rig::new();
    rig.client_room = 2;
    rig.backend_says("one");
    rig.backend_says("two");
    rig.client_goes();
    let ledger = rig.session.ledger().downstream;
    assert_eq!((ledger.forwarded, ledger.acknowledged, ledger.lost), (2, 0, 2));
    assert_eq!(rig.session.buffered(), 0);
}

#[test]
fn a_fragmented_message_that_is_not_read_is_one_lost_message() {
    for room in 0..8 {
        let mut rig = Rig::new();
        rig.client_room = room;
        let parts =
            [super::wire::plain(false, TEXT, b"one"), super::wire::plain(true, CONTINUATION, b" too")];
        rig.backend_sends(&parts.concat());
        rig.client_goes();
        assert_eq!(rig.session.ledger().downstream.lost, 1, "{room} bytes were taken");
    }
}

#[test]
fn a_control_frame_that_is_not_read_is_no_lost_message() {
    let mut rig = Rig::new();
    rig.client_room = 1;
    rig.client_sends(&masked(true, PING, b"hello"));
    rig.client_goes();
    assert_eq!(rig.session.ledger().downstream.lost, 0);
}

/// The rest of the message will not come, so that nothing can follow it.
#[test]
fn a_ping_is_not_answered_inside_a_message_that_was_cut() {
    let mut rig = Rig::new();
    let message = upstream("a message that is cut in the middle");
    let (part, rest) = message.split_at(20);
    rig.client_says("one");
    let before = rig.link().reader.bytes.len();
    rig.client_sends(part);
    rig.session.shut_down(rig.now, CloseCode(1001));
    rig.client_sends(rest);
    rig.backend_sends(&plain(true, PING, b"are you there"));
    assert_eq!(rig.link().reader.bytes[before..], *part);
}
