//! Leaving a backend that still works: a planned move, make before break.
//!
//! ```text
//!            relocate           the next one is connected            alive, delivered, quiet
//!   Linked ----------> Preparing -------------------------> Quiescing ------------------------.
//!                          |                                    |                             |
//!                          |  there is none, or it              | patience is over            |
//!                          |  fails at once                     v       the same              v
//!                          |                                 Holding --------------------> Draining
//!                          v                                    |                             |
//!                        stays <--------------------------------'                             | its Close,
//!                                      hold is over                                           | end, or time
//!                                                                                             v
//!                      Linked, to the next one <----- linked ---------------------------- CutOver
//!
//!   break before make   it begins in Quiescing, and after Draining the next one is dialled as after a failure
//!   dialled late        it begins in Quiescing too, and the next one is dialled when it is ready; see `late`
//!   begins anew         it begins in Quiescing too; Pressing and the end are in `orphan`
//!   force_at            Quiescing becomes Holding; Holding drains without a quiet moment, and at its end even
//!                       without a Close, as in a failover
//!   the old one fails   a failover, to the next one if it is connected (CutOver), else by a dial
//!   the client leaves   no move is wanted any more
//! ```
//!
//! Up to Draining, traffic flows as before, but for the client's messages while they are held. The session
//! parts at a safepoint: between two messages both ways, everything acknowledged, a ping of this time
//! answered; and at a quiet moment: no data either way for `quiet`, or for half as long again as the
//! slowest answer of late. While an answer seems to be out, that moment is waited for longer:
//!
//! ```text
//!                    no answer is out
//!   at a safepoint ----------------------> wait until it is quiet -----------> parts, and what is
//!         |                                   ^            |                   not answered by then
//!         | one is out                        | answered   | one is out        is in doubt
//!         v                                   |            v
//!         '-----------------------------> wait for it, at most `quiet_max` --> quiet? parts
//!
//!   the time runs    from the question; where others were answered since, from what was said last;
//!                    at the latest from when the client's messages are held
//!   no answer is out where a service leaves messages unanswered, as far as is known
//! ```
//!
//! Then the old backend is told Close 1001, what it still says is relayed, and what
//! the client says is kept for the next one.

mod late;
mod successor;

use std::time::Duration;

use crate::buffer::chain::Gather;
use crate::entropy::Entropy;
use crate::time::Time;
use crate::websocket::close_code::CloseCode;
use crate::websocket::frame::close_payload;

use super::backend_link::backend_scanner;
use super::report::{Event, Failure, Move, MoveOutcome, Status, Stay};
use super::{AckMode, BackendPhase, ClientPhase, Commits, Session};
use late::Late;
use successor::SuccessorSpeech;

pub(super) use successor::Successor;

/// A session that is to leave a working backend.
#[derive(Debug)]
pub(super) struct Migration {
    order: Move,
    stage: MigrationStage,
    /// The next backend, once it is connected.
    successor: Option<Successor>,
    late: Late,
    /// Next backends that were lost.
    losses: u32,
    /// Data seen so far, upstream in bytes and downstream in messages, and since when that is so.
    seen: (u64, u64),
    quiet_since: Time,
    /// An answer seems to be out, or the service has not answered anything yet and may be a slow one: it has until
    /// then.
    answers_until: Option<Time>,
    /// The backend has answered a ping since.
    alive: bool,
    /// It was left without a quiet moment.
    forced: bool,
}

/// How far a move has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MigrationStage {
    /// The next backend is to be dialled (`asked`: the driver does).
    Preparing { asked: bool },
    /// A quiet moment is waited for, and everything flows.
    Quiescing { until: Time },
    /// The same, and the client's messages are held.
    Holding { since: Time, until: Time },
    /// No quiet moment has come, and the client is to be closed: the next one between two messages will do.
    Pressing { until: Time },
    /// The old backend was told Close. The client's messages are held since.
    Draining { since: Time },
    /// It is left, and it is the next one's turn.
    CutOver { outcome: MoveOutcome },
}

// ---- what the driver orders ----

