//! What real servers and clients have said is in `transcripts`; what they would say at a failover is made up after it.

mod any_bytes;
mod bounds;
mod failover;
mod foreign;
mod groups;
mod heads;
mod kept_events;
mod playback;
mod recovery;
mod transcripts;

use std::sync::Arc;

use super::{SocketIoMachine, SocketIoSettings};
use crate::{Down, Key, Message, Up, Words};

/// A machine and short ways to speak to it.
struct Talk {
    machine: SocketIoMachine,
}

/// What a piece of a transcript is: text, or binary as `#` and hexadecimal digits.
fn spoken(said: &str) -> (bool, Vec<u8>) {
    match said.strip_prefix('#') {
        Some(hex) => {
            let digits: Vec<u8> = hex.bytes().map(|c| (c as char).to_digit(16).expect("hex") as u8).collect();
            (false, digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
        }
        None => (true, said.as_bytes().to_vec()),
    }
}

impl Talk {
    fn new() -> Talk {
        Talk::with(SocketIoSettings::default())
    }

    fn with(settings: SocketIoSettings) -> Talk {
        Talk { machine: SocketIoMachine::new(Arc::new(settings)) }
    }

    /// A talk with the client in these namespaces, each answered.
    fn connected(settings: SocketIoSettings, namespaces: &[&str]) -> Talk {
        let mut talk = Talk::with(settings);
        talk.greeted();
        for name in namespaces {
            talk.up(&format!("40{name}"));
            talk.down(&format!("40{name}{{\"sid\":\"a\"}}"));
        }
        talk
    }

    fn greeted(&mut self) {
        let greeting = "0{\"sid\":\"e\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}";
        assert_eq!(self.down(greeting), Down::Greeting { pass: false });
    }

    fn up_words(&mut self, said: &str) -> (Up, Option<String>) {
        let (text, payload) = spoken(said);
        let mut words = Words::default();
        let verdict = self.machine.up(Message { text, payload: &payload, whole: true }, &mut words);
        assert_eq!(words.answer, None);
        (verdict, words.instead.map(|bytes| String::from_utf8(bytes).expect("text")))
    }

    fn down_words(&mut self, said: &str) -> (Down, Option<String>) {
        let (text, payload) = spoken(said);
        let mut words = Words::default();
        let verdict = self.machine.down(Message { text, payload: &payload, whole: true }, &mut words);
        assert_eq!(words.answer, None);
        (verdict, words.instead.map(|bytes| String::from_utf8(bytes).expect("text")))
    }

    /// Something that passes as it is.
    fn up(&mut self, said: &str) -> Up {
        let (verdict, instead) = self.up_words(said);
        assert_eq!(instead, None, "{said}");
        verdict
    }

    /// Something that passes as it is.
    fn down(&mut self, said: &str) -> Down {
        let (verdict, instead) = self.down_words(said);
        assert_eq!(instead, None, "{said}");
        verdict
    }

    fn slot(&mut self, connect: &str) -> Key {
        match self.up(connect) {
            Up::Keep(keep) => keep.slot,
            other => panic!("{connect}: {other:?}"),
        }
    }

    fn repeated(&mut self, connect: &str) -> Option<String> {
        let slot = self.slot(connect);
        let message = Message { text: true, payload: connect.as_bytes(), whole: true };
        self.machine.repeat(slot, message).map(|bytes| String::from_utf8(bytes).expect("text"))
    }
}
