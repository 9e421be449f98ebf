//! A backend fails: it is left, another is dialled, and the session goes on there.

use super::rig::{Drop, NOTHING, Rig, Told, ms, secs};
use super::wire::{CONTINUATION, TEXT, downstream, masked, plain, upstream};
use crate::session::{AckMode, Dial, DialFailure, EndCause, Event, Failure, SessionEnd, Status};
use crate::websocket::close_code::CloseCode;

#[test]
fn the_ring_is_replayed_with_the_same_bytes_and_the_session_goes_on() {
    let mut rig = Rig::new();
    rig.client_says("acknowledged");
    rig.backend_pongs();
    rig.client_says("one");
    rig.client_says("two");
    rig.backend_dies();
    assert_eq!(rig.links[0].dropped, Some(Drop::Reset), "later bytes of it are not waited for");
    rig.client_says("three");
    rig.link_next();
    let expected = [upstream("one"), upstream("two"), upstream("three")].concat();
    assert!(rig.link().reader.bytes.starts_with(&expected));
    assert_eq!(rig.upstream(), ["one", "two", "three", "<ping>"]);
    rig.backend_pongs();
    rig.client_says("four");
    rig.backend_says("answer");
    assert_eq!(
        (rig.upstream(), rig.downstream()),
        (vec!["four".to_owned(), "<ping>".to_owned()], vec!["answer".to_owned()])
    );
    let ledger = rig.session.ledger();
    assert_eq!(
        (ledger.upstream.forwarded, ledger.upstream.acknowledged, ledger.upstream.replayed),
        (5, 4, 2)
    );
    assert_eq!(
        (ledger.upstream.lost, ledger.upstream.in_doubt),
        (0, 3),
        "one acknowledged and unanswered, two replayed"
    );
}

#[test]
fn what_a_backend_had_not_acknowledged_is_known_when_it_was_left() {
    let mut rig = Rig::new();
    rig.client_says("acknowledged");
    rig.backend_pongs();
    rig.client_says("one");
    rig.client_says("two");
    rig.backend_dies();
    assert_eq!((rig.session.left_unread(), rig.session.settled()), (Some(2..=3), false));
    rig.link_next();
    assert!(!rig.session.settled(), "it has not acknowledged the replay");
    rig.backend_pongs();
    assert!(rig.session.settled());
    rig.backend_dies();
    assert_eq!(rig.session.left_unread(), None);
}

#[test]
fn notes_tell_of_the_failure_and_of_the_pause() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.backend_fails(Failure::Reset);
    assert_eq!(rig.take_notes(), [Event::Failed(Failure::Reset)]);
    rig.dial();
    rig.wait(ms(40));
    assert!(rig.link_with(false));
    assert_eq!(rig.take_notes(), [Event::Linked { pause: ms(40), replayed: 1 }]);
    assert_eq!(rig.session.failovers(), 1);
}

#[test]
fn each_failure_of_an_episode_has_a_pause_of_its_own() {
    let mut rig = Rig::new();
    rig.backend_dies();
    rig.link_next();
    rig.wait(secs(3));
    rig.backend_dies();
    let failed = rig.now;
    rig.take_notes();
    rig.link_next();
    assert_eq!(rig.take_notes(), [Event::Linked { pause: rig.now.since(failed), replayed: 0 }]);
}

#[test]
fn a_message_is_in_doubt_once_however_often_it_is_replayed() {
    let mut rig = Rig::with(|config| config.poison_deaths = 10);
    rig.client_says("one");
    for _ in 0..3 {
        rig.backend_dies();
        rig.link_next();
    }
    let ledger = rig.session.ledger().upstream;
    assert_eq!((ledger.in_doubt, ledger.replayed), (1, 3));
}

#[test]
fn what_was_acknowledged_and_answered_is_not_in_doubt() {
    let mut rig = Rig::new();
    for _ in 0..3 {
        rig.client_says("question");
        rig.backend_pongs();
        rig.backend_says("answer");
    }
    rig.backend_dies();
    assert_eq!(rig.session.ledger().upstream.in_doubt, 0);
    rig.link_next();
    rig.client_says("question");
    rig.backend_pongs();
    rig.backend_dies();
    assert_eq!(rig.session.ledger().upstream.in_doubt, 1, "read, and perhaps never answered");
}

