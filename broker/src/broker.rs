//! What all workers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, UNIX_EPOCH};

use crate::clock;
use crate::config::settings::Settings;
use crate::metric::SeriesByWord;
use crate::net::guests::Guests;
use crate::net::listener::ListenAddress;
use crate::net::places::Places;
use crate::operations::{self, Operations};
use crate::routing::listener::ListenerId;
use crate::routing::pauses::Pauses;
use crate::routing::reserve::Reserve;
use crate::session;
use crate::session::context::SessionPermit;
use crate::session::memory::Budget;
use crate::snapshot::{Current, Snapshot};
use crate::tls::TlsSetup;

/// The broker's state, apart from the sessions' own tasks.
pub(crate) struct Broker {
    current: Arc<Current>,
    /// The listeners' bound addresses.
    addresses: Vec<ListenAddress>,
    pub(crate) sessions: Arc<session::context::SessionContext>,
    pub(crate) operations: Arc<Operations>,
    /// Sessions at once.
    pub(crate) max_sessions: usize,
    /// Places for connections whose request has not come yet.
    pub(crate) handshakes: Arc<Places>,
    /// Connections that stay for their next request.
    pub(crate) guests: Guests,
    /// Answers over HTTP, by their class.
    pub(crate) answers: SeriesByWord,
    /// Newcomers of one pool that may wait for a backend at once.
    pub(crate) newcomers_max: usize,
    /// Listeners that take no sessions for a while.
    pub(crate) pauses: Pauses,
    /// Clients that were sent to backends.
    pub(crate) reserve: Reserve,
    /// New sessions are welcome.
    ready: AtomicBool,
    /// When another configuration was last taken over, in milliseconds since 1970; 0: never.
    reconfigured: AtomicU64,
}

/// What there is room for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Sessions at once.
    pub(crate) sessions: usize,
    /// Connections at once whose request has not come yet.
    pub(crate) handshakes: usize,
    /// Bytes that all sessions together may hold.
    pub(crate) buffers: usize,
}

impl Broker {
    pub(crate) fn new(
        (settings, tls): (Settings, TlsSetup),
        room: Room,
        addresses: Vec<ListenAddress>,
    ) -> Broker {
        let budget = Budget::new(room.buffers, settings.limits.message, room.sessions);
        let sessions = session::context::SessionContext::new(&settings.herd, budget);
        Broker {
            operations: Arc::new(Operations::new(
                Arc::clone(&sessions.registry),
                Arc::clone(&sessions.tickets),
            )),
            sessions: Arc::new(sessions),
            max_sessions: room.sessions,
            handshakes: Places::new(room.handshakes),
            answers: SeriesByWord::default(),
            guests: Guests::new(room.sessions.saturating_add(room.handshakes)),
            // The others are left to other pools.
            newcomers_max: (room.handshakes / 2).max(1),
            pauses: Pauses::new(addresses.len()),
            reserve: Reserve::new(room.sessions),
            ready: AtomicBool::new(true),
            reconfigured: AtomicU64::new(0),
            current: Arc::new(Current::new(Snapshot::new(settings, tls, &addresses))),
            addresses,
        }
    }

    /// What is configured now.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.current.get()
    }

    /// A place for one more session; `None`: there are as many as there may be.
    pub(crate) fn admit(&self) -> Option<SessionPermit> {
        if self.sessions.registry.is_crowded(self.max_sessions) {
            self.guests.make_room();
        }
        self.sessions.admit(self.max_sessions)
    }

    /// How many connections to backends each worker may keep for requests that come: of the descriptors of sessions that are
    /// not there, a half. Where places run short, none.
    pub(crate) fn idle_connections(&self) -> usize {
        let workers = self.snapshot().settings.workers.max(1);
        let is_crowded = self.sessions.registry.is_crowded(self.max_sessions);
        if is_crowded { 0 } else { (self.max_sessions / 4 / workers).max(1) }
    }

    /// What those work with who move sessions.
    pub(crate) fn operations_context(&self) -> operations::context::OperationContext {
        operations::context::OperationContext {
            operations: Arc::clone(&self.operations),
            registry: Arc::clone(&self.sessions.registry),
            current: Arc::clone(&self.current),
        }
    }

    /// Takes over another configuration. Sessions go on. One caller at a time.
    pub(crate) fn reconfigure(&self, settings: Settings, tls: TlsSetup) {
        self.current.replace(self.snapshot().renewed(settings, tls, &self.addresses));
        let since_1970 = clock::wall().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.reconfigured.store(since_1970.as_millis() as u64, Relaxed);
    }

    /// When another configuration was last taken over, since 1970; `None`: never.
    pub(crate) fn reconfigured(&self) -> Option<Duration> {
        let millis = self.reconfigured.load(Relaxed);
        (millis > 0).then(|| Duration::from_millis(millis))
    }

    /// Every listener for clients, in the order of the configuration.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = ListenerId> {
        self.addresses
            .iter()
            .enumerate()
            .map(|(number, address)| ListenerId { number, address: address.clone() })
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Relaxed)
    }

    /// Tells balancers to send no more clients.
    pub(crate) fn retire(&self) {
        self.ready.store(false, Relaxed);
    }
}
