//! Worker threads: each has its own runtime, accepts connections and keeps their sessions, so that
//! a session never crosses threads.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::broker::Broker;
use crate::downstream::upgrade::UpgradeTask;
use crate::net::stream::Stream;
use crate::routing::listener::ListenerId;

/// After an accept that failed for want of descriptors, others get time to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listener as every worker gets its own handle of it.
pub(crate) struct Entrance {
    pub(crate) socket: std::net::TcpListener,
    pub(crate) listener: ListenerId,
}

/// Whether workers accept, keep their sessions only, or end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Accepting,
    Closed,
    Ending,
}

/// Starts a worker.
///
/// # Errors
/// When the thread, its runtime or its handles of the listeners cannot be made.
pub(crate) fn start(
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
                tokio::spawn(accept(Arc::clone(&broker), socket, listener, phase.clone()));
            }
            // Its sender lives as long as the broker; without it, there is nothing to stay for.
            let _ = phase.wait_for(|phase| *phase == Phase::Ending).await;
        });
    })
}

/// A place among the handshakes; `None` never comes, since the semaphore is never closed.
async fn place_at_the_door(broker: &Broker) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = Arc::clone(&broker.handshakes).try_acquire_owned() {
        return Some(permit);
    }
    metrics::counter!("steadfast_limit_hits_total", "limit" => "max_handshakes").increment(1);
    Arc::clone(&broker.handshakes).acquire_owned().await.ok()
}

/// Accepts until the phase changes.
async fn accept(
    broker: Arc<Broker>,
    socket: TcpListener,
    listener: ListenerId,
    mut phase: watch::Receiver<Phase>,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = phase.wait_for(|phase| *phase != Phase::Accepting) => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => {
                // One connection waits here, the others in the backlog.
                let Some(permit) = place_at_the_door(&broker).await else { return };
                // A refused option costs latency, not correctness.
                let stream = Stream::from(stream);
                let _ = stream.set_nodelay();
                let permit = Mutex::new(Some(permit));
                let task = UpgradeTask { broker: Arc::clone(&broker), listener, client, permit };
                tokio::spawn(task.serve(stream));
            }
            Err(error) => {
                metrics::counter!("steadfast_limit_hits_total", "limit" => "accept").increment(1);
                tracing::warn!(%error, "cannot accept a connection; it stays in the backlog");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
