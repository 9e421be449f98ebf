//! Ends that read slowly: how much lies unread at them, and that nothing is held against them.

use std::collections::VecDeque;
use std::time::Duration;

use super::rig::{MUTE, Rig, ms, secs};
use super::wire::{self, PONG, masked, plain};
use crate::session::{AckMode, Command, Config, EndCause, Evidence, Judgement};
use crate::websocket::close_code::CloseCode;

/// A backend that takes its time with each message, and answers a ping when it comes to it.
struct Reading {
    rig: Rig,
    /// What its kernel holds: lengths of messages, and `None` for a ping.
    unread: VecDeque<Option<usize>>,
    each: Duration,
    /// It is busy until then.
    busy: crate::time::Time,
    handled: Vec<String>,
    most_unread: usize,
    /// It answers the last of several pings at once only (RFC 6455, 5.5.3).
    latest_only: bool,
}

impl Reading {
    fn new(rig: Rig, each: Duration) -> Reading {
        let busy = rig.now;
        let (unread, handled) = (VecDeque::new(), Vec::new());
        Reading { rig, unread, each, busy, handled, most_unread: 0, latest_only: false }
    }

    fn receive(&mut self) {
        for item in self.rig.upstream() {
            if item == "<ping>" {
                self.unread.push_back(None);
            } else {
                self.unread.push_back(Some(item.len()));
                self.handled.push(item);
            }
        }
        let bytes: usize = self.unread.iter().flatten().sum();
        self.most_unread = self.most_unread.max(bytes);
    }

    /// Lets it read for so long.
    fn run(&mut self, time: Duration) {
        let end = self.rig.now + time;
        self.receive();
        while let Some(next) = self.unread.front().copied() {
            let at = if next.is_some() { self.busy.max(self.rig.now) + self.each } else { self.rig.now };
            if at > end {
                break;
            }
            self.rig.wait(at.since(self.rig.now));
            self.unread.pop_front();
            match next {
                Some(_) => self.busy = self.rig.now,
                None => self.pong(),
            }
            self.receive();
        }
        self.rig.wait(end.since(self.rig.now));
        self.receive();
    }

    fn pong(&mut self) {
        let nonce = self.rig.link().reader.pings.pop_front().expect("it has got a ping");
        let another = matches!(self.unread.front(), Some(None));
        if !(self.latest_only && another) {
            self.rig.backend_sends(&plain(true, PONG, &nonce));
        }
    }

    fn read_all(&mut self) {
        while !self.unread.is_empty() || self.rig.session.unacknowledged() > 0 {
            let before = self.handled.len();
            self.run(secs(1));
            let more = self.handled.len() > before || !self.unread.is_empty();
            assert!(
                more || self.rig.session.unacknowledged() == 0,
                "it stands still: {:?}",
                self.rig.session
            );
        }
    }

    fn silences(&mut self) -> usize {
        self.rig.take_notes().iter().filter(|note| **note == Command::JudgeSilence).count()
    }
}

/// Messages of so many bytes, told apart by their numbers.
fn burst(rig: &mut Rig, messages: usize, bytes: usize) -> Vec<String> {
    let texts: Vec<String> =
        (0..messages).map(|n| format!("{n}{}", "x".repeat(bytes - n.to_string().len()))).collect();
    let all: Vec<u8> = texts.iter().flat_map(|text| wire::upstream(text)).collect();
    rig.client_sends(&all);
    texts
}

/// A backend has answered a ping, so that what is out is bounded.
fn proven() -> Rig {
    proven_with(|_| {})
}

/// The same, and none of its messages is ever held to kill backends.
fn proven_unsuspected() -> Rig {
    proven_with(|config| config.poison_deaths = u32::MAX)
}

fn proven_with(change: impl FnOnce(&mut Config)) -> Rig {
    let mut rig = Rig::with(|config| {
        config.ring_limit = 16 << 20;
        change(config);
    });
    rig.client_says("hello");
    rig.wait(Duration::from_micros(200));
    rig.backend_pongs();
    rig.upstream();
    rig
}

