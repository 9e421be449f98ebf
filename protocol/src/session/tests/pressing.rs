//! Sessions that must give back what they hold.

use std::num::NonZeroU8;

use super::rig::{Rig, config, secs};
use super::wire::{self, TEXT, masked, upstream};
use crate::session::{AckMode, ClientKind, EndCause, HeldFor, Opening, SessionEnd, Status};
use crate::steadfast_v1::client_wire::Reason;
use crate::websocket::close_code::CloseCode;

const PRESSED: Option<SessionEnd> =
    Some(SessionEnd { cause: EndCause::MemoryShort, code: Some(CloseCode::TRY_AGAIN_LATER) });

fn press(rig: &mut Rig) -> bool {
    let pressed = rig.session.press(rig.now, EndCause::MemoryShort, "memory is short");
    rig.pump();
    pressed
}

fn end(rig: &Rig) -> Option<SessionEnd> {
    rig.session.ended().copied()
}

#[test]
fn one_with_an_open_message_is_told_to_try_again_later_and_holds_nothing() {
    let mut rig = Rig::new();
    rig.client_sends(&masked(false, TEXT, &[b'x'; 100_000]));
    let holding = rig.session.holding();
    assert_eq!((holding.what, holding.paused), (HeldFor::ClientMessage, false));
    assert!(holding.part >= 100_000 && holding.part == holding.bytes, "{holding:?}");
    assert!(press(&mut rig));
    assert_eq!(rig.downstream(), ["<close 1013 memory is short>"]);
    assert_eq!(rig.session.buffered(), 0);
    // What it had under way comes yet, and is kept by nobody.
    rig.client_sends(&masked(true, wire::CONTINUATION, &[b'x'; 100_000]));
    assert_eq!(rig.session.buffered(), 0);
    rig.client_closes(1013, "");
    assert_eq!(end(&rig), PRESSED);
    assert!(!press(&mut rig), "it has ended");
}

#[test]
fn whole_messages_that_are_few_are_still_delivered() {
    let mut rig = Rig::new();
    rig.client_sends(&[upstream("one"), masked(false, TEXT, b"begun")].concat());
    assert!(press(&mut rig));
    assert_eq!(rig.upstream().first().map(String::as_str), Some("one"));
    rig.wait(secs(60));
    assert_eq!(end(&rig), PRESSED);
}

#[test]
fn a_client_that_takes_nothing_is_told_in_front_of_what_waits() {
    let mut rig = Rig::new();
    rig.set_client_room(0);
    (0..10).for_each(|_| rig.backend_says(&"x".repeat(10_000)));
    assert_eq!(rig.session.holding().what, HeldFor::Client);
    assert!(press(&mut rig));
    assert!(rig.session.buffered() < 100, "{} bytes", rig.session.buffered());
    assert_eq!(rig.session.ledger().downstream.lost, 10);
    rig.set_client_room(usize::MAX);
    assert_eq!(rig.downstream(), ["<close 1013 memory is short>"]);
    rig.client_closes(1013, "");
    rig.wait(secs(60));
    assert_eq!(end(&rig), PRESSED);
}

#[test]
fn a_client_that_does_not_take_the_close_either_is_not_waited_for() {
    let mut rig = Rig::new();
    rig.set_client_room(0);
    rig.backend_says(&"x".repeat(100_000));
    assert!(press(&mut rig));
    rig.wait(secs(6));
    assert_eq!(end(&rig), PRESSED);
    assert!(rig.session.resets_client());
}

#[test]
fn in_the_middle_of_a_frame_there_is_a_reset() {
    let mut rig = Rig::new();
    rig.set_client_room(3);
    rig.backend_says(&"x".repeat(100_000));
    assert!(press(&mut rig));
    assert_eq!(rig.session.buffered(), 0);
    assert!(rig.session.resets_client());
    rig.wait(secs(60));
    assert_eq!(end(&rig), PRESSED);
}

#[test]
fn one_that_may_come_back_is_pressed_here_and_away() {
    let kind = || ClientKind::Shim { secret: [1; 32], reason: Reason::New };
    for (away, ack) in
        [(false, AckMode::Pong), (true, AckMode::Pong), (false, AckMode::Shim), (true, AckMode::Shim)]
    {
        let opening = Opening { session: [7; 16], epoch: 1, client: kind(), ..Opening::default() };
        let mut rig = Rig::open(|config| config.ack = ack, opening);
        rig.pump();
        let text = "x".repeat(100_000);
        match ack {
            AckMode::Shim => rig.backend_sends(&wire::push(&[&text])),
            _ => rig.backend_says(&text),
        }
        if away {
            rig.client_goes();
            assert_eq!(rig.session.status(), Status::Detached);
        }
        let what = if away { HeldFor::Absent } else { HeldFor::Client };
        assert_eq!(rig.session.holding().what, what);
        assert!(rig.session.holding().part > 100_000);
        rig.downstream();
        assert!(press(&mut rig));
        assert!(rig.session.buffered() < 100, "{} bytes", rig.session.buffered());
        let close: &[&str] = if away { &[] } else { &["<close 1013 memory is short>"] };
        assert_eq!(rig.downstream(), close);
        rig.wait(secs(60));
        assert_eq!(end(&rig), PRESSED);
    }
}

#[test]
fn what_is_unacknowledged_and_much_is_lost_and_counted() {
    let mut rig = Rig::new();
    rig.set_backend_room(0);
    (0..10).for_each(|_| rig.client_says(&"x".repeat(10_000)));
    assert_eq!(rig.session.holding().what, HeldFor::Backend);
    assert!(press(&mut rig));
    assert_eq!((rig.session.unacknowledged(), rig.session.ledger().upstream.lost), (0, 10));
    rig.wait(config().deadline * 3);
    assert_eq!(end(&rig), PRESSED);
}

#[test]
fn while_memory_is_short_no_more_waits_for_a_client_than_its_share() {
    let mut rig = Rig::new();
    assert!(rig.session.set_memory_short(NonZeroU8::new(8)));
    rig.set_client_room(0);
    rig.backend_says(&"x".repeat(8_000));
    assert!(rig.session.wants_backend());
    rig.backend_says(&"x".repeat(8_000));
    assert!(!rig.session.wants_backend(), "256 KiB are for better times");
    assert!(rig.session.set_memory_short(None));
    assert!(rig.session.wants_backend());
}

#[test]
fn only_who_is_held_up_by_nothing_else_needs_memory() {
    let mut rig = Rig::new();
    assert!(!rig.session.upstream_needs_memory() && !rig.session.downstream_needs_memory());
    rig.client_sends(&masked(false, TEXT, b"begun"));
    assert!(rig.session.upstream_needs_memory());
    rig.set_backend_room(0);
    rig.client_sends(&masked(true, wire::CONTINUATION, b""));
    rig.client_sends(&masked(false, TEXT, b"begun"));
    assert!(!rig.session.upstream_needs_memory(), "the backend does not take what came before");
    rig.set_backend_room(usize::MAX);
    rig.backend_sends(&wire::plain(false, TEXT, b"begun"));
    assert!(rig.session.downstream_needs_memory());
    rig.set_client_room(0);
    rig.backend_sends(&wire::plain(true, wire::CONTINUATION, b""));
    rig.backend_sends(&wire::plain(false, TEXT, b"begun"));
    assert!(!rig.session.downstream_needs_memory(), "the client does not take what came before");
}
