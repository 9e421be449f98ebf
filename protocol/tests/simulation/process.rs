//! A service's process: one connection of the broker's, the real machine of this end, and the application on
//! top. It dies wherever it is told to, and a new one begins with what the broker and the store tell it.

mod death;
mod plain;
mod work;

use std::collections::VecDeque;
use std::time::Duration;

use steadfast_protocol::session::AckMode;
use steadfast_protocol::steadfast_v1::SessionId;
use steadfast_protocol::steadfast_v1::service::{Attachment, Input, Limits, Service};
use steadfast_protocol::steadfast_v1::{CLOSE_BREACH, CLOSE_SUPERSEDED};
use steadfast_protocol::time::Time;
use steadfast_protocol::websocket::close_code::CloseCode;

use crate::application::{Message, Store, Sum};
use crate::framing::{Ear, Heard, Pen};
use crate::ground::Ground;
use crate::hosts::{Host, Hosts};
use crate::network::{Conn, End, Ending, Read};
use crate::pace::Pace;
use crate::truth::Attached;

pub(crate) use death::{Death, Fuse, Point};

use death::Life;
use plain::Plain;
use work::draft;

/// How the services of a schedule work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habits {
    /// They keep their commits in a store of their own.
    pub(crate) store: bool,
    /// Messages to consume before a commit.
    pub(crate) batch: u64,
    /// How long a message may wait for that.
    pub(crate) commit_after: Duration,
    /// How long work on one message takes at the most, in milliseconds.
    pub(crate) work: u64,
    /// Of a hundred commits, those that ask for a notice; of a hundred messages, those at which it says
    /// something else too.
    pub(crate) prompt: u64,
    pub(crate) talks: u64,
    /// It answers a Close without a look at what it has not handled yet.
    pub(crate) hasty: bool,
    /// How fast they read.
    pub(crate) pace: Pace,
}

pub(crate) struct Process {
    name: String,
    pub(crate) conn: Conn,
    pub(crate) session: SessionId,
    epoch: u64,
    /// On which it runs.
    pub(crate) host: Host,
    habits: Habits,
    /// Its end of `steadfast.v1`, if it links the shim;
    machine: Service,
    /// else what it knows itself.
    plain: Option<Plain>,
    ear: Ear,
    /// What it has read, and has not come to yet.
    heard: VecDeque<Heard>,
    /// It reads no further before this.
    reads_at: Option<Time>,
    /// Bytes to be written.
    out: Vec<u8>,
    /// Messages that are not consumed, with their ids.
    inbox: VecDeque<(u64, u64)>,
    state: Sum,
    /// Answers to be committed, and to how many messages.
    answers: Vec<Message>,
    consumed: u64,
    busy_until: Time,
    commit_by: Option<Time>,
    life: Life,
    pub(crate) fuse: Option<Fuse>,
    /// It does not read before this.
    pub(crate) stalls_until: Option<Time>,
    /// It answers no pings.
    pub(crate) mute: bool,
    /// It has been told that it is over, or was cut off: what it still does must have no effect.
    leaves_at: Option<Time>,
    last_commit: Option<Vec<u8>>,
}

impl Process {
    pub(crate) fn new(
        ground: &mut Ground,
        habits: Habits,
        (conn, session, epoch): (Conn, SessionId, u64),
        host: Host,
    ) -> Process {
        let Ground { limits, now, .. } = *ground;
        let name = format!("service {}.{epoch}", Ground::number_of(session));
        let limits = Limits { capsule: limits.capsule as u32, message: limits.message as u32 };
        let mut process = Process {
            name,
            conn,
            session,
            epoch,
            host,
            habits,
            machine: Service::new(limits),
            plain: (ground.ack != AckMode::Shim).then(Plain::default),
            ear: Ear::masked(),
            heard: VecDeque::new(),
            reads_at: None,
            out: Vec::new(),
            inbox: VecDeque::new(),
            state: Sum::default(),
            answers: Vec::new(),
            consumed: 0,
            busy_until: now,
            commit_by: None,
            life: Life::Lives,
            fuse: None,
            stalls_until: None,
            mute: false,
            leaves_at: None,
            last_commit: None,
        };
        if process.plain.is_some() {
            process.greet(ground);
        }
        process
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.life == Life::Gone
    }

    /// It serves its session, as far as it knows.
    pub(crate) fn serves(&self) -> bool {
        self.life == Life::Lives && self.leaves_at.is_none()
    }

