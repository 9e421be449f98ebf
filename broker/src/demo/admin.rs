//! What the broker says of itself, and the orders that it takes: its admin listener.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// How often the live picture is read anew.
const INTERVAL: Duration = Duration::from_millis(250);

/// Sessions on one page, the most that the broker gives.
const PAGE: usize = 10_000;

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sessions and backends at one moment.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Every session that lives.
    pub(crate) sessions: Vec<Session>,
    /// Every backend of every pool.
    pub(crate) backends: Vec<BackendStatus>,
}

/// A session of `/api/v1/sessions`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Session {
    /// 32 hex digits.
    pub(crate) id: String,
    /// The name of its pool.
    pub(crate) pool: String,
    /// The client's own address.
    pub(crate) client: SocketAddr,
    /// `relaying`, `waiting` and so on.
    pub(crate) state: String,
    /// How often it moved because its backend failed.
    pub(crate) failovers: usize,
    /// What became of its messages.
    pub(crate) ledger: Ledger,
}

/// Both directions of a session's ledger; the demo reads one.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Ledger {
    /// Client to backend.
    pub(crate) up: Counts,
}

/// Messages of one direction.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct Counts {
    /// Known to have reached a backend.
    pub(crate) acknowledged: usize,
    /// Sent again to another backend.
    pub(crate) replayed: usize,
    /// Their effect cannot be known.
    pub(crate) in_doubt: usize,
}

/// A backend of `/api/v1/backends`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct BackendStatus {
    /// As in the configuration.
    pub(crate) name: String,
    /// `up`, `draining` and so on.
    pub(crate) state: String,
    /// It failed lately, and is tried last.
    pub(crate) penalised: bool,
    /// Sessions it holds.
    pub(crate) sessions: usize,
}

/// An operation of `/api/v1/operations`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Operation {
    /// As in `drain-3`.
    pub(crate) id: String,
    /// `running`, `waiting`, or how it ended.
    pub(crate) state: String,
    /// What it waits for, why it stopped, or what is left.
    pub(crate) message: String,
    /// How long it has taken so far, or took.
    pub(crate) elapsed_ms: u64,
    /// What became of its sessions.
    pub(crate) sessions: Moves,
}

/// What became of an operation's sessions; the demo reads a part of it.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct Moves {
    /// On another backend.
    pub(crate) moved: usize,
    /// Those of them that have left without a quiet moment.
    pub(crate) forced: usize,
    /// Moves that became failovers, or ended their session.
    pub(crate) failed: usize,
    /// Still there.
    pub(crate) remaining: usize,
}

#[derive(Deserialize)]
struct Sessions {
    sessions: Vec<Session>,
    /// Where the next page begins.
    next: Option<String>,
}

#[derive(Deserialize)]
struct Backends {
    backends: Vec<BackendStatus>,
}

#[derive(Deserialize)]
struct Operations {
    operation: Operation,
}

/// Reads one report.
pub(crate) async fn read(admin: SocketAddr) -> io::Result<Report> {
    let sessions = sessions(admin).await?;
    let Backends { backends } = get(admin, "/api/v1/backends").await?;
    Ok(Report { sessions, backends })
}

/// Page by page, as others come and go meanwhile.
async fn sessions(admin: SocketAddr) -> io::Result<Vec<Session>> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/sessions?limit={PAGE}{after}");
        let Sessions { sessions, next } = get(admin, &path).await?;
        all.extend(sessions);
        match next {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(all),
        }
    }
}

/// Begins to drain a backend.
pub(crate) async fn drain(admin: SocketAddr, pool: &str, backend: &str) -> io::Result<Operation> {
    let path = format!("/api/v1/pools/{pool}/backends/{backend}/drain");
    let Operations { operation } = request(admin, Method::POST, &path).await?;
    Ok(operation)
}

/// How far an operation is.
pub(crate) async fn operation(admin: SocketAddr, id: &str) -> io::Result<Operation> {
    let Operations { operation } = get(admin, &format!("/api/v1/operations/{id}")).await?;
    Ok(operation)
}

/// Lets a drained backend have sessions again.
pub(crate) async fn undrain(admin: SocketAddr, pool: &str, backend: &str) -> io::Result<()> {
    let path = format!("/api/v1/pools/{pool}/backends/{backend}/undrain");
    let _backend: IgnoredAny = request(admin, Method::POST, &path).await?;
    Ok(())
}

/// Keeps the newest report. A report that cannot be read is left out: the verdict rests on one that
/// is read at the end, and must be.
pub(crate) fn watch(admin: SocketAddr) -> watch::Receiver<Arc<Report>> {
    let (sender, receiver) = watch::channel(Arc::default());
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !sender.is_closed() {
            ticks.tick().await;
            if let Ok(report) = read(admin).await {
                sender.send_replace(Arc::new(report));
            }
        }
    });
    receiver
}

async fn get<T: DeserializeOwned>(admin: SocketAddr, path: &str) -> io::Result<T> {
    request(admin, Method::GET, path).await
}

async fn request<T: DeserializeOwned>(admin: SocketAddr, method: Method, path: &str) -> io::Result<T> {
    let answer = tokio::time::timeout(TIMEOUT, fetch(admin, method.clone(), path))
        .await
        .map_err(io::Error::from)
        .and_then(|answer| answer);
    let read = answer.and_then(|(status, body)| match status.is_success() {
        true => serde_json::from_slice(&body).map_err(io::Error::other),
        false => Err(io::Error::other(format!("{status} {}", String::from_utf8_lossy(&body)))),
    });
    read.map_err(|error| io::Error::other(format!("{method} http://{admin}{path}: {error}")))
}

async fn fetch(admin: SocketAddr, method: Method, path: &str) -> io::Result<(StatusCode, Bytes)> {
    let stream = TcpStream::connect(admin).await?;
    let (mut requests, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header("host", admin.to_string());
    let request = request.body(Empty::<Bytes>::new()).map_err(io::Error::other)?;
    let answer = requests.send_request(request).await.map_err(io::Error::other)?;
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    connection.abort();
    Ok((status, body))
}
