//! The session driver: how the session machine touches the world.
//!
//! One future per session polls both sockets. Each round reads what is there, hands it to the
//! machine, and writes what the machine says; when nothing moves any more, the task sleeps until a
//! socket is ready or the machine's next deadline. Bytes are read into one buffer per thread, so
//! that an idle session holds none.

mod blame;
mod evidence;
mod orphan;
mod poll_budget;
mod reading;
mod socket;
mod successor;
mod suspicion;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use steadfast_protocol::session::{Command, Dial, DialFailure, Event, Session, SessionSide};
use steadfast_protocol::time::Time;
use steadfast_protocol::websocket::close_code::CloseCode;
use tokio::task::yield_now;
use tokio::time::Sleep;

use crate::clock;
use crate::http::backend_headers::declines_failover;
use crate::net::lingering_close;
use crate::net::stream::Stream;
use crate::session::access_log;
use crate::session::memory::MemoryShare;
use crate::session::permits::SessionPermits;
use crate::session::registry::{Core, Entry};
use crate::session::resumption::{Arrival, refuse_stale};
use crate::upstream::backend::{Backend, BackendLease};
use crate::upstream::dial::{BackendSearch, DialError, DialTerms, Link};
use crate::upstream::pool::suspects::SuspectSearch;

use blame::Accusation;
use poll_budget::PollBudget;
use socket::SocketSide;
use successor::SuccessorStage;
use suspicion::Suspicion;

pub(crate) use evidence::test_kernel;

/// Rounds of one poll before other sessions get their turn.
const ROUNDS: usize = 16;

/// A deadline nearer than this is not left to the sweep, which comes by four times a second.
const NEAR: Duration = Duration::from_secs(1);

/// A dial under way.
type PendingDial = Pin<Box<dyn Future<Output = (Dialed, Vec<usize>)> + Send>>;

/// What has become of it.
enum Dialed {
    Linked(Box<Link>),
    Failed(DialFailure),
    /// There was none: the accused message is convicted.
    Convicted,
}

/// Drives one session until it has ended.
pub(crate) struct Driver {
    entry: Arc<Entry>,
    io: Io,
}

/// The connections that a session begins with.
pub(crate) struct SessionStreams {
    pub(crate) client: Stream,
    /// What came right behind the client's request.
    pub(crate) client_early: Bytes,
    pub(crate) backend: Stream,
    /// What came right behind the backend's answer.
    pub(crate) backend_early: Bytes,
}

/// The session's hold on the world.
struct Io {
    /// `None`: it is away, and may come back.
    client: Option<SocketSide>,
    backend: Option<SocketSide>,
    timer: Option<Pin<Box<Sleep>>>,
    /// What a session has only while it moves.
    moving: Option<Box<Moving>>,
    /// How much memory it is counted with.
    share: MemoryShare,
    /// Among them what all sessions share.
    permits: SessionPermits,
}

/// A session that has left a backend at least once.
#[derive(Default)]
struct Moving {
    dialing: Option<PendingDial>,
    /// The backend that it left last.
    just_failed: Option<Arc<Backend>>,
    /// Backends that refuse this session.
    refusing: Vec<usize>,
    /// What it says of the one that has failed it.
    accusation: Accusation,
    /// What it has as one with suspects.
    suspicion: Suspicion,
    /// The next backend of a planned move.
    successor: Option<SuccessorStage>,
}

impl Driver {
    /// A session whose both sides are connected.
    pub(crate) fn new(entry: Arc<Entry>, streams: SessionStreams, permits: SessionPermits) -> Driver {
        let share = permits.context().budget.begin();
        let io = Io {
            client: Some(SocketSide::new(streams.client, streams.client_early)),
            backend: Some(SocketSide::new(streams.backend, streams.backend_early)),
            timer: None,
            moving: None,
            share,
            permits,
        };
        evidence::tell_fitness(&entry, &mut entry.core());
        Driver { entry, io }
    }
}

