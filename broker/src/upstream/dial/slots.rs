//! Turns to dial. Dials in flight are bounded in all, for each pool and for each backend, and of each bound a part is
//! left to sessions that have lost their backend or move: a pool whose backends never answer keeps half of the dials at
//! the most, and its newcomers, or those of all pools together, never keep a session from its next backend.
//!
//! A turn that becomes free goes to the pool with the fewest dials in flight, among equals to the one that has waited for
//! one longest; in the pool to a session before a newcomer, and among these to whoever has waited longest. Nobody holds
//! one turn while it waits for another, so nothing can stand still.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::lock::OrderedMutex;
use crate::lock::rank::DialsRank;
use crate::metric;

/// The turns of all.
#[derive(Debug)]
pub(super) struct DialSlots {
    table: OrderedMutex<Table, DialsRank>,
}

/// Who dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DialFor {
    /// A session, which would be lost without a backend, or is to move.
    Session,
    /// A newcomer: a client without a session, which comes again.
    Newcomer,
}

/// A turn, or the wait for one; given back when dropped.
#[derive(Debug)]
pub(super) struct DialSlot<'a> {
    slots: &'a DialSlots,
    ticket: Ticket,
}

/// What is waited for, and what is given back.
#[derive(Debug, Clone)]
struct Ticket {
    pool: Arc<str>,
    backend: usize,
    who: DialFor,
    number: u64,
}

/// How many may be in flight.
#[derive(Debug, Clone, Copy)]
struct Bound {
    all: usize,
    newcomers: usize,
}

/// How many are.
#[derive(Debug, Default)]
struct InFlight {
    all: usize,
    newcomers: usize,
}

/// Who waits, in their order.
type Line = BTreeMap<u64, Arc<Notify>>;

#[derive(Debug)]
struct Table {
    of_all: Bound,
    of_pool: Bound,
    of_backend: Bound,
    in_flight: InFlight,
    /// Those for which something is in flight, or waited for.
    pools: BTreeMap<Arc<str>, PoolTurns>,
    /// How many wait, for any of them.
    waiting: usize,
    /// Numbers given so far, to those who wait and to turns.
    numbers: u64,
}

#[derive(Debug, Default)]
struct PoolTurns {
    in_flight: InFlight,
    /// The number of the turn that it got last.
    last: u64,
    backends: BTreeMap<usize, BackendTurns>,
}

#[derive(Debug, Default)]
struct BackendTurns {
    in_flight: InFlight,
    sessions: Line,
    newcomers: Line,
}

impl DialSlots {
    /// At most `all` at once, and `per_backend` of them to one backend.
    pub(super) fn new(all: usize, per_backend: usize) -> DialSlots {
        let table = Table {
            of_all: Bound::of(all),
            of_pool: Bound::of((all / 2).max(1)),
            of_backend: Bound::of(per_backend),
            in_flight: InFlight::default(),
            pools: BTreeMap::new(),
            waiting: 0,
            numbers: 0,
        };
        DialSlots { table: OrderedMutex::new(table) }
    }

    /// Waits for a turn to dial this backend of this pool.
    pub(super) async fn take(&self, pool: &Arc<str>, backend: usize, who: DialFor) -> DialSlot<'_> {
        if let Some(slot) = self.free(pool, backend, who) {
            return slot;
        }
        let comes = Arc::new(Notify::new());
        let slot = self.join(pool, backend, who, &comes);
        comes.notified().await;
        slot
    }

    /// A turn that is there at once, if nobody waits for any.
    fn free(&self, pool: &Arc<str>, backend: usize, who: DialFor) -> Option<DialSlot<'_>> {
        let ticket = self.table.lock().take_free(pool, backend, who)?;
        Some(DialSlot { slots: self, ticket })
    }

    /// Stands in the line until `comes` is told that the turn has come.
    fn join(&self, pool: &Arc<str>, backend: usize, who: DialFor, comes: &Arc<Notify>) -> DialSlot<'_> {
        let mut table = self.table.lock();
        let ticket = table.join(pool, backend, who, comes);
        let granted = table.grant();
        let waits = table.waits(&ticket);
        drop(table);
        granted.iter().for_each(|comes| comes.notify_one());
        if waits {
            metric::LIMIT_HITS.count(metric::Limit::Dials);
        }
        DialSlot { slots: self, ticket }
    }
}

impl Drop for DialSlot<'_> {
    fn drop(&mut self) {
        let mut table = self.slots.table.lock();
        table.leave(&self.ticket);
        let granted = table.grant();
        drop(table);
        granted.iter().for_each(|comes| comes.notify_one());
    }
}

impl Bound {
    /// A quarter is left to sessions, and at least one where there are two.
    fn of(all: usize) -> Bound {
        let kept = if all < 2 { 0 } else { (all / 4).max(1) };
        Bound { all, newcomers: all - kept }
    }
}

impl InFlight {
    fn has_room(&self, bound: Bound, who: DialFor) -> bool {
        self.all < bound.all && (who == DialFor::Session || self.newcomers < bound.newcomers)
    }

    fn add(&mut self, who: DialFor) {
        self.all += 1;
        self.newcomers += usize::from(who == DialFor::Newcomer);
    }

