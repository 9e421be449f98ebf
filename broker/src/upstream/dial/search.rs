//! One session's search for a backend: who asks, what for, and the choice of the next one to try.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU32;

use http::StatusCode;

use crate::clock;
use crate::http::replay_request::Handshake;
use crate::upstream::backend::{Backend, BackendLease};
use crate::upstream::balance::Affinity;
use crate::upstream::health::docket::Mishap;
use crate::upstream::pool::newcomers::NewcomerPermit;
use crate::upstream::pool::suspects::SuspectSearch;
use crate::upstream::pool::{Ask, NoLease, Pool};
use crate::upstream::sticky::Preferred;

use super::consequences::testify;
use super::terms::DialTerms;

/// One session's search for a backend.
pub(crate) struct BackendSearch<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) handshake: &'a Handshake,
    pub(crate) session: &'a str,
    /// The client's address.
    pub(crate) client: SocketAddr,
    /// Where it has connected to, as far as that is the same for all of its listener.
    pub(crate) entrance: Option<SocketAddr>,
    pub(crate) terms: DialTerms,
    /// What the session is placed by.
    pub(crate) affinity: Option<Affinity>,
    /// The backend that its client belongs to: of a session that leaves one, where the client has gone by others.
    pub(crate) preferred: Option<Preferred>,
    /// Dials of this session so far; each adds one.
    pub(crate) attempts: &'a AtomicU32,
    /// The backend that the session has just left.
    pub(crate) just_failed: Option<usize>,
    /// It has suspects, and waits for a turn at its next backend.
    pub(crate) suspect: Option<SuspectSearch<'a>>,
    /// For a newcomer: what is given back when it waits in the queue, which has its own bound.
    pub(crate) waiting: Option<&'a NewcomerPermit>,
}

impl BackendSearch<'_> {
    /// Takes a lease on a backend that is not among those `tried`. When all are full, it `waits` for a place.
    ///
    /// # Errors
    /// When there is nobody to ask, or no place in time.
    pub(super) async fn lease(&self, tried: &[usize], waits: bool) -> Result<BackendLease, NoLease> {
        let BackendSearch { preferred, affinity, just_failed, .. } = *self;
        let ask = Ask { preferred, affinity, just_failed, tried };
        if !waits {
            return self.pool.pick(clock::now(), &ask);
        }
        let begins_to_wait = || {
            if let Some(waiting) = self.waiting {
                waiting.give_back();
            }
        };
        self.pool.lease(&ask, self.terms.are_first(), begins_to_wait).await
    }

    /// The backend has answered that another one should be asked.
    pub(super) fn turned_away(&self, backend: &Backend, status: StatusCode) {
        let what = if status.is_client_error() { Mishap::Busy } else { Mishap::Error };
        self.testify(backend, what, &format!("it answered {status}"));
    }

    /// The backend has not taken the request, which counts when another one does.
    pub(super) fn testify(&self, backend: &Backend, what: Mishap, why: &str) {
        testify(self.pool, (self.session, self.client.ip()), backend, (what, why));
    }
}
