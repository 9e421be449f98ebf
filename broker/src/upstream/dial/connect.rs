//! Connecting to a backend: the turn of the dial, and TCP. Nothing has been said on the connection that comes of it, so
//! what is to be spoken is left to whoever has it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use steadfast_protocol::time::Time;

use crate::clock;
use crate::net::connect::connect;
use crate::net::stream::Stream;
use crate::upstream::backend::{Backend, BackendLease};
use crate::upstream::pool::Pool;
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
    /// Connects, as `pool` dials at the moment.
    ///
    /// # Errors
    /// Those of [`connect`]. The lease is then given back.
    pub(super) async fn connect(self, pool: &Pool) -> io::Result<Connected<'a>> {
        let limit = pool.snapshot().dialing.connect;
        let sources = pool.sources();
        let begun = clock::now();
        let Backend { host, port, history, .. } = &**self.lease.backend();
        let stream = connect(host, *port, &sources, history, limit).await?;
        tune(&stream);
        Ok(Connected { stream, permit: self, begun })
    }
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
