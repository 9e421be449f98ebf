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
//!    Linked --> Draining --> Waiting: a planned move; see `migration`
//!    Linked --> Over, and the client is closed later: one that must begin anew; see `orphan`
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
//! The driver loops until nothing moves, in this order: hand in what happened (`handle_*`), call
//! [`Session::advance`], write what [`Session::poll_transmit`] says and report it with [`Session::handle_written`],
//! let go of connections that are not wanted any more, do what [`Session::poll_command`] asks, and tell what
//! [`Session::poll_event`] has. Then it sleeps until [`Session::poll_timeout`]. A session begins linked: its first
//! backend was dialled with the client's own handshake.
//!
//! The files beside this one hold parts of the same machine: `opening` begins it, `state` outlives it, `reading` and
//! `status` are more of its inputs and outputs, `report` what the driver is asked and told,
//! `backend_link` and `client_link` what belongs to one connection, `underway` what goes on besides relaying.
//! `memory` says what it holds of what all have. `failover` leaves a backend and takes the next, `migration` leaves one that works, `ending` says goodbye,
//! `deadlines` knows what may last how long, and the short way that almost every call takes, `silence` judges a backend that says nothing, `client_link` also whether a
//! client is there. `conversation` is the part that knows what messages mean, where somebody does, `service` that toward
//! services that link the shim, `resume` that toward clients which may come back, `orphan` that toward clients which must
//! begin anew.

mod backend_link;
mod client_link;
mod config;
mod conversation;
mod deadlines;
mod ending;
mod failover;
#[cfg(debug_assertions)]
mod invariants;
mod memory;
mod migration;
mod opening;
mod orphan;
mod reading;
mod report;
mod resume;
mod service;
mod silence;
mod state;
mod status;
#[cfg(test)]
mod tests;
mod underway;

use std::num::NonZeroU8;
use std::sync::Arc;

use crate::buffer::chain::Gather;
use crate::entropy::Entropy;
use crate::relay::downstream::DirectWrite;
use crate::relay::upstream::Wanted;
use crate::time::Time;
use crate::websocket::frame::Opcode;
use crate::websocket::scanner::{Control, Data, Item};
use crate::websocket::violation::Violation;

pub use config::{AckMode, Codes, Config};
pub use opening::{ClientKind, Opening};
pub use report::{
    Command, Dial, DialFailure, EndCause, Event, Failure, HeldFor, Holding, Move, MoveOutcome, ServiceBreach,
    SessionEnd, Status, Stay,
};
pub use silence::{Evidence, Judgement};
pub use state::SessionState;
pub use status::ledger::{Counts, Ledger};

use backend_link::BackendLink;
use client_link::ClientLink;
use deadlines::NextDeadline;
use resume::ResumableSession;
use service::Commits;
use status::ledger::Exceptions;
use underway::Underway;

/// One of a session's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionSide {
    /// The client's.
    Client,
    /// The present backend's.
    Backend,
    /// The next backend's, while it waits for its turn.
    NextBackend,
}

/// The client's side.
#[derive(Debug)]
enum ClientPhase {
    /// It may say anything.
    Open,
    /// It has said Close (and hears the answer, which is to come), or hung up.
    Left { hears: bool },
    /// A Close is on its way to it. `answered`: it has said its own. `deaf`: its bytes make no
    /// sense any more. `until`: when it must have answered, once the Close is written.
    Told { until: Option<Time>, answered: bool, deaf: bool },
    /// Nothing more is read or written.
    Over,
}

/// The backend's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BackendPhase {
    /// A backend is connected.
    Linked,
    /// It was told Close, so that the session can move; its last words are relayed.
    Draining { until: Time },
    /// The next dial is due at this time; `None` until `advance` has chosen one.
    Waiting { at: Option<Time> },
    /// The driver dials.
    Dialing,
    /// A Close was said; the other is to come.
    Closing { until: Time },
    /// No backend is wanted any more.
    Over,
}

