//! How a backend's port is reached: a connection, what is said in front of all else, and TLS. Sessions, checks, agents and
//! probes come the same way, for what stops the one is no failure of the other.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::manner::Manner;
use crate::net::connect::{History, connect};
use crate::net::stream::Stream;
use crate::tls::PoolTls;

/// The broker's own way to a backend.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Approach<'a> {
    /// From where; empty: the system chooses.
    pub(crate) sources: &'a [IpAddr],
    pub(crate) history: &'a History,
    pub(crate) manner: Manner,
    /// What TLS is spoken with; `None`: the backend does not speak it.
    pub(crate) tls: Option<&'a PoolTls>,
}

impl Approach<'_> {
    /// Connects to the backend at `host` and `port`, or to `other` port of its host. What listens there may be something
    /// else, and is told nothing in front and spoken to without TLS.
    ///
    /// # Errors
    /// Those of [`connect`] and of [`secure`].
    pub(super) async fn connect(
        self,
        (host, port): (&str, u16),
        other: Option<u16>,
        limit: Duration,
    ) -> io::Result<Stream> {
        let end = Instant::now() + limit;
        let connected = connect(host, other.unwrap_or(port), self.sources, self.history, limit).await;
        let mut stream = connected?;
        if other.is_some() {
            return Ok(stream);
        }
        self.manner.introduce_own(&mut stream).await?;
        match self.tls {
            Some(tls) => Box::pin(secure(stream, tls, (host, port), (limit, end))).await,
            None => Ok(stream),
        }
    }
}

/// Speaks TLS with the backend at `host` and `port` from here on. There are `limit`s until `end`.
///
/// # Errors
/// When the backend cannot prove to be that one, speaks no TLS, or takes too long.
pub(super) async fn secure(
    stream: Stream,
    tls: &PoolTls,
    (host, port): (&str, u16),
    (limit, end): (Duration, Instant),
) -> io::Result<Stream> {
    let name = tls.server_name(host).map_err(io::Error::other)?;
    let handshake = stream.connect_tls(tls.config(host, port), name);
    match timeout_at(end, handshake).await {
        Ok(secured) => secured.map_err(|error| io::Error::new(error.kind(), format!("no TLS: {error}"))),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no end of the TLS handshake within {limit:?}"),
        )),
    }
}
