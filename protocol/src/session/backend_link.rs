//! What belongs to one connection to a backend, and ends with it. It is built in one place, so that nothing is reset by
//! hand.

mod timers;

use crate::buffer::ring::Ring;
use crate::relay::upstream::UpstreamWriter;
use crate::steadfast_v1::kind_byte::AddKind;
use crate::time::Time;
use crate::websocket::scanner::{FrameSender, Scanner};

use super::ledger::Unanswered;
use super::resume::ResumableSession;
use super::service::ServiceLink;
use super::silence::Proof;
use super::state::SessionState;
use super::{AckMode, Config};
use timers::BackendTimers;

pub(super) use timers::{SlowestAnswer, TICK, ticks};

/// What an envelope may take besides a message and a capsule.
const ENVELOPE: u32 = 1024;

/// One connection to a backend.
#[derive(Debug)]
pub(super) struct BackendLink {
    pub(super) scanner: Scanner,
    pub(super) writer: UpstreamWriter,
    pub(super) timers: BackendTimers,
    pub(super) unanswered: Unanswered,
    /// It answers pings, as far as is known.
    pub(super) pongs: bool,
    /// What is known of that.
    pub(super) proof: Proof,
    /// It broke the protocol, or said Close: its bytes are no longer read.
    pub(super) deaf: bool,
    /// The connection ends with a reset: the backend failed, or a message to it was cut.
    pub(super) reset: bool,
    /// What it has of its own if it, or the client, links the shim.
    shim: Option<Box<BackendShim>>,
}

#[derive(Debug)]
struct BackendShim {
    service: Option<ServiceLink>,
    /// How far its messages have got the kind byte.
    kinds: AddKind,
}

impl BackendLink {
    /// A backend is connected that gets what is in the ring.
    pub(super) fn new(config: &Config, state: &SessionState, now: Time) -> BackendLink {
        let (ring, heard) = (&state.ring, state.down.messages());
        let returning = state.shim.as_ref().and_then(|shim| shim.returning.as_ref());
        let kinds = returning.is_some_and(ResumableSession::kinds);
        let service = (config.ack == AckMode::Shim).then(ServiceLink::default);
        let own = service.is_some() || kinds;
        BackendLink {
            scanner: backend_scanner(config, state.deflate),
            writer: UpstreamWriter::new(ring, returning.is_some()),
            timers: BackendTimers::new(now),
            unanswered: Unanswered::new(now, ring.base_seq(), heard),
            pongs: config.ack != AckMode::None,
            proof: Proof::Open,
            deaf: false,
            reset: false,
            shim: own.then(|| Box::new(BackendShim { service, kinds: AddKind::default() })),
        }
    }

    /// What belongs to a service that links the shim.
    pub(super) fn service(&mut self) -> Option<&mut ServiceLink> {
        self.shim.as_mut().and_then(|shim| shim.service.as_mut())
    }

    fn known_service(&self) -> Option<&ServiceLink> {
        self.shim.as_ref().and_then(|shim| shim.service.as_ref())
    }

    /// The service has been told with the last ping that the session is to leave; `None`: it is no service that
    /// links the shim.
    pub(super) fn tells_draining(&self) -> Option<bool> {
        self.known_service().map(ServiceLink::tells_draining)
    }

    /// The service waits to be told what was applied.
    pub(super) fn owes_notice(&self) -> bool {
        self.known_service().is_some_and(ServiceLink::prompts)
    }

    /// Bytes kept of a message that is open.
    pub(super) fn buffered(&self) -> usize {
        self.known_service().map_or(0, ServiceLink::buffered)
    }

    /// How far messages for the client have got the kind byte, if they are to have it.
    pub(super) fn kinds(&mut self) -> Option<&mut AddKind> {
        self.shim.as_mut().map(|shim| &mut shim.kinds)
    }

    /// The backend is gone, and the next one begins at the ring's base.
    pub(super) fn forget_writing(&mut self, ring: &Ring) {
        self.writer = UpstreamWriter::new(ring, self.writer.whole_only());
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
    Scanner::new(FrameSender::Backend, limit, deflate)
}
