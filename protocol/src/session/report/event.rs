//! What the machine tells of itself.

use std::time::Duration;

use crate::websocket::violation::Violation;

use super::{Failure, MoveOutcome, ServiceBreach};
use crate::session::Session;

/// Something that happened, for the log and the metrics. None asks for anything: that is what
/// [`Session::poll_command`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A backend failed and was left.
    Failed(Failure),
    /// The same, and the client, whose conversation ends with it, is to be closed.
    Orphaned(Failure),
    /// The next one is connected, this long after the failure.
    Linked {
        /// From the failure until now.
        pause: Duration,
        /// Messages that it gets again.
        replayed: u64,
    },
    /// The backend talks and has answered no ping for `ack_timeout`: what it is given is not bounded by pongs.
    Unproven,
    /// The backend has answered its first ping.
    Fit,
    /// It has answered one late, after so long.
    SlowPong(Duration),
    /// The backend talks but does not answer pings; the session runs as ack mode `none` there.
    Unfit,
    /// A planned move has ended.
    MoveEnded {
        /// Of its order.
        ticket: u64,
        /// What became of it.
        outcome: MoveOutcome,
    },
    /// A message has killed the backends that it was given.
    Poison {
        /// Its seq.
        seq: u64,
        /// Its bytes, frame headers included.
        bytes: u64,
    },
    /// The client broke the protocol.
    ClientViolation(Violation),
    /// The backend did.
    BackendViolation(Violation),
    /// The client broke `steadfast.v1`, in this way.
    ClientBreach(&'static str),
    /// The service did.
    ServiceBreach(ServiceBreach),
    /// The backend says, in the words of its protocol, that it goes away.
    Parting,
    /// The conversation cannot be repeated, for this reason: the client must begin anew when its backend is left.
    Unsaveable(&'static str),
    /// The next backend does not take the client as the one before did.
    Denied,
}

impl Session {
    /// Returns what has happened next since the last call; `None`: nothing more.
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.underway.take_event()
    }

    pub(in crate::session) fn note(&mut self, event: Event) {
        self.underway.note(event);
    }
}
