//! A client that does not read, does not answer, or does not finish what it began; and a backend
//! that does not finish.

use super::rig::{Drop, MUTE, NOTHING, Rig, ms, secs};
use super::wire::{CONTINUATION, PING, PONG, TEXT, downstream, masked, plain, upstream};
use crate::session::{Command, EndCause, Event, Failure};

/// What a client is told that does not answer.
const TIMED_OUT: &str = "<close 1013 the client does not answer or read>";

fn cause(rig: &Rig) -> Option<EndCause> {
    rig.session.ended().map(|end| end.cause)
}

#[test]
fn an_idle_client_is_pinged_and_its_pong_keeps_it() {
    let mut rig = Rig::with(|config| config.keepalive = secs(25));
    for _ in 0..10 {
        rig.wait(ms(24_999));
        assert_eq!(rig.downstream(), [""; 0]);
        rig.wait(ms(1));
        assert_eq!(rig.downstream(), ["<ping>"]);
        rig.client_sends(&masked(true, PONG, b""));
        if !rig.link().reader.pings.is_empty() {
            rig.backend_pongs();
        }
    }
    assert_eq!(cause(&rig), None);
}

#[test]
fn a_client_that_answers_no_ping_is_gone() {
    let mut rig = Rig::with(|config| config.keepalive = secs(25));
    rig.wait(secs(25));
    rig.backend_pongs();
    rig.wait(ms(19_999));
    assert_eq!(rig.downstream(), ["<ping>"]);
    rig.wait(ms(1));
    assert_eq!(rig.downstream(), [TIMED_OUT], "it may be there to read it");
    rig.wait(secs(5));
    assert_eq!((cause(&rig), rig.session.resets_client()), (Some(EndCause::ClientTimeout), false));
}

#[test]
fn what_a_silent_client_had_said_is_still_delivered() {
    let mut rig = Rig::with(|config| (config.keepalive, config.ack_timeout) = (secs(25), secs(100)));
    rig.client_says("one");
    rig.wait(secs(52));
    assert_eq!(cause(&rig), None);
    rig.backend_pongs();
    assert_eq!((cause(&rig), rig.session.ledger().upstream.lost), (Some(EndCause::ClientTimeout), 0));
}

#[test]
fn a_client_is_not_judged_while_it_is_not_read() {
    let mut rig = Rig::with(|config| {
        (config.keepalive, config.ring_limit, config.message_limit) = (secs(25), 1000, 1000);
        (config.ack_timeout, config.deadline) = (secs(1000), secs(1000));
    });
    rig.client_says(&"x".repeat(1000));
    assert_eq!(rig.session.client_read_limit(false), 0);
    rig.wait(secs(300));
    assert_eq!((cause(&rig), rig.downstream().len()), (None, 0));
    rig.backend_pongs();
    rig.wait(ms(1));
    assert_eq!((cause(&rig), rig.downstream()), (None, vec!["<ping>".to_owned()]), "now it is asked");
    rig.wait(secs(26));
    assert_eq!(cause(&rig), Some(EndCause::ClientTimeout));
}

#[test]
fn a_client_is_not_asked_while_it_takes_what_waits_for_it() {
    let mut rig = Rig::with(|config| config.keepalive = secs(25));
    rig.set_client_room(0);
    rig.backend_says(&"x".repeat(100));
    for _ in 0..10 {
        rig.wait(secs(20));
        rig.set_client_room(10);
    }
    assert_eq!((cause(&rig), rig.downstream().len()), (None, 0), "a ping would stand behind the message");
    rig.set_client_room(usize::MAX);
    rig.wait(ms(1));
    assert_eq!((cause(&rig), rig.downstream().len()), (None, 2), "now it is asked");
    rig.wait(secs(26));
    assert_eq!(cause(&rig), Some(EndCause::ClientTimeout));
}

