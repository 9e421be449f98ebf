//! What of a session outlives its connections, and the process.
//!
//! ```text
//!   any state -- into_state --> SessionState -- restore --> Waiting, as after a failover;
//!                                                           the client away, or left if it cannot come back
//! ```
//!
//! To a client and to the backends it is the same as if both connections had failed in one moment. What was half
//! said comes again or was never said, a Close for the client is said again on its next connection, and what no
//! connection had acknowledged is replayed. Times are begun anew, since nobody knows how long it took.

use std::sync::Arc;

use crate::buffer::ring::Ring;
use crate::relay::downstream::DownstreamWriter;
use crate::time::Time;

use super::backend_link::{BackendTerms, SlowestAnswer};
use super::client_link::ClientLink;
use super::conversation::Conversation;
use super::report::Failure;
use super::resume::ResumableSession;
use super::service::Commits;
use super::status::ledger::Exceptions;
use super::{AckMode, ClientPhase, Closing, Config, Session};

/// A session without scanners, pings, timers and sockets: [`Session::restore`](super::Session::restore) makes a
/// session of it again, in another process if need be. The client's upgrade request, which the next backend must
/// see, is kept beside it by the driver.
#[derive(Debug)]
pub struct SessionState {
    /// The client's messages that are not acknowledged.
    pub(super) ring: Ring,
    /// What is kept for a client that may come back, and how far others were served.
    pub(super) downstream: DownstreamWriter,
    /// Where the client stands; a time in it does not outlive the process.
    pub(super) client: ClientPhase,
    pub(super) shim: Option<Box<ShimState>>,
    /// What its messages mean, where somebody knows.
    pub(super) conversation: Option<Box<Conversation>>,
    pub(super) exceptions: Option<Box<Exceptions>>,
    /// How slow its backends were.
    pub(super) slowest: SlowestAnswer,
    /// The session ends with its backend, whatever the pool says.
    pub(super) no_failover: bool,
    /// The client's conversation ends with its backend.
    pub(super) begins_anew: bool,
    /// permessage-deflate is agreed.
    pub(super) deflate: bool,
}

/// What sessions have with an end that links the shim, or with a client that may come back.
#[derive(Debug)]
pub(super) struct ShimState {
    pub(super) commits: Option<Commits>,
    pub(super) returning: Option<ResumableSession>,
}

impl Session {
    /// Ends the machine, and returns what outlives it.
    pub fn into_state(mut self) -> SessionState {
        self.count_unmarked();
        self.note_acknowledged();
        self.state
    }

    /// A session that goes on from what another process has left of it, at `now` of this one's clock.
    pub fn restore(mut state: SessionState, config: Arc<Config>, now: Time) -> Session {
        state.forget_times(now, &config);
        let mut session = Session::of(state, config, now);
        // The client first: for one that is away, a Close is kept.
        session.handle_client_gone(now);
        if session.linked() {
            session.leave_backend(now, Failure::Restored);
        }
        session
    }

    /// What the present backend has acknowledged stays so, also what is held for a replay.
    fn note_acknowledged(&mut self) {
        let acked = self.backend_link.writer.acked_seq(&self.state.ring);
        if self.config.ack == AckMode::Pong && acked > self.state.ring.base_seq() {
            let exceptions = self.exceptions();
            exceptions.acked_seq = exceptions.acked_seq.max(acked);
        }
    }
}

impl SessionState {
    pub(super) fn commits(&self) -> Option<&Commits> {
        self.shim.as_ref().and_then(|shim| shim.commits.as_ref())
    }

    pub(super) fn commits_mut(&mut self) -> Option<&mut Commits> {
        self.shim.as_mut().and_then(|shim| shim.commits.as_mut())
    }

    pub(super) fn returning(&self) -> Option<&ResumableSession> {
        self.shim.as_ref().and_then(|shim| shim.returning.as_ref())
    }

    pub(super) fn returning_mut(&mut self) -> Option<&mut ResumableSession> {
        self.shim.as_mut().and_then(|shim| shim.returning.as_mut())
    }

    pub(super) fn closing(&self) -> Option<&Closing> {
        self.exceptions.as_ref().and_then(|exceptions| exceptions.closing.as_ref())
    }

    /// The next connection of its client's.
    pub(super) fn client_link(&self, config: &Config, now: Time) -> ClientLink {
        ClientLink::new(config, self.deflate, self.returning().map(ResumableSession::kinds), now)
    }

    /// What the next connection to a backend takes from it.
    pub(super) fn backend_terms(&self) -> BackendTerms<'_> {
        let returning = self.returning();
        BackendTerms {
            ring: &self.ring,
            heard: self.downstream.messages(),
            deflate: self.deflate,
            whole_only: returning.is_some() || self.conversation.is_some(),
            kinds: returning.is_some_and(ResumableSession::kinds),
        }
    }

    fn forget_times(&mut self, now: Time, config: &Config) {
        if let ClientPhase::Told { until, .. } = &mut self.client {
            *until = None;
        }
        if let Some(exceptions) = &mut self.exceptions {
            exceptions.forget_times(now + config.deadline);
        }
    }
}
