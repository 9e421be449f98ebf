//! Reaching a backend: TCP, the upgrade, and what its answer means. One search tries one
//! backend after another, until one takes the session or none is left to ask.

mod exchange;
mod hang_ups;
mod terms;

#[cfg(test)]
mod tests;

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::HeaderMap;
use http::{Response, StatusCode};
use hyper::body::Incoming;
use steadfast_protocol::websocket::deflate::Agreement;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use crate::clock;
use crate::http::backend_headers::{check_upgrade, requests_drain};
use crate::http::denial::Denial;
use crate::http::replay_request::Handshake;
use crate::net::connect::{connect, is_local, is_used_up};
use crate::net::stream::Stream;
use crate::upstream::backend::{Backend, BackendLease};
use crate::upstream::balance::Affinity;
use crate::upstream::manner::{OVER_LIMIT, UpstreamWire};
use crate::upstream::pool::{Ask, DialSettings, NoSeat, Pool};

use exchange::{NoAnswer, Watched, cause, exchange};
use hang_ups::{HangUp, HangUps};
use terms::Misfit;
pub(crate) use terms::{Agreed, DialTerms};

/// How the broker dials; one for all workers.
#[derive(Debug)]
pub(crate) struct Dialer {
    /// Dials in flight in all.
    in_flight: Semaphore,
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
    pub(crate) turn: Option<OwnedSemaphorePermit>,
}

/// What one backend made of a dial.
enum DialOutcome {
    Linked(Box<Link>),
    /// It answered the upgrade with something else.
    Answered(Response<Incoming>),
    /// It serves, but not this session.
    Incompatible(&'static str),
    /// It cannot be reached, or does not speak HTTP.
    Failed(String),
    /// Its answer is larger than we read.
    OverLimit,
    /// It took the request and ended the connection without a byte: it may have died of it.
    HungUp(HangUp),
    /// The fault lies here: no descriptor, no port.
    Local(io::Error),
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

/// One session's search for a backend.
pub(crate) struct BackendSearch<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) handshake: &'a Handshake,
    pub(crate) session: &'a str,
    pub(crate) client: IpAddr,
    pub(crate) terms: DialTerms,
    /// What the session is placed by.
    pub(crate) affinity: Option<Affinity>,
    /// Dials of this session so far; each adds one.
    pub(crate) attempts: &'a AtomicU32,
    /// The backend that the session has just left.
    pub(crate) just_failed: Option<usize>,
    /// Take the only turn for suspects at the backend, and give it back with the permit.
    pub(crate) suspect: bool,
    /// At the door: what is given back when it waits in the queue.
    pub(crate) handshake_permit: Option<&'a HandshakePermit>,
}

/// A connection's place among the handshakes, until it is given back. One that waits in the queue needs
/// none, since the queue has its own bound; all of them would keep clients of other pools out.
#[derive(Debug)]
pub(crate) struct HandshakePermit(Mutex<Option<OwnedSemaphorePermit>>);

impl HandshakePermit {
    pub(crate) fn new(permit: OwnedSemaphorePermit) -> HandshakePermit {
        HandshakePermit(Mutex::new(Some(permit)))
    }