impl Io {
    /// Works until nothing moves. True: more may be done at once.
    fn work(&mut self, cx: &mut Context<'_>, entry: &Arc<Entry>, core: &mut Core, now: Time) -> bool {
        let (mut settled, mut budget) = (false, PollBudget::new());
        for _ in 0..ROUNDS {
            let mut moved = self.take_client(entry, core, now);
            if self.moving.is_some() {
                moved |= self.poll_moving(cx, entry, core, (now, &mut budget));
            }
            moved |= self.read_client(cx, &mut core.machine, (now, &mut budget));
            if self.read_backend(cx, &mut core.machine, (now, &mut budget)) {
                evidence::note_life(core, now);
                moved = true;
            }
            if settled && !moved {
                return false;
            }
            let full = core.machine.ring_is_full();
            core.machine.advance(now, &mut || rand::random());
            // What was held long enough has made room for more.
            moved |= full && !core.machine.ring_is_full();
            // Then there is nothing to let go of, to be told or to be done but to write.
            let relays = core.machine.only_relays() && self.moving.is_none();
            if !relays {
                self.drop_client(entry, &core.machine);
            }
            moved |= self.write(cx, &mut core.machine);
            if self.permits.context().budget.is_near() {
                self.count_at_once(&core.machine);
            }
            if !relays {
                moved |= self.follow(entry, core, now);
            }
            if budget.is_spent() {
                return true;
            }
            // Otherwise what was written may have been what the machine waited for.
            settled = core.machine.at_ease();
            if !moved || (settled && relays && self.listen(cx)) {
                return false;
            }
        }
        true
    }

    /// Has the task woken for what comes from either side. False: something may be there by now.
    #[inline]
    fn listen(&mut self, cx: &mut Context<'_>) -> bool {
        let mut listens = |side: &mut Option<SocketSide>| side.as_mut().is_some_and(|side| side.listen(cx));
        listens(&mut self.client) && listens(&mut self.backend)
    }

    /// Enters in the books what the session holds, with the bytes that wait on their way to and from the machine.
    #[inline(always)]
    fn count(&mut self, machine: &Session) {
        let held = |side: &Option<SocketSide>| side.as_ref().map_or(0, SocketSide::held);
        let held = held(&self.client) + held(&self.backend);
        self.permits.context().budget.count(&mut self.share, machine.buffered() + held);
    }

    #[inline(never)]
    fn count_at_once(&mut self, machine: &Session) {
        self.count(machine);
    }

    // ---- writing ----

    fn write(&mut self, cx: &mut Context<'_>, machine: &mut Session) -> bool {
        let mut moved = false;
        if let Some(side) = self.backend.as_mut().filter(|_| machine.backend_waits()) {
            let n = side.write_upstream(cx, machine);
            machine.handle_written(SessionSide::Backend, n);
            moved |= n > 0;
        }
        if let Some(side) = &mut self.backend {
            side.flush(cx);
        }
        let Some(side) = &mut self.client else { return moved };
        let mut n = 0;
        if machine.client_waits() {
            n = side.write_all_of(cx, &machine.poll_transmit(SessionSide::Client));
            machine.handle_written(SessionSide::Client, n);
        }
        if machine.client_finished() && !side.shut {
            side.shut_write(cx);
            moved = true;
        }
        side.flush(cx);
        moved | (n > 0)
    }

    // ---- clients ----

    /// Lets go of a connection that the machine does not want any more.
    #[inline(never)]
    fn drop_client(&mut self, entry: &Entry, machine: &Session) {
        if machine.wants_client() {
            return;
        }
        if let Some(side) = self.client.take() {
            side.reset();
        }
        self.permits.context().registry.client_went(entry);
    }

    /// Takes over the connection on which the client is back.
    #[inline]
    fn take_client(&mut self, entry: &Entry, core: &mut Core, now: Time) -> bool {
        let arrival = self.permits.context().returns.take(entry);
        arrival.is_some_and(|arrival| self.take_arrival(entry, core, (arrival, now)))
    }

