//! The client's end: its one connection, the real machine of this end, and an application that talks and
//! listens.

use std::collections::VecDeque;

use steadfast_protocol::steadfast_v1::SessionId;
use steadfast_protocol::steadfast_v1::client::{Client, Command, Config, SendError};
use steadfast_protocol::time::Time;
use steadfast_protocol::websocket::close_code::CloseCode;

use crate::application::Message;
use crate::framing::{Ear, Heard, Pen};
use crate::ground::Ground;
use crate::network::{Conn, End, Read};
use crate::pace::Pace;
use crate::story::Story;

/// The close code when there is none in the Close, as libraries have it.
const NO_CODE: CloseCode = CloseCode::NO_CODE;

/// No more is taken from the machine while so much waits to be written.
const AHEAD: usize = 1000;

/// An upgrade on its way to the broker.
#[derive(Debug)]
pub(crate) struct Knock {
    pub(crate) at: Time,
    pub(crate) conn: Conn,
    pub(crate) offer: String,
}

/// The broker's answer, on its way to the client. `Err`: it refuses.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) at: Time,
    pub(crate) conn: Conn,
    pub(crate) agreed: Result<Option<String>, ()>,
}

pub(crate) struct User {
    pub(crate) machine: Client,
    buffer: usize,
    pub(crate) conn: Option<Conn>,
    connected: bool,
    /// It has said Close, and nothing stands behind that.
    closed: bool,
    pub(crate) answers: Vec<Answer>,
    ear: Ear,
    out: Vec<u8>,
    /// When it says something.
    says: VecDeque<Time>,
    /// When it says goodbye.
    pub(crate) closes: Option<Time>,
    pub(crate) sent: u64,
    pub(crate) stalls_until: Option<Time>,
    pace: Pace,
    /// It reads no further before this.
    reads_at: Option<Time>,
    pub(crate) story: Story,
}

impl User {
    pub(crate) fn new(
        now: Time,
        config: Config,
        says: VecDeque<Time>,
        closes: Option<Time>,
        (longest, pace): (usize, Pace),
    ) -> User {
        User {
            buffer: config.buffer + longest,
            machine: Client::new(config, now),
            conn: None,
            connected: false,
            closed: false,
            answers: Vec::new(),
            ear: Ear::plain(),
            out: Vec::new(),
            says,
            closes,
            sent: 0,
            stalls_until: None,
            pace,
            reads_at: None,
            story: Story::default(),
        }
    }

