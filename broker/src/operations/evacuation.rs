//! An evacuation: the sessions of a backend that is down move to others. It begins by itself and gives way to
//! whatever else is to happen to its backend.
//!
//! ```text
//!  the backend is down and has sessions, no operation
//!  works on it, and others of its pool have room
//!                    |
//!                    v     no room, and nobody on the way
//!               +---------+ ------------------------> +---------+
//!               | running |                           | waiting |
//!               +---------+ <------------------------ +---------+
//!                    |            there is room            |
//!                    +------------------+------------------+
//!                                       v
//!  done:      the backend holds no session, or is down no more: who has not left it yet stays
//!  cancelled: a drain or a failover of it begins, its pool is configured no more, or somebody says so.
//!             Then none begins again while the backend is down
//! ```
//!
//! It has no pace and no limit but the room: its sessions are where they may be lost. Who stays is tried again
//! within two seconds, and moved as in a failover when others have had room for so long as `drain.deadline` says.

use std::collections::HashSet;
use std::sync::Arc;

use steadfast_protocol::time::Time;

use super::drain::{end_if_empty, end_requests, standing};
use super::moves::{call_off, launch};
use super::operation::{Operation, OperationState, OperationTerms, Subject};
use super::round::Round;
use super::{Operations, finish};
use crate::upstream::backend::Backend;
use crate::upstream::pool::Pool;

impl Operations {
    /// Begins the evacuations that are wanted, and ends those of pools that are not among these.
    pub(super) fn evacuate(&self, now: Time, pools: &[&Arc<Pool>]) {
        let down: Vec<_> = pools.iter().map(|pool| (*pool, pool.down())).collect();
        let ids = down.iter().flat_map(|(_, backends)| backends).map(|backend| backend.id);
        let idle = self.idle_among(now, pools, ids.collect());
        for (pool, mut backends) in down {
            backends.retain(|backend| idle.contains(&backend.id));
            // One that is down has no room itself.
            if !backends.is_empty() && pool.room_beside(now, None) > 0 {
                backends.iter().for_each(|backend| self.begin_evacuation(now, pool, backend));
            }
        }
    }

    fn begin_evacuation(&self, now: Time, pool: &Arc<Pool>, backend: &Arc<Backend>) {
        let subject = Subject::evacuation(pool, backend, backend.view(now).why);
        if let Err(refused) = self.begin(now, subject, OperationTerms::UNLIMITED) {
            tracing::debug!(backend = backend.name, ?refused, "no evacuation at present");
        }
    }

    /// Of these backends, which are down, those on which no operation works, but for those whose evacuation
    /// somebody has cancelled.
    fn idle_among(&self, now: Time, pools: &[&Arc<Pool>], down: HashSet<usize>) -> HashSet<usize> {
        let mut book = self.book();
        for own in book.operations.iter_mut().filter(|own| own.evacuates().is_some()) {
            if !pools.iter().any(|pool| Arc::ptr_eq(pool, &own.subject.pool)) {
                let why = "its pool is no longer in the configuration; its sessions stay";
                finish(own, now, &self.registry, (OperationState::Cancelled, why.to_owned()));
            }
        }
        book.kept.retain(|id| down.contains(id));
        let mut idle: HashSet<usize> = down.difference(&book.kept).copied().collect();
        for own in book.operations.iter().filter(|own| own.is_active()) {
            if let Some(backend) = own.backend() {
                idle.remove(&backend);
            }
        }
        idle
    }
}

/// Moves as many as there is room for, and says where the evacuation stands. How many have begun to move.
pub(super) fn step(operation: &mut Operation, round: &Round<'_>) -> usize {
    let Some(backend) = operation.subject.backend.clone() else { return 0 };
    if end_if_empty(operation, &backend, round) {
        return 0;
    }
    if !backend.is_down() {
        let message = format!("{} is down no more; who has not left it stays", backend.name);
        finish(operation, round.now, round.registry, (OperationState::Done, message));
        return 0;
    }
    end_requests(operation, &backend, round);
    let room = operation.subject.pool.room_beside(round.now, Some(backend.id));
    look_beside(operation, room, round.now);
    let free = keep_to_room(operation, room, round);
    let sent = launch(operation, round, free);
    if round.surveyed() || operation.beside.is_none() {
        let (state, message) = standing(operation.progress.remaining(), room, &backend);
        operation.stands(state, message);
    }
    sent
}

/// Those on their way may have taken the last places.
fn look_beside(operation: &mut Operation, room: usize, now: Time) {
    let beside = room > 0 || operation.progress.remaining().moving > 0;
    if beside && operation.beside.is_none() {
        // All sessions are looked at before one is sent.
        operation.surveyed = false;
    }
    operation.beside = beside.then(|| operation.beside.unwrap_or(now));
}

/// How many more may go. Who has a next backend before it leaves needs no other place; those that break before
/// they make do, and are kept back when there is none any more. How many look for one too is known after a
/// look at all sessions.
fn keep_to_room(operation: &Operation, room: usize, round: &Round<'_>) -> usize {
    let pool = &operation.subject.pool;
    let breaks = pool.snapshot().settings.break_before_make;
    match room {
        usize::MAX => room,
        0 if breaks => {
            call_off(operation, round.registry, usize::MAX);
            0
        }
        _ if !round.surveyed() => 0,
        _ if breaks => {
            let on_their_way = round.on_their_way(pool);
            call_off(operation, round.registry, on_their_way.saturating_sub(room));
            room.saturating_sub(on_their_way)
        }
        _ => room.saturating_sub(round.seeking(pool)),
    }
}

#[cfg(test)]
mod tests;
