//! A way between two ends that a test can cut, or that is long.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::upgrade::bound;

/// Pieces that may be on a long way at once.
const PIECES: usize = 4096;
/// Bytes of a piece.
const PIECE: usize = 16 << 10;

/// Passes connections on, until they are cut.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    connections: Connections,
    accepting: JoinHandle<()>,
    way: Way,
}

/// What a way does with bytes.
#[derive(Debug, Clone)]
struct Way {
    /// Where its connections come from.
    source: IpAddr,
    /// How long they take, each way.
    delay: Duration,
    /// Bytes toward the target that are on it, and the most that there ever were.
    under_way: Arc<[AtomicUsize; 2]>,
}

/// Those that are passed on now.
type Connections = Arc<Mutex<Vec<JoinHandle<()>>>>;

impl Proxy {
    /// Passes on to `target`.
    pub async fn start(target: SocketAddr) -> Proxy {
        Self::start_long(target, Duration::ZERO).await
    }

    /// Passes on to `target`; every byte is on its way for `delay`, and so are those that come back.
    pub async fn start_long(target: SocketAddr, delay: Duration) -> Proxy {
        Self::start_on(target, Way::new(Ipv4Addr::LOCALHOST, delay)).await
    }

    /// Passes on to `target`, from this address of this machine.
    pub async fn start_from(target: SocketAddr, source: impl Into<IpAddr>) -> Proxy {
        Self::start_on(target, Way::new(source, Duration::ZERO)).await
    }

    async fn start_on(target: SocketAddr, way: Way) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let connections = Connections::default();
        let accepting = tokio::spawn(accept(listener, target, way.clone(), Arc::clone(&connections)));
        Proxy { address, connections, accepting, way }
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The most bytes that were on a long way toward the target at once.
    pub fn most_under_way(&self) -> usize {
        self.way.under_way[1].load(Relaxed)
    }

    /// Cuts every connection, wherever it is, with a reset on both sides.
    pub fn cut(&self) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.drain(..).for_each(|connection| connection.abort());
    }
}

impl Way {
    fn new(source: impl Into<IpAddr>, delay: Duration) -> Way {
        Way { source: source.into(), delay, under_way: Arc::default() }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, way: Way, connections: Connections) {
    while let Ok((client, _)) = listener.accept().await {
        let connection = tokio::spawn(pass_on(client, target, way.clone()));
        let mut connections = connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|connection| !connection.is_finished());
        connections.push(connection);
    }
}

async fn pass_on(mut client: TcpStream, target: SocketAddr, way: Way) {
    let Ok(mut broker) = bound(way.source).connect(target).await else { return };
    for stream in [&client, &broker] {
        let socket = SockRef::from(stream);
        let set = [socket.set_linger(Some(Duration::ZERO)), socket.set_tcp_nodelay(true)];
        assert!(set.iter().all(Result::is_ok), "a socket's options can be set");
    }
    if !way.delay.is_zero() {
        let ((from_client, to_client), (from_broker, to_broker)) = (client.into_split(), broker.into_split());
        let back = Way { under_way: Arc::default(), ..way.clone() };
        tokio::select! {
            () = carry(from_client, to_broker, &way) => {}
            () = carry(from_broker, to_client, &back) => {}
        }
        return;
    }
    // However it ends, both sides see it.
    let _ = copy_bidirectional(&mut client, &mut broker).await;
}

/// Carries bytes until either end is gone.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: &Way) {
    let (queue, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let [now, most] = &*way.under_way;
    let take = async {
        let mut piece = vec![0; PIECE];
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            most.fetch_max(now.fetch_add(length, Relaxed) + length, Relaxed);
            if queue.send((Instant::now() + way.delay, piece[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let give = async {
        while let Some((due, piece)) = pieces.recv().await {
            sleep_until(due).await;
            now.fetch_sub(piece.len(), Relaxed);
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = take => {}
        () = give => {}
    }
}
