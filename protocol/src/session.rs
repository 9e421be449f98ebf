//! The session machine: one client WebSocket, and the backends that serve it one after another.
//!
//! ```text
//! backend side
//!                      failure                    backoff over          connected
//!    +----------+  ---------------->  +---------+ -----------> +---------+ ----.
//!    |  Linked  |                     | Waiting |              | Dialing |     |
//!    +----------+ <----------------.  +---------+ <----------- +---------+     |
//!      |      ^                    |              dial failed                  |
//!      |      '--------------------|-------------------------------------------'
//!      | Close said, by either     |
//!      v                           | failure with messages still to deliver
//!    +---------+ ------------------'
//!    | Closing |  answered, or given up   +------+
//!    +---------+ -----------------------> | Over |   also from Waiting and Dialing: nothing left to
//!                                         +------+   deliver, deadline, refused, poison
//!
//!    Linked --> Parting --> Waiting: a planned move; see `departure`
//!
//! client side                          (a client that may come back: Open, and away; see `resume`)
//!    +------+  Close or EOF   +------+   backend has answered, or is over    +------+
//!    | Open | --------------> | Left | ------------------------------------> | Told |
//!    +------+                 +------+                                       +------+
//!       |  \___ a Close for it (backend's decision, breach, end) ______________^  |
//!       |                                                                         | answered and
//!       '--- gone without owing anything --------------> +------+ <---------------' flushed, or
//!                                                        | Over |                   time is up
//!                                                        +------+
//! ```
//!
//! The driver loops until nothing moves: hand in what happened (`handle_*`), call
//! [`Session::advance`], write what [`Session::backend_transmit`] and [`Session::client_transmit`]
//! say, ask [`Session::take_dial`]. Then it sleeps until [`Session::next_timeout`]. A session begins linked: its
//! first backend was dialled with the client's own handshake.
//!
//! The files beside this one hold parts of the same machine: `failover` leaves a backend and takes
//! the next, `departure` leaves one that works, `target` is the next one while it waits, `ending` says
//! goodbye, `patience` knows what may last how long. `service` is the part toward services that link the
//! shim, `resume` and `tokens` that toward clients which may come back.

mod config;
mod departure;
mod ending;
mod failover;
mod ledger;
mod patience;
mod resume;
mod service;
mod target;
#[cfg(test)]
mod tests;
mod tokens;

use std::sync::Arc;

use crate::chain::Gather;
use crate::downlink::{DirectWrite, Downlink};
use crate::frame::Opcode;
use crate::kept::Kept;
use crate::scanner::{Control, Data, Item, Scanner, Sender};
use crate::shim::SessionId;
use crate::shim::client_wire::Reason;
use crate::time::Time;
use crate::uplink::{Entropy, Uplink};
use crate::violation::Violation;

pub use config::{AckMode, Codes, Config};
pub use departure::{Move, Outcome, Stay};
pub use ending::{Cause, End};
pub use failover::{Dial, DialFailure, Failure, Note};
pub use ledger::{Counts, Ledger};
pub use service::Breach;

use departure::Departure;
use failover::Episode;
use ledger::{Exceptions, Unanswered};
use patience::Clocks;
use resume::Returning;
use service::Service;

/// From so many payload bytes to come on, they are read straight to where they are kept.
const DIRECT_MIN: u64 = 16 * 1024;

/// The backend is not read while more than this waits for the client.
const CLIENT_BACKLOG: usize = 256 * 1024;

/// What an envelope may take besides a message and a capsule.
const ENVELOPE: u32 = 1024;

/// The shortest masked frame; reading no more than this past a frame cannot begin a next message.
const FRAME_MIN: usize = 6;

/// The client's side.
#[derive(Debug)]
enum Client {
    /// It may say anything.
    Open,
    /// It has said Close (with this payload) or hung up; the backend's answer is to come.
    Left { close: Option<Box<[u8]>> },
    /// A Close is on its way to it. `answered`: it has said its own. `deaf`: its bytes make no
    /// sense any more. `until`: when it must have answered, once the Close is written.
    Told { until: Option<Time>, answered: bool, deaf: bool },
    /// Nothing more is read or written.
    Over,
}