#[test]
fn a_burst_to_a_slow_handler_is_handled_once_and_nobody_is_asked_about_it() {
    for latest_only in [false, true] {
        let mut reading = Reading::new(proven(), ms(50));
        reading.latest_only = latest_only;
        let texts = burst(&mut reading.rig, 800, 1000);
        reading.read_all();
        assert_eq!(reading.handled, texts);
        assert_eq!((reading.silences(), reading.rig.links.len()), (0, 1), "latest only: {latest_only}");
        assert!(reading.rig.now.since(crate::time::Time::ORIGIN) >= secs(40));
    }
}

#[test]
fn tiny_messages_to_a_slow_handler_are_no_silence_either() {
    let mut reading = Reading::new(proven(), ms(20));
    let texts = burst(&mut reading.rig, 2000, 20);
    reading.read_all();
    assert_eq!((reading.handled == texts, reading.silences()), (true, 0));
}

#[test]
fn little_lies_unread_at_a_backend_that_was_fast_and_is_slow_now() {
    let mut reading = Reading::new(proven(), Duration::from_micros(2));
    for _ in 0..50 {
        burst(&mut reading.rig, 256, 4096);
        reading.run(ms(100));
    }
    assert!(reading.rig.session.unacknowledged() == 0 && reading.unread.is_empty(), "it reads fast");
    reading.each = ms(50);
    burst(&mut reading.rig, 3000, 4096);
    reading.run(secs(30));
    assert!(reading.most_unread <= 256 << 10, "{} bytes unread", reading.most_unread);
    assert_eq!(reading.silences(), 0);
}

#[test]
fn a_backend_that_talks_and_answers_no_ping_in_time_gets_all_there_is() {
    let mut rig = Rig::with(|config| config.poison_deaths = u32::MAX);
    let messages = |rig: &mut Rig| rig.upstream().iter().filter(|item| *item != "<ping>").count();
    burst(&mut rig, 1000, 1000);
    assert_eq!(messages(&mut rig), 64, "it may answer yet");
    for _ in 0..11 {
        rig.wait(secs(1));
        rig.backend_says("talk");
    }
    assert_eq!((messages(&mut rig), rig.unproven), (936, true));
    rig.backend_dies();
    rig.link_next();
    assert_eq!(messages(&mut rig), 64, "the next one is another");
    rig.backend_dies();
    rig.dial();
    rig.link_with(false);
    rig.session.set_unproven();
    rig.pump();
    assert_eq!(messages(&mut rig), 1000, "unless its pool is known");
}

#[test]
fn a_long_way_does_not_slow_a_session_down() {
    for way in [ms(20), ms(100)] {
        let mut rig = Rig::with(|config| config.ring_limit = 16 << 20);
        rig.session.set_fit();
        let (mut said, mut begun, start) = (0, VecDeque::new(), rig.now);
        let total = 64 << 20;
        // What the backend has got is answered a round trip later.
        while said < total || rig.session.unacknowledged() > 0 {
            while said < total
                && rig.session.client_read_limit(false) > 0
                && rig.session.unacknowledged() < 1 << 20
            {
                burst(&mut rig, 16, 16 << 10);
                said += 16 * (16 << 10);
            }
            rig.upstream();
            while let Some(nonce) = rig.link().reader.pings.pop_front() {
                begun.push_back((rig.now + way * 2, nonce));
            }
            let (at, nonce) = begun.pop_front().expect("something is on its way");
            rig.wait(at.since(rig.now));
            rig.backend_sends(&plain(true, PONG, &nonce));
        }
        // 1 MiB at once is all that this client has out at any time.
        let least = way.mul_f64(2.0 * total as f64 / f64::from(1 << 20));
        let took = rig.now.since(start);
        assert!(took.mul_f64(0.9) <= least + way * 4, "{took:?} for what takes {least:?} without a window");
    }
}

#[test]
fn an_open_message_larger_than_the_window_goes_on_alone() {
    let mut rig = proven();
    burst(&mut rig, 200, 1000);
    let big = "x".repeat(500_000);
    rig.client_sends(&masked(false, wire::TEXT, big.as_bytes()));
    let begun = |rig: &mut Rig| rig.link().reader.bytes.len();
    let before = begun(&mut rig);
    assert!(before < 100_000, "it does not begin while others are unread");
    for _ in 0..20 {
        rig.wait(ms(1));
        if !rig.link().reader.pings.is_empty() {
            rig.backend_pongs();
        }
    }
    assert!(begun(&mut rig) > 700_000, "then nothing holds it");
    rig.client_sends(&masked(true, wire::CONTINUATION, b""));
    rig.backend_pongs();
    assert_eq!(rig.session.unacknowledged(), 0);
}

