//! Bad input and full buffers: the RFC's close codes, and pushing back.

use super::rig::{Drop, Rig, secs};
use super::wire::{CONTINUATION, PING, TEXT, downstream, masked, plain, upstream};
use crate::session::{EndCause, Event};
use crate::websocket::close_code::CloseCode;
use crate::websocket::violation::Violation;

/// A session with messages of at most 1000 bytes and a ring of 2000.
fn small() -> Rig {
    Rig::with(|config| (config.message_limit, config.ring_limit) = (1000, 2000))
}

#[test]
fn a_client_that_breaks_the_protocol_is_closed_and_the_backend_gets_what_came_before() {
    let breaches: [(&[u8], Violation); 9] = [
        (b"\x81\x01a", Violation::Unmasked),
        (b"\xA1\x80\0\0\0\0", Violation::ReservedBits),
        (b"\xC1\x80\0\0\0\0", Violation::ReservedBits),
        (b"\x83\x80\0\0\0\0", Violation::ReservedOpcode(3)),
        (b"\x80\x80\0\0\0\0", Violation::UnexpectedContinuation),
        (b"\x09\x80\0\0\0\0", Violation::FragmentedControl),
        (b"\x89\xFE\x00\x7E\0\0\0\0", Violation::LongControl),
        (b"\x82\xFE\x00\x01\0\0\0\0a", Violation::NonMinimalLength),
        (b"\x88\x81\0\0\0\0a", Violation::ShortClose),
    ];
    for (breach, violation) in breaches {
        let mut rig = Rig::new();
        rig.client_sends(&[upstream("one").as_slice(), breach, &upstream("ghost")].concat());
        assert_eq!(rig.take_notes(), [Event::ClientViolation(violation)]);
        let (upstream, downstream) = (rig.upstream(), rig.downstream());
        assert!(
            upstream[0] == "one" && upstream.last().is_some_and(|close| close.starts_with("<close 1002")),
            "{upstream:?}"
        );
        assert!(matches!(&downstream[..], [close] if close.starts_with("<close 1002")), "{downstream:?}");
        rig.backend_closes(1002, "");
        rig.client_closes(1002, "");
        rig.client_goes();
        rig.wait(secs(5));
        assert_eq!(
            rig.session.ended().map(|end| (end.cause, end.code)),
            Some((EndCause::ProtocolClient, Some(CloseCode(1002))))
        );
        assert_eq!((rig.dials.len(), rig.session.ledger().upstream.lost), (0, 0));
    }
}

#[test]
fn a_breach_inside_a_message_resets_the_backend() {
    let mut rig = Rig::new();
    rig.client_sends(&masked(false, TEXT, b"begun"));
    rig.client_sends(&upstream("not a continuation"));
    assert!(rig.downstream()[0].starts_with("<close 1002"));
    assert_eq!((rig.link().dropped, rig.dials.len()), (Some(Drop::Reset), 0));
}

#[test]
fn a_clients_message_over_the_limit_is_refused_by_its_header() {
    let mut rig = small();
    rig.client_says(&"x".repeat(1000));
    assert_eq!(rig.downstream(), [""; 0], "exactly the limit passes");
    rig.client_sends(&masked(true, TEXT, &[b'x'; 1001])[..8]);
    assert!(rig.downstream()[0].starts_with("<close 1009"));
    assert!(rig.upstream().last().is_some_and(|close| close.starts_with("<close 1009")));
    rig.client_goes();
    rig.backend_closes(1009, "");
    assert_eq!(
        rig.session.ended().map(|end| (end.cause, end.code)),
        Some((EndCause::ProtocolClient, Some(CloseCode(1009))))
    );
}

#[test]
fn a_clients_fragments_count_together() {
    let mut rig = small();
    rig.client_sends(&masked(false, TEXT, &[b'x'; 600]));
    rig.client_sends(&masked(true, CONTINUATION, &[b'x'; 401])[..8]);
    assert!(rig.downstream()[0].starts_with("<close 1009"));
}

