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
use crate::upstream::pool::suspects::SuspectTurn;
use crate::upstream::pool::{DialSettings, Pool, PoolSnapshot};

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

/// For whom a connection is made, as far as its backend is told in front of all else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Announcement<'a> {
    pub(crate) client: SocketAddr,
    /// Where the client has connected to; `None`: nobody knows.
    pub(crate) destination: Option<SocketAddr>,
    /// The host that it asks for, without a port.
    pub(crate) host: Option<&'a str>,
    /// The session's or the request's.
    pub(crate) id: &'a str,
}

impl Dialer {
    /// Connects to a backend for a request, when its turn to be dialled has come.
    ///
    /// # Errors
    /// Those of [`connect`], and of the handshake of TLS.
    pub(crate) async fn reach(
        &self,
        pool: &Pool,
        backend: &Backend,
        whom: Announcement<'_>,
    ) -> io::Result<Stream> {
        let _slot = self.slots.take(&pool.name, backend.id, DialFor::Newcomer).await;
        reach((pool, &pool.snapshot()), backend, whom).await
    }
}

impl<'a> DialPermit<'a> {
    /// Connects for the session.
    ///
    /// # Errors
    /// Those of [`connect`], and of the handshake of TLS. The lease is then given back.
    pub(super) async fn connect(self, search: &BackendSearch<'_>) -> io::Result<Connected<'a>> {
        let begun = clock::now();
        let present = search.pool.snapshot();
        // It is looked for among all headers.
        let is_told = present.dialing.manner.proxy.is_on();
        let whom = Announcement {
            client: search.client,
            // A listener for all addresses has none that the client can have meant.
            destination: search.handshake.arrival().or(search.entrance),
            host: if is_told { search.handshake.host() } else { None },
            id: search.session,
        };
        let stream = reach((search.pool, &present), self.lease.backend(), whom).await?;
        Ok(Connected { stream, permit: self, begun })
    }
}

/// Connects, as the pool dials at the moment, tells the backend for whom if it is to be told in front of all else, and
/// goes on in TLS if it speaks that.
async fn reach(
    (pool, present): (&Pool, &PoolSnapshot),
    backend: &Backend,
    whom: Announcement<'_>,
) -> io::Result<Stream> {
    let DialSettings { connect: limit, manner, .. } = present.dialing;
    let end = Instant::now() + limit;
    let sources = pool.sources();
    let Backend { host, port, history, tls, .. } = backend;
    let mut stream = connect(host, *port, &sources, history, limit).await?;
    tune(&stream);
    if manner.proxy.is_on() {
        introduce(&mut stream, manner.proxy, whom).await?;
    }
    if let Some(tls) = present.tls_of(*tls) {
        stream = Box::pin(secure(stream, tls, (host, *port), (limit, end))).await?;
    }
    Ok(stream)
}

/// Writes the PROXY header. As long as nothing else is written, a socket takes that much at once.
async fn introduce(stream: &mut Stream, proxy: SendProxy, whom: Announcement<'_>) -> io::Result<()> {
    let Announcement { client, destination, host, id } = whom;
    let destination = match destination {
        Some(known) => known,
        // Through a file nobody has an address.
        None => stream.peer_address().unwrap_or(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)),
    };
    let ends = ProxiedEnds { source: client, destination };
    stream.write_all(&proxy.of_client(Announced { ends, host, id })).await
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
