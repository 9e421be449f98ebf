//! Reading both sides, as far as the machine and the memory allow.

use std::task::Context;

use steadfast_protocol::session::{Failure, Session};
use steadfast_protocol::time::Time;

use crate::session::memory::Direction;

use super::Io;
use super::poll_budget::PollBudget;
use super::socket::Read;

impl Io {
    pub(super) fn read_client(
        &mut self,
        cx: &mut Context<'_>,
        machine: &mut Session,
        (now, budget): (Time, &mut PollBudget),
    ) -> bool {
        if budget.is_spent() || !self.is_readable(Direction::Upstream) {
            return false;
        }
        let wanted = machine.client_read_limit(false);
        let room = self.room(Direction::Upstream, wanted > 0, (machine, now));
        let tight = wanted > 0 && room == 0;
        machine.set_tight(now, tight);
        let limit = match tight {
            // What it acknowledges makes room; but of what is kept, nothing passes the limit of all.
            true => Some(machine.client_read_limit(true))
                .filter(|limit| *limit == usize::MAX || !self.permits.context().budget.is_used_up())
                .unwrap_or(0),
            false => wanted.min(room),
        };
        let full = limit == 0 && machine.ring_is_full();
        let Some(side) = &mut self.client else { return false };
        side.push_back(tight, full);
        if limit == 0 && !side.broken {
            return false;
        }
        // A broken one is read to its end, whatever the limit.
        let most = if side.broken { budget.bytes } else { limit.min(budget.bytes) };
        let read = match machine.client_direct() {
            Some((tail, max)) => {
                let read = side.read_to(cx, tail, max.min(most));
                if let Read::Bytes(n) = read {
                    machine.client_read(now, n);
                }
                read
            }
            None => {
                side.read_with(cx, most, |_, bytes| machine.handle_client(now, bytes, &mut budget.frames))
            }
        };
        match read {
            Read::Bytes(n) => {
                budget.took(n);
                self.permits.context().budget.moved(&mut self.share, Direction::Upstream, now);
                true
            }
            Read::Nothing if !side.broken => {
                self.permits.context().budget.found_nothing(&mut self.share, Direction::Upstream);
                false
            }
            _ => {
                // Its socket is at its end. Said once.
                let first = !side.ended;
                (side.ended, side.broken) = (true, false);
                if first {
                    machine.handle_client_gone(now);
                }
                first
            }
        }
    }

    pub(super) fn read_backend(
        &mut self,
        cx: &mut Context<'_>,
        machine: &mut Session,
        (now, budget): (Time, &mut PollBudget),
    ) -> bool {
        if budget.is_spent() {
            return false;
        }
        if self.backend.is_some() && machine.set_memory_short(self.permits.context().budget.short()) {
            return true;
        }
        if !self.is_readable(Direction::Downstream) {
            return false;
        }
        let wants = machine.wants_backend();
        let room = self.room(Direction::Downstream, wants, (machine, now));
        let Some(side) = self.backend.as_mut().filter(|side| room > 0 || side.broken) else { return false };
        // A broken one is read to its end, whatever the limit.
        let most = if side.broken { budget.bytes } else { room.min(budget.bytes) };
        let client = &mut self.client;
        let read = match machine.backend_direct() {
            Some((tail, max)) => {
                let read = side.read_to(cx, tail, max.min(most));
                if let Read::Bytes(n) = read {
                    machine.backend_read(now, n);
                }
                read
            }
            None => {
                let frames = &mut budget.frames;
                side.read_with(cx, most, |cx, bytes| {
                    let mut direct = |bytes: &[u8]| client.as_mut().map_or(0, |side| side.write(cx, bytes));
                    machine.handle_backend(now, bytes, frames, &mut direct)
                })
            }
        };
        // A side that a write found broken has now been read to its end.
        let failure = match read {
            Read::Bytes(n) => {
                budget.took(n);
                self.permits.context().budget.moved(&mut self.share, Direction::Downstream, now);
                return true;
            }
            Read::Nothing if !side.broken => {
                self.permits.context().budget.found_nothing(&mut self.share, Direction::Downstream);
                return false;
            }
            Read::End => Failure::Eof,
            Read::Nothing | Read::Failed => Failure::Reset,
        };
        side.broken = false;
        machine.handle_backend_lost(now, failure);
        true
    }

    /// Something may be there to be read. A side that is not there waits for no memory either.
    #[inline(always)]
    fn is_readable(&mut self, direction: Direction) -> bool {
        let side = match direction {
            Direction::Upstream => &mut self.client,
            Direction::Downstream => &mut self.backend,
        };
        if side.is_none() {
            self.permits.context().budget.rest(&mut self.share, direction);
        }
        // Whoever waits for memory takes its turn, or leaves the line, though there is nothing to be read.
        side.as_mut().is_some_and(|side| side.is_readable() || self.share.waits_for(direction))
    }

    /// How many bytes may be read that way, if it `wants` any.
    #[inline]
    fn room(&mut self, direction: Direction, wants: bool, seen: (&Session, Time)) -> usize {
        let budget = &self.permits.context().budget;
        if !wants {
            budget.rest(&mut self.share, direction);
            if direction == Direction::Downstream && budget.short().is_some() {
                // It may be for want of memory that it wants nothing.
                self.share.look_again();
            }
            return 0;
        }
        budget.room(&mut self.share, direction, seen)
    }
}
