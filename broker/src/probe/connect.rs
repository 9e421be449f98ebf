//! A connection for a check, from an address of this machine if one is wanted.

use std::io;
use std::net::{IpAddr, SocketAddr};

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpSocket, TcpStream, lookup_host};

use super::Failure;
use crate::dial;

/// Connects to the first address of `host` that takes the connection. With a `source`, only
/// addresses of its family are tried.
///
/// # Errors
/// The last address's, or that there is none.
pub(crate) async fn connect(host: &str, port: u16, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(source) = source else {
        return TcpStream::connect((host, port)).await;
    };
    let mut last = io::Error::other(format!("{host} has no address that {source} can reach"));
    for address in lookup_host((host, port)).await? {
        if address.is_ipv4() == source.is_ipv4() {
            match bound(source)?.connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
    }
    Err(last)
}

/// The port is left to `connect`, which can share one between destinations.
fn bound(source: IpAddr) -> io::Result<TcpSocket> {
    let socket = if source.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Without it there are fewer ports, and nothing else is wrong.
    let _ = setsockopt(&socket, sockopt::IpBindAddressNoPort, &true);
    socket.bind(SocketAddr::new(source, 0))?;
    Ok(socket)
}

/// What a connection that was not made says of the backend.
pub(super) fn failure(error: &io::Error) -> Failure {
    if dial::is_local(error) { Failure::Local(reason(error)) } else { Failure::Backend(reason(error)) }
}

/// What the kernel said, in its words: `connection refused`.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => Errno::from_raw(code).desc().to_ascii_lowercase(),
        None => error.to_string(),
    }
}
