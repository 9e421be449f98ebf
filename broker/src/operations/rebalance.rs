//! A rebalance: sessions move until each backend has its share, or each key is where it belongs.

use std::collections::HashMap;
use std::sync::Arc;

use super::drain::staying;
use super::moves::launch;
use super::operation::{Operation, OperationState};
use super::progress::Tally;
use super::round::Round;
use super::shares::{Bearer, Keyed, bearers, by_key, shifts};
use super::survey::{Sighting, Survey};
use crate::config::settings::Balance;
use crate::upstream::balance::Candidate;
use crate::upstream::pool::Pool;

/// Lets those go that have ended; when all that were planned have been tried, plans anew.
pub(super) fn survey(operation: &mut Operation, round: &Round<'_>, survey: &Survey) {
    let left: Vec<u128> = operation.progress.idle_ids().filter(|id| survey.get(*id).is_none()).collect();
    left.into_iter().for_each(|id| operation.progress.gone(id));
    let Tally { moving, untried, .. } = operation.progress.remaining();
    if moving > 0 || untried > 0 {
        return;
    }
    operation.progress.rest();
    for (id, target) in planned(operation, round, survey) {
        operation.progress.join(round.now, id, Some(target));
    }
}

/// Moves as many as may go now, and says where the rebalance stands. How many have begun to move.
pub(super) fn step(operation: &mut Operation, round: &Round<'_>) -> usize {
    // Sessions have come and gone meanwhile: it is done when a new look finds nothing to move.
    if round.surveyed() && operation.progress.is_idle() {
        let left = staying(operation.progress.remaining());
        let balanced = || "the pool is balanced, as far as its sessions can move".to_owned();
        let message = if left.is_empty() { balanced() } else { left };
        operation.end(round.now, OperationState::Done, message);
        return 0;
    }
    let sent = launch(operation, round, usize::MAX);
    if round.surveyed() {
        let remaining = operation.progress.remaining();
        let state = if remaining.untried > 0 { OperationState::Running } else { OperationState::Waiting };
        operation.stands(state, staying(remaining));
    }
    sent
}

/// Whether any backend of the pool is off its share by more than `percent`, or so many of its sessions
/// are not where their keys belong, and some of them can move.
pub(super) fn is_off(pool: &Arc<Pool>, round: &Round<'_>, survey: &Survey, percent: u32) -> bool {
    let candidates = counted(pool, round, survey);
    match is_keyed(pool) {
        false => !chosen(&bearers(&candidates), percent, survey, |_| false).is_empty(),
        true => {
            let sessions: usize = candidates.iter().map(|candidate| candidate.sessions).sum();
            let displaced = displaced(pool, &candidates, survey).len();
            displaced as u128 * 100 > sessions as u128 * u128::from(percent)
        }
    }
}

/// Which sessions are to move, and where. Those that have not been tried before go first.
fn planned(operation: &Operation, round: &Round<'_>, survey: &Survey) -> Vec<(u128, usize)> {
    let pool = &operation.subject.pool;
    let candidates = counted(pool, round, survey);
    if is_keyed(pool) {
        return displaced(pool, &candidates, survey);
    }
    let tried = |id| operation.progress.is_member(id);
    chosen(&bearers(&candidates), operation.subject.tolerance, survey, tried)
}

fn chosen(
    bearers: &[Bearer],
    tolerance: u32,
    survey: &Survey,
    tried: impl Fn(u128) -> bool,
) -> Vec<(u128, usize)> {
    let shifts = shifts(bearers, tolerance);
    let mut sessions: HashMap<usize, Vec<u128>> = HashMap::new();
    for shift in &shifts {
        sessions.entry(shift.from).or_insert_with(|| {
            let movable = survey.on(shift.from).filter(|own| own.may_be_spread()).map(|own| own.id);
            let mut movable: Vec<u128> = movable.collect();
            // Taken from the end.
            movable.sort_by_key(|id| !tried(*id));
            movable
        });
    }
    let mut moves = Vec::new();
    for shift in shifts {
        let Some(movable) = sessions.get_mut(&shift.from) else { continue };
        let rest = movable.len().saturating_sub(shift.sessions);
        moves.extend(movable.split_off(rest).into_iter().map(|id| (id, shift.to)));
    }
    moves
}

fn displaced(pool: &Arc<Pool>, candidates: &[Candidate], survey: &Survey) -> Vec<(u128, usize)> {
    let keyed = |own: &Sighting| Some(Keyed { id: own.id, here: own.backend?, key: own.key? });
    let sessions = survey.of_pool(pool).filter(|own| own.may_be_spread()).filter_map(keyed);
    by_key(sessions, candidates, &pool.snapshot().settings.balance)
}

fn is_keyed(pool: &Pool) -> bool {
    matches!(pool.snapshot().settings.balance, Balance::Source | Balance::Hash(_))
}

/// The pool's bearers, with the sessions that are on them: a lease that is held for one to come is none.
fn counted(pool: &Arc<Pool>, round: &Round<'_>, survey: &Survey) -> Vec<Candidate> {
    let counts = survey.counts();
    let count = |candidate: Candidate| {
        let sessions = counts.get(&candidate.id).copied().unwrap_or(0);
        Candidate { sessions, ..candidate }
    };
    pool.bearers(round.now).into_iter().map(count).collect()
}
