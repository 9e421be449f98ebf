//! The orderly end: not ready, no new sessions, a time of grace, a Close to each session that is left.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::shutdown::Stop;
use super::worker::Phase;
use crate::broker::Broker;
use crate::clock;

/// Waits for the stop and goes through its steps; returns when nothing is left, or at once when told
/// so.
pub(super) async fn end(broker: &Broker, phase: &watch::Sender<Phase>, stop: &mut watch::Receiver<Stop>) {
    // Without anybody who could say stop, the broker runs on.
    if stop.wait_for(|stop| *stop >= Stop::Graceful).await.is_err() {
        return std::future::pending().await;
    }
    tokio::select! {
        () = wind_down(broker, phase) => {}
        Ok(_) = stop.wait_for(|stop| *stop == Stop::Now) => {}
    }
}

async fn wind_down(broker: &Broker, phase: &watch::Sender<Phase>) {
    let snapshot = broker.snapshot();
    let settings = &snapshot.settings;
    broker.retire();
    tracing::info!(delay = ?settings.shutdown.delay, sessions = broker.sessions.registry.len(), "ending: not ready any more");
    sleep(settings.shutdown.delay).await;
    let _ = phase.send(Phase::Closed);
    broker.guests.end();
    broker.sessions.registry.stop_accepting(clock::now(), settings.close_codes.shutdown);
    tracing::info!(grace = ?settings.shutdown.grace, sessions = broker.sessions.registry.len(), "ending: no new sessions");
    if timeout(settings.shutdown.grace, broker.sessions.registry.emptied()).await.is_ok() {
        return;
    }
    tracing::info!(sessions = broker.sessions.registry.len(), "ending: closing the sessions that are left");
    broker.sessions.registry.shut_down(clock::now(), settings.close_codes.shutdown);
    snapshot.pools.values().for_each(|pool| pool.cut_requests());
    // The machine gives each Close its time; one second more covers what a busy machine adds.
    let patience = settings.timeouts.close.saturating_mul(2) + Duration::from_secs(1);
    if timeout(patience, broker.sessions.registry.emptied()).await.is_err() {
        tracing::warn!(
            sessions = broker.sessions.registry.len(),
            "ending: sessions that did not close are cut"
        );
    }
}
