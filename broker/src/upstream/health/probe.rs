//! One health check of one backend: a connection, a request, or a WebSocket's ping. The connection
//! is made for it alone and does not outlive the call.

pub(super) mod http;
pub(crate) mod life;
#[cfg(test)]
mod tests;
mod websocket;

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};

use crate::config::settings::{Check, Health};
use crate::net::connect::{is_local, reason};
use crate::net::stream::Stream;
use crate::upstream::approach::Approach;

/// What a good probe has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ProbeAnswer {
    /// The backend asks to be drained.
    pub(crate) drain: bool,
}

/// Why a probe is not good, in a few words for the log and the admin API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProbeFailure {
    /// The backend did not do what it should.
    Backend(String),
    /// It could not be probed for a reason of this machine's, such as no free descriptor. That says
    /// nothing of the backend, and must not take all of them down at once.
    Local(String),
}

impl ProbeFailure {
    /// The few words.
    pub(super) fn why(self) -> String {
        match self {
            ProbeFailure::Backend(why) | ProbeFailure::Local(why) => why,
        }
    }
}

/// What a check says of an answer is said of the backend.
impl From<String> for ProbeFailure {
    fn from(why: String) -> ProbeFailure {
        ProbeFailure::Backend(why)
    }
}

/// Probes the backend at `host` and its own `port`, from one of `sources`; empty: the
/// system chooses. `history` is that of the port that is probed, which is spoken to in its pool's `manner`.
///
/// # Errors
/// When the check did not pass within `health.timeout`.
pub(crate) async fn probe(
    health: &Health,
    host: &str,
    port: u16,
    approach: Approach<'_>,
) -> Result<ProbeAnswer, ProbeFailure> {
    let deadlines = ProbeDeadlines::new(health.timeout);
    let connected = approach.connect((host, port), health.port, health.timeout).await;
    let stream = connected.map_err(|error| failure(&error))?;
    let (port, manner) = (health.port.unwrap_or(port), approach.manner);
    match &health.check {
        Check::Tcp => Ok(deadlines.within("end of the connection", close(stream)).await?),
        Check::Http { method, path, host: named, expect } => {
            let authority = named.clone().unwrap_or_else(|| http::authority(host, port));
            let request = http::request_by_name(method, path, &authority)?;
            http::check(stream, request, expect, (deadlines, manner)).await
        }
        Check::WebSocket { path, host: named, shim } => {
            let authority = named.clone().unwrap_or_else(|| http::authority(host, port));
            websocket::check(stream, path, (&authority, *shim), (deadlines, manner)).await
        }
    }
}

/// What a connection that was not made says of the backend.
fn failure(error: &io::Error) -> ProbeFailure {
    if is_local(error) { ProbeFailure::Local(reason(error)) } else { ProbeFailure::Backend(reason(error)) }
}

/// The time that the steps of one check share.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProbeDeadlines {
    whole: Duration,
    end: Instant,
}

impl ProbeDeadlines {
    /// It begins now.
    pub(super) fn new(whole: Duration) -> ProbeDeadlines {
        ProbeDeadlines { whole, end: Instant::now() + whole }
    }

    /// # Errors
    /// When the time is over before `step` has `awaited`.
    pub(super) async fn within<T>(self, awaited: &str, step: impl Future<Output = T>) -> Result<T, String> {
        timeout_at(self.end, step).await.map_err(|_| format!("no {awaited} within {:?}", self.whole))
    }
}

/// A FIN rather than what a dropped socket may send. The connection stood, so the check has passed
/// in any case.
async fn close(mut stream: Stream) -> ProbeAnswer {
    let _ = stream.shutdown().await;
    ProbeAnswer::default()
}