#[test]
fn a_client_is_not_judged_while_memory_is_short() {
    let mut rig = Rig::with(|config| config.keepalive = secs(25));
    rig.client_sends(&masked(false, TEXT, b"begun"));
    rig.session.set_tight(rig.now, true);
    rig.pump();
    for _ in 0..30 {
        rig.wait(secs(20));
        rig.backend_sends(&plain(true, PING, b""));
    }
    assert_eq!((cause(&rig), rig.downstream().len()), (None, 0), "neither asked nor closed");
    rig.session.set_tight(rig.now, false);
    rig.pump();
    assert_eq!(rig.downstream(), [""; 0]);
    rig.wait(secs(24));
    assert_eq!(rig.downstream(), [""; 0], "its time begins anew");
    rig.wait(secs(1));
    assert_eq!(rig.downstream(), ["<ping>"]);
    rig.client_sends(&masked(true, CONTINUATION, b"ended"));
    assert_eq!(rig.session.ledger().upstream.forwarded, 1);
}

#[test]
fn a_client_that_reads_nothing_is_closed_in_the_end() {
    let mut rig = Rig::new();
    rig.client_room = 3;
    rig.backend_says("one");
    rig.wait(ms(59_999));
    assert_eq!(cause(&rig), None);
    rig.wait(ms(1));
    assert_eq!((cause(&rig), rig.link().dropped), (Some(EndCause::ClientStall), Some(Drop::Closed)));
    assert_eq!((rig.session.ledger().downstream.lost, rig.session.buffered()), (1, 0));
}

#[test]
fn a_client_that_reads_slowly_is_not_closed() {
    let mut rig = Rig::new();
    rig.client_room = 1;
    rig.backend_says("0123456789");
    for _ in 0..11 {
        rig.wait(secs(50));
        rig.client_room = 1;
        rig.pump();
    }
    assert_eq!((cause(&rig), rig.downstream()), (None, vec!["0123456789".to_owned()]));
}

#[test]
fn a_client_that_reads_all_at_once_is_not_closed_when_the_driver_sleeps_after_its_write() {
    let mut rig = Rig::new();
    rig.session.handle_client(rig.now, &masked(true, PING, b"?"), &mut { u32::MAX });
    rig.round();
    assert_eq!(rig.downstream(), ["<pong ?>"]);
    rig.wait(secs(3600));
    assert_eq!(cause(&rig), None, "nothing waits for it");
    rig.session.handle_client(rig.now, &masked(true, PING, b"!"), &mut { u32::MAX });
    rig.round();
    assert_eq!((cause(&rig), rig.downstream()), (None, vec!["<pong !>".to_owned()]));
}

#[test]
fn a_client_message_that_stays_open_too_long_ends_the_session() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.client_sends(&masked(false, TEXT, b"begun"));
    rig.backend_pongs();
    rig.wait(ms(119_999));
    assert_eq!(rig.downstream(), [""; 0]);
    rig.wait(ms(1));
    assert!(rig.downstream()[0].starts_with("<close 1008"));
    assert_eq!(rig.link().dropped, Some(Drop::Reset), "the backend has a part of it");
    rig.client_closes(1008, "");
    rig.wait(secs(5));
    assert_eq!(cause(&rig), Some(EndCause::SlowMessage));
}

#[test]
fn half_a_header_is_a_message_that_stays_open() {
    for piece in [&b"\x81"[..], b"\x81\x85\0\0", b"\x89\x82\0\0\0\0?"] {
        let mut rig = Rig::new();
        rig.client_sends(piece);
        rig.wait(ms(119_999));
        assert_eq!(rig.downstream(), [""; 0]);
        rig.wait(ms(1));
        assert!(rig.downstream()[0].starts_with("<close 1008"), "{piece:?}: {:?}", rig.downstream());
    }
}