    /// Makes room for another handshake. What comes after the first time has no effect.
    pub(crate) fn give_back(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Dialer {
    /// At most `dials` are in flight at once.
    pub(crate) fn new(dials: usize) -> Dialer {
        Dialer { in_flight: Semaphore::new(dials) }
    }

    /// The first dial of a session: a redirect or a refusal is the client's to see.
    pub(crate) async fn first(&self, search: &BackendSearch<'_>) -> Result<Box<Link>, DialError> {
        let (mut tried, mut last) = (Vec::new(), DialError::Unreachable);
        let mut hang_ups = HangUps::new();
        search.check_ban(&hang_ups)?;
        loop {
            let lease = match search.lease(&tried, true).await {
                Ok(lease) => lease,
                Err(NoSeat::Full) if tried.is_empty() => return Err(DialError::Full),
                Err(_) => return Err(last),
            };
            tried.push(lease.backend().id);
            let backend = Arc::clone(lease.backend());
            let _alone = hang_ups.turn(&backend).await;
            search.check_ban(&hang_ups)?;
            match self.dial(search, lease).await {
                DialOutcome::Linked(link) => return Ok(link),
                DialOutcome::Answered(answer) if goes_to_client(answer.status()) => {
                    record(search.pool, &backend, "answered");
                    return Err(DialError::Answered(Box::new(answer)));
                }
                DialOutcome::Answered(answer) => {
                    turned_away(search.pool, &backend, answer.status());
                    if answer.status().is_client_error() {
                        last = DialError::Answered(Box::new(answer));
                    }
                }
                DialOutcome::Incompatible(why) => refused(search.pool, &backend, why),
                DialOutcome::OverLimit => over_limit(search.pool, &backend),
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
            if let Some(done) = self.redial(search, lease, (refusing, &mut hang_ups)).await {
                return done;
            }
        }
        Err(if search.pool.all_among(refusing) { DialError::Refused } else { DialError::Unreachable })
    }

    /// The next backend of a session that still has one: a sound one with room, and `only` this one if
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
            let ask = Ask { affinity: search.affinity, just_failed: search.just_failed, tried: &tried };
            let lease =
                search.pool.pick_sound(clock::now(), &ask, only).map_err(|_| DialError::Unreachable)?;
            tried.push(lease.backend().id);
            if let Some(done) = self.redial(search, lease, (refusing, &mut hang_ups)).await {
                return done;
            }
        }
    }

    /// Tries one backend. `None`: another one may be tried.
    async fn redial(
        &self,
        search: &BackendSearch<'_>,
        lease: BackendLease,
        (refusing, hang_ups): (&mut Vec<usize>, &mut HangUps),
    ) -> Option<Result<Box<Link>, DialError>> {
        let backend = Arc::clone(lease.backend());
        let why = match self.dial(search, lease).await {
            DialOutcome::Linked(link) => return Some(Ok(link)),
            DialOutcome::Answered(answer) if tries_elsewhere(answer.status()) => {
                turned_away(search.pool, &backend, answer.status());
                return None;
            }
            DialOutcome::Answered(answer) => answer.status().to_string(),
            DialOutcome::Incompatible(why) => why.to_owned(),
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

    /// Dials the backend of `lease`; without compression a second time, if the first answer asks
    /// for a context that cannot be moved, or the backend may not know what is offered.
    async fn dial(&self, search: &BackendSearch<'_>, lease: BackendLease) -> DialOutcome {
        let backend = Arc::clone(lease.backend());
        // No semaphore here is ever closed, so a permit always comes.
        let turn = match search.suspect {
            true => Arc::clone(&backend.suspects).acquire_owned().await.ok(),
            false => None,
        };
        if backend.dialing.available_permits() == 0 || self.in_flight.available_permits() == 0 {
            metrics::counter!("steadfast_limit_hits_total", "limit" => "dials").increment(1);
        }
        let _one = backend.dialing.acquire().await;
        let _all = self.in_flight.acquire().await;
        backend.dials.fetch_add(1, Relaxed);
        match self.attempt(search, &backend, true).await {
            Err(Retry) => match self.attempt(search, &backend, false).await {
                Ok(found) => found.seated(search, lease, turn),
                Err(Retry) => DialOutcome::Incompatible("its compression cannot be moved"),
            },
            Ok(found) => found.seated(search, lease, turn),
        }
    }

    async fn attempt(
        &self,
        search: &BackendSearch<'_>,
        backend: &Backend,
        compress: bool,
    ) -> Result<DialFound, Retry> {
        let present = search.pool.snapshot();
        let DialSettings { connect: patience, upgrade, manner } = present.dialing;
        let sources = search.pool.sources();
        let begun = clock::now();
        let Backend { host, port, history, .. } = backend;
        let stream = match connect(host, *port, &sources, history, patience).await {
            Ok(stream) => stream,
            Err(error) if is_local(&error) => return Ok(DialFound::Not(DialOutcome::Local(error))),
            Err(error) => return Ok(DialFound::failed(format!("cannot connect: {error}"))),
        };
        tune(&stream);
        let key = generate_key();
        let attempt = 1 + search.attempts.fetch_add(1, Relaxed);
        let offer = search.terms.offer(compress);
        let request = search.handshake.request(search.client, &key, &offer, search.session, attempt);
        let response = match timeout(upgrade, exchange(stream, request, manner)).await {
            Ok(Ok(response)) => response,
            Ok(Err(NoAnswer::Failed(error))) if error.is_parse_too_large() => {
                return Ok(DialFound::Not(DialOutcome::OverLimit));
            }
            Ok(Err(NoAnswer::HungUp(error))) => {
                return Ok(DialFound::Not(DialOutcome::HungUp(HangUp::new(begun, &error))));
            }
            Ok(Err(NoAnswer::Failed(error))) => {
                return Ok(DialFound::failed(format!("the upgrade failed: {}", cause(&error))));
            }
            Err(_) => {
                return Ok(DialFound::failed(format!("no answer to the upgrade within {upgrade:?}")));
            }
        };
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            // Some do not decline parameters that they do not know, but refuse the request.
            let doubtful = response.status() == StatusCode::BAD_REQUEST && offer.extensions.is_some();
            return match doubtful && search.terms.are_first() {
                true => Err(Retry),
                false => Ok(DialFound::Not(DialOutcome::Answered(response))),
            };
        }
        if let Err(why) = check_upgrade(response.headers(), &key) {
            return Ok(DialFound::failed(why.to_owned()));
        }
        let deflate = match search.terms.judge(response.headers(), compress) {
            Ok(deflate) => deflate,
            Err(Misfit::Compressed) => return Err(Retry),
            Err(Misfit::Incompatible(why)) => return Ok(DialFound::Not(DialOutcome::Incompatible(why))),
        };
        let headers = response.headers().clone();
        Ok(match hyper::upgrade::on(response).await.map(|io| io.downcast::<UpstreamWire<Watched>>()) {
            Ok(Ok(parts)) => {
                let (stream, early) = (parts.io.into_inner().into_inner().into_inner(), parts.read_buf);
                DialFound::Link { stream, early, headers, deflate, epoch: attempt.into() }
            }
            Ok(Err(_)) => DialFound::failed("the upgrade failed".to_owned()),
            Err(error) => DialFound::failed(format!("the upgrade failed: {}", cause(&error))),
        })
    }
}

/// Dial again, without compression.
struct Retry;

enum DialFound {
    Link { stream: Stream, early: Bytes, headers: HeaderMap, deflate: Option<Agreement>, epoch: u64 },
    Not(DialOutcome),
}

impl DialFound {
    fn failed(why: String) -> DialFound {
        DialFound::Not(DialOutcome::Failed(why))
    }

    fn seated(
        self,
        search: &BackendSearch<'_>,
        mut lease: BackendLease,
        turn: Option<OwnedSemaphorePermit>,
    ) -> DialOutcome {
        match self {
            DialFound::Not(outcome) => outcome,
            DialFound::Link { stream, early, headers, deflate, epoch } => {
                lease.linked(clock::now());
                search.linked();
                record(search.pool, lease.backend(), "linked");
                if requests_drain(&headers) {
                    lease.backend().asked_in_upgrade(clock::now());
                }
                DialOutcome::Linked(Box::new(Link { lease, stream, early, headers, deflate, epoch, turn }))
            }
        }
    }
}

impl BackendSearch<'_> {
    async fn lease(&self, tried: &[usize], waits: bool) -> Result<BackendLease, NoSeat> {
        let ask = Ask { affinity: self.affinity, just_failed: self.just_failed, tried };
        if !waits {
            return self.pool.pick(clock::now(), &ask);
        }
        let begins_to_wait = || {
            if let Some(place) = self.handshake_permit {
                place.give_back();
            }
        };
        self.pool.lease(&ask, self.terms.are_first(), begins_to_wait).await
    }
}

/// Redirects and refusals are for the client, unless they speak of this moment only.
fn goes_to_client(status: StatusCode) -> bool {
    (status.is_redirection() || status.is_client_error()) && !tries_elsewhere(status)
}

/// Answers that another backend need not give: server errors, "too early", "too many requests",
/// a timeout, and a success that is no upgrade.
fn tries_elsewhere(status: StatusCode) -> bool {
    let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    status.is_server_error() || status.is_success() || passing.contains(&status)
}

/// Nothing speaks against the backend. Ports are counted for each, so others may still have some.
fn local_fault(pool: &Pool, backend: &Backend, error: &io::Error) {
    metrics::counter!("steadfast_limit_hits_total", "limit" => "local_dial").increment(1);
    let (pool, backend) = (&*pool.name, &backend.name);
    if is_used_up(error) {
        tracing::warn!(
            pool,
            backend,
            %error,
            "cannot dial: no port is left toward this backend; give the pool more addresses of this machine in `source`"
        );
    } else {
        tracing::warn!(pool, backend, %error, "cannot dial for a reason of this machine's; raise its limits");
    }
}

/// The limit is ours, so nothing speaks against the backend; but as long as it holds, the session cannot go
/// there.
fn over_limit(pool: &Pool, backend: &Backend) {
    metrics::counter!("steadfast_limit_hits_total", "limit" => "answer_header").increment(1);
    record(pool, backend, "refused");
    tracing::warn!(
        pool = &*pool.name,
        backend = backend.name,
        why = OVER_LIMIT,
        "cannot read a backend's answer"
    );
}

fn failed(pool: &Pool, backend: &Backend, why: &str) {
    pool.failed(clock::now(), backend);
    avoided(pool, backend, why);
}

/// The backend has answered that another one should be asked. That it has enough at the moment does
/// not eject it.
fn turned_away(pool: &Pool, backend: &Backend, status: StatusCode) {
    let why = format!("it answered {status}");
    if status.is_client_error() { avoided(pool, backend, &why) } else { failed(pool, backend, &why) }
}

fn avoided(pool: &Pool, backend: &Backend, why: &str) {
    backend.penalise(clock::now());
    record(pool, backend, "failed");
    tracing::debug!(pool = &*pool.name, backend = backend.name, why, "dial failed");
}

fn refused(pool: &Pool, backend: &Backend, why: &str) {
    record(pool, backend, "refused");
    tracing::info!(pool = &*pool.name, backend = backend.name, why, "a backend refuses a session");
}

fn record(pool: &Pool, backend: &Backend, outcome: &'static str) {
    let labels =
        [("pool", pool.name.to_string()), ("backend", backend.series()), ("outcome", outcome.to_owned())];
    metrics::counter!("steadfast_dials_total", &labels).increment(1);
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
