//! A service's process: one connection of the broker's, the real machine of this end, and the application on
//! top. It dies wherever it is told to, and a new one begins with what the broker and the store tell it.

use std::collections::VecDeque;
use std::time::Duration;

use steadfast_protocol::shim::SessionId;
use steadfast_protocol::shim::service::{Attachment, Draft, Input, Limits, Service};
use steadfast_protocol::shim::service_wire::Output;
use steadfast_protocol::shim::{CLOSE_BREACH, CLOSE_SUPERSEDED};
use steadfast_protocol::time::Time;

use crate::application::{Message, Row, Store, Sum};
use crate::framing::{Ear, Heard, Pen};
use crate::ground::Ground;
use crate::network::{Conn, End, Ending, Read};
use crate::truth::Attached;

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
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// What it has said arrives.
    Exit,
    /// What it has said may be lost.
    Crash,
    /// And nobody is told.
    PowerCut,
}

/// Where in its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// A message has come, and nothing is done with it.
    Heard,
    /// It is consumed, in memory.
    Consumed,
    /// A commit is made (and stored), and nothing of it said.
    Made,
    /// A part of a commit's bytes is said.
    Saying,
    /// All of them are.
    Said,
}

/// A death that waits for its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fuse {
    pub(crate) point: Point,
    /// How often it is passed by.
    pub(crate) skip: u64,
    pub(crate) death: Death,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Lives,
    /// It says what it has to say, and ends.
    Doomed(Death),
    Gone,
}