    /// Does what there is to do. True: something has changed.
    pub(crate) fn pump(&mut self, ground: &mut Ground, store: &mut Store) -> bool {
        if self.is_gone() || !ground.hosts.is_able(self.host, ground.now) {
            return false;
        }
        let mut moved = self.read(ground, store);
        while self.life == Life::Lives && self.work(ground, store) {
            moved = true;
        }
        if self.leaves_at.is_some_and(|at| at <= ground.now) && self.life == Life::Lives {
            self.end(ground, Death::Exit);
        }
        self.write(ground) | moved
    }

    pub(crate) fn next_timeout(&self, now: Time, hosts: &Hosts) -> Option<Time> {
        if self.is_gone() {
            return None;
        }
        if !hosts.is_able(self.host, now) {
            return Some(hosts.able_at(self.host));
        }
        if self.life != Life::Lives {
            return None;
        }
        let work = (!self.inbox.is_empty()).then_some(self.busy_until);
        let times = [work, self.commit_by, self.stalls_until, self.reads_at, self.leaves_at];
        times.into_iter().flatten().min()
    }

    // ---- reading ----

    fn read(&mut self, ground: &mut Ground, store: &mut Store) -> bool {
        self.reads_at.take_if(|at| *at <= ground.now);
        if self.stalls_until.is_some_and(|until| until > ground.now) || self.life != Life::Lives {
            return false;
        }
        self.stalls_until = None;
        if self.reads_at.is_some() {
            return false;
        }
        if self.heard.is_empty() {
            match ground.net.read(ground.now, self.conn, End::Far, self.habits.pace.piece()) {
                Read::Nothing => return false,
                Read::End(ending) => return self.cut_off(ground, ending),
                Read::Bytes(bytes) => {
                    self.reads_at = self.habits.pace.reads(bytes.len()).map(|takes| ground.now + takes);
                    self.heard.extend(self.ear.hear(&bytes));
                }
            }
        }
        let before = self.reads_at;
        while self.life == Life::Lives
            && self.reads_at == before
            && let Some(heard) = self.heard.pop_front()
        {
            self.hear(ground, store, heard);
        }
        true
    }

    /// Works on a message, and reads nothing meanwhile.
    fn takes_time(&mut self, ground: &mut Ground, id: u64) {
        let takes = self.habits.pace.takes(id);
        if takes.is_zero() {
            return;
        }
        let until = ground.now + takes;
        (self.reads_at, self.busy_until) = (self.reads_at.max(Some(until)), self.busy_until.max(until));
        ground.count("a service takes its time");
        if takes >= ground.ack_timeout {
            ground.count("a message takes longer than a sign of life may");
        }
        if self.habits.pace.blocks {
            ground.hosts.halt(self.host, ground.now, until);
        }
    }

    fn cut_off(&mut self, ground: &mut Ground, ending: Ending) -> bool {
        if self.leaves_at.is_some() {
            return false;
        }
        ground.note(&self.name, || format!("its connection has ended: {ending:?}"));
        self.leaves_at = Some(ground.now + ground.dice.millis(0, 500));
        true
    }

    fn hear(&mut self, ground: &mut Ground, store: &mut Store, heard: Heard) {
        match heard {
            Heard::Message { text, payload } if self.plain.is_some() => {
                self.hear_plainly(ground, text, payload);
            }
            Heard::Message { text, payload } => self.hear_message(ground, store, text, payload),
            Heard::Ping(payload) => {
                if self.plain.is_none() {
                    self.hear_notice(ground, store, &payload);
                }
                let later = self.heard.iter().any(|heard| matches!(heard, Heard::Ping(_)));
                if self.habits.pace.latest_only && later {
                    ground.count("a ping is not answered for a later one");
                } else if !self.mute && self.life == Life::Lives {
                    Pen::plain().pong(&mut ground.dice, &payload, &mut self.out);
                }
            }
            Heard::Pong(_) => {}
            Heard::Close(close) => self.hear_close(ground, store, close),
        }
    }

    fn hear_notice(&mut self, ground: &mut Ground, store: &mut Store, payload: &[u8]) {
        let notice = self.machine.handle_ping(payload);
        let notice = notice.unwrap_or_else(|breach| panic!("{}: {breach}", self.name));
        if let Some(notice) = notice {
            ground.note(&self.name, || format!("is told {notice:?}"));
            if notice.draining {
                ground.count("a notice of a drain");
            }
            store.forget(self.session, notice.applied);
        }
    }

