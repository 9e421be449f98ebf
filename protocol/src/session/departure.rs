//! Leaving a backend that still works: a planned move.
//!
//! ```text
//!            relocate               alive, acknowledged, quiet            its Close or end, or time
//!   Linked ----------> Linked  ---------------------------------> Parting -------------------> Waiting
//!                      departing  \
//!                                  '-- it fails, or the deadline comes: a failover ----------> Waiting
//!                                   '- the client leaves: no move is wanted any more
//! ```
//!
//! While the session departs, traffic flows as before. It parts at a safepoint: between two
//! messages both ways, everything acknowledged, a ping of this time answered, and nothing said by
//! either side for `quiet`. Then the backend is told Close 1001; what it still says is relayed, and
//! what the client says is kept for the next one.

use crate::time::Time;

use super::{AckMode, Backend, Client, Failure, Session};

/// Going away (RFC 6455, 7.4.1).
const GOING_AWAY: [u8; 2] = 1001_u16.to_be_bytes();

/// A planned move, as the driver orders it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// What the driver knows it by. The machine gives it back with what became of the move.
    pub ticket: u64,
    /// From then on the session leaves without a quiet moment too; `None`: it stays.
    pub force_at: Option<Time>,
}

/// What became of a planned move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The session is on another backend.
    Moved {
        /// It has left without a quiet moment: answers may be missing.
        forced: bool,
    },
    /// It has left its backend in a failover.
    FailedOver,
    /// It is where it was.
    Stayed(Stay),
    /// Its client has left, or it is being closed.
    Ended,
}

/// Why a session is where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// No other backend takes it.
    NoTarget,
    /// The one that had taken it failed before the old one was left.
    TargetLost,
    /// It never fell quiet.
    Busy,
    /// The driver said so.
    Asked,
}

/// A session that is to leave a working backend.
#[derive(Debug)]
pub(super) struct Departure {
    order: Move,
    /// Data seen so far, up in bytes and down in messages, and since when that is so.
    seen: (u64, u64),
    quiet_since: Time,
    /// The backend has answered a ping since.
    alive: bool,
}

impl Session {
    /// The session is to leave its backend, which works or should. True: it will, or does so
    /// already. A session that would end with its backend stays, and one that has not settled stays
    /// until it has: the deadline of its failover would count for the move.
    pub fn relocate(&mut self, now: Time, order: Move) -> bool {
        let open = matches!(self.client, Client::Open) && self.linked() && self.episode.is_none();
        if !open || !self.config.failover || self.no_failover || self.farewell.is_some() {
            return false;
        }
        let alive = self.config.ack == AckMode::Pong && !self.pongs;
        if self.backend == Backend::Linked && self.departure.is_none() {
            let departure = Departure { order, seen: self.data_seen(), quiet_since: now, alive };
            self.departure = Some(Box::new(departure));
        }
        matches!(self.backend, Backend::Linked | Backend::Parting { .. })
    }

    /// No other backend wants it, or its own is well again: the session stays where it is.
    pub fn remain(&mut self) {
        if self.backend == Backend::Linked {
            self.departure = None;
        }
    }

    /// The session is to leave its backend, and has not yet.
    pub(super) fn departing(&self) -> bool {
        self.departure.is_some()
    }

    /// Takes the next step, if its time has come.
    pub(super) fn depart(&mut self, now: Time) {
        if self.departure.is_none() || self.backend != Backend::Linked {
            return;
        }
        if !matches!(self.client, Client::Open) {
            self.departure = None;
            return;
        }
        self.watch_traffic(now);
        let due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        if due(self.parting_at()) {
            self.part(now);
        } else if due(self.departure_deadline()) {
            self.leave_backend(now, Failure::Planned);
        }
    }

    fn watch_traffic(&mut self, now: Time) {
        // While the client is slow, more of the backend's words may stand unread in its socket.
        let (seen, busy) = (self.data_seen(), self.message_open() || !self.wants_backend());
        if let Some(departure) = &mut self.departure
            && (departure.seen != seen || busy)
        {
            (departure.seen, departure.quiet_since) = (seen, now);
        }
    }

    fn data_seen(&self) -> (u64, u64) {
        (self.up.ring.end(), self.down.messages())
    }

    fn message_open(&self) -> bool {
        self.client_scan.message_open() || self.backend_scan.message_open()
    }

    fn part(&mut self, now: Time) {
        self.departure = None;
        self.up.part(&GOING_AWAY);
        self.backend = Backend::Parting { until: now + self.config.close_timeout };
    }

    /// The backend that is told to go says Close itself. Its echo ends the move's first half; a
    /// code that applications use for decisions of theirs is one here too.
    pub(super) fn parting_closed(&mut self, now: Time, code: Option<u16>, payload: &[u8]) {
        if !matches!(code, Some(1008 | 3000..=4999)) {
            return self.leave_backend(now, Failure::Planned);
        }
        self.closed_by_application(now, code, payload);
        // It has had its Close already.
        self.backend_over();
    }

    /// A ping is due that shows whether the backend lives.
    pub(super) fn wants_proof(&self) -> bool {
        let unproven = self.departure.as_ref().is_some_and(|departure| !departure.alive);
        unproven && self.backend == Backend::Linked && !self.up.pinging()
    }

    /// The backend has answered a ping.
    pub(super) fn proven(&mut self) {
        if let Some(departure) = &mut self.departure {
            departure.alive = true;
        }
    }

    /// When the session parts if nothing more is said; `None` while something else is to come
    /// first.
    pub(super) fn parting_at(&self) -> Option<Time> {
        let departure = self.departure.as_ref().filter(|_| self.backend == Backend::Linked)?;
        let acknowledged = self.up.ring.all_released() && !self.up.pinging() && !self.message_open();
        let ready = departure.alive && acknowledged && !self.up.closing();
        ready.then(|| departure.quiet_since + self.config.quiet)
    }

    pub(super) fn departure_deadline(&self) -> Option<Time> {
        self.departure
            .as_ref()
            .filter(|_| self.backend == Backend::Linked)
            .and_then(|departure| departure.order.force_at)
    }
}
