//! Binding: every address is taken before the first session is.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Settings;
use crate::config::settings::ListenerSettings;

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
    pub socket: TcpListener,
    /// The address it has, also when the system chose the port.
    pub address: SocketAddr,
    /// The name of the pool for requests that no route matches.
    pub pool: Option<String>,
}

/// An address that cannot be had, and why.
#[derive(Debug)]
pub struct BindError {
    address: SocketAddr,
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
        let admin = settings.admin.address.map(listen).transpose()?;
        Ok(Self { clients, admin })
    }
}

impl BoundListener {
    fn bind(listener: &ListenerSettings) -> Result<Self, BindError> {
        let socket = listen(listener.address)?;
        let address =
            socket.local_addr().map_err(|source| BindError { address: listener.address, source })?;
        Ok(Self { socket, address, pool: listener.pool.clone() })
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, BindError> {
    open(address).map_err(|source| BindError { address, source })
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
        match source.kind() {
            ErrorKind::AddrInUse => {
                let port = address.port();
                write!(
                    f,
                    "the address is in use; choose another, or see who has it: ss -ltnp 'sport = :{port}'"
                )
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
        let overrides = Overrides { listen: listen.to_vec(), ..Overrides::default() };
        Listeners::bind(&parse(text, &overrides).expect("a sound configuration"))
    }

    fn loopback() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[test]
    fn the_system_chooses_ports() {
        let listeners = bind(&[loopback(), loopback()]).expect("two free ports");
        let [first, second] = &listeners.clients[..] else { panic!("two listeners: {listeners:?}") };
        assert_ne!(first.address.port(), 0);
        assert_ne!(first.address, second.address);
        assert_eq!(first.pool.as_deref(), Some("a"));
        let nobody = first.socket.accept().expect_err("nobody has connected");
        assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn a_taken_address_is_named() {
        let first = bind(&[loopback()]).expect("a free port");
        let address = first.clients[0].address;
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
            let error = BindError { address: loopback(), source: kind.into() }.to_string();
            assert!(error.contains("; ") && !error.contains('\n'), "{error}");
        }
    }
}