/// The backend's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backend {
    /// A backend is connected.
    Linked,
    /// It was told Close, so that the session can move; its last words are relayed.
    Parting { until: Time },
    /// The next dial is due at this time; `None` until `advance` has chosen one.
    Waiting { at: Option<Time> },
    /// The driver dials.
    Dialing,
    /// A Close was said; the other is to come.
    Closing { until: Time },
    /// No backend is wanted any more.
    Over,
}

/// How a session begins.
#[derive(Debug, Clone, Default)]
pub struct Opening {
    /// Its name.
    pub session: SessionId,
    /// That of the first backend, as `Steadfast-Attempt` has told it.
    pub epoch: u64,
    /// permessage-deflate is agreed. Not with a client that may come back, nor with a service that links
    /// the shim.
    pub deflate: bool,
    /// The backend asked not to be replaced.
    pub no_failover: bool,
    /// What the client can do.
    pub client: ClientKind,
}

/// What a client can do.
#[derive(Debug, Clone, Default)]
pub enum ClientKind {
    /// The session ends with its connection.
    #[default]
    Plain,
    /// It may come back, and speaks as any other.
    Returning,
    /// It links the shim.
    Shim {
        /// The secret of its first token, from the driver's entropy.
        secret: [u8; 32],
        /// Why the session is a new one.
        reason: Reason,
    },
}

/// What sessions have with an end that links the shim, or with a client that may come back.
#[derive(Debug, Default)]
struct Shim {
    service: Option<Service>,
    returning: Option<Returning>,
}

/// What the backend is told once the client's messages are delivered, and when that, and what is
/// undelivered with it, is given up.
#[derive(Debug)]
struct Goodbye {
    farewell: Farewell,
    give_up: Time,
}

/// The last that a backend is told.
#[derive(Debug)]
enum Farewell {
    Close(Box<[u8]>),
    HangUp,
}

/// Where a session stands, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Both sides are connected.
    Relaying,
    /// The client's connection is lost, and it may come back; the backend is connected.
    Detached,
    /// Both sides are connected, and the session is to leave its backend.
    Departing,
    /// The same, and the client's messages are held until nothing is under way.
    Holding,
    /// The backend was told Close, since the session leaves it.
    Parting,
    /// The backend has failed; the next dial is to come.
    Waiting,
    /// A backend is being dialled.
    Dialing,
    /// A new backend is getting the unacknowledged messages.
    Replaying,
    /// It has them, and must last `stable` yet.
    Settling,
    /// A Close was said by one side.
    Closing,
}

impl State {
    /// The word for logs and the API.
    pub fn name(self) -> &'static str {
        match self {
            State::Relaying => "relaying",
            State::Detached => "detached",
            State::Departing => "departing",
            State::Holding => "holding",
            State::Parting => "parting",
            State::Waiting => "waiting",
            State::Dialing => "dialing",
            State::Replaying => "replaying",
            State::Settling => "settling",
            State::Closing => "closing",
        }
    }
}

/// One session. See the [module](self) for its states.
#[derive(Debug)]
pub struct Session {
    config: Arc<Config>,
    client: Client,
    backend: Backend,
    client_scan: Scanner,
    backend_scan: Scanner,
    up: Uplink,
    down: Downlink,
    clocks: Clocks,
    unanswered: Unanswered,
    /// The present backend answers pings, as far as is known.
    pongs: bool,
    /// It has answered one.
    ponged: bool,
    /// It broke the protocol, or said Close: its bytes are no longer read.
    backend_deaf: bool,
    /// The session ends with its backend, whatever the pool says.
    no_failover: bool,
    deflate: bool,
    memory_short: bool,
    /// The last backend's connection ends with a reset: it failed, or a message to it was cut.
    reset: bool,
    goodbye: Option<Box<Goodbye>>,
    shim: Option<Box<Shim>>,
    /// The driver was told to come back at this time; nothing expires before it.
    due: Time,
    departure: Option<Box<Departure>>,
    episode: Option<Box<Episode>>,
    exceptions: Option<Box<Exceptions>>,
    #[expect(clippy::box_collection, reason = "an absent one must take no more room than a pointer")]
    notes: Option<Box<Vec<Note>>>,
}