#[test]
fn a_replay_that_moves_is_given_its_time_and_one_that_does_not_is_not() {
    // 6 MB for a backend that reads 100 KB a second: a minute.
    let mut rig = proven();
    burst(&mut rig, 6000, 1000);
    rig.backend_dies();
    rig.link_next();
    let mut reading = Reading::new(rig, ms(10));
    reading.read_all();
    assert_eq!(reading.handled.len(), 6000);
    assert_eq!(reading.rig.downstream(), [""; 0]);
    // One that reads nothing of it.
    let mut rig = proven();
    burst(&mut rig, 6000, 1000);
    rig.backend_dies();
    rig.link_next();
    rig.wait(secs(30));
    assert!(rig.downstream()[0].starts_with("<close 1013"));
}

#[test]
fn an_episode_ends_though_each_backend_takes_a_little_more() {
    let mut rig = proven_unsuspected();
    burst(&mut rig, 6000, 1000);
    rig.backend_dies();
    let (begin, mut links) = (rig.now, 0);
    while rig.downstream().is_empty() {
        rig.link_next();
        links += 1;
        rig.wait(secs(4));
        if !rig.link().reader.pings.is_empty() && rig.session.wants_link() {
            let nonce = rig.link().reader.pings.pop_front().expect("there is one");
            rig.backend_sends(&plain(true, PONG, &nonce));
            rig.backend_dies();
        }
        assert!(links < 100);
    }
    assert!(rig.now.since(begin) >= secs(118), "it moves all the time, and ends at its bound");
    rig.client_closes(1012, "");
    rig.wait(secs(200));
    assert_eq!(
        rig.session.ended().map(|end| (end.cause, end.code)),
        Some((EndCause::Deadline, Some(CloseCode(1012))))
    );
}

#[test]
fn what_takes_the_same_part_again_and_again_is_no_progress() {
    let mut rig = proven_unsuspected();
    burst(&mut rig, 6000, 1000);
    let begin = rig.now;
    rig.backend_dies();
    while rig.downstream().is_empty() && rig.link_next_if_wanted() {
        // What was acknowledged on the first is acknowledged again by nobody.
        rig.wait(secs(1));
        rig.backend_dies();
    }
    assert!(rig.now.since(begin) <= secs(31));
}

#[test]
fn a_failover_to_a_backend_that_lives_and_is_slow_outlasts_the_deadline() {
    let mut rig = proven();
    rig.client_says("takes a minute");
    rig.backend_dies();
    rig.link_next();
    for _ in 0..12 {
        rig.wait(secs(5));
        if rig.take_notes().iter().any(|told| *told == Command::JudgeSilence) {
            let lived = Some(rig.now);
            assert_eq!(rig.judge(Evidence { lived, ..MUTE }), Judgement::Stays);
        }
    }
    assert_eq!(rig.downstream(), [""; 0]);
    rig.backend_pongs();
    assert_eq!(rig.links.len(), 2);
}

// ---- without acknowledgements ----

#[test]
fn without_acknowledgements_what_no_pong_has_marked_is_counted_as_lost() {
    let mut rig = Rig::with(|config| (config.ack, config.keepalive) = (AckMode::None, secs(25)));
    for n in 0..10 {
        rig.client_says(&n.to_string());
        rig.backend_says("answer");
        rig.wait(secs(10));
        // Talk does not put the mark off for ever.
        if n < 6 && !rig.link().reader.pings.is_empty() {
            rig.backend_pongs();
        }
    }
    let upstream = rig.session.ledger().upstream;
    assert!((3..7).contains(&upstream.acknowledged), "{upstream:?}");
    rig.backend_dies();
    let after = rig.session.ledger().upstream;
    assert_eq!((after.acknowledged, after.lost), (upstream.acknowledged, 10 - upstream.acknowledged));
    rig.link_next();
    rig.client_says("goes on");
    assert_eq!(rig.upstream().last().map(String::as_str), Some("goes on"));
}

#[test]
fn without_acknowledgements_an_orderly_end_loses_nothing() {
    let mut rig = Rig::with(|config| config.ack = AckMode::None);
    rig.client_says("one");
    rig.client_closes(1000, "");
    rig.backend_closes(1000, "");
    let upstream = rig.session.ledger().upstream;
    assert_eq!((upstream.acknowledged, upstream.lost), (1, 0));
}

