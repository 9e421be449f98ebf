//! What is true of a session, found apart from the machine: from the very bytes that the broker was given and
//! has written. Whatever the machine then says or does is held against it.

use steadfast_protocol::session::{AckMode, Counts};
use steadfast_protocol::steadfast_v1::client_wire::{FromBroker, FromClient, Standing, Token, Watermarks};
use steadfast_protocol::steadfast_v1::service_wire::{Commit, Envelope, Outputs};
use steadfast_protocol::steadfast_v1::{NUMBER_MAX, SessionId};
use steadfast_protocol::time::Time;
use steadfast_protocol::websocket::close_code::CloseCode;

use crate::application::{Message, Sizes, Sum, id_of};
use crate::deliveries::Deliveries;
use crate::framing::{Ear, Heard};
use crate::link::Link;
use crate::network::Conn;

/// What a service may say at the most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) capsule: usize,
    pub(crate) message: usize,
}

/// Tokens that may be valid at once.
pub(crate) const TOKENS_MAX: usize = 4;

#[derive(Debug)]
pub(crate) struct Truth {
    pub(crate) session: SessionId,
    ack: AckMode,
    sizes: Sizes,
    limits: Limits,
    client: Ear,
    /// Ids of the messages that the broker has whole.
    received: Vec<u64>,
    /// What the application makes of them: of none, of the first, and so on.
    states: Vec<Sum>,
    service: Ear,
    pub(crate) link: Link,
    /// The last message before those that the present service gets.
    base: u64,
    /// The message on which the last service was silent that was left for that.
    silence: Option<Silence>,
    /// The present service has failed.
    failed: bool,
    /// Nothing that the present service says counts any more.
    service_over: bool,
    pub(crate) applied: u64,
    /// The last message that is done with: committed, or read as a pong proves, or written if that is all that is
    /// ever known.
    pub(crate) committed: u64,
    /// What plain services have got.
    pub(crate) deliveries: Deliveries,
    pub(crate) capsule: Option<Vec<u8>>,
    /// What is for the client.
    pub(crate) outputs: Vec<Message>,
    told: Ear,
    marks: Watermarks,
    pub(crate) tokens: Vec<Issued>,
    /// The connections to services, each with what it must hear first.
    pub(crate) attached: Vec<(Conn, Attached)>,
    /// The session has ended, or does.
    pub(crate) over: bool,
    /// With a Close of its service's.
    pub(crate) closed_with: Option<CloseCode>,
}

/// A token: each connection of a client's has one.
#[derive(Debug)]
pub(crate) struct Issued {
    /// Once it was written.
    pub(crate) token: Option<Token>,
    /// Somebody has come back with it.
    pub(crate) used: bool,
}

/// A service has read this message, and then said nothing.
#[derive(Debug, Clone, Copy)]
struct Silence {
    seq: u64,
    /// So has the next one.
    twice: bool,
}

/// Where a session stands when a service gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attached {
    pub(crate) epoch: u64,
    pub(crate) applied: u64,
    pub(crate) committed: u64,
    pub(crate) capsule: Option<Vec<u8>>,
}

impl Truth {
    pub(crate) fn new(session: SessionId, ack: AckMode, sizes: Sizes, limits: Limits) -> Truth {
        Truth {
            session,
            ack,
            sizes,
            limits,
            client: Ear::masked(),
            received: Vec::new(),
            states: vec![Sum::default()],
            service: Ear::plain(),
            link: Link::new(Time::ORIGIN, true),
            base: 0,
            silence: None,
            failed: false,
            service_over: true,
            applied: 0,
            committed: 0,
            deliveries: Deliveries::default(),
            capsule: None,
            outputs: Vec::new(),
            told: Ear::plain(),
            marks: Watermarks::default(),
            tokens: Vec::new(),
            attached: Vec::new(),
            over: false,
            closed_with: None,
        }
    }

    pub(crate) fn received(&self) -> &[u64] {
        &self.received
    }

