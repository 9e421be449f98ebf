//! A session's place on a backend.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use steadfast_protocol::time::Time;
use steadfast_protocol::websocket::close_code::CloseCode;

use super::Backend;
use crate::upstream::balance::ChoiceReason;

/// A session's place on a backend; given back when dropped.
#[derive(Debug)]
pub(crate) struct BackendLease {
    backend: Arc<Backend>,
    /// Since when it is linked; until then, since it was taken.
    since: Time,
    linked: bool,
    failed: bool,
    /// Why it is here.
    pub(crate) reason: ChoiceReason,
}

impl BackendLease {
    /// A place that the backend counts already.
    pub(super) fn new(backend: &Arc<Backend>, now: Time, reason: ChoiceReason) -> BackendLease {
        BackendLease { backend: Arc::clone(backend), since: now, linked: false, failed: false, reason }
    }

    pub(crate) fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// The backend has taken the session.
    pub(crate) fn linked(&mut self, now: Time) {
        (self.since, self.linked) = (now, true);
        self.backend.status().linked(now);
    }

    /// The backend has closed this session with a code that stands for a failure.
    pub(crate) fn closed_with(&self, now: Time, code: CloseCode) {
        self.backend.closed_with(now, self.since, code);
    }

    /// The backend has failed this session. True: so soon that it counts against it.
    pub(crate) fn fail(&mut self, now: Time) -> bool {
        self.failed = true;
        now.since(self.since) < self.backend.status().rules.outlier.early_death
    }
}

impl Drop for BackendLease {
    fn drop(&mut self) {
        self.backend.sessions.fetch_sub(1, Relaxed);
        if !self.failed {
            let now = crate::clock::now();
            self.backend.change(now, |status| {
                let lasted = self.linked && now.since(self.since) >= status.rules.outlier.early_death;
                if !lasted {
                    status.circuit.left();
                    return None;
                }
                let change = status.circuit.lasted(now)?;
                Some(status.circuit_changed(now, change))
            });
        }
        self.backend.queue.notify();
    }
}
