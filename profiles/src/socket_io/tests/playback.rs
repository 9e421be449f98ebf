//! Recorded conversations, each message with what it must be.

use std::collections::HashSet;

use super::super::SocketIoSettings;
use super::{Talk, transcripts};
use crate::{Down, Key, Phase, Up};

/// What is open, so that an answer can be told from one of nothing.
#[derive(Default)]
struct Open {
    asks: HashSet<Key>,
    connects: HashSet<Key>,
    slots: HashSet<Key>,
    asked: HashSet<Key>,
}

fn up(open: &mut Open, verdict: Up) -> &'static str {
    match verdict {
        Up::Tell => "tell",
        Up::Ask(key) => {
            assert!(open.asks.insert(key));
            "ask"
        }
        Up::Keep(keep) => {
            open.slots.insert(keep.slot);
            open.connects.insert(keep.answer.expect("an answer"));
            assert_eq!((keep.phase, keep.waits), (Phase::Door, true));
            "keep"
        }
        Up::Retire { slot, answer: None } if open.slots.remove(&slot) => "retire",
        Up::Retire { .. } => "retire-nothing",
        Up::Reply(key) if open.asked.remove(&key) => "reply",
        Up::Reply(_) => "reply-unasked",
        Up::Beat => "beat",
        Up::More => "more",
        Up::Unsaveable(_) => "unsaveable",
    }
}

fn down(open: &mut Open, verdict: Down) -> &'static str {
    match verdict {
        Down::Push => "push",
        Down::Answer { key, pass: true } if open.connects.remove(&key) => "let-in",
        Down::Answer { key, pass: false } if open.asks.remove(&key) => "answer",
        Down::Answer { .. } => "answer-unasked",
        Down::Refusal(key) if open.connects.remove(&key) => "refusal",
        Down::Refusal(_) => "refusal-unasked",
        Down::End(slot) if open.slots.remove(&slot) => "end",
        Down::End(_) => "end-of-nothing",
        Down::Greeting { pass: false } => "greeting",
        Down::Greeting { pass: true } => "greeting-passed",
        Down::Asks(key) => {
            assert!(open.asked.insert(key));
            "asks"
        }
        Down::Beat => "beat",
        Down::Parting => "parting",
        Down::More => "more",
    }
}

fn play(name: &str, transcript: &str, settings: &SocketIoSettings) {
    let (mut talk, mut open) = (Talk::with(settings.clone()), Open::default());
    let mut read = 0;
    for line in transcript.lines().filter(|line| !line.is_empty()) {
        if line == "new" {
            (talk, open) = (Talk::with(settings.clone()), Open::default());
            continue;
        }
        let mut parts = line.splitn(3, ' ');
        let (verdict, side, said) =
            (parts.next().expect("one"), parts.next().expect("two"), parts.next().expect("three"));
        let found = match side {
            ">" => up(&mut open, talk.up(said)),
            _ => down(&mut open, talk.down(said)),
        };
        assert_eq!(found, verdict, "{name}: {line}");
        read += 1;
    }
    assert!(read > 5, "{name}");
}

#[test]
fn each_message_of_real_servers_and_clients_is_what_it_is() {
    for recover in [false, true] {
        let settings = SocketIoSettings { recover, ..SocketIoSettings::default() };
        for (name, transcript) in transcripts::ALL {
            play(name, transcript, &settings);
        }
    }
}