    /// It has said everything that it is to say.
    pub(crate) fn has_spoken(&self) -> bool {
        self.says.is_empty()
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let says = self.says.front().copied().filter(|_| self.machine.has_room());
        let answers = self.answers.iter().map(|answer| answer.at).min();
        [self.machine.poll_timeout(), says, answers, self.stalls_until, self.reads_at, self.closes]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what there is to do. True: something has changed.
    pub(crate) fn pump(&mut self, ground: &mut Ground, knocks: &mut Vec<Knock>) -> bool {
        let mut moved = false;
        while self.take_answer(ground) {
            moved = true;
        }
        moved |= self.talk(ground) | self.read(ground);
        let dice = &mut ground.dice;
        self.machine.advance(ground.now, &mut || dice.next());
        moved |= self.obey(ground, knocks);
        moved |= self.write(ground);
        self.listen(ground);
        self.check_bounds();
        moved
    }

    // ---- the application ----

    fn talk(&mut self, ground: &mut Ground) -> bool {
        let mut moved = false;
        while self.says.front().is_some_and(|at| *at <= ground.now) && self.say(ground) {
            self.says.pop_front();
            moved = true;
        }
        if self.closes.is_some_and(|at| at <= ground.now) {
            self.closes = None;
            self.says.clear();
            ground.note("client", || "says goodbye".to_owned());
            self.machine.close(ground.now, CloseCode(1000), "done");
            moved = true;
        }
        moved
    }

    fn say(&mut self, ground: &mut Ground) -> bool {
        let Message { text, payload } = ground.sizes.said(self.sent + 1);
        match self.machine.send(text, &payload) {
            Ok(id) => {
                self.sent += 1;
                assert_eq!(id, self.sent, "ids are counted");
                ground.note("client", || format!("sends {id}"));
                true
            }
            Err(SendError::Full) => {
                assert!(!self.machine.has_room(), "it is full and has room");
                false
            }
            Err(SendError::Closed) => {
                self.says.clear();
                false
            }
            Err(SendError::TooBig { len, limit }) => panic!("{len} bytes are above {limit}"),
        }
    }

    fn listen(&mut self, ground: &mut Ground) {
        while let Some(event) = self.machine.poll_event() {
            ground.note("client", || format!("{event:?}"));
            self.story.event(ground, &event, self.machine.session());
        }
    }

    // ---- the connection ----

    fn take_answer(&mut self, ground: &mut Ground) -> bool {
        let now = ground.now;
        let Some(due) = self.answers.iter().position(|answer| answer.at <= now) else { return false };
        let Answer { conn, agreed, .. } = self.answers.remove(due);
        if self.conn != Some(conn) || self.connected {
            return true;
        }
        match agreed {
            Ok(protocol) => {
                self.connected = true;
                self.machine.handle_connected(now, protocol.as_deref());
            }
            Err(()) => {
                self.let_go(ground, false);
                self.machine.handle_connect_failed(now);
            }
        }
        true
    }

    fn read(&mut self, ground: &mut Ground) -> bool {
        let now = ground.now;
        self.reads_at.take_if(|at| *at <= now);
        if self.stalls_until.is_some_and(|until| until > now) {
            self.machine.set_reading(now, false);
            return false;
        }
        if self.stalls_until.take().is_some() {
            self.machine.set_reading(now, true);
        }
        if self.reads_at.is_some() {
            return false;
        }
        let Some(conn) = self.conn else { return false };
        match ground.net.read(now, conn, End::Near, self.pace.piece()) {
            Read::Nothing => return false,
            Read::End(ending) => {
                ground.note("client", || format!("its connection has ended: {ending:?}"));
                self.let_go(ground, false);
                match self.connected {
                    true => self.machine.handle_disconnected(now, None),
                    false => self.machine.handle_connect_failed(now),
                }
            }
            Read::Bytes(bytes) => {
                assert!(self.connected, "something comes before the answer to the upgrade");
                self.machine.handle_alive(now);
                if let Some(takes) = self.pace.reads(bytes.len()) {
                    self.reads_at = Some(now + takes);
                    ground.count("a client reads slowly");
                }
                for heard in self.ear.hear(&bytes) {
                    self.hear(ground, heard);
                }
            }
        }
        true
    }

    fn hear(&mut self, ground: &mut Ground, heard: Heard) {
        match heard {
            Heard::Message { text, payload } => {
                self.story.heard(&payload);
                let seq = self.machine.handle_message(ground.now, text, &payload);
                // What the application is told comes before the message that follows it.
                self.listen(ground);
                if let Some(seq) = seq {
                    ground.note("client", || format!("gets message {seq}"));
                    let message = Message { text, payload: payload[1..].to_vec() };
                    self.story.message(ground, seq, message);
                }
            }
            Heard::Ping(payload) if !self.closed => {
                Pen::masked().pong(&mut ground.dice, &payload, &mut self.out);
            }
            Heard::Ping(_) | Heard::Pong(_) => {}
            Heard::Close(close) => {
                ground.note("client", || format!("hears Close {close:?}"));
                let said = close.as_ref().map(|(code, reason)| (*code, reason.as_str()));
                self.say_close(ground, said);
                self.let_go(ground, false);
                self.machine.handle_disconnected(ground.now, Some(said.unwrap_or((NO_CODE, ""))));
            }
        }
    }

    fn obey(&mut self, ground: &mut Ground, knocks: &mut Vec<Knock>) -> bool {
        let mut moved = false;
        while let Some(command) = self.machine.poll_command(ground.now) {
            ground.note("client", || format!("{command:?}"));
            moved = true;
            match command {
                Command::Connect { protocols, .. } => self.connect(ground, knocks, protocols.join(", ")),
                Command::Close { code, reason } => {
                    self.say_close(ground, Some((code, &reason)));
                }
                Command::Abandon { close } => {
                    if let Some((code, reason)) = &close {
                        self.say_close(ground, Some((*code, reason)));
                    }
                    self.let_go(ground, close.is_none());
                }
            }
        }
        moved
    }

    /// Behind all that was taken from the machine.
    fn say_close(&mut self, ground: &mut Ground, close: Option<(CloseCode, &str)>) {
        if !self.closed {
            self.closed = true;
            Pen::masked().close(&mut ground.dice, close, &mut self.out);
            self.write(ground);
        }
    }

    fn connect(&mut self, ground: &mut Ground, knocks: &mut Vec<Knock>, offer: String) {
        assert!(self.conn.is_none(), "there is one connection at a time");
        let conn = ground.net.connect();
        ground.dialled(conn, |luck| &mut luck.clients_break);
        (self.conn, self.connected, self.closed) = (Some(conn), false, false);
        (self.ear, self.out, self.reads_at) = (Ear::plain(), Vec::new(), None);
        let late = Ground::uses_up(&mut ground.luck.upgrades_late);
        if !late && Ground::uses_up(&mut ground.luck.words_late) {
            ground.net.hold_up_from(conn, End::Near, ground.now + ground.luck.late_by);
        }
        let at = ground.now
            + ground.net.client_delay() * 2
            + if late { ground.luck.late_by } else { Default::default() };
        knocks.push(Knock { at, conn, offer });
    }

    /// Drops the connection. `hard`: what was said may be lost.
    fn let_go(&mut self, ground: &mut Ground, hard: bool) {
        if let Some(conn) = self.conn.take() {
            match hard {
                true => ground.drop_hard(conn, End::Near),
                false => ground.net.close(ground.now, conn, End::Near),
            }
            self.story.connection_over();
        }
    }

    fn write(&mut self, ground: &mut Ground) -> bool {
        let Some(conn) = self.conn.filter(|_| self.connected) else { return false };
        let was_full = !self.out.is_empty();
        while self.out.len() < AHEAD
            && !self.closed
            && let Some(outgoing) = self.machine.poll_transmit(ground.now)
        {
            self.story.written(&outgoing.message);
            Pen::masked().message(&mut ground.dice, outgoing.text, &outgoing.message, &mut self.out);
        }
        let written = ground.net.write(ground.now, conn, End::Near, &self.out);
        self.out.drain(..written);
        if was_full && written > 0 {
            // What it did not take before it takes now, so somebody reads.
            self.machine.handle_alive(ground.now);
        }
        written > 0
    }

    fn check_bounds(&self) {
        let kept = self.machine.buffered();
        assert!(kept <= self.buffer, "{kept} bytes are kept, and the bound is {}", self.buffer);
    }

    /// The session that it is in, as far as it knows.
    pub(crate) fn session(&self) -> Option<SessionId> {
        self.machine.session()
    }
}
