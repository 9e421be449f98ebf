//! The directory of sessions: who is there, for the admin API, the metrics and the shutdown.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use dashmap::DashMap;
use steadfast_protocol::session::{Ledger, Session};
use steadfast_protocol::time::Time;
use tokio::sync::Notify;

use crate::pool::{Pool, Seat};

/// All sessions of the broker.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    live: DashMap<u128, Arc<Entry>>,
    /// What became of the messages of sessions that have ended.
    past: Mutex<Ledger>,
    begun: AtomicU64,
    /// A session has ended.
    left: Notify,
}

/// One session, as its own task and everyone else sees it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: u128,
    pub(crate) pool: Arc<Pool>,
    pub(crate) client: SocketAddr,
    pub(crate) listener: SocketAddr,
    pub(crate) began: Time,
    core: Mutex<Core>,
}

/// What changes. Its own task holds the lock while it works, others for a glance.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) machine: Session,
    /// The backend it is on.
    pub(crate) seat: Option<Seat>,
    /// Its task.
    pub(crate) waker: Waker,
}

impl Entry {
    pub(crate) fn new(
        id: u128,
        pool: Arc<Pool>,
        (client, listener): (SocketAddr, SocketAddr),
        began: Time,
        machine: Session,
        seat: Seat,
    ) -> Entry {
        let core = Core { machine, seat: Some(seat), waker: Waker::noop().clone() };
        Entry { id, pool, client, listener, began, core: Mutex::new(core) }
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id as headers, logs and the API show it.
    pub(crate) fn name(&self) -> String {
        session_name(self.id)
    }
}

/// 32 hex digits.
pub(crate) fn session_name(id: u128) -> String {
    format!("{id:032x}")
}

impl Registry {
    pub(crate) fn insert(&self, entry: Arc<Entry>) {
        self.begun.fetch_add(1, Relaxed);
        self.live.insert(entry.id, entry);
    }

    /// Takes an ended session out and keeps its counts.
    pub(crate) fn remove(&self, id: u128, ledger: Ledger) {
        self.live.remove(&id);
        *self.past() += ledger;
        self.left.notify_waiters();
    }

    pub(crate) fn get(&self, id: u128) -> Option<Arc<Entry>> {
        self.live.get(&id).map(|entry| Arc::clone(&entry))
    }

    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Relaxed)
    }

    /// All live sessions. A copy of the list, so that no lock is held while they are looked at.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.live.iter().map(|entry| Arc::clone(&entry)).collect()
    }

    /// Counts of the sessions that have ended.
    pub(crate) fn past(&self) -> MutexGuard<'_, Ledger> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no session is left.
    pub(crate) async fn emptied(&self) {
        loop {
            let left = self.left.notified();
            if self.live.is_empty() {
                return;
            }
            left.await;
        }
    }

    /// Tells every session that the broker ends.
    pub(crate) fn shut_down(&self, now: Time, code: u16) {
        for entry in self.all() {
            let mut core = entry.core();
            core.machine.shut_down(now, code);
            core.waker.wake_by_ref();
        }
    }
}
