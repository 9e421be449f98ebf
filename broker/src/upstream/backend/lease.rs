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
    /// It tries a backend that is out.
    tries: bool,
    /// Why it is here.
    pub(crate) reason: ChoiceReason,
}

impl BackendLease {
    /// A place that the backend counts already.
    pub(super) fn new(backend: &Arc<Backend>, now: Time, reason: ChoiceReason) -> BackendLease {
        let backend = Arc::clone(backend);
        BackendLease { backend, since: now, linked: false, failed: false, tries: false, reason }
    }

    /// It is the session that tries a backend that is out.
    pub(super) fn trying(mut self) -> BackendLease {
        self.tries = true;
        self
    }

    pub(crate) fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// The backend has taken the session.
    pub(crate) fn linked(&mut self, now: Time) {
        (self.since, self.linked) = (now, true);
        let mut status = self.backend.status();
        status.linked(now);
        if self.tries {
            status.resort.linked(now);
        }
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
        if self.tries {
            self.backend.status().resort.left();
        }
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
