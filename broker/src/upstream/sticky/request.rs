//! One request of a client, from where it belongs to the cookie that it gets with the answer.

use std::sync::Arc;

use http::Uri;
use http::header::{HeaderMap, HeaderValue, SET_COOKIE};

use super::clients::seconds;
use super::cookie::Occurrence;
use super::rules::{KnownBy, Preferred, Sticky, id_of};
use super::token::{Lifetime, StickyToken, TokenKeys};
use super::{cacheable, cookie, engine_io};
use crate::config::settings::{LearnFrom, StickyCookie, StickyDraining, StickyLearning};
use crate::metric::StickyWord;
use crate::upstream::backend::{Backend, Reach};
use crate::upstream::balance::part_of_request;

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
    /// The client's number: by its cookie, or by what it is known by. Of a session, it is kept.
    client: Option<u64>,
    /// The hash of the backend's name to which it belongs, and its id if it is there.
    belongs: Option<u64>,
    backend: Option<usize>,
}

/// A cookie that counts.
#[derive(Debug, Clone, Copy)]
struct Shown {
    token: StickyToken,
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
        match &sticky.known_by {
            KnownBy::Cookie { settings, keys } => found.by_cookie(settings, keys, headers),
            KnownBy::Learning(learning) => {
                let value = part_of_request(&learning.lookup, uri, headers).filter(|value| !value.is_empty());
                found.client = value.map(|value| sticky.clients.number(&value));
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
            && let KnownBy::Cookie { settings, .. } = &sticky.known_by
        {
            cookie::strip(&settings.name, headers);
        }
    }

    /// This backend has answered, with these headers. Learns what they say, takes off what only the broker may say, and
    /// returns the cookie that the client is to get, if it is to get one.
    pub(crate) fn answered(&mut self, backend: &Backend, headers: &mut HeaderMap) -> Option<SetCookie> {
        let found = self.0.as_mut()?;
        let (sticky, word) = (Arc::clone(&found.sticky), found.word(backend));
        sticky.clients.count(&sticky.pool, word);
        match &sticky.known_by {
            KnownBy::Cookie { settings, keys } => found.cookie(settings, keys, (backend, headers)),
            KnownBy::Learning(StickyLearning { from, .. }) => {
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
        let learns = |found: &Identified| match &found.sticky.known_by {
            KnownBy::Learning(StickyLearning { from, .. }) => {
                *from == LearnFrom::EngineIo && found.client.is_none()
            }
            KnownBy::Cookie { .. } => false,
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

    /// The client's number, for [`super::Clients::begins`]; `None`: nothing would bring it back.
    pub(crate) fn client(&self) -> Option<u64> {
        let found = self.0.as_ref()?;
        found.client.filter(|_| found.belongs.is_some())
    }
}

impl Identified {
    fn by_cookie(&mut self, settings: &StickyCookie, keys: &TokenKeys, headers: &HeaderMap) {
        let shown = match cookie::only(&settings.name, headers) {
            Occurrence::None => return,
            Occurrence::One(value) => keys.verify(value),
            Occurrence::Several => None,
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
        let token = StickyToken { backend: belongs, first, last: now, client };
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
            self.client = Some(self.sticky.clients.number(value));
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

fn lifetime(settings: &StickyCookie) -> Lifetime {
    Lifetime { max_idle: settings.max_idle, max_life: settings.max_life }
}
