//! Connecting to a backend: the turn of the dial, and TCP. Nothing has been said on the connection that comes of it but
//! for whom it is, if the pool says so, and what is to be spoken is left to whoever has it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use steadfast_protocol::time::Time;
use steadfast_proxy_protocol::{Announced, ProxiedEnds, SendProxy};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::clock;
use crate::net::connect::connect;
use crate::net::stream::Stream;
use crate::upstream::approach::secure;
use crate::upstream::backend::{Backend, BackendLease};
use crate::upstream::pool::DialSettings;
use crate::upstream::pool::suspects::SuspectTurn;

use super::Dialer;
use super::search::BackendSearch;
use super::slots::{DialFor, DialSlot};

/// A dial that may be made: the session's place on the backend, and the dial's own among those in flight.
pub(super) struct DialPermit<'a> {
    pub(super) lease: BackendLease,
    /// The turn of a session with suspects.
    pub(super) turn: Option<SuspectTurn>,
    _slot: DialSlot<'a>,
}

/// A connection to the backend of a lease.
pub(super) struct Connected<'a> {
    pub(super) stream: Stream,
    pub(super) permit: DialPermit<'a>,
    /// When the dial began.
    pub(super) begun: Time,
}

impl Dialer {
    /// Waits until the backend of `lease` may be dialled. A session with suspects waits for its turn first.
    pub(super) async fn permit(&self, search: &BackendSearch<'_>, lease: BackendLease) -> DialPermit<'_> {
        let backend = Arc::clone(lease.backend());
        let turn = match search.suspect {
            Some(suspect) => Some(search.pool.suspects_turn(backend.id, suspect).await),
            None => None,
        };
        let dialer = if search.terms.are_first() { DialFor::Newcomer } else { DialFor::Session };
        let slot = self.slots.take(&search.pool.name, backend.id, dialer).await;
        backend.dials.fetch_add(1, Relaxed);
        DialPermit { lease, turn, _slot: slot }
    }
}

impl<'a> DialPermit<'a> {
    /// Connects, as the pool dials at the moment, tells the backend for whom if it is to be told in front of all else, and
    /// goes on in TLS if it speaks that.
    ///
    /// # Errors
    /// Those of [`connect`]. The lease is then given back.
    pub(super) async fn connect(self, search: &BackendSearch<'_>) -> io::Result<Connected<'a>> {
        let present = search.pool.snapshot();
        let DialSettings { connect: limit, manner, .. } = present.dialing;
        let end = Instant::now() + limit;
        let sources = search.pool.sources();
        let begun = clock::now();
        let Backend { host, port, history, tls, .. } = &**self.lease.backend();
        let mut stream = connect(host, *port, &sources, history, limit).await?;
        tune(&stream);
        if manner.proxy.is_on() {
            introduce(&mut stream, manner.proxy, search).await?;
        }
        if let Some(tls) = present.tls_of(*tls) {
            stream = Box::pin(secure(stream, tls, (host, *port), (limit, end))).await?;
        }
        Ok(Connected { stream, permit: self, begun })
    }
}

/// Writes the PROXY header of the session. As long as nothing else is written, a socket takes that much at once.
async fn introduce(stream: &mut Stream, proxy: SendProxy, search: &BackendSearch<'_>) -> io::Result<()> {
    // A listener for all addresses has none that the client can have meant.
    let destination = match search.handshake.arrival().or(search.entrance) {
        Some(known) => known,
        // Through a file nobody has an address.
        None => stream.peer_address().unwrap_or(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)),
    };
    let ends = ProxiedEnds { source: search.client, destination };
    let header = proxy.of_client(Announced { ends, host: search.handshake.host(), id: search.session });
    stream.write_all(&header).await
}

/// Bytes that the kernel may keep for a backend without having sent them.
const UNSENT: u32 = 128 * 1024;

/// Messages are not held back to be joined, and little waits unsent: it is of more use in the ring. How long a
/// backend may take nothing is no matter of the kernel's, for which a closed window is as good as a dead host.
fn tune(stream: &Stream) {
    for result in [stream.set_nodelay(), stream.set_unsent_max(UNSENT)] {
        if let Err(error) = result {
            tracing::debug!(%error, "a socket option was refused");
        }
    }
}