#[test]
fn states_follow_the_diagram() {
    let mut rig = Rig::with(|config| config.jitter = ms(10));
    rig.client_says("one");
    assert_eq!(rig.session.status(), Status::Relaying);
    rig.session.handle_backend_lost(rig.now, Failure::Eof);
    assert_eq!((rig.session.status(), rig.session.wants_link()), (Status::Waiting, false));
    rig.dial();
    assert_eq!(rig.session.status(), Status::Dialing);
    rig.fail_dial(DialFailure::Unreachable);
    assert_eq!(rig.session.status(), Status::Waiting);
    rig.link_next();
    assert_eq!(rig.session.status(), Status::Replaying);
    rig.backend_pongs();
    assert_eq!(rig.session.status(), Status::Settling);
    rig.wait(secs(5));
    assert_eq!(rig.session.status(), Status::Relaying);
}

#[test]
fn attempts_are_counted_from_the_dial_that_began_the_session() {
    let mut rig = Rig::new();
    rig.backend_dies();
    rig.fail_dial(DialFailure::Unreachable);
    rig.link_next();
    rig.wait(secs(60));
    rig.backend_dies();
    rig.link_next();
    let dials: Vec<Dial> = rig.dials.iter().map(|(_, dial)| *dial).collect();
    assert_eq!(dials, [2, 3, 4].map(|attempt| Dial { attempt, held: false, suspect: false, accused: None }));
}

#[test]
fn compressed_messages_are_replayed_as_they_came() {
    let mut rig = Rig::begin(|_| {}, true, false);
    let (upstream, downstream) = (compressed(upstream("one")), compressed(downstream("answer")));
    rig.client_sends(&upstream);
    rig.backend_dies();
    rig.link_next();
    assert!(rig.link().reader.bytes.starts_with(&upstream));
    rig.backend_sends(&downstream);
    assert_eq!(rig.client.bytes, downstream);
    rig.backend_pongs();
    assert_eq!(rig.session.ledger().upstream.acknowledged, 1);
}

/// The same frame with the bit of permessage-deflate.
fn compressed(mut frame: Vec<u8>) -> Vec<u8> {
    frame[0] |= 0x40;
    frame
}

#[test]
fn an_idle_session_moves_too() {
    let mut rig = Rig::new();
    rig.backend_dies();
    rig.link_next();
    assert_eq!(rig.upstream(), [""; 0]);
    rig.backend_says("hello again");
    assert_eq!(rig.downstream(), ["hello again"]);
}

#[test]
fn an_open_client_message_restarts_from_its_first_byte() {
    let mut rig = Rig::new();
    let (first, second) = (masked(false, TEXT, b"first half, "), masked(true, CONTINUATION, b"second half"));
    rig.client_sends(&first);
    rig.client_sends(&second[..9]);
    assert_eq!(rig.links[0].reader.bytes.len(), first.len() + 9);
    rig.backend_dies();
    rig.link_next();
    assert_eq!(rig.links[1].reader.bytes, [&first[..], &second[..9]].concat());
    rig.client_sends(&second[9..]);
    assert_eq!(rig.upstream(), ["first half, second half", "<ping>"]);
}

#[test]
fn a_half_written_message_restarts_from_its_first_byte() {
    for ack in [AckMode::Pong, AckMode::None] {
        let mut rig = Rig::with(|config| config.ack = ack);
        rig.backend_room = upstream("first").len() + 7;
        rig.client_sends(&[upstream("first"), upstream("second")].concat());
        rig.backend_dies();
        rig.backend_room = usize::MAX;
        rig.link_next();
        match ack {
            AckMode::Pong | AckMode::Shim => assert_eq!(rig.upstream(), ["first", "second", "<ping>"]),
            AckMode::None => {
                assert_eq!(rig.upstream(), ["second"], "the first was written, and is forgotten")
            }
        }
    }
}

