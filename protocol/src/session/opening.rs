//! How a session begins.

use std::sync::Arc;

use crate::relay::downlink::Downlink;
use crate::relay::uplink::Uplink;
use crate::steadfast_v1::SessionId;
use crate::steadfast_v1::client_wire::Reason;
use crate::time::Time;
use crate::websocket::scanner::{Scanner, Sender};

use super::ledger::Unanswered;
use super::patience::Clocks;
use super::resume::Returning;
use super::service::Service;
use super::silence::Proof;
use super::{AckMode, Backend, Client, Config, Session, Shim};

/// What an envelope may take besides a message and a capsule.
const ENVELOPE: u32 = 1024;

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
        let Opening { session, epoch, deflate, no_failover, begins_anew, client } = opening;
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
            proof: Proof::Open,
            backend_deaf: false,
            no_failover,
            begins_anew,
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
}

/// What a service says comes in envelopes, which hold more than one message.
pub(super) fn backend_scanner(config: &Config, deflate: bool) -> Scanner {
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
