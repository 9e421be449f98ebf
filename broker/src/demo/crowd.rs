//! The crowd of clients: each sends at its rate, listens, and keeps its transcript.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::SinkExt;
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::cast::POOLS;
use super::transcript::Transcript;

/// Clients that connect at the same time.
const CONNECTING_MAX: usize = 50;

/// How long a client may take to connect, and how long the farewells may take in all.
const PATIENCE: Duration = Duration::from_secs(10);

type Socket = WebSocketStream<TcpStream>;

/// All clients, connected and talking.
#[derive(Debug)]
pub(super) struct Crowd {
    start: Instant,
    pools: Vec<Vec<Client>>,
    phase: watch::Sender<Phase>,
    tasks: JoinSet<()>,
}

/// One client, as the rest of the demo sees it.
#[derive(Debug, Clone)]
pub(super) struct Client {
    /// Its end of the connection: the broker lists its session with this address.
    pub(super) address: SocketAddr,
    transcript: Arc<Mutex<Transcript>>,
}

/// What the clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Send and listen.
    Talk,
    /// Send no more.
    Listen,
    /// Close the connection.
    Leave,
}

impl Crowd {
    /// Connects `sessions` clients to each pool's listener; each sends a message every `period` from
    /// then on.
    pub(super) async fn gather(
        listeners: &[SocketAddr],
        sessions: usize,
        period: Duration,
    ) -> io::Result<Self> {
        let mut sockets = Vec::new();
        for listener in listeners {
            sockets.push(connect_all(*listener, sessions).await?);
        }
        let start = Instant::now();
        let mut crowd =
            Self { start, pools: Vec::new(), phase: watch::Sender::new(Phase::Talk), tasks: JoinSet::new() };
        for (pool, sockets) in POOLS.iter().zip(sockets) {
            let clients = sockets.into_iter().enumerate();
            let clients = clients.map(|(index, socket)| {
                // The crowd speaks evenly, not in chorus.
                let first = start + period.mul_f64(index as f64 / sessions as f64);
                crowd.admit(
                    format!("{}-{index:03}", pool.name),
                    socket,
                    tokio::time::interval_at(first, period),
                )
            });
            let clients = clients.collect::<io::Result<_>>()?;
            crowd.pools.push(clients);
        }
        Ok(crowd)
    }

    fn admit(&mut self, name: String, socket: Socket, mut ticks: Interval) -> io::Result<Client> {
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let address = socket.get_ref().local_addr()?;
        let client = Client { address, transcript: Arc::new(Mutex::new(Transcript::new(name))) };
        let life = Life { start: self.start, socket, ticks, client: client.clone() };
        self.tasks.spawn(life.live(self.phase.subscribe()));
        Ok(client)
    }

    /// The time since the crowd began to talk.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The clients of each pool.
    pub(super) fn pools(&self) -> &[Vec<Client>] {
        &self.pools
    }

    /// No client sends from now on.
    pub(super) fn hush(&self) {
        self.phase.send_replace(Phase::Listen);
    }

    /// All clients close their connections.
    pub(super) async fn leave(mut self) {
        self.phase.send_replace(Phase::Leave);
        let farewells = async { while self.tasks.join_next().await.is_some() {} };
        let _in_time = tokio::time::timeout(PATIENCE, farewells).await;
    }
}

impl Client {
    /// What the client has sent and got so far.
    pub(super) fn transcript(&self) -> MutexGuard<'_, Transcript> {
        self.transcript.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect_all(listener: SocketAddr, sessions: usize) -> io::Result<Vec<Socket>> {
    let sockets = stream::iter(0..sessions).map(|_| connect(listener)).buffered(CONNECTING_MAX).try_collect();
    sockets.await.map_err(|error| io::Error::other(format!("a client cannot connect to {listener}: {error}")))
}

async fn connect(listener: SocketAddr) -> Result<Socket, Error> {
    let upgrade = async {
        let stream = TcpStream::connect(listener).await?;
        stream.set_nodelay(true)?;
        let (socket, _) = tokio_tungstenite::client_async(format!("ws://{listener}/demo"), stream).await?;
        Ok(socket)
    };
    tokio::time::timeout(PATIENCE, upgrade).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// A client at work.
struct Life {
    start: Instant,
    socket: Socket,
    ticks: Interval,
    client: Client,
}

impl Life {
    async fn live(mut self, mut phase: watch::Receiver<Phase>) {
        if let Err(cause) = self.converse(&mut phase).await {
            self.client.transcript().close(cause);
            return;
        }
        if self.socket.close(None).await.is_ok() {
            while let Some(Ok(_)) = self.socket.next().await {}
        }
    }

    /// Sends and listens until it is time to leave; an error when the connection ends before.
    async fn converse(&mut self, phase: &mut watch::Receiver<Phase>) -> Result<(), String> {
        loop {
            let now = *phase.borrow_and_update();
            if now == Phase::Leave {
                return Ok(());
            }
            tokio::select! {
                _ = self.ticks.tick(), if now == Phase::Talk => self.speak().await?,
                frame = self.socket.next() => self.hear(frame)?,
                changed = phase.changed() => changed.map_err(|_| "the demo ended".to_owned())?,
            }
        }
    }

    async fn speak(&mut self) -> Result<(), String> {
        let message = self.client.transcript().send(self.start.elapsed());
        self.socket.send(Message::text(message)).await.map_err(|error| error.to_string())
    }

    fn hear(&mut self, frame: Option<Result<Message, Error>>) -> Result<(), String> {
        match frame {
            Some(Ok(Message::Text(answer))) => {
                self.client.transcript().receive(&answer, self.start.elapsed());
                Ok(())
            }
            Some(Ok(Message::Close(Some(frame)))) => Err(format!("Close {} {}", frame.code, frame.reason)),
            Some(Ok(Message::Close(None))) => Err("Close without a code".to_owned()),
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("the connection ended".to_owned()),
        }
    }
}