#[test]
fn without_acks_what_was_not_written_goes_to_the_next_backend() {
    let mut rig = Rig::with(|config| config.ack = AckMode::None);
    rig.client_says("written");
    rig.backend_dies();
    rig.client_says("queued");
    rig.link_next();
    assert_eq!(rig.upstream(), ["queued"]);
    let ledger = rig.session.ledger().upstream;
    assert_eq!(
        (ledger.forwarded, ledger.lost, ledger.in_doubt),
        (2, 1, 0),
        "nobody knows whether the first was read"
    );
}

#[test]
fn half_a_backend_message_dies_with_its_backend() {
    let mut rig = Rig::new();
    rig.backend_sends(
        &[downstream("whole"), plain(false, TEXT, b"half"), plain(true, CONTINUATION, b" m")[..3].to_vec()]
            .concat(),
    );
    rig.backend_dies();
    rig.link_next();
    rig.backend_says("from the next");
    assert_eq!(rig.downstream(), ["whole", "from the next"]);
    let ledger = rig.session.ledger().downstream;
    assert_eq!((ledger.forwarded, ledger.acknowledged, ledger.suppressed, ledger.lost), (2, 2, 1, 0));
    assert_eq!(rig.session.buffered(), 0);
}

#[test]
fn the_new_backend_begins_a_new_stream_of_frames() {
    let mut rig = Rig::new();
    rig.backend_sends(&plain(true, TEXT, &[b'x'; 300])[..3]);
    rig.backend_dies();
    rig.link_next();
    rig.backend_says("fresh");
    assert_eq!(rig.downstream(), ["fresh"], "nothing is left of the header that the dead one had begun");
}

#[test]
fn a_pong_of_the_dead_backend_is_no_answer_for_the_next() {
    let mut rig = Rig::new();
    rig.client_says("one");
    let nonce = rig.link().reader.pings[0].clone();
    rig.backend_dies();
    rig.link_next();
    rig.backend_sends(&plain(true, super::wire::PONG, &nonce));
    assert_eq!(rig.session.ledger().upstream.acknowledged, 0);
    rig.backend_pongs();
    assert_eq!(rig.session.ledger().upstream.acknowledged, 1);
}

#[test]
fn each_failure_code_moves_the_session_and_nothing_after_the_close_counts() {
    for code in [1001, 1011, 1012, 1013, 1014] {
        let mut rig = Rig::new();
        rig.client_says("one");
        let close = plain(true, super::wire::CLOSE, &super::wire::close_payload(code, "bye"));
        rig.backend_sends(&[downstream("last answer"), close, downstream("ghost")].concat());
        assert_eq!(rig.take_notes(), [Event::Failed(Failure::Close(CloseCode(code)))]);
        rig.link_next();
        assert_eq!(rig.upstream(), ["one", "<ping>"], "code {code}");
        assert_eq!(rig.downstream(), ["last answer"], "code {code}");
    }
}

#[test]
fn the_set_of_failure_codes_is_the_pools() {
    let mut rig = Rig::with(|config| config.failure_codes = vec![CloseCode(4000)]);
    rig.backend_closes(4000, "");
    assert_eq!(rig.session.status(), Status::Dialing);
    rig.link_next();
    rig.backend_closes(1012, "restart");
    assert_eq!(rig.downstream(), ["<close 1012 restart>"]);
}

#[test]
fn a_backend_that_breaks_the_protocol_has_failed() {
    let breaches: [&[u8]; 6] =
        [b"\xA1\x00", b"\x83\x00", b"\x81\x81\0\0\0\0a", b"\x80\x00", b"\x09\x00", b"\x82\x7E\x00\x01a"];
    for breach in breaches {
        let mut rig = Rig::new();
        rig.client_says("one");
        rig.backend_sends(&[downstream("fine").as_slice(), breach, &downstream("ghost")].concat());
        let notes = rig.take_notes();
        assert!(
            matches!(
                notes[..],
                [Told::Event(Event::BackendViolation(_)), Told::Event(Event::Failed(Failure::Protocol))]
            ),
            "{notes:?}"
        );
        rig.link_next();
        assert_eq!(
            (rig.upstream(), rig.downstream()),
            (vec!["one".to_owned(), "<ping>".to_owned()], vec!["fine".to_owned()])
        );
    }
}

