//! The memory that all sessions together may hold: the books, and who may have more.
//!
//! ```text
//!   0                                     soft          hard = limits.buffers
//!   |-- shares of all sessions --|-- lent ---|-- kept aside --|
//! ```
//!
//! Each session has a share of its own, a half for each direction, within which it is always read. Beyond it, whoever
//! comes gets what is not lent. What is kept aside goes to one session at a time whose message is open and that nothing
//! but memory holds up, so that it can end; a part of it to those alone that hold little, so that they need not wait for
//! those that hold much. `policy` says who gives back when even that does not help.

mod line;
pub(super) mod policy;
#[cfg(test)]
mod tests;

use std::num::NonZeroU8;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use steadfast_protocol::session::Session;
use steadfast_protocol::time::Time;

use crate::lock::OrderedMutex;
use crate::lock::rank::MemoryRank;

use line::{LinePlace, NeedLine};

/// The largest share of a session.
const SHARE_MAX: usize = 16 * 1024;

/// The smallest: less would make slow work of everything.
pub(crate) const SHARE_MIN: usize = 2 * 1024;

/// How soon a session that is in need looks again, and one that merely waits for some.
const LOOK: Duration = Duration::from_millis(10);
const LOOK_AT_EASE: Duration = Duration::from_millis(100);

/// So much less than what is lent freely is near it: more than the polls of many workers bring.
const NEAR: usize = 8 << 20;

/// What is lent at a time of what is kept aside.
const PIECE: usize = 64 * 1024;

/// The total; one for all workers.
#[derive(Debug)]
pub(crate) struct Budget {
    share: usize,
    soft: usize,
    hard: usize,
    /// The end of what is kept aside and is for those alone that hold little.
    express: usize,
    used: AtomicUsize,
    lines: OrderedMutex<NeedLines, MemoryRank>,
}

/// Those in need, who get their turns one after the other.
#[derive(Debug, Default)]
struct NeedLines {
    little: NeedLine,
    much: NeedLine,
}

/// One session's part of it.
#[derive(Debug, Default)]
pub(super) struct MemoryShare {
    counted: u32,
    /// Absent while it stands in no line and was told no for neither direction, as almost always.
    lines: Option<Box<MemoryLines>>,
}

/// Where its directions stand when memory is short.
#[derive(Debug, Default)]
struct MemoryLines {
    upstream: MemoryLine,
    downstream: MemoryLine,
}

/// Where one direction of a session stands when memory is short.
#[derive(Debug, Default)]
struct MemoryLine {
    /// Its place among those in need.
    place: Option<LinePlace>,
    /// That is among those that hold little.
    little: bool,
    /// How many waited with it when it was asked last.
    beside: u32,
    /// The last answer was no.
    denied: bool,
}

/// Which way a session wants to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the client.
    Upstream,
    /// From the backend.
    Downstream,
}

/// The bytes of which a session is sure, where so many may be in all, and so many sessions hold them.
pub(super) fn share_of(buffers: usize, sessions: usize) -> usize {
    (buffers / sessions.saturating_mul(2).max(1)).min(SHARE_MAX)
}

impl Direction {
    /// What a session holds of it.
    #[inline]
    fn held(self, machine: &Session) -> usize {
        match self {
            Direction::Upstream => machine.held_upstream(),
            Direction::Downstream => machine.held_downstream(),
        }
    }

    fn needs_memory(self, machine: &Session) -> bool {
        match self {
            Direction::Upstream => machine.upstream_needs_memory(),
            Direction::Downstream => machine.downstream_needs_memory(),
        }
    }
}

impl MemoryShare {
    /// It may want to read the backend when memory is not short any more.
    pub(super) fn look_again(&mut self) {
        self.lines.get_or_insert_default().downstream.denied = true;
    }

    /// It wants to read and may not yet.
    #[inline]
    pub(super) fn waits(&self) -> bool {
        self.lines.as_ref().is_some_and(|lines| lines.upstream.denied || lines.downstream.denied)
    }