/// What the backend is told once the client's messages are delivered, and when that, and what is
/// undelivered with it, is given up.
#[derive(Debug)]
struct Closing {
    words: ClosingWords,
    give_up: Time,
    /// How far the backend had acknowledged when its answer to the farewell was waited for last.
    reached: u64,
}

/// The last that a backend is told.
#[derive(Debug)]
enum ClosingWords {
    Close(Box<[u8]>),
    HangUp,
}

/// One session. See the [module](self) for its states.
#[derive(Debug)]
pub struct Session {
    config: Arc<Config>,
    /// What outlives the connections.
    state: SessionState,
    client_link: ClientLink,
    backend_link: BackendLink,
    backend: BackendPhase,
    /// KiB of each direction that it may have while memory is short.
    memory_short: Option<NonZeroU8>,
    /// The driver was told to come back at this time; nothing expires before it.
    due: Time,
    next_deadline: NextDeadline,
    /// [`deadlines::soonest`], in microseconds as far as they go.
    soonest: u32,
    underway: Underway,
    /// The short way is not taken.
    #[cfg(test)]
    at_length: bool,
}

impl Session {
    // ---- inputs: the client ----

    /// Takes bytes that were read from the client, and returns how many: fewer than there are when so many
    /// frames have begun as `frames` says, which counts down. The rest is to come again.
    pub fn handle_client(&mut self, now: Time, bytes: &[u8], frames: &mut u32) -> usize {
        let mut input = bytes;
        self.client_link.timers.handle_bytes(now);
        let (mut ended, messages) = (false, self.state.ring.whole_seq());
        let mut came = false;
        while !input.is_empty() && self.client_listens() {
            match self.client_link.scanner.next(&mut input, frames) {
                Ok(Some(Item::Control(control))) => {
                    came = true;
                    self.client_control(now, &control);
                }
                Ok(Some(item)) => {
                    came = true;
                    let Some(data) = item.data() else { continue };
                    ended |= data.messages > 0;
                    self.client_data(now, &data);
                }
                Ok(None) => break,
                Err(violation) => self.client_violated(now, violation),
            }
        }
        self.asked(now, self.state.ring.whole_seq() > messages);
        let (ended, open) = self.client_link.scanner.unfinished(ended, came);
        self.client_link.timers.message(now, ended, open);
        // Nobody listens to the rest, if there is no more to be heard.
        if self.client_listens() { bytes.len() - input.len() } else { bytes.len() }
    }

    /// The client's socket is at its end, or broken.
    pub fn handle_client_gone(&mut self, now: Time) {
        if self.detach(now) {
            return;
        }
        match self.state.client {
            ClientPhase::Open => self.client_left(now, None, EndCause::ClientGone),
            ClientPhase::Left { .. } | ClientPhase::Told { .. } => self.client_over(),
            ClientPhase::Over => {}
        }
    }

    fn client_data(&mut self, now: Time, data: &Data<'_>) {
        let linked = self.state.shim.is_some() && self.client_link_data(now, data);
        if !linked && matches!(self.state.client, ClientPhase::Open) {
            self.state.ring.append(data);
        }
        if self.converses() && matches!(self.state.client, ClientPhase::Open) {
            self.converse_up(now);
        }
    }

    fn client_listens(&self) -> bool {
        matches!(
            self.state.client,
            ClientPhase::Open | ClientPhase::Told { deaf: false, answered: false, .. }
        )
    }

    fn client_control(&mut self, now: Time, control: &Control<'_>) {
        match (control.opcode, &self.state.client) {
            (Opcode::Close, ClientPhase::Open) => {
                self.client_left(now, Some(control.payload().into()), EndCause::ClientClose);
            }
            (Opcode::Close, _) => self.client_answered(control.payload()),
            (Opcode::Ping, ClientPhase::Open) => {
                self.state.downstream.control(Opcode::Pong, control.payload())
            }
            // A pong is a sign of life, as any byte is; what it answers says how far the client has read.
            (Opcode::Pong, _) => {
                if self.state.shim.is_some() {
                    self.receipt(control.payload());
                }
                self.client_ponged(now, control.payload());
            }
            _ => {}
        }
    }

    // ---- inputs: the backend ----

