//! Whether a backend takes connections again that has failed its sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use steadfast_protocol::time::Time;
use tokio::time::timeout;

use super::Backend;
use crate::clock;
use crate::connect::connect;
use crate::placement::Standing;
use crate::pool::Pool;

/// One connection at a time, however many sessions want to know.
#[derive(Debug, Default)]
pub(super) struct Knock {
    under_way: AtomicBool,
    /// When the last one was begun that was answered, in microseconds since the clock's origin.
    answered: AtomicU64,
}

impl Backend {
    /// It gets sessions, and has taken a connection that was begun after `since`. One is begun, to know it
    /// the next time.
    pub(crate) fn is_back(self: &Arc<Backend>, pool: &Arc<Pool>, now: Time, since: Time) -> bool {
        let candidate = self.candidate(now, false);
        if candidate.is_none_or(|candidate| candidate.standing == Standing::Ejected || candidate.room() == 0)
        {
            return false;
        }
        if self.knock.answered.load(Relaxed) >= micros(since) {
            return true;
        }
        if !self.knock.under_way.swap(true, Relaxed) {
            tokio::spawn(knock(Arc::clone(self), Arc::clone(pool)));
        }
        false
    }
}

async fn knock(backend: Arc<Backend>, pool: Arc<Pool>) {
    let begun = clock::now();
    let limit = pool.present().dialing.connect;
    let connected = timeout(limit, connect(&backend.host, backend.port, &pool.sources())).await;
    if matches!(connected, Ok(Ok(_))) {
        backend.knock.answered.store(micros(begun), Relaxed);
    }
    backend.knock.under_way.store(false, Relaxed);
}

fn micros(time: Time) -> u64 {
    time.since_origin().as_micros() as u64
}
