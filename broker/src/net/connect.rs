//! TCP connections to backends: the one way to make them, for sessions, checks and agents.
//!
//! A name may have several addresses and a pool several `source` addresses; each pair is a way, and some
//! ways swallow what is sent. Ways are tried one after another without waiting for the end of the one
//! before (RFC 8305), and the one that worked last is tried first.

mod fault;
mod history;
mod race;
#[cfg(test)]
mod tests;
mod way;
mod ways;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpSocket, UnixStream};
use tokio::time::{Instant, timeout_at};

use super::blocking::look_up;
use super::stream::Stream;

use fault::ConnectFault;
use race::race;
use way::Way;
use ways::Ways;

pub(crate) use fault::{is_local, is_used_up, reason};
pub(crate) use history::History;

/// Connects to `host` within `limit`, name lookup included, from one of `sources`; empty: the system
/// chooses. A host that begins with a slash is the file of a Unix domain socket: it has no port, and no source.
///
/// Sources are used in their order, and only for addresses of their family.
///
/// # Errors
///
/// Returns what the ways that were tried say most clearly: a refusal before silence, silence before a
/// way that does not exist here. That ports or descriptors ran out on the way that worked last is said
/// before silence on others.
pub(crate) async fn connect(
    host: &str,
    port: u16,
    sources: &[IpAddr],
    history: &History,
    limit: Duration,
) -> io::Result<Stream> {
    let end = Instant::now() + limit;
    if host.starts_with('/') {
        let connected = timeout_at(end, UnixStream::connect(host)).await;
        return connected.map_err(|_| late("connection", limit))?.map(Stream::from);
    }
    let found = timeout_at(end, look_up(host, port)).await;
    let found = found.map_err(|_| late(&format!("address of {host}"), limit))??;
    connect_to(&found, sources, history, (limit, end)).await
}

/// Connects to one of the addresses that a name has.
async fn connect_to(
    found: &[SocketAddr],
    sources: &[IpAddr],
    history: &History,
    (limit, end): (Duration, Instant),
) -> io::Result<Stream> {
    let Some(first) = found.first() else {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    };
    let ways = Ways::new(found, sources, history);
    if ways.is_empty() {
        let missing = format!("there is no source address from which {} can be reached", first.ip());
        return Err(io::Error::new(io::ErrorKind::Unsupported, missing));
    }
    let raced = race(ways, open, end).await;
    raced.map(|won| history.keep(won)).map_err(|lost| lost.unwrap_or_else(|| late("connection", limit)))
}

fn late(awaited: &str, limit: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no {awaited} within {limit:?}"))
}

/// Tries one way.
async fn open(way: Way) -> Result<Stream, ConnectFault> {
    let socket = bound(way).map_err(ConnectFault::before)?;
    socket.connect(way.target).await.map(Stream::from).map_err(ConnectFault::connecting)
}

/// A socket with an address and no port yet. `connect` chooses the port, and can use the same one for
/// several targets; chosen here, an address's ports would be all there are for all backends together.
fn bound(way: Way) -> io::Result<TcpSocket> {
    let socket = if way.target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = way.source {
        // Without it there are fewer ports, and nothing else is wrong.
        let _ = setsockopt(&socket, sockopt::IpBindAddressNoPort, &true);
        socket.bind(SocketAddr::new(source, 0))?;
    }
    Ok(socket)
}