impl Session {
    /// The session is to leave its backend, which works or should. True: it will try, or does so by
    /// this order's ticket already; then this order's `force_at` counts. False: it is
    /// [pinned](Session::pinned), has not settled after a failure, is on its way by another order, or
    /// is ending.
    pub fn relocate(&mut self, now: Time, order: Move) -> bool {
        if let Some(migration) = self.underway.migration_mut() {
            let same = migration.order.ticket == order.ticket;
            if same {
                migration.order = order;
            }
            return same;
        }
        let linked = self.backend == BackendPhase::Linked && matches!(self.state.client, ClientPhase::Open);
        let free = self.closing().is_none()
            && !self.pinned()
            && !self.suspected()
            && !self.backend_link.writer.closing();
        if !linked || !free || !self.settled() {
            return false;
        }
        let never = self.config.break_before_make || self.state.begins_anew;
        let late =
            if never || (self.config.dial_ahead && !self.converses()) { Late::Never } else { Late::Resting };
        let stage = match never || late == Late::Resting {
            true => MigrationStage::Quiescing { until: now + self.config.patience },
            false => MigrationStage::Preparing { asked: false },
        };
        self.underway.begin_migration(Migration {
            order,
            stage,
            successor: None,
            late,
            losses: 0,
            seen: self.data_seen(),
            quiet_since: now,
            answers_until: None,
            // One that answers no pings has talked lately; it is not waited for.
            alive: self.config.ack != AckMode::None && !self.backend_link.pongs,
            forced: false,
        });
        true
    }

    /// No other backend wants it, or its own is well again: the session stays where it is, unless that
    /// was told Close already.
    pub fn remain(&mut self) {
        if self.backend == BackendPhase::Linked {
            self.end_move(MoveOutcome::Stayed(Stay::Asked));
        }
    }

    /// The ticket of the move that is under way.
    pub fn moving(&self) -> Option<u64> {
        self.underway.migration().map(|migration| migration.order.ticket)
    }

    /// The session ends with its backend, and so cannot be moved.
    pub fn pinned(&self) -> bool {
        !self.config.failover || self.state.no_failover
    }

    /// Leaves the backend at once, as if it had failed. False: there is none to leave, or the session
    /// is pinned or ending.
    pub fn fail_over(&mut self, now: Time) -> bool {
        let can = self.backend == BackendPhase::Linked
            && matches!(self.state.client, ClientPhase::Open)
            && !self.pinned();
        if can {
            self.leave_backend(now, Failure::Ordered);
        }
        can
    }
}

// ---- the next backend ----

impl Session {
    /// The ticket of the move for which the next backend is to be dialled now.
    pub(super) fn take_successor(&mut self) -> Option<u64> {
        let migration = self.underway.migration_mut()?;
        if self.backend != BackendPhase::Linked {
            return None;
        }
        let first = migration.stage == MigrationStage::Preparing { asked: false };
        if first {
            migration.stage = MigrationStage::Preparing { asked: true };
        }
        (first || migration.take_late()).then_some(migration.order.ticket)
    }

    /// Whether the driver should dial the next backend, or keep the connection to it.
    pub fn wants_successor(&self) -> bool {
        self.underway
            .migration()
            .is_some_and(|migration| migration.successor.is_some() || migration.is_dialled())
    }

    /// The next backend is connected. False when the session does not want it any more; the driver drops
    /// it then.
    pub fn handle_successor_linked(&mut self, now: Time) -> bool {
        let until = now + self.config.patience;
        let scan = backend_scanner(&self.config, self.state.deflate);
        let speech = match (self.commits().is_some(), self.adds_kind()) {
            (true, _) => SuccessorSpeech::None,
            (false, true) => SuccessorSpeech::Kinded,
            (false, false) => SuccessorSpeech::Plain,
        };
        let told = self.commits().is_some();
        let Some(migration) = self.underway.migration_mut() else { return false };
        let first = migration.stage == MigrationStage::Preparing { asked: true };
        let wanted = migration.is_dialled();
        if wanted {
            migration.successor = Some(Successor::new(scan, speech));
        }
        if first {
            // A service must have heard that the session is to leave.
            migration.alive &= !told;
            migration.stage = MigrationStage::Quiescing { until };
        } else if wanted {
            migration.late = Late::Resting;
        }
        wanted
    }

    /// No other backend takes the session.
    pub fn handle_successor_failed(&mut self) {
        if self.underway.migration().is_some_and(|migration| migration.is_dialled()) {
            self.end_move(MoveOutcome::Stayed(Stay::NoTarget));
        }
    }

    /// Whether to read the next backend.
    pub fn listens_to_successor(&self) -> bool {
        self.successor().is_some_and(Successor::listens)
    }

    /// Takes bytes that were read from it, and returns how many: `frames` is as for
    /// [`Session::handle_client`].
    pub fn handle_successor(&mut self, bytes: &[u8], frames: &mut u32) -> usize {
        let Some(successor) = self.successor_mut() else { return bytes.len() };
        let mut rest = bytes;
        if successor.handle(&mut rest, frames).is_err() {
            self.handle_successor_lost();
            return bytes.len();
        }
        bytes.len() - rest.len()
    }

