//! Backends that hang up on an upgrade request: how many one request may meet, and what it is held to be.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use steadfast_protocol::time::Time;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::DialError;
use super::consequences::unreached;
use super::search::BackendSearch;
use crate::clock;
use crate::http::denial::Denial;
use crate::metric::{self, DenialReason, HangUpWord};
use crate::upstream::backend::Backend;
use crate::upstream::health::deaths::{BackendLoss, Given};
use crate::upstream::health::docket::Mishap;
use crate::upstream::pool::Pool;
use crate::upstream::pool::quarantine::{HangupJudgement, HangupVerdict, Span, UpgradeRequest};

/// Backends that may hang up on one request: the first, and one other.
const HANG_UPS_MAX: usize = 2;

/// How long a request that was hung up on waits to be the only such one at a backend. Without this, those
/// that stood beside a killer go on together with it, and cannot be told from it.
const ALONE: Duration = Duration::from_secs(1);

/// The most of a path that is logged.
const PATH_MAX: usize = 200;

/// A dial that ended without an answer.
#[derive(Debug)]
pub(super) struct HangUp {
    why: String,
    span: Span,
}

/// Those that one search has met.
#[derive(Debug)]
pub(super) struct HangUps {
    met: usize,
    /// When the search began.
    since: Time,
}

impl HangUp {
    /// Of a dial that was begun then.
    pub(super) fn new(begun: Time, why: &str) -> HangUp {
        let why = format!("it hung up on the upgrade: {why}");
        HangUp { why, span: Span { begun, ended: clock::now() } }
    }
}

impl HangUps {
    /// Of a search that begins now.
    pub(super) fn new() -> HangUps {
        HangUps { met: 0, since: clock::now() }
    }

    /// Returns the turn at `backend` of a search that has met one.
    pub(super) async fn turn(&self, backend: &Backend) -> Option<OwnedSemaphorePermit> {
        if self.met == 0 {
            return None;
        }
        timeout(ALONE, Arc::clone(&backend.suspects).acquire_owned()).await.ok()?.ok()
    }
}

impl BackendSearch<'_> {
    /// Looks before and after each wait for a place: others like it may have been convicted meanwhile. One that
    /// was hung up on itself goes on: what becomes of it is evidence.
    ///
    /// # Errors
    /// When requests like this one have killed backends.
    pub(super) fn check_ban(&self, hang_ups: &HangUps) -> Result<(), DialError> {
        if hang_ups.met > 0 {
            return Ok(());
        }
        match self.pool.quarantine.banned(clock::now(), self.client.ip(), self.handshake) {
            Some(left) => Err(DialError::Denied(denial(left))),
            None => Ok(()),
        }
    }

    /// A backend has taken the request.
    pub(super) fn linked(&self, now: Time) {
        if self.terms.are_first() {
            self.pool.quarantine.linked(self.client.ip(), self.handshake);
            self.pool.survived(now, self.session);
        }
    }

    /// The backend cannot be reached.
    pub(super) fn cannot_reach(&self, backend: &Backend, why: &str, hang_ups: &HangUps) {
        unreached(self.pool, backend, why);
        self.pool.quarantine.failed(clock::now(), backend.id, self.judged(hang_ups));
    }

    /// A dial has failed without a sign that the request has killed the backend.
    pub(super) fn failed(&self, backend: &Backend, why: &str, hang_ups: &HangUps) {
        self.testify(backend, Mishap::NoAnswer, why);
        self.pool.quarantine.failed(clock::now(), backend.id, self.judged(hang_ups));
    }

    /// A backend has hung up on the request. True: no other backend is tried for it at present.
    pub(super) fn hung_up(&self, backend: &Backend, hang_up: HangUp, hang_ups: &mut HangUps) -> bool {
        let HangUp { why, span } = hang_up;
        self.testify(backend, Mishap::HangUp, &why);
        if self.terms.are_first() {
            let (backend, at, since) = (backend.id, span.ended, span.begun);
            let loss = BackendLoss { backend, at, since, given: Given::Request, ended: false };
            self.pool.lost(self.session, loss);
        }
        let (place, request) = ((backend.id, backend.name.as_str()), self.judged(hang_ups));
        let HangupJudgement { verdict, acquitted } = self.pool.quarantine.hung_up(place, request, span);
        record(self.pool, backend, &verdict);
        self.tell(backend, &verdict);
        if acquitted > 0 {
            let (pool, backend) = (&*self.pool.name, &backend.name);
            tracing::info!(pool, backend, acquitted, "{ACQUITTED}");
        }
        hang_ups.met += 1;
        hang_ups.met >= HANG_UPS_MAX
    }

    /// The request, if it may be held to be a killer. That of a session was good once.
    fn judged(&self, hang_ups: &HangUps) -> Option<UpgradeRequest> {
        let request =
            || self.pool.quarantine.request((self.client.ip(), self.handshake), self.session, hang_ups.since);
        self.terms.are_first().then(request)
    }

    fn tell(&self, backend: &Backend, verdict: &HangupVerdict) {
        let (pool, backend, client) = (&*self.pool.name, &backend.name, self.client.ip());
        let path = self.handshake.path();
        let path = &*String::from_utf8_lossy(&path[..path.len().min(PATH_MAX)]);
        match verdict {
            HangupVerdict::Known => {}
            HangupVerdict::Excused => tracing::info!(pool, backend, %client, path, "{EXCUSED}"),
            HangupVerdict::Suspect => tracing::info!(pool, backend, %client, path, "{SUSPECT}"),
            HangupVerdict::Killer(backends) => tracing::warn!(pool, ?backends, %client, path, "{KILLER}"),
        }
    }
}

const EXCUSED: &str =
    "a backend hung up on an upgrade request, and on others as well; it is held to be down, not killed";

const SUSPECT: &str = "a backend hung up on an upgrade request without an answer; it may have died of it";

const KILLER: &str = "backends have hung up twice on upgrade requests of this client to this path without an answer, and \
                      on nobody else there at another moment; for 60 seconds such requests get 503 and reach no backend";

const ACQUITTED: &str =
    "a backend hangs up on others as well; requests that were held to kill it are let in again";

fn record(pool: &Pool, backend: &Backend, verdict: &HangupVerdict) {
    let verdict = match verdict {
        HangupVerdict::Known => HangUpWord::Session,
        HangupVerdict::Excused => HangUpWord::Excused,
        HangupVerdict::Suspect => HangUpWord::Suspect,
        HangupVerdict::Killer(_) => HangUpWord::Killer,
    };
    metric::HANG_UPS.count((pool.name.to_string(), backend.series(), verdict));
}

fn denial(left: Duration) -> Denial {
    let seconds = u32::try_from(left.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
    Denial {
        reason: DenialReason::HangUps,
        status: StatusCode::SERVICE_UNAVAILABLE,
        retry_after: Some(seconds),
        sentence: "backends hung up on requests like this one without an answer; try again later",
    }
}
