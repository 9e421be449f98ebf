//! A service that links the shim: what it is told, what its commits do, and what is left of them when it dies.

mod breaches;
mod endings;
mod leaving;

use super::rig::{Drop, Rig, Told, config, ms, secs};
use super::wire::{BINARY, CONTINUATION, Commit, PONG, TEXT, downstream, masked, plain, push};
use crate::session::{AckMode, Config, DialFailure, Event, Failure, Opening, Status};

/// A session at a service; its first backend is attached.
fn serving() -> Rig {
    serving_with(|_| {})
}

fn serving_with(change: impl FnOnce(&mut Config)) -> Rig {
    let mut rig = unattached_with(change);
    assert_eq!(rig.upstream(), ["<attach 1: applied 0, committed 0>"]);
    rig
}

/// The same before anything was written to its backend.
fn unattached_with(change: impl FnOnce(&mut Config)) -> Rig {
    let opening = Opening { session: [7; 16], epoch: 1, ..Opening::default() };
    let mut rig = Rig::open(
        |config| {
            config.ack = AckMode::Shim;
            change(config);
        },
        opening,
    );
    rig.pump();
    rig
}

/// The service commits, with these texts for the client.
fn commits(rig: &mut Rig, number: u64, upto: u64, outputs: &[&str]) {
    rig.backend_sends(&Commit { number, upto, outputs, ..Commit::default() }.frame());
}

/// The client says these.
fn says(rig: &mut Rig, texts: &[&str]) {
    texts.iter().for_each(|text| rig.client_says(text));
}

/// What the present backend has got since the last call, but for pings.
fn got(rig: &mut Rig) -> Vec<String> {
    let mut got = rig.upstream();
    got.retain(|frame| !frame.starts_with("<notice"));
    got
}

// ---- what a service is told ----

#[test]
fn attach_comes_first_whatever_the_socket_takes() {
    for room in 1..100 {
        let mut rig = unattached_with(|_| {});
        rig.backend_dies();
        rig.client_says("one");
        rig.backend_room = room;
        rig.link_next();
        rig.set_backend_room(usize::MAX);
        assert_eq!(
            rig.upstream(),
            ["<attach 2: applied 0, committed 0>", "one", "<notice 0>"],
            "room {room}"
        );
    }
}

#[test]
fn attach_is_what_the_specification_says() {
    let mut rig = unattached_with(|_| {});
    let frame = &rig.link().reader.bytes;
    assert_eq!(frame[..2], [0x82, 0x80 | 48], "one binary frame, masked");
    let payload: Vec<u8> =
        frame[6..].iter().zip(frame[2..6].iter().cycle()).map(|(a, key)| a ^ key).collect();
    let expected = [b"A\x01\0\0".as_slice(), &[0, 0, 0, 0, 0, 0, 0, 1], &[0; 16], &[7; 16], &[0; 4]].concat();
    assert_eq!(payload, expected);
}

#[test]
fn messages_follow_as_the_client_sent_them() {
    let mut rig = serving();
    rig.client_says("one");
    rig.client_sends(&masked(false, BINARY, b"tw"));
    assert_eq!(rig.upstream(), ["one", "<notice 0>"]);
    assert!(rig.link().reader.in_the_middle(), "a part of the second");
    rig.client_sends(&masked(true, CONTINUATION, b"o"));
    assert_eq!(rig.upstream(), ["two"]);
}

// ---- commits ----

#[test]
fn a_commit_lets_go_of_what_it_consumes_and_a_pong_does_not() {
    let mut rig = serving();
    says(&mut rig, &["one", "two", "three"]);
    let kept = rig.session.unacknowledged();
    rig.backend_pongs();
    assert_eq!(rig.session.unacknowledged(), kept, "received is not consumed");
    commits(&mut rig, 1, 2, &["answer one", "answer two"]);
    assert!(rig.session.unacknowledged() < kept && rig.session.unacknowledged() > 0);
    assert_eq!(rig.downstream(), ["answer one", "answer two"]);
    commits(&mut rig, 2, 3, &[]);
    assert_eq!((rig.session.unacknowledged(), rig.downstream()), (0, vec![]));
}