    /// Takes bytes that were read from the backend, and returns how many: `frames` is as for
    /// [`Session::handle_client`]. Whole messages go to `direct` when nothing waits in front of them.
    pub fn handle_backend(
        &mut self,
        now: Time,
        bytes: &[u8],
        frames: &mut u32,
        direct: &mut DirectWrite<'_>,
    ) -> usize {
        let mut input = bytes;
        let (mut ended, heard) = (false, self.client_hears());
        let mut came = false;
        while !input.is_empty() && self.backend_listens() {
            match self.backend_link.scanner.next(&mut input, frames) {
                Ok(Some(Item::Control(control))) => {
                    came = true;
                    self.backend_control(now, &control);
                }
                Ok(Some(item)) => {
                    came = true;
                    self.backend_link.timers.handle_bytes(now);
                    let Some(data) = item.data() else { continue };
                    ended |= data.messages > 0;
                    self.backend_data(now, &data, heard, direct);
                }
                Ok(None) => break,
                Err(violation) => self.backend_violated(now, violation),
            }
        }
        if ended {
            self.backend_link.timers.answer(now, self.config.quiet_max, &mut self.state.slowest);
        }
        let (ended, open) = self.backend_link.scanner.unfinished(ended, came);
        self.backend_link.timers.message(now, ended, open);
        if self.backend_listens() { bytes.len() - input.len() } else { bytes.len() }
    }

    fn backend_data(&mut self, now: Time, data: &Data<'_>, heard: bool, direct: &mut DirectWrite<'_>) {
        if self.commits().is_some() {
            self.service_data(now, data, direct);
        } else if self.converses() {
            self.converse_down(now, data, direct);
        } else if heard {
            self.hand_down(data, direct);
        } else {
            self.with_kind(data);
        }
    }

