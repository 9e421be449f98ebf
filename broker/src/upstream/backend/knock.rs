//! Whether a backend takes connections again that has failed its sessions.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use steadfast_protocol::time::Time;

use super::Backend;
use crate::clock;
use crate::net::connect::connect;
use crate::upstream::balance::CandidateTrust;

/// One connection at a time, however many sessions want to know.
#[derive(Debug, Default)]
pub(super) struct Knock {
    under_way: AtomicBool,
    /// When the last one was begun that was answered, in microseconds since the clock's origin.
    answered: AtomicU64,
}

impl Backend {
    /// How many sessions it has room for, if it has taken a connection that was begun after `since`. One is
    /// begun, to know it the next time: `from` says from which addresses, and how long it may take.
    pub(crate) fn room_if_back(
        self: &Arc<Backend>,
        from: impl FnOnce() -> (Vec<IpAddr>, Duration),
        now: Time,
        since: Time,
    ) -> usize {
        let candidate = self.candidate(now, false);
        let room =
            candidate.filter(|candidate| candidate.standing != CandidateTrust::Ejected).map(|it| it.room());
        let Some(room) = room.filter(|room| *room > 0) else { return 0 };
        if self.knock.answered.load(Relaxed) >= since.micros_since(Time::ORIGIN) {
            return room;
        }
        if !self.knock.under_way.swap(true, Relaxed) {
            tokio::spawn(knock(Arc::clone(self), from()));
        }
        0
    }
}

async fn knock(backend: Arc<Backend>, (sources, limit): (Vec<IpAddr>, Duration)) {
    let begun = clock::now();
    let Backend { host, port, history, .. } = &*backend;
    if connect(host, *port, &sources, history, limit).await.is_ok() {
        backend.knock.answered.store(begun.micros_since(Time::ORIGIN), Relaxed);
    }
    backend.knock.under_way.store(false, Relaxed);
}
