//! A failover by order: a backend's sessions leave it as if it had failed.

use steadfast_protocol::session::MoveOutcome;

use super::drain::staying;
use super::operation::{Operation, OperationState};
use super::round::Round;
use super::survey::{Survey, seeks_place};

/// Takes in the sessions that are on its backend at the beginning.
pub(super) fn survey(operation: &mut Operation, round: &Round<'_>, survey: &Survey) {
    let Some(backend) = operation.subject.backend.as_ref().map(|backend| backend.id) else { return };
    if operation.surveyed {
        return;
    }
    for own in survey.on(backend) {
        operation.progress.find(round.now, own.id, own.pinned);
    }
}

/// Tells as many as may go now. How many that were.
pub(super) fn step(operation: &mut Operation, round: &Round<'_>) -> usize {
    follow(operation, round);
    if let Some(backend) = &operation.subject.backend {
        backend.requests.cut();
    }
    let told = tell(operation, round);
    if operation.surveyed && operation.progress.is_idle() {
        let left = staying(operation.progress.remaining());
        let message = if left.is_empty() { "all were told".to_owned() } else { left };
        operation.end(round.now, OperationState::Done, message);
    }
    told
}

/// Looks after those that were told: they are elsewhere, or have ended.
pub(super) fn follow(operation: &mut Operation, round: &Round<'_>) {
    let told: Vec<u128> = operation.progress.told_ids().collect();
    for id in told {
        let outcome = match round.registry.get(id) {
            // Its client may have left, or it has found no place in time: the worse is assumed.
            None => Some(MoveOutcome::Closed),
            Some(entry) if seeks_place(entry.core().machine.status()) => None,
            Some(_) => Some(MoveOutcome::Moved { forced: false }),
        };
        if let Some(outcome) = outcome {
            operation.record(round.now, id, outcome);
        }
    }
}

fn tell(operation: &mut Operation, round: &Round<'_>) -> usize {
    let mut told = 0;
    for _ in 0..operation.granted(round.now) {
        let Some(id) = operation.progress.next(round.now) else { break };
        if fail_over(operation, round, id) {
            operation.progress.told(id);
            // Its client will not be at another backend with this session.
            if round.registry.get(id).is_some_and(|entry| entry.core().machine.begins_anew()) {
                operation.record(round.now, id, MoveOutcome::Reconnects);
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
fn fail_over(operation: &Operation, round: &Round<'_>, id: u128) -> bool {
    let Some(entry) = round.registry.get(id) else { return false };
    let mut core = entry.core();
    let source = operation.subject.backend.as_ref().map(|backend| backend.id);
    let here = core.lease.as_ref().map(|lease| lease.backend().id);
    let told = here == source && core.machine.fail_over(round.now);
    if told {
        core.waker.wake_by_ref();
    }
    told
}
