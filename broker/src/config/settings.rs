//! The complete configuration: every value present and checked. What a person writes is in
//! `config/raw.rs`; nothing else of the broker sees that form.

use std::net::SocketAddr;
use std::time::Duration;

use steadfast_protocol::session::AckMode;

/// Everything the broker needs to run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where clients connect. At least one.
    pub listeners: Vec<Listener>,
    /// Where sessions go. At least one; names are unique.
    pub pools: Vec<Pool>,
    /// The admin listener's address; `None` switches it off.
    pub admin: Option<SocketAddr>,
    /// Worker threads, at least one.
    pub workers: usize,
    /// What is logged, and how.
    pub log: Log,
    /// Counts and sizes that bound memory and descriptors.
    pub limits: Limits,
    /// How long single steps may take.
    pub timeouts: Timeouts,
    /// How a session leaves a failed backend.
    pub failover: Failover,
    /// How many sessions may move at once.
    pub herd: Herd,
    /// When a message is held to be the killer of its backends.
    pub poison: Poison,
    /// The codes the broker closes clients with.
    pub close_codes: CloseCodes,
    /// How the broker ends.
    pub shutdown: Shutdown,
}

/// One address on which clients connect.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The address to bind; port 0 lets the system choose.
    pub address: SocketAddr,
    /// The name of the pool that its sessions go to.
    pub pool: String,
}

/// A named set of backends.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Unique among pools.
    pub name: String,
    /// How the broker learns that a backend has a message.
    pub ack: AckMode,
    /// How long a message stays in the ring after its pong. Zero: it leaves with the pong.
    pub ack_hold: Duration,
    /// How long a backend may owe a sign of life before it counts as failed.
    pub ack_timeout: Duration,
    /// Whether a session outlives its backend.
    pub on_failure: OnFailure,
    /// At least one; names are unique in the pool.
    pub backends: Vec<Backend>,
}

/// One service behind the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// Unique in its pool; `host:port` unless the file names it.
    pub name: String,
    /// Host name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// What happens to a session when its backend fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// It is moved to another backend.
    Failover,
    /// It is closed, and the client reconnects.
    Close,
}

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct Log {
    /// Text for people, JSON for machines.
    pub format: LogFormat,
    /// A `tracing` filter, such as `info` or `steadfast=debug`.
    pub level: String,
}

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line.
    Text,
    /// One JSON object a line.
    Json,
}

/// Counts and sizes that bound memory and descriptors.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Sessions at once; `None` computes it from the descriptors.
    pub max_sessions: Option<usize>,
    /// Connections at once that have not finished their upgrade.
    pub max_handshakes: usize,
    /// Bytes of one message, all fragments, as they are on the wire.
    pub message: usize,
    /// Bytes of one session's unacknowledged messages. At least `message`.
    pub ring: usize,
    /// Bytes that all sessions together may hold; `None` computes it from the memory.
    pub buffers: Option<usize>,
    /// Bytes of the client's request line and headers.
    pub header: usize,
}

/// How long single steps may take.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// From accept until the client's upgrade request is complete.
    pub handshake: Duration,
    /// A TCP connection to a backend.
    pub connect: Duration,
    /// A backend's answer to the upgrade, after the connection.
    pub upgrade: Duration,
    /// From our Close to the peer's.
    pub close: Duration,
    /// A client that reads nothing while data for it waits.
    pub client_stall: Duration,
    /// One message from its first byte to its last.
    pub message: Duration,
    /// Silence after which a peer is pinged. Zero switches keepalive off.
    pub keepalive: Duration,
    /// A client that owes a pong for this long is gone.
    pub client_pong: Duration,
}

/// How a session leaves a failed backend.
#[derive(Debug, Clone)]
pub struct Failover {
    /// From the first failure until the session is stable again.
    pub deadline: Duration,
    /// How long a new backend must last before the failover counts as over.
    pub stable: Duration,
    /// The shortest wait before a redial that follows a failed one.
    pub backoff_min: Duration,
    /// The longest.
    pub backoff_max: Duration,
    /// A backend's Close with one of these codes is its failure, not the application's decision.
    pub close_codes: Vec<u16>,
    /// How long a backend that failed is tried last. Doubles with each failure in a row.
    pub penalty_min: Duration,
    /// The longest penalty.
    pub penalty_max: Duration,
}

/// How many sessions may move at once.
#[derive(Debug, Clone)]
pub struct Herd {
    /// Dials in flight to one backend.
    pub dials_per_backend: usize,
    /// Dials in flight in all.
    pub dials: usize,
    /// Each session of a herd waits a random part of this before it dials.
    pub jitter: Duration,
}

/// When a message is held to be the killer of its backends.
#[derive(Debug, Clone)]
pub struct Poison {
    /// Deaths count together when they are this close.
    pub window: Duration,
    /// Deaths with suspects in the window after which a session replays one message at a time.
    pub deaths: u32,
    /// Deaths with one message alone in flight after which its session ends.
    pub convictions: u32,
}

/// The codes the broker closes clients with.
#[derive(Debug, Clone)]
pub struct CloseCodes {
    /// `failover.deadline` has passed.
    pub deadline: u16,
    /// Every backend has refused the session.
    pub refused: u16,
    /// A poison message.
    pub poison: u16,
    /// The backend failed and `on_failure` is `close`.
    pub on_failure: u16,
    /// The broker ends.
    pub shutdown: u16,
    /// A message took longer than `timeouts.message`.
    pub slow_message: u16,
}

/// How the broker ends.
#[derive(Debug, Clone)]
pub struct Shutdown {
    /// How long it accepts sessions after SIGTERM, so that balancers see `/readyz` first.
    pub delay: Duration,
    /// How long sessions may go on after that.
    pub grace: Duration,
}
