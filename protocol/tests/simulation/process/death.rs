//! The end of a process: where in its work, how, and what its peer gets to see of it.

use crate::framing::Pen;
use crate::ground::Ground;
use crate::network::End;

use steadfast_protocol::websocket::close_code::CloseCode;

use super::Process;

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
pub(super) enum Life {
    Lives,
    /// It says what it has to say, and ends.
    Doomed(Death),
    Gone,
}

impl Process {
    /// Whether this is the place of its death.
    pub(super) fn burns(&mut self, ground: &mut Ground, point: Point) -> bool {
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
    pub(crate) fn closes(&mut self, ground: &mut Ground, code: CloseCode) {
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
}
