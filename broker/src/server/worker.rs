//! Worker threads: each has its own runtime, accepts connections and keeps their sessions, so that
//! a session never crosses threads.

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::broker::Broker;
use crate::downstream::accept::accept;
use crate::downstream::upgrade::UpgradeTask;
use crate::routing::listener::ListenerId;

/// A listener as every worker gets its own handle of it.
pub(super) struct Entrance {
    pub(super) socket: std::net::TcpListener,
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
        let listener = TcpListener::from_std(entrance.socket.try_clone()?)?;
        accepting.push((listener, entrance.listener));
    }
    let (broker, mut phase) = (Arc::clone(broker), phase.clone());
    thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        runtime.block_on(async {
            for (socket, listener) in accepting {
                tokio::spawn(enter(Arc::clone(&broker), socket, listener, phase.clone()));
            }
            // Its sender lives as long as the broker; without it, there is nothing to stay for.
            let _ = phase.wait_for(|phase| *phase == Phase::Ending).await;
        });
    })
}

/// Accepts until the phase changes. Each connection gets a task of its own for its upgrade.
async fn enter(
    broker: Arc<Broker>,
    socket: TcpListener,
    listener: ListenerId,
    mut phase: watch::Receiver<Phase>,
) {
    let handshakes = Arc::clone(&broker.handshakes);
    let closed = async move {
        // Without a sender there is nobody left to accept for.
        let _ = phase.wait_for(|phase| *phase != Phase::Accepting).await;
    };
    let serve = |accepted| {
        tokio::spawn(UpgradeTask::serve(Arc::clone(&broker), listener, accepted));
    };
    accept(socket, handshakes, closed, serve).await;
}