    #[cold]
    fn take_arrival(&mut self, entry: &Entry, core: &mut Core, (arrival, now): (Arrival, Time)) -> bool {
        let Arrival { client, stream, early, resume } = arrival;
        match core.machine.handle_client_back(now, resume.as_ref(), rand::random()) {
            Ok(last_words) => {
                let before = self.client.replace(SocketSide::new(stream, early));
                if let (Some(side), Some(words)) = (before, last_words) {
                    lingering_close::with_last_words(side.stream, words);
                }
                self.permits.context().registry.client_came(entry);
                access_log::returned(entry, client);
            }
            Err(_) => refuse_stale(stream),
        }
        true
    }

    // ---- backends ----

    /// Lets go of what the machine does not want any more, does what it asks, and tells what has happened. True:
    /// something has moved.
    #[inline(never)]
    fn follow(&mut self, entry: &Arc<Entry>, core: &mut Core, now: Time) -> bool {
        self.let_go(entry, core, now);
        self.note_settled(entry, &core.machine, now);
        let mut moved = false;
        while let Some(command) = core.machine.poll_command(now) {
            moved |= self.obey(entry, core, command, now);
            // What it asks next may be the next backend's turn.
            self.let_go(entry, core, now);
        }
        moved
    }

    fn let_go(&mut self, entry: &Entry, core: &mut Core, now: Time) {
        while let Some(event) = core.machine.poll_event() {
            self.handle_event(entry, core, event, now);
        }
        if !core.machine.wants_link() && self.backend.is_some() {
            self.unlink(entry, core, now);
        }
        let Some(moving) = &mut self.moving else { return };
        if !core.machine.wants_successor() {
            moving.successor = None;
        }
        if !core.machine.wants_dial() {
            moving.dialing = None;
        }
    }

    fn obey(&mut self, entry: &Arc<Entry>, core: &mut Core, command: Command, now: Time) -> bool {
        match command {
            Command::Dial(dial) if dial.held => self.cross(entry, core, now),
            Command::Dial(_) if self.is_blamed(entry) => core.machine.handle_blamed(now),
            Command::Dial(dial) => {
                let dialing = self.dial(entry, dial);
                self.moving.get_or_insert_default().dialing = Some(dialing);
            }
            Command::DialAhead { ticket } => self.begin_successor(entry, core, ticket),
            Command::JudgeSilence => return self.judge_silence(entry, core, now),
            Command::SeekRoom => return self.seek_room(entry, core, now),
            Command::JudgeFitness => {
                self.judge_fitness(entry, core, now);
                return false;
            }
            Command::JudgeClient => {
                access_log::client_is_silent(entry);
                self.judge_client(entry, core, now);
                return false;
            }
            Command::ReleaseTurn => {
                access_log::suspects_cleared(entry, core.lease.as_ref().map(BackendLease::backend));
                self.moving.get_or_insert_default().suspicion.cleared();
                return false;
            }
        }
        true
    }

    fn handle_event(&mut self, entry: &Entry, core: &mut Core, event: Event, now: Time) {
        self.report(entry, core, &event);
        match (event, &core.lease) {
            (Event::Failed(failure), Some(_)) => self.accuse(entry, core, (failure, true), now),
            (Event::Orphaned(failure), Some(_)) => self.accuse(entry, core, (failure, false), now),
            // As a Close that says the same, of which the backend says no more.
            (Event::Parting, Some(lease)) => lease.closed_with(now, CloseCode::GOING_AWAY),
            (Event::Fit, _) => entry.binding.pool.pongs.came(),
            (Event::Unproven, _) => entry.binding.pool.pongs.was_missed(),
            (Event::SlowPong(took), _) => entry.binding.pool.pongs.was_slow(took, self.ack_timeout(entry)),
            _ => {}
        }
    }

    fn report(&self, entry: &Entry, core: &Core, event: &Event) {
        access_log::event(entry, core.lease.as_ref().map(BackendLease::backend), event);
        if let Event::MoveEnded { ticket, outcome } = *event {
            self.permits.context().tickets.ended(ticket, outcome);
        }
    }