    /// Hands a span of a backend's frames to the client, as it is to have them.
    fn hand_down(&mut self, data: &Data<'_>, direct: &mut DirectWrite<'_>) {
        match self.with_kind(data) {
            Some(kinded) => {
                let (bytes, messages) = kinded.into_parts();
                self.state.downstream.append_made(bytes, messages, direct);
            }
            None => self.state.downstream.append(data, direct),
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
        matches!(
            self.backend,
            BackendPhase::Linked | BackendPhase::Draining { .. } | BackendPhase::Closing { .. }
        )
    }

    fn backend_listens(&self) -> bool {
        self.linked() && !self.backend_link.deaf
    }

    /// Data for the client still has a reader.
    fn client_hears(&self) -> bool {
        matches!(self.state.client, ClientPhase::Open | ClientPhase::Left { hears: true })
    }

    fn backend_control(&mut self, now: Time, control: &Control<'_>) {
        match control.opcode {
            Opcode::Ping if !self.backend_link.writer.closing() && !self.stays_cut() => self
                .backend_link
                .writer
                .pong(&self.state.ring, control.payload(), self.client_link.scanner.remaining()),
            Opcode::Pong => self.acknowledged(now, control.payload()),
            Opcode::Close => self.backend_closed(now, control.payload()),
            _ => {}
        }
    }

    fn acknowledged(&mut self, now: Time, payload: &[u8]) {
        let (acked, heard) = (self.state.ring.base_seq(), self.state.downstream.messages());
        self.backend_link.unanswered.acknowledged(now, acked, heard, self.config.ack_timeout);
        let hold = (self.commits().is_none() && !self.converses()).then_some(self.config.ack_hold);
        if let Some(took) = self.backend_link.writer.acknowledge(&mut self.state.ring, now, payload, hold) {
            self.backend_link.timers.handle_bytes(now);
            self.pong_took(took);
            if self.converses() {
                self.release_conversed(now);
            }
            self.note_progress(now);
            // A service that is left must have heard of it.
            if !self.leaves_soon() || self.backend_link.tells_draining().unwrap_or(true) {
                self.proven();
            }
            self.suspects_acknowledged();
        }
    }

    // ---- time ----

    /// Does what time and the last inputs have made due. Call it after them, before writing.
    #[inline]
    pub fn advance(&mut self, now: Time, entropy: &mut Entropy<'_>) {
        if !self.advance_shortly(now, entropy) {
            self.advance_at_length(now, entropy);
        }
        #[cfg(debug_assertions)]
        self.check_invariants();
    }

    fn advance_at_length(&mut self, now: Time, entropy: &mut Entropy<'_>) {
        self.backend_link.timers.resumed(now);
        self.wait_for_the_slow_client(now);
        self.backend_link.writer.end_holds(&mut self.state.ring, now);
        self.expire(now);
        self.say_closing_words(now);
        self.migrate(now);
        self.settle(now);
        self.prepare_successor(entropy);
        self.plan_dial(now, entropy);
        self.draw_turn(entropy);
        if self.linked() {
            let keepalive = self.keepalive_due(now)
                || self.wants_proof()
                || self.owes_notice()
                || self.wants_first_pong();
            let acks = self.backend_link.pongs && self.backend == BackendPhase::Linked;
            let wanted = Wanted {
                acks,
                bounded: acks && self.expects_pongs(now),
                keepalive,
                frame_rest: self.client_link.scanner.remaining(),
                notice: self.notice(),
                window_max: self.config.ring_limit as u64,
                patience: self.config.ack_timeout,
            };
            if self.backend_link.writer.prepare(&self.state.ring, now, &wanted, entropy) {
                self.notice_told(wanted.notice);
            }
            if self.config.ack == AckMode::None {
                self.note_mark(now);
            }
            if self.underway.episode().is_some() {
                self.note_progress(now);
            }
        }
        self.mark_client(now);
        if self.state.shim.is_some() {
            self.tell_client_progress(now);
        }
        let (awaits, paused) =
            (self.linked() && self.backend_link.writer.awaits(&self.state.ring), self.client_is_behind());
        self.backend_link.timers.awaiting(now, awaits, paused);
        self.note_waiting(now, paused);
    }

    /// Notes since when something waits for the client; `paused`: so much that the backend is not read.
    fn note_waiting(&mut self, now: Time, paused: bool) {
        let waits = self.state.downstream.waiting() > 0 || (paused && !self.away());
        let progress = self.state.downstream.progress().wrapping_add(self.client_pongs());
        self.client_link.timers.progress(now, waits, progress);
    }

    // ---- outputs ----

    /// Returns what to write to one side now. Report what was taken with [`Session::handle_written`].
    #[inline]
    pub fn poll_transmit(&self, to: SessionSide) -> Gather<'_> {
        match to {
            SessionSide::Client => self.client_transmit(),
            SessionSide::Backend => self.backend_transmit(),
            SessionSide::NextBackend => self.successor_transmit(),
        }
    }

    /// Copies what is to be written to the backend now to the front of `buffer`, and returns how much that is; 0: see
    /// [`Session::poll_transmit`]. To join a message and the ping behind it so costs less than a write of both pieces.
    #[inline]
    pub fn copy_transmit(&self, buffer: &mut [u8]) -> usize {
        match self.backend {
            BackendPhase::Linked => self.backend_link.writer.copy_to(&self.state.ring, buffer),
            _ => 0,
        }
    }

    /// The socket of one side took `n` bytes.
    #[inline]
    pub fn handle_written(&mut self, to: SessionSide, n: usize) {
        match to {
            SessionSide::Client => self.client_written(n),
            SessionSide::Backend => self.backend_written(n),
            SessionSide::NextBackend => self.successor_written(n),
        }
    }

    /// Something may wait to be written to the backend, or what was written before is to be looked at.
    #[inline]
    pub fn backend_waits(&self) -> bool {
        !self.only_relays() || !self.backend_link.writer.has_nothing(&self.state.ring)
    }

