//! What the broker says of itself, read from its admin listener.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// How often the live picture is read anew.
const INTERVAL: Duration = Duration::from_millis(250);

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
    /// It failed lately, and is tried last.
    pub(crate) penalised: bool,
    /// Sessions it holds.
    pub(crate) sessions: usize,
}

#[derive(Deserialize)]
struct Sessions {
    sessions: Vec<Session>,
}

#[derive(Deserialize)]
struct Backends {
    backends: Vec<BackendStatus>,
}

/// Reads one report.
pub(crate) async fn read(admin: SocketAddr) -> io::Result<Report> {
    let Sessions { sessions } = get(admin, "/api/v1/sessions").await?;
    let Backends { backends } = get(admin, "/api/v1/backends").await?;
    Ok(Report { sessions, backends })
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
    let body = tokio::time::timeout(TIMEOUT, fetch(admin, path))
        .await
        .map_err(io::Error::from)
        .and_then(|answer| answer);
    body.and_then(|body| serde_json::from_slice(&body).map_err(io::Error::other))
        .map_err(|error| io::Error::other(format!("cannot read http://{admin}{path}: {error}")))
}

async fn fetch(admin: SocketAddr, path: &str) -> io::Result<Bytes> {
    let stream = TcpStream::connect(admin).await?;
    let (mut requests, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let request = Request::get(path).header("host", admin.to_string()).body(Empty::<Bytes>::new());
    let answer = requests.send_request(request.map_err(io::Error::other)?).await.map_err(io::Error::other)?;
    let body = answer.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    connection.abort();
    Ok(body)
}
