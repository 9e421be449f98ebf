//! Places on a backend for clients that were sent there and connect by themselves: the broker never sees them come.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use steadfast_protocol::time::Time;

use super::{Backend, BackendState};
use crate::upstream::balance::Candidate;

/// A place that counts as a session; given back when dropped.
#[derive(Debug)]
pub(crate) struct ReservedPlace {
    backend: Arc<Backend>,
}

impl Backend {
    /// What placement is to know of it for a client that is to be sent there; `None`: nobody is. How such a client fares
    /// nobody hears, so that it is of no use as a trial.
    pub(in crate::upstream) fn public_candidate(&self, now: Time) -> Option<Candidate> {
        let is_up = self.status().state == BackendState::Up;
        self.candidate(now, false).filter(|_| is_up)
    }

    /// Reserves a place on what was a candidate for that; `None` when the last one has gone to somebody else, or the
    /// backend is up no more.
    pub(in crate::upstream) fn reserve(self: &Arc<Backend>) -> Option<ReservedPlace> {
        let status = self.status();
        let max = status.max_sessions().unwrap_or(usize::MAX);
        if status.state != BackendState::Up || self.sessions() + self.reserved() >= max {
            return None;
        }
        // Whoever takes a lease holds the same lock.
        self.reserved.fetch_add(1, Relaxed);
        Some(ReservedPlace { backend: Arc::clone(self) })
    }
}

impl ReservedPlace {
    pub(crate) fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }
}

impl Drop for ReservedPlace {
    fn drop(&mut self) {
        self.backend.reserved.fetch_sub(1, Relaxed);
        self.backend.queue.notify();
    }
}