    fn take_away(&mut self, who: DialFor) {
        self.all -= 1;
        self.newcomers -= usize::from(who == DialFor::Newcomer);
    }
}

impl PoolTurns {
    /// A turn begins, with this number.
    fn begins(&mut self, backend: usize, who: DialFor, number: u64) {
        self.backends.entry(backend).or_default().in_flight.add(who);
        self.in_flight.add(who);
        self.last = number;
    }
}

impl Table {
    /// Takes a turn that is there and that nobody waits for.
    fn take_free(&mut self, pool: &Arc<str>, backend: usize, who: DialFor) -> Option<Ticket> {
        if self.waiting > 0 || !self.in_flight.has_room(self.of_all, who) {
            return None;
        }
        // One that gets nothing here joins the line next, for which the same entries are needed.
        let turns = self.pools.entry(Arc::clone(pool)).or_default();
        let of_backend = turns.backends.entry(backend).or_default();
        if !turns.in_flight.has_room(self.of_pool, who)
            || !of_backend.in_flight.has_room(self.of_backend, who)
        {
            return None;
        }
        self.numbers += 1;
        turns.begins(backend, who, self.numbers);
        self.in_flight.add(who);
        Some(Ticket { pool: Arc::clone(pool), backend, who, number: self.numbers })
    }

    fn join(&mut self, pool: &Arc<str>, backend: usize, who: DialFor, comes: &Arc<Notify>) -> Ticket {
        self.numbers += 1;
        let number = self.numbers;
        let turns = self.pools.entry(Arc::clone(pool)).or_default().backends.entry(backend).or_default();
        turns.line_mut(who).insert(number, Arc::clone(comes));
        self.waiting += 1;
        Ticket { pool: Arc::clone(pool), backend, who, number }
    }

    fn waits(&self, ticket: &Ticket) -> bool {
        let turns = self.pools.get(&ticket.pool).and_then(|pool| pool.backends.get(&ticket.backend));
        turns.is_some_and(|turns| turns.line(ticket.who).contains_key(&ticket.number))
    }

    /// Gives as many turns as there are to those who wait.
    fn grant(&mut self) -> Vec<Arc<Notify>> {
        let mut granted = Vec::new();
        while self.waiting > 0
            && let Some((pool, backend, who)) = self.next()
        {
            let Some(turns) = self.pools.get_mut(&pool) else { break };
            let Some(of_backend) = turns.backends.get_mut(&backend) else { break };
            let Some((_, comes)) = of_backend.line_mut(who).pop_first() else { break };
            self.waiting -= 1;
            self.numbers += 1;
            turns.begins(backend, who, self.numbers);
            self.in_flight.add(who);
            granted.push(comes);
        }
        granted
    }

    /// Whose turn it is.
    fn next(&self) -> Option<(Arc<str>, usize, DialFor)> {
        if self.in_flight.all >= self.of_all.all {
            return None;
        }
        let candidates = self.pools.iter().filter_map(|(name, pool)| {
            let (backend, who) = self.next_in(pool)?;
            Some(((pool.in_flight.all, pool.last), name, backend, who))
        });
        let (_, name, backend, who) =
            candidates.min_by_key(|(order, name, ..)| (*order, Arc::clone(name)))?;
        Some((Arc::clone(name), backend, who))
    }

    fn next_in(&self, pool: &PoolTurns) -> Option<(usize, DialFor)> {
        [DialFor::Session, DialFor::Newcomer].into_iter().find_map(|who| {
            if !self.in_flight.has_room(self.of_all, who) || !pool.in_flight.has_room(self.of_pool, who) {
                return None;
            }
            let first = |(id, turns): (&usize, &BackendTurns)| {
                let (number, _) = turns.line(who).first_key_value()?;
                turns.in_flight.has_room(self.of_backend, who).then_some((*number, *id))
            };
            let (_, backend) = pool.backends.iter().filter_map(first).min()?;
            Some((backend, who))
        })
    }

    /// One waits no more, or has dialled.
    fn leave(&mut self, Ticket { pool, backend, who, number }: &Ticket) {
        let Some(turns) = self.pools.get_mut(pool) else { return };
        let Some(of_backend) = turns.backends.get_mut(backend) else { return };
        if of_backend.line_mut(*who).remove(number).is_some() {
            self.waiting -= 1;
        } else {
            of_backend.in_flight.take_away(*who);
            turns.in_flight.take_away(*who);
            self.in_flight.take_away(*who);
        }
        if of_backend.is_unused() {
            turns.backends.remove(backend);
        }
        if turns.backends.is_empty() {
            self.pools.remove(pool);
        }
    }
}

impl BackendTurns {
    fn line(&self, who: DialFor) -> &Line {
        match who {
            DialFor::Session => &self.sessions,
            DialFor::Newcomer => &self.newcomers,
        }
    }

    fn line_mut(&mut self, who: DialFor) -> &mut Line {
        match who {
            DialFor::Session => &mut self.sessions,
            DialFor::Newcomer => &mut self.newcomers,
        }
    }

    fn is_unused(&self) -> bool {
        self.in_flight.all == 0 && self.sessions.is_empty() && self.newcomers.is_empty()
    }
}

#[cfg(test)]
mod tests;