#[test]
fn a_commit_may_come_before_the_pong() {
    let mut rig = serving();
    rig.client_says("one");
    commits(&mut rig, 1, 1, &["answer"]);
    assert_eq!((rig.session.unacknowledged(), rig.downstream()), (0, vec!["answer".to_owned()]));
    rig.backend_pongs();
    rig.client_says("two");
    rig.backend_pongs();
    commits(&mut rig, 2, 2, &[]);
    assert_eq!(rig.session.unacknowledged(), 0);
}

#[test]
fn a_commit_may_consume_nothing() {
    let mut rig = serving();
    commits(&mut rig, 1, 0, &["good day"]);
    rig.client_says("one");
    commits(&mut rig, 2, 1, &[]);
    commits(&mut rig, 3, 1, &["afterthought"]);
    assert_eq!(rig.downstream(), ["good day", "afterthought"]);
    assert_eq!(rig.session.unacknowledged(), 0);
}

#[test]
fn outputs_of_any_size_come_as_whole_messages() {
    let sizes = [0, 1, 125, 126, 4096, 4097, 65_535, 65_536, 300_000];
    let texts: Vec<String> = sizes.iter().map(|size| "x".repeat(*size)).collect();
    let mut outputs: Vec<&str> = texts.iter().map(String::as_str).collect();
    outputs.push("b:\0binary");
    for cut in [1, 30, 5000, 400_000] {
        let mut rig = serving();
        rig.client_says("one");
        let frame = Commit { number: 1, upto: 1, outputs: &outputs, ..Commit::default() }.frame();
        let (first, rest) = frame.split_at(cut);
        rig.backend_sends(first);
        assert_eq!(rig.downstream(), [""; 0], "applied whole or not at all");
        rig.backend_sends(rest);
        assert!(rig.downstream() == outputs, "cut at {cut}");
        assert!(rig.client.bytes.windows(3).any(|bytes| bytes == b"\x82\x09b"), "the last one is binary");
        assert_eq!(rig.session.unacknowledged(), 0);
    }
}

#[test]
fn outputs_wait_for_a_client_that_is_slow() {
    let mut rig = serving();
    rig.set_client_room(5);
    let (small, large) = ("small".repeat(3), "large".repeat(2000));
    commits(&mut rig, 1, 0, &[&small, &large, "end"]);
    commits(&mut rig, 2, 0, &[&large]);
    rig.set_client_room(usize::MAX);
    assert_eq!(rig.downstream(), [&small, &large, "end", &large]);
    assert_eq!(rig.session.buffered(), 0);
}

#[test]
fn an_envelope_may_come_in_fragments() {
    let mut rig = serving();
    rig.client_says("one");
    let payload = Commit { number: 1, upto: 1, outputs: &["answer"], ..Commit::default() }.payload();
    for (n, byte) in payload.iter().enumerate() {
        rig.backend_sends(&plain(false, if n == 0 { BINARY } else { CONTINUATION }, &[*byte]));
    }
    assert!(rig.session.buffered() >= payload.len(), "what has come is counted");
    assert_eq!(rig.downstream(), [""; 0]);
    rig.backend_sends(&plain(true, CONTINUATION, b""));
    assert_eq!((rig.downstream(), rig.session.buffered()), (vec!["answer".to_owned()], 0));
}

#[test]
fn many_envelopes_may_come_at_once() {
    let mut rig = serving();
    says(&mut rig, &["one", "two", "three"]);
    let commit = |number, outputs| Commit { number, upto: number, outputs, ..Commit::default() }.frame();
    let pong = plain(true, PONG, rig.links[0].reader.pings.front().expect("a ping"));
    rig.backend_sends(
        &[commit(1, &["a"]), push(&["b"]), pong, commit(2, &["c"]), commit(3, &["d"])].concat(),
    );
    assert_eq!(
        (rig.downstream(), rig.session.unacknowledged()),
        (["a", "b", "c", "d"].map(str::to_owned).to_vec(), 0)
    );
}

