//! A drain: a backend's sessions move to others until it holds none.

use super::moves::{call_off, launch};
use super::operation::{Operation, OperationState};
use super::progress::Tally;
use super::round::Round;
use super::survey::Survey;
use crate::upstream::backend::Backend;

/// Takes in the sessions that have come to its backend, and lets those go that have left it.
pub(super) fn survey(operation: &mut Operation, round: &Round<'_>, survey: &Survey) {
    let Some(backend) = operation.subject.backend.as_ref().map(|backend| backend.id) else { return };
    for own in survey.on(backend) {
        // One whose client was closed is counted already.
        if !own.ends && !operation.progress.is_member(own.id) {
            operation.progress.find(round.now, own.id, own.pinned);
        }
    }
    let left: Vec<u128> = operation.progress.idle_ids().collect();
    for id in left {
        if survey.get(id).is_none_or(|own| own.backend != Some(backend)) {
            operation.progress.gone(id);
        }
    }
}

/// Moves as many as may go now, and says where the drain stands. How many have begun to move.
pub(super) fn step(operation: &mut Operation, round: &Round<'_>) -> usize {
    let Some(backend) = operation.subject.backend.clone() else { return 0 };
    if end_if_empty(operation, &backend, round) {
        return 0;
    }
    end_requests(operation, &backend, round);
    let room = keep_to_room(operation, &backend, round);
    let sent = launch(operation, round, room);
    if round.surveyed() {
        let (state, message) = standing(operation.progress.remaining(), room, &backend);
        operation.stands(state, message);
    }
    sent
}

/// True: its backend holds no session any more, and it has ended for that.
pub(super) fn end_if_empty(operation: &mut Operation, backend: &Backend, round: &Round<'_>) -> bool {
    let done = is_done(operation, backend, round) && backend.closes_empty();
    if done {
        operation.progress.all_gone();
        operation.end(round.now, OperationState::Done, format!("{} holds no session", backend.name));
    }
    done
}

/// Its last sessions may have left and not said so yet: those that a survey has seen elsewhere have.
fn is_done(operation: &Operation, backend: &Backend, round: &Round<'_>) -> bool {
    let seen_empty = || round.survey.is_some_and(|survey| survey.on(backend.id).next().is_none());
    backend.sessions() == 0 && (operation.progress.remaining().moving == 0 || seen_empty())
}

/// Ends the requests that its backend is answering when they have had their time.
pub(super) fn end_requests(operation: &Operation, backend: &Backend, round: &Round<'_>) {
    if backend.requests.count() > 0 && round.now.since(operation.since()) >= round.drain.requests {
        backend.requests.cut();
    }
}

/// How many more its pool has room for: those on their way will need some of it. Sessions that break before
/// they make have no place yet: those for which there is none any more are kept back.
fn keep_to_room(operation: &Operation, backend: &Backend, round: &Round<'_>) -> usize {
    let pool = &operation.subject.pool;
    let room = pool.room_beside(round.now, Some(backend.id));
    if room == usize::MAX {
        return room;
    }
    let on_their_way = round.on_their_way(pool);
    if pool.snapshot().settings.break_before_make {
        call_off(operation, round.registry, on_their_way.saturating_sub(room));
    }
    room.saturating_sub(on_their_way)
}

/// How it goes on, while there is so much room.
pub(super) fn standing(remaining: Tally, room: usize, backend: &Backend) -> (OperationState, String) {
    let Tally { remaining: all, moving, untried, .. } = remaining;
    if all == 0 {
        let requests = backend.requests.count();
        let dials = backend.sessions_alone();
        let message = match requests {
            0 => format!("waits for {dials} connections that are being made or left"),
            _ => format!("waits for {requests} requests that are being answered, and {dials} connections"),
        };
        return (OperationState::Running, message);
    }
    if room == 0 && moving == 0 {
        return (
            OperationState::Waiting,
            "no other backend has room; the sessions stay until one has".to_owned(),
        );
    }
    let state = if untried > 0 { OperationState::Running } else { OperationState::Waiting };
    (state, staying(remaining))
}

/// Why sessions are where they were, in a sentence; empty: none has stayed.
pub(super) fn staying(remaining: Tally) -> String {
    let Tally { busy, no_target, target_lost, pinned, .. } = remaining;
    let parts: Vec<String> = [
        (busy, "never quiet, and tried again"),
        (no_target, "taken by no other backend, and tried again"),
        (target_lost, "lost their new backend before they left, and are tried again"),
        (pinned, "cannot move, and stay until they end"),
    ]
    .iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    parts.join("; ")
}
