//! Whether a backend takes connections again that has failed its sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use steadfast_protocol::time::Time;

use super::Backend;
use crate::clock;
use crate::net::connect::connect;
use crate::upstream::balance::Standing;
use crate::upstream::pool::Pool;

/// One connection at a time, however many sessions want to know.
#[derive(Debug, Default)]
pub(super) struct Knock {
    under_way: AtomicBool,
    /// When the last one was begun that was answered, in microseconds since the clock's origin.
    answered: AtomicU64,
}

impl Backend {
    /// How many sessions it has room for, if it has taken a connection that was begun after `since`. One is
    /// begun, to know it the next time.
    pub(crate) fn room_if_back(self: &Arc<Backend>, pool: &Arc<Pool>, now: Time, since: Time) -> usize {
        let candidate = self.candidate(now, false);
        let room = candidate.filter(|candidate| candidate.standing != Standing::Ejected).map(|it| it.room());
        let Some(room) = room.filter(|room| *room > 0) else { return 0 };
        if self.knock.answered.load(Relaxed) >= since.micros_since(Time::ORIGIN) {
            return room;
        }
        if !self.knock.under_way.swap(true, Relaxed) {
            tokio::spawn(knock(Arc::clone(self), Arc::clone(pool)));
        }
        0
    }
}

async fn knock(backend: Arc<Backend>, pool: Arc<Pool>) {
    let begun = clock::now();
    let limit = pool.present().dialing.connect;
    let Backend { host, port, history, .. } = &*backend;
    if connect(host, *port, &pool.sources(), history, limit).await.is_ok() {
        backend.knock.answered.store(begun.micros_since(Time::ORIGIN), Relaxed);
    }
    backend.knock.under_way.store(false, Relaxed);
}
