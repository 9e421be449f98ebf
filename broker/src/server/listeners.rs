//! Binding: every address is taken before the first session is. One that cannot be had ends the start, with what to do about
//! it.

mod socket_file;

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Settings;
use crate::config::settings::ListenerSettings;
use crate::net::listener::ListenAddress;

pub use crate::net::listener::ListenSocket;
pub use socket_file::SocketFile;

/// Connections that the kernel keeps for us while we are busy. The system may allow fewer
/// (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// The sockets on which the broker is reached, bound, listening and nonblocking.
#[derive(Debug)]
pub struct Listeners {
    /// For clients, in the order of the configuration.
    pub clients: Vec<BoundListener>,
    /// For health, metrics and the API.
    pub admin: Option<TcpListener>,
}

/// A bound address for clients.
#[derive(Debug)]
pub struct BoundListener {
    /// Listening and nonblocking.
    pub socket: ListenSocket,
    /// Its file, if it has one.
    pub file: Option<SocketFile>,
    /// The address it has, also when the system chose the port.
    pub address: ListenAddress,
    /// The name of the pool for requests that no route matches.
    pub pool: Option<String>,
}

/// An address that cannot be had, and why.
#[derive(Debug)]
pub struct BindError {
    address: ListenAddress,
    source: io::Error,
}

impl Listeners {
    /// Binds all addresses, or none.
    ///
    /// # Errors
    ///
    /// The first address that cannot be bound.
    pub fn bind(settings: &Settings) -> Result<Self, BindError> {
        let clients = settings.listeners.iter().map(BoundListener::bind).collect::<Result<_, _>>()?;
        let open_admin =
            |address| open(address).map_err(|source| BindError { address: address.into(), source });
        let admin = settings.admin.address.map(open_admin).transpose()?;
        Ok(Self { clients, admin })
    }
}

impl BoundListener {
    fn bind(listener: &ListenerSettings) -> Result<Self, BindError> {
        let pool = listener.pool.clone();
        let bound = match &listener.address {
            ListenAddress::Tcp(address) => open(*address).and_then(|tcp| {
                let address = tcp.local_addr()?.into();
                Ok(Self { socket: ListenSocket::Tcp(tcp), file: None, address, pool })
            }),
            ListenAddress::Unix(path) => {
                socket_file::listen(path, &listener.file, BACKLOG).map(|(unix, file)| Self {
                    socket: ListenSocket::Unix(unix),
                    file: Some(file),
                    address: listener.address.clone(),
                    pool,
                })
            }
        };
        bound.map_err(|source| BindError { address: listener.address.clone(), source })
    }
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted broker need not wait for the old one's closed connections to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, source } = self;
        write!(f, "cannot listen on {address}: ")?;
        match address {
            ListenAddress::Tcp(address) => explain(f, *address, source),
            ListenAddress::Unix(path) => match source.kind() {
                ErrorKind::AddrInUse => {
                    let path = path.display();
                    write!(
                        f,
                        "somebody listens there; choose another path, or see who it is: ss -lxp src {path}"
                    )
                }
                ErrorKind::NotFound => {
                    f.write_str("its folder is not there; make it, or choose another path")
                }
                ErrorKind::PermissionDenied => {
                    f.write_str("no permission; see who may write in its folder, and who may give files away")
                }
                ErrorKind::AlreadyExists => write!(f, "{source}; take it away, or choose another path"),
                _ => write!(f, "{source}"),
            },
        }
    }
}

fn explain(f: &mut fmt::Formatter<'_>, address: SocketAddr, source: &io::Error) -> fmt::Result {
    match source.kind() {
        ErrorKind::AddrInUse => {
            let port = address.port();
            write!(f, "the address is in use; choose another, or see who has it: ss -ltnp 'sport = :{port}'")
        }
        ErrorKind::PermissionDenied => {
            f.write_str("no permission; choose a port from 1024 on, or grant CAP_NET_BIND_SERVICE")
        }
        ErrorKind::AddrNotAvailable => {
            let any = if address.is_ipv4() { "0.0.0.0" } else { "[::]" };
            write!(f, "it is not an address of this machine; use one of those, or {any} for all")
        }
        _ => write!(f, "{source}"),
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, parse};

    fn bind(listen: &[SocketAddr]) -> Result<Listeners, BindError> {
        let text = "[[pool]]\nname = \"a\"\n[[pool.backend]]\nurl = \"ws://127.0.0.1:1\"\n";
        let overrides = Overrides {
            listen: listen.iter().copied().map(ListenAddress::from).collect(),
            ..Overrides::default()
        };
        Listeners::bind(&parse(text, &overrides).expect("a sound configuration"))
    }

    fn loopback() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    fn tcp(listener: &BoundListener) -> SocketAddr {
        let ListenAddress::Tcp(address) = listener.address else { panic!("of TCP") };
        address
    }

    #[test]
    fn the_system_chooses_ports() {
        let listeners = bind(&[loopback(), loopback()]).expect("two free ports");
        let [first, second] = &listeners.clients[..] else { panic!("two listeners: {listeners:?}") };
        assert_ne!(tcp(first).port(), 0);
        assert_ne!(first.address, second.address);
        assert_eq!(first.pool.as_deref(), Some("a"));
        let ListenSocket::Tcp(socket) = &first.socket else { panic!("of TCP") };
        let nobody = socket.accept().expect_err("nobody has connected");
        assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn a_taken_address_is_named() {
        let first = bind(&[loopback()]).expect("a free port");
        let address = tcp(&first.clients[0]);
        let error = bind(&[address]).expect_err("the port is taken").to_string();
        assert!(
            error.starts_with(&format!("cannot listen on {address}: the address is in use; ")),
            "{error}"
        );
    }

    #[test]
    fn a_foreign_address_is_named() {
        // TEST-NET-1 (RFC 5737) is nobody's.
        let error = bind(&[SocketAddr::from(([192, 0, 2, 1], 0))]).expect_err("not of this machine");
        assert!(error.to_string().contains("not an address of this machine"), "{error}");
    }

    #[test]
    fn every_error_is_one_line_with_its_remedy() {
        for kind in [ErrorKind::AddrInUse, ErrorKind::PermissionDenied, ErrorKind::AddrNotAvailable] {
            let error = BindError { address: loopback().into(), source: kind.into() }.to_string();
            assert!(error.contains("; ") && !error.contains('\n'), "{error}");
        }
        let file: ListenAddress = "unix:/run/steadfast.sock".parse().expect("an address");
        for kind in
            [ErrorKind::AddrInUse, ErrorKind::PermissionDenied, ErrorKind::NotFound, ErrorKind::AlreadyExists]
        {
            let error = BindError { address: file.clone(), source: kind.into() }.to_string();
            assert!(error.starts_with("cannot listen on unix:/run/steadfast.sock: "), "{error}");
            assert!(error.contains("; ") && !error.contains('\n'), "{error}");
        }
    }
}