    /// The application's state behind a message.
    pub(crate) fn state(&self, seq: u64) -> Sum {
        let state = self.states.get(seq as usize).copied();
        state.unwrap_or_else(|| panic!("message {seq} of {} is consumed", self.received.len()))
    }

    // ---- the client ----

    /// The client has another connection.
    pub(crate) fn client_back(&mut self, token: Option<&Token>) {
        (self.client, self.told) = (Ear::masked(), Ear::plain());
        for issued in
            self.tokens.iter_mut().filter(|issued| token.is_some() && issued.token.as_ref() == token)
        {
            issued.used = true;
        }
        self.tokens.push(Issued { token: None, used: false });
    }

    /// The broker is given bytes of the client's.
    pub(crate) fn client_says(&mut self, bytes: &[u8]) {
        for heard in self.client.hear(bytes) {
            match heard {
                Heard::Message { text, payload } => self.client_said(text, &payload),
                Heard::Close(_) => self.over = true,
                Heard::Ping(_) | Heard::Pong(_) => {}
            }
        }
    }

    fn client_said(&mut self, text: bool, payload: &[u8]) {
        let (kind, content) = payload.split_first().expect("every message has a kind");
        if *kind == b'm' {
            let id = id_of(content);
            let message = Message { text, payload: content.to_vec() };
            assert_eq!(message, self.sizes.said(id), "message {id} has changed on its way");
            assert!(
                self.received.last().is_none_or(|last| last + 1 == id),
                "{id} behind {:?}",
                self.received
            );
            self.states.push(self.states[self.received.len()].with(id));
            self.received.push(id);
        } else if let Some(FromClient::Ack(seq)) = FromClient::parse(payload) {
            assert!(seq <= self.outputs.len() as u64, "{seq} is acknowledged of {}", self.outputs.len());
        }
    }

    /// The broker has written bytes to the client. Says whether a token was named.
    pub(crate) fn client_told(&mut self, bytes: &[u8]) -> bool {
        let mut welcomed = false;
        for heard in self.told.hear(bytes) {
            let Heard::Message { text, payload } = heard else { continue };
            match FromBroker::parse(&payload).filter(|_| text && payload[0] != b'm') {
                Some(FromBroker::Welcome(welcome)) => {
                    assert_eq!(welcome.session, self.session, "another session is welcomed");
                    let issued = self.tokens.last_mut().expect("a welcome is for a connection");
                    issued.token = Some(welcome.token);
                    welcomed = true;
                    if let Standing::Resumed(marks) = welcome.standing {
                        self.marked(marks);
                        self.resumed(marks.received);
                    }
                }
                Some(FromBroker::Ack(marks)) => self.marked(marks),
                None => assert_eq!(payload[0], b'm', "the broker says {payload:?}"),
            }
        }
        welcomed
    }

    fn marked(&mut self, marks: Watermarks) {
        let (received, committed) = (self.received.len() as u64, self.committed);
        assert!(marks.received <= received, "{marks:?} is told, and {received} are received");
        assert!(marks.committed <= committed, "{marks:?} is told, and {committed} are committed");
        assert!(marks.committed <= marks.received, "{marks:?}");
        let falls = marks.received < self.marks.received || marks.committed < self.marks.committed;
        assert!(!falls, "{marks:?} is told after {:?}", self.marks);
        self.marks = marks;
    }

    /// What comes next is behind `received`. Of a session that ends the broker takes no more messages, so it
    /// may have been given some that it does not count.
    fn resumed(&mut self, received: u64) {
        self.received.truncate(received as usize);
        self.states.truncate(received as usize + 1);
    }

    // ---- the service ----

