//! A way between a client and the broker that a test can cut.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use socket2::SockRef;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Passes connections on, until they are cut.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    connections: Connections,
    accepting: JoinHandle<()>,
}

/// Those that are passed on now.
type Connections = Arc<Mutex<Vec<JoinHandle<()>>>>;

impl Proxy {
    /// Passes on to `target`.
    pub async fn start(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let connections = Connections::default();
        let accepting = tokio::spawn(accept(listener, target, Arc::clone(&connections)));
        Proxy { address, connections, accepting }
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every connection, wherever it is, with a reset on both sides.
    pub fn cut(&self) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.drain(..).for_each(|connection| connection.abort());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, connections: Connections) {
    while let Ok((client, _)) = listener.accept().await {
        let connection = tokio::spawn(pass_on(client, target));
        let mut connections = connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|connection| !connection.is_finished());
        connections.push(connection);
    }
}

async fn pass_on(mut client: TcpStream, target: SocketAddr) {
    let Ok(mut broker) = TcpStream::connect(target).await else { return };
    for stream in [&client, &broker] {
        let socket = SockRef::from(stream);
        let set = [socket.set_linger(Some(std::time::Duration::ZERO)), socket.set_tcp_nodelay(true)];
        assert!(set.iter().all(Result::is_ok), "a socket's options can be set");
    }
    // However it ends, both sides see it.
    let _ = copy_bidirectional(&mut client, &mut broker).await;
}
