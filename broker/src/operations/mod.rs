//! Operations: many sessions that move by one order, of an operator, a backend or the broker itself. Chooses sessions
//! and tells their machines to move; dials nothing, and knows nobody who gives an order.
//!
//! ```text
//!                 +---------+  nothing can be moved   +---------+
//!   begin ------> | running | <---------------------> | waiting |
//!                 +---------+  something can again    +---------+
//!                      |   ^                               |
//!                      |   '------------- resume ---.      |
//!                      v                            |      v
//!            done | cancelled | stopped (too many failures) | expired (time limit)
//! ```
//!
//! This file is the book of operations, and what can be asked of it. What an operation does is in the
//! files beside it: the supervisor goes its rounds, and sessions' own threads report by [`Tickets::ended`].

mod conflicts;
pub(crate) mod context;
mod drain;
mod evacuation;
mod failover;
mod kind;
mod moves;
mod operation;
mod pace;
mod progress;
mod rebalance;
mod rebalancer;
mod round;
mod shares;
mod supervisor;
mod survey;
mod triggers;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use steadfast_protocol::time::Time;

use crate::clock;
use crate::config::settings::DrainSettings;
use crate::lock::rank::BookRank;
use crate::lock::{OrderedMutex, OrderedMutexGuard};
use crate::session::registry::Registry;
use crate::session::tickets::Tickets;
use crate::upstream::backend::{AdminState, Backend};
use crate::upstream::pool::Pool;

pub(crate) use kind::{OperationCause, OperationKind};
pub(crate) use operation::{OperationSnapshot, OperationState, OperationTerms, Subject, Wish};
pub(crate) use supervisor::supervise;

use conflicts::ConflictVerdict;
use operation::Operation;

/// Operations that have ended and are still shown; as many evacuations beside them.
const HISTORY: usize = 100;

/// All operations of the broker. The book's lock comes before those of pools and entries, the tickets'
/// after them.
#[derive(Debug)]
pub(crate) struct Operations {
    book: OrderedMutex<OperationBook, BookRank>,
    tickets: Arc<Tickets>,
    registry: Arc<Registry>,
}

#[derive(Debug, Default)]
struct OperationBook {
    /// The number of the last one.
    last: u64,
    /// The oldest first.
    operations: VecDeque<Operation>,
    /// Backends that are down and are not evacuated, by their ids: somebody has cancelled that.
    kept: HashSet<usize>,
}

/// Why an operation cannot begin or change, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OperationRefusal {
    /// Another is in the way, or it is not in the state for it.
    Conflict {
        /// The one in question.
        operation: String,
        /// What to do.
        message: String,
    },
    /// There is none of this name.
    Unknown(String),
}

impl Operations {
    /// None, of the sessions in `registry`, which know them by these tickets.
    pub(crate) fn new(registry: Arc<Registry>, tickets: Arc<Tickets>) -> Operations {
        Operations { book: OrderedMutex::default(), tickets, registry }
    }

    // ---- what is asked of it ----

    /// Begins an operation. A drain's backend gets no new sessions from then on; one without a session
    /// is drained at once.
    ///
    /// # Errors
    /// Another operation is in the way.
    pub(crate) fn begin(
        &self,
        now: Time,
        subject: Subject,
        terms: OperationTerms,
    ) -> Result<OperationSnapshot, OperationRefusal> {
        let mut book = self.book();
        self.clear_the_way(&mut book, now, &subject)?;
        book.last += 1;
        let mut operation = Operation::new(book.last, subject, terms, (now, clock::wall()));
        if let (OperationKind::Drain, Some(backend)) = (operation.subject.kind, &operation.subject.backend) {
            let state = match operation.subject.cause {
                OperationCause::Backend => backend.asked_state(),
                _ => AdminState::Draining,
            };
            backend.set_admin_state(now, state, &format!("{} empties it", operation.id()));
            if backend.sessions() == 0 && backend.closes_empty() {
                operation.end(now, OperationState::Done, "it had no sessions".to_owned());
            }
        }
        let view = operation.view(now);
        book.add(operation);
        Ok(view)
    }

