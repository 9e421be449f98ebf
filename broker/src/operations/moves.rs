//! The moves of an operation's sessions: ordering them, changing the order, calling them off.

use std::time::Duration;

use steadfast_protocol::session::Move;
use steadfast_protocol::time::Time;

use super::operation::Operation;
use super::round::Round;
use crate::config::settings::DrainSettings;
use crate::session::registry::{Entry, Registry};
use crate::session::tickets::{Purpose, Tickets};

/// How soon a session is tried again that could not be asked: it has not settled after a failure.
const SOON: Duration = Duration::from_millis(500);

/// Sessions that one round tries of an operation with a rate. More of them than have room are put off or gone.
const TRIES: usize = 256;

/// What became of an order.
enum Sent {
    /// It moves, or will.
    Away(u64),
    /// It is where it is to go, or has left by itself.
    Gone,
    /// It cannot move at all.
    Pinned,
    /// Not now.
    Later,
}

/// Sends as many sessions away as their turn has come for, at most `room`. How many it was.
pub(super) fn launch(operation: &mut Operation, round: &Round<'_>, room: usize) -> usize {
    let Round { now, registry, tickets, drain, moves_max, .. } = *round;
    let counted = !operation.is_evacuation();
    let free = if counted { moves_max.saturating_sub(tickets.under_way()) } else { usize::MAX };
    let granted = operation.granted(now).min(free).min(room);
    let force_at = force_at(operation, now, drain);
    let mut sent = 0;
    // Each one that is tried leaves the queue, or has its turn later.
    for _ in 0..operation.terms.rate.map_or(usize::MAX, |_| TRIES) {
        let Some(id) = operation.progress.next(now).filter(|_| sent < granted) else { break };
        let entry = registry.get(id);
        match entry.map_or(Sent::Gone, |entry| send(operation, tickets, &entry, (now, force_at))) {
            Sent::Away(ticket) => {
                operation.progress.begun(id, ticket);
                operation.pace.spend();
                sent += 1;
            }
            Sent::Gone => operation.progress.gone(id),
            Sent::Pinned => operation.progress.pin(id),
            Sent::Later => operation.progress.put_off(id, now + SOON),
        }
    }
    sent
}

fn send(
    operation: &Operation,
    tickets: &Tickets,
    entry: &Entry,
    (now, force_at): (Time, Option<Time>),
) -> Sent {
    let mut core = entry.core();
    let here = core.lease.as_ref().map(|lease| lease.backend().id);
    let target = operation.progress.target(entry.id);
    let source = operation.subject.backend.as_ref().map(|backend| backend.id);
    if source.is_some() && here != source || here.is_some() && here == target {
        return Sent::Gone;
    }
    if core.machine.pinned() {
        return Sent::Pinned;
    }
    if core.machine.moving().is_some() {
        return Sent::Later;
    }
    let (number, counted) = (operation.number, !operation.is_evacuation());
    let ticket = tickets.issue(Purpose { operation: number, session: entry.id, target, counted });
    if !core.machine.relocate(now, Move { ticket, force_at }) {
        tickets.void(ticket);
        return Sent::Later;
    }
    core.waker.wake_by_ref();
    Sent::Away(ticket)
}

/// When a session leaves without a quiet moment. One of a backend that is down does so too, but later.
fn force_at(operation: &Operation, now: Time, drain: &DrainSettings) -> Option<Time> {
    if operation.terms.force {
        return Some(now + drain.patience + drain.hold);
    }
    let down = operation.subject.backend.as_ref()?.down_since()?;
    Some(operation.beside.unwrap_or(down.max(operation.since())) + drain.deadline)
}

/// The moves under way are told whether they are forced, and when.
pub(super) fn set_force(operation: &Operation, now: Time, registry: &Registry, drain: &DrainSettings) {
    let force_at = force_at(operation, now, drain);
    for (id, ticket) in operation.progress.tickets() {
        let Some(entry) = registry.get(id) else { continue };
        let mut core = entry.core();
        if core.machine.moving() == Some(ticket) {
            core.machine.relocate(now, Move { ticket, force_at });
            core.waker.wake_by_ref();
        }
    }
}

/// So many of the moves under way are no longer wanted. Those that have left their backend go on.
pub(super) fn call_off(operation: &Operation, registry: &Registry, most: usize) {
    let mut left = most;
    for (id, ticket) in operation.progress.tickets() {
        let Some(entry) = registry.get(id).filter(|_| left > 0) else { continue };
        let mut core = entry.core();
        if core.machine.moving() == Some(ticket) {
            core.machine.remain();
            left -= usize::from(core.machine.moving().is_none());
            core.waker.wake_by_ref();
        }
    }
}
