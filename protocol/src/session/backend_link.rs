//! What belongs to one connection to a backend, and ends with it. It is built in one place, so that nothing is reset by
//! hand.

mod timers;
mod unanswered;

use crate::buffer::ring::Ring;
use crate::relay::upstream::UpstreamWriter;
use crate::steadfast_v1::kind_byte::AddKind;
use crate::time::Time;
use crate::websocket::scanner::{FrameSender, Scanner};

use super::service::ServiceLink;
use super::silence::Proof;
use super::{AckMode, Config};
use timers::BackendTimers;
use unanswered::Unanswered;

pub(super) use timers::SlowestAnswer;

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

/// What a connection to a backend takes from the session.
#[derive(Debug, Clone, Copy)]
pub(super) struct BackendTerms<'a> {
    pub(super) ring: &'a Ring,
    /// Messages that the client was sent before.
    pub(super) heard: u64,
    /// permessage-deflate is agreed.
    pub(super) deflate: bool,
    /// Messages are written whole only: the client may come back, or somebody knows what they mean.
    pub(super) whole_only: bool,
    /// Messages for the client have the kind byte.
    pub(super) kinds: bool,
}

impl BackendLink {
    /// A backend is connected that gets what is in the ring.
    pub(super) fn new(config: &Config, terms: BackendTerms<'_>, now: Time) -> BackendLink {
        let BackendTerms { ring, heard, deflate, whole_only, kinds } = terms;
        let service = (config.ack == AckMode::Shim).then(ServiceLink::default);
        let own = service.is_some() || kinds;
        BackendLink {
            scanner: backend_scanner(config, deflate),
            writer: UpstreamWriter::new(ring, whole_only),
            timers: BackendTimers::new(now),
            unanswered: Unanswered::new(now, ring.base_seq(), heard),
            pongs: config.ack != AckMode::None,
            proof: Proof::Open,
            deaf: false,
            reset: false,
            shim: own.then(|| Box::new(BackendShim { service, kinds: AddKind::default() })),
        }
    }

    /// It answers pings, as is known for certain.
    #[inline]
    pub(super) fn is_proven(&self) -> bool {
        self.pongs && self.proof == Proof::Given
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