    /// Ends an operation. What it has begun to move and has not left yet stays; a backend that was to be
    /// emptied gets no new sessions until it is undrained.
    ///
    /// # Errors
    /// There is none of this name, or it has ended.
    pub(crate) fn cancel(&self, now: Time, id: &str) -> Result<OperationSnapshot, OperationRefusal> {
        let mut book = self.book();
        let operation = book.named(id)?;
        if !operation.is_active() {
            return Err(has_ended(operation));
        }
        let message = match operation.subject.kind {
            OperationKind::Drain => {
                "somebody has cancelled it; the backend gets no sessions until it is undrained"
            }
            OperationKind::Evacuation => {
                "somebody has cancelled it; the sessions stay while the backend is down"
            }
            OperationKind::Rebalance | OperationKind::Failover => "somebody has cancelled it",
        };
        let evacuated = operation.evacuates();
        finish(operation, now, &self.registry, (OperationState::Cancelled, message.to_owned()));
        let view = operation.view(now);
        book.kept.extend(evacuated);
        Ok(view)
    }

    /// An operation that was cancelled, stopped or ran out of time goes on, with its whole time and no
    /// failure counted.
    ///
    /// # Errors
    /// There is none of this name, it has not ended or is done, or another is in the way.
    pub(crate) fn resume(&self, now: Time, id: &str) -> Result<OperationSnapshot, OperationRefusal> {
        let mut book = self.book();
        let operation = book.named(id)?;
        let (state, subject) = (operation.state, operation.subject.clone());
        if state.is_active() || state == OperationState::Done {
            let message = format!("{id} is {}; there is nothing to resume", state.name());
            return Err(OperationRefusal::Conflict { operation: id.to_owned(), message });
        }
        self.clear_the_way(&mut book, now, &subject)?;
        if let (OperationKind::Drain, Some(backend)) = (subject.kind, &subject.backend) {
            backend.set_admin_state(now, AdminState::Draining, &format!("{id} empties it"));
        }
        let operation = book.named(id)?;
        operation.resume(now);
        let (view, evacuated) = (operation.view(now), operation.evacuates());
        book.kept.retain(|backend| evacuated != Some(*backend));
        Ok(view)
    }

    /// Changes how an operation goes about it. `force` holds for the moves under way too.
    ///
    /// # Errors
    /// There is none of this name, it has ended, or it is an evacuation, which has no pace.
    pub(crate) fn patch(
        &self,
        now: Time,
        id: &str,
        (wish, drain): (Wish, &DrainSettings),
    ) -> Result<OperationSnapshot, OperationRefusal> {
        let mut book = self.book();
        let operation = book.named(id)?;
        if !operation.is_active() {
            return Err(has_ended(operation));
        }
        if operation.is_evacuation() && wish.is_pace() {
            return Err(has_no_pace(operation));
        }
        let forced = operation.terms.force;
        operation.terms = operation.terms.with(wish);
        if operation.terms.force != forced {
            moves::set_force(operation, now, &self.registry, drain);
        }
        Ok(operation.view(now))
    }

    /// A backend gets sessions again, and a drain of it is cancelled.
    pub(crate) fn undrain(&self, now: Time, backend: &Backend, why: &str) {
        self.end_drain(now, backend, AdminState::Ready, why);
    }

    /// As [`Operations::undrain`], but the backend has this admin state from then on.
    fn end_drain(&self, now: Time, backend: &Backend, admin_state: AdminState, why: &str) {
        let mut book = self.book();
        if let Some(operation) = book.operations.iter_mut().find(|own| own.drains() == Some(backend.id)) {
            finish(operation, now, &self.registry, (OperationState::Cancelled, format!("undrained: {why}")));
        }
        backend.set_admin_state(now, admin_state, why);
    }

    /// A backend gets no new sessions and keeps those that it has, or the other way round.
    ///
    /// # Errors
    /// An operation empties it.
    pub(crate) fn set_enabled(
        &self,
        now: Time,
        backend: &Backend,
        enabled: bool,
    ) -> Result<(), OperationRefusal> {
        let book = self.book();
        let admin_state = if enabled { AdminState::Ready } else { AdminState::Disabled };
        if let Some(operation) = book.operations.iter().find(|own| own.drains() == Some(backend.id)) {
            let id = operation.id();
            let message = format!("{id} empties {}; wait for it, or undrain the backend", backend.name);
            return Err(OperationRefusal::Conflict { operation: id, message });
        }
        backend.set_admin_state(now, admin_state, "the API was asked for it");
        Ok(())
    }

    // ---- what is known of it ----

    /// All of them, the newest first.
    pub(crate) fn views(&self, now: Time) -> Vec<OperationSnapshot> {
        self.book().operations.iter().rev().map(|operation| operation.view(now)).collect()
    }