// ---- clients ----

/// A client that gets much and says nothing but pongs.
fn fed(bytes: usize) -> Rig {
    let mut rig = Rig::with(|config| config.keepalive = secs(25));
    for _ in 0..bytes / 1000 {
        rig.backend_says(&"x".repeat(1000));
    }
    rig
}

/// Answers the oldest ping that the client has got.
fn client_pongs(rig: &mut Rig) {
    let payload = rig.client.pings.pop_front().expect("a ping");
    rig.client_sends(&masked(true, PONG, &payload));
}

#[test]
fn a_client_gets_the_time_that_it_takes_to_read_what_it_was_sent() {
    let mut rig = fed(100_000);
    rig.wait(secs(25));
    assert_eq!(rig.client.pings.len(), 1);
    // 20 s for the answer, and 100 s for as many KiB.
    rig.wait(secs(110));
    assert_eq!(rig.session.ended(), None);
    assert!(rig.notes.iter().any(|told| *told == Command::JudgeClient), "the driver may know better");
    client_pongs(&mut rig);
    rig.wait(secs(24));
    assert_eq!(rig.client.pings.len(), 0, "it was heard");
    rig.wait(secs(1));
    assert_eq!(rig.client.pings.len(), 1);
    rig.wait(secs(21));
    assert!(
        rig.downstream().last().is_some_and(|frame| frame.starts_with("<close 1013")),
        "now nothing is before it"
    );
}

#[test]
fn a_client_whose_connection_is_dead_gets_none() {
    let mut rig = fed(100_000);
    rig.wait(secs(46));
    assert!(rig.notes.iter().any(|told| *told == Command::JudgeClient));
    rig.session.handle_client_dead(rig.now);
    rig.pump();
    assert_eq!(rig.session.ended().map(|end| (end.cause, end.code)), Some((EndCause::ClientTimeout, None)));
}

#[test]
fn a_client_that_is_fed_without_a_word_is_asked_how_far_it_has_read() {
    let mut rig = Rig::with(|config| config.keepalive = secs(25));
    rig.wait(secs(4));
    for _ in 0..100 {
        rig.backend_says(&"x".repeat(10_000));
    }
    let asked = rig.client.pings.len();
    assert!((2..=5).contains(&asked), "{asked} pings at growing distances in a megabyte");
    for _ in 0..asked {
        rig.wait(secs(20));
        client_pongs(&mut rig);
    }
    assert_eq!(rig.session.ended(), None);
}

#[test]
fn a_client_that_talks_is_not_asked() {
    let mut rig = Rig::with(|config| config.keepalive = secs(25));
    for _ in 0..100 {
        rig.wait(secs(1));
        rig.client_says("more");
        rig.backend_says(&"x".repeat(10_000));
    }
    assert_eq!(rig.client.pings.len(), 0);
}

#[test]
fn a_client_that_stalls_is_told_so_in_front_of_what_it_has_got_nothing_of() {
    let mut rig = Rig::new();
    rig.set_client_room(wire::downstream("one").len());
    for text in ["one", "two", "three"] {
        rig.backend_says(text);
    }
    rig.wait(secs(60));
    rig.set_client_room(usize::MAX);
    assert_eq!(rig.downstream(), ["one", "<close 1013 the client does not answer or read>"]);
    assert_eq!(rig.session.ledger().downstream.lost, 2);
    rig.client_closes(1013, "");
    assert!(!rig.session.resets_client());
}

#[test]
fn in_a_frame_that_is_half_written_there_is_no_place_for_a_close() {
    let mut rig = Rig::new();
    rig.set_client_room(3);
    rig.backend_says("one");
    rig.wait(secs(60));
    assert_eq!(rig.session.ended().map(|end| (end.cause, end.code)), Some((EndCause::ClientStall, None)));
    assert!(rig.session.resets_client());
}

#[test]
fn a_client_that_does_not_even_take_the_close_is_reset() {
    let mut rig = Rig::new();
    rig.set_client_room(0);
    rig.backend_says("one");
    rig.wait(secs(66));
    assert_eq!(
        rig.session.ended().map(|end| (end.cause, end.code)),
        Some((EndCause::ClientStall, Some(CloseCode(1013))))
    );
    assert!(rig.session.resets_client());
}