#[test]
fn pings_that_are_cut_each_time_are_no_message_that_stays_open() {
    let mut rig = Rig::new();
    let ping = masked(true, PING, b"");
    rig.client_sends(&ping[..3]);
    for _ in 0..30 {
        rig.wait(secs(10));
        rig.client_sends(&[&ping[3..], &ping[..3]].concat());
    }
    let downstream = rig.downstream();
    assert!(!downstream.iter().any(|frame| frame.starts_with("<close")), "{downstream:?}");
}

#[test]
fn half_a_header_of_a_backend_is_its_failure() {
    let mut rig = Rig::new();
    rig.backend_sends(b"\x81");
    rig.wait(ms(119_999));
    assert_eq!(rig.take_notes(), NOTHING);
    rig.wait(ms(1));
    assert_eq!(rig.take_notes(), [Event::Failed(Failure::SlowMessage)]);
}

#[test]
fn a_client_message_that_ends_in_time_starts_the_clock_anew() {
    let mut rig = Rig::new();
    for _ in 0..3 {
        rig.client_sends(&masked(false, TEXT, b"begun"));
        rig.wait(secs(100));
        rig.client_sends(&[masked(true, CONTINUATION, b"ended"), masked(false, TEXT, b"next")].concat());
        rig.backend_pongs();
        rig.wait(secs(100));
        rig.client_sends(&masked(true, CONTINUATION, b"ended"));
        rig.backend_pongs();
    }
    assert_eq!((rig.downstream().len(), rig.session.ledger().upstream.forwarded), (0, 6));
}

#[test]
fn a_backend_message_that_stays_open_too_long_is_its_failure() {
    let mut rig = Rig::new();
    rig.backend_sends(&plain(false, TEXT, b"begun"));
    rig.wait(ms(119_999));
    assert_eq!(rig.take_notes(), NOTHING);
    rig.wait(ms(1));
    assert_eq!(rig.take_notes(), [Event::Failed(Failure::SlowMessage)]);
    rig.link_next();
    rig.backend_says("whole");
    assert_eq!(rig.downstream(), ["whole"]);
}

#[test]
fn a_backend_message_does_not_age_while_the_client_is_slow() {
    let mut rig = Rig::new();
    rig.client_room = 0;
    rig.backend_sends(&[downstream(&"x".repeat(300 * 1024)), plain(false, TEXT, b"begun, ")].concat());
    assert!(!rig.session.wants_backend());
    // The client takes a byte now and then, so it does not stall.
    for _ in 0..5 {
        rig.wait(secs(30));
        rig.client_room = 1;
        rig.pump();
    }
    rig.client_room = usize::MAX;
    rig.pump();
    assert_eq!(rig.take_notes(), NOTHING, "the backend could not end what was not read");
    rig.wait(secs(100));
    rig.backend_sends(&plain(true, CONTINUATION, b"ended"));
    assert_eq!(rig.downstream().last().map(String::as_str), Some("begun, ended"));
    assert_eq!(rig.take_notes(), NOTHING);
}

#[test]
fn pings_between_fragments_do_not_keep_a_message_open() {
    let mut rig = Rig::new();
    rig.client_sends(&masked(false, TEXT, b"begun"));
    for _ in 0..12 {
        rig.wait(secs(10));
        rig.client_sends(&masked(true, PING, b""));
    }
    assert!(rig.downstream().iter().any(|frame| frame.starts_with("<close 1008")));
}

#[test]
fn whole_messages_before_a_slow_one_are_delivered() {
    let mut rig = Rig::new();
    let slow = masked(false, TEXT, b"begun");
    rig.client_sends(&[upstream("one"), slow].concat());
    for _ in 0..26 {
        rig.wait(secs(5));
        if rig.take_notes().iter().any(|told| *told == Command::JudgeSilence) {
            rig.judge(MUTE);
        }
        if rig.session.wants_dial() {
            rig.link_next();
            rig.backend_pongs();
        }
    }
    assert_eq!((rig.links.len(), rig.session.ledger().upstream.acknowledged), (2, 1));
}