    /// One of them.
    ///
    /// # Errors
    /// There is none of this name.
    pub(crate) fn view(&self, now: Time, id: &str) -> Result<OperationSnapshot, OperationRefusal> {
        self.book().named(id).map(|operation| operation.view(now))
    }

    /// The drain of each backend that is being emptied, by the backend's id.
    pub(crate) fn drains(&self) -> HashMap<usize, String> {
        let book = self.book();
        book.operations.iter().filter_map(|own| Some((own.drains()?, own.id()))).collect()
    }

    /// An operation moves sessions of this pool that a rebalance would count on.
    fn works_on(&self, pool: &Arc<Pool>) -> bool {
        let book = self.book();
        let works = |own: &Operation| own.is_active() && !own.is_evacuation();
        book.operations.iter().any(|own| works(own) && Arc::ptr_eq(&own.subject.pool, pool))
    }

    // ---- parts ----

    /// Ends what gives way to the new one.
    fn clear_the_way(
        &self,
        book: &mut OperationBook,
        now: Time,
        wanted: &Subject,
    ) -> Result<(), OperationRefusal> {
        let claim = wanted.claim();
        let active = || book.operations.iter().filter(|operation| operation.is_active());
        if let Some(other) = active().find(|other| other.claim().verdict(&claim) == ConflictVerdict::Refuses)
        {
            return Err(in_the_way(other));
        }
        let active = book.operations.iter_mut().filter(|operation| operation.is_active());
        for other in active.filter(|other| other.claim().verdict(&claim) == ConflictVerdict::GivesWay) {
            let message = format!("it gives way: {} of {}", wanted.kind.name(), wanted.name());
            finish(other, now, &self.registry, (OperationState::Cancelled, message));
        }
        Ok(())
    }

    fn book(&self) -> OrderedMutexGuard<'_, OperationBook> {
        self.book.lock()
    }
}

impl OperationBook {
    /// The oldest that have ended are forgotten. Evacuations, which begin by themselves as often as a backend
    /// goes down, are counted apart from what somebody has asked for, and each backend's last one is enough.
    fn add(&mut self, operation: Operation) {
        let (evacuation, backend) = (operation.is_evacuation(), operation.backend());
        if evacuation {
            self.forget(0, |own| own.is_evacuation() && own.backend() == backend);
        }
        self.operations.push_back(operation);
        self.forget(HISTORY, |own| own.is_evacuation() == evacuation);
    }

    /// Of those of `which` that have ended the last ones are left, so many, and those that sessions still move
    /// for: somebody must notice when these end without a report.
    fn forget(&mut self, most: usize, which: impl Fn(&Operation) -> bool) {
        let has_ended = |own: &Operation| which(own) && !own.is_active();
        let mut over = self.operations.iter().filter(|own| has_ended(own)).count().saturating_sub(most);
        self.operations.retain(|own| {
            let goes = over > 0 && has_ended(own) && own.progress.remaining().moving == 0;
            over -= usize::from(goes);
            !goes
        });
    }

    fn named(&mut self, id: &str) -> Result<&mut Operation, OperationRefusal> {
        let found = self.operations.iter_mut().find(|operation| operation.id() == id);
        found.ok_or_else(|| OperationRefusal::Unknown(format!("there is no operation named {id:?}")))
    }
}

/// Ends an operation, and calls its moves off that have not left yet.
fn finish(
    operation: &mut Operation,
    now: Time,
    registry: &Registry,
    (state, message): (OperationState, String),
) {
    operation.end(now, state, message);
    moves::call_off(operation, registry, usize::MAX);
}

fn in_the_way(other: &Operation) -> OperationRefusal {
    let (operation, name) = (other.id(), other.subject.name());
    let does = match other.subject.kind {
        OperationKind::Drain => "drains",
        OperationKind::Rebalance => "rebalances",
        OperationKind::Failover => "fails over",
        OperationKind::Evacuation => "evacuates",
    };
    let message = format!("{operation} {does} {name} already; wait for it, or cancel it");
    OperationRefusal::Conflict { operation, message }
}

fn has_no_pace(operation: &Operation) -> OperationRefusal {
    let id = operation.id();
    let message = format!("{id} has no pace to change; cancel it, or drain {}", operation.subject.name());
    OperationRefusal::Conflict { operation: id, message }
}

fn has_ended(operation: &Operation) -> OperationRefusal {
    let id = operation.id();
    let message = format!("{id} has ended; it is {}", operation.state.name());
    OperationRefusal::Conflict { operation: id, message }
}

#[cfg(test)]
mod tests;
