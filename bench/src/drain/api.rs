//! Steadfast's admin API, as far as a drain needs it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// How long one answer may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// How often it is asked how far the drain is.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// The variable that holds the token, as for `steadfast drain`.
const TOKEN: &str = "STEADFAST_TOKEN";

/// An operation, as the broker shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Operation {
    id: String,
    /// `running`, `waiting`, or how it ended.
    pub(super) state: String,
    /// What it waits for, why it stopped, or what is left.
    pub(super) message: String,
    /// What became of the sessions.
    pub(super) sessions: Sessions,
}

/// What became of an operation's sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sessions {
    /// All that were, or came to be, part of it.
    pub(super) total: u64,
    /// Those that are on another backend.
    pub(super) moved: u64,
    /// Those of them that left without a quiet moment.
    pub(super) forced: u64,
    /// Moves that became failovers, or ended their session.
    pub(super) failed: u64,
    /// Those that ended by themselves.
    pub(super) gone: u64,
    /// Those that are still on the backend.
    pub(super) remaining: u64,
    /// Those that could not be moved so far, and why.
    pub(super) staying: Staying,
}

/// Sessions that could not be moved so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Staying {
    /// Never quiet.
    pub(super) busy: u64,
    /// No other backend takes them.
    pub(super) no_target: u64,
    /// The backend that had taken them failed before they were there.
    pub(super) target_lost: u64,
    /// They cannot be moved.
    pub(super) pinned: u64,
}

#[derive(Deserialize)]
struct Answer {
    operation: Operation,
}

impl Operation {
    fn is_over(&self) -> bool {
        matches!(self.state.as_str(), "done" | "cancelled" | "stopped" | "expired")
    }
}

/// Drains `backend` of `pool`, with the request's body `wish`, and waits until that has ended.
pub(super) async fn drain(
    api: SocketAddr,
    pool: &str,
    backend: &str,
    wish: &Value,
    time_max: Duration,
) -> io::Result<Operation> {
    let deadline = Instant::now() + time_max;
    let path = format!("/api/v1/pools/{pool}/backends/{backend}/drain");
    let mut operation = ask(api, Method::POST, &path, &wish.to_string()).await?;
    while !operation.is_over() {
        if Instant::now() > deadline {
            let (id, state, message) = (&operation.id, &operation.state, &operation.message);
            return Err(io::Error::other(format!("{id} does not end; it is {state}: {message}")));
        }
        sleep(ASK_EVERY).await;
        let path = format!("/api/v1/operations/{}", operation.id);
        operation = ask(api, Method::GET, &path, "").await?;
    }
    Ok(operation)
}

/// One request, whose answer is an operation.
async fn ask(api: SocketAddr, method: Method, path: &str, body: &str) -> io::Result<Operation> {
    let context = |error: io::Error| io::Error::other(format!("{method} http://{api}{path}: {error}"));
    let request = fetch(api, &method, path, body);
    let answer = timeout(ANSWER_TIME_MAX, request).await.map_err(io::Error::from).and_then(|answer| answer);
    let (status, bytes) = answer.map_err(context)?;
    if !status.is_success() {
        let sentence = String::from_utf8_lossy(&bytes).trim().to_owned();
        return Err(context(io::Error::other(format!("{status} {sentence}"))));
    }
    let answer: Answer = serde_json::from_slice(&bytes).map_err(|error| context(error.into()))?;
    Ok(answer.operation)
}

async fn fetch(api: SocketAddr, method: &Method, path: &str, body: &str) -> io::Result<(StatusCode, Bytes)> {
    let stream = TokioIo::new(TcpStream::connect(api).await?);
    let (mut requests, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
    let mut request = Request::builder().method(method).uri(path).header("Host", api.to_string());
    if !body.is_empty() {
        request = request.header("Content-Type", "application/json");
    }
    if let Ok(token) = std::env::var(TOKEN) {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    let request = request.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let answer = requests.send_request(request).await.map_err(io::Error::other)?;
    let status = answer.status();
    let bytes = answer.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    connection.abort();
    Ok((status, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_over_when_nothing_more_will_happen() {
        let view = r#"{"operation": {"id": "drain-3", "kind": "drain", "state": "running", "message": "",
            "sessions": {"total": 500, "moved": 480, "forced": 0, "failed": 1, "gone": 3, "remaining": 16,
            "moving": 10, "staying": {"busy": 2, "no_target": 1, "target_lost": 0, "pinned": 1}}}}"#;
        let Answer { operation } = serde_json::from_str(view).unwrap();
        for (state, over) in
            [("running", false), ("waiting", false), ("done", true), ("stopped", true), ("expired", true)]
        {
            assert_eq!(Operation { state: state.to_owned(), ..operation.clone() }.is_over(), over, "{state}");
        }
        assert_eq!((operation.sessions.moved, operation.sessions.staying.busy), (480, 2));
    }
}
