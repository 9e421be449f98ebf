//! Clients that get a session of their own: its first dial, the answer, and its beginning once the upgrade is through.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response};
use steadfast_protocol::session::{AckMode, ClientKind, Config, Opening, Session};
use steadfast_protocol::steadfast_v1::client_wire::Reason;

use crate::clock;
use crate::config::settings::HeaderRules;
use crate::downstream::accept::told_to_go;
use crate::downstream::response::{ResponseBody, Switching, busy, denied, relayed};
use crate::http::backend_headers::declines_failover;
use crate::http::replay_request::Handshake;
use crate::metric;
use crate::net::stream::Stream;
use crate::pace::Pace;
use crate::routing::admission::AddressPermits;
use crate::session::context::SessionPermit;
use crate::session::driver::{Driver, SessionStreams};
use crate::session::permits::SessionPermits;
use crate::session::registry::{Entry, NewSession, session_name};
use crate::snapshot::RouteMatch;
use crate::upstream::balance::Affinity;
use crate::upstream::dial::{Agreed, BackendSearch, DialError, Link};
use crate::upstream::pool::PoolSnapshot;
use crate::upstream::sticky::{SetCookie, StickyRequest};

use super::offer::{Offered, Spoken};
use super::{Next, UpgradeAnswer, conversation};
use crate::downstream::connection::{Caller, ClientConnection};

static FULL: Pace = Pace::new();

static MANY: Pace = Pace::new();

const MANY_WAIT: &str =
    "half as many clients as limits.max_handshakes wait for a backend of this pool; others get 503";

/// A client that is let in, and has no session.
pub(super) struct Newcomer<'a> {
    pub(super) caller: Caller,
    pub(super) request: Request<()>,
    pub(super) matched: RouteMatch<'a>,
    pub(super) offered: Offered,
    /// Why it does not go on with one.
    pub(super) reason: Reason,
    pub(super) affinity: Option<Affinity>,
    pub(super) permits: AddressPermits,
}

/// What its session has before there is a backend for it.
struct FirstDial {
    id: u128,
    /// `Sec-WebSocket-Key` and `Origin`, of the client's headers, which the handshake has taken.
    key: Option<HeaderValue>,
    origin: Option<HeaderValue>,
    permit: SessionPermit,
    handshake: Handshake,
    /// Dials so far.
    attempts: AtomicU32,
    /// What the request says of where its client belongs.
    identified: StickyRequest,
    /// The pool as it was when the session asked for a backend.
    present: Arc<PoolSnapshot>,
}

/// A session that begins.
pub(in crate::downstream) struct Admitted {
    address: SocketAddr,
    link: Box<Link>,
    new_session: NewSession,
    /// By what its client would come back to its backend.
    known_as: Option<u64>,
    /// What its machine is told: as the pool was when it was dialled, whatever a reload has made of it.
    config: Arc<Config>,
    client: ClientKind,
    /// The client must reconnect when the backend is left.
    begins_anew: bool,
    permits: SessionPermits,
}

impl ClientConnection {
    /// Opens a session, if there is room and a backend for it.
    pub(super) async fn open(&self, mut newcomer: Box<Newcomer<'_>>) -> UpgradeAnswer {
        let binding = newcomer.matched.binding;
        let present = binding.pool.snapshot();
        let Some(permit) = self.broker.admit() else {
            metric::LIMIT_HITS.count(metric::Limit::MaxSessions);
            if let Some(left_out) = FULL.line(clock::now()) {
                tracing::warn!(left_out, "there are as many sessions as there may be; clients get 503");
            }
            return busy("no room for another session; try again later").into();
        };
        let Some(waiting) = binding.pool.newcomers.join(self.broker.newcomers_max) else {
            metric::LIMIT_HITS.count(metric::Limit::Newcomers);
            if let Some(left_out) = MANY.line(clock::now()) {
                tracing::warn!(pool = &*binding.pool.name, left_out, "{MANY_WAIT}");
            }
            return busy("too many others wait for a backend of this service; try again later").into();
        };
        // From here on it counts among the sessions.
        self.place.give_back();
        let way = (&newcomer.caller.hops, present.settings.forwarded);
        let over_tls = newcomer.caller.hops.came_over_tls(newcomer.request.headers());
        let identified = present.identify(newcomer.request.uri(), newcomer.request.headers(), over_tls);
        let mut headers = std::mem::take(newcomer.request.headers_mut());
        identified.strip(&mut headers);
        let [key, origin] =
            [header::SEC_WEBSOCKET_KEY, header::ORIGIN].map(|name| headers.get(name).cloned());
        let rules = newcomer.matched.request_headers();
        let arrival = self.arrival.filter(|_| present.settings.send_proxy.is_on());
        let handshake = Handshake::keep(newcomer.request.uri(), headers, way, rules, arrival);
        let (id, attempts) = (rand::random(), AtomicU32::new(0));
        let dial = FirstDial { id, key, origin, permit, handshake, attempts, identified, present };
        let search = BackendSearch {
            pool: &binding.pool,
            handshake: &dial.handshake,
            session: &session_name(dial.id),
            client: newcomer.caller.peer.client,
            entrance: binding.entrance(),
            terms: newcomer.offered.terms(dial.speaks_shim()),
            affinity: newcomer.affinity,
            preferred: dial.identified.for_session(),
            attempts: &dial.attempts,
            just_failed: None,
            suspect: None,
            waiting: Some(&waiting),
        };
        match self.broker.sessions.dialer.first(&search).await {
            Ok(link) => self.linked(*newcomer, dial, link),
            Err(error) => {
                // Its client may take its time with the answer, and a backend's own comes on that one's connection.
                if matches!(error, DialError::Answered(_)) {
                    self.keep(dial.permit);
                } else {
                    self.place.take_again(|| told_to_go(self.peer.client)).await;
                }
                self.unlinked(error, newcomer.matched.response_headers()).into()
            }
        }
    }