    fn unlink(&mut self, entry: &Entry, core: &mut Core, now: Time) {
        if core.machine.failed_with_backend() {
            blame::at_once(entry, core, now);
        }
        let lease = core.lease.take();
        let moving = self.moving.get_or_insert_default();
        moving.just_failed = lease.map(|lease| Arc::clone(lease.backend()));
        moving.suspicion.turn = None;
        if let Some(side) = self.backend.take() {
            if let Some(words) = core.machine.take_last_words(&mut || rand::random()) {
                return lingering_close::with_last_words(side.stream, words);
            }
            // A backend that failed, or was given half a message, gets a reset; one that has said
            // and heard Close, an orderly end.
            if core.machine.resets_backend() {
                side.reset();
            }
        }
    }

    fn dial(&self, entry: &Arc<Entry>, dial: Dial) -> PendingDial {
        let (context, entry) = (Arc::clone(self.permits.context()), Arc::clone(entry));
        let moving = self.moving.as_ref();
        let just_failed = moving.and_then(|moving| moving.just_failed.as_ref()).map(|backend| backend.id);
        let (most, waits) = moving.map_or_else(Default::default, |moving| moving.suspicion.search());
        let mut refusing = self.refusing();
        Box::pin(async move {
            let session = entry.name();
            if let Some(seq) = dial.accused
                && suspicion::convicts(&entry.binding.pool, &session, seq, &waits).await
            {
                return (Dialed::Convicted, refusing);
            }
            let suspect = dial.suspect.then_some(SuspectSearch { most, waits: &waits });
            let search = BackendSearch { suspect, ..search(&entry, &session, just_failed) };
            let dialed = match context.dialer.again(&search, &mut refusing).await {
                Ok(link) => Dialed::Linked(link),
                Err(DialError::Refused) => Dialed::Failed(DialFailure::Refused),
                Err(_) => Dialed::Failed(DialFailure::Unreachable),
            };
            (dialed, refusing)
        })
    }

    fn refusing(&self) -> Vec<usize> {
        self.moving.as_ref().map_or_else(Vec::new, |moving| moving.refusing.clone())
    }

    /// Goes on with what a session does that leaves a backend.
    #[inline(never)]
    fn poll_moving(
        &mut self,
        cx: &mut Context<'_>,
        entry: &Entry,
        core: &mut Core,
        (now, budget): (Time, &mut PollBudget),
    ) -> bool {
        self.poll_dial(cx, entry, core, now) | self.poll_successor(cx, entry, core, (now, budget))
    }

    fn poll_dial(&mut self, cx: &mut Context<'_>, entry: &Entry, core: &mut Core, now: Time) -> bool {
        let Some(moving) = &mut self.moving else { return false };
        let Some(dialing) = &mut moving.dialing else { return false };
        let waited = moving.suspicion.waits();
        let dialed = dialing.as_mut().poll(cx);
        if waited || moving.suspicion.waits() {
            core.machine.handle_turn_awaited(now);
        }
        let Poll::Ready((dialed, refusing)) = dialed else { return false };
        (moving.dialing, moving.refusing) = (None, refusing);
        match dialed {
            Dialed::Linked(link) => self.link(entry, core, *link, now),
            Dialed::Failed(failure) => core.machine.handle_dial_failed(now, failure),
            Dialed::Convicted => {
                entry.binding.pool.convicted(&entry.name());
                core.machine.handle_convicted(now);
            }
        }
        true
    }

    fn link(&mut self, entry: &Entry, core: &mut Core, link: Link, now: Time) {
        if !core.machine.handle_linked(now, declines_failover(&link.headers), link.epoch) {
            return;
        }
        self.backend = Some(SocketSide::new(link.stream, link.early));
        entry.binding.pool.session_moved(entry.id, link.lease.backend());
        core.lease = Some(link.lease);
        evidence::tell_fitness(entry, core);
        self.moving.get_or_insert_default().suspicion.turn = link.turn;
    }

    // ---- time ----

