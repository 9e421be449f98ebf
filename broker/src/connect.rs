//! TCP connections to backends, from the addresses that their pool dials from.

use std::io;
use std::net::{IpAddr, SocketAddr};

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpSocket, TcpStream, lookup_host};

/// Connects to the first address of `host` that takes the connection, from one of `sources`; empty:
/// the system chooses. Sources are tried in their order, and only for addresses of their family.
///
/// # Errors
///
/// The last address's, or that there is none.
pub(crate) async fn connect(host: &str, port: u16, sources: &[IpAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for target in lookup_host((host, port)).await? {
        let connected = match sources {
            [] => TcpStream::connect(target).await,
            sources => connect_from(sources, target).await,
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Tries one source after another until one can be used.
async fn connect_from(sources: &[IpAddr], target: SocketAddr) -> io::Result<TcpStream> {
    let missing = format!("there is no source address from which {} can be reached", target.ip());
    let mut last = io::Error::new(io::ErrorKind::Unsupported, missing);
    for source in sources.iter().filter(|source| source.is_ipv4() == target.is_ipv4()) {
        let connected = match bound(*source) {
            Ok(socket) => socket.connect(target).await,
            Err(error) => Err(error),
        };
        match connected {
            Err(error) if is_used_up(&error) => last = error,
            done => return done,
        }
    }
    Err(last)
}

/// A socket with an address and no port yet. `connect` chooses the port, and can use the same one for
/// several targets; chosen here, an address's ports would be all there are for all backends together.
fn bound(source: IpAddr) -> io::Result<TcpSocket> {
    let socket = if source.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Without it there are fewer ports, and nothing else is wrong.
    let _ = setsockopt(&socket, sockopt::IpBindAddressNoPort, &true);
    socket.bind(SocketAddr::new(source, 0))?;
    Ok(socket)
}

/// This source has no port left for this target, or is not this machine's at present.
pub(crate) fn is_used_up(error: &io::Error) -> bool {
    is_one_of(error, &[Errno::EADDRNOTAVAIL, Errno::EADDRINUSE])
}

/// "Out of file descriptors here" is not "the backend is down".
pub(crate) fn is_local(error: &io::Error) -> bool {
    let local = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM];
    is_used_up(error) || is_one_of(error, &local)
}

fn is_one_of(error: &io::Error, codes: &[Errno]) -> bool {
    error.raw_os_error().is_some_and(|code| codes.contains(&Errno::from_raw(code)))
}

/// What the kernel said, in its words: `connection refused`.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => Errno::from_raw(code).desc().to_ascii_lowercase(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_source_that_this_machine_has_not_is_passed_over() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        // The first is for documentation (RFC 5737), and so nobody's.
        let sources = ["192.0.2.1", "127.0.0.3"].map(|source| source.parse().expect("an address"));
        let stream = connect("127.0.0.1", port, &sources).await.expect("the second can be used");
        assert_eq!(stream.local_addr().expect("it is bound").ip(), sources[1]);
        let error = connect("127.0.0.1", port, &sources[..1]).await.expect_err("none can be used");
        assert!(is_local(&error));
    }
}
