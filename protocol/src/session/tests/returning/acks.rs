//! How far messages have come: what the broker tells its client, and what the client tells it.

use super::*;

/// The acknowledgements that the client has got since the last call.
fn told(rig: &mut Rig) -> Vec<String> {
    let mut told = rig.downstream();
    told.retain(|frame| frame.starts_with("a "));
    told
}

#[test]
fn a_client_is_told_within_50_ms() {
    let mut rig = shim();
    rig.client_says("mone");
    rig.wait(ms(49));
    rig.client_says("mtwo");
    assert_eq!(told(&mut rig), [""; 0]);
    rig.wait(ms(1));
    assert_eq!(told(&mut rig), ["a 2 0"], "one for all that came meanwhile");
    rig.backend_pongs();
    rig.wait(ms(50));
    assert_eq!(told(&mut rig), ["a 2 1"], "the ping stood behind the first");
    rig.backend_pongs();
    rig.wait(ms(50));
    assert_eq!(told(&mut rig), ["a 2 2"]);
    rig.wait(secs(60));
    assert_eq!(told(&mut rig), [""; 0], "nothing is new");
}

#[test]
fn with_a_service_committed_is_what_it_has_committed() {
    let mut rig = shim_served();
    rig.client_sends(&[upstream("mone"), upstream("mtwo")].concat());
    rig.backend_pongs();
    rig.wait(ms(50));
    assert_eq!(told(&mut rig), ["a 2 0"]);
    rig.backend_sends(&Commit { number: 1, upto: 1, ..Commit::default() }.frame());
    rig.wait(ms(50));
    assert_eq!(told(&mut rig), ["a 2 1"]);
}

#[test]
fn the_news_go_in_front_of_the_next_message_down() {
    for mut rig in both() {
        rig.client_says("mone");
        rig.wait(ms(10));
        answers(&mut rig, "answer");
        assert_eq!(rig.downstream(), ["a 1 0", "manswer"]);
        rig.wait(ms(10));
        answers(&mut rig, "more");
        assert_eq!(rig.downstream(), ["mmore"], "nothing is new");
        for (text, news) in [("two", vec!["a 2 0", "m2"]), ("three", vec!["m3"])] {
            rig.client_says(&format!("m{text}"));
            answers(&mut rig, &news[news.len() - 1][1..]);
            assert_eq!(rig.downstream(), news, "not with each of many");
        }
        rig.wait(ms(50));
        assert_eq!(rig.downstream(), ["a 3 0"]);
    }
}

#[test]
fn the_news_come_with_64_kib_at_the_latest() {
    let mut rig = shim();
    let half = format!("m{}", "x".repeat(33_000));
    rig.client_says(&half);
    assert_eq!(told(&mut rig), [""; 0]);
    rig.client_says(&half);
    assert_eq!(told(&mut rig), ["a 2 0"]);
    rig.client_says(&half);
    assert_eq!(told(&mut rig), [""; 0], "counted from there");
}

#[test]
fn whoever_asks_is_told_at_once() {
    for mut rig in both() {
        rig.client_sends(&upstream("q"));
        assert_eq!(rig.downstream(), ["a 0 0"], "also when nothing is new");
        rig.client_sends(&[upstream("mone"), upstream("q"), upstream("q")].concat());
        assert_eq!(rig.downstream(), ["a 1 0"], "one for those that come together");
        rig.client_sends(&upstream("q and fields of a later version"));
        assert_eq!(rig.downstream(), ["a 1 0"]);
    }
}

#[test]
fn without_acknowledgements_what_is_written_counts_as_committed() {
    let mut rig = shim_with(|config| config.ack = AckMode::None);
    rig.client_sends(&[upstream("mone"), upstream("q")].concat());
    rig.client_sends(&upstream("q"));
    assert_eq!(told(&mut rig).last().map(String::as_str), Some("a 1 1"));
}

#[test]
fn what_is_written_late_is_told_too() {
    let mut rig = shim_with(|config| config.ack = AckMode::None);
    rig.set_backend_room(0);
    rig.client_says("mone");
    rig.wait(ms(50));
    assert_eq!(told(&mut rig), ["a 1 0"]);
    rig.set_backend_room(usize::MAX);
    rig.wait(ms(50));
    assert_eq!(told(&mut rig), ["a 1 1"]);
}

/// A backend that acknowledges and dies before the hold is over gets nothing back of what the client was told.
#[test]
fn neither_figure_ever_falls() {
    let mut rig = shim_with(|config| config.ack_hold = secs(10));
    rig.client_sends(&[upstream("mone"), upstream("mtwo")].concat());
    rig.backend_pongs();
    rig.wait(ms(50));
    assert_eq!(told(&mut rig).last().map(String::as_str), Some("a 2 2"));
    rig.backend_dies();
    rig.link_next();
    assert_eq!(got(&mut rig), ["one", "two"]);
    rig.client_sends(&upstream("q"));
    assert_eq!(told(&mut rig), ["a 2 2"]);
    rig.wait(secs(1));
    assert_eq!(told(&mut rig), [""; 0]);
}