impl Session {
    /// A session whose first backend is connected.
    pub fn new(config: Arc<Config>, now: Time, opening: Opening) -> Session {
        let Opening { session, epoch, deflate, no_failover, client } = opening;
        let limit = config.message_limit;
        let returns = !matches!(client, ClientKind::Plain);
        let (up, down) = match returns {
            true => (Uplink::of_whole_messages(), Downlink::keeping()),
            false => (Uplink::default(), Downlink::default()),
        };
        let service = (config.ack == AckMode::Shim).then(|| Service::new(session, epoch));
        let returning = match client {
            ClientKind::Plain => None,
            ClientKind::Returning => Some(Returning::plain()),
            ClientKind::Shim { .. } => Some(Returning::shim(session)),
        };
        let shim = (service.is_some() || returns).then(|| Box::new(Shim { service, returning }));
        let mut session = Session {
            client: Client::Open,
            backend: Backend::Linked,
            client_scan: Scanner::new(Sender::Client, limit, deflate),
            backend_scan: backend_scanner(&config, deflate),
            up,
            down,
            clocks: Clocks::new(now),
            unanswered: Unanswered::new(now, 0, 0),
            pongs: config.ack != AckMode::None,
            ponged: false,
            backend_deaf: false,
            no_failover,
            deflate,
            memory_short: false,
            reset: false,
            goodbye: None,
            shim,
            due: now,
            departure: None,
            episode: None,
            exceptions: None,
            notes: None,
            config,
        };
        session.attach_service(epoch);
        if let ClientKind::Shim { secret, reason } = client {
            session.greet(secret, reason);
        }
        session
    }

    // ---- inputs: the client ----

    /// Takes bytes that were read from the client.
    pub fn handle_client(&mut self, now: Time, mut input: &[u8]) {
        self.clocks.client_heard(now);
        let (mut ended, messages) = (false, self.up.ring.whole_seq());
        while self.client_listens() {
            match self.client_scan.next(&mut input) {
                Ok(Some(Item::Control(control))) => self.client_control(now, &control),
                Ok(Some(item)) => {
                    let Some(data) = item.data() else { continue };
                    ended |= data.messages > 0;
                    self.client_data(now, &data);
                }
                Ok(None) => break,
                Err(violation) => self.client_violated(now, violation),
            }
        }
        self.asked(now, self.up.ring.whole_seq() > messages);
        self.clocks.client_message(now, ended, self.client_scan.message_open());
    }

    /// The client's socket is at its end, or broken.
    pub fn handle_client_gone(&mut self, now: Time) {
        if self.detach(now) {
            return;
        }
        match self.client {
            Client::Open => self.client_left(now, None, Cause::ClientGone),
            Client::Left { .. } | Client::Told { .. } => self.client_over(),
            Client::Over => {}
        }
    }

    fn client_data(&mut self, now: Time, data: &Data<'_>) {
        let linked = self.shim.is_some() && self.client_link_data(now, data);
        if !linked && matches!(self.client, Client::Open) {
            self.up.ring.append(data);
        }
    }

    fn client_listens(&self) -> bool {
        matches!(self.client, Client::Open | Client::Told { deaf: false, answered: false, .. })
    }

    fn client_control(&mut self, now: Time, control: &Control) {
        match (control.opcode, &self.client) {
            (Opcode::Close, Client::Open) => {
                self.client_left(now, Some(control.payload().into()), Cause::ClientClose);
            }
            (Opcode::Close, _) => self.client_answered(control.payload()),
            (Opcode::Ping, Client::Open) => self.down.control(Opcode::Pong, control.payload()),
            // A pong is a sign of life, as any byte is; only of a client that may come back does
            // something hang on it.
            (Opcode::Pong, _) if self.shim.is_some() => self.receipt(control.payload()),
            _ => {}
        }
    }

    // ---- inputs: the backend ----

    /// Takes bytes that were read from the backend. Whole messages go to `direct` when nothing
    /// waits in front of them.
    pub fn handle_backend(&mut self, now: Time, mut input: &[u8], direct: &mut DirectWrite<'_>) {
        self.clocks.backend_heard(now);
        let (mut ended, heard) = (false, self.client_hears());
        while self.backend_listens() {
            match self.backend_scan.next(&mut input) {
                Ok(Some(Item::Control(control))) => self.backend_control(now, &control),
                Ok(Some(item)) => {
                    let Some(data) = item.data() else { continue };
                    ended |= data.messages > 0;
                    self.backend_data(now, &data, heard, direct);
                }
                Ok(None) => break,
                Err(violation) => self.backend_violated(now, violation),
            }
        }
        if ended {
            self.clocks.answer(now, self.config.quiet_max);
        }
        self.clocks.backend_message(now, ended, self.backend_scan.message_open());
    }

