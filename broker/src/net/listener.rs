//! Where clients connect: an address of TCP, or the file of a Unix domain socket, and the socket that listens there.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};

use super::stream::Stream;

/// What the file of a socket is written behind.
const UNIX: &str = "unix:";

/// Bytes of a socket's path (`sun_path`, unix(7)), without the zero at its end.
const PATH_MAX: usize = 107;

/// Whoever comes through a file is on this machine, and has no address.
const THIS_MACHINE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// An address on which clients connect.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListenAddress {
    /// An address of this machine, or of all its interfaces.
    Tcp(SocketAddr),
    /// A file, by its absolute path.
    Unix(Arc<Path>),
}

impl ListenAddress {
    /// Where clients have connected to; `None`: it has all addresses of this machine, or none.
    pub(crate) fn entrance(&self) -> Option<SocketAddr> {
        match self {
            ListenAddress::Tcp(address) => Some(*address).filter(|address| !address.ip().is_unspecified()),
            ListenAddress::Unix(_) => None,
        }
    }

    /// It has all addresses of this machine.
    pub(crate) fn is_unspecified(&self) -> bool {
        matches!(self, ListenAddress::Tcp(address) if address.ip().is_unspecified())
    }
}

impl<A: Into<SocketAddr>> From<A> for ListenAddress {
    fn from(address: A) -> ListenAddress {
        ListenAddress::Tcp(address.into())
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(f),
            ListenAddress::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// What is wrong with an address, in one sentence.
impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<ListenAddress, String> {
        match socket_file(text) {
            Some(path) => path.map(ListenAddress::Unix),
            None => text.parse().map(ListenAddress::Tcp).map_err(|_| {
                format!(
                    r#"expected IP:PORT such as "0.0.0.0:8080" or "[::]:8080", or "unix:/PATH", found {text:?}"#
                )
            }),
        }
    }
}

/// The path behind `unix:`, or why it is none, in one sentence; `None`: something else than the file of a socket is meant.
pub(crate) fn socket_file(text: &str) -> Option<Result<Arc<Path>, String>> {
    text.strip_prefix(UNIX).map(socket_path)
}

fn socket_path(path: &str) -> Result<Arc<Path>, String> {
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        return Err(format!(
            r#"expected the absolute path of a socket such as "unix:/run/steadfast.sock", found {path:?}"#
        ));
    }
    match path.len() {
        ..=PATH_MAX => Ok(Path::new(path).into()),
        length => {
            Err(format!("the path of a socket has at most {PATH_MAX} bytes, and {path:?} has {length}"))
        }
    }
}

/// A socket that listens, without a runtime.
#[derive(Debug)]
pub enum ListenSocket {
    /// Of TCP.
    Tcp(std::net::TcpListener),
    /// Of a file.
    Unix(StdUnixListener),
}

impl ListenSocket {
    /// Another handle of the same.
    ///
    /// # Errors
    ///
    /// Those of dup(2).
    pub(crate) fn try_clone(&self) -> io::Result<ListenSocket> {
        Ok(match self {
            ListenSocket::Tcp(tcp) => ListenSocket::Tcp(tcp.try_clone()?),
            ListenSocket::Unix(unix) => ListenSocket::Unix(unix.try_clone()?),
        })
    }
}

/// A socket that listens.
#[derive(Debug)]
pub(crate) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    /// Of a socket that is nonblocking, within a runtime.
    ///
    /// # Errors
    ///
    /// When the runtime cannot watch it.
    pub(crate) fn new(socket: ListenSocket) -> io::Result<Acceptor> {
        Ok(match socket {
            ListenSocket::Tcp(tcp) => Acceptor::Tcp(TcpListener::from_std(tcp)?),
            ListenSocket::Unix(unix) => Acceptor::Unix(UnixListener::from_std(unix)?),
        })
    }

    /// Waits for the next connection, and returns the address that its other end has; who comes through a file counts as
    /// 127.0.0.1.
    ///
    /// # Errors
    ///
    /// Those of accept(2).
    pub(crate) async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        match self {
            Acceptor::Tcp(tcp) => tcp.accept().await.map(|(stream, address)| (stream.into(), address)),
            Acceptor::Unix(unix) => unix.accept().await.map(|(stream, _)| (stream.into(), THIS_MACHINE)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_is_read() {
        for text in ["127.0.0.1:8080", "[::]:80", "unix:/run/steadfast.sock"] {
            let address: ListenAddress = text.parse().expect("an address");
            assert_eq!(address.to_string(), text);
        }
        let long = format!("unix:/{}", "x".repeat(107));
        for (text, why) in [
            (
                "8080",
                "expected IP:PORT such as \"0.0.0.0:8080\" or \"[::]:8080\", or \"unix:/PATH\", found \"8080\"",
            ),
            ("unix:run/a", "expected the absolute path"),
            ("unix:/run/", "expected the absolute path"),
            ("unix:", "expected the absolute path"),
            ("unix:unix:/run/a", "expected the absolute path"),
            (long.as_str(), "the path of a socket has at most 107 bytes"),
        ] {
            let error = text.parse::<ListenAddress>().expect_err("none");
            assert!(error.starts_with(why), "{error}");
        }
    }

    #[test]
    fn only_an_address_of_its_own_is_an_entrance() {
        let entrance = |text: &str| text.parse::<ListenAddress>().expect("an address").entrance();
        assert_eq!(entrance("127.0.0.1:80"), Some(([127, 0, 0, 1], 80).into()));
        assert_eq!((entrance("0.0.0.0:80"), entrance("unix:/run/a")), (None, None));
    }
}
