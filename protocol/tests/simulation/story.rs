//! What the client's application is told, held against what is true: nothing is missing, comes twice or out of
//! order, and what is said of each message is so.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use steadfast_protocol::steadfast_v1::client::{Cause, Client, End, Event, Fate, Loss};
use steadfast_protocol::steadfast_v1::client_wire::{FromBroker, MESSAGE, Reason, Token};
use steadfast_protocol::steadfast_v1::{CLOSE_SUPERSEDED, SessionId};
use steadfast_protocol::websocket::close_code::CloseCode;

use crate::application::{Message, id_of};
use crate::ground::Ground;
use crate::truth::{TOKENS_MAX, Truth};

/// Codes of Closes that end a client, and nothing is wrong: the service has decided so, or a message
/// fails every backend.
const FINAL: [CloseCode; 2] = [CloseCode(4000), CloseCode::INTERNAL_ERROR];

/// The client remembers so many ranges of unknown messages one by one.
const REMEMBERED: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct Story {
    session: Option<SessionId>,
    token: Option<Token>,
    /// The one before it, with which the client came.
    shown: Option<Token>,
    /// Messages that have come in this session.
    got: u64,
    /// Ids that belong to the sessions before this one.
    base: u64,
    /// The last that was written to any connection.
    written: u64,
    /// The last that was written to this one.
    written_here: u64,
    received: u64,
    committed: u64,
    unknown: Vec<RangeInclusive<u64>>,
    pub(crate) end: Option<End>,
}

impl Story {
    /// Messages that have come in the present session.
    pub(crate) fn got(&self) -> u64 {
        self.got
    }

    /// A message of the broker's is on its way to the machine.
    pub(crate) fn heard(&mut self, message: &[u8]) {
        if let Some(FromBroker::Welcome(welcome)) = FromBroker::parse(message).filter(|_| message[0] == b'w')
        {
            (self.shown, self.token) = (self.token, Some(welcome.token));
        }
    }

    /// The machine has given a message to write.
    pub(crate) fn written(&mut self, message: &[u8]) {
        if message[0] == MESSAGE {
            let id = id_of(&message[1..]);
            assert!(id > self.received, "{id} is written again, and {} are received", self.received);
            assert!(id > self.base, "{id} is written in another session");
            assert!(self.written_here == 0 || id == self.written_here + 1, "{id} is out of order");
            (self.written_here, self.written) = (id, self.written.max(id));
        }
    }

    pub(crate) fn connection_over(&mut self) {
        self.written_here = 0;
    }

    pub(crate) fn message(&mut self, ground: &mut Ground, seq: u64, message: Message) {
        self.got += 1;
        assert_eq!(seq, self.got, "the client counts");
        let session = self.session.expect("messages come in a session");
        let outputs = &ground.truth(session).outputs;
        let expected = outputs.get(seq as usize - 1);
        assert_eq!(Some(&message), expected, "message {seq} of {} for the client", outputs.len());
    }

    pub(crate) fn event(&mut self, ground: &mut Ground, event: &Event, session: Option<SessionId>) {
        match event {
            Event::Fresh { reason, unknown } => {
                let before = self.session.map(|before| &*ground.truth(before));
                assert!(excused(*reason, before, self.shown), "the session is lost: {reason:?}");
                ground.count(match reason {
                    Reason::New => "a session new",
                    Reason::Unknown => "a session unknown",
                    Reason::Stale => "a session stale",
                    Reason::Seq => "a session with another seq",
                });
                self.check_unknown(unknown);
                if unknown.is_some() {
                    ground.count("messages unknown");
                }
                self.unknown.extend(unknown.clone());
                (self.session, self.got, self.base) = (session, 0, self.written);
                (self.received, self.committed) = (self.written, self.written);
            }
            Event::Resumed => {
                ground.count("a session resumed");
                assert_eq!(session, self.session, "another session goes on");
            }
            Event::Progress { received, committed } => self.progress(ground, *received, *committed),
            Event::Lost(Loss::Silent) => ground.count("a broker is silent for the client"),
            Event::Lost(Loss::Closed(CLOSE_SUPERSEDED)) => ground.count("an attempt of long ago"),
            Event::Lost(_) => {}
            Event::Closed(end) => self.closed(end),
        }
    }

