//! Clients that come back to the backend that they were at: by a cookie of the broker's own, or by what their backends have
//! given them. Whether that backend may be used is the pool's to say.
//!
//! Whoever sends a request on, an upgrade or another, does this, in this order:
//!
//! 1. [`StickyRequest::find`], of the request as it came: to which backend does its client belong? The answer goes with
//!    the search for a backend ([`StickyRequest::for_session`], [`StickyRequest::for_request`]).
//! 2. [`StickyRequest::strip`], before the headers go to a backend: none sees the broker's cookie.
//! 3. [`StickyRequest::answered`], with the backend that has answered and its headers as they came: what is to be learned
//!    is, and the cookie that the client is to get comes back. When all rules have changed the headers,
//!    [`SetCookie::add_to`].
//! 4. Where [`StickyRequest::learns_of_bodies`], [`StickyRequest::body`] with the first bytes of the answer's body.
//!
//! A session's client is remembered for as long as the session is there ([`Clients::begins`]), so that its cookie, or what
//! was learned, follows when the session moves.

mod cacheable;
mod cookie;
pub(crate) mod engine_io;
mod learned;
mod mac;
mod token;

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http::Uri;
use http::header::{HeaderMap, HeaderValue, SET_COOKIE};

use crate::clock;
use crate::config::settings::{
    LearnFrom, StickyCookie, StickyDraining, StickyLearning, StickyMode, StickySettings,
};
use crate::lock::OrderedMutex;
use crate::lock::rank::{LearnedRank, StickySessionsRank};
use crate::metric::{self, StickyWord};
use crate::upstream::backend::{Backend, Reach};
use crate::upstream::balance::part_of_request;

use cookie::Found;
use learned::{Belonging, Bounds, Learned};
use token::{Lifetime, Token, TokenKeys};

/// Clients that are remembered because they belong elsewhere than their cookies say.
const MOVED: Bounds = Bounds { entries: 100_000, timeout: Duration::from_secs(24 * 60 * 60) };

/// How the clients of a pool come back, as it is configured. Replaced at a reload; what is known of clients stays.
pub(crate) struct Sticky {
    pool: Arc<str>,
    draining: StickyDraining,
    way: Way,
    clients: Arc<Clients>,
}

/// What a client is known by.
enum Way {
    Cookie { settings: StickyCookie, keys: TokenKeys },
    Learning(StickyLearning),
}

/// What a pool knows of its clients. It outlives reloads.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    learned: OrderedMutex<Learned, LearnedRank>,
    /// The clients of the sessions that are there, by the sessions' ids.
    sessions: OrderedMutex<HashMap<u128, u64>, StickySessionsRank>,
    /// Makes numbers of what clients are known by. Nobody is to know who shares one.
    hasher: RandomState,
}

/// The backend that a client belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Preferred {
    /// Its id.
    pub(crate) backend: usize,
    /// Whether the client goes there at all.
    pub(crate) reach: Reach,
}

/// What a request says of its client; without meaning in a pool that is not sticky.
#[derive(Debug, Default)]
pub(crate) struct StickyRequest(Option<Identified>);

#[derive(Debug)]
struct Identified {
    sticky: Arc<Sticky>,
    over_tls: bool,
    /// What it has shown counts for nothing.
    is_wrong: bool,
    token: Option<Shown>,
    /// The client's number: by its cookie, or by what it is known by. Of a session, see [`Clients::begins`].
    client: Option<u64>,
    /// The hash of the backend's name to which it belongs, and its id if it is there.
    belongs: Option<u64>,
    backend: Option<usize>,
}

/// A cookie that counts.
#[derive(Debug, Clone, Copy)]
struct Shown {
    token: Token,
    /// The key that signs has signed it.
    newest: bool,
}

/// The cookie that an answer is to set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SetCookie(HeaderValue);

impl SetCookie {
    /// Sets it, and keeps the answer out of caches that others use.
    pub(crate) fn add_to(self, headers: &mut HeaderMap) {
        headers.append(SET_COOKIE, self.0);
        cacheable::make_private(headers);
    }

    /// The value of `Set-Cookie`, for an answer that no cache keeps.
    pub(crate) fn into_line(self) -> HeaderValue {
        self.0
    }
}

impl Sticky {
    pub(crate) fn new(pool: &Arc<str>, settings: &StickySettings, clients: &Arc<Clients>) -> Sticky {
        let way = match &settings.mode {
            StickyMode::Insert(settings) => {
                Way::Cookie { keys: TokenKeys::new(&settings.secrets, pool), settings: settings.clone() }
            }
            StickyMode::Learn(learning) => Way::Learning(learning.clone()),
        };
        Sticky { pool: Arc::clone(pool), draining: settings.draining, way, clients: Arc::clone(clients) }
    }

    /// The client of this session belongs to this backend from now on.
    pub(crate) fn moved(&self, session: u128, backend: &Backend) {
        if let Some(client) = self.clients.of_session(session) {
            self.binds(client, backend.hash());
        }
    }

