//! Both sides are connected and nothing fails: relay, acknowledgements, control frames.

use std::num::NonZeroU8;

use super::rig::{Rig, config, ms, secs};
use super::wire::{CONTINUATION, Commit, PING, PONG, TEXT, downstream, masked, plain, push, upstream};
use crate::session::{AckMode, ClientKind, Config, Opening, Status};

#[test]
fn messages_pass_both_ways_as_the_bytes_in_which_they_came() {
    let mut rig = Rig::new();
    let said = [upstream("one"), masked(false, TEXT, b"t"), masked(true, CONTINUATION, b"wo")].concat();
    rig.client_sends(&said);
    assert!(rig.link().reader.bytes.starts_with(&said), "masks and fragments included");
    assert_eq!(rig.upstream(), ["one", "two", "<ping>"]);
    let answer = [downstream("three"), plain(false, TEXT, b"fo"), plain(true, CONTINUATION, b"ur")].concat();
    rig.backend_sends(&answer);
    assert_eq!(rig.client.bytes, answer);
    assert_eq!(rig.downstream(), ["three", "four"]);
    assert_eq!(rig.session.status(), Status::Relaying);
}

#[test]
fn the_ping_stands_behind_the_messages_in_the_same_write() {
    let mut rig = Rig::new();
    rig.session.handle_client(rig.now, &[upstream("one"), upstream("two")].concat(), &mut { u32::MAX });
    rig.round();
    assert_eq!(rig.upstream(), ["one", "two", "<ping>"], "in one round of the driver");
}

#[test]
fn one_ping_is_outstanding_and_its_pong_asks_for_the_rest_alone() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.client_says("two");
    rig.client_says("three");
    assert_eq!(rig.upstream(), ["one", "<ping>", "two", "three"]);
    rig.backend_pongs();
    assert_eq!(rig.upstream(), ["<ping>"]);
    assert_eq!(rig.session.unacknowledged(), upstream("two").len() + upstream("three").len());
    rig.backend_pongs();
    assert_eq!(rig.upstream(), [""; 0]);
    assert_eq!((rig.session.unacknowledged(), rig.session.buffered()), (0, 0));
    let ledger = rig.session.ledger();
    assert_eq!(
        (ledger.upstream.forwarded, ledger.upstream.acknowledged, ledger.upstream.in_doubt),
        (3, 3, 0)
    );
}

#[test]
fn each_ping_has_its_own_payload() {
    let mut rig = Rig::new();
    rig.client_says("one");
    let first = rig.link().reader.pings[0].clone();
    rig.backend_pongs();
    rig.client_says("two");
    let second = rig.link().reader.pings[0].clone();
    assert_ne!(first, second);
    rig.backend_sends(&plain(true, PONG, &first));
    assert_eq!(
        rig.session.ledger().upstream.acknowledged,
        1,
        "the first pong again is no answer to the second ping"
    );
}

#[test]
fn a_client_that_gets_much_and_says_nothing_is_asked_how_far_it_has_read() {
    let mut rig = Rig::with(|config| config.keepalive = secs(8));
    rig.session.set_fit();
    rig.client_says("one");
    rig.backend_pongs();
    rig.wait(secs(2));
    for n in 0..70 {
        assert_eq!(rig.client.pings.len(), usize::from(n > 65), "behind {n} messages");
        rig.backend_says(&"x".repeat(1000));
        assert!(rig.session.only_relays() || n > 64, "nothing else goes on at {n}");
    }
    assert_eq!(rig.client.pings.len(), 1);
}

