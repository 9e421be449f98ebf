//! Accepting: a listener's connections, each with who is at its other end and a place among the handshakes. Nothing of
//! a connection is awaited here, so that no client keeps the next one waiting: when the places run short, one that has
//! said too little makes room.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::net::address::Address;
use crate::net::listener::Acceptor;
use crate::net::places::{Place, Places};
use crate::net::stream::Stream;
use crate::pace::Pace;
use crate::{clock, metric};

/// After an accept that failed for want of descriptors, others get time to end.
const PAUSE: Duration = Duration::from_millis(50);

static NO_ACCEPT: Pace = Pace::new();

static SHORT: Pace = Pace::new();

const TOLD_TO_GO: &str = "limits.max_handshakes connections have not sent their request; to make room for another, the \
                          oldest one of the address with most is closed";

/// A connection of which nothing has been read.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(super) stream: Stream,
    pub(super) peer: Peer,
    /// Its place among the handshakes.
    pub(super) place: Place,
    pub(super) introduction: Introduction,
}

/// What somebody in front has said of a connection before its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Introduction {
    /// Nothing: it is to be taken as it is.
    None,
    /// It is a client's, which has connected to this address.
    Client { arrival: SocketAddr },
    /// It is that one's own.
    Own,
}

/// Who is at the other end of a connection. The two are one as long as clients connect by themselves. They are kept
/// apart because only the client's own address says who it is: by that it is let in, counted, placed and shown, while
/// the socket's says with whom this connection is, should something stand in between and speak for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    /// The address that the socket is connected with, or that a PROXY header in front has put in its place.
    pub(super) socket: SocketAddr,
    /// The client's.
    pub(super) client: SocketAddr,
}

impl Peer {
    /// A client that has connected by itself.
    pub(super) fn direct(address: SocketAddr) -> Peer {
        Peer { socket: address, client: address }
    }

    /// The same connection, on which somebody speaks for `client`.
    pub(super) fn on_behalf_of(self, client: SocketAddr) -> Peer {
        Peer { client, ..self }
    }
}

/// Hands each connection to `serve`, until `closed`. One that has been accepted by then is still served.
pub(crate) async fn accept(
    listener: Acceptor,
    handshakes: Arc<Places>,
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
                let peer = Peer::direct(address);
                let address = Address::of(peer.client.ip());
                let Some(place) = handshakes.take(address, || told_to_go(peer.client)).await else { return };
                // A refused option costs latency, not correctness.
                let _ = stream.set_nodelay();
                serve(Accepted { stream, peer, place, introduction: Introduction::None });
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

/// Says that the places have run short, for this newcomer.
pub(super) fn told_to_go(client: SocketAddr) {
    metric::LIMIT_HITS.count(metric::Limit::MaxHandshakes);
    if let Some(left_out) = SHORT.line(clock::now()) {
        tracing::warn!(%client, left_out, "{TOLD_TO_GO}");
    }
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

    async fn listener() -> (Acceptor, SocketAddr) {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        (Acceptor::Tcp(listener), address)
    }

    #[tokio::test]
    async fn a_client_that_connects_by_itself_is_its_own_peer() {
        let (listener, address) = listener().await;
        let client = TcpStream::connect(address).await.expect("it listens");
        let peer = Cell::new(None);
        let closed = poll_fn(|_| if peer.get().is_some() { Poll::Ready(()) } else { Poll::Pending });
        let serve = |accepted: Accepted| peer.set(Some(accepted.peer));
        accept(listener, Places::new(1), closed, serve).await;
        let address = client.local_addr().expect("it is connected");
        assert_eq!(peer.get(), Some(Peer { socket: address, client: address }));
    }

    #[tokio::test]
    async fn who_waits_for_a_place_is_served_though_the_door_closes() {
        let (listener, address) = listener().await;
        let handshakes = Places::new(1);
        let held = handshakes.take(Address::of(address.ip()), || ()).await.expect("it is free");
        let _client = TcpStream::connect(address).await.expect("it listens");
        let (is_closed, served) = (Cell::new(false), RefCell::new(Vec::new()));
        let closed = poll_fn(|_| if is_closed.get() { Poll::Ready(()) } else { Poll::Pending });
        let mut accepting = pin!(accept(listener, handshakes, closed, |one| served.borrow_mut().push(one)));
        let waits = async {
            tokio::select! {
                () = &mut accepting => panic!("it is open"),
                () = held.told() => {}
            }
        };
        timeout(LONG, waits).await.expect("another one is told to make room for it");
        is_closed.set(true);
        assert!(served.borrow().is_empty(), "the other one has not gone");
        drop(held);
        accepting.await;
        assert_eq!(served.borrow().len(), 1);
    }
}