pub(crate) struct Process {
    name: String,
    pub(crate) conn: Conn,
    pub(crate) session: SessionId,
    epoch: u64,
    habits: Habits,
    machine: Service,
    ear: Ear,
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
    ) -> Process {
        let Ground { limits, now, .. } = *ground;
        let name = format!("service {}.{epoch}", Ground::number_of(session));
        let limits = Limits { capsule: limits.capsule as u32, message: limits.message as u32 };
        Process {
            name,
            conn,
            session,
            epoch,
            habits,
            machine: Service::new(limits),
            ear: Ear::masked(),
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
        }
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
        if self.is_gone() {
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

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        if self.life != Life::Lives {
            return None;
        }
        let work = (!self.inbox.is_empty()).then_some(self.busy_until);
        [work, self.commit_by, self.stalls_until, self.leaves_at].into_iter().flatten().min()
    }

    // ---- reading ----

    fn read(&mut self, ground: &mut Ground, store: &mut Store) -> bool {
        if self.stalls_until.is_some_and(|until| until > ground.now) || self.life != Life::Lives {
            return false;
        }
        self.stalls_until = None;
        match ground.net.read(ground.now, self.conn, End::Far, usize::MAX) {
            Read::Nothing => return false,
            Read::End(ending) => return self.cut_off(ground, ending),
            Read::Bytes(bytes) => {
                for heard in self.ear.hear(&bytes) {
                    if self.life == Life::Lives {
                        self.hear(ground, store, heard);
                    }
                }
            }
        }
        true
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
            Heard::Message { text, payload } => self.hear_message(ground, store, text, payload),
            Heard::Ping(payload) => {
                let notice = self.machine.handle_ping(&payload);
                let notice = notice.unwrap_or_else(|breach| panic!("{}: {breach}", self.name));
                if let Some(notice) = notice {
                    ground.note(&self.name, || format!("is told {notice:?}"));
                    if notice.draining {
                        ground.count("a notice of a drain");
                    }
                    store.forget(self.session, notice.applied);
                }
                if !self.mute && self.life == Life::Lives {
                    Pen::plain().pong(&mut ground.dice, &payload, &mut self.out);
                }
            }
            Heard::Pong => {}
            Heard::Close(close) => self.hear_close(ground, store, close),
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

    fn hear_close(&mut self, ground: &mut Ground, store: &mut Store, close: Option<(u16, String)>) {
        ground.note(&self.name, || format!("hears Close {close:?}"));
        let code = close.as_ref().map(|(code, _)| *code);
        if matches!(code, Some(CLOSE_SUPERSEDED | CLOSE_BREACH)) {
            // It does not listen at once.
            ground.count("a service is fenced");
            self.leaves_at = Some(ground.now + ground.dice.millis(0, 500));
            return;
        }
        if !self.habits.hasty {
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

    // ---- working ----

    fn work(&mut self, ground: &mut Ground, store: &mut Store) -> bool {
        let (now, batch) = (ground.now, self.habits.batch);
        if self.busy_until <= now
            && let Some((_, id)) = self.inbox.pop_front()
        {
            self.busy_until = now + ground.dice.millis(0, self.habits.work);
            self.consume(ground, id);
            let more = ground.dice.chance(self.habits.talks);
            self.commit_by.get_or_insert(now + self.habits.commit_after);
            if self.consumed >= batch || self.machine.is_draining() || self.is_full(ground) {
                self.commit(ground, store);
            }
            if more {
                self.talk(ground, store);
            }
            return true;
        }
        let due = self.commit_by.is_some_and(|by| by <= now || self.machine.is_draining());
        if due {
            self.commit(ground, store);
        }
        due
    }

    /// The answers to another message may find no room in the same commit.
    fn is_full(&self, ground: &Ground) -> bool {
        let len: usize = self.answers.iter().map(|answer| answer.payload.len() + 5).sum();
        len > ground.limits.message / 2
    }

    fn consume(&mut self, ground: &mut Ground, id: u64) {
        if self.life == Life::Lives {
            self.state = self.state.with(id);
            self.consumed += 1;
            self.answers.extend(ground.sizes.answers(self.state));
            if ground.luck.killer == id && Ground::uses_up(&mut ground.luck.kills) {
                self.fuse = Some(Fuse { point: Point::Consumed, skip: 0, death: Death::Crash });
            }
            self.burns(ground, Point::Consumed);
        }
    }

    fn commit(&mut self, ground: &mut Ground, store: &mut Store) {
        self.commit_by = None;
        if self.consumed > 0 {
            self.consumed = 0;
            let answers = std::mem::take(&mut self.answers);
            self.commit_with(ground, store, answers, true);
        }
    }

    fn commit_with(&mut self, ground: &mut Ground, store: &mut Store, outputs: Vec<Message>, capsule: bool) {
        if self.life != Life::Lives {
            return;
        }
        let (state, number) = (self.state, self.machine.number() + 1);
        if self.habits.store && !self.store(ground, store, number, &outputs) {
            ground.count("a service is fenced by its store");
            return self.end(ground, Death::Exit);
        }
        if self.burns(ground, Point::Made) {
            return;
        }
        let outputs: Vec<_> = outputs.iter().map(Message::output).collect();
        let bytes = state.capsule();
        let draft =
            draft(state.seq, capsule.then_some(&bytes), &outputs, ground.dice.chance(self.habits.prompt));
        let numbered = self.machine.commit(&draft).unwrap_or_else(|misuse| panic!("{}: {misuse}", self.name));
        assert_eq!(numbered.number, number, "{}", self.name);
        ground
            .note(&self.name, || format!("commits {number}, up to {}, {} outputs", state.seq, outputs.len()));
        self.say_commit(ground, numbered.message);
    }

    /// The transaction. False: another process has the session.
    fn store(&mut self, ground: &mut Ground, store: &mut Store, number: u64, outputs: &[Message]) -> bool {
        let state = ground.truth(self.session).state(self.state.seq);
        assert_eq!(self.state, state, "{} has consumed something else", self.name);
        let row = Row { number, state, outputs: outputs.to_vec() };
        store.write(self.session, self.epoch, row)
    }

    fn say_commit(&mut self, ground: &mut Ground, message: Vec<u8>) {
        if self.life != Life::Lives {
            return;
        }
        let from = self.out.len();
        Pen::plain().message(&mut ground.dice, false, &message, &mut self.out);
        let whole = self.out.len() - from;
        if self.burns(ground, Point::Saying) {
            ground.count("a commit cut in the middle");
            self.out.truncate(from + ground.dice.size(0, whole - 1));
        } else {
            self.burns(ground, Point::Said);
        }
        self.last_commit = Some(message);
    }

    /// Says something that answers nothing.
    fn talk(&mut self, ground: &mut Ground, store: &mut Store) {
        if self.life != Life::Lives {
            return;
        }
        let extra = |n: u64| Message { text: true, payload: format!("extra {n:x}").into_bytes() };
        let extra = extra(ground.dice.next());
        match ground.dice.below(5) {
            0 => self.push(ground, &extra),
            1 => Pen::plain().message(&mut ground.dice, false, b"Z of a later version", &mut self.out),
            2 => Pen::plain().ping(&mut ground.dice, b"are you there", &mut self.out),
            3 => {
                // A commit that has been applied already.
                if let Some(message) = self.last_commit.clone() {
                    ground.count("a commit that was applied already");
                    Pen::plain().message(&mut ground.dice, false, &message, &mut self.out);
                }
            }
            _ if self.consumed == 0 => self.commit_with(ground, store, vec![extra], self.habits.store),
            _ => {}
        }
    }

    fn push(&mut self, ground: &mut Ground, extra: &Message) {
        let message = self.machine.push(&[extra.output()]).expect("a push is small");
        ground.note(&self.name, || "pushes".to_owned());
        ground.count("a push");
        Pen::plain().message(&mut ground.dice, false, &message, &mut self.out);
    }

    // ---- writing, and the end ----

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

    /// Whether this is the place of its death.
    fn burns(&mut self, ground: &mut Ground, point: Point) -> bool {
        let Some(fuse) = self.fuse.as_mut().filter(|fuse| fuse.point == point) else { return false };
        if Ground::uses_up(&mut fuse.skip) || self.life != Life::Lives {
            return false;
        }
        ground.note(&self.name, || format!("dies: {point:?}, {:?}", fuse.death));
        ground.count("a service dies");
        self.life = Life::Doomed(fuse.death);
        true
    }

    /// It ends now.
    pub(crate) fn end(&mut self, ground: &mut Ground, death: Death) {
        if self.is_gone() {
            return;
        }
        ground.note(&self.name, || format!("ends: {death:?}"));
        self.life = Life::Gone;
        match death {
            Death::Exit => ground.net.close(ground.now, self.conn, End::Far),
            Death::Crash => ground.net.reset(ground.now, self.conn, End::Far),
            Death::PowerCut => ground.net.vanish(self.conn, End::Far),
        }
    }

    /// It says Close of its own accord.
    pub(crate) fn closes(&mut self, ground: &mut Ground, code: u16) {
        if self.serves() {
            ground.note(&self.name, || format!("says Close {code}"));
            ground.count("a Close of the service's");
            Pen::plain().close(&mut ground.dice, Some((code, "its own")), &mut self.out);
            self.life = Life::Doomed(Death::Exit);
        }
    }

    /// It says what it must not.
    pub(crate) fn misbehaves(&mut self, ground: &mut Ground, (text, message): (bool, &[u8])) {
        if self.serves() && self.machine.epoch() > 0 {
            ground.note(&self.name, || "misbehaves".to_owned());
            Pen::plain().message(&mut ground.dice, text, message, &mut self.out);
        }
    }

    pub(crate) fn machine(&self) -> &Service {
        &self.machine
    }

    /// What the application holds in its memory.
    pub(crate) fn state(&self) -> Sum {
        self.state
    }
}

fn draft<'a>(upto: u64, capsule: Option<&'a Vec<u8>>, outputs: &'a [Output<'a>], prompt: bool) -> Draft<'a> {
    Draft { upto, capsule: capsule.map(Vec::as_slice), outputs, prompt }
}