    /// A service gets the session.
    pub(crate) fn attach(&mut self, now: Time, conn: Conn, epoch: u64) {
        (self.service, self.service_over, self.failed) = (Ear::plain(), false, false);
        (self.link, self.base) = (Link::new(now, self.ack == AckMode::Shim), self.committed);
        self.link.bounded = self.ack != AckMode::None;
        let before = self.attached.last().map_or(0, |(_, attached)| attached.epoch);
        assert!(epoch > before, "epoch {epoch} comes after {before}");
        let Truth { applied, committed, ref capsule, .. } = *self;
        self.attached.push((conn, Attached { epoch, applied, committed, capsule: capsule.clone() }));
    }

    /// The present service is left.
    pub(crate) fn left(&mut self) {
        self.service_over = true;
    }

    /// It has failed, or was moved away from; this is what is counted now.
    pub(crate) fn service_failed(&mut self, upstream: &Counts) {
        // The broker's process may end while the next one is looked for.
        if self.failed {
            return;
        }
        self.deliveries.left(self.link.read);
        self.failed = true;
        if self.ack == AckMode::None {
            self.deliveries.check_marks(upstream);
        }
    }

    /// The session has ended, with these counts.
    pub(crate) fn check_ledger(&mut self, upstream: &Counts) {
        if self.ack == AckMode::Shim {
            // What is committed is what is counted as such, and all the rest is lost.
            assert_eq!(
                (upstream.acknowledged, upstream.acknowledged + upstream.lost),
                (self.committed, upstream.forwarded),
                "{upstream:?}"
            );
        } else {
            let Link { read, messages, .. } = self.link;
            self.deliveries.left(if self.failed { 0 } else { read });
            // One that says Close of its own accord may have read more than it has said.
            let may = !self.failed && (self.ack == AckMode::None || self.closed_with.is_some());
            let unmarked = if may { messages - read } else { 0 };
            self.deliveries.check(self.ack, upstream, (self.committed, unmarked));
        }
        assert!(upstream.forwarded <= self.received.len() as u64, "{upstream:?}");
    }

    /// The broker has written bytes to the present service.
    pub(crate) fn service_told(&mut self, now: Time, bytes: &[u8]) {
        self.link.told(now, bytes);
        self.note_done();
    }

    /// Without commits, it is the messages that were read, or written, that are done with.
    fn note_done(&mut self) {
        let done = match self.ack {
            AckMode::Shim => return,
            AckMode::Pong if self.link.answers_pings => self.link.read,
            AckMode::Pong | AckMode::None => self.link.messages,
        };
        self.committed = self.committed.max(self.base + done);
    }

    /// The present service answers no pings, and gets what there is.
    pub(crate) fn runs_without_pongs(&mut self) {
        assert_eq!(self.link.read, 0, "a service is called unfit that has answered pings");
        self.link.is_unfit();
        self.deliveries.without = true;
        self.note_done();
    }

    /// A plain service has read this message, and the last one before it. Returns its seq.
    pub(crate) fn is_read(&mut self, conn: Conn, id: u64, last: Option<u64>) -> u64 {
        let before = self.received.first().map_or(1, |first| *first);
        let seq = (id + 1).saturating_sub(before);
        assert_eq!(self.received.get(seq as usize - 1), Some(&id), "a service gets another message");
        let attached = self.attached.iter().find(|(attached, _)| *attached == conn);
        let next = attached.expect("a service gets messages when it is attached").1.committed + 1;
        self.deliveries.read(seq, last, next, self.ack);
        seq
    }

    /// The last message that the present service has read, as far as the broker can know.
    pub(crate) fn read(&self) -> u64 {
        let written = self.ack == AckMode::None || !self.link.answers_pings;
        if written { self.committed } else { self.base + self.link.read }
    }

    /// The next service would begin what two have begun and fell silent on.
    pub(crate) fn is_silent_again(&self) -> bool {
        self.silence
            .is_some_and(|Silence { seq, twice }| seq == self.read() + 1 || (twice && seq > self.committed))
    }

    /// The present service says nothing, and is left for it.
    pub(crate) fn fell_silent(&mut self) {
        let seq = self.read() + 1;
        let owes = self.received.len() as u64 >= seq;
        self.silence = owes.then_some(Silence { seq, twice: false });
    }

