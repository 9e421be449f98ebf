//! What a service does with messages: it consumes them, commits, keeps that in its store, and talks.

use steadfast_protocol::steadfast_v1::service::Draft;
use steadfast_protocol::steadfast_v1::service_wire::Output;

use crate::application::{Message, Row, Store};
use crate::framing::Pen;
use crate::ground::Ground;

use super::Process;
use super::death::{Death, Fuse, Life, Point};

impl Process {
    pub(super) fn work(&mut self, ground: &mut Ground, store: &mut Store) -> bool {
        if self.plain.is_some() {
            return self.work_plainly(ground);
        }
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
    pub(super) fn is_full(&self, ground: &Ground) -> bool {
        let len: usize = self.answers.iter().map(|answer| answer.payload.len() + 5).sum();
        len > ground.limits.message / 2
    }

    pub(super) fn consume(&mut self, ground: &mut Ground, id: u64) {
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

    pub(super) fn commit(&mut self, ground: &mut Ground, store: &mut Store) {
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

    pub(super) fn say_commit(&mut self, ground: &mut Ground, message: Vec<u8>) {
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
}

pub(super) fn draft<'a>(
    upto: u64,
    capsule: Option<&'a Vec<u8>>,
    outputs: &'a [Output<'a>],
    prompt: bool,
) -> Draft<'a> {
    Draft { upto, capsule: capsule.map(Vec::as_slice), outputs, prompt }
}