    /// Its connection is at its end or broken.
    pub fn handle_successor_lost(&mut self) {
        let Some(migration) = self.underway.migration_mut().filter(|migration| migration.successor.is_some())
        else {
            return;
        };
        match migration.stage {
            // There is no way back: another one is dialled.
            MigrationStage::Draining { .. } => migration.successor = None,
            MigrationStage::CutOver { .. } => self.end_move(MoveOutcome::FailedOver),
            _ => self.successor_lost(),
        }
    }

    pub(super) fn successor_transmit(&self) -> Gather<'_> {
        let mut gather = Gather::new();
        if let Some(bytes) = self.successor().map(Successor::transmit).filter(|bytes| !bytes.is_empty()) {
            gather.add(bytes);
        }
        gather
    }

    pub(super) fn successor_written(&mut self, n: usize) {
        if let Some(successor) = self.successor_mut() {
            successor.written(n);
        }
    }

    pub(super) fn successor(&self) -> Option<&Successor> {
        self.underway.migration().and_then(|migration| migration.successor.as_ref())
    }

    fn successor_mut(&mut self) -> Option<&mut Successor> {
        self.underway.migration_mut().and_then(|migration| migration.successor.as_mut())
    }

    /// Answers its pings, as long as the answer can be written before its turn comes.
    pub(super) fn prepare_successor(&mut self, entropy: &mut Entropy<'_>) {
        if self.backend == BackendPhase::Linked
            && let Some(successor) = self.successor_mut()
        {
            successor.prepare(entropy);
        }
    }
}

// ---- the way there ----

impl Session {
    /// Takes the steps whose time has come.
    pub(super) fn migrate(&mut self, now: Time) {
        let Some(stage) = self.stage() else { return };
        let open = matches!(self.state.client, ClientPhase::Open) && self.closing().is_none();
        match (stage, self.backend) {
            (MigrationStage::Draining { .. }, BackendPhase::Draining { .. }) => {}
            (MigrationStage::CutOver { .. }, BackendPhase::Waiting { .. } | BackendPhase::Dialing) => {}
            (MigrationStage::Quiescing { .. } | MigrationStage::Pressing { .. }, BackendPhase::Linked)
                if open && self.state.begins_anew =>
            {
                self.watch_traffic(now);
                self.wait_to_close(now);
            }
            (
                MigrationStage::Preparing { .. }
                | MigrationStage::Quiescing { .. }
                | MigrationStage::Holding { .. },
                BackendPhase::Linked,
            ) if open => {
                self.watch_traffic(now);
                self.wait_for_quiet(now);
            }
            // The client has left, or the session is being closed.
            _ => self.end_move(MoveOutcome::Ended),
        }
    }

    fn wait_for_quiet(&mut self, now: Time) {
        if let Some(MigrationStage::Quiescing { until }) = self.stage() {
            let patient = now < until && self.force_at().is_none_or(|at| now < at);
            if !patient
                && self.draining_at().is_none_or(|at| now < at)
                && self.backend_link.writer.hold(&self.state.ring)
            {
                self.set_stage(MigrationStage::Holding { since: now, until: now + self.config.hold });
            }
        }
        if self.draining_at().is_some_and(|at| at <= now) {
            return self.part_or_dial(now, false);
        }
        let forced = self.force_at().is_some_and(|at| at <= now);
        match self.stage() {
            Some(MigrationStage::Holding { .. }) if forced && self.safe() => self.part_or_dial(now, true),
            Some(MigrationStage::Holding { until, .. }) if until <= now => self.give_up_waiting(now, forced),
            // A message of the client's that does not end cannot be held.
            Some(MigrationStage::Quiescing { until }) if until + self.config.hold <= now => {
                self.give_up_waiting(now, forced)
            }
            _ => {}
        }
    }

    /// As [`Session::wait_for_quiet`], for a client that is closed. Nothing is held: nobody would get it.
    fn wait_to_close(&mut self, now: Time) {
        if let Some(MigrationStage::Quiescing { until }) = self.stage()
            && until <= now
        {
            self.set_stage(MigrationStage::Pressing { until: now + self.config.hold });
        }
        let due = match self.stage() {
            Some(MigrationStage::Pressing { until }) => until <= now || self.safe(),
            _ => self.draining_at().is_some_and(|at| at <= now),
        };
        if due {
            self.send_to_reconnect(now);
        }
    }

    fn give_up_waiting(&mut self, now: Time, forced: bool) {
        if !forced {
            return self.end_move(MoveOutcome::Stayed(Stay::Busy));
        }
        self.force();
        self.leave_backend(now, Failure::Planned);
    }

