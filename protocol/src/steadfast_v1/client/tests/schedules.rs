//! Whatever is cut, late or forgotten: nothing is lost or comes twice without being told.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::rig::{Rig, secs};
use crate::steadfast_v1::SessionId;
use crate::steadfast_v1::client::{Cause, Command, Event, Fate};
use crate::steadfast_v1::client_wire::{
    FromBroker, FromClient, Offer, Reason, Resume, Standing, Token, Watermarks, Welcome,
};

/// One session as a broker has it.
#[derive(Default)]
struct Session {
    /// The application's messages that have come, as they were sent.
    upstream: Vec<String>,
    committed: usize,
    /// How many messages were made for the client; their payloads are their seqs.
    downstream: u64,
    /// How many of them are written to the present connection.
    written: u64,
    acked: u64,
    /// Secrets that are good for a resume; the last one is the present connection's.
    secrets: Vec<u8>,
    gone: bool,
}

/// A broker that keeps the rules, and the wires between it and a client.
#[derive(Default)]
struct World {
    sessions: Vec<Session>,
    /// Of the present connection, as the broker sees it.
    present: Option<usize>,
    confirmed: bool,
    secrets: u8,
    to_broker: VecDeque<String>,
    to_client: VecDeque<String>,
    /// Whether the client has a connection.
    connected: bool,
    /// What the client was given, by session.
    given: Vec<Vec<String>>,
    unknown: Vec<u64>,
}

fn name(session: usize) -> SessionId {
    (session as u128 + 1).to_be_bytes()
}

impl World {
    fn connect(&mut self, protocols: &[String]) {
        self.hang_up();
        self.connected = true;
        self.secrets = self.secrets.wrapping_add(1);
        let resume = Offer::parse(&protocols.join(", ")).resume;
        let standing = match resume.map(|resume| self.judge(&resume.expect("a token"))) {
            Some(Ok(session)) => {
                self.present = Some(session);
                let Session { upstream, committed, .. } = &self.sessions[session];
                Standing::Resumed(Watermarks {
                    received: upstream.len() as u64,
                    committed: *committed as u64,
                })
            }
            refused => {
                self.sessions.push(Session::default());
                self.given.push(Vec::new());
                self.present = Some(self.sessions.len() - 1);
                Standing::Fresh(refused.and_then(Result::err).unwrap_or(Reason::New))
            }
        };
        let session = self.present.expect("just chosen");
        self.sessions[session].secrets.push(self.secrets);
        let token = Token::new(name(session), [self.secrets; 32]);
        let welcome = Welcome { session: name(session), token, window_ms: 1000, standing };
        self.to_client.push_back(FromBroker::Welcome(welcome).text());
        self.write_down();
    }

    fn judge(&mut self, resume: &Resume) -> Result<usize, Reason> {
        let is = |at: &usize| name(*at) == resume.token.session();
        let at = (0..self.sessions.len()).find(is).filter(|at| !self.sessions[*at].gone);
        let session = &mut self.sessions[at.ok_or(Reason::Unknown)?];
        let known = |secret: &u8| Token::new(resume.token.session(), [*secret; 32]).is(&resume.token);
        if !session.secrets.iter().any(known) {
            return Err(Reason::Stale);
        }
        assert!((session.acked..=session.downstream).contains(&resume.last), "LAST is true");
        session.written = resume.last;
        Ok(at.expect("found above"))
    }

    /// What is made and not written goes to the present connection.
    fn write_down(&mut self) {
        let Some(at) = self.present else { return };
        let session = &mut self.sessions[at];
        for seq in session.written + 1..=session.downstream {
            self.to_client.push_back(format!("m{seq}"));
        }
        session.written = session.downstream;
    }

    fn hang_up(&mut self) {
        (self.present, self.confirmed, self.connected) = (None, false, false);
        self.to_broker.clear();
        self.to_client.clear();
    }

    /// The broker reads a message.
    fn read(&mut self) {
        let (Some(text), Some(at)) = (self.to_broker.pop_front(), self.present) else { return };
        let session = &mut self.sessions[at];
        if !self.confirmed {
            self.confirmed = true;
            session.secrets = session.secrets.split_off(session.secrets.len() - 1);
            assert!(text.starts_with("a "), "the first message confirms the token, not {text}");
        }
        if let Some(payload) = text.strip_prefix('m') {
            session.upstream.push(payload.to_owned());
        } else if let Some(FromClient::Ack(seq)) = FromClient::parse(text.as_bytes()) {
            assert!((session.acked..=session.written).contains(&seq), "an ack of what was sent");
            session.acked = seq;
        }
    }

    fn acknowledge(&mut self) {
        let Some(at) = self.present else { return };
        let Session { upstream, committed, .. } = &self.sessions[at];
        let marks = Watermarks { received: upstream.len() as u64, committed: *committed as u64 };
        self.to_client.push_back(FromBroker::Ack(marks).text());
    }
}

