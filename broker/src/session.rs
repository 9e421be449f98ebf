//! The session driver: how the session machine touches the world.
//!
//! One future per session polls both sockets. Each round reads what is there, hands it to the
//! machine, and writes what the machine says; when nothing moves any more, the task sleeps until a
//! socket is ready or the machine's next deadline. Bytes are read into one buffer per thread, so
//! that an idle session holds none.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BufMut;
use http::HeaderMap;
use steadfast_protocol::chain::Gather;
use steadfast_protocol::session::{Cause, Dial, DialFailure, Failure, Note, Session};
use steadfast_protocol::time::Time;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio_util::io::poll_read_buf;

use crate::budget::Share;
use crate::dial::{Agreed, DialError, Link, Search, Terms};
use crate::broker::Broker;
use crate::handshake::Handshake;
use crate::pool::Seat;
use crate::registry::{Core, Entry};
use crate::{clock, journal};

/// Bytes of a thread's read buffer.
const READ: usize = 64 * 1024;

/// Rounds of one poll before other sessions get their turn.
const ROUNDS: usize = 16;

/// How soon a session that waits for memory looks again.
const TIGHT: Duration = Duration::from_millis(10);

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// A dial under way.
type Dialing = Pin<Box<dyn Future<Output = (Result<Box<Link>, DialError>, Vec<usize>)> + Send>>;

/// Drives one session until it has ended.
pub(crate) struct Driver {
    broker: Arc<Broker>,
    entry: Arc<Entry>,
    client: Side,
    backend: Option<Side>,
    timer: Option<Pin<Box<Sleep>>>,
    /// For redials.
    redial: Box<Redial>,
    /// How much memory it is counted with.
    share: Share,
    /// Its place under `max_sessions`.
    _permit: OwnedSemaphorePermit,
}

/// What a session needs when its backend fails.
pub(crate) struct Redial {
    pub(crate) handshake: Handshake,
    pub(crate) agreed: Agreed,
    dialing: Option<Dialing>,
    /// The backend that it left last.
    just_failed: Option<usize>,
    /// Backends that refuse this session.
    refusing: Vec<usize>,
    /// Its turn to replay suspects.
    turn: Option<OwnedSemaphorePermit>,
}

/// One socket.
struct Side {
    stream: TcpStream,
    /// A write has failed: what is still to be read is read, then the side is gone.
    broken: bool,
    /// The write side is shut.
    shut: bool,
    /// Nothing more can be read or written.
    ended: bool,
}

/// What a read brought.
enum Read {
    Bytes(usize),
    Nothing,
    End,
    Failed,
}

impl Redial {
    pub(crate) fn new(handshake: Handshake, agreed: Agreed) -> Redial {
        Redial { handshake, agreed, dialing: None, just_failed: None, refusing: Vec::new(), turn: None }
    }
}

impl Driver {
    /// A session whose both sides are connected. `early` bytes came with the client's handshake.
    pub(crate) fn new(
        broker: Arc<Broker>,
        entry: Arc<Entry>,
        (client, backend): (TcpStream, TcpStream),
        redial: Redial,
        permit: OwnedSemaphorePermit,
    ) -> Driver {
        Driver {
            broker,
            entry,
            client: Side::new(client),
            backend: Some(Side::new(backend)),
            timer: None,
            redial: Box::new(redial),
            share: Share::default(),
            _permit: permit,
        }
    }

    /// Hands in the bytes that came right behind the two handshakes.
    pub(crate) fn begin(&mut self, from_client: &[u8], from_backend: &[u8]) {
        let entry = Arc::clone(&self.entry);
        let machine = &mut entry.core().machine;
        let now = clock::now();
        if !from_backend.is_empty() {
            machine.handle_backend(now, from_backend, &mut |_| 0);
        }
        if !from_client.is_empty() {
            machine.handle_client(now, from_client);
        }
    }

    /// Works until nothing moves. True: more may be done at once.
    fn work(&mut self, cx: &mut Context<'_>, core: &mut Core) -> bool {
        for _ in 0..ROUNDS {
            let now = clock::now();
            let mut moved = self.poll_dial(cx, core, now);
            moved |= self.read_client(cx, &mut core.machine, now);
            moved |= self.read_backend(cx, &mut core.machine, now);
            core.machine.advance(now, &mut || rand::random());
            moved |= self.write(cx, &mut core.machine);
            moved |= self.follow(core, now);
            if !moved {
                return false;
            }
        }
        true
    }

    // ---- reading ----

    fn read_client(&mut self, cx: &mut Context<'_>, machine: &mut Session, now: Time) -> bool {
        let tight = !self.may_read(machine.client_message_open());
        let limit = machine.client_read_limit(tight);
        if limit == 0 && !self.client.broken {
            return false;
        }
        let read = match machine.client_direct() {
            Some((tail, max)) => {
                let read = self.client.read_to(cx, tail, max.min(limit));
                if let Read::Bytes(n) = read {
                    machine.client_read(now, n);
                }
                read
            }
            None => BUFFER.with_borrow_mut(|buffer| {
                let room = limit.clamp(1, buffer.len());
                let read = self.client.read(cx, &mut buffer[..room]);
                if let Read::Bytes(n) = read {
                    machine.handle_client(now, &buffer[..n]);
                }
                read
            }),
        };
        match read {
            Read::Bytes(_) => true,
            Read::Nothing if !self.client.broken => false,
            _ => self.client_gone(machine, now),
        }
    }

