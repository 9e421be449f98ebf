//! Worker threads: each has its own runtime, accepts connections and keeps their sessions, so that
//! a session never crosses threads.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::broker::Broker;
use crate::downstream::accept::accept;
use crate::downstream::connection::ClientConnection;
use crate::net::listener::{Acceptor, ListenSocket};
use crate::routing::listener::ListenerId;
use crate::upstream::forward;

/// As often as the sweep: an idle worker wakes no more often than the main thread does.
const TICK: Duration = Duration::from_millis(250);

/// A listener as every worker gets its own handle of it.
pub(super) struct Entrance {
    pub(super) socket: ListenSocket,
    pub(super) listener: ListenerId,
}

/// Whether workers accept, keep their sessions only, or end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Accepting,
    Closed,
    Ending,
}

/// Starts a worker.
///
/// # Errors
/// When the thread, its runtime or its handles of the listeners cannot be made.
pub(super) fn start(
    number: usize,
    broker: &Arc<Broker>,
    entrances: &[Entrance],
    phase: &watch::Receiver<Phase>,
) -> io::Result<thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut accepting = Vec::new();
    for entrance in entrances {
        let _context = runtime.enter();
        let listener = Acceptor::new(entrance.socket.try_clone()?)?;
        accepting.push((listener, entrance.listener.clone()));
    }
    let (broker, mut phase) = (Arc::clone(broker), phase.clone());
    thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        runtime.block_on(async {
            for (socket, listener) in accepting {
                tokio::spawn(enter(Arc::clone(&broker), socket, listener, phase.clone()));
            }
            tokio::spawn(tick(Arc::clone(&broker)));
            // Its sender lives as long as the broker; without it, there is nothing to stay for.
            let _ = phase.wait_for(|phase| *phase == Phase::Ending).await;
        });
    })
}

/// Looks after the connections to backends that wait for requests. It is a timer that comes sooner than almost all others:
/// whenever one is set that is the next to come, the runtime writes to its own eventfd and wakes once more; with each upgrade
/// there would be one, for the time limit of its dial.
async fn tick(broker: Arc<Broker>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        forward::sweep(broker.idle_connections());
    }
}

/// Accepts until the phase changes. Each connection gets a task of its own for its upgrade.
async fn enter(
    broker: Arc<Broker>,
    socket: Acceptor,
    listener: ListenerId,
    mut phase: watch::Receiver<Phase>,
) {
    let handshakes = Arc::clone(&broker.handshakes);
    let closed = async move {
        // Without a sender there is nobody left to accept for.
        let _ = phase.wait_for(|phase| *phase != Phase::Accepting).await;
    };
    accept(socket, handshakes, closed, |accepted| {
        ClientConnection::spawn(&broker, listener.clone(), accepted)
    })
    .await;
}