    fn backend_data(&mut self, now: Time, data: &Data<'_>, heard: bool, direct: &mut DirectWrite<'_>) {
        if self.shim.is_none() {
            if heard {
                self.down.append(data, direct);
            }
        } else if self.service().is_some() {
            self.service_data(now, data, direct);
        } else if let Some(kinded) = self.with_kind(data) {
            if heard {
                self.down.append(&kinded.data(), direct);
            }
        } else if heard {
            self.down.append(data, direct);
        }
    }

    /// The backend's socket is at its end or broken, and everything in it has been handed in; or
    /// the driver gives the backend up.
    pub fn handle_backend_lost(&mut self, now: Time, failure: Failure) {
        if self.linked() {
            self.leave_backend(now, failure);
        }
    }

    /// A backend is connected.
    fn linked(&self) -> bool {
        matches!(self.backend, Backend::Linked | Backend::Parting { .. } | Backend::Closing { .. })
    }

    fn backend_listens(&self) -> bool {
        self.linked() && !self.backend_deaf
    }

    /// Data for the client still has a reader.
    fn client_hears(&self) -> bool {
        matches!(self.client, Client::Open | Client::Left { close: Some(_) })
    }

    fn backend_control(&mut self, now: Time, control: &Control) {
        match control.opcode {
            Opcode::Ping if !self.up.closing() && !self.stays_cut() => {
                self.up.pong(control.payload(), self.client_scan.remaining())
            }
            Opcode::Pong => self.acknowledged(now, control.payload()),
            Opcode::Close => self.backend_closed(now, control.payload()),
            _ => {}
        }
    }

    fn acknowledged(&mut self, now: Time, payload: &[u8]) {
        self.unanswered.acknowledged(now, self.up.ring.base_seq(), self.config.ack_timeout);
        let hold = self.service().is_none().then_some(self.config.ack_hold);
        if self.up.acknowledge(now, payload, hold) {
            self.ponged = true;
            // A service that is left must have heard of it.
            if !self.leaves_soon() || self.service().is_none_or(Service::tells_draining) {
                self.proven();
            }
            self.suspects_acknowledged();
        }
    }

    // ---- time ----

    /// Does what time and the last inputs have made due. Call it after them, before writing.
    pub fn advance(&mut self, now: Time, entropy: &mut Entropy<'_>) {
        self.clocks.resumed(now);
        self.up.end_holds(now);
        self.expire(now);
        self.say_farewell(now);
        self.depart(now);
        self.settle(now);
        self.prepare_target(entropy);
        self.plan_dial(now, entropy);
        if self.linked() {
            let keepalive = self.keepalive_due(now) || self.wants_proof() || self.owes_notice();
            let acks = self.pongs && self.backend == Backend::Linked;
            let (rest, tidings) = (self.client_scan.remaining(), self.tidings());
            if self.up.prepare(now, (acks, keepalive), rest, tidings, entropy) {
                self.tidings_told(tidings);
            }
        }
        if self.shim.is_some() {
            self.tell_client_progress(now);
            self.end_standstill(now);
        }
        let (awaits, paused) = (self.linked() && self.up.awaits(), self.client_is_behind());
        self.clocks.awaiting(now, awaits, paused);
        let waits = self.down.waiting() > 0 || (paused && !self.away());
        self.clocks.client_progress(now, waits, self.down.progress());
    }

    // ---- outputs ----

