//! Reaching a backend. One search tries one backend after another, until one takes the session or none is left to ask:
//! a backend is chosen, connected, and asked to upgrade, and what it makes of that decides what comes next. Requests that
//! are no upgrades have their backends connected here, too, in the same turns.

mod connect;
mod consequences;
mod exchange;
mod hang_ups;
mod outcome;
mod search;
mod slots;
mod terms;
#[cfg(test)]
mod tests;
mod upgrade;

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::HeaderMap;
use hyper::body::Incoming;
use steadfast_protocol::websocket::deflate::Agreement;

use crate::clock;
use crate::http::denial::Denial;
use crate::metric::DialWord;
use crate::net::connect::is_used_up;
use crate::net::stream::Stream;
use crate::upstream::backend::BackendLease;
use crate::upstream::pool::suspects::SuspectTurn;
use crate::upstream::pool::{Ask, NoLease};

use connect::Connected;
use consequences::{over_limit, record, refused};
use hang_ups::HangUps;
use outcome::{DialOutcome, ServerErrors, goes_to_client, tries_elsewhere};
use slots::DialSlots;
use upgrade::{NotLinked, upgrade};

pub(crate) use connect::Announcement;
pub(super) use consequences::{local_fault, testify, unreached};
pub(crate) use search::BackendSearch;
pub(crate) use terms::{Agreed, DialTerms};

/// How the broker dials; one for all workers.
#[derive(Debug)]
pub(crate) struct Dialer {
    /// Turns to dial.
    slots: DialSlots,
}

/// A connected backend.
pub(crate) struct Link {
    pub(crate) lease: BackendLease,
    pub(crate) stream: Stream,
    /// Bytes that came right behind the upgrade.
    pub(crate) early: Bytes,
    /// The headers of its answer.
    pub(crate) headers: HeaderMap,
    /// The agreed compression, if any.
    pub(crate) deflate: Option<Agreement>,
    /// What `Steadfast-Attempt` said to it: larger with each dial of the session.
    pub(crate) epoch: u64,
    /// The turn of a session with suspects.
    pub(crate) turn: Option<SuspectTurn>,
}

/// Why there is no link.
pub(crate) enum DialError {
    /// The backend's own answer, for the client.
    Answered(Box<Response<Incoming>>),
    /// No backend could be reached.
    Unreachable,
    /// Every backend has as many sessions as it may have.
    Full,
    /// All have refused.
    Refused,
    /// Requests like this one have killed backends.
    Denied(Denial),
}

impl Dialer {
    /// At most `dials` are in flight at once, and `per_backend` of them to one backend.
    pub(crate) fn new(dials: usize, per_backend: usize) -> Dialer {
        Dialer { slots: DialSlots::new(dials, per_backend) }
    }

    /// The first dial of a session: a redirect or a refusal is the client's to see.
    pub(crate) async fn first(&self, search: &BackendSearch<'_>) -> Result<Box<Link>, DialError> {
        let (mut tried, mut last) = (Vec::new(), DialError::Unreachable);
        let (mut hang_ups, mut errors) = (HangUps::new(), ServerErrors::default());
        search.check_ban(&hang_ups)?;
        loop {
            let lease = match search.lease(&tried, true).await {
                Ok(lease) => lease,
                Err(NoLease::Full) if tried.is_empty() => return Err(DialError::Full),
                Err(_) => return Err(last),
            };
            tried.push(lease.backend().id);
            let backend = Arc::clone(lease.backend());
            let _alone = hang_ups.turn(&backend).await;
            search.check_ban(&hang_ups)?;
            match self.dial(search, lease).await {
                DialOutcome::Linked(link) => return Ok(link),
                DialOutcome::Answered(answer) if goes_to_client(answer.status()) => {
                    record(search.pool, &backend, DialWord::Answered);
                    return Err(DialError::Answered(answer));
                }
                DialOutcome::Answered(answer) => {
                    search.turned_away(&backend, answer.status());
                    if errors.are_the_requests(&backend, answer.status()) {
                        return Err(DialError::Answered(answer));
                    }
                    if answer.status().is_client_error() {
                        last = DialError::Answered(answer);
                    }
                }
                DialOutcome::Incompatible(why) => refused(search.pool, &backend, why),
                DialOutcome::OverLimit => over_limit(search.pool, &backend),
                DialOutcome::Unreached(why) => search.cannot_reach(&backend, &why, &hang_ups),
                DialOutcome::Failed(why) => search.failed(&backend, &why, &hang_ups),
                DialOutcome::HungUp(hang_up) => {
                    if search.hung_up(&backend, hang_up, &mut hang_ups) {
                        return Err(last);
                    }
                }
                DialOutcome::Local(error) => {
                    local_fault(search.pool, &backend, &error);
                    if !is_used_up(&error) {
                        return Err(DialError::Unreachable);
                    }
                }
            }
        }
    }

