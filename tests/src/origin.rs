//! An HTTP/1.1 backend in the test's own process: each connection by hand, or all of them answered by a function.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

use crate::wait::{bounded, eventually};
use crate::wire::{Message, Wire};

/// Requests that are kept, at the most.
const REQUESTS_MAX: usize = 100_000;

/// A backend that listens.
#[derive(Debug)]
pub struct Origin {
    listener: TcpListener,
    address: SocketAddr,
}

impl Origin {
    /// Listens on a port of loopback.
    pub async fn listen() -> Origin {
        Self::of(TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port"))
    }

    /// As [`Origin::listen`], with so many bytes for what the kernel has not sent, and for what is not read. It takes
    /// twice as much.
    pub fn narrow(buffers: u32) -> Origin {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_send_buffer_size(buffers).expect("SO_SNDBUF");
        socket.set_recv_buffer_size(buffers).expect("SO_RCVBUF");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        Self::of(socket.listen(64).expect("it is bound"))
    }

    fn of(listener: TcpListener) -> Origin {
        let address = listener.local_addr().expect("it is bound");
        Origin { listener, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection.
    pub async fn accept(&self) -> Wire {
        let accepted = bounded("a connection to the backend", self.listener.accept()).await;
        Wire::over(accepted.expect("connections can be accepted").0)
    }

    /// Answers every request with what `answer` gives for it, and then closes the connection if that says so.
    pub fn serve(self, answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static) -> Served {
        let Origin { listener, address } = self;
        let seen = Seen::default();
        let (log, answer) = (Arc::clone(&seen), Arc::new(answer));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = lock(&log).len();
                lock(&log).push(Vec::new());
                tokio::spawn(serve(Wire::over(stream), number, Arc::clone(&log), Arc::clone(&answer)));
            }
        });
        Served { address, seen, task }
    }
}

/// The requests of each connection.
type Seen = Arc<Mutex<Vec<Vec<Message>>>>;

/// A backend that answers by itself, until it is dropped.
#[derive(Debug)]
pub struct Served {
    address: SocketAddr,
    seen: Seen,
    task: JoinHandle<()>,
}

impl Served {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request that has come whole, by connections.
    pub fn connections(&self) -> Vec<Vec<Message>> {
        lock(&self.seen).clone()
    }

    /// The same, of connections on which one has come.
    pub fn used(&self) -> Vec<Vec<Message>> {
        self.connections().into_iter().filter(|own| !own.is_empty()).collect()
    }

    /// Every request that has come whole.
    pub fn requests(&self) -> Vec<Message> {
        self.connections().into_iter().flatten().collect()
    }

    /// Waits until `count` requests have come.
    pub async fn wait_requests(&self, count: usize) {
        eventually(&format!("{count} requests"), || self.requests().len() >= count).await;
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut wire: Wire, number: usize, seen: Seen, answer: Arc<impl Fn(&Message) -> Vec<u8>>) {
    while let Some(request) = wire.idle_request().await {
        let bytes = answer(&request);
        {
            let mut all = lock(&seen);
            let count: usize = all.iter().map(Vec::len).sum();
            assert!(count < REQUESTS_MAX, "a test has {REQUESTS_MAX} requests");
            all[number].push(request);
        }
        if wire.try_send(&bytes).await.is_err() || closes(&bytes) {
            return;
        }
    }
}

/// Whether this answer is the last.
fn closes(answer: &[u8]) -> bool {
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(answer.len());
    String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase().contains("connection: close")
}

/// An answer of 200 with this body.
pub fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn lock(seen: &Seen) -> std::sync::MutexGuard<'_, Vec<Vec<Message>>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