    fn backend_transmit(&self) -> Gather<'_> {
        match self.backend {
            BackendPhase::Linked | BackendPhase::Draining { .. } => {
                self.backend_link.writer.transmit(&self.state.ring)
            }
            // After a backend's Close it gets nothing but ours.
            BackendPhase::Closing { .. } if self.backend_link.writer.closing() => {
                self.backend_link.writer.transmit(&self.state.ring)
            }
            _ => Gather::new(),
        }
    }

    fn backend_written(&mut self, n: usize) {
        self.backend_link.writer.written(&mut self.state.ring, n);
        if !self.backend_link.pongs {
            self.state.ring.release_written();
        } else if self.state.shim.is_some() {
            self.release_committed();
        }
        if !self.backend_link.writer.awaits(&self.state.ring) {
            self.backend_link.timers.nothing_awaited();
        }
    }

    /// Something waits to be written to the client.
    pub fn client_waits(&self) -> bool {
        self.state.downstream.waiting() > 0
    }

    fn client_transmit(&self) -> Gather<'_> {
        if matches!(self.state.client, ClientPhase::Over) {
            Gather::new()
        } else {
            self.state.downstream.transmit()
        }
    }

    fn client_written(&mut self, n: usize) {
        self.state.downstream.written(n);
        if !self.client_is_behind() {
            self.backend_link.timers.read_again();
            if self.state.downstream.waiting() == 0 {
                self.client_link.timers.served();
            }
        }
    }

    /// Whether the driver should hold a connection to a backend. When it has one and this is
    /// false, it drops that one hard.
    pub fn wants_link(&self) -> bool {
        self.linked()
    }

    /// How a connection that is not wanted any more ends. True: reset, since the backend has
    /// failed, or a message to it was cut in the middle.
    pub fn resets_backend(&self) -> bool {
        self.backend_link.reset
    }

    /// What the backend has got last is a part of a message.
    fn backend_is_cut(&self) -> bool {
        self.state.ring.sent() > self.state.ring.whole()
    }

    /// And its end will not come, since nothing of the client's is passed on any more.
    fn stays_cut(&self) -> bool {
        !matches!(self.state.client, ClientPhase::Open) && self.backend_is_cut()
    }

    /// All that the client gets is written, and nothing more will be: its socket's write side may
    /// be shut.
    pub fn client_finished(&self) -> bool {
        matches!(self.state.client, ClientPhase::Told { .. } | ClientPhase::Over)
            && self.state.downstream.waiting() == 0
    }

    /// The client has said something whole to the backend (`whole`), which gets it at once.
    fn asked(&mut self, now: Time, whole: bool) {
        if whole && self.held_since().is_none() {
            self.backend_link.timers.question(now);
        }
    }

    fn commits(&self) -> Option<&Commits> {
        self.state.commits()
    }

    fn commits_mut(&mut self) -> Option<&mut Commits> {
        self.state.commits_mut()
    }

    fn returning(&self) -> Option<&ResumableSession> {
        self.state.returning()
    }

    fn returning_mut(&mut self) -> Option<&mut ResumableSession> {
        self.state.returning_mut()
    }

    fn closing(&self) -> Option<&Closing> {
        self.state.closing()
    }

    fn closing_mut(&mut self) -> Option<&mut Closing> {
        self.state.exceptions.as_mut().and_then(|exceptions| exceptions.closing.as_mut())
    }

    fn words(&self) -> Option<&ClosingWords> {
        self.closing().map(|closing| &closing.words)
    }

    fn exceptions(&mut self) -> &mut Exceptions {
        self.state.exceptions.get_or_insert_default()
    }

    fn client_violated(&mut self, now: Time, violation: Violation) {
        self.note(Event::ClientViolation(violation));
        if let ClientPhase::Told { deaf, .. } = &mut self.state.client {
            *deaf = true;
            return;
        }
        let code = violation.close_code();
        self.dismiss(now, code, violation.close_reason(), EndCause::ProtocolClient, true);
    }

    fn backend_violated(&mut self, now: Time, violation: Violation) {
        self.note(Event::BackendViolation(violation));
        self.backend_link.deaf = true;
        if violation == Violation::MessageTooBig {
            let reason = violation.close_reason();
            // It cannot acknowledge anything any more, since it is no longer heard.
            self.drop_undelivered();
            self.dismiss(now, violation.close_code(), reason, EndCause::ProtocolBackendTooBig, false);
        } else {
            self.leave_backend(now, Failure::Protocol);
        }
    }
}