#[test]
fn commits_that_are_read_at_once_take_one_write() {
    let mut rig = serving();
    says(&mut rig, &["one", "two", "three"]);
    let commit = |number, outputs| Commit { number, upto: number, outputs, ..Commit::default() }.frame();
    let envelopes = [commit(1, &["a"]), push(&["b"]), commit(2, &["c", "d"])].concat();
    let mut writes = Vec::new();
    rig.session.handle_backend(rig.now, &envelopes, &mut { u32::MAX }, &mut |bytes| {
        writes.push(bytes.to_vec());
        bytes.len()
    });
    assert_eq!(writes, [[b"a", b"b", b"c", b"d"].map(|text| plain(true, TEXT, text)).concat()]);
    assert_eq!(rig.session.unacknowledged(), masked(true, TEXT, b"three").len());
}

#[test]
fn a_push_answers_nothing() {
    let mut rig = serving();
    rig.client_says("one");
    let kept = rig.session.unacknowledged();
    rig.backend_sends(&push(&["news", "b:more"]));
    rig.backend_sends(&push(&[]));
    assert_eq!(
        (rig.downstream(), rig.session.unacknowledged()),
        (vec!["news".to_owned(), "b:more".to_owned()], kept)
    );
    rig.backend_dies();
    rig.link_next();
    assert_eq!(got(&mut rig), ["<attach 2: applied 0, committed 0>", "one"]);
}

#[test]
fn what_is_of_an_unknown_kind_is_skipped() {
    let mut rig = serving();
    rig.client_says("one");
    rig.backend_sends(&plain(true, BINARY, b"Z"));
    rig.backend_sends(&plain(true, BINARY, &[b'z'; 100_000]));
    commits(&mut rig, 1, 1, &["answer"]);
    assert_eq!((rig.downstream(), rig.take_notes()), (vec!["answer".to_owned()], vec![]));
}

// ---- what the next one gets ----

#[test]
fn the_next_backend_gets_the_capsule_and_what_is_behind_the_last_commit() {
    let mut rig = serving();
    says(&mut rig, &["one", "two", "three"]);
    rig.backend_pongs();
    let capsule = Some("sum 3");
    rig.backend_sends(&Commit { number: 1, upto: 1, capsule, outputs: &["1"], prompt: false }.frame());
    commits(&mut rig, 2, 2, &["2"]);
    rig.backend_dies();
    rig.client_says("four");
    rig.link_next();
    let attach = "<attach 2: applied 2, committed 2 capsule \"sum 3\">";
    assert_eq!(rig.upstream(), [attach, "three", "four", "<notice 2>"], "received was not enough");
    assert_eq!(rig.downstream(), ["1", "2"]);
    rig.backend_sends(&Commit { number: 3, upto: 3, capsule: Some(""), ..Commit::default() }.frame());
    rig.backend_dies();
    rig.link_next();
    assert_eq!(rig.upstream(), ["<attach 3: applied 3, committed 3 capsule \"\">", "<notice 3>"]);
    rig.backend_pongs();
    assert_eq!(
        rig.upstream(),
        ["four", "<notice 3>"],
        "after two deaths a backend shows first that it works"
    );
    let ledger = rig.session.ledger().upstream;
    assert_eq!((ledger.forwarded, ledger.replayed, ledger.in_doubt, ledger.lost), (4, 2, 0, 0));
}

#[test]
fn half_an_envelope_of_a_dead_backend_never_was() {
    let frame =
        Commit { number: 1, upto: 1, capsule: Some("x"), outputs: &["answer"], prompt: false }.frame();
    for cut in 0..frame.len() {
        let mut rig = serving();
        rig.client_says("one");
        rig.backend_sends(&frame[..cut]);
        rig.backend_dies();
        rig.link_next();
        assert_eq!(got(&mut rig), ["<attach 2: applied 0, committed 0>", "one"], "cut at {cut}");
        commits(&mut rig, 1, 1, &["other answer"]);
        assert_eq!(rig.downstream(), ["other answer"]);
    }
}

