//! A failover by order: a backend's sessions leave it as if it had failed.

use steadfast_protocol::session::MoveOutcome;

use super::drain::staying;
use super::operation::{Operation, OperationState};
use super::round::World;
use super::survey::{Survey, seeks_place};

/// What stands for the ticket of a session that was told: there is none, since it reports nothing.
const TOLD: u64 = 0;

/// Takes in the sessions that are on its backend at the beginning.
pub(super) fn survey(operation: &mut Operation, world: &World<'_>, survey: &Survey) {
    let Some(backend) = operation.subject.backend.as_ref().map(|backend| backend.id) else { return };
    if operation.surveyed {
        return;
    }
    for own in survey.on(backend) {
        operation.progress.find(world.now, own.id, own.pinned);
    }
}

/// Tells as many as may go now. How many that were.
pub(super) fn step(operation: &mut Operation, world: &World<'_>) -> usize {
    follow(operation, world);
    let told = tell(operation, world);
    if operation.surveyed && operation.progress.is_idle() {
        let left = staying(operation.progress.remaining());
        let message = if left.is_empty() { "all were told".to_owned() } else { left };
        operation.end(world.now, OperationState::Done, message);
    }
    told
}

/// Looks after those that were told: they are elsewhere, or have ended.
pub(super) fn follow(operation: &mut Operation, world: &World<'_>) {
    let told: Vec<u128> = operation.progress.tickets().map(|(id, _)| id).collect();
    for id in told {
        let outcome = match world.registry.get(id) {
            // Its client may have left, or it has found no place in time: the worse is assumed.
            None => Some(MoveOutcome::Closed),
            Some(entry) if seeks_place(entry.core().machine.status()) => None,
            Some(_) => Some(MoveOutcome::Moved { forced: false }),
        };
        if let Some(outcome) = outcome {
            operation.record(world.now, id, outcome);
        }
    }
}

fn tell(operation: &mut Operation, world: &World<'_>) -> usize {
    let terms = operation.terms;
    let free = terms.concurrency.saturating_sub(operation.progress.remaining().moving);
    let granted = operation.pace.granted(world.now, terms.rate).min(free);
    let mut told = 0;
    for _ in 0..granted {
        let Some(id) = operation.progress.next(world.now) else { break };
        if fail_over(operation, world, id) {
            operation.progress.begun(id, TOLD);
            // Its client will not be at another backend with this session.
            if world.registry.get(id).is_some_and(|entry| entry.core().machine.begins_anew()) {
                operation.record(world.now, id, MoveOutcome::Reconnects);
            }
            operation.pace.spend();
            told += 1;
        } else {
            operation.progress.gone(id);
        }
    }
    told
}

/// False: it is on that backend no more, or is ending.
fn fail_over(operation: &Operation, world: &World<'_>, id: u128) -> bool {
    let Some(entry) = world.registry.get(id) else { return false };
    let mut core = entry.core();
    let source = operation.subject.backend.as_ref().map(|backend| backend.id);
    let here = core.lease.as_ref().map(|lease| lease.backend().id);
    let told = here == source && core.machine.fail_over(world.now);
    if told {
        core.waker.wake_by_ref();
    }
    told
}
