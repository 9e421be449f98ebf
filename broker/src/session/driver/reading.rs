//! Reading both sides, as far as the machine and the memory allow.

use std::task::Context;

use steadfast_protocol::session::{Failure, Session};
use steadfast_protocol::time::Time;

use crate::session::memory::Direction;
use crate::session::registry::Entry;

use super::Io;
use super::poll_budget::PollBudget;
use super::socket::{Read, SocketSide};

impl Io {
    pub(super) fn read_client(
        &mut self,
        cx: &mut Context<'_>,
        entry: &Entry,
        machine: &mut Session,
        (now, budget): (Time, &mut PollBudget),
    ) -> bool {
        if budget.is_spent() || !self.is_readable(entry, Direction::Upstream) {
            return false;
        }
        let wants = machine.client_read_limit(false) > 0;
        let may_read = self.may_read(entry, Direction::Upstream, (wants, machine.client_message_open()));
        let tight = wants && !may_read;
        machine.set_tight(now, tight);
        let limit = machine.client_read_limit(tight);
        let full = limit == 0 && machine.ring_is_full();
        let Some(side) = &mut self.client else { return false };
        side.push_back(tight, full);
        if limit == 0 && !side.broken {
            return false;
        }
        let read = match machine.client_direct() {
            Some((tail, max)) => {
                let read = side.read_to(cx, tail, max.min(limit).min(budget.bytes));
                if let Read::Bytes(n) = read {
                    machine.client_read(now, n);
                }
                read
            }
            None => {
                // A broken one is read to its end, whatever the limit.
                let most = if side.broken { budget.bytes } else { limit.min(budget.bytes) };
                side.read_with(cx, most, |_, bytes| machine.handle_client(now, bytes, &mut budget.frames))
            }
        };
        match read {
            Read::Bytes(n) => {
                budget.took(n);
                true
            }
            Read::Nothing if !side.broken => false,
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
        entry: &Entry,
        machine: &mut Session,
        (now, budget): (Time, &mut PollBudget),
    ) -> bool {
        if budget.is_spent() || !self.is_readable(entry, Direction::Downstream) {
            return false;
        }
        if machine.set_memory_short(self.context.budget.is_short()) {
            return true;
        }
        let wants = machine.wants_backend();
        let may_read = self.may_read(entry, Direction::Downstream, (wants, machine.backend_message_open()));
        let Some(side) = self.backend.as_mut().filter(|side| may_read || side.broken) else { return false };
        let client = &mut self.client;
        let read = match machine.backend_direct() {
            Some((tail, max)) => {
                let read = side.read_to(cx, tail, max.min(budget.bytes));
                if let Read::Bytes(n) = read {
                    machine.backend_read(now, n);
                }
                read
            }
            None => {
                let frames = &mut budget.frames;
                side.read_with(cx, budget.bytes, |cx, bytes| {
                    let mut direct = |bytes: &[u8]| client.as_mut().map_or(0, |side| side.write(cx, bytes));
                    machine.handle_backend(now, bytes, frames, &mut direct)
                })
            }
        };
        // A side that a write found broken has now been read to its end.
        let failure = match read {
            Read::Bytes(n) => {
                budget.took(n);
                return true;
            }
            Read::Nothing if !side.broken => return false,
            Read::End => Failure::Eof,
            Read::Nothing | Read::Failed => Failure::Reset,
        };
        side.broken = false;
        machine.handle_backend_lost(now, failure);
        true
    }

    /// Something may be there to be read. A side that is not there waits for no memory either.
    fn is_readable(&mut self, entry: &Entry, direction: Direction) -> bool {
        let side = match direction {
            Direction::Upstream => &self.client,
            Direction::Downstream => &self.backend,
        };
        if side.is_none() {
            self.context.budget.rest(&mut self.share, entry.id, direction);
        }
        side.as_ref().is_some_and(SocketSide::is_readable)
    }

    fn may_read(&mut self, entry: &Entry, direction: Direction, (wants, open): (bool, bool)) -> bool {
        let budget = &self.context.budget;
        if !wants {
            budget.rest(&mut self.share, entry.id, direction);
            return false;
        }
        budget.may_read(&mut self.share, entry.id, direction, open)
    }
}