#[test]
fn outputs_of_a_dead_backend_are_the_clients_still() {
    let mut rig = serving();
    rig.set_client_room(3);
    commits(&mut rig, 1, 0, &["first", "second"]);
    rig.backend_dies();
    rig.link_next();
    rig.set_client_room(usize::MAX);
    assert_eq!(rig.downstream(), ["first", "second"]);
}

#[test]
fn what_the_client_says_in_the_middle_of_a_failover_goes_to_the_next() {
    let mut rig = serving();
    rig.client_sends(&masked(false, BINARY, b"half "));
    rig.backend_dies();
    rig.fail_dial(DialFailure::Unreachable);
    rig.client_sends(&masked(true, CONTINUATION, b"and half"));
    rig.link_next();
    assert_eq!(rig.upstream(), ["<attach 2: applied 0, committed 0>", "half and half", "<notice 0>"]);
}

// ---- repeated commits ----

/// A backend that has committed the first of three messages, and dies; another follows, to whose socket
/// nothing but ATTACH and the second message goes.
fn arrived() -> Rig {
    let mut rig = serving();
    says(&mut rig, &["one", "two", "three"]);
    commits(&mut rig, 1, 1, &["1"]);
    rig.backend_dies();
    let attach = 6 + 48 + 2;
    rig.backend_room = attach + super::wire::upstream("two").len() - 4;
    rig.dial();
    assert!(rig.link_with(false));
    assert_eq!(
        (rig.upstream(), rig.downstream()),
        (vec!["<attach 2: applied 1, committed 1>".to_owned()], vec!["1".to_owned()])
    );
    rig
}

#[test]
fn a_repeated_commit_that_was_applied_changes_nothing() {
    let mut rig = arrived();
    let repeated = Commit { number: 1, upto: 3, capsule: Some("other"), outputs: &["again"], prompt: true };
    rig.backend_sends(&repeated.frame());
    rig.set_backend_room(usize::MAX);
    assert_eq!(
        (rig.upstream(), rig.downstream()),
        (vec!["two".to_owned(), "three".into(), "<notice 1>".into()], vec![])
    );
    assert_eq!(rig.take_events().iter().filter(|note| matches!(note, Event::ServiceBreach(_))).count(), 0);
}

#[test]
fn a_commit_ahead_of_what_this_backend_was_given_is_applied_and_the_rest_still_comes() {
    let mut rig = arrived();
    commits(&mut rig, 2, 3, &["2 and 3"]);
    assert_eq!(rig.downstream(), ["2 and 3"]);
    rig.client_says("four");
    rig.set_backend_room(usize::MAX);
    assert_eq!(rig.upstream(), ["two", "three", "<notice 1>", "four"], "it counts, so it must get them");
    commits(&mut rig, 3, 4, &["4"]);
    assert_eq!((rig.downstream(), rig.session.unacknowledged()), (vec!["4".to_owned()], 0));
}

#[test]
fn what_was_committed_ahead_does_not_come_to_the_next_backend() {
    let mut rig = arrived();
    commits(&mut rig, 2, 3, &["2 and 3"]);
    rig.backend_dies();
    rig.client_says("four");
    rig.set_backend_room(usize::MAX);
    rig.link_next();
    assert_eq!(rig.upstream(), ["<attach 3: applied 2, committed 3>", "four", "<notice 2>"]);
    commits(&mut rig, 3, 4, &[]);
    assert_eq!(rig.session.unacknowledged(), 0);
}

#[test]
fn a_commit_ahead_may_end_within_what_was_given() {
    let mut rig = arrived();
    commits(&mut rig, 2, 2, &["2"]);
    rig.backend_dies();
    rig.set_backend_room(usize::MAX);
    rig.link_next();
    assert_eq!(got(&mut rig), ["<attach 3: applied 2, committed 2>", "three"]);
}

// ---- notices ----