struct Run {
    rig: Rig,
    world: World,
    sent: u64,
}

impl Run {
    /// Does what the machine says, as a driver would.
    fn settle(&mut self) {
        self.rig.client.advance(self.rig.now, &mut || 7);
        while let Some(command) = self.rig.client.poll_command(self.rig.now) {
            match command {
                Command::Connect { protocols, .. } => {
                    self.world.connect(&protocols);
                    self.rig.client.handle_connected(self.rig.now, Some("steadfast.v1"));
                }
                Command::Abandon { .. } => self.world.hang_up(),
                Command::Close { .. } => panic!("nobody has said goodbye"),
            }
        }
        for event in self.rig.events() {
            match event {
                Event::Fresh { unknown, .. } => self.world.unknown.extend(unknown.into_iter().flatten()),
                Event::Closed(end) => assert_eq!(end.cause, Cause::Asked, "this broker keeps the rules"),
                _ => {}
            }
        }
    }

    fn step(&mut self, step: u8) {
        let now = self.rig.now;
        match step % 12 {
            0 | 1 => self.sent = self.rig.send(&(self.sent + 1).to_string()),
            2 | 3 => {
                let next = self.rig.client.poll_transmit(now);
                let text = next.map(|next| String::from_utf8(next.message).expect("text"));
                self.world.to_broker.extend(text);
            }
            4 | 5 => self.world.read(),
            6 | 7 => self.hear(),
            8 => {
                if let Some(at) = self.world.present {
                    self.world.sessions[at].downstream += 1;
                    self.world.write_down();
                }
            }
            9 => {
                if let Some(at) = self.world.present {
                    let session = &mut self.world.sessions[at];
                    session.committed = session.upstream.len();
                }
                self.world.acknowledge();
            }
            10 => self.rig.now = now + secs(u64::from(step / 12)),
            _ => self.cut(step),
        }
        self.settle();
    }

    fn hear(&mut self) {
        let Some(text) = self.world.to_client.pop_front() else { return };
        if self.rig.hear(&text).is_some() {
            let session = self.rig.client.session().expect("a session");
            let at = (0..self.world.given.len()).find(|at| name(*at) == session).expect("a known one");
            self.world.given[at].push(text[1..].to_owned());
        }
    }

    /// The connection ends; some of what was written may still be read, and the session may be forgotten.
    fn cut(&mut self, step: u8) {
        if !self.world.connected {
            return;
        }
        for _ in 0..step / 64 {
            self.world.read();
        }
        let (session, forgets) = (self.world.present, step.is_multiple_of(5));
        if let Some(at) = session.filter(|_| forgets) {
            self.world.sessions[at].gone = true;
        }
        self.world.hang_up();
        self.rig.cut();
    }

    /// Everything is delivered and committed now.
    fn finish(&mut self) {
        for _ in 0..1000 {
            if !self.rig.client.is_open() && self.world.to_client.is_empty() {
                self.rig.now = self.rig.client.poll_timeout().map_or(self.rig.now, |at| at.max(self.rig.now));
            }
            for step in [2, 4, 6, 9, 6] {
                self.step(step);
            }
            if self.rig.client.fate(self.sent).is_none_or(|fate| fate != Fate::Kept && fate != Fate::Received)
            {
                return;
            }
        }
        panic!("it does not come to an end");
    }

    fn check(&self) {
        let (mut seen, mut committed) = (Vec::new(), Vec::new());
        for (session, given) in self.world.sessions.iter().zip(&self.world.given) {
            let numbers = session.upstream.iter().map(|text| text.parse::<u64>().expect("a number"));
            let before = seen.len();
            seen.extend(numbers);
            committed.extend_from_slice(&seen[before..before + session.committed]);
            assert!(seen[before..].windows(2).all(|two| two[0] + 1 == two[1]), "in order, none left out");
            let expected: Vec<_> = (1..=given.len()).map(|seq| seq.to_string()).collect();
            assert_eq!(given, &expected, "each message once, in order");
        }
        assert!(seen.windows(2).all(|two| two[0] < two[1]), "none twice, over all sessions");
        for id in 1..=self.sent {
            match self.rig.client.fate(id) {
                Some(Fate::Committed) => assert!(committed.contains(&id), "{id} is committed"),
                Some(Fate::Unknown) => assert!(self.world.unknown.contains(&id), "{id} was told of"),
                other => panic!("message {id} is {other:?} at the end"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_or_comes_twice_without_being_told(steps in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut run = Run { rig: Rig::new(), world: World::default(), sent: 0 };
        run.settle();
        for step in steps {
            run.step(step);
        }
        run.finish();
        run.check();
    }
}
