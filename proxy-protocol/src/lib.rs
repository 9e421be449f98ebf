//! The PROXY protocol in both versions (haproxy.org/download/2.9/doc/proxy-protocol.txt): what a proxy says in front of a
//! connection's first byte of whom it speaks for. Bytes become what they say, and the other way round, without I/O; who is
//! believed is for others to say.

mod outgoing;
mod received;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

pub use outgoing::{Announced, SendProxy};
pub use received::{HEADER_MAX, HeaderBytes, HeaderFault};

/// What a header says of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// It is a client's.
    Client(ProxiedEnds),
    /// It is the proxy's own, as a health check is, or comes from where there are no addresses of the internet.
    Own,
}

/// A client's connection to a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxiedEnds {
    /// The client's address, IPv4 in its own form.
    pub source: SocketAddr,
    /// Where it has connected to.
    pub destination: SocketAddr,
}