    /// It has a place in a line, or was told no, the last time that it wanted to read that way.
    #[inline]
    pub(super) fn waits_for(&mut self, direction: Direction) -> bool {
        self.lines.as_mut().is_some_and(|lines| !lines.of(direction).is_idle())
    }

    /// How soon it looks again: one in line, later the more wait with it, so that a long line takes no worker's time.
    pub(super) fn look(&self) -> Duration {
        let lines = self.lines.iter().flat_map(|lines| [&lines.upstream, &lines.downstream]);
        let beside = lines.filter(|line| line.place.is_some()).map(|line| line.beside).min();
        beside.map_or(LOOK_AT_EASE, |beside| LOOK * (1 + beside / 100)).min(LOOK_AT_EASE)
    }

    #[cfg(test)]
    fn is_in_need(&self) -> bool {
        let has_place = |lines: &MemoryLines| lines.upstream.place.or(lines.downstream.place).is_some();
        self.lines.as_deref().is_some_and(has_place)
    }

    /// Changes where one direction stands; keeps memory for that only while there is something to keep.
    fn change<T>(&mut self, direction: Direction, change: impl FnOnce(&mut MemoryLine) -> T) -> T {
        let lines = self.lines.get_or_insert_default();
        let changed = change(lines.of(direction));
        if lines.upstream.is_idle() && lines.downstream.is_idle() {
            self.lines = None;
        }
        changed
    }
}

impl MemoryLines {
    #[inline]
    fn of(&mut self, direction: Direction) -> &mut MemoryLine {
        match direction {
            Direction::Upstream => &mut self.upstream,
            Direction::Downstream => &mut self.downstream,
        }
    }
}

impl MemoryLine {
    /// It has no place, and was not told no.
    #[inline]
    fn is_idle(&self) -> bool {
        self.place.is_none() && !self.denied
    }
}

impl NeedLines {
    fn of(&mut self, little: bool) -> &mut NeedLine {
        if little { &mut self.little } else { &mut self.much }
    }
}

impl Budget {
    /// `total` bytes for as many as `sessions`, whose messages have as many as `message` bytes.
    pub(crate) fn new(total: usize, message: usize, sessions: usize) -> Budget {
        let (share, aside) = (share_of(total, sessions), message.min(total / 4));
        // With all shares taken, the longest message must still come to its end in what is left.
        let left = total.saturating_sub(share.saturating_mul(sessions)).saturating_sub(message);
        Budget {
            share,
            soft: total - aside,
            hard: total,
            express: (aside / 4).min(left),
            used: AtomicUsize::new(0),
            lines: OrderedMutex::default(),
        }
    }

    /// The bytes of which each session is sure.
    pub(super) fn share(&self) -> usize {
        self.share
    }

    #[inline]
    fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// Nothing is lent but to those in need. Then the KiB of each direction of which a session is sure.
    #[inline]
    pub(super) fn short(&self) -> Option<NonZeroU8> {
        if self.used() < self.soft {
            return None;
        }
        NonZeroU8::new(u8::try_from(self.share / 2 / 1024).unwrap_or(u8::MAX)).or(Some(NonZeroU8::MIN))
    }

    /// So much is used that what one poll brings may be too much.
    #[inline]
    pub(super) fn is_near(&self) -> bool {
        self.used() >= self.soft.saturating_sub(NEAR)
    }

    /// Even what is kept aside is used up.
    pub(super) fn is_used_up(&self) -> bool {
        self.used() >= self.hard
    }

    /// Bytes beyond what is lent freely.
    pub(super) fn excess(&self) -> usize {
        self.used().saturating_sub(self.soft)
    }

    /// Since when the session that is longest in need has got nothing; `None`: none is.
    pub(super) fn in_need_since(&self) -> Option<Time> {
        let lines = self.lines.lock();
        [&lines.little, &lines.much].into_iter().filter_map(NeedLine::waiting_since).min()
    }

    /// A session has begun.
    pub(super) fn begin(&self) -> MemoryShare {
        self.used.fetch_add(self.share, Relaxed);
        MemoryShare::default()
    }

