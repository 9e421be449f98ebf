//! What the tasks of all sessions work with, one for all workers.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::config::settings::Herd;
use crate::session::memory::Budget;
use crate::session::registry::Registry;
use crate::session::resumption::Returns;
use crate::session::tickets::Tickets;
use crate::upstream::dial::Dialer;

/// The sessions' hold on what they share.
pub(crate) struct SessionContext {
    pub(crate) dialer: Dialer,
    /// Planned moves that may begin.
    pub(super) moves: Arc<Semaphore>,
    pub(crate) registry: Arc<Registry>,
    /// Clients that come back to their sessions.
    pub(crate) returns: Arc<Returns>,
    /// What is known here of the operations that move sessions.
    pub(crate) tickets: Arc<Tickets>,
    pub(super) budget: Budget,
}

impl SessionContext {
    /// Without a session. `herd`: how many dials and moves there are at once; `budget`: the memory of all.
    pub(crate) fn new(herd: &Herd, budget: Budget) -> SessionContext {
        let registry: Arc<Registry> = Arc::default();
        SessionContext {
            dialer: Dialer::new(herd.dials, herd.dials_per_backend),
            moves: Arc::new(Semaphore::new(herd.moves)),
            returns: Arc::new(Returns::new(Arc::clone(&registry))),
            registry,
            tickets: Arc::default(),
            budget,
        }
    }
}
