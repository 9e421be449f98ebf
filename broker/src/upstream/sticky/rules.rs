//! How the clients of a pool come back, as it is configured, and where each of them belongs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::clients::Clients;
use super::learned::{Belonging, Bounds};
use super::token::{StickyToken, TokenKeys};
use crate::config::settings::{StickyCookie, StickyDraining, StickyLearning, StickyMode, StickySettings};
use crate::upstream::backend::{Backend, Reach};

/// Clients that are remembered because they belong elsewhere than their cookies say.
const MOVED: Bounds = Bounds { entries: 100_000, timeout: Duration::from_secs(24 * 60 * 60) };

/// How the clients of a pool come back, as it is configured. Replaced at a reload; what is known of clients stays.
pub(crate) struct Sticky {
    pub(super) pool: Arc<str>,
    pub(super) draining: StickyDraining,
    pub(super) known_by: KnownBy,
    pub(super) clients: Arc<Clients>,
}

/// What a client is known by.
pub(super) enum KnownBy {
    Cookie { settings: StickyCookie, keys: TokenKeys },
    Learning(StickyLearning),
}

/// The backend that a client belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Preferred {
    /// Its id.
    pub(crate) backend: usize,
    /// Whether the client goes there at all.
    pub(crate) reach: Reach,
}

impl Sticky {
    pub(crate) fn new(pool: &Arc<str>, settings: &StickySettings, clients: &Arc<Clients>) -> Sticky {
        let known_by = match &settings.mode {
            StickyMode::Insert(settings) => {
                KnownBy::Cookie { keys: TokenKeys::new(&settings.secrets, pool), settings: settings.clone() }
            }
            StickyMode::Learn(learning) => KnownBy::Learning(learning.clone()),
        };
        Sticky { pool: Arc::clone(pool), draining: settings.draining, known_by, clients: Arc::clone(clients) }
    }

    /// The client of this session belongs to this backend from now on.
    pub(crate) fn moved(&self, session: u128, backend: &Backend) {
        if let Some(client) = self.clients.of_session(session) {
            self.binds(client, backend.hash());
        }
    }

    /// Where the client of this session has gone by another session or request, since it had to leave its backend; `left`:
    /// the one that this session leaves.
    pub(crate) fn gone_to(
        &self,
        session: u128,
        backends: &[Arc<Backend>],
        left: Option<usize>,
    ) -> Option<Preferred> {
        let belonging = self.belonging(self.clients.of_session(session)?)?;
        let backend = id_of(backends, belonging.backend).filter(|backend| Some(*backend) != left)?;
        Some(Preferred { backend, reach: Reach { unweighted: false, drained: false } })
    }

    fn bounds(&self) -> Bounds {
        match &self.known_by {
            KnownBy::Cookie { .. } => MOVED,
            KnownBy::Learning(StickyLearning { entries, timeout, .. }) => {
                Bounds { entries: *entries, timeout: *timeout }
            }
        }
    }

    /// The client belongs to the backend whose name has this hash, from now on.
    pub(super) fn binds(&self, client: u64, backend: u64) {
        self.clients.bind(client, backend, self.bounds());
    }

    /// Where the client belongs, as far as that is remembered.
    pub(super) fn belonging(&self, client: u64) -> Option<Belonging> {
        self.clients.belonging(client, self.bounds())
    }

    /// Where a client with this cookie belongs: to the backend of its cookie, unless it was moved since then.
    pub(super) fn belongs(&self, token: &StickyToken) -> u64 {
        let moved = self.belonging(token.client).filter(|belonging| belonging.since >= token.last);
        moved.map_or(token.backend, |belonging| belonging.backend)
    }
}

impl fmt::Debug for Sticky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sticky({})", self.pool)
    }
}

/// The backend whose name has this hash.
pub(super) fn id_of(backends: &[Arc<Backend>], hash: u64) -> Option<usize> {
    backends.iter().find(|backend| backend.hash() == hash).map(|backend| backend.id)
}
