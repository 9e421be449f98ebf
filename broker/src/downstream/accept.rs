//! Accepting: a listener's connections, each with who is at its other end and a place among the handshakes. Nothing of
//! a connection is awaited here, so that no client keeps the next one waiting.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::net::stream::Stream;
use crate::pace::Pace;
use crate::upstream::dial::HandshakePermit;
use crate::{clock, metric};

/// After an accept that failed for want of descriptors, others get time to end.
const PAUSE: Duration = Duration::from_millis(50);

static NO_ACCEPT: Pace = Pace::new();

/// A connection of which nothing has been read.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: Stream,
    pub(crate) peer: Peer,
    pub(crate) permit: HandshakePermit,
}

/// Who is at the other end of a connection. The two are one as long as clients connect by themselves. They are kept
/// apart because only the client's own address says who it is: by that it is let in, counted, placed and shown, while
/// the socket's says with whom this connection is, should something stand in between and speak for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The address that the socket is connected with.
    pub(crate) socket: SocketAddr,
    /// The client's.
    pub(crate) client: SocketAddr,
}

impl Peer {
    /// A client that has connected by itself.
    fn direct(address: SocketAddr) -> Peer {
        Peer { socket: address, client: address }
    }
}

/// Hands each connection to `serve`, until `closed`. One that has been accepted by then is still served.
pub(crate) async fn accept(
    listener: TcpListener,
    handshakes: Arc<Semaphore>,
    closed: impl Future<Output = ()>,
    serve: impl Fn(Accepted),
) {
    let mut closed = std::pin::pin!(closed);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut closed => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                // One connection waits here, the others in the backlog.
                let Some(permit) = place_at_the_door(&handshakes).await else { return };
                let (stream, peer) = (Stream::from(stream), Peer::direct(address));
                // A refused option costs latency, not correctness.
                let _ = stream.set_nodelay();
                serve(Accepted { stream, peer, permit: HandshakePermit::new(permit) });
            }
            Err(error) => {
                metric::LIMIT_HITS.count(metric::Limit::Accept);
                if let Some(left_out) = NO_ACCEPT.line(clock::now()) {
                    tracing::warn!(%error, left_out, "cannot accept a connection; it stays in the backlog");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// A place among the handshakes; `None` never comes, since the semaphore is never closed.
async fn place_at_the_door(handshakes: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = Arc::clone(handshakes).try_acquire_owned() {
        return Some(permit);
    }
    metric::LIMIT_HITS.count(metric::Limit::MaxHandshakes);
    Arc::clone(handshakes).acquire_owned().await.ok()
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::*;

    /// So long that only a test that has failed waits for it.
    const LONG: Duration = Duration::from_secs(10);

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        (listener, address)
    }

    #[tokio::test]
    async fn a_client_that_connects_by_itself_is_its_own_peer() {
        let (listener, address) = listener().await;
        let client = TcpStream::connect(address).await.expect("it listens");
        let peer = Cell::new(None);
        let closed = poll_fn(|_| if peer.get().is_some() { Poll::Ready(()) } else { Poll::Pending });
        let serve = |accepted: Accepted| peer.set(Some(accepted.peer));
        accept(listener, Arc::new(Semaphore::new(1)), closed, serve).await;
        let address = client.local_addr().expect("it is connected");
        assert_eq!(peer.get(), Some(Peer { socket: address, client: address }));
    }

    #[tokio::test]
    async fn who_waits_for_a_place_is_served_though_the_door_closes() {
        let (listener, address) = listener().await;
        let handshakes = Arc::new(Semaphore::new(1));
        let held = Arc::clone(&handshakes).acquire_owned().await.expect("it is never closed");
        let _client = TcpStream::connect(address).await.expect("it listens");
        let (asked, is_closed, served) = (Cell::new(0), Cell::new(false), RefCell::new(Vec::new()));
        let closed = poll_fn(|_| {
            asked.set(asked.get() + 1);
            if is_closed.get() { Poll::Ready(()) } else { Poll::Pending }
        });
        let mut accepting = pin!(accept(listener, handshakes, closed, |one| served.borrow_mut().push(one)));
        // Whether it is closed is asked by whoever waits for a connection, and not by who waits for a place.
        let waits = async {
            loop {
                let before = asked.get();
                let done = poll_fn(|cx| Poll::Ready(accepting.as_mut().poll(cx).is_ready())).await;
                assert!(!done, "it is open");
                if asked.get() == before {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG, waits).await.expect("it waits for a place");
        is_closed.set(true);
        drop(held);
        accepting.await;
        assert_eq!(served.borrow().len(), 1);
    }
}