    /// Its socket is at its end. Said once.
    fn client_gone(&mut self, machine: &mut Session, now: Time) -> bool {
        let first = !self.client.ended;
        (self.client.ended, self.client.broken) = (true, false);
        if first {
            machine.handle_client_gone(now);
        }
        first
    }

    fn read_backend(&mut self, cx: &mut Context<'_>, machine: &mut Session, now: Time) -> bool {
        let open = machine.backend_message_open();
        let may_read = machine.wants_backend() && self.may_read(open);
        let Some(side) = self.backend.as_mut().filter(|side| may_read || side.broken) else { return false };
        let client = &mut self.client;
        let read = match machine.backend_direct() {
            Some((tail, max)) => {
                let read = side.read_to(cx, tail, max);
                if let Read::Bytes(n) = read {
                    machine.backend_read(now, n);
                }
                read
            }
            None => BUFFER.with_borrow_mut(|buffer| {
                let read = side.read(cx, buffer);
                if let Read::Bytes(n) = read {
                    machine.handle_backend(now, &buffer[..n], &mut |bytes| client.write(cx, bytes));
                }
                read
            }),
        };
        // A side that a write found broken has now been read to its end.
        let failure = match read {
            Read::Bytes(_) => return true,
            Read::Nothing if !side.broken => return false,
            Read::End => Failure::Eof,
            Read::Nothing | Read::Failed => Failure::Reset,
        };
        side.broken = false;
        machine.handle_backend_lost(now, failure);
        true
    }

    fn may_read(&mut self, message_open: bool) -> bool {
        self.broker.budget.may_read(&mut self.share, self.entry.id, message_open)
    }

    // ---- writing ----

    fn write(&mut self, cx: &mut Context<'_>, machine: &mut Session) -> bool {
        let mut moved = false;
        if let Some(side) = &mut self.backend {
            let n = side.write_all_of(cx, &machine.backend_transmit());
            machine.backend_written(n);
            moved |= n > 0;
        }
        let n = self.client.write_all_of(cx, &machine.client_transmit());
        machine.client_written(n);
        if machine.client_finished() && !self.client.shut {
            self.client.shut_write(cx);
            moved = true;
        }
        moved | (n > 0)
    }

    // ---- backends ----

    /// Drops a backend that the machine has left, starts the dial that it wants, and acts on what
    /// it notes.
    fn follow(&mut self, core: &mut Core, now: Time) -> bool {
        for note in core.machine.take_notes() {
            self.act_on(core, note, now);
        }
        if !core.machine.wants_link() && self.backend.is_some() {
            self.unlink(core);
        }
        if self.redial.dialing.is_some() && !core.machine.wants_dial() {
            self.redial.dialing = None;
        }
        let Some(dial) = core.machine.take_dial(now) else { return false };
        self.redial.dialing = Some(self.dial(dial));
        true
    }

    fn act_on(&mut self, core: &mut Core, note: Note, now: Time) {
        let seat = core.seat.as_ref();
        journal::note(&self.entry, seat.map(Seat::backend), &note);
        match (note, seat) {
            (Note::Silent, Some(seat)) if self.entry.pool.has_other(now, seat.backend().index) => {
                seat.backend().penalise(now);
                core.machine.handle_backend_lost(now, Failure::Silence);
                for note in core.machine.take_notes() {
                    journal::note(&self.entry, core.seat.as_ref().map(Seat::backend), &note);
                }
            }
            (Note::Cleared, _) => self.redial.turn = None,
            _ => {}
        }
    }

    fn unlink(&mut self, core: &mut Core) {
        let seat = core.seat.take();
        self.redial.just_failed = seat.map(|seat| seat.backend().index);
        self.redial.turn = None;
        if let Some(side) = self.backend.take() {
            // A backend that failed, or was given half a message, gets a reset; one that has said
            // and heard Close, an orderly end.
            if core.machine.resets_backend() {
                side.reset();
            }
        }
    }

    fn dial(&self, dial: Dial) -> Dialing {
        let (broker, entry) = (Arc::clone(&self.broker), Arc::clone(&self.entry));
        let (handshake, terms) = (self.redial.handshake.clone(), Terms::Again(self.redial.agreed.clone()));
        let (just_failed, mut refusing) = (self.redial.just_failed, self.redial.refusing.clone());
        Box::pin(async move {
            let session = entry.name();
            let search = Search {
                pool: &entry.pool,
                handshake: &handshake,
                session: &session,
                terms,
                attempt: dial.attempt,
                just_failed,
                suspect: dial.suspect,
            };
            let found = broker.dialer.again(&search, &mut refusing).await;
            (found, refusing)
        })
    }

