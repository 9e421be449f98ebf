//! A plain application, which knows nothing of commits: it reads messages in their order, and answers each when it
//! comes to it.

use crate::application::{Message, Sum, id_of};
use crate::framing::Pen;
use crate::ground::Ground;
use crate::random::mixed;

use super::Process;
use super::death::{Death, Fuse, Life, Point};

/// What such a one has got.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// Seq of the last message.
    last: Option<u64>,
}

impl Process {
    /// It says something before it is asked, now and then.
    pub(super) fn greet(&mut self, ground: &mut Ground) {
        if ground.dice.chance(self.habits.talks) {
            ground.count("a greeting");
            Pen::plain().message(&mut ground.dice, true, b"welcome", &mut self.out);
        }
    }

    pub(super) fn hear_plainly(&mut self, ground: &mut Ground, text: bool, payload: Vec<u8>) {
        let id = id_of(&payload);
        assert_eq!(Message { text, payload }, ground.sizes.said(id), "{} gets this", self.name);
        let last = self.plain.as_mut().and_then(|plain| plain.last.take());
        let seq = ground.truth(self.session).is_read(self.conn, id, last);
        self.plain = Some(Plain { last: Some(seq) });
        ground.note(&self.name, || format!("gets message {seq}, which is {id}"));
        if self.burns(ground, Point::Heard) {
            return;
        }
        self.inbox.push_back((seq, id));
        self.busy_until = self.busy_until.max(ground.now + ground.dice.millis(0, self.habits.work));
        self.takes_time(ground, id);
    }

    pub(super) fn work_plainly(&mut self, ground: &mut Ground) -> bool {
        let ready = self.busy_until <= ground.now;
        let Some((_, id)) = self.inbox.pop_front_if(|_| ready) else { return false };
        self.busy_until = ground.now + ground.dice.millis(0, self.habits.work);
        self.answer(ground, id);
        if self.life == Life::Lives && ground.dice.chance(self.habits.talks) {
            match ground.dice.below(2) {
                0 => Pen::plain().message(&mut ground.dice, false, b"by the way", &mut self.out),
                _ => Pen::plain().ping(&mut ground.dice, b"are you there", &mut self.out),
            }
        }
        true
    }

    /// It has been told to go, and answers what it has got.
    pub(super) fn answer_all(&mut self, ground: &mut Ground) {
        while let Some((_, id)) = self.inbox.pop_front() {
            self.answer(ground, id);
        }
    }

    fn answer(&mut self, ground: &mut Ground, id: u64) {
        if self.life != Life::Lives {
            return;
        }
        if ground.luck.killer == id && Ground::uses_up(&mut ground.luck.kills) {
            self.fuse = Some(Fuse { point: Point::Consumed, skip: 0, death: Death::Crash });
        }
        if self.burns(ground, Point::Consumed) || self.burns(ground, Point::Made) {
            return;
        }
        let from = self.out.len();
        for Message { text, payload } in ground.sizes.answers(Sum { seq: id, sum: mixed(id) }) {
            Pen::plain().message(&mut ground.dice, text, &payload, &mut self.out);
        }
        let whole = self.out.len() - from;
        if whole > 0 && self.burns(ground, Point::Saying) {
            ground.count("an answer cut in the middle");
            self.out.truncate(from + ground.dice.size(0, whole - 1));
        } else {
            self.burns(ground, Point::Said);
        }
    }
}
