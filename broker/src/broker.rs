//! What all workers share.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Semaphore;

use crate::config::settings::Settings;
use crate::operations::Operations;
use crate::routing::listener::Listener;
use crate::routing::pauses::Pauses;
use crate::server::limits::Capacity;
use crate::session::memory::Budget;
use crate::session::registry::Registry;
use crate::session::resumption::Returns;
use crate::snapshot::Setup;
use crate::upstream::dial::Dialer;

/// The broker's state, apart from the sessions' own tasks.
pub(crate) struct Broker {
    setup: RwLock<Arc<Setup>>,
    /// The listeners' bound addresses.
    addresses: Vec<SocketAddr>,
    pub(crate) dialer: Dialer,
    /// Planned moves that may begin.
    pub(crate) moves: Arc<Semaphore>,
    pub(crate) registry: Arc<Registry>,
    /// Clients that come back to their sessions.
    pub(crate) returns: Arc<Returns>,
    pub(crate) operations: Operations,
    pub(crate) budget: Budget,
    /// Sessions at once.
    pub(crate) max_sessions: usize,
    /// Connections that may still come to the door.
    pub(crate) handshakes: Arc<Semaphore>,
    /// Listeners that take no sessions for a while.
    pub(crate) pauses: Pauses,
    /// New sessions are welcome.
    ready: AtomicBool,
    /// When another configuration was last taken over, in milliseconds since 1970; 0: never.
    reconfigured: AtomicU64,
}

impl Broker {
    pub(crate) fn new(settings: Settings, capacity: &Capacity, addresses: Vec<SocketAddr>) -> Broker {
        let registry: Arc<Registry> = Arc::default();
        Broker {
            dialer: Dialer::new(settings.herd.dials),
            moves: Arc::new(Semaphore::new(settings.herd.moves)),
            operations: Operations::new(Arc::clone(&registry)),
            returns: Arc::new(Returns::new(Arc::clone(&registry))),
            registry,
            budget: Budget::new(capacity.buffers, settings.limits.message),
            max_sessions: capacity.max_sessions,
            handshakes: Arc::new(Semaphore::new(settings.limits.max_handshakes)),
            pauses: Pauses::new(addresses.len()),
            ready: AtomicBool::new(true),
            reconfigured: AtomicU64::new(0),
            setup: RwLock::new(Arc::new(Setup::new(settings, &addresses))),
            addresses,
        }
    }

    /// What is configured now.
    pub(crate) fn setup(&self) -> Arc<Setup> {
        Arc::clone(&self.setup.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over another configuration. Sessions go on. One caller at a time.
    pub(crate) fn reconfigure(&self, settings: Settings) {
        let next = Arc::new(self.setup().renewed(settings, &self.addresses));
        *self.setup.write().unwrap_or_else(PoisonError::into_inner) = next;
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.reconfigured.store(since_1970.as_millis() as u64, Relaxed);
    }

    /// When another configuration was last taken over, since 1970; `None`: never.
    pub(crate) fn reconfigured(&self) -> Option<Duration> {
        let millis = self.reconfigured.load(Relaxed);
        (millis > 0).then(|| Duration::from_millis(millis))
    }

    /// Every listener for clients, in the order of the configuration.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = Listener> {
        self.addresses.iter().enumerate().map(|(number, address)| Listener { number, address: *address })
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Relaxed)
    }

    /// Tells balancers to send no more clients.
    pub(crate) fn retire(&self) {
        self.ready.store(false, Relaxed);
    }
}