    fn bounds(&self) -> Bounds {
        match &self.way {
            Way::Cookie { .. } => MOVED,
            Way::Learning(StickyLearning { entries, timeout, .. }) => {
                Bounds { entries: *entries, timeout: *timeout }
            }
        }
    }

    fn binds(&self, client: u64, backend: u64) {
        let belonging = Belonging { backend, since: seconds() };
        self.clients.learned.lock().put(clock::now(), client, belonging, self.bounds());
    }

    fn belonging(&self, client: u64) -> Option<Belonging> {
        self.clients.learned.lock().get(clock::now(), client, self.bounds())
    }

    /// Where a client with this cookie belongs: to the backend of its cookie, unless it was moved since then.
    fn belongs(&self, token: &Token) -> u64 {
        let moved = self.belonging(token.client).filter(|belonging| belonging.since >= token.last);
        moved.map_or(token.backend, |belonging| belonging.backend)
    }
}

impl fmt::Debug for Sticky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sticky({})", self.pool)
    }
}

impl Clients {
    /// A session of this client has begun.
    pub(crate) fn begins(&self, session: u128, client: u64) {
        self.sessions.lock().insert(session, client);
    }

    /// It has ended.
    pub(crate) fn ended(&self, session: u128) {
        let mut sessions = self.sessions.lock();
        sessions.remove(&session);
        if sessions.capacity() > 64 && sessions.len() < sessions.capacity() / 4 {
            sessions.shrink_to_fit();
        }
    }

    /// Whether its client would come back to its backend.
    pub(crate) fn holds(&self, session: u128) -> bool {
        self.of_session(session).is_some()
    }

    fn of_session(&self, session: u128) -> Option<u64> {
        self.sessions.lock().get(&session).copied()
    }
}

impl StickyRequest {
    /// Finds to which of the backends the client of a request belongs. `sticky`: how its pool has it. `over_tls`: so the
    /// client has asked.
    pub(crate) fn find(
        sticky: Option<&Arc<Sticky>>,
        backends: &[Arc<Backend>],
        (uri, headers, over_tls): (&Uri, &HeaderMap, bool),
    ) -> StickyRequest {
        let Some(sticky) = sticky else { return StickyRequest::default() };
        let mut found = Identified {
            sticky: Arc::clone(sticky),
            over_tls,
            is_wrong: false,
            token: None,
            client: None,
            belongs: None,
            backend: None,
        };
        match &sticky.way {
            Way::Cookie { settings, keys } => found.by_cookie(settings, keys, headers),
            Way::Learning(learning) => {
                let value = part_of_request(&learning.lookup, uri, headers).filter(|value| !value.is_empty());
                found.client = value.map(|value| sticky.clients.hasher.hash_one(&*value));
                let belonging = found.client.and_then(|client| sticky.belonging(client));
                found.belongs = belonging.map(|belonging| belonging.backend);
            }
        }
        found.backend = found.belongs.and_then(|hash| id_of(backends, hash));
        StickyRequest(Some(found))
    }

    /// The backend for a session of this client.
    pub(crate) fn for_session(&self) -> Option<Preferred> {
        self.preferred(false)
    }

    /// The backend for a request that is answered once.
    pub(crate) fn for_request(&self) -> Option<Preferred> {
        self.preferred(true)
    }

    fn preferred(&self, is_short: bool) -> Option<Preferred> {
        let found = self.0.as_ref()?;
        let follows = found.sticky.draining == StickyDraining::Follow;
        // A session there would have to leave at once.
        let reach = Reach { unweighted: follows, drained: follows && is_short };
        Some(Preferred { backend: found.backend?, reach })
    }

    /// Takes the broker's cookie off a request's headers, whatever it says. Other cookies stay as they are.
    pub(crate) fn strip(&self, headers: &mut HeaderMap) {
        if let Some(Identified { sticky, .. }) = &self.0
            && let Way::Cookie { settings, .. } = &sticky.way
        {
            cookie::strip(&settings.name, headers);
        }
    }

    /// This backend has answered, with these headers. Learns what they say, takes off what only the broker may say, and
    /// returns the cookie that the client is to get, if it is to get one.
    pub(crate) fn answered(&mut self, backend: &Backend, headers: &mut HeaderMap) -> Option<SetCookie> {
        let found = self.0.as_mut()?;
        metric::STICKY.count((found.sticky.pool.to_string(), found.word(backend)));
        let sticky = Arc::clone(&found.sticky);
        match &sticky.way {
            Way::Cookie { settings, keys } => found.cookie(settings, keys, (backend, headers)),
            Way::Learning(StickyLearning { from, .. }) => {
                let value = match from {
                    LearnFrom::Header(name) => headers.get(name).map(HeaderValue::as_bytes),
                    LearnFrom::Cookie(name) => cookie::set(name, headers),
                    LearnFrom::EngineIo => None,
                };
                found.learn(value.filter(|value| !value.is_empty()), backend);
                None
            }
        }
    }