    fn hear_message(&mut self, ground: &mut Ground, store: &mut Store, text: bool, payload: Vec<u8>) {
        let input = self.machine.handle_message(text, &payload);
        let input = input.unwrap_or_else(|breach| panic!("{}: {breach}", self.name));
        let seq = match &input {
            Input::Attached(attachment) => return self.attached(ground, store, attachment),
            Input::Message(seq) | Input::Skipped(seq) => *seq,
        };
        let received = ground.truth(self.session).received();
        let id = received.get(seq as usize - 1).copied();
        let id = id.unwrap_or_else(|| panic!("{} gets message {seq} of {}", self.name, received.len()));
        let expected = ground.sizes.said(id);
        assert_eq!(Message { text, payload }, expected, "{} gets this as message {seq}", self.name);
        if self.burns(ground, Point::Heard) {
            return;
        }
        if input == Input::Message(seq) {
            ground.note(&self.name, || format!("gets message {seq}, which is {id}"));
            self.inbox.push_back((seq, id));
            self.busy_until = self.busy_until.max(ground.now + ground.dice.millis(0, self.habits.work));
            self.takes_time(ground, id);
        } else {
            ground.note(&self.name, || format!("gets message {seq} again"));
            ground.count("a message skipped");
            assert!(seq <= self.state.seq, "message {seq} is skipped, and {:?} is consumed", self.state);
        }
    }

    fn attached(&mut self, ground: &mut Ground, store: &mut Store, attachment: &Attachment) {
        let Attachment { session, epoch, applied, committed, ref capsule } = *attachment;
        ground.note(&self.name, || format!("is attached: {applied} applied, {committed} committed"));
        assert_eq!((session, epoch), (self.session, self.epoch), "{}", self.name);
        let found = Attached { epoch, applied, committed, capsule: capsule.clone() };
        let expected = ground.truth(session).attached.iter().find(|(conn, _)| *conn == self.conn);
        assert_eq!(Some(&found), expected.map(|(_, attached)| attached), "{}", self.name);
        if self.habits.store {
            self.recover(ground, store, applied);
        } else {
            self.state = capsule.as_deref().map_or_else(Sum::default, Sum::of_capsule);
            assert_eq!(self.state.seq, committed, "the capsule is of another message");
        }
    }

    /// Says again what the broker may not have heard.
    fn recover(&mut self, ground: &mut Ground, store: &mut Store, applied: u64) {
        let Some(kept) = store.take_over(self.session, self.epoch, applied) else {
            return self.end(ground, Death::Exit);
        };
        self.state = kept.state;
        for row in kept.rows.clone() {
            let outputs: Vec<_> = row.outputs.iter().map(Message::output).collect();
            let capsule = row.state.capsule();
            let draft = draft(row.state.seq, Some(&capsule), &outputs, ground.dice.chance(50));
            let repeated = self.machine.repeat(row.number, &draft);
            let repeated = repeated.unwrap_or_else(|misuse| panic!("{}: {misuse}", self.name));
            assert_eq!(repeated.is_none(), row.number <= applied, "commit {} of {applied}", row.number);
            if let Some(numbered) = repeated {
                ground.note(&self.name, || format!("says commit {} again", row.number));
                ground.count("a commit said again");
                self.say_commit(ground, numbered.message);
            }
        }
    }

    fn hear_close(&mut self, ground: &mut Ground, store: &mut Store, close: Option<(CloseCode, String)>) {
        ground.note(&self.name, || format!("hears Close {close:?}"));
        let code = close.as_ref().map(|(code, _)| *code);
        if matches!(code, Some(CLOSE_SUPERSEDED | CLOSE_BREACH)) {
            // It does not listen at once.
            ground.count("a service is fenced");
            self.leaves_at = Some(ground.now + ground.dice.millis(0, 500));
            return;
        }
        if !self.habits.hasty && self.plain.is_some() {
            self.answer_all(ground);
        } else if !self.habits.hasty {
            while let Some((_, id)) = self.inbox.pop_front() {
                self.consume(ground, id);
                if self.is_full(ground) {
                    self.commit(ground, store);
                }
            }
            self.commit(ground, store);
        }
        if self.life == Life::Lives {
            let answer = close.as_ref().map(|(code, reason)| (*code, reason.as_str()));
            Pen::plain().close(&mut ground.dice, answer, &mut self.out);
            self.life = Life::Doomed(Death::Exit);
        }
    }

    // ---- writing ----

    fn write(&mut self, ground: &mut Ground) -> bool {
        if self.is_gone() {
            return false;
        }
        let written = ground.net.write(ground.now, self.conn, End::Far, &self.out);
        self.out.drain(..written);
        if let Life::Doomed(death) = self.life
            && self.out.is_empty()
        {
            self.end(ground, death);
            return true;
        }
        written > 0
    }

    pub(crate) fn machine(&self) -> &Service {
        &self.machine
    }

    /// What the application holds in its memory.
    pub(crate) fn state(&self) -> Sum {
        self.state
    }
}
