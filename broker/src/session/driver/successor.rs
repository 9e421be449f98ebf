//! The next backend of a planned move, while the present one still serves.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use steadfast_protocol::session::{DialFailure, Session, SessionSide};
use steadfast_protocol::time::Time;
use tokio::sync::OwnedSemaphorePermit;

use crate::http::backend_headers::declines_failover;
use crate::session::registry::{Core, Entry};
use crate::upstream::backend::BackendLease;
use crate::upstream::dial::{DialError, Link};

use super::poll_budget::PollBudget;
use super::socket::{Read, SocketSide};
use super::{Io, evidence, search};

/// How far it has come.
pub(super) enum SuccessorStage {
    Dialing(SuccessorDial),
    Held(HeldSuccessor),
}

/// Its dial, in its turn among the moves of the broker.
pub(super) struct SuccessorDial(Pin<Box<dyn Future<Output = DialedSuccessor> + Send>>);

struct DialedSuccessor {
    link: Result<Box<Link>, DialError>,
    refusing: Vec<usize>,
    turn: Option<OwnedSemaphorePermit>,
}

/// It is connected, and waits.
pub(super) struct HeldSuccessor {
    side: SocketSide,
    lease: BackendLease,
    declines_failover: bool,
    epoch: u64,
    _turn: Option<OwnedSemaphorePermit>,
}

impl Io {
    /// Reads and writes it.
    pub(super) fn poll_successor(
        &mut self,
        cx: &mut Context<'_>,
        entry: &Entry,
        core: &mut Core,
        (now, budget): (Time, &mut PollBudget),
    ) -> bool {
        let Some(moving) = &mut self.moving else { return false };
        match &mut moving.successor {
            None => false,
            Some(SuccessorStage::Dialing(dialing)) => {
                let Poll::Ready(found) = dialing.0.as_mut().poll(cx) else { return false };
                moving.refusing = found.refusing;
                moving.successor = held(core, found.link, found.turn, now).map(SuccessorStage::Held);
                true
            }
            Some(SuccessorStage::Held(held)) => {
                held.write(cx, &mut core.machine) | held.read(cx, entry, &mut core.machine, (now, budget))
            }
        }
    }

    /// Begins the dial for the next backend of this move.
    pub(super) fn begin_successor(&mut self, entry: &Arc<Entry>, core: &Core, ticket: u64) {
        let present = core.lease.as_ref().map(|lease| lease.backend().id);
        let dialing = self.dial_ahead(entry, present, ticket);
        self.moving.get_or_insert_default().successor = Some(SuccessorStage::Dialing(dialing));
    }

    /// The next backend is connected. The place that it has for this session may be its last.
    pub(super) fn holds_successor(&self) -> bool {
        self.moving.as_ref().is_some_and(|moving| matches!(moving.successor, Some(SuccessorStage::Held(_))))
    }

    fn dial_ahead(&self, entry: &Arc<Entry>, present: Option<usize>, ticket: u64) -> SuccessorDial {
        let (context, entry) = (Arc::clone(self.permits.context()), Arc::clone(entry));
        let mut refusing = self.refusing();
        let only = context.tickets.target(ticket);
        SuccessorDial(Box::pin(async move {
            // No semaphore here is ever closed, so a turn always comes.
            let turn = Arc::clone(&context.moves).acquire_owned().await.ok();
            let session = entry.name();
            let search = search(&entry, &session, present);
            let link = context.dialer.ahead(&search, &mut refusing, only).await;
            DialedSuccessor { link, refusing, turn }
        }))
    }

    /// Its turn has come: the old backend is left already.
    pub(super) fn cross(&mut self, entry: &Entry, core: &mut Core, now: Time) {
        let successor = self.moving.as_mut().and_then(|moving| moving.successor.take());
        let Some(SuccessorStage::Held(held)) = successor else {
            // The machine believes that there is one, and would wait for ever.
            return core.machine.handle_dial_failed(now, DialFailure::Unreachable);
        };
        if core.machine.handle_linked(now, held.declines_failover, held.epoch) {
            self.backend = Some(held.side);
            entry.binding.pool.session_moved(entry.id, held.lease.backend());
            core.lease = Some(held.lease);
            evidence::tell_fitness(entry, core);
        }
    }
}

/// A connection that the machine wants to keep until its turn comes.
fn held(
    core: &mut Core,
    link: Result<Box<Link>, DialError>,
    turn: Option<OwnedSemaphorePermit>,
    now: Time,
) -> Option<HeldSuccessor> {
    let Ok(link) = link else {
        core.machine.handle_successor_failed();
        return None;
    };
    if !core.machine.handle_successor_linked(now) {
        return None;
    }
    let (declines_failover, epoch) = (declines_failover(&link.headers), link.epoch);
    Some(HeldSuccessor {
        side: SocketSide::new(link.stream, link.early),
        lease: link.lease,
        declines_failover,
        epoch,
        _turn: turn,
    })
}

impl HeldSuccessor {
    fn write(&mut self, cx: &mut Context<'_>, machine: &mut Session) -> bool {
        let n = self.side.write_all_of(cx, &machine.poll_transmit(SessionSide::NextBackend));
        machine.handle_written(SessionSide::NextBackend, n);
        self.side.flush(cx);
        n > 0
    }

    fn read(
        &mut self,
        cx: &mut Context<'_>,
        entry: &Entry,
        machine: &mut Session,
        (now, budget): (Time, &mut PollBudget),
    ) -> bool {
        if budget.is_spent() || !self.side.is_readable() || !machine.listens_to_successor() {
            return false;
        }
        let take = |_: &mut Context<'_>, bytes: &[u8]| machine.handle_successor(bytes, &mut budget.frames);
        match self.side.read_with(cx, budget.bytes, take) {
            Read::Bytes(n) => {
                budget.took(n);
                return true;
            }
            Read::Nothing if !self.side.broken => return false,
            _ => machine.handle_successor_lost(),
        }
        if self.lease.fail(now) {
            let pool = &entry.binding.pool;
            let complaint = pool.complaint(now, entry.client().ip(), &entry.name());
            pool.failed(now, self.lease.backend(), complaint);
        }
        true
    }
}