#[test]
fn on_failure_close_ends_the_session() {
    let config_closes = Rig::with(|config| config.failover = false);
    let backend_asks = Rig::begin(|_| {}, false, true);
    for mut rig in [config_closes, backend_asks] {
        rig.client_says("one");
        rig.backend_dies();
        let downstream = rig.downstream();
        assert!(matches!(&downstream[..], [close] if close.starts_with("<close 1012")), "{downstream:?}");
        rig.client_closes(1012, "");
        assert_eq!(
            rig.session.ended(),
            Some(&SessionEnd { cause: EndCause::BackendFailed, code: Some(CloseCode(1012)) })
        );
        assert_eq!((rig.dials.len(), rig.session.failovers(), rig.session.ledger().upstream.lost), (0, 0, 1));
        assert_eq!(rig.take_notes(), NOTHING, "nothing fails over");
    }
}

#[test]
fn on_failure_close_holds_for_failure_codes_too() {
    let mut rig = Rig::with(|config| config.failover = false);
    rig.backend_closes(1012, "");
    let downstream = rig.downstream();
    assert!(matches!(&downstream[..], [close] if close.starts_with("<close 1012")), "{downstream:?}");
    rig.client_closes(1012, "");
    assert_eq!(rig.session.ended().map(|end| end.cause), Some(EndCause::BackendFailed));
    assert_eq!(rig.dials.len(), 0);
}

#[test]
fn a_later_backend_can_ask_not_to_be_replaced() {
    let mut rig = Rig::new();
    rig.backend_dies();
    rig.dial();
    assert!(rig.link_with(true));
    rig.backend_dies();
    assert!(rig.downstream()[0].starts_with("<close 1012"));
    let mut rig = Rig::new();
    rig.backend_dies();
    rig.dial();
    assert!(rig.link_with(false), "the next may not mind");
    rig.backend_dies();
    assert_eq!(rig.downstream(), [""; 0]);
}

#[test]
fn on_failure_close_holds_when_the_client_has_left() {
    let mut rig = Rig::with(|config| config.failover = false);
    rig.client_says("one");
    rig.client_closes(1000, "");
    rig.backend_dies();
    rig.wait(secs(60));
    assert_eq!(rig.dials.len(), 0, "the session does not outlive its backend");
    assert_eq!(rig.session.ledger().upstream.lost, 1);
    assert!(rig.session.ended().is_some());
}

#[test]
fn a_backend_that_fails_during_the_replay_is_replaced_and_nothing_is_skipped() {
    let mut rig = Rig::with(|config| config.poison_deaths = 10);
    for text in ["one", "two", "three"] {
        rig.client_says(text);
    }
    rig.backend_dies();
    rig.backend_room = upstream("one").len() + 3;
    rig.link_next();
    assert_eq!(rig.upstream(), ["one"]);
    rig.backend_dies();
    rig.backend_room = usize::MAX;
    rig.take_notes();
    rig.link_next();
    assert_eq!(rig.upstream(), ["one", "two", "three", "<ping>"]);
    let notes = rig.take_notes();
    assert!(
        matches!(notes[..], [Told::Event(Event::Linked { replayed: 3, .. })]),
        "it gets three messages again: {notes:?}"
    );
}

#[test]
fn frames_that_arrive_while_the_link_is_swapped_queue_behind_the_replay() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.backend_dies();
    rig.client_says("two");
    rig.dial();
    rig.client_says("three");
    rig.backend_room = 2;
    assert!(rig.link_with(false));
    rig.client_says("four");
    rig.backend_room = usize::MAX;
    rig.pump();
    let upstream = rig.upstream();
    assert_eq!(
        upstream.iter().filter(|frame| *frame != "<ping>").collect::<Vec<_>>(),
        ["one", "two", "three", "four"]
    );
}

#[test]
fn a_session_that_dials_answers_its_clients_pings() {
    let mut rig = Rig::new();
    rig.backend_dies();
    rig.dial();
    rig.client_sends(&masked(true, super::wire::PING, b"alive?"));
    assert_eq!(rig.downstream(), ["<pong alive?>"]);
}