    /// A backend has taken the session.
    fn linked(&self, newcomer: Newcomer<'_>, dial: FirstDial, mut link: Box<Link>) -> UpgradeAnswer {
        let shim = dial.speaks_shim();
        let Newcomer { caller, request, matched, offered, reason, affinity, permits } = newcomer;
        let FirstDial { id, key, origin, permit, handshake, attempts, mut identified, present } = dial;
        let Link { lease, headers, .. } = &mut *link;
        let cookie = identified.answered(lease.backend(), headers);
        let protocol = link.headers.get(header::SEC_WEBSOCKET_PROTOCOL);
        let protocol = protocol.map(|name| name.as_bytes().into());
        let agreed = Agreed { protocol, deflate: link.deflate, shim };
        let spoken = offered.spoken(&link.headers);
        let lines = Switching {
            key: key.as_ref(),
            headers: Some(&link.headers),
            rules: matched.response_headers(),
            cookie: cookie.map(SetCookie::into_line),
            protocol: spoken.protocol().cloned(),
            deflate: agreed.deflate,
        }
        .lines();
        let (config, recognised) = conversation::terms(
            matched.binding,
            &present,
            request.uri(),
            offered.speaks(&agreed),
            &link.headers,
        );
        let claim = |token| self.broker.sessions.returns.claim(token, id, origin);
        let claimed = offered.token.filter(|_| matches!(spoken, Spoken::Plain(_))).and_then(claim);
        let client = match spoken {
            Spoken::Shim(_) => ClientKind::Shim { secret: rand::random(), reason },
            Spoken::Plain(_) if claimed.is_some() => ClientKind::Returning,
            Spoken::Plain(_) => ClientKind::Plain,
        };
        // Others go on by themselves.
        let begins_anew = recognised && !shim && matches!(client, ClientKind::Plain);
        let binding = Arc::clone(matched.binding);
        let new_session = NewSession { id, handshake, agreed, affinity, attempts, binding };
        let permits = SessionPermits::new(permit, permits, claimed);
        let address = caller.peer.client;
        let known_as = identified.client();
        let admitted =
            Admitted { address, link, new_session, known_as, config, client, begins_anew, permits };
        UpgradeAnswer::Switches(lines, Next::Begins(Box::new(admitted)))
    }

    /// No backend has taken the session.
    fn unlinked(&self, error: DialError, rules: Option<&HeaderRules>) -> Response<ResponseBody> {
        match error {
            DialError::Answered(answer) => relayed(*answer, rules),
            DialError::Denied(denial) => {
                let Err(denial) = self.judged(Err::<Infallible, _>(denial));
                denied(&denial)
            }
            DialError::Full => busy("every backend of this service is full; try again later"),
            DialError::Unreachable | DialError::Refused => {
                metric::NO_BACKEND.count(());
                busy("no backend can take this session now; try again later")
            }
        }
    }

    /// Both sides are raw sockets now: the session begins, as a task of its own, which is much
    /// smaller than this one.
    pub(in crate::downstream) fn begin(&self, admitted: Admitted, client: (Stream, Bytes)) {
        let Admitted { address, link, new_session, known_as, config, client: kind, begins_anew, permits } =
            admitted;
        let now = clock::now();
        let no_failover = declines_failover(&link.headers);
        let deflate = new_session.agreed.deflate.is_some();
        let session = new_session.id.to_be_bytes();
        let opening = Opening { session, epoch: link.epoch, deflate, no_failover, begins_anew, client: kind };
        let machine = Session::new(config, now, opening);
        let Link { lease, stream, early, .. } = *link;
        let entry = Arc::new(Entry::new(new_session, address, machine, lease));
        if let Some(client) = known_as {
            entry.binding.pool.clients.begins(entry.id, client);
        }
        self.broker.sessions.registry.insert(Arc::clone(&entry));
        let (client, client_early) = client;
        let streams = SessionStreams { client, client_early, backend: stream, backend_early: early };
        tokio::spawn(Driver::new(entry, streams, permits));
    }
}

impl FirstDial {
    /// The session's services link the shim, whatever a reload says later.
    fn speaks_shim(&self) -> bool {
        self.present.session.ack == AckMode::Shim
    }
}
