//! The two ends, as the specification has them. Message 3 of the client's is `up 3:...`; its answer is `re 3`.

use std::collections::VecDeque;

use super::super::wire::{Commit, PONG, downstream, plain, push, upstream};
use crate::steadfast_v1::client_wire::{Resume, Token};

/// A client that links the shim.
#[derive(Debug, Default)]
pub(super) struct Client {
    token: Option<Token>,
    /// Messages down that have come.
    last: u64,
    answered: u64,
    /// Backends that do not commit may answer twice, or never.
    pub(super) loose: bool,
    /// Every message that it ever said.
    messages: Vec<String>,
    /// Messages that were written to the present connection; `None`: it may not say anything there yet.
    written: Option<u64>,
    watermarks: (u64, u64),
    /// What it has written and the broker has not got.
    stream: Vec<u8>,
}

impl Client {
    pub(super) fn say(&mut self, len: usize) {
        let seq = self.messages.len() + 1;
        self.messages.push(format!("mup {seq}:{}", "u".repeat(len)));
        self.write();
    }

    fn write(&mut self) {
        let Some(written) = &mut self.written else { return };
        for message in &self.messages[*written as usize..] {
            self.stream.extend(upstream(message));
        }
        *written = self.messages.len() as u64;
    }

    pub(super) fn arrive(&mut self, n: usize) -> Vec<u8> {
        self.stream.drain(..n.min(self.stream.len())).collect()
    }

    pub(super) fn acknowledge(&mut self) {
        if self.written.is_some() {
            self.stream.extend(upstream(&format!("a {}", self.last)));
        }
    }

    pub(super) fn ask(&mut self) {
        if self.written.is_some() {
            self.stream.extend(upstream("q"));
        }
    }

    /// What it has written is on its way no more.
    pub(super) fn lose(&mut self) {
        (self.written, self.stream) = (None, Vec::new());
    }

    /// What it shows to come back; `None`: it was never welcomed.
    pub(super) fn resume(&self) -> Option<Resume> {
        self.token.map(|token| Resume { token, last: self.last })
    }

    pub(super) fn hear(&mut self, frames: Vec<String>) {
        for frame in frames {
            if let Some(message) = frame.strip_prefix('m') {
                assert!(self.token.is_some(), "the welcome comes first");
                self.last += 1;
                self.answer(message);
            } else if frame.starts_with("w ") {
                self.welcome(&frame);
            } else if let Some(marks) = frame.strip_prefix("a ") {
                self.progress(marks);
            } else {
                panic!("{frame}");
            }
        }
    }

    fn answer(&mut self, message: &str) {
        let Some(number) = message.strip_prefix("re ") else { return assert_eq!(message, "push") };
        let number: u64 = number.parse().expect("a number");
        let next = self.answered + 1;
        assert!(number == next || (self.loose && number > next), "{number} behind {}", self.answered);
        self.answered = number;
    }

    /// Messages down that have come.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    fn welcome(&mut self, frame: &str) {
        let fields: Vec<&str> = frame.splitn(6, ' ').collect();
        self.token = Some(Token::parse(fields[2]).expect("a token"));
        let resumed = fields[4] == "resumed";
        assert!(resumed || (self.last == 0 && self.messages.is_empty() || self.written.is_none()), "{frame}");
        if resumed {
            self.progress(fields[5]);
        }
        self.written = Some(self.watermarks.0);
        self.acknowledge();
        self.write();
    }

    fn progress(&mut self, marks: &str) {
        let (received, committed) = marks.split_once(' ').expect("two figures");
        let (received, committed): (u64, u64) =
            (received.parse().expect("a number"), committed.parse().expect("a number"));
        assert!(received >= self.watermarks.0 && committed >= self.watermarks.1, "neither ever falls");
        assert!(committed <= received && received <= self.messages.len() as u64, "{marks}");
        self.watermarks = (received, committed);
    }

    pub(super) fn watermarks(&self) -> (u64, u64) {
        self.watermarks
    }

    pub(super) fn said(&self) -> u64 {
        self.messages.len() as u64
    }

    pub(super) fn is_answered(&self) -> bool {
        self.answered == self.said()
    }
}

/// The services that a session comes to, one after another.
#[derive(Debug)]
pub(super) struct Service {
    /// What all of them share, if they have a store: the upto of each commit, by number.
    store: Option<Vec<u64>>,
    /// They do not link the shim: what they have got, and how often they have spoken.
    plain: Option<(u64, u64)>,
    /// Which of them it is.
    link: usize,
    attached: bool,
    /// Seq of the last message that came to it.
    seq: u64,
    consumed: u64,
    number: u64,
    stream: Vec<u8>,
}

