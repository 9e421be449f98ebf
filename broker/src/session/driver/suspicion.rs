//! A session whose messages may have killed backends: its turn, and how many may have theirs beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::upstream::pool::Pool;
use crate::upstream::pool::suspects::SuspectTurn;

/// What a session has only while it is suspected.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    /// Its turn at its backend.
    pub(super) turn: Option<SuspectTurn>,
    /// How many may be in its next group; `None`: as many as there may be.
    most: Option<usize>,
    /// Its dial waits for a turn, or for what is known of others.
    waits: Arc<AtomicBool>,
}

impl Suspicion {
    /// Returns how many may be in its group, and what is true while it waits for its turn.
    pub(super) fn search(&self) -> (usize, Arc<AtomicBool>) {
        (self.most.unwrap_or(usize::MAX), Arc::clone(&self.waits))
    }

    /// Its dial waits at this moment.
    pub(super) fn waits(&self) -> bool {
        self.waits.load(Relaxed)
    }

    /// All suspects are acknowledged.
    pub(super) fn cleared(&mut self) {
        self.most = None;
        if let Some(turn) = self.turn.take() {
            turn.cleared();
        }
    }

    /// The backend has failed.
    pub(super) fn died(&mut self) {
        if let Some(turn) = self.turn.take() {
            self.most = Some(turn.died());
        }
    }
}

/// Waits until it is known whether the accused message is convicted.
pub(super) async fn convicts(pool: &Pool, session: &str, seq: u64, waits: &AtomicBool) -> bool {
    waits.store(true, Relaxed);
    let convicted = pool.convicts(session, seq).await;
    waits.store(false, Relaxed);
    convicted
}