#[test]
fn a_commit_that_asks_for_it_is_told_at_once_that_it_is_applied() {
    let mut rig = serving();
    rig.client_says("one");
    rig.backend_pongs();
    rig.upstream();
    commits(&mut rig, 1, 1, &[]);
    assert_eq!(rig.upstream(), [""; 0], "nobody waits for it");
    rig.backend_sends(&Commit { number: 2, upto: 1, prompt: true, ..Commit::default() }.frame());
    assert_eq!(rig.upstream(), ["<notice 2>"]);
    rig.backend_sends(&Commit { number: 3, upto: 1, prompt: true, ..Commit::default() }.frame());
    assert_eq!(rig.upstream(), [""; 0], "one ping at a time");
    rig.backend_pongs();
    assert_eq!(rig.upstream(), ["<notice 3>"]);
    rig.backend_pongs();
    assert_eq!(rig.upstream(), [""; 0], "once is enough");
    rig.backend_sends(&Commit { number: 3, upto: 1, prompt: true, ..Commit::default() }.frame());
    assert_eq!(rig.upstream(), ["<notice 3>"], "also if it was applied before");
}

#[test]
fn pings_that_are_sent_anyway_tell_what_is_applied() {
    let mut rig = serving_with(|config| config.keepalive = secs(25));
    commits(&mut rig, 1, 0, &[]);
    rig.wait(secs(25));
    assert_eq!(rig.upstream(), ["<notice 1>"]);
    rig.backend_pongs();
    rig.client_says("one");
    assert_eq!(rig.upstream(), ["one", "<notice 1>"]);
}

// ---- counts and bounds ----

#[test]
fn the_ledger_counts_commits() {
    let mut rig = serving();
    says(&mut rig, &["one", "two", "three"]);
    rig.backend_pongs();
    let counts =
        |rig: &Rig| (rig.session.ledger().upstream.forwarded, rig.session.ledger().upstream.acknowledged);
    assert_eq!(counts(&rig), (3, 0), "a pong acknowledges nothing");
    commits(&mut rig, 1, 2, &["a", "b", "c"]);
    assert_eq!(counts(&rig), (3, 2));
    let downstream = rig.session.ledger().downstream;
    assert_eq!(
        (downstream.forwarded, downstream.acknowledged, downstream.suppressed, downstream.lost),
        (3, 3, 0, 0)
    );
}

#[test]
fn a_service_that_does_not_commit_comes_to_a_stand() {
    let mut rig = serving_with(|config| config.ring_limit = 1000);
    for _ in 0..30 {
        rig.client_says(&"x".repeat(90));
        if !rig.link().reader.pings.is_empty() {
            rig.backend_pongs();
        }
    }
    assert!(rig.session.ring_is_full() && rig.client_pushed_back() > 0);
    let given = got(&mut rig).len() as u64;
    commits(&mut rig, 1, given, &[]);
    assert_eq!(rig.client_pushed_back(), 0);
}

#[test]
fn what_is_announced_takes_no_memory() {
    let mut rig = serving_with(|config| config.message_limit = 64 << 20);
    rig.backend_sends(&[0x82, 0x7F, 0, 0, 0, 0, 4, 0, 0, 0]);
    assert_eq!(rig.session.buffered(), 0);
    let (tail, room) = rig.session.backend_direct().expect("much is to come");
    assert!(room > 0 && tail.capacity() <= 256 * 1024, "{} bytes", tail.capacity());
}

#[test]
fn envelopes_have_a_limit() {
    let mut rig = serving_with(|config| (config.message_limit, config.capsule_limit) = (10_000, 100));
    let fits = plain(true, BINARY, &[b'Z'; 10_000 + 100 + 1024]);
    rig.backend_sends(&fits);
    assert_eq!((rig.take_notes(), rig.downstream()), (vec![], vec![]));
    rig.backend_sends(&plain(true, BINARY, &[b'Z'; 10_000 + 100 + 1025]));
    assert_eq!(rig.downstream(), ["<close 1009 a message is over the limit>"]);
    assert_eq!(rig.upstream(), ["<close 1009 a message is over the limit>"]);
}