    fn watch_traffic(&mut self, now: Time) {
        // While the client is slow, more of the backend's words may stand unread in its socket.
        let (seen, busy) = (self.data_seen(), self.message_open() || !self.wants_backend());
        let (out, converses) = (self.expected_answers(now) > 0, self.converses());
        let unknown = self.state.slowest.duration().is_zero();
        let most = self.config.quiet_max;
        let asked = self.backend_link.timers.asked_for(now).filter(|_| unknown || out);
        let Some(migration) = self.underway.migration_mut() else { return };
        if migration.seen != seen || busy {
            (migration.seen, migration.quiet_since) = (seen, now);
        }
        let until = match asked {
            Some(asked) => most.checked_sub(asked).map(|left| now + left),
            // One of several, the others of which were answered.
            None => out.then(|| migration.quiet_since + most),
        };
        if converses {
            // It is known which answers are out, so they are waited for.
            migration.answers_until = out.then_some(Time::NEVER);
            return;
        }
        migration.answers_until = match migration.stage {
            // What it says by itself does not put that off.
            MigrationStage::Holding { since, .. } => until.map(|until| until.min(since + most)),
            _ => until,
        };
    }

    fn data_seen(&self) -> (u64, u64) {
        let commits = self.commits().map_or(0, Commits::applied);
        (self.backend_link.writer.let_through(&self.state.ring), self.state.downstream.messages() + commits)
    }

    /// A message is under way. What the client says while it is held is not.
    fn message_open(&self) -> bool {
        let held = matches!(self.stage(), Some(MigrationStage::Holding { .. }));
        self.backend_link.scanner.message_open() || (self.client_link.scanner.message_open() && !held)
    }

    fn part(&mut self, now: Time, forced: bool) {
        let since = match self.stage() {
            Some(MigrationStage::Holding { since, .. }) => since,
            _ => now,
        };
        if forced {
            self.force();
        }
        self.backend_link.writer.part(&self.state.ring, &close_payload(CloseCode::GOING_AWAY, ""));
        self.set_stage(MigrationStage::Draining { since });
        self.backend = BackendPhase::Draining { until: now + self.config.close_timeout };
    }

    fn force(&mut self) {
        if let Some(migration) = self.underway.migration_mut() {
            migration.forced = true;
        }
    }

    /// The backend that is told to go says Close itself. Its echo ends the move's first half; a
    /// code that applications use for decisions of theirs is one here too.
    pub(super) fn draining_closed(&mut self, now: Time, code: Option<CloseCode>, payload: &[u8]) {
        if code == Some(CloseCode::GOING_AWAY)
            && self.backend_link.writer.closed()
            && !self.backend_link.pongs
        {
            // It answers ours, so it has read everything before it.
            self.backend_link.writer.mark_written(&self.state.ring);
        }
        if !code.is_some_and(|code| code == CloseCode::POLICY_VIOLATION || code.is_private()) {
            return self.leave_backend(now, Failure::Planned);
        }
        self.end_move(MoveOutcome::Closed);
        self.closed_by_application(now, code, payload);
        // It has had its Close already.
        self.backend_over();
    }

    /// The backend is left: it is the next one's turn, if it is connected. A session with suspects
    /// needs a turn among others like it, and dials.
    pub(super) fn cross(&mut self, now: Time, failure: Failure) {
        let suspected = self.suspected();
        let Some(migration) = self.underway.migration_mut() else { return };
        let planned = failure == Failure::Planned;
        let forced = migration.forced;
        let (moved, failed) = (MoveOutcome::Moved { forced }, MoveOutcome::FailedOver);
        if migration.successor.as_ref().is_some_and(Successor::idle) && !suspected {
            migration.stage = MigrationStage::CutOver { outcome: if planned { moved } else { failed } };
            self.backend = BackendPhase::Waiting { at: Some(now) };
        } else {
            // It was to dial only now, or would have dialled a moment ago.
            let dials_now = planned && (self.config.break_before_make || migration.late != Late::Never);
            self.end_move(if dials_now { moved } else { failed });
        }
    }

    /// The next backend waits for its turn, which has come.
    pub(super) fn crossing(&self) -> bool {
        matches!(self.stage(), Some(MigrationStage::CutOver { .. }))
    }

    /// The next backend's turn has come.
    pub(super) fn take_crossed(&mut self) -> Option<Successor> {
        let migration = if self.crossing() { self.underway.end_migration() } else { None }?;
        if let MigrationStage::CutOver { outcome } = migration.stage {
            self.note(Event::MoveEnded { ticket: migration.order.ticket, outcome });
        }
        migration.successor
    }