    /// A redial. Backends that refuse the session are added to `refusing` and not asked again.
    pub(crate) async fn again(
        &self,
        search: &BackendSearch<'_>,
        refusing: &mut Vec<usize>,
    ) -> Result<Box<Link>, DialError> {
        let (mut tried, mut hang_ups) = (refusing.clone(), HangUps::new());
        // A backend that fails may be back sooner than another has room, so then nobody waits for that.
        while let Ok(lease) = search.lease(&tried, tried.len() == refusing.len()).await {
            tried.push(lease.backend().id);
            if let Some(done) = self.redial(search, lease, refusing, &mut hang_ups).await {
                return done;
            }
        }
        Err(if search.pool.all_among(refusing) { DialError::Refused } else { DialError::Unreachable })
    }

    /// The next backend of a session that still has one: an eligible one with room, and `only` this one if
    /// that is given. As [`Dialer::again`] otherwise, but nobody waits for room.
    pub(crate) async fn ahead(
        &self,
        search: &BackendSearch<'_>,
        refusing: &mut Vec<usize>,
        only: Option<usize>,
    ) -> Result<Box<Link>, DialError> {
        let mut tried: Vec<_> = refusing.iter().copied().chain(search.just_failed).collect();
        let mut hang_ups = HangUps::new();
        loop {
            let BackendSearch { preferred, affinity, just_failed, .. } = *search;
            let ask = Ask { preferred, affinity, just_failed, tried: &tried };
            let lease =
                search.pool.pick_eligible(clock::now(), &ask, only).map_err(|_| DialError::Unreachable)?;
            tried.push(lease.backend().id);
            if let Some(done) = self.redial(search, lease, refusing, &mut hang_ups).await {
                return done;
            }
        }
    }

    /// Tries one backend. `None`: another one may be tried.
    async fn redial(
        &self,
        search: &BackendSearch<'_>,
        lease: BackendLease,
        refusing: &mut Vec<usize>,
        hang_ups: &mut HangUps,
    ) -> Option<Result<Box<Link>, DialError>> {
        let backend = Arc::clone(lease.backend());
        let why = match self.dial(search, lease).await {
            DialOutcome::Linked(link) => return Some(Ok(link)),
            DialOutcome::Answered(answer) if tries_elsewhere(answer.status()) => {
                search.turned_away(&backend, answer.status());
                return None;
            }
            DialOutcome::Answered(answer) => answer.status().to_string(),
            DialOutcome::Incompatible(why) => why.to_owned(),
            DialOutcome::Unreached(why) => {
                search.cannot_reach(&backend, &why, hang_ups);
                return None;
            }
            DialOutcome::Failed(why) => {
                search.failed(&backend, &why, hang_ups);
                return None;
            }
            DialOutcome::OverLimit => {
                over_limit(search.pool, &backend);
                refusing.push(backend.id);
                return None;
            }
            DialOutcome::HungUp(hang_up) => {
                let enough = search.hung_up(&backend, hang_up, hang_ups);
                return enough.then_some(Err(DialError::Unreachable));
            }
            DialOutcome::Local(error) => {
                local_fault(search.pool, &backend, &error);
                return (!is_used_up(&error)).then_some(Err(DialError::Unreachable));
            }
        };
        refused(search.pool, &backend, &why);
        refusing.push(backend.id);
        None
    }

    /// Connects to the backend of `lease` and asks it to take the session; once more and without compression, if with it
    /// the backend cannot.
    async fn dial(&self, search: &BackendSearch<'_>, lease: BackendLease) -> DialOutcome {
        let mut permit = self.permit(search, lease).await;
        for compress in [true, false] {
            let Connected { stream, permit: held, begun } = match permit.connect(search).await {
                Ok(connected) => connected,
                Err(error) => return DialOutcome::unconnected(error),
            };
            match upgrade(search, stream, begun, compress).await {
                Ok(upgraded) => return DialOutcome::Linked(Box::new(upgraded.linked(search, held))),
                Err(NotLinked::Otherwise(outcome)) => return outcome,
                Err(NotLinked::Compressed) => permit = held,
            }
        }
        DialOutcome::Incompatible("its compression cannot be moved")
    }
}
