//! Clients that come back: those whose connection waits to be taken over by their session's task, and the
//! tokens of those that do not link the shim.

use std::hash::BuildHasherDefault;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Place;
use http::HeaderValue;
use steadfast_protocol::steadfast_v1::CLOSE_STALE;
use steadfast_protocol::steadfast_v1::client_wire::Resume;
use steadfast_protocol::websocket::close_code::CloseCode;
use steadfast_protocol::websocket::frame::close_frame;

use crate::lock::enter;
use crate::lock::rank::{ArrivalsRank, PlainTokensRank};
use crate::net::lingering_close;
use crate::net::stream::Stream;
use crate::session::plain_token::PlainToken;
use crate::session::registry::{Entry, IdHasher, Registry};

/// The directory of clients that come back.
#[derive(Debug)]
pub(crate) struct Returns {
    registry: Arc<Registry>,
    /// By session. The latest counts.
    arrivals: DashMap<u128, Arrival, BuildHasherDefault<IdHasher>>,
    plain: DashMap<PlainToken, Owner>,
}

/// A client's new connection.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) client: SocketAddr,
    pub(crate) stream: Stream,
    /// What came right behind the upgrade.
    pub(crate) early: Bytes,
    /// What it shows; `None`: it is a plain one, whose token was found.
    pub(crate) resume: Option<Resume>,
}

/// Whose a plain client's token is.
#[derive(Debug)]
struct Owner {
    session: u128,
    origin: Option<HeaderValue>,
}

/// A plain client's token, until its session ends.
#[derive(Debug)]
pub(crate) struct Claimed {
    returns: Arc<Returns>,
    token: PlainToken,
}

impl Returns {
    pub(super) fn new(registry: Arc<Registry>) -> Returns {
        Returns { registry, arrivals: DashMap::default(), plain: DashMap::new() }
    }

    /// Hands a connection to the task of its session. One that still waits for that is told that it comes too late.
    pub(crate) fn arrive(&self, session: u128, arrival: Arrival) {
        if let Some(before) = self.put(session, arrival) {
            refuse_stale(before.stream);
        }
        match self.registry.get(session) {
            Some(entry) => entry.announce(),
            None => self.send_away(session),
        }
    }

    /// The connection that waits for this session, if one does.
    #[inline]
    pub(super) fn take(&self, entry: &Entry) -> Option<Arrival> {
        if !entry.is_announced() {
            return None;
        }
        self.take_of(entry.id)
    }

    /// The session has ended: whoever waits for it may try again.
    pub(super) fn send_away(&self, session: u128) {
        if let Some(arrival) = self.take_of(session) {
            refuse(arrival.stream, CloseCode::SERVICE_RESTART, "the session has ended; try again");
        }
    }

    /// The session that a plain client has named before, from the same origin.
    pub(crate) fn owned(&self, token: &PlainToken, origin: Option<&HeaderValue>) -> Option<Arc<Entry>> {
        let _held = enter::<PlainTokensRank>();
        let owner = self.plain.get(token).filter(|owner| owner.origin.as_ref() == origin)?;
        self.registry.get(owner.session)
    }

    /// Names a session that begins. `None`: the token is another one's.
    pub(crate) fn claim(
        self: &Arc<Returns>,
        token: PlainToken,
        session: u128,
        origin: Option<HeaderValue>,
    ) -> Option<Claimed> {
        let _held = enter::<PlainTokensRank>();
        match self.plain.entry(token.clone()) {
            Place::Occupied(_) => None,
            Place::Vacant(place) => {
                place.insert(Owner { session, origin });
                Some(Claimed { returns: Arc::clone(self), token })
            }
        }
    }

    /// Returns the connection that has waited until now.
    fn put(&self, session: u128, arrival: Arrival) -> Option<Arrival> {
        let _held = enter::<ArrivalsRank>();
        self.arrivals.insert(session, arrival)
    }

    fn take_of(&self, session: u128) -> Option<Arrival> {
        let _held = enter::<ArrivalsRank>();
        self.arrivals.remove(&session).map(|(_, arrival)| arrival)
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        let _held = enter::<PlainTokensRank>();
        self.returns.plain.remove(&self.token);
    }
}

/// The token was good when the client asked, and another connection has replaced it since.
pub(super) fn refuse_stale(stream: Stream) {
    refuse(stream, CLOSE_STALE, "stale: another connection has replaced this token");
}

fn refuse(stream: Stream, code: CloseCode, reason: &str) {
    lingering_close::with_last_words(stream, close_frame(code, reason));
}
