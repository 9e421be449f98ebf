//! A life of the broker: threads for the sessions, and the jobs beside them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::limits::Capacity;
use super::listeners::{BoundListener, Listeners, SocketFile};
use super::signals::Signals;
use super::wind_down;
use super::worker::{self, Entrance, Phase};
use crate::broker::{Broker, Room};
use crate::config::settings::Settings;
use crate::config::{Look, Source};
use crate::operations;
use crate::reload::{self, Reloader};
use crate::routing::listener::ListenerId;
use crate::session::driver::test_kernel;
use crate::session::pressing::Presser;
use crate::telemetry::logging::Levels;
use crate::telemetry::metrics::Exporter;
use crate::tls::TlsSetup;
use crate::upstream::checks::{self, Configured};
use crate::upstream::ejections;
use crate::upstream::pool::Pool;
use crate::{admin, clock};

/// What a reload needs.
#[derive(Debug)]
pub struct Reloads {
    /// Where the configuration comes from.
    pub source: Source,
    /// What is logged.
    pub levels: Levels,
    /// The files as they were before they were read: what has changed since then is not known yet.
    pub seen: Look,
}

/// Runs the broker until the signals say otherwise and everything is closed.
///
/// # Errors
/// When a thread cannot be started or a listener cannot be used. Sessions' own troubles are not
/// errors of the broker.
pub async fn run(
    listeners: Listeners,
    (settings, tls): (Settings, TlsSetup),
    capacity: Capacity,
    Reloads { source, levels, seen }: Reloads,
    Signals { mut stop, reload }: Signals,
) -> io::Result<()> {
    let workers = settings.workers;
    let kernel = std::thread::Builder::new().name("kernel".to_owned()).spawn(test_kernel)?;
    let exporter = Exporter::install();
    let addresses = listeners.clients.iter().map(|listener| listener.address.clone()).collect();
    let Capacity { max_sessions: sessions, max_handshakes: handshakes, buffers, .. } = capacity;
    let room = Room { sessions, handshakes, buffers };
    let broker = Arc::new(Broker::new((settings, tls), room, addresses));
    let (entrances, files) = entrances(listeners.clients);
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
    beside.spawn(ejections::supervise(pools(Arc::clone(&broker))));
    beside.spawn(operations::supervise(broker.operations_context()));
    beside.spawn(checks::supervise(configured(Arc::clone(&broker))));
    wind_down::end(&broker, &phase, &mut stop).await;
    // A send fails only when no worker is left to hear it.
    let _ = phase.send(Phase::Ending);
    drop(files);
    drop(beside);
    for thread in threads {
        if thread.join().is_err() {
            return Err(io::Error::other("a worker thread panicked"));
        }
    }
    Ok(())
}

/// How often the sessions' far deadlines are looked at.
const SWEEP: Duration = Duration::from_millis(250);

async fn sweep(broker: Arc<Broker>) {
    let mut presser = Presser::default();
    // So many clients may be away; the other places are for those that are here.
    let away_max = (broker.max_sessions / 2).max(1);
    loop {
        let now = clock::note();
        broker.sessions.registry.sweep(now);
        broker.reserve.release(now);
        presser.look(&broker.sessions, away_max, now);
        sleep(SWEEP).await;
    }
}

/// The pools of the moment.
fn pools(broker: Arc<Broker>) -> impl Fn() -> Vec<Arc<Pool>> {
    move || broker.snapshot().pools.values().cloned().collect()
}

/// What the checks are to know of the configuration.
fn configured(broker: Arc<Broker>) -> impl Fn() -> Configured {
    move || {
        let snapshot = broker.snapshot();
        Configured { pools: snapshot.pools.values().cloned().collect(), dns: snapshot.settings.dns.clone() }
    }
}

/// The listeners for the workers, and the files of those that have one.
fn entrances(clients: Vec<BoundListener>) -> (Vec<Entrance>, Vec<SocketFile>) {
    let mut files = Vec::new();
    let entrance = |(number, bound): (usize, BoundListener)| {
        files.extend(bound.file);
        Entrance { socket: bound.socket, listener: ListenerId { number, address: bound.address } }
    };
    let entrances = clients.into_iter().enumerate().map(entrance).collect();
    (entrances, files)
}
