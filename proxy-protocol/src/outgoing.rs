//! Headers as they are sent.

use std::net::{IpAddr, SocketAddr};

use proxy_header::{ProxiedAddress, Tlv};

use super::ProxiedEnds;

/// The longest name of a host that is told (RFC 1035, 2.3.4, with brackets around an address).
const AUTHORITY_MAX: usize = 255;
/// Bytes of the longest unique id (2.2.5).
const UNIQUE_ID_MAX: usize = 128;

/// Whether backends are told in front of everything else for whom a connection is, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendProxy {
    /// They are not.
    Off,
    /// By a line of text.
    V1,
    /// By a block of bytes, with the request's host and the session's id.
    V2,
}

/// What is told of a client's connection.
#[derive(Debug, Clone, Copy)]
pub struct Announced<'a> {
    /// Its ends.
    pub ends: ProxiedEnds,
    /// The host that the client has asked for, without a port.
    pub host: Option<&'a str>,
    /// What the connection is known by.
    pub id: &'a str,
}

impl SendProxy {
    /// Whether there is anything to send.
    pub fn is_on(self) -> bool {
        self != SendProxy::Off
    }

    /// Returns the header for a client's connection; empty: none is sent. It has at most [`HEADER_MAX`](crate::HEADER_MAX) bytes.
    pub fn of_client(self, announced: Announced<'_>) -> Vec<u8> {
        let addresses = Some(addresses(announced.ends));
        let host = announced.host.filter(|host| !host.is_empty() && host.len() <= AUTHORITY_MAX);
        let id = Some(announced.id.as_bytes()).filter(|id| id.len() <= UNIQUE_ID_MAX);
        let tlvs = [host.map(|host| Tlv::Authority(host.into())), id.map(|id| Tlv::UniqueId(id.into()))];
        match self {
            SendProxy::V2 => self.encoded(addresses, tlvs),
            SendProxy::V1 | SendProxy::Off => self.encoded(addresses, [None, None]),
        }
    }

    /// Returns the header for a connection of the broker's own, as of a check; empty: none is sent.
    pub fn of_own(self) -> Vec<u8> {
        self.encoded(None, [None, None])
    }

    fn encoded(self, addresses: Option<ProxiedAddress>, tlvs: [Option<Tlv<'_>>; 2]) -> Vec<u8> {
        let header = proxy_header::ProxyHeader::with_tlvs(addresses, tlvs.into_iter().flatten());
        let mut bytes = Vec::new();
        let encoded = match self {
            SendProxy::Off => Ok(()),
            SendProxy::V1 => header.encode_v1(&mut bytes),
            SendProxy::V2 => header.encode_v2(&mut bytes),
        };
        // Of one family, as streams and within their bounds, there is nothing that cannot be said.
        if encoded.is_err() {
            bytes.clear();
        }
        bytes
    }
}

/// Both are of one family: if one is IPv6, the other is written as it (RFC 4291, 2.5.5.2).
fn addresses(ends: ProxiedEnds) -> ProxiedAddress {
    let ProxiedEnds { source, destination } = ends;
    let [mut from, mut to] = [source, destination].map(|end| end.ip().to_canonical());
    if from.is_ipv4() != to.is_ipv4() {
        [from, to] = [from, to].map(mapped);
    }
    ProxiedAddress::stream(SocketAddr::new(from, source.port()), SocketAddr::new(to, destination.port()))
}

fn mapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        IpAddr::V6(_) => address,
    }
}
