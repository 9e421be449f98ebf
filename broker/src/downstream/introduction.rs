//! Connections that a proxy introduces: on listeners behind one that speaks the PROXY protocol, who is at the other end is
//! known only when its header has come. Until then a connection is the proxy's, also among the places.

use std::net::SocketAddr;

use steadfast_proxy_protocol::ProxyHeader;
use tokio::time::{Instant, timeout_at};

use crate::broker::Broker;
use crate::clock;
use crate::metric::{self, HeaderWord};
use crate::net::address::Address;
use crate::net::proxy_header::{self, NoHeader};
use crate::pace::Pace;
use crate::routing::listener::ListenerId;

use super::accept::{Accepted, Introduction, Peer};

const STRANGER: &str = "a connection to a listener with proxy_protocol = \"required\" does not come from listener.trusted, and is \
                        closed";

const NO_HEADER: &str = "a proxy that is trusted has sent no sound PROXY header, and its connection is closed; see that it sends \
                         one on this port";

static STRANGERS: Pace = Pace::new();

static UNSOUND: Pace = Pace::new();

/// Reads whom the connection is for, until the time is over. `None`: it is closed.
pub(super) async fn read(
    broker: &Broker,
    listener: &ListenerId,
    mut accepted: Accepted,
    until: Instant,
) -> Option<Accepted> {
    let proxy = accepted.peer.socket;
    let is_trusted = broker.snapshot().trust(listener.number).is_some_and(|trust| trust.holds(proxy.ip()));
    if !is_trusted {
        refused(HeaderWord::Untrusted);
        if let Some(left_out) = STRANGERS.line(clock::now()) {
            tracing::warn!(listener = %listener.address, peer = %proxy, left_out, "{STRANGER}");
        }
        return None;
    }
    let read = timeout_at(until, proxy_header::read(&mut accepted.stream));
    let header = tokio::select! {
        biased;
        header = read => header.unwrap_or_else(|_| Err(NoHeader::Cut("it has not come in time".to_owned()))),
        () = accepted.place.told() => Err(NoHeader::Cut("another connection needs its place".to_owned())),
    };
    let (word, why) = match header {
        Ok(header) => {
            introduce(&mut accepted, header);
            return Some(accepted);
        }
        // As of a balancer that looks whether somebody listens.
        Err(NoHeader::Nothing) => return None,
        Err(NoHeader::Cut(why)) => (HeaderWord::Cut, why),
        Err(NoHeader::Malformed) => (HeaderWord::Malformed, "it begins with something else".to_owned()),
        Err(NoHeader::Checksum) => (HeaderWord::Checksum, "its checksum is wrong".to_owned()),
    };
    refused(word);
    if let Some(left_out) = UNSOUND.line(clock::now()) {
        tracing::warn!(listener = %listener.address, %proxy, why, left_out, "{NO_HEADER}");
    }
    None
}

fn introduce(accepted: &mut Accepted, header: ProxyHeader) {
    let proxy = accepted.peer.socket;
    match header {
        ProxyHeader::Client(ends) if !is_same(ends.source, proxy) => {
            metric::PROXY_HEADERS.count(HeaderWord::Client);
            tracing::debug!(%proxy, client = %ends.source, destination = %ends.destination, "a connection for a client");
            accepted.place.pass_to(Address::of(ends.source.ip()));
            accepted.peer = Peer::direct(ends.source);
            accepted.introduction = Introduction::Client { arrival: ends.destination };
        }
        // HAProxy's checks in version 1 name HAProxy itself, and end with a reset.
        ProxyHeader::Own | ProxyHeader::Client(_) => {
            metric::PROXY_HEADERS.count(HeaderWord::Own);
            tracing::debug!(%proxy, "a proxy's own connection");
            accepted.introduction = Introduction::Own;
        }
    }
}

fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    (one.ip().to_canonical(), one.port()) == (other.ip().to_canonical(), other.port())
}

fn refused(word: HeaderWord) {
    metric::PROXY_HEADERS.count(word);
    metric::HANDSHAKE_ERRORS.count(());
}