    /// No move is under way any more.
    pub(super) fn end_move(&mut self, outcome: MoveOutcome) {
        let Some(migration) = self.underway.end_migration() else { return };
        if matches!(migration.stage, MigrationStage::Holding { .. }) {
            self.backend_link.writer.flow();
        }
        self.note(Event::MoveEnded { ticket: migration.order.ticket, outcome });
    }

    // ---- what is waited for ----

    fn stage(&self) -> Option<MigrationStage> {
        self.underway.migration().map(|migration| migration.stage)
    }

    fn set_stage(&mut self, stage: MigrationStage) {
        if let Some(migration) = self.underway.migration_mut() {
            migration.stage = stage;
        }
    }

    fn force_at(&self) -> Option<Time> {
        self.underway.migration().and_then(|migration| migration.order.force_at)
    }

    /// A service is to be told that the session leaves it.
    pub(super) fn leaves_soon(&self) -> bool {
        matches!(self.stage(), Some(MigrationStage::Quiescing { .. } | MigrationStage::Holding { .. }))
    }

    /// A ping is due that shows whether the backend lives.
    pub(super) fn wants_proof(&self) -> bool {
        let unproven = self.underway.migration().is_some_and(|migration| !migration.alive);
        unproven && self.backend == BackendPhase::Linked && !self.backend_link.writer.pinging()
    }

    /// The backend has answered a ping.
    pub(super) fn proven(&mut self) {
        if let Some(migration) = self.underway.migration_mut() {
            migration.alive = true;
        }
    }

    /// Nothing is under way: the backend has everything that it is to get, and has said nothing by half.
    fn safe(&self) -> bool {
        let ready = self.underway.migration().is_some_and(|migration| {
            migration.alive
                && !migration.dials_late()
                && migration.successor.as_ref().is_none_or(Successor::idle)
        });
        let delivered = self.backend_link.writer.delivered(&self.state.ring)
            && !self.backend_link.writer.pinging()
            && !self.backend_link.writer.closing();
        ready && delivered && !self.message_open() && self.wants_backend()
    }

    /// When the session parts if nothing more is said; `None` while something else is to come first.
    fn draining_at(&self) -> Option<Time> {
        let migration = self.underway.migration().filter(|_| self.backend == BackendPhase::Linked)?;
        let waits =
            matches!(migration.stage, MigrationStage::Quiescing { .. } | MigrationStage::Holding { .. });
        let quiet_at = migration.quiet_since + self.quiet();
        (waits && self.safe()).then(|| quiet_at.max(migration.answers_until.unwrap_or(quiet_at)))
    }

    /// How long nothing must be said. Half as long again as the slowest answer of late.
    fn quiet(&self) -> Duration {
        let slowest = self.state.slowest.duration();
        self.config.quiet.max((slowest + slowest / 2).min(self.config.quiet_max))
    }

    /// Since when the client's messages are held.
    pub(super) fn held_since(&self) -> Option<Time> {
        match self.stage()? {
            MigrationStage::Holding { since, .. } | MigrationStage::Draining { since } => Some(since),
            _ => None,
        }
    }

    /// The session has left without a quiet moment, or does.
    pub(super) fn leaves_by_force(&self) -> bool {
        self.underway.migration().is_some_and(|migration| migration.forced)
    }

    pub(super) fn migration_status(&self) -> Option<Status> {
        Some(match self.stage()? {
            MigrationStage::Preparing { .. }
            | MigrationStage::Quiescing { .. }
            | MigrationStage::Pressing { .. } => Status::Quiescing,
            MigrationStage::Holding { .. } => Status::Holding,
            MigrationStage::Draining { .. } | MigrationStage::CutOver { .. } => Status::Draining,
        })
    }

    /// When [`Session::migrate`] has something to do, whatever happens until then.
    pub(super) fn migration_at(&self) -> Option<Time> {
        let next = match self.stage().filter(|_| self.backend == BackendPhase::Linked)? {
            MigrationStage::Quiescing { until } if self.state.begins_anew => [Some(until), None],
            MigrationStage::Pressing { until } => [Some(until), None],
            // What cannot be held yet is waited for, but not for ever.
            MigrationStage::Quiescing { until } if !self.backend_link.writer.may_hold(&self.state.ring) => {
                [Some(until + self.config.hold), None]
            }
            MigrationStage::Quiescing { until } => [Some(until), self.force_at()],
            MigrationStage::Holding { until, .. } => [Some(until), self.force_at().filter(|_| self.safe())],
            _ => [None; 2],
        };
        next.into_iter().flatten().chain(self.draining_at()).min()
    }
}