    /// It holds `buffered` bytes now.
    #[inline]
    pub(super) fn count(&self, share: &mut MemoryShare, buffered: usize) {
        let counts = buffered.saturating_sub(self.share);
        let before = share.counted as usize;
        if counts != before {
            self.used.fetch_add(counts.wrapping_sub(before), Relaxed);
            // A session holds less than two message limits and a ring, which are below 2^30 each.
            share.counted = counts as u32;
        }
    }

    /// How many bytes a session may read that way.
    #[inline(always)]
    pub(super) fn room(
        &self,
        share: &mut MemoryShare,
        direction: Direction,
        (machine, now): (&Session, Time),
    ) -> usize {
        if self.used() < self.soft && share.lines.is_none() {
            return usize::MAX;
        }
        let (held, needs) = (direction.held(machine), direction.needs_memory(machine));
        self.room_when_short(share, direction, (held, needs, now))
    }

    #[inline(never)]
    fn room_when_short(
        &self,
        share: &mut MemoryShare,
        direction: Direction,
        (held, needs, now): (usize, bool, Time),
    ) -> usize {
        share.change(direction, |line| self.room_in_line(line, (held, needs), now))
    }

    fn room_in_line(&self, line: &mut MemoryLine, (held, needs): (usize, bool), now: Time) -> usize {
        let own = (self.share / 2).saturating_sub(held);
        let room = match () {
            () if self.used() < self.soft => usize::MAX,
            () if own > 0 => own,
            () if needs => return self.aside(line, held < self.express / 2, now),
            () => 0,
        };
        self.leave(line);
        line.denied = room == 0;
        room
    }

    /// What one in need gets of what is kept aside. `little`: it holds little.
    fn aside(&self, line: &mut MemoryLine, little: bool, now: Time) -> usize {
        if line.little != little {
            self.leave(line);
            line.little = little;
        }
        let end = if little { self.hard } else { self.hard - self.express };
        let mut lines = self.lines.lock();
        let turn = lines.of(little).is_turn(now, &mut line.place);
        line.beside = u32::try_from(lines.of(little).len()).unwrap_or(u32::MAX);
        drop(lines);
        let room = if turn { end.saturating_sub(self.used()).min(PIECE) } else { 0 };
        line.denied = room == 0;
        room
    }

    fn leave(&self, line: &mut MemoryLine) {
        if let Some(place) = line.place.take() {
            self.lines.lock().of(line.little).leave(place);
        }
    }

    /// A session has read something that way.
    #[inline]
    pub(super) fn moved(&self, share: &mut MemoryShare, direction: Direction, now: Time) {
        if let Some(lines) = &mut share.lines {
            self.moved_in_line(lines.of(direction), now);
        }
    }

    #[inline(never)]
    fn moved_in_line(&self, line: &mut MemoryLine, now: Time) {
        if let Some(place) = &mut line.place {
            self.lines.lock().of(line.little).moved(now, place);
        }
    }

    /// There was nothing to be read.
    #[inline]
    pub(super) fn found_nothing(&self, share: &mut MemoryShare, direction: Direction) {
        if share.lines.is_some() {
            self.found_nothing_in_line(share, direction);
        }
    }

    #[inline(never)]
    fn found_nothing_in_line(&self, share: &mut MemoryShare, direction: Direction) {
        share.change(direction, |line| {
            if let Some(place) = line.place
                && self.lines.lock().of(line.little).has_nothing(place)
            {
                *line = MemoryLine::default();
            }
        });
    }

    /// A session has nothing to read this way, or wants nothing: it is in nobody's way.
    #[inline]
    pub(super) fn rest(&self, share: &mut MemoryShare, direction: Direction) {
        if share.lines.is_some() {
            self.rest_in_line(share, direction);
        }
    }

    #[inline(never)]
    fn rest_in_line(&self, share: &mut MemoryShare, direction: Direction) {
        share.change(direction, |line| {
            line.denied = false;
            self.leave(line);
        });
    }

    /// A session has ended.
    pub(super) fn give_back(&self, share: &mut MemoryShare) {
        self.count(share, 0);
        self.used.fetch_sub(self.share, Relaxed);
        for direction in [Direction::Upstream, Direction::Downstream] {
            self.rest(share, direction);
        }
    }
}