    /// Whether the first bytes of the answer's body are to be shown to [`StickyRequest::body`], up to
    /// [`engine_io::LOOKED_AT`].
    pub(crate) fn learns_of_bodies(&self) -> bool {
        let learns = |found: &Identified| match &found.sticky.way {
            Way::Learning(StickyLearning { from, .. }) => {
                *from == LearnFrom::EngineIo && found.client.is_none()
            }
            Way::Cookie { .. } => false,
        };
        self.0.as_ref().is_some_and(learns)
    }

    /// So begins the body of the answer of this backend.
    pub(crate) fn body(&mut self, backend: &Backend, body: &[u8]) {
        if self.learns_of_bodies()
            && let Some(found) = &mut self.0
        {
            found.learn(engine_io::sid(body), backend);
        }
    }

    /// The client's number, for [`Clients::begins`]; `None`: nothing would bring it back.
    pub(crate) fn client(&self) -> Option<u64> {
        let found = self.0.as_ref()?;
        found.client.filter(|_| found.belongs.is_some())
    }
}

impl Identified {
    fn by_cookie(&mut self, settings: &StickyCookie, keys: &TokenKeys, headers: &HeaderMap) {
        let shown = match cookie::only(&settings.name, headers) {
            Found::None => return,
            Found::One(value) => keys.verify(value),
            Found::Several => None,
        };
        let shown = shown.filter(|(token, _)| token.counts(seconds(), lifetime(settings)));
        self.is_wrong = shown.is_none();
        let Some((token, newest)) = shown else { return };
        self.token = Some(Shown { token, newest });
        self.client = Some(token.client);
        self.belongs = Some(self.sticky.belongs(&token));
    }

    fn word(&self, backend: &Backend) -> StickyWord {
        match self.belongs {
            Some(_) if self.backend == Some(backend.id) => StickyWord::Hit,
            Some(_) => StickyWord::Miss,
            None if self.is_wrong => StickyWord::Wrong,
            None => StickyWord::New,
        }
    }

    /// The cookie that the client is to get, if it has none that says where it belongs now.
    fn cookie(
        &mut self,
        settings: &StickyCookie,
        keys: &TokenKeys,
        (backend, headers): (&Backend, &mut HeaderMap),
    ) -> Option<SetCookie> {
        if cookie::is_set(&settings.name, headers) {
            if settings.preserve {
                self.belongs = None;
                return None;
            }
            cookie::unset(&settings.name, headers);
        }
        let now = seconds();
        let belongs = self.settles(backend);
        let is_good = |shown: &Shown| {
            let Shown { token, newest } = shown;
            *newest && token.backend == belongs && !token.is_to_be_renewed(now, lifetime(settings))
        };
        if self.token.as_ref().is_some_and(is_good) {
            return None;
        }
        let before = self.token.map(|shown| shown.token);
        let client = before.map_or_else(rand::random, |token| token.client);
        let first = before.map_or(now, |token| token.first);
        (self.client, self.belongs) = (Some(client), Some(belongs));
        let token = Token { backend: belongs, first, last: now, client };
        cookie::line(settings, &keys.sign(&token), self.over_tls).map(SetCookie)
    }

    /// Where the client belongs, now that this backend has answered: here, or where it has been moved meanwhile. The
    /// requests that it has sent beside this one are to find the same.
    fn settles(&self, backend: &Backend) -> u64 {
        let Some(Shown { token, .. }) = &self.token else { return backend.hash() };
        let belongs = self.sticky.belongs(token);
        if Some(belongs) != self.belongs || belongs == backend.hash() {
            return belongs;
        }
        self.sticky.binds(token.client, backend.hash());
        backend.hash()
    }

    /// The answer of this backend says by what its client is known from now on; `None`: by what it was.
    fn learn(&mut self, value: Option<&[u8]>, backend: &Backend) {
        if let Some(value) = value {
            self.client = Some(self.sticky.clients.hasher.hash_one(value));
            self.belongs = None;
        } else if self.belongs.is_none() || self.belongs == Some(backend.hash()) {
            return;
        }
        let Some(client) = self.client else { return };
        // One that it belonged to is not there any more, unless it was moved meanwhile.
        let moved =
            self.belongs.is_some() && self.sticky.belonging(client).map(|now| now.backend) != self.belongs;
        if !moved {
            self.sticky.binds(client, backend.hash());
        }
        self.belongs = Some(backend.hash());
    }
}

fn id_of(backends: &[Arc<Backend>], hash: u64) -> Option<usize> {
    backends.iter().find(|backend| backend.hash() == hash).map(|backend| backend.id)
}

fn lifetime(settings: &StickyCookie) -> Lifetime {
    Lifetime { max_idle: settings.max_idle, max_life: settings.max_life }
}

/// Now, in seconds since 1970.
fn seconds() -> u32 {
    let since_1970 = clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since_1970.as_secs()).unwrap_or(u32::MAX)
}
