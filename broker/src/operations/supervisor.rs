//! The supervisor: it goes its rounds and takes each operation a step further.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use steadfast_protocol::time::Time;
use tokio::time::sleep;

use super::context::OperationContext;
use super::kind::OperationKind;
use super::operation::Operation;
use super::rebalancer::Rebalancer;
use super::round::Round;
use super::survey::Survey;
use super::triggers::Triggers;
use super::{OperationBook, Operations, drain, evacuation, failover, finish, rebalance};
use crate::clock;

/// From one round to the next.
const ROUND: Duration = Duration::from_millis(100);

/// From one look at all sessions to the next, while an operation runs.
const SURVEY: Duration = Duration::from_secs(1);

/// What is carried from round to round.
#[derive(Debug, Default)]
pub(super) struct Supervisor {
    surveyed: Option<Time>,
    /// Sessions that looked for a place at the last survey, by pool.
    seeking: HashMap<usize, usize>,
    triggers: Triggers,
    rebalancer: Rebalancer,
}

/// Goes its rounds until it is dropped.
pub(crate) async fn supervise(context: OperationContext) {
    let mut supervisor = Supervisor::default();
    loop {
        sleep(ROUND).await;
        supervisor.round(&context, clock::now());
    }
}

impl Supervisor {
    /// One round: what sessions have reported, what begins by itself, and a step of each operation.
    pub(super) fn round(&mut self, context: &OperationContext, now: Time) {
        let snapshot = context.current.get();
        let (operations, drain) = (&*context.operations, &snapshot.settings.drain);
        let pools: Vec<_> = snapshot.pools.values().collect();
        self.triggers.look(operations, &pools, drain, now);
        operations.evacuate(now, &pools);
        let survey = self.survey(operations, now);
        // Whoever has left before it was looked at has reported by now.
        operations.take_reports(now);
        let round = Round {
            now,
            registry: &context.registry,
            tickets: &operations.tickets,
            drain,
            moves_max: snapshot.settings.herd.moves,
            survey: survey.as_ref(),
            seeking: &self.seeking,
            moving: RefCell::default(),
        };
        operations.advance(&round);
        self.rebalancer.look(operations, &pools, &round);
    }

    /// A look at all sessions, when one is due: it costs something where there are many.
    fn survey(&mut self, operations: &Operations, now: Time) -> Option<Survey> {
        let wanted = operations.wants_survey();
        let due = self.surveyed.is_none_or(|at| now.since(at) >= SURVEY);
        if wanted == RoundDemand::Never || (wanted == RoundDemand::InTime && !due) {
            return None;
        }
        let survey = Survey::of(&operations.registry);
        (self.surveyed, self.seeking) = (Some(now), survey.seeking());
        Some(survey)
    }
}

/// When operations want a look at all sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum RoundDemand {
    Never,
    InTime,
    Now,
}

impl Operations {
    /// Writes down what sessions have reported.
    fn take_reports(&self, now: Time) {
        let mut book = self.book();
        for ended in self.tickets.take_ended() {
            let found = book.operations.iter_mut().find(|own| own.number == ended.purpose.operation);
            if let Some(operation) = found {
                operation.record(now, ended.purpose.session, ended.outcome);
            }
        }
    }

    fn wants_survey(&self) -> RoundDemand {
        let wants = |operation: &Operation| match operation.is_active() {
            // One whose sessions have nowhere to go looks at them when they have.
            true if operation.is_evacuation() && operation.beside.is_none() => RoundDemand::Never,
            true if !operation.surveyed => RoundDemand::Now,
            true => RoundDemand::InTime,
            false if operation.progress.remaining().moving > 0 => RoundDemand::InTime,
            false => RoundDemand::Never,
        };
        self.book().operations.iter().map(wants).max().unwrap_or(RoundDemand::Never)
    }

    /// Takes each operation a step further.
    fn advance(&self, round: &Round<'_>) {
        let mut book = self.book();
        let OperationBook { operations, .. } = &mut *book;
        for operation in operations.iter() {
            round.add(&operation.subject.pool, operation.progress.remaining().moving);
        }
        for operation in operations.iter_mut() {
            if let Some(survey) = round.survey {
                forget_lost(operation, round, survey);
            }
            if operation.is_active() {
                self.step(operation, round);
            } else if operation.subject.kind == OperationKind::Failover {
                failover::follow(operation, round);
            }
        }
    }

    fn step(&self, operation: &mut Operation, round: &Round<'_>) {
        if let Some(survey) = round.survey {
            match operation.subject.kind {
                OperationKind::Drain | OperationKind::Evacuation => drain::survey(operation, round, survey),
                OperationKind::Rebalance => rebalance::survey(operation, round, survey),
                OperationKind::Failover => failover::survey(operation, round, survey),
            }
            operation.surveyed = true;
        }
        let emptied = operation.subject.backend.as_ref().is_some_and(|backend| backend.sessions() == 0);
        if !emptied && let Some((state, message)) = operation.limit(round.now) {
            return finish(operation, round.now, round.registry, (state, message));
        }
        let begun = match operation.subject.kind {
            OperationKind::Drain => drain::step(operation, round),
            OperationKind::Rebalance => rebalance::step(operation, round),
            OperationKind::Failover => failover::step(operation, round),
            OperationKind::Evacuation => evacuation::step(operation, round),
        };
        round.add(&operation.subject.pool, begun);
    }
}

/// A session that has ended without a report will make none any more.
fn forget_lost(operation: &mut Operation, round: &Round<'_>, survey: &Survey) {
    let lost: Vec<(u128, u64)> =
        operation.progress.tickets().filter(|(id, _)| survey.get(*id).is_none()).collect();
    for (id, ticket) in lost {
        if round.tickets.void(ticket) {
            operation.progress.gone(id);
        }
    }
}