/// Whatever goes on besides relaying is looked after at length.
#[test]
fn only_who_relays_and_nothing_else_takes_the_short_way() {
    type Case = (&'static str, fn(&mut Config), ClientKind, fn(&mut Rig));
    let cases: [Case; 12] = [
        ("plain", |_| (), ClientKind::Plain, |_| ()),
        ("no acknowledgements", |config| config.ack = AckMode::None, ClientKind::Plain, |_| ()),
        ("plain: a service links the shim", |config| config.ack = AckMode::Shim, ClientKind::Plain, |_| ()),
        ("plain: a client may come back", |_| (), ClientKind::Returning, |_| ()),
        ("a client that is away", |_| (), ClientKind::Returning, |rig| rig.client_goes()),
        (
            "a client that takes nothing of a service",
            |config| config.ack = AckMode::Shim,
            ClientKind::Plain,
            |rig| {
                rig.set_client_room(0);
                rig.backend_sends(&push(&["news"]));
            },
        ),
        (
            "a client that takes nothing and may come back",
            |_| (),
            ClientKind::Returning,
            |rig| {
                rig.set_client_room(0);
                rig.backend_says("news");
            },
        ),
        (
            "a service that waits for a notice",
            |config| config.ack = AckMode::Shim,
            ClientKind::Plain,
            |rig| {
                // A ping is out, and there is none behind it before its pong.
                rig.client_says("one");
                rig.backend_sends(&Commit { number: 1, upto: 1, prompt: true, ..Commit::default() }.frame());
            },
        ),
        (
            "short memory",
            |_| (),
            ClientKind::Plain,
            |rig| {
                rig.session.set_memory_short(NonZeroU8::new(8));
            },
        ),
        ("an open message", |_| (), ClientKind::Plain, |rig| rig.client_sends(&masked(false, TEXT, b"a"))),
        (
            "a backend's open message",
            |_| (),
            ClientKind::Plain,
            |rig| {
                rig.backend_sends(&plain(false, TEXT, b"a"));
            },
        ),
        (
            "suspects",
            |config| config.poison_deaths = 1,
            ClientKind::Plain,
            |rig| {
                rig.client_says("one");
                rig.backend_dies();
                rig.link_next();
                rig.wait(secs(6));
            },
        ),
    ];
    for (what, change, client, begin) in cases {
        let mut rig = Rig::open(change, Opening { epoch: 1, client, ..Opening::default() });
        rig.session.set_fit();
        begin(&mut rig);
        // What a session begins with, like the first message to a service, takes a call of its own.
        for _ in 0..2 {
            rig.wait(ms(1));
            rig.pump();
        }
        assert_eq!(rig.session.only_relays(), what.starts_with("plain"), "{what}");
    }
    let mut unproven = Rig::new();
    unproven.client_says("one");
    unproven.wait(ms(1));
    unproven.client_says("two");
    assert!(!unproven.session.only_relays(), "no pong has come");
    unproven.backend_pongs();
    unproven.wait(ms(1));
    unproven.pump();
    assert!(unproven.session.only_relays());
}

/// What is kept for a client that may come back is no reason to go the long way, and is noted as there.
#[test]
fn a_client_that_may_come_back_and_takes_nothing_keeps_the_backend_from_being_read() {
    let opening = Opening { epoch: 1, client: ClientKind::Returning, ..Opening::default() };
    let mut rig = Rig::open(|config| config.ring_limit = 1000, opening);
    rig.session.set_fit();
    rig.wait(ms(1));
    rig.pump();
    let says = |rig: &mut Rig, text: &str| {
        rig.session.handle_backend(rig.now, &downstream(text), &mut { u32::MAX }, &mut |_| 0);
        rig.session.advance(rig.now, &mut || 7);
        assert!(rig.session.only_relays() && !rig.session.at_ease(), "something waits");
    };
    says(&mut rig, "a");
    assert!(!rig.session.backend_link.timers.paused());
    rig.pump();
    rig.wait(ms(1));
    rig.pump();
    says(&mut rig, &"b".repeat(1000));
    assert!(rig.session.backend_link.timers.paused());
}

/// A ping's time begins when it is written.
#[test]
fn a_ping_that_the_kernel_does_not_take_is_not_late_for_that() {
    let mut rig = Rig::new();
    rig.session.set_fit();
    rig.client_says("one");
    rig.backend_pongs();
    rig.set_backend_room(0);
    rig.client_says("two");
    rig.wait(secs(3));
    rig.take_events();
    rig.set_backend_room(usize::MAX);
    assert!(rig.session.only_relays());
    rig.backend_pongs();
    assert_eq!(rig.take_events(), [], "a pong that took long is told");
}

#[test]
fn unsolicited_pongs_are_ignored() {
    let mut rig = Rig::new();
    rig.backend_sends(&plain(true, PONG, b""));
    rig.client_says("one");
    for payload in [&b""[..], b"12345678", b"heartbeat"] {
        rig.backend_sends(&plain(true, PONG, payload));
    }
    rig.client_sends(&masked(true, PONG, b"unasked"));
    assert_eq!(rig.session.ledger().upstream.acknowledged, 0);
    assert_eq!((rig.upstream(), rig.downstream()), (vec!["one".to_owned(), "<ping>".to_owned()], vec![]));
    rig.backend_pongs();
    assert_eq!(rig.session.ledger().upstream.acknowledged, 1);
}

#[test]
fn held_messages_leave_when_the_pong_has_come_and_the_time_has_passed() {
    let mut rig = Rig::with(|config| config.ack_hold = ms(200));
    rig.client_says("one");
    rig.wait(ms(500));
    assert!(rig.session.unacknowledged() > 0, "time alone does not do");
    rig.backend_pongs();
    rig.wait(ms(199));
    assert!(rig.session.unacknowledged() > 0);
    rig.wait(ms(1));
    assert_eq!(rig.session.buffered(), 0);
    assert_eq!(rig.upstream(), ["one", "<ping>"], "what is held is not asked for again");
}

#[test]
fn a_held_message_is_replayed() {
    let mut rig = Rig::with(|config| config.ack_hold = ms(200));
    rig.client_says("old");
    rig.backend_pongs();
    rig.wait(ms(150));
    rig.client_says("young");
    rig.backend_pongs();
    rig.wait(ms(100));
    rig.backend_dies();
    rig.link_next();
    assert_eq!(rig.upstream(), ["young", "<ping>"]);
}

#[test]
fn pings_are_answered_by_the_broker_on_both_sides() {
    let mut rig = Rig::new();
    rig.client_sends(&masked(true, PING, b"from client"));
    rig.backend_sends(&plain(true, PING, b"from backend"));
    assert_eq!(rig.downstream(), ["<pong from client>"]);
    assert_eq!(rig.upstream(), ["<pong from backend>"]);
}

#[test]
fn pongs_stand_between_the_fragments_of_an_open_message() {
    let mut rig = Rig::new();
    rig.client_sends(&masked(false, TEXT, b"a"));
    rig.backend_sends(&plain(false, TEXT, b"x"));
    rig.client_sends(&masked(true, PING, b"c"));
    rig.backend_sends(&plain(true, PING, b"b"));
    assert_eq!(
        (rig.upstream(), rig.downstream()),
        (vec!["<pong b>".to_owned()], vec!["<pong c>".to_owned()])
    );
    rig.client_sends(&masked(true, CONTINUATION, b"b"));
    rig.backend_sends(&plain(true, CONTINUATION, b"y"));
    assert_eq!(
        (rig.upstream(), rig.downstream()),
        (vec!["ab".to_owned(), "<ping>".to_owned()], vec!["xy".to_owned()])
    );
}

#[test]
fn a_pong_to_the_backend_waits_for_the_end_of_the_frame_that_is_begun() {
    let mut rig = Rig::new();
    let frame = masked(false, TEXT, b"hello");
    rig.client_sends(&frame[..8]);
    rig.backend_sends(&plain(true, PING, b"b"));
    assert_eq!(rig.upstream(), [""; 0]);
    rig.client_sends(&frame[8..]);
    assert_eq!(rig.upstream(), ["<pong b>"]);
    assert!(rig.link().reader.in_the_middle());
}

#[test]
fn the_latest_ping_of_a_backend_is_answered_also_when_an_earlier_pong_is_half_written() {
    let mut rig = Rig::new();
    rig.backend_room = 3;
    rig.backend_sends(&plain(true, PING, b"first"));
    rig.backend_sends(&plain(true, PING, b"second"));
    rig.backend_room = usize::MAX;
    rig.pump();
    assert_eq!(rig.upstream(), ["<pong first>", "<pong second>"]);
}

#[test]
fn a_client_that_reads_slowly_but_always_gets_its_pong() {
    let mut rig = Rig::new();
    rig.client_room = 0;
    rig.backend_says(&"x".repeat(6000));
    rig.client_sends(&masked(true, PING, b"there?"));
    let mut got = Vec::new();
    for _ in 0..10 {
        rig.backend_says(&"y".repeat(6000));
        rig.client_room = 6000;
        rig.pump();
        got.extend(rig.downstream());
    }
    assert!(got.iter().any(|frame| frame == "<pong there?>"), "60 KB later the ping is not answered");
}

#[test]
fn half_a_backend_message_never_reaches_the_client() {
    let mut rig = Rig::new();
    let bytes =
        [downstream("whole"), plain(false, TEXT, b"half a "), plain(true, CONTINUATION, b"message")].concat();
    let cut = bytes.len() - 1;
    for n in 0..cut {
        rig.backend_sends(&bytes[n..n + 1]);
    }
    assert_eq!(rig.client.bytes, downstream("whole"));
    rig.backend_sends(&bytes[cut..]);
    assert_eq!(rig.downstream(), ["whole", "half a message"]);
}

#[test]
fn client_bytes_go_on_as_they_arrive() {
    let mut rig = Rig::new();
    let frame = upstream("hello");
    for n in 0..frame.len() {
        rig.client_sends(&frame[n..n + 1]);
        let seen = rig.link().reader.bytes.len();
        // The header is whole with its sixth byte; from then on nothing is kept back.
        assert!(if n < 5 { seen == 0 } else { seen > n }, "{seen} bytes after {}", n + 1);
    }
    assert_eq!(rig.upstream(), ["hello", "<ping>"]);
}

#[test]
fn without_acks_what_is_written_is_forgotten() {
    let mut rig = Rig::with(|config| config.ack = AckMode::None);
    rig.client_says("one");
    assert_eq!(rig.upstream(), ["one"], "and no ping is sent for it");
    assert_eq!(rig.session.buffered(), 0);
    assert_eq!(rig.session.ledger().upstream.acknowledged, 0, "whether it was read, nobody knows yet");
    let frame = upstream("three");
    rig.backend_room = upstream("two").len() + 4;
    rig.client_sends(&[upstream("two"), frame.clone()].concat());
    assert_eq!(rig.session.unacknowledged(), frame.len(), "the message that is being written is kept whole");
}

#[test]
fn large_messages_pass_by_the_direct_way() {
    let text: String = ('a'..='z').cycle().take(config().message_limit as usize).collect();
    let mut rig = Rig::new();
    rig.client_says(&text);
    assert_eq!(rig.upstream(), [text.as_str(), "<ping>"]);
    rig.backend_pongs();
    rig.backend_says(&text);
    assert_eq!(rig.downstream(), [text]);
    assert_eq!(rig.session.buffered(), 0);
}

#[test]
fn the_client_counts_as_served_when_its_socket_has_taken_a_message() {
    let mut rig = Rig::new();
    rig.client_room = 3;
    rig.backend_says("one");
    rig.backend_says("two");
    let ledger = rig.session.ledger().downstream;
    assert_eq!((ledger.forwarded, ledger.acknowledged, ledger.lost), (2, 0, 0));
    rig.client_room = usize::MAX;
    rig.pump();
    assert_eq!(rig.session.ledger().downstream.acknowledged, 2);
}

#[test]
fn an_idle_session_asks_for_nothing() {
    let mut rig = Rig::new();
    rig.client_says("one");
    rig.backend_pongs();
    rig.backend_says("two");
    assert_eq!(rig.session.poll_timeout(), None, "keepalive is off");
    rig.wait(secs(3600));
    assert_eq!((rig.session.ended(), rig.notes.len()), (None, 0));
}