    /// What is written and was never said to be committed.
    fn check_unknown(&self, unknown: &Option<RangeInclusive<u64>>) {
        let expected = (self.committed < self.written).then(|| self.committed + 1..=self.written);
        assert_eq!(unknown, &expected, "what is in the unknown");
    }

    fn progress(&mut self, ground: &mut Ground, received: u64, committed: u64) {
        assert!(committed <= received && received <= self.written, "{committed} of {received} committed");
        assert!(received >= self.received && committed >= self.committed, "progress goes back");
        let truth = ground.truth(self.session.expect("progress is made in a session"));
        let id = |count: u64| count.checked_sub(1).map_or(self.base, |last| truth.received()[last as usize]);
        let known = (id(truth.received().len() as u64), id(truth.committed));
        assert!(received <= known.0 && committed <= known.1, "({received}, {committed}) of {known:?}");
        (self.received, self.committed) = (received, committed);
    }

    fn closed(&mut self, end: &End) {
        assert!(self.end.is_none(), "it ends twice");
        match &end.cause {
            Cause::Asked => {}
            Cause::Closed { code, .. } => assert!(FINAL.contains(code), "it ends with {end:?}"),
            cause => panic!("it ends: {cause}"),
        }
        self.check_unknown(&end.unknown);
        self.unknown.extend(end.unknown.clone());
        self.end = Some(end.clone());
    }

    /// When all is over: what is said of each message is true, and something is said of each.
    pub(crate) fn check(&self, ground: &mut Ground, client: &Client, sent: u64) {
        let consumed = consumed(&ground.truths);
        for id in 1..=sent {
            let fate = client.fate(id).unwrap_or_else(|| panic!("nothing is known of {id}"));
            let committed = consumed.get(&id).copied();
            match fate {
                Fate::Committed => assert_eq!(committed, Some(true), "message {id} is called committed"),
                Fate::Unknown => {
                    let told = self.unknown.iter().any(|range| range.contains(&id));
                    // Of sessions long ago less is remembered, and what was committed is called unknown.
                    let long_ago = committed == Some(true) && self.unknown.len() > REMEMBERED;
                    assert!(told || long_ago, "{id} is lost silently");
                }
                Fate::Unsent => {
                    ground.count("a message unsent");
                    let unsent = self.end.as_ref().and_then(|end| end.unsent.clone());
                    assert!(unsent.is_some_and(|range| range.contains(&id)), "{id} is dropped silently");
                    assert_eq!(committed, None, "message {id} is called unsent");
                }
                Fate::Kept | Fate::Received => panic!("message {id} is {fate:?} when all is over"),
            }
        }
    }
}

/// Of each message that the broker has had whole: whether it is committed. In one session only.
fn consumed(truths: &[Truth]) -> BTreeMap<u64, bool> {
    let mut consumed = BTreeMap::new();
    for truth in truths {
        for (seq, id) in (1..).zip(truth.received()) {
            let before = consumed.insert(*id, seq <= truth.committed);
            assert_eq!(before, None, "message {id} was sent in two sessions");
        }
    }
    consumed
}

/// Whether the broker may say that a session is not to be had any more.
fn excused(reason: Reason, before: Option<&Truth>, token: Option<Token>) -> bool {
    match (reason, before) {
        (Reason::New, before) => before.is_none(),
        (Reason::Unknown, Some(before)) => before.over,
        // Late attempts of its own have come in between, with an older token.
        (Reason::Stale, Some(before)) => {
            let mut issued = before.tokens.iter().skip_while(|issued| issued.token != token);
            let used = issued.next().is_none_or(|issued| issued.used);
            before.over || (!used && issued.count() >= TOKENS_MAX - 1)
        }
        _ => false,
    }
}
