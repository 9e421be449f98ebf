//! The requests that a backend is answering, beside its sessions: how many there are, and their end when it is drained.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use steadfast_protocol::time::Time;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::{Backend, BackendLease};

/// The requests that one backend is answering.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    count: AtomicUsize,
    cut: Arc<Notify>,
}

/// A request's place on a backend; given back when dropped.
#[derive(Debug)]
pub(crate) struct RequestLease {
    lease: BackendLease,
}

impl Requests {
    /// Returns how many there are.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Ends those that there are: their time is over.
    pub(crate) fn cut(&self) {
        self.cut.notify_waiters();
    }
}

impl RequestLease {
    /// The place of `lease` is a request's.
    pub(crate) fn new(lease: BackendLease) -> RequestLease {
        lease.backend().requests.count.fetch_add(1, Relaxed);
        RequestLease { lease }
    }

    pub(crate) fn backend(&self) -> &Arc<Backend> {
        self.lease.backend()
    }

    /// Waits until requests are to end that are not through by then; from this call on.
    pub(crate) fn cut(&self) -> OwnedNotified {
        Arc::clone(&self.backend().requests.cut).notified_owned()
    }

    /// The backend has answered, which speaks for it.
    pub(crate) fn answered(&self, now: Time) {
        self.backend().life.heard(now);
        self.lease.served(now);
    }
}

impl Drop for RequestLease {
    fn drop(&mut self) {
        self.backend().requests.count.fetch_sub(1, Relaxed);
    }
}
