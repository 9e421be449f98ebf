//! Where a session stands, and what it has come to so far. The folder has its ledger: what became of its messages,
//! counted.

pub(super) mod ledger;

use ledger::{Counts, Exceptions, Ledger};

use super::report::{EndCause, SessionEnd, Status};
use super::service::Commits;
use super::{BackendPhase, ClientPhase, Session};

impl Session {
    /// Why the session ended, once nothing is left to do. Both sockets can be closed then.
    pub fn ended(&self) -> Option<&SessionEnd> {
        let over = matches!((&self.state.client, self.backend), (ClientPhase::Over, BackendPhase::Over));
        self.state.exceptions.as_ref().and_then(|e| e.end.as_ref()).filter(|_| over)
    }

    /// The session ends because its backend has failed.
    pub fn failed_with_backend(&self) -> bool {
        let end = self.state.exceptions.as_ref().and_then(|e| e.end.as_ref());
        end.is_some_and(|end| end.cause == EndCause::BackendFailed)
    }

    /// Where the session stands.
    pub fn status(&self) -> Status {
        match (self.backend, &self.state.client) {
            (BackendPhase::Waiting { .. }, _) => Status::Waiting,
            (BackendPhase::Dialing, _) => Status::Dialing,
            (BackendPhase::Draining { .. }, ClientPhase::Open) => Status::Draining,
            (BackendPhase::Draining { .. }, _) => Status::Closing,
            (BackendPhase::Over, _) if self.orphaned().is_some() => Status::Orphaned,
            (BackendPhase::Closing { .. } | BackendPhase::Over, _) => Status::Closing,
            (BackendPhase::Linked, ClientPhase::Open)
                if self.away() && self.underway.migration().is_none() =>
            {
                Status::Detached
            }
            (BackendPhase::Linked, ClientPhase::Open) => {
                self.migration_status().unwrap_or_else(|| self.linked_state())
            }
            (BackendPhase::Linked, _) => Status::Closing,
        }
    }

    /// Both sides are connected, nothing but relaying goes on, and everything is written: time alone
    /// or a socket can bring anything new.
    #[inline]
    pub fn at_ease(&self) -> bool {
        if self.only_relays() {
            let taken = match &self.client_link.returning {
                None => !self.state.downstream.waits(),
                Some(_) => self.state.downstream.waiting() == 0 && !self.owes_client(),
            };
            return taken && self.backend_link.writer.all_written(&self.state.ring);
        }
        let plain = matches!((&self.state.client, self.backend), (ClientPhase::Open, BackendPhase::Linked));
        let written =
            self.state.downstream.waiting() == 0 && self.backend_link.writer.all_written(&self.state.ring);
        plain
            && written
            && self.underway.episode().is_none()
            && !self.underway.has_news()
            && !self.owes_client()
    }

    /// Bytes that the session keeps for its two directions.
    #[inline]
    pub fn buffered(&self) -> usize {
        let relayed = self.state.ring.len() + self.state.downstream.buffered();
        // Nothing else is kept without a shim and a move.
        let alone = self.state.shim.is_none() && self.underway.is_empty() && !self.converses();
        if alone { relayed } else { relayed + self.buffered_besides() }
    }

    #[inline(never)]
    fn buffered_besides(&self) -> usize {
        let held = self.successor().map_or(0, |successor| successor.held.buffered());
        let service = self.commits().map_or(0, Commits::buffered) + self.backend_link.buffered();
        let talk = self.state.conversation.as_ref().map_or(0, |talk| talk.buffered());
        held + service + talk
    }

    /// Bytes of upstream messages that are not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.state.ring.len()
    }

    /// How often the session has left a backend that failed, or as if it had.
    pub fn failovers(&self) -> u32 {
        self.state.exceptions.as_ref().map_or(0, |e| e.failovers)
    }

    /// How often it has left one by plan.
    pub fn moves(&self) -> u32 {
        self.state.exceptions.as_ref().map_or(0, |e| e.moves)
    }

    /// The slowest answer of late: from something that the client said to what the backend said next,
    /// in milliseconds or so. Zero: none has come yet.
    pub fn slowest_answer(&self) -> std::time::Duration {
        self.state.slowest.duration()
    }

    /// What became of the messages so far.
    pub fn ledger(&self) -> Ledger {
        let none = Exceptions::default();
        let e = self.state.exceptions.as_deref().unwrap_or(&none);
        let downstream = self.state.downstream.messages();
        Ledger {
            upstream: Counts {
                forwarded: self.state.ring.whole_seq(),
                acknowledged: match self.backend_link.pongs {
                    true => self.done_seq().saturating_sub(e.lost_unmarked),
                    false => self.marked_seq(),
                },
                replayed: e.replayed,
                repeated: e.repeated,
                suppressed: e.withheld,
                lost: e.lost_upstream,
                in_doubt: e.in_doubt,
            },
            downstream: Counts {
                forwarded: downstream,
                acknowledged: downstream
                    .saturating_sub(e.lost_downstream + self.state.downstream.unwritten()),
                suppressed: e.suppressed,
                lost: e.lost_downstream,
                ..Counts::default()
            },
        }
    }

    /// Seq of the last message that a service has committed, or another backend acknowledged, less those that
    /// were lost. Without acknowledgements, of the last that was written.
    pub(super) fn done_seq(&self) -> u64 {
        let e = self.state.exceptions.as_ref();
        let (acked, lost) = e.map_or((0, 0), |e| (e.acked_seq, e.lost_upstream - e.lost_unmarked));
        match self.commits() {
            Some(service) => service.committed(),
            // What is lost has left the ring as if it were acknowledged.
            None => self.backend_link.writer.acked_seq(&self.state.ring).max(acked).saturating_sub(lost),
        }
    }

    /// Without acknowledgements: how many messages a backend has read, as a pong has shown.
    fn marked_seq(&self) -> u64 {
        let (acked, lost) = self.state.exceptions.as_ref().map_or((0, 0), |e| (e.acked_seq, e.lost_upstream));
        self.backend_link.writer.ponged_seq().max(acked).saturating_sub(lost)
    }
}