    /// The present service says nothing, as the one before it.
    pub(crate) fn silence_follows(&mut self) {
        if let Some(silence) = &mut self.silence {
            silence.twice = true;
        }
    }

    /// The broker is given bytes of the present service's. Says which breach there is in them.
    pub(crate) fn service_says(&mut self, now: Time, bytes: &[u8]) -> Option<&'static str> {
        assert!(!self.service_over || bytes.is_empty(), "the broker hears a service that it has left");
        for heard in self.service.hear(bytes) {
            let done = match heard {
                Heard::Message { text, payload } => {
                    self.link.spoke(now);
                    self.service_said(text, &payload)
                }
                Heard::Pong(payload) => {
                    self.link.pong(now, &payload);
                    self.note_done();
                    Ok(())
                }
                Heard::Close(close) => {
                    let code = close.map(|(code, _)| code);
                    self.closed_with = code.or(Some(CloseCode::NO_CODE));
                    self.link.closed(code);
                    self.note_done();
                    Ok(())
                }
                _ => Ok(()),
            };
            if let Err(breach) = done {
                self.service_over = true;
                return Some(breach);
            }
        }
        None
    }

    fn service_said(&mut self, text: bool, payload: &[u8]) -> Result<(), &'static str> {
        if self.ack != AckMode::Shim {
            self.outputs.push(Message { text, payload: payload.to_vec() });
            return Ok(());
        }
        match Envelope::decode(payload) {
            _ if text => Err("bad_envelope"),
            Err(_) => Err("bad_envelope"),
            Ok(Envelope::Unknown(_)) => Ok(()),
            Ok(Envelope::Commit(commit)) => self.commit(&commit),
            Ok(Envelope::Push(outputs)) => {
                let outputs = self.judged(outputs)?;
                self.outputs.extend(outputs);
                Ok(())
            }
        }
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), &'static str> {
        let given = self.received.len() as u64;
        match commit {
            _ if commit.number > self.applied + 1 => return Err("commit_gap"),
            _ if commit.number <= self.applied => return Ok(()),
            _ if commit.upto < self.committed => return Err("commit_backwards"),
            _ if commit.upto > given || commit.upto > NUMBER_MAX => return Err("future_seq"),
            _ if commit.capsule.is_some_and(|capsule| capsule.len() > self.limits.capsule) => {
                return Err("capsule_too_big");
            }
            _ => {}
        }
        let outputs = self.judged(commit.outputs)?;
        self.check_effect(commit, &outputs);
        (self.applied, self.committed) = (commit.number, commit.upto);
        self.link.acknowledged(commit.upto - self.base);
        if let Some(capsule) = commit.capsule {
            self.capsule = Some(capsule.to_vec());
        }
        self.outputs.extend(outputs);
        Ok(())
    }

    /// The service itself has consumed each message once, in order, and answered it.
    fn check_effect(&self, commit: &Commit<'_>, outputs: &[Message]) {
        if let Some(capsule) = commit.capsule {
            assert_eq!(Sum::of_capsule(capsule), self.state(commit.upto), "commit {}", commit.number);
        }
        if commit.upto > self.committed {
            let consumed = self.committed + 1..=commit.upto;
            let answers: Vec<_> = consumed.flat_map(|seq| self.sizes.answers(self.state(seq))).collect();
            assert_eq!(outputs, answers, "the answers of commit {}", commit.number);
        }
    }

    fn judged(&self, outputs: Outputs<'_>) -> Result<Vec<Message>, &'static str> {
        let outputs: Vec<_> =
            outputs.map(|output| Message { text: output.text, payload: output.payload.to_vec() }).collect();
        let fits = |message: &Message| message.payload.len() <= self.limits.message;
        if outputs.iter().all(fits) { Ok(outputs) } else { Err("output_too_big") }
    }
}
