//! Steadfast, a session-preserving WebSocket failover broker.
//!
//! [`run`] is the broker: listeners, settings and a way to stop it go in; sessions happen. The story
//! of one session is in `session` (the driver) and in `steadfast_protocol::session` (the machine).

mod access;
mod admin;
mod broker;
mod budget;
mod circuit;
pub mod cli;
mod clock;
pub mod config;
pub mod demo;
mod dial;
mod door;
mod gate;
mod handshake;
mod header_rules;
mod hostname;
mod journal;
pub mod limits;
pub mod listeners;
pub mod logging;
mod metrics;
mod placement;
mod pool;
mod registry;
mod route;
mod session;
pub mod shutdown;
pub mod signals;
mod vitals;
mod worker;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use broker::Broker;
use config::settings::Settings;
use limits::Capacity;
use listeners::Listeners;
use shutdown::Stop;
use worker::{Entrance, Phase};

/// Runs the broker until `stop` says otherwise and everything is closed.
///
/// # Errors
/// When a thread cannot be started or a listener cannot be used. Sessions' own troubles are not
/// errors of the broker.
pub async fn run(
    listeners: Listeners,
    settings: Settings,
    capacity: Capacity,
    mut stop: watch::Receiver<Stop>,
) -> io::Result<()> {
    let workers = settings.workers;
    let exporter = metrics::Exporter::install();
    let broker = Arc::new(Broker::new(settings, &capacity));
    let entrances = entrances(&broker, listeners.clients)?;
    let (phase, watched) = watch::channel(Phase::Accepting);
    let threads = (0..workers)
        .map(|number| worker::start(number, &broker, &entrances, &watched))
        .collect::<io::Result<Vec<_>>>()?;
    // Each worker has handles of its own; when they are dropped, the addresses are free.
    drop(entrances);
    let admin =
        listeners.admin.map(|socket| tokio::spawn(admin::serve(socket, Arc::clone(&broker), exporter)));
    let sweeper = tokio::spawn(sweep(Arc::clone(&broker)));
    end(&broker, &phase, &mut stop).await;
    // A send fails only when no worker is left to hear it.
    let _ = phase.send(Phase::Ending);
    if let Some(task) = admin {
        task.abort();
    }
    sweeper.abort();
    for thread in threads {
        if thread.join().is_err() {
            return Err(io::Error::other("a worker thread panicked"));
        }
    }
    Ok(())
}

/// How often the sessions' far deadlines are looked at.
pub(crate) const SWEEP: Duration = Duration::from_millis(250);

async fn sweep(broker: Arc<Broker>) {
    loop {
        sleep(SWEEP).await;
        broker.registry.sweep(clock::now());
    }
}

/// Waits for the stop and goes through its steps; returns when nothing is left, or at once when told
/// so.
async fn end(broker: &Broker, phase: &watch::Sender<Phase>, stop: &mut watch::Receiver<Stop>) {
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
    let settings = &broker.settings;
    broker.retire();
    tracing::info!(delay = ?settings.shutdown.delay, sessions = broker.registry.len(), "ending: not ready any more");
    sleep(settings.shutdown.delay).await;
    let _ = phase.send(Phase::Closed);
    tracing::info!(grace = ?settings.shutdown.grace, sessions = broker.registry.len(), "ending: no new sessions");
    if timeout(settings.shutdown.grace, broker.registry.emptied()).await.is_ok() {
        return;
    }
    tracing::info!(sessions = broker.registry.len(), "ending: closing the sessions that are left");
    broker.registry.shut_down(clock::now(), settings.close_codes.shutdown);
    // The machine gives each Close its time; one second more covers what a busy machine adds.
    let patience = settings.timeouts.close.saturating_mul(2) + Duration::from_secs(1);
    if timeout(patience, broker.registry.emptied()).await.is_err() {
        tracing::warn!(sessions = broker.registry.len(), "ending: sessions that did not close are cut");
    }
}

fn entrances(broker: &Broker, clients: Vec<listeners::BoundListener>) -> io::Result<Vec<Entrance>> {
    let entrance = |bound: listeners::BoundListener| {
        let name = bound.pool.unwrap_or_default();
        let pool = broker.pools.get(&name).cloned();
        let pool = pool.ok_or_else(|| io::Error::other(format!("there is no pool named {name}")))?;
        let gate = Arc::new(gate::Gate { address: bound.address, pool });
        Ok(Entrance { socket: bound.socket, gate })
    };
    clients.into_iter().map(entrance).collect()
}
