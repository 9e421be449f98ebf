//! A client's connection, from its first byte until it is a session's or ends: what is known of it, and its place.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use http::Request;
use http::header::{self, HeaderValue};

use super::accept::Peer;
use crate::broker::Broker;
use crate::config::settings::{HeaderCase, ListenerSettings};
use crate::http::client_cert::CLIENT_CERT;
use crate::http::denial::Denial;
use crate::http::forwarding::Hops;
use crate::metric::{self, LookWord};
use crate::net::lingering_close;
use crate::net::places::Place;
use crate::net::stream::Stream;
use crate::routing::listener::ListenerId;
use crate::routing::trust::Trust;
use crate::session::context::SessionPermit;
use crate::snapshot::Snapshot;

const DROPPED: &str = "headers that say for whom a request is are dropped, here and from now on, because this peer is not \
                       trusted; if it is a proxy of yours, name its network in listener.trusted";

const GONE: &str = "it ended the connection before it had an answer";

/// One connection of a client.
pub(crate) struct ClientConnection {
    pub(super) broker: Arc<Broker>,
    pub(super) listener: ListenerId,
    /// As it is before it has said for whom it asks.
    pub(super) peer: Peer,
    /// Its place among the handshakes, until it has one among the sessions.
    pub(super) place: Place,
    /// Where the client has connected to, if backends may be told and it is not the listener's address.
    pub(super) arrival: Option<SocketAddr>,
    /// It is a proxy's own, which may be there only to see whether somebody listens.
    pub(super) is_own: bool,
    /// Its place among the sessions, while a backend answers it over HTTP, or may be asked again.
    pub(super) relaying: Mutex<Option<SessionPermit>>,
    /// Set once TLS is spoken, with what backends are told of the certificate that the client has shown.
    pub(super) secured: OnceLock<Option<HeaderValue>>,
}

/// For whom a request is, and by which way it has come.
pub(super) struct Caller {
    pub(super) peer: Peer,
    pub(super) hops: Hops,
}

/// A connection whose request could not be read or answered.
pub(super) struct FailedRequest {
    pub(super) why: String,
    /// It has got an answer all the same.
    pub(super) told: Option<Stream>,
}

impl FailedRequest {
    pub(super) fn gone() -> FailedRequest {
        FailedRequest { why: GONE.to_owned(), told: None }
    }
}

impl From<io::Error> for FailedRequest {
    fn from(error: io::Error) -> FailedRequest {
        FailedRequest { why: error.to_string(), told: None }
    }
}

impl ClientConnection {
    /// How names of headers are spelled for this listener's clients.
    pub(super) fn header_case(&self, snapshot: &Snapshot) -> HeaderCase {
        self.settings(snapshot).map_or(HeaderCase::Lower, |listener| listener.header_case)
    }

    pub(super) fn settings<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a ListenerSettings> {
        snapshot.settings.listeners.get(self.listener.number)
    }

    /// It counts among the sessions until its connection ends.
    pub(super) fn keep(&self, permit: SessionPermit) {
        *locked(&self.relaying) = Some(permit);
    }

    /// It counts among them as soon as it asks a backend, and stays there while it waits for its next request. False: there
    /// is no room.
    pub(super) fn takes_place(&self) -> bool {
        let mut place = locked(&self.relaying);
        if place.is_none() {
            *place = self.broker.admit();
            self.place.give_back();
        }
        place.is_some()
    }

    /// It has become something else.
    pub(super) fn leaves_place(&self) {
        *locked(&self.relaying) = None;
    }

    /// Lets a connection go that has got its answer, at once if another needs its place.
    pub(super) async fn close(&self, stream: Stream) {
        tokio::select! {
            () = lingering_close::close(stream) => {}
            () = self.place.told() => {}
        }
    }

    /// A balancer has seen that somebody listens, and is content.
    pub(super) fn looked(&self) {
        metric::BALANCER_LOOKS.count(LookWord::Connection);
    }

    pub(super) fn failed(&self, why: &str) {
        metric::HANDSHAKE_ERRORS.count(());
        // It is the connection that has failed, whoever it is for.
        tracing::debug!(client = %self.peer.socket, why, "handshake failed");
    }

    /// Finds for whom the request is. What is not to be believed of that is not in its headers afterwards.
    pub(super) fn caller<B>(&self, snapshot: &Snapshot, request: &mut Request<B>) -> Caller {
        let trust = snapshot.trust(self.listener.number);
        let trusts = |address| trust.is_some_and(|trust| trust.holds(address));
        let mut hops = Hops::read(request.headers_mut(), self.peer.socket, trusts);
        if let Some(shown) = self.secured.get() {
            hops.over_tls();
            // Only of a trusted proxy there is one by now: its client's.
            if let (Some(shown), header::Entry::Vacant(none)) =
                (shown, request.headers_mut().entry(CLIENT_CERT))
            {
                none.insert(shown.clone());
            }
        }
        if let Some(header) = hops.dropped()
            && trust.is_some_and(Trust::is_first_claim)
        {
            let (listener, peer) = (&self.listener.address, self.peer.socket.ip());
            tracing::warn!(%listener, %peer, %header, "{DROPPED}");
        }
        Caller { peer: self.peer.on_behalf_of(hops.client()), hops }
    }

    /// Counts who is turned away.
    pub(super) fn judged<T>(&self, judgement: Result<T, Denial>) -> Result<T, Denial> {
        judgement.inspect_err(|denial| {
            metric::DENIED.count(denial.reason);
        })
    }
}

/// No other thread waits for what only this task has.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
