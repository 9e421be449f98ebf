//! How a session begins.

use std::sync::Arc;

use steadfast_profiles::Profile;

use crate::buffer::ring::Ring;
use crate::relay::downstream::DownstreamWriter;
use crate::steadfast_v1::SessionId;
use crate::steadfast_v1::client_wire::Reason;
use crate::time::Time;

use super::backend_link::{BackendLink, SlowestAnswer};
use super::conversation::Conversation;
use super::deadlines::{NextDeadline, soonest};
use super::resume::ResumableSession;
use super::service::Commits;
use super::state::{SessionState, ShimState};
use super::underway::Underway;
use super::{AckMode, BackendPhase, ClientPhase, Config, Session};

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
    /// The client's protocol has a conversation that ends with its backend: when that is left, the client is
    /// closed, to reconnect.
    pub begins_anew: bool,
    /// What the client's protocol is known to mean. Not with permessage-deflate, with a service that links the shim, or
    /// without acknowledgements.
    pub profile: Option<Arc<Profile>>,
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

impl Session {
    /// A session whose first backend is connected.
    pub fn new(config: Arc<Config>, now: Time, opening: Opening) -> Session {
        let Opening { session, epoch, deflate, no_failover, begins_anew, profile, client } = opening;
        let returning = match client {
            ClientKind::Plain => None,
            ClientKind::Returning => Some(ResumableSession::plain()),
            ClientKind::Shim { .. } => Some(ResumableSession::shim(session)),
        };
        let downstream = match returning {
            Some(_) => DownstreamWriter::keeping(),
            None => DownstreamWriter::default(),
        };
        let commits = (config.ack == AckMode::Shim).then(|| Commits::new(session, epoch));
        let shim = commits.is_some() || returning.is_some();
        let state = SessionState {
            ring: Ring::default(),
            downstream,
            client: ClientPhase::Open,
            conversation: profile.map(|profile| Box::new(Conversation::new(profile.begin(), now))),
            shim: shim.then(|| Box::new(ShimState { commits, returning })),
            exceptions: None,
            slowest: SlowestAnswer::default(),
            no_failover,
            begins_anew,
            deflate,
        };
        let mut session = Session::of(state, config, now);
        session.attach_service(epoch);
        if let ClientKind::Shim { secret, reason } = client {
            session.greet(secret, reason);
        }
        session
    }

    /// A session with new connections of both sides.
    pub(super) fn of(state: SessionState, config: Arc<Config>, now: Time) -> Session {
        Session {
            client_link: state.client_link(&config, now),
            backend_link: BackendLink::new(&config, state.backend_terms(), now),
            backend: BackendPhase::Linked,
            memory_short: None,
            due: now,
            next_deadline: NextDeadline::Sought,
            soonest: u32::try_from(soonest(&config).as_micros()).unwrap_or(u32::MAX),
            underway: Underway::default(),
            #[cfg(test)]
            at_length: false,
            state,
            config,
        }
    }
}