impl Service {
    pub(super) fn new(stored: bool) -> Service {
        let store = stored.then(Vec::new);
        Service {
            store,
            plain: None,
            link: 1,
            attached: false,
            seq: 0,
            consumed: 0,
            number: 0,
            stream: Vec::new(),
        }
    }

    /// Backends that do not link the shim.
    pub(super) fn plain() -> Service {
        Service { plain: Some((0, 0)), attached: true, ..Service::new(false) }
    }

    /// Seq of the last message that any plain backend has got.
    pub(super) fn got(&self) -> u64 {
        self.plain.map_or(0, |(got, _)| got)
    }

    /// Takes what has come to the backend of this number.
    pub(super) fn hear(&mut self, link: usize, frames: Vec<String>) {
        if self.link != link {
            let (store, plain) = (self.store.take(), self.plain);
            *self = Service { link, store, plain, attached: plain.is_some(), ..Service::new(false) };
        }
        for frame in frames {
            if let Some(attach) = frame.strip_prefix("<attach ") {
                self.attach(attach);
            } else if let Some(message) = frame.strip_prefix("up ") {
                assert!(self.attached, "ATTACH comes first");
                let seq = message.split_once(':').expect("a seq").0.parse().expect("a number");
                self.message(seq);
            } else if frame.starts_with("<close 1001") {
                self.stream.extend(plain(true, super::CLOSE, &super::close_payload(1001, "")));
            } else {
                let served = frame.starts_with("<notice ") || frame.starts_with("<close 4409 fenced");
                assert!(if self.plain.is_some() { frame == "<ping>" } else { served }, "{frame}");
            }
        }
    }

    /// The first one that comes to a plain backend may have come to another; from there on there is no gap.
    fn message(&mut self, seq: u64) {
        if let Some((got, _)) = &mut self.plain {
            assert!(
                seq == self.seq + 1 || (self.seq == 0 && seq <= *got + 1),
                "{seq} behind {} and {got}",
                self.seq
            );
            *got = seq.max(*got);
        } else {
            assert_eq!(seq, self.seq + 1, "no gap, and nothing twice");
        }
        self.seq = seq;
    }

    /// The text of an ATTACH; the capsule is the seq up to which messages are consumed.
    fn attach(&mut self, text: &str) {
        assert!(!std::mem::replace(&mut self.attached, true), "once");
        let figure = |name: &str| -> u64 {
            let rest = text.split_once(name).expect(name).1;
            rest.split([',', '>', ' ', '"']).next().expect(name).parse().expect("a number")
        };
        let (applied, committed) = (figure("applied "), figure("committed "));
        let capsule = if committed > 0 { figure("capsule \"") } else { 0 };
        assert_eq!((text.starts_with(&self.link.to_string()), capsule), (true, committed), "{text}");
        (self.seq, self.consumed, self.number) = (committed, committed, applied);
        let behind = self.store.iter().flat_map(|store| store.iter().copied().skip(applied as usize));
        for upto in behind.collect::<Vec<_>>() {
            self.send(upto);
        }
    }

    /// Handles what has come, in so many commits, the last of which asks to be told.
    pub(super) fn handle(&mut self, commits: usize) {
        if let Some((_, spoken)) = &mut self.plain {
            *spoken += 1;
            return self.stream.extend(downstream(&format!("re {spoken}")));
        }
        let waiting = self.seq.saturating_sub(self.consumed);
        for n in 1..=commits as u64 {
            let upto = self.seq.max(self.consumed) - waiting * (commits as u64 - n) / commits as u64;
            if self.attached && upto > self.consumed {
                self.store.iter_mut().for_each(|store| store.push(upto));
                self.send(upto);
            }
        }
    }

    /// The answers are those to the messages that it consumes.
    fn send(&mut self, upto: u64) {
        self.number += 1;
        let texts: Vec<String> = (self.consumed + 1..=upto).map(|seq| format!("re {seq}")).collect();
        let outputs: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (number, capsule) = (self.number, upto.to_string());
        let prompt = number.is_multiple_of(3);
        self.stream
            .extend(Commit { number, upto, capsule: Some(&capsule), prompt, outputs: &outputs }.frame());
        self.consumed = upto;
    }

    pub(super) fn push(&mut self) {
        match self.plain {
            Some(_) => self.stream.extend(downstream("push")),
            None if self.attached => self.stream.extend(push(&["push"])),
            None => {}
        }
    }

    pub(super) fn pong(&mut self, pings: VecDeque<Vec<u8>>) {
        self.stream.extend(pings.iter().flat_map(|nonce| plain(true, PONG, nonce)));
    }

    pub(super) fn flush(&mut self, n: usize) -> Vec<u8> {
        self.stream.drain(..n.min(self.stream.len())).collect()
    }
}