#[test]
fn a_backends_message_over_the_limit_ends_the_session_and_is_not_its_failure() {
    let mut rig = small();
    rig.client_says("one");
    rig.backend_sends(&[downstream("fine"), plain(true, TEXT, &[b'x'; 1001]), downstream("ghost")].concat());
    assert_eq!(rig.take_notes(), [Event::BackendViolation(Violation::MessageTooBig)]);
    let (upstream, downstream) = (rig.upstream(), rig.downstream());
    assert!(downstream[0] == "fine" && downstream[1].starts_with("<close 1009"), "{downstream:?}");
    assert!(upstream.last().is_some_and(|close| close.starts_with("<close 1009")), "{upstream:?}");
    rig.backend_dies();
    rig.client_closes(1009, "");
    rig.wait(secs(60));
    let end = rig.session.ended().map(|end| (end.cause, end.code));
    assert_eq!(end, Some((EndCause::ProtocolBackendTooBig, Some(CloseCode(1009)))));
    assert_eq!((rig.take_notes(), rig.dials.len()), (vec![], 0), "no failure, no other backend");
}

#[test]
fn a_backend_that_never_answers_the_1009_has_not_failed_either() {
    let mut rig = small();
    rig.client_says("one");
    rig.backend_sends(&plain(true, TEXT, &[b'x'; 1001]));
    rig.take_notes();
    rig.client_closes(1009, "");
    rig.wait(secs(60));
    assert_eq!((rig.take_notes(), rig.dials.len()), (vec![], 0));
    assert_eq!(rig.session.ended().map(|end| end.cause), Some(EndCause::ProtocolBackendTooBig));
}

#[test]
fn a_full_ring_pushes_back_and_a_pong_lets_go() {
    let mut rig = small();
    let message = "x".repeat(900);
    for _ in 0..5 {
        rig.client_says(&message);
    }
    assert_eq!(rig.session.client_read_limit(false), 0);
    assert!(rig.client_pushed_back() > 0);
    let kept = rig.session.unacknowledged();
    assert!((2000..2000 + 1000 + 100).contains(&kept), "{kept} bytes are kept");
    for _ in 0..10 {
        if !rig.link().reader.pings.is_empty() {
            rig.backend_pongs();
        }
    }
    assert_eq!((rig.client_pushed_back(), rig.session.unacknowledged()), (0, 0));
    let upstream = rig.upstream();
    assert_eq!(upstream.iter().filter(|frame| **frame == message).count(), 5);
}

#[test]
fn a_full_ring_pushes_back_between_messages_only() {
    let mut rig = small();
    rig.client_says(&"x".repeat(900));
    rig.client_says(&"x".repeat(900));
    let open = [masked(false, TEXT, &[b'y'; 300]), masked(false, CONTINUATION, &[b'y'; 300])].concat();
    let rest = masked(true, CONTINUATION, &[b'y'; 300]);
    rig.client_sends(&open);
    rig.client_sends(&[rest, upstream("next")].concat());
    assert!(
        rig.upstream().iter().any(|frame| frame.starts_with("yyy")),
        "the message that fills the ring can end"
    );
    // Reading past the end of it could have begun the next by a few bytes at the most.
    assert!(rig.client_pushed_back() + 6 >= upstream("next").len(), "{}", rig.client_pushed_back());
    assert_eq!(rig.session.ledger().upstream.forwarded, 3);
    assert_eq!(rig.session.client_read_limit(false), 0);
}

#[test]
fn no_byte_of_the_next_message_is_read_behind_the_one_that_fills_the_ring() {
    let mut rig = small();
    rig.client_says(&"x".repeat(900));
    rig.client_says(&"x".repeat(900));
    rig.client_sends(&masked(false, TEXT, &[b'y'; 300]));
    assert!(rig.session.client_read_limit(false) > 0);
    rig.client_sends(&[masked(true, CONTINUATION, b""), upstream("next")].concat());
    assert_eq!(
        (rig.session.ledger().upstream.forwarded, rig.client_pushed_back()),
        (3, upstream("next").len())
    );
}