    /// What to write to the backend now. Report what was taken with [`Session::backend_written`].
    pub fn backend_transmit(&self) -> Gather<'_> {
        match self.backend {
            Backend::Linked | Backend::Parting { .. } => self.up.transmit(),
            // After a backend's Close it gets nothing but ours.
            Backend::Closing { .. } if self.up.closing() => self.up.transmit(),
            _ => Gather::new(),
        }
    }

    /// The backend's socket took `n` bytes.
    pub fn backend_written(&mut self, n: usize) {
        self.up.written(n);
        if !self.pongs {
            self.up.ring.release_written();
        } else if self.shim.is_some() {
            self.release_committed();
        }
        if !self.up.awaits() {
            self.clocks.nothing_awaited();
        }
    }

    /// Something waits to be written to the client.
    pub fn client_waits(&self) -> bool {
        self.down.waiting() > 0
    }

    /// What to write to the client now. Report what was taken with [`Session::client_written`].
    pub fn client_transmit(&self) -> Gather<'_> {
        if matches!(self.client, Client::Over) { Gather::new() } else { self.down.transmit() }
    }

    /// The client's socket took `n` bytes.
    pub fn client_written(&mut self, n: usize) {
        self.down.written(n);
        if !self.client_is_behind() {
            self.clocks.client_caught_up(self.down.waiting() == 0);
        }
    }

    /// How many bytes may be read from the client now; zero: none, push back. Pushing back happens
    /// between messages, so that a message that fills the ring can end. `tight`: memory is short,
    /// and not even an open message may grow.
    pub fn client_read_limit(&self, tight: bool) -> usize {
        match self.client {
            _ if self.away() => 0,
            Client::Open if tight => self.read_for_acknowledgements(),
            Client::Open if self.up.ring.len() >= self.config.ring_limit => {
                match (self.client_scan.message_open(), self.client_scan.remaining()) {
                    (false, _) => 0,
                    (true, 0) => FRAME_MIN,
                    (true, rest) => usize::try_from(rest).unwrap_or(usize::MAX),
                }
            }
            Client::Open | Client::Told { .. } => usize::MAX,
            Client::Left { .. } | Client::Over => 0,
        }
    }

    /// The client is not read until a backend has acknowledged more.
    pub fn ring_is_full(&self) -> bool {
        matches!(self.client, Client::Open) && self.up.ring.len() >= self.config.ring_limit
    }

    /// Tells whether memory is short, so that the client is not read: it is not judged then.
    pub fn set_tight(&mut self, now: Time, tight: bool) {
        self.clocks.client_read(now, !tight);
    }

    /// Tells whether memory is short, so that no more is kept for a client that may come back than for
    /// any other that is slow.
    pub fn set_memory_short(&mut self, short: bool) {
        self.memory_short = short;
    }

    /// A message of the client has begun and not ended.
    pub fn client_message_open(&self) -> bool {
        self.client_scan.message_open()
    }

    /// A message of the backend has begun and not ended.
    pub fn backend_message_open(&self) -> bool {
        self.backend_scan.message_open()
    }

    /// Whether to read the backend. Not while much waits for a slow client.
    pub fn wants_backend(&self) -> bool {
        self.linked() && !self.client_is_behind()
    }

    /// So much waits for the client that the backend is not read.
    fn client_is_behind(&self) -> bool {
        let most = if self.memory_short { CLIENT_BACKLOG } else { self.config.ring_limit };
        // A message alone that is as much must come to its end before it can be acknowledged.
        let full = |kept: &Kept| kept.buffered() >= most && !kept.all_acknowledged();
        self.down.waiting() >= CLIENT_BACKLOG || self.down.kept().is_some_and(full)
    }

    /// Where to read the client's next bytes to, and how many at the most, when much of a frame's
    /// payload is to come. Report them with [`Session::client_read`].
    pub fn client_direct(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let rest = self.client_scan.remaining();
        let plain = rest >= DIRECT_MIN && self.client_payload_is_plain();
        let wanted = plain && matches!(self.client, Client::Open);
        wanted.then(|| direct_room(self.up.ring.tail(rest as usize), rest))
    }

    /// `n` bytes were read to where [`Session::client_direct`] said.
    pub fn client_read(&mut self, now: Time, n: usize) {
        self.clocks.client_heard(now);
        let ended = self.client_scan.skip(n as u64);
        self.client_link_read(n);
        self.up.ring.grown(n, ended);
        self.asked(now, ended);
        self.clocks.client_message(now, ended, !ended);
    }

    /// As [`Session::client_direct`], for the backend.
    pub fn backend_direct(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let rest = self.backend_scan.remaining();
        let (listens, hears) = (self.backend_listens(), self.client_hears());
        if rest < DIRECT_MIN || !listens {
            return None;
        }
        match self.shim.as_mut().and_then(|shim| shim.service.as_mut()) {
            Some(service) => Some(direct_room(service.tail(), rest)),
            None => hears.then(|| direct_room(self.down.tail(rest as usize), rest)),
        }
    }

    /// `n` bytes were read to where [`Session::backend_direct`] said.
    pub fn backend_read(&mut self, now: Time, n: usize) {
        self.clocks.backend_heard(now);
        let ended = self.backend_scan.skip(n as u64);
        if self.service().is_some() {
            self.service_read(now, n);
        } else {
            self.kind_skip(n);
            self.down.grown(n, ended);
        }
        if ended {
            self.clocks.answer(now, self.config.quiet_max);
        }
        self.clocks.backend_message(now, ended, !ended);
    }

    /// Whether the driver should hold a connection to a backend. When it has one and this is
    /// false, it drops that one hard.
    pub fn wants_link(&self) -> bool {
        self.linked()
    }

    /// How a connection that is not wanted any more ends. True: reset, since the backend has
    /// failed, or a message to it was cut in the middle.
    pub fn resets_backend(&self) -> bool {
        self.reset
    }

    /// What the backend has got last is a part of a message.
    fn backend_is_cut(&self) -> bool {
        self.up.ring.sent() > self.up.ring.whole()
    }

    /// And its end will not come, since nothing of the client's is passed on any more.
    fn stays_cut(&self) -> bool {
        !matches!(self.client, Client::Open) && self.backend_is_cut()
    }

    /// All that the client gets is written, and nothing more will be: its socket's write side may
    /// be shut.
    pub fn client_finished(&self) -> bool {
        matches!(self.client, Client::Told { .. } | Client::Over) && self.down.waiting() == 0
    }

    /// Why the session ended, once nothing is left to do. Both sockets can be closed then.
    pub fn ended(&self) -> Option<&End> {
        let over = matches!((&self.client, self.backend), (Client::Over, Backend::Over));
        self.exceptions.as_ref().and_then(|e| e.end.as_ref()).filter(|_| over)
    }

    /// The session ends because its backend has failed.
    pub fn failed_with_backend(&self) -> bool {
        let end = self.exceptions.as_ref().and_then(|e| e.end.as_ref());
        end.is_some_and(|end| end.cause == Cause::BackendFailed)
    }

    /// What happened since the last call, for the log and the metrics.
    pub fn take_notes(&mut self) -> Vec<Note> {
        self.notes.take().map_or_else(Vec::new, |notes| *notes)
    }

    /// Where the session stands.
    pub fn state(&self) -> State {
        match (self.backend, &self.client) {
            (Backend::Waiting { .. }, _) => State::Waiting,
            (Backend::Dialing, _) => State::Dialing,
            (Backend::Parting { .. }, Client::Open) => State::Parting,
            (Backend::Parting { .. }, _) => State::Closing,
            (Backend::Closing { .. } | Backend::Over, _) => State::Closing,
            (Backend::Linked, Client::Open) if self.away() && self.departure.is_none() => State::Detached,
            (Backend::Linked, Client::Open) => self.departing_state().unwrap_or_else(|| self.linked_state()),
            (Backend::Linked, _) => State::Closing,
        }
    }

    /// Both sides are connected, nothing but relaying goes on, and everything is written: time alone
    /// or a socket can bring anything new.
    pub fn at_ease(&self) -> bool {
        let plain = matches!((&self.client, self.backend), (Client::Open, Backend::Linked));
        let written = self.down.waiting() == 0 && self.up.all_written();
        plain && written && self.episode.is_none() && self.notes.is_none() && !self.owes_client()
    }

    /// Bytes that the session keeps for its two directions.
    pub fn buffered(&self) -> usize {
        let held = self.target().map_or(0, |target| target.held.buffered());
        let service = self.service().map_or(0, Service::buffered);
        self.up.ring.len() + self.down.buffered() + held + service
    }

    /// Bytes of up messages that are not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.up.ring.len()
    }

    /// How often the session has left a backend that failed, or as if it had.
    pub fn failovers(&self) -> u32 {
        self.exceptions.as_ref().map_or(0, |e| e.failovers)
    }

    /// How often it has left one by plan.
    pub fn moves(&self) -> u32 {
        self.exceptions.as_ref().map_or(0, |e| e.moves)
    }

    /// The slowest answer of late: from something that the client said to what the backend said next,
    /// in milliseconds or so. Zero: none has come yet.
    pub fn slowest_answer(&self) -> std::time::Duration {
        self.clocks.slowest_answer()
    }

    /// What became of the messages so far.
    pub fn ledger(&self) -> Ledger {
        let none = Exceptions::default();
        let e = self.exceptions.as_deref().unwrap_or(&none);
        let down = self.down.messages();
        Ledger {
            up: Counts {
                forwarded: self.up.ring.whole_seq(),
                acknowledged: self.done_seq(),
                replayed: e.replayed,
                suppressed: 0,
                lost: e.lost_up,
                in_doubt: e.in_doubt,
            },
            down: Counts {
                forwarded: down,
                acknowledged: down.saturating_sub(e.lost_down + self.down.unwritten()),
                suppressed: e.suppressed,
                lost: e.lost_down,
                ..Counts::default()
            },
        }
    }

    /// Seq of the last message that a service has committed, or another backend acknowledged.
    fn done_seq(&self) -> u64 {
        let (acked, lost) = self.exceptions.as_ref().map_or((0, 0), |e| (e.acked_seq, e.lost_up));
        match self.service() {
            Some(service) => service.committed(),
            // What is lost has left the ring as if it were acknowledged.
            None => self.up.acked_seq().max(acked).saturating_sub(lost),
        }
    }

    /// The client has said something whole to the backend (`whole`), which gets it at once.
    fn asked(&mut self, now: Time, whole: bool) {
        if whole && self.held_since().is_none() {
            self.clocks.question(now);
        }
    }

    fn service(&self) -> Option<&Service> {
        self.shim.as_ref().and_then(|shim| shim.service.as_ref())
    }

    fn service_mut(&mut self) -> Option<&mut Service> {
        self.shim.as_mut().and_then(|shim| shim.service.as_mut())
    }

    fn returning(&self) -> Option<&Returning> {
        self.shim.as_ref().and_then(|shim| shim.returning.as_ref())
    }

    fn returning_mut(&mut self) -> Option<&mut Returning> {
        self.shim.as_mut().and_then(|shim| shim.returning.as_mut())
    }

    /// The client does not come back any more.
    fn returning_over(&mut self) {
        if let Some(shim) = &mut self.shim {
            shim.returning = None;
        }
    }

    fn farewell(&self) -> Option<&Farewell> {
        self.goodbye.as_ref().map(|goodbye| &goodbye.farewell)
    }

    fn exceptions(&mut self) -> &mut Exceptions {
        self.exceptions.get_or_insert_default()
    }

    fn note(&mut self, note: Note) {
        self.notes.get_or_insert_default().push(note);
    }

    fn client_violated(&mut self, now: Time, violation: Violation) {
        self.note(Note::ClientViolation(violation));
        if let Client::Told { deaf, .. } = &mut self.client {
            *deaf = true;
            return;
        }
        let code = violation.close_code();
        self.dismiss(now, code, violation.close_reason(), Cause::ProtocolClient, true);
    }

    fn backend_violated(&mut self, now: Time, violation: Violation) {
        self.note(Note::BackendViolation(violation));
        self.backend_deaf = true;
        if violation == Violation::MessageTooBig {
            let reason = violation.close_reason();
            // It cannot acknowledge anything any more, since it is no longer heard.
            self.drop_undelivered();
            self.dismiss(now, violation.close_code(), reason, Cause::ProtocolBackendTooBig, false);
        } else {
            self.leave_backend(now, Failure::Protocol);
        }
    }
}

/// What a service says comes in envelopes, which hold more than one message.
fn backend_scanner(config: &Config, deflate: bool) -> Scanner {
    let limit = match config.ack {
        AckMode::Shim => {
            // Both are far below 2^32.
            let besides = u32::try_from(config.capsule_limit).unwrap_or(u32::MAX).saturating_add(ENVELOPE);
            config.message_limit.saturating_add(besides)
        }
        AckMode::None | AckMode::Pong => config.message_limit,
    };
    Scanner::new(Sender::Backend, limit, deflate)
}

/// The room of `tail`, bounded by what is to come.
fn direct_room(tail: &mut Vec<u8>, rest: u64) -> (&mut Vec<u8>, usize) {
    let room = tail.capacity() - tail.len();
    let rest = usize::try_from(rest).unwrap_or(usize::MAX);
    (tail, room.min(rest))
}