#[test]
fn what_the_client_has_is_let_go() {
    for mut rig in both() {
        answers(&mut rig, &"x".repeat(1000));
        answers(&mut rig, &"y".repeat(1000));
        assert!(rig.session.buffered() > 2000, "written is not acknowledged");
        rig.client_sends(&upstream("a 1"));
        assert!((1000..2000).contains(&rig.session.buffered()));
        rig.client_sends(&upstream("a 0"));
        rig.client_sends(&upstream("a 2"));
        assert_eq!(rig.session.buffered(), 0);
    }
}

#[test]
fn a_client_that_acknowledges_nothing_is_not_answered_for_ever() {
    for mut rig in both_with(|config| config.ring_limit = 10_000) {
        for _ in 0..30 {
            answers(&mut rig, &"x".repeat(1000));
        }
        assert!(!rig.session.wants_backend());
        assert!(rig.session.buffered() < 10_000 + 1100, "{} bytes", rig.session.buffered());
        let has = heard(&mut rig).len();
        rig.client_sends(&upstream(&format!("a {has}")));
        assert!(heard(&mut rig).len() > 5, "it goes on");
    }
}

/// What is kept of it must not keep its end from coming.
#[test]
fn a_message_that_is_longer_than_the_ring_comes_through() {
    for mut rig in both_with(|config| config.ring_limit = 10_000) {
        let text = "x".repeat(100_000);
        match rig.session.commits().is_some() {
            true => rig.backend_sends(&push(&[&text])),
            false => {
                super::super::wire::downstream(&text).chunks(999).for_each(|piece| rig.backend_sends(piece))
            }
        }
        assert!(heard(&mut rig) == [format!("m{text}")]);
        rig.client_sends(&upstream("a 1"));
        answers(&mut rig, "next");
        assert_eq!(heard(&mut rig), ["mnext"]);
    }
}

#[test]
fn a_client_that_neither_reads_nor_stops_asking_grows_nothing() {
    for mut rig in both() {
        rig.set_client_room(10);
        answers(&mut rig, "a message that does not get through");
        for n in 0..5000u32 {
            rig.client_sends(&[upstream("q"), masked(true, PING, &n.to_be_bytes())].concat());
        }
        assert!(rig.session.buffered() < 20_000, "{} bytes", rig.session.buffered());
        rig.set_client_room(usize::MAX);
        assert_eq!(rig.downstream().last().map(String::as_str), Some("a 0 0"));
    }
}

/// What is to be told when the client is sent away is told no more.
#[test]
fn nothing_is_due_for_a_client_that_was_told_close() {
    for mut rig in both() {
        rig.client_says("mone");
        rig.backend_closes(4000, "enough");
        rig.wait(secs(4));
        assert_eq!(rig.downstream(), ["<close 4000 enough>"]);
    }
}

/// The service answers messages, so how long that takes is not measured from an acknowledgement.
#[test]
fn an_acknowledgement_is_no_question() {
    let mut rig = shim();
    rig.client_says("mone");
    rig.backend_pongs();
    rig.wait(ms(10));
    answers(&mut rig, "answer");
    rig.client_sends(&upstream("a 1"));
    rig.wait(secs(1));
    answers(&mut rig, "news");
    assert!(rig.session.slowest_answer() < ms(20), "{:?}", rig.session.slowest_answer());
}

// ---- messages that are long for what may be kept ----

/// What a message takes besides its payload must not keep its end from being read.
#[test]
fn a_message_of_the_largest_size_comes_to_its_end() {
    const LIMIT: usize = 100_000;
    let mut rig = shim_with(|config| (config.message_limit, config.ring_limit) = (LIMIT as u32, LIMIT));
    let frame = plain(true, BINARY, &[7; LIMIT]);
    let (most, end) = frame.split_at(frame.len() - 3);
    let before = rig.client.bytes.len();
    rig.backend_sends(most);
    rig.backend_sends(end);
    assert_eq!(rig.client.bytes.len() - before, LIMIT + 1 + 10);
}

#[test]
fn a_message_comes_to_its_end_however_short_memory_is() {
    let mut rig = shim();
    assert!(rig.session.set_memory_short(true), "that is news");
    assert!(!rig.session.set_memory_short(true));
    let frame = plain(true, BINARY, &[7; 1 << 20]);
    let before = rig.client.bytes.len();
    frame.chunks(50_000).for_each(|piece| rig.backend_sends(piece));
    assert_eq!(rig.client.bytes.len() - before, (1 << 20) + 1 + 10);
    rig.backend_says("not read yet");
    assert!(!rig.session.wants_backend(), "too much is kept for the client");
    rig.client_sends(&upstream("a 1"));
    assert_eq!(rig.downstream().last().map(String::as_str), Some("mnot read yet"));
}

#[test]
fn plain_backends_are_read_for_a_client_that_is_away_up_to_the_limit() {
    let mut rig = shim_with(|config| (config.message_limit, config.ring_limit) = (1000, 2000));
    rig.client_goes();
    for _ in 0..10 {
        rig.backend_sends(&super::super::wire::downstream(&"x".repeat(900)));
    }
    assert!(!rig.session.wants_backend());
    assert!((2000..3000).contains(&rig.session.buffered()), "{} bytes", rig.session.buffered());
    assert!(rig.session.set_memory_short(true));
    assert_eq!(back(&mut rig, 0).map(|downstream| downstream.len()), Ok(3));
}
