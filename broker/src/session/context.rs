//! What the tasks of all sessions work with, one for all workers.

use std::fmt;
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

/// A place under `max_sessions`, given back when dropped, and with it the hold on what sessions share: one pointer
/// is both.
pub(crate) struct SessionPermit(Arc<SessionContext>);

impl SessionPermit {
    /// What all sessions share.
    #[inline]
    pub(super) fn context(&self) -> &Arc<SessionContext> {
        &self.0
    }
}

impl Drop for SessionPermit {
    fn drop(&mut self) {
        self.0.registry.give_place();
    }
}

impl fmt::Debug for SessionPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionPermit")
    }
}

impl SessionContext {
    /// A place for one more session, while there are fewer than `max`.
    pub(crate) fn admit(self: &Arc<SessionContext>, max: usize) -> Option<SessionPermit> {
        self.registry.take_place(max).then(|| SessionPermit(Arc::clone(self)))
    }

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
