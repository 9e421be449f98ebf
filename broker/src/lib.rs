//! Steadfast, a session-preserving WebSocket failover broker.
//!
//! [`run`] is the broker: listeners, settings and a way to stop it go in; sessions happen. The story
//! of one session is in `session` (the driver) and in `steadfast_protocol::session` (the machine).

mod admin;
mod api;
mod broker;
pub mod cli;
mod clock;
pub mod config;
pub mod demo;
mod downstream;
mod http;
pub mod limits;
pub mod listeners;
mod net;
mod operations;
mod reload;
mod routing;
mod session;
mod setup;
pub mod shutdown;
pub mod signals;
pub mod telemetry;
mod upstream;
mod worker;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use broker::Broker;
use config::settings::Settings;
use config::{Source, Stamp};
use limits::Capacity;
use listeners::Listeners;
use reload::Reloader;
use shutdown::Stop;
use signals::Signals;
use telemetry::logging::Levels;
use worker::{Entrance, Listener, Phase};

/// What a reload needs.
#[derive(Debug)]
pub struct Reloads {
    /// Where the configuration comes from.
    pub source: Source,
    /// What is logged.
    pub levels: Levels,
    /// The file as it was before it was read: what has changed since then is not known yet.
    pub seen: Option<Stamp>,
}

/// Runs the broker until the signals say otherwise and everything is closed.
///
/// # Errors
/// When a thread cannot be started or a listener cannot be used. Sessions' own troubles are not
/// errors of the broker.
pub async fn run(
    listeners: Listeners,
    settings: Settings,
    capacity: Capacity,
    Reloads { source, levels, seen }: Reloads,
    Signals { mut stop, reload }: Signals,
) -> io::Result<()> {
    let workers = settings.workers;
    let kernel = std::thread::spawn(session::driver::test_kernel);
    let exporter = telemetry::metrics::Exporter::install();
    let addresses = listeners.clients.iter().map(|listener| listener.address).collect();
    let broker = Arc::new(Broker::new(settings, &capacity, addresses));
    let entrances = entrances(listeners.clients);
    let (phase, watched) = watch::channel(Phase::Accepting);
    // What it may find out, the first session may need.
    if kernel.join().is_err() {
        return Err(io::Error::other("the look at what the kernel can say has failed"));
    }
    let threads = (0..workers)
        .map(|number| worker::start(number, &broker, &entrances, &watched))
        .collect::<io::Result<Vec<_>>>()?;
    // Each worker has handles of its own; when they are dropped, the addresses are free.
    drop(entrances);
    let (requests, requested) = mpsc::channel(reload::REQUESTS);
    let reloader = Reloader { broker: Arc::clone(&broker), source, levels, seen };
    let mut beside = JoinSet::new();
    if let Some(socket) = listeners.admin {
        beside.spawn(admin::serve(socket, Arc::clone(&broker), exporter, requests));
    }
    beside.spawn(reloader.run(reload, requested));
    beside.spawn(sweep(Arc::clone(&broker)));
    beside.spawn(operations::evacuation::keep(Arc::clone(&broker)));
    beside.spawn(operations::supervise(Arc::clone(&broker)));
    beside.spawn(upstream::health::checks::supervise(Arc::clone(&broker)));
    end(&broker, &phase, &mut stop).await;
    // A send fails only when no worker is left to hear it.
    let _ = phase.send(Phase::Ending);
    drop(beside);
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
    let setup = broker.setup();
    let settings = &setup.settings;
    broker.retire();
    tracing::info!(delay = ?settings.shutdown.delay, sessions = broker.registry.len(), "ending: not ready any more");
    sleep(settings.shutdown.delay).await;
    let _ = phase.send(Phase::Closed);
    broker.registry.close_door(clock::now(), settings.close_codes.shutdown);
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

fn entrances(clients: Vec<listeners::BoundListener>) -> Vec<Entrance> {
    let entrance = |(number, bound): (usize, listeners::BoundListener)| Entrance {
        socket: bound.socket,
        listener: Listener { number, address: bound.address },
    };
    clients.into_iter().enumerate().map(entrance).collect()
}
