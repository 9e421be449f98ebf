//! A TCP connection to a backend, from one of the addresses that its pool dials from.

use std::io;
use std::net::{IpAddr, SocketAddr};

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream, lookup_host};

use crate::pool::Pool;

/// Connects to the first address of `host` that answers.
///
/// # Errors
///
/// The last address's error, or that there is none.
pub(crate) async fn connect(pool: &Pool, host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for target in lookup_host((host, port)).await? {
        let connected = match pool.sources(target.ip()) {
            None => TcpStream::connect(target).await,
            Some(sources) => connect_from(&sources, target).await,
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Tries each source until one has a port left.
async fn connect_from(sources: &[IpAddr], target: SocketAddr) -> io::Result<TcpStream> {
    let mut last = io::Error::new(
        io::ErrorKind::Unsupported,
        format!("no source address of the pool is of the same family as {}", target.ip()),
    );
    for source in sources {
        match bound(*source)?.connect(target).await {
            Err(error) if is_used_up(&error) => last = error,
            done => return done,
        }
    }
    Err(last)
}

/// A socket with an address and no port yet: the kernel chooses the port when it knows the target,
/// and so can use the same one for several targets. Chosen at once, the ports of one address would
/// be all there are for all backends together.
fn bound(source: IpAddr) -> io::Result<TcpSocket> {
    let address = SocketAddr::new(source, 0);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
    socket.bind(&address.into())?;
    Ok(TcpSocket::from_std_stream(socket.into()))
}

/// This source has no port left for this target.
fn is_used_up(error: &io::Error) -> bool {
    let codes = [Errno::EADDRNOTAVAIL, Errno::EADDRINUSE];
    error.raw_os_error().is_some_and(|code| codes.contains(&Errno::from_raw(code)))
}