    /// Sleeps until the machine's next deadline. True: it is already there. A far one is left to
    /// the sweep; a near one gets a timer of its own, for as long as it is needed.
    fn sleep(&mut self, cx: &mut Context<'_>, entry: &Entry, machine: &mut Session, now: Time) -> bool {
        let mut at = machine.poll_timeout();
        if self.share.waits() {
            let look = now + self.share.look();
            at = Some(at.map_or(look, |at| at.min(look)));
        }
        let Some(near) = at.filter(|at| at.since(now) < NEAR) else {
            // A timer that runs costs a look at most; one that is made for each message costs more.
            self.timer.take_if(|timer| timer.is_elapsed());
            entry.set_due(at);
            return false;
        };
        let deadline = clock::instant(near);
        match &mut self.timer {
            // One that fires too early costs a look; to move it at each message costs more.
            Some(timer) if timer.deadline() > deadline || timer.is_elapsed() => {
                timer.as_mut().reset(deadline)
            }
            Some(_) => {}
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(deadline))),
        }
        self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready())
    }

    fn finish(&mut self, core: &Core) {
        if core.machine.resets_client() {
            // What the client does not take must not stay with the kernel.
            if let Some(side) = self.client.take() {
                side.reset();
            }
        }
    }
}

/// However a session's task ends (done, cut at the broker's end, or by a bug that made it panic), it
/// leaves nothing behind.
impl Drop for Driver {
    fn drop(&mut self) {
        let Driver { entry, io } = self;
        let core = entry.core();
        io.withdraw(entry);
        let ledger = core.machine.ledger();
        let last = io.moving.as_ref().and_then(|moving| moving.just_failed.as_ref());
        access_log::ended(entry, &core, last.map(|backend| backend.name.as_str()));
        drop(core);
        io.permits.context().budget.give_back(&mut io.share);
        io.permits.context().registry.client_came(entry);
        io.permits.context().registry.remove(entry.id, ledger);
        entry.binding.pool.clients.ended(entry.id);
        io.permits.context().returns.send_away(entry.id);
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Driver { entry, io } = self.get_mut();
        let mut core = entry.core();
        if !core.waker.will_wake(cx.waker()) {
            core.waker = cx.waker().clone();
        }
        loop {
            let now = clock::now();
            let more = io.work(cx, entry, &mut core, now);
            if core.machine.ended().is_some() {
                io.finish(&core);
                return Poll::Ready(());
            }
            io.count(&core.machine);
            if more {
                return let_others(cx);
            }
            if !io.sleep(cx, entry, &mut core.machine, now) {
                return Poll::Pending;
            }
        }
    }
}

/// Has the task polled again once the worker has looked for sockets that have become ready, and whoever waits for them
/// has had its turn. A wake-up alone would have it polled many times before that look.
fn let_others(cx: &mut Context<'_>) -> Poll<()> {
    pin!(yield_now()).poll(cx)
}

/// A search for another backend than the one that is, or was, left.
fn search<'a>(entry: &'a Entry, session: &'a str, left: Option<usize>) -> BackendSearch<'a> {
    BackendSearch {
        pool: &entry.binding.pool,
        handshake: &entry.handshake,
        session,
        client: entry.client(),
        entrance: entry.binding.entrance(),
        terms: DialTerms::Again(entry.agreed()),
        affinity: entry.affinity(),
        preferred: entry.binding.pool.gone_to(entry.id, left),
        attempts: &entry.attempts,
        just_failed: left,
        suspect: None,
        waiting: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With it the runtime keeps 96 bytes of its own and a word that says how far the task is, at multiples of 128: all of
    /// it must be no more than the 256 that the allocator has a size for. The next would be 512.
    #[test]
    fn a_driver_takes_no_more_than_its_task_s_allocation() {
        // A socket knows its selector only to check itself.
        let checks = if cfg!(debug_assertions) { 2 * size_of::<usize>() } else { 0 };
        assert!(size_of::<Driver>() - checks + 104 <= 256, "{} bytes", size_of::<Driver>());
    }
}