#[test]
fn when_memory_is_short_not_even_an_open_message_is_read() {
    let mut rig = Rig::new();
    assert_eq!(rig.session.client_read_limit(true), 0);
    rig.client_sends(&masked(false, TEXT, b"begun"));
    assert_eq!(rig.session.client_read_limit(true), 0);
    assert!(rig.session.client_read_limit(false) > 0);
}

#[test]
fn a_client_that_was_told_goodbye_is_read_for_its_answer_also_when_memory_is_short() {
    let mut rig = Rig::new();
    rig.backend_closes(1000, "");
    assert!(rig.session.client_read_limit(true) > 0);
}

#[test]
fn while_it_waits_for_a_backend_a_session_reads_until_its_ring_is_full() {
    let mut rig = small();
    rig.backend_dies();
    rig.dial();
    for n in 0..100 {
        rig.client_says(&format!("{n}: {}", "x".repeat(100)));
    }
    let kept = rig.session.unacknowledged();
    assert!((2000..3100).contains(&kept), "{kept}");
    assert!(rig.link_with(false));
    for _ in 0..200 {
        if rig.link().reader.pings.is_empty() {
            break;
        }
        rig.backend_pongs();
    }
    let upstream: Vec<String> = rig.upstream().into_iter().filter(|frame| frame != "<ping>").collect();
    assert_eq!(upstream.len(), 100);
    assert!(upstream.iter().enumerate().all(|(n, frame)| frame.starts_with(&format!("{n}: "))));
    assert_eq!(rig.session.ledger().upstream.replayed, 0, "nothing of it was written before");
}

#[test]
fn a_backend_is_not_read_while_much_waits_for_a_slow_client() {
    let mut rig = Rig::new();
    rig.client_room = 0;
    for _ in 0..100 {
        rig.backend_says(&"x".repeat(50_000));
    }
    assert!(!rig.session.wants_backend());
    assert!(rig.session.buffered() < 512 * 1024, "{} bytes wait", rig.session.buffered());
    rig.client_room = usize::MAX;
    rig.pump();
    assert_eq!((rig.downstream().len(), rig.session.buffered()), (100, 0));
}

#[test]
fn tiny_fragments_do_not_carry_a_message_past_its_limit() {
    for size in [0, 1] {
        let mut rig = small();
        rig.client_sends(&masked(false, TEXT, b"begun"));
        for _ in 0..5000 {
            rig.client_sends(&masked(false, CONTINUATION, &vec![b'x'; size]));
        }
        let kept = rig.session.buffered();
        assert!(kept < 2 * (2000 + 1000), "fragments of {size} bytes: {kept} bytes are kept");
        let mut rig = small();
        rig.backend_sends(&plain(false, TEXT, b"begun"));
        for _ in 0..5000 {
            rig.backend_sends(&plain(false, CONTINUATION, &vec![b'x'; size]));
        }
        let kept = rig.session.buffered();
        assert!(kept < 2 * (2000 + 1000), "a backend's fragments of {size} bytes: {kept} bytes are kept");
    }
}

#[test]
fn floods_of_pings_are_answered_and_do_not_grow_anything() {
    let mut rig = Rig::new();
    (rig.client_room, rig.backend_room) = (0, 0);
    for n in 0..10_000u32 {
        rig.client_sends(&masked(true, PING, &n.to_be_bytes()));
        rig.backend_sends(&plain(true, PING, format!("{n}").as_bytes()));
    }
    assert!(rig.session.buffered() < 8192, "{}", rig.session.buffered());
    (rig.client_room, rig.backend_room) = (usize::MAX, usize::MAX);
    rig.pump();
    assert_eq!(rig.upstream().last().map(String::as_str), Some("<pong 9999>"), "the latest, at least");
    assert!(rig.client.bytes.ends_with(&9999u32.to_be_bytes()));
}