    fn poll_dial(&mut self, cx: &mut Context<'_>, core: &mut Core, now: Time) -> bool {
        let Some(dialing) = &mut self.redial.dialing else { return false };
        let Poll::Ready((found, refusing)) = dialing.as_mut().poll(cx) else { return false };
        self.redial.dialing = None;
        self.redial.refusing = refusing;
        match found {
            Ok(link) => self.link(core, *link, now),
            Err(DialError::Refused) => core.machine.handle_dial_failed(now, DialFailure::Refused),
            Err(_) => core.machine.handle_dial_failed(now, DialFailure::Unreachable),
        }
        true
    }

    fn link(&mut self, core: &mut Core, link: Link, now: Time) {
        if !core.machine.handle_linked(now, declines_failover(&link.headers)) {
            return;
        }
        self.backend = Some(Side::new(link.stream));
        core.seat = Some(link.seat);
        self.redial.turn = link.turn;
        if !link.early.is_empty() {
            core.machine.handle_backend(now, &link.early, &mut |_| 0);
        }
    }

    // ---- time ----

    /// Sleeps until the machine's next deadline. True: it is already there.
    fn sleep(&mut self, cx: &mut Context<'_>, machine: &Session) -> bool {
        let tight = self.share.waits().then(|| clock::now() + TIGHT);
        let Some(at) = [machine.next_timeout(), tight].into_iter().flatten().min() else { return false };
        let deadline = clock::instant(at);
        match &mut self.timer {
            // A timer that fires too early costs one look; to move it at each message costs more.
            Some(timer) if timer.deadline() > deadline || timer.is_elapsed() => timer.as_mut().reset(deadline),
            Some(_) => {}
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(deadline))),
        }
        self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready())
    }

    fn finish(&mut self, core: &mut Core) {
        let ledger = core.machine.ledger();
        journal::ended(&self.entry, core, self.redial.just_failed);
        core.seat = None;
        self.broker.budget.give_back(&mut self.share, self.entry.id);
        self.broker.registry.remove(self.entry.id, ledger);
        if matches!(core.machine.ended(), Some(end) if end.cause == Cause::ClientStall) {
            // What the client does not take must not stay with the kernel.
            reset(&self.client.stream);
        }
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let entry = Arc::clone(&this.entry);
        let mut core = entry.core();
        if !core.waker.will_wake(cx.waker()) {
            core.waker = cx.waker().clone();
        }
        loop {
            let more = this.work(cx, &mut core);
            if core.machine.ended().is_some() {
                this.finish(&mut core);
                return Poll::Ready(());
            }
            this.broker.budget.count(&mut this.share, core.machine.buffered());
            if more {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !this.sleep(cx, &core.machine) {
                return Poll::Pending;
            }
        }
    }
}

impl Side {
    fn new(stream: TcpStream) -> Side {
        Side { stream, broken: false, shut: false, ended: false }
    }

    fn read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Read {
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Pending => Read::Nothing,
            Poll::Ready(Err(_)) => Read::Failed,
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Read::End,
            Poll::Ready(Ok(())) => Read::Bytes(buffer.filled().len()),
        }
    }

    /// Reads at most `max` bytes to the end of `tail`, within its capacity.
    fn read_to(&mut self, cx: &mut Context<'_>, tail: &mut Vec<u8>, max: usize) -> Read {
        let mut room = tail.limit(max);
        match poll_read_buf(Pin::new(&mut self.stream), cx, &mut room) {
            Poll::Pending => Read::Nothing,
            Poll::Ready(Err(_)) => Read::Failed,
            Poll::Ready(Ok(0)) => Read::End,
            Poll::Ready(Ok(n)) => Read::Bytes(n),
        }
    }

    /// Writes what the socket takes at once and returns how much that was.
    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> usize {
        if self.broken || self.ended {
            return 0;
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.taken(written)
    }

    fn write_all_of(&mut self, cx: &mut Context<'_>, gather: &Gather<'_>) -> usize {
        match gather.pieces() {
            [] => 0,
            _ if self.broken || self.ended => 0,
            [piece] => self.write(cx, piece),
            pieces => {
                let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
                self.taken(written)
            }
        }
    }

    fn taken(&mut self, written: Poll<io::Result<usize>>) -> usize {
        match written {
            Poll::Pending => 0,
            Poll::Ready(Ok(n)) => n,
            Poll::Ready(Err(_)) => {
                // Not gone yet: a Close or last answers may stand in the socket.
                self.broken = true;
                0
            }
        }
    }

    fn shut_write(&mut self, cx: &mut Context<'_>) {
        self.shut = true;
        // A socket that cannot be shut is broken; reading finds that out.
        let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
    }

    /// Drops the connection hard.
    fn reset(self) {
        reset(&self.stream);
    }
}

fn reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "a socket cannot be reset; it is closed");
    }
}

/// A backend whose services cannot be moved says so in its upgrade answer.
pub(crate) fn declines_failover(headers: &HeaderMap) -> bool {
    let value = headers.get("steadfast-failover").map(|value| value.as_bytes());
    value.is_some_and(|value| value.eq_ignore_ascii_case(b"off"))
}
