//! What all workers share.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::sync::Semaphore;

use crate::budget::Budget;
use crate::config::settings::Settings;
use crate::dial::Dialer;
use crate::limits::Capacity;
use crate::pool::Pool;
use crate::registry::Registry;

/// The broker's state, apart from the sessions' own tasks.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) settings: Settings,
    pub(crate) pools: HashMap<String, Arc<Pool>>,
    pub(crate) dialer: Dialer,
    pub(crate) registry: Arc<Registry>,
    pub(crate) budget: Budget,
    /// Sessions at once.
    pub(crate) max_sessions: usize,
    /// Connections that may still come to the door.
    pub(crate) handshakes: Arc<Semaphore>,
    /// New sessions are welcome.
    ready: AtomicBool,
}

impl Broker {
    pub(crate) fn new(settings: Settings, capacity: &Capacity) -> Broker {
        let pool = |pool: &_| Arc::new(Pool::new(pool, &settings));
        Broker {
            pools: settings.pools.iter().map(pool).map(|pool| (pool.name.clone(), pool)).collect(),
            dialer: Dialer::new(&settings),
            registry: Arc::default(),
            budget: Budget::new(capacity.buffers, settings.limits.message),
            max_sessions: capacity.max_sessions,
            handshakes: Arc::new(Semaphore::new(settings.limits.max_handshakes)),
            ready: AtomicBool::new(true),
            settings,
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Relaxed)
    }

    /// Tells balancers to send no more clients.
    pub(crate) fn retire(&self) {
        self.ready.store(false, Relaxed);
    }
}
