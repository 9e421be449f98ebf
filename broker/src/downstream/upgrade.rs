//! The door: a client's HTTP request becomes a session, or gets an answer that says why not.
//! It ends when the session's task begins.

mod conversation;
mod form;
mod offer;
mod resume;
mod switching;
mod target;

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1::{self, Parts};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use steadfast_protocol::session::{AckMode, ClientKind, Config, Opening, Session};
use steadfast_protocol::steadfast_v1::client_wire::{Reason, Resume};
use tokio::time::timeout;

use crate::broker::Broker;
use crate::clock;
use crate::config::settings::{HeaderCase, HeaderRules};
use crate::http::backend_headers::declines_failover;
use crate::http::denial::Denial;
use crate::http::header_case::Spelled;
use crate::http::header_rules;
use crate::http::hop_by_hop::end_to_end;
use crate::http::replay_request::Handshake;
use crate::net::lingering_close;
use crate::net::stream::Stream;
use crate::routing::admission::{AddressPermits, Guard};
use crate::routing::binding::RouteBinding;
use crate::routing::listener::ListenerId;
use crate::session::driver::Driver;
use crate::session::registry::{Entry, SessionPermit, Visit, session_name};
use crate::session::resumption::{Arrival, Claimed};
use crate::snapshot::{RouteMatch, Snapshot};
use crate::upstream::balance::Affinity;
use crate::upstream::dial::{Agreed, BackendSearch, DialError, DialTerms, HandshakePermit, Link};
use crate::upstream::pool::Pool;

use super::accept::{Accepted, Peer};
use form::FormRefusal;
use offer::{Offered, Spoken};
use switching::{switching, switching_back};
use target::FirstLine;

/// A backend's refusal is streamed through; the broker's own answers are short.
type ResponseBody = BoxBody<Bytes, hyper::Error>;

/// Whoever is turned away dials again. (To switch keep-alive off would mark the 101 as well.)
const ONE_REQUEST: HeaderValue = HeaderValue::from_static("close");

const PAUSED: &str = "new sessions are paused here; try again later";

const FRAGMENT: &str = "a request's target has no fragment; remove what follows the #";

/// A session to which a client may come back.
struct Known {
    session: u128,
    resume: Option<Resume>,
    /// The subprotocol to answer.
    protocol: Option<HeaderValue>,
}

/// One connection at the door.
pub(crate) struct UpgradeTask {
    broker: Arc<Broker>,
    listener: ListenerId,
    peer: Peer,
    /// Its place among the handshakes.
    permit: HandshakePermit,
}

/// What follows when the client's upgrade is through.
enum Next {
    Begins(Box<Admitted>),
    Returns(ReturningClient),
}

/// A session that goes on with another connection of its client's.
struct ReturningClient {
    session: u128,
    /// `None`: its client does not link the shim.
    resume: Option<Resume>,
}

/// A session that begins.
struct Admitted {
    link: Box<Link>,
    visit: Visit,
    /// What its machine is told: as the pool was when it was dialled, whatever a reload has made of it.
    config: Arc<Config>,
    client: ClientKind,
    /// The client must reconnect when the backend is left.
    begins_anew: bool,
    places: (SessionPermit, AddressPermits, Option<Claimed>),
}

impl UpgradeTask {
    /// Serves the one request of a connection.
    pub(crate) async fn serve(broker: Arc<Broker>, listener: ListenerId, accepted: Accepted) {
        let Accepted { stream, peer, permit } = accepted;
        let task = Arc::new(UpgradeTask { broker, listener, peer, permit });
        let (next, fragment) = (Mutex::new(None), AtomicBool::new(false));
        let service = service_fn(|request| {
            let (task, next, fragment) = (Arc::clone(&task), &next, &fragment);
            async move { Ok::<_, Infallible>(task.welcome(request, fragment.load(Relaxed), next).await) }
        });
        let snapshot = task.broker.snapshot();
        let limits = &snapshot.settings;
        let listener = limits.listeners.get(task.listener.number);
        let case = listener.map_or(HeaderCase::Lower, |listener| listener.header_case);
        let stream = Spelled::new(FirstLine::new(stream, &fragment), case);
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.timeouts.handshake)
            .max_headers(limits.limits.header_lines)
            .max_header_size(limits.limits.header)
            .max_buf_size(limits.limits.header.max(8192))
            .serve_connection(TokioIo::new(stream), service);
        match timeout(patience(&snapshot), &mut connection).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                task.failed(&error.to_string());
                // What cannot be read has got its answer, too.
                if error.is_parse() {
                    lingering_close::close(socket(connection.into_parts().io)).await;
                }
                return;
            }
            Err(_) => return task.failed("it took too long"),
        }
        let Parts { io, read_buf, .. } = connection.into_parts();
        let (stream, next) = (socket(io), next.into_inner().unwrap_or_else(PoisonError::into_inner));
        let Some(next) = next else { return lingering_close::close(stream).await };
        task.permit.give_back();
        match next {
            Next::Begins(admitted) => task.begin(*admitted, stream, &read_buf),
            Next::Returns(returning) => task.hand_over(returning, stream, read_buf),
        }
    }

    fn failed(&self, why: &str) {
        metrics::counter!("steadfast_handshake_errors_total").increment(1);
        // It is the connection that has failed, whoever it is for.
        tracing::debug!(client = %self.peer.socket, why, "handshake failed");
    }

    async fn welcome(
        &self,
        mut request: Request<Incoming>,
        fragment: bool,
        next: &Mutex<Option<Next>>,
    ) -> Response<ResponseBody> {
        let response = match sound(&mut request, fragment) {
            Ok(()) => self.answer(request, next).await,
            Err(refusal) => refusal.response(),
        };
        let status = response.status();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            metrics::counter!("steadfast_refused_upgrades_total", "status" => status.as_str().to_owned())
                .increment(1);
            tracing::info!(client = %self.peer.client, listener = %self.listener.address, status = status.as_u16(), "no session");
        }
        response
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        next: &Mutex<Option<Next>>,
    ) -> Response<ResponseBody> {
        let snapshot = self.broker.snapshot();
        // Who comes back may come in all the same.
        let paused = self.broker.pauses.is_paused(self.listener.number);
        let Some(matched) = snapshot.matched(self.listener.number, &request) else {
            if paused {
                return busy(PAUSED);
            }
            let sentence = "no route leads from this host and path to a service";
            let admitted = self.judged(snapshot.guard.admit(self.peer.client.ip(), request.headers()));
            return admitted
                .map_or_else(|denial| denied(&denial), |_| plain(StatusCode::NOT_FOUND, sentence));
        };
        let present = matched.binding.pool.snapshot();
        let affinity = Affinity::find(
            &present.settings.balance,
            self.peer.client.ip(),
            request.uri(),
            request.headers(),
        );
        let token = match present.settings.plain_resume.then(|| resume::take(&mut request)).transpose() {
            Ok(token) => token.flatten(),
            Err(sentence) => return plain(StatusCode::BAD_REQUEST, sentence),
        };
        let offered = Offered::read(request.headers(), token);
        let guards = [Some(&snapshot.guard), matched.guard()];
        match self.find(&offered, matched.binding, request.headers()) {
            Ok(known) => {
                let readmitted = guards.into_iter().flatten().try_for_each(|guard| {
                    self.judged(guard.readmit(self.peer.client.ip(), request.headers()))
                });
                match readmitted {
                    Ok(()) => go_on(known, &request, matched.response_headers(), next),
                    Err(denial) => denied(&denial),
                }
            }
            Err(_) if paused => busy(PAUSED),
            Err(reason) => {
                let permits = match self.admitted(guards, &request) {
                    Ok(permits) => permits,
                    Err(denial) => return denied(&denial),
                };
                self.open(request, &matched, (offered, reason), (affinity, permits), next).await
            }
        }
    }

    /// Opens a session, if there is room and a backend for it.
    async fn open(
        &self,
        request: Request<Incoming>,
        matched: &RouteMatch<'_>,
        (offered, reason): (Offered, Reason),
        (affinity, permits): (Option<Affinity>, AddressPermits),
        next: &Mutex<Option<Next>>,
    ) -> Response<ResponseBody> {
        let present = matched.binding.pool.snapshot();
        let Some(permit) = self.broker.sessions.registry.admit(self.broker.max_sessions) else {
            metrics::counter!("steadfast_limit_hits_total", "limit" => "max_sessions").increment(1);
            return busy("no room for another session; try again later");
        };
        let id: u128 = rand::random();
        let handshake = Handshake::new(&request, matched.request_headers());
        let key = request.headers().get(header::SEC_WEBSOCKET_KEY).cloned();
        let attempts = AtomicU32::new(0);
        let who = (id, affinity);
        let shim = present.session.ack == AckMode::Shim;
        let found = self.dial(offered.terms(shim), matched.binding, &handshake, who, &attempts).await;
        match found {
            Ok(link) => {
                let agreed = Agreed {
                    protocol: link
                        .headers
                        .get(header::SEC_WEBSOCKET_PROTOCOL)
                        .map(|name| name.as_bytes().into()),
                    deflate: link.deflate,
                    shim,
                };
                let spoken = offered.spoken(&link.headers);
                let response = switching(&link, key.as_ref(), (&agreed, &spoken), matched.response_headers());
                let origin = request.headers().get(header::ORIGIN).cloned();
                let claim = |token| self.broker.sessions.returns.claim(token, id, origin);
                let (target, answer) = (request.uri(), &link.headers);
                let (config, recognised) =
                    conversation::terms(matched.binding, &present, target, offered.speaks(&agreed), answer);
                let claimed = offered.token.filter(|_| matches!(spoken, Spoken::Plain(_))).and_then(claim);
                let client = match spoken {
                    Spoken::Shim(_) => ClientKind::Shim { secret: rand::random(), reason },
                    Spoken::Plain(_) if claimed.is_some() => ClientKind::Returning,
                    Spoken::Plain(_) => ClientKind::Plain,
                };
                let binding = Arc::clone(matched.binding);
                // Others go on by themselves.
                let begins_anew = recognised && !shim && matches!(client, ClientKind::Plain);
                let visit = Visit { id, handshake, agreed, affinity, attempts, binding };
                let places = (permit, permits, claimed);
                let admitted = Admitted { link, visit, config, client, begins_anew, places };
                keep(next, Next::Begins(Box::new(admitted)));
                response
            }
            Err(DialError::Answered(answer)) => relayed(*answer, matched.response_headers()),
            Err(DialError::Denied(denial)) => {
                let Err(denial) = self.judged(Err::<Infallible, _>(denial));
                denied(&denial)
            }
            Err(DialError::Full) => busy("every backend of this service is full; try again later"),
            Err(DialError::Unreachable | DialError::Refused) => {
                metrics::counter!("steadfast_no_backend_total").increment(1);
                busy("no backend can take this session now; try again later")
            }
        }
    }

    fn admitted(
        &self,
        guards: [Option<&Guard>; 2],
        request: &Request<Incoming>,
    ) -> Result<AddressPermits, Denial> {
        let mut permits = [None, None];
        for (guard, permit) in guards.into_iter().zip(&mut permits) {
            let Some(guard) = guard else { continue };
            *permit = self.judged(guard.admit(self.peer.client.ip(), request.headers()))?;
        }
        Ok(permits.iter().any(Option::is_some).then(|| Box::new(permits)))
    }

    /// Counts who is turned away.
    fn judged<T>(&self, judgement: Result<T, Denial>) -> Result<T, Denial> {
        judgement.inspect_err(|denial| {
            metrics::counter!("steadfast_denied_total", "reason" => denial.reason).increment(1);
        })
    }

    /// The session to which a client comes back.
    fn find(&self, offered: &Offered, binding: &RouteBinding, headers: &HeaderMap) -> Result<Known, Reason> {
        let returns = &self.broker.sessions.returns;
        let (entry, resume) = match (offered.resume()?, &offered.token) {
            (Some(resume), _) => {
                let session = u128::from_be_bytes(resume.token.session());
                (self.broker.sessions.registry.get(session), Some(resume))
            }
            (None, Some(token)) => (returns.owned(token, headers.get(header::ORIGIN)), None),
            (None, None) => return Err(Reason::New),
        };
        let entry =
            entry.filter(|entry| Arc::ptr_eq(&entry.binding.pool, &binding.pool)).ok_or(Reason::Unknown)?;
        match &resume {
            Some(resume) => entry.core().machine.resumable(resume)?,
            None if entry.core().machine.plainly_resumable() => {}
            None => return Err(Reason::Unknown),
        }
        let agreed = entry.agreed.protocol.as_deref();
        let protocol = offered.spoken_again(agreed, resume.is_some()).ok_or(Reason::Unknown)?;
        Ok(Known { session: entry.id, resume, protocol })
    }

    async fn dial(
        &self,
        terms: DialTerms,
        binding: &RouteBinding,
        handshake: &Handshake,
        (id, affinity): (u128, Option<Affinity>),
        attempts: &AtomicU32,
    ) -> Result<Box<Link>, DialError> {
        let session = session_name(id);
        let search = BackendSearch {
            pool: &binding.pool,
            handshake,
            session: &session,
            client: self.peer.client.ip(),
            terms,
            affinity,
            attempts,
            just_failed: None,
            suspect: false,
            handshake_permit: Some(&self.permit),
        };
        self.broker.sessions.dialer.first(&search).await
    }

    /// Both sides are raw sockets now: the session begins, as a task of its own, which is much
    /// smaller than this one.
    fn begin(&self, admitted: Admitted, socket: Stream, early_words: &[u8]) {
        let Admitted { link, visit, config, client, begins_anew, places } = admitted;
        let now = clock::now();
        let no_failover = declines_failover(&link.headers);
        let deflate = visit.agreed.deflate.is_some();
        let session = visit.id.to_be_bytes();
        let opening = Opening { session, epoch: link.epoch, deflate, no_failover, begins_anew, client };
        let machine = Session::new(config, now, opening);
        let Link { lease, stream, early, .. } = *link;
        let entry = Arc::new(Entry::new(visit, self.peer.client, machine, lease));
        self.broker.sessions.registry.insert(Arc::clone(&entry));
        let driver = Driver::new(Arc::clone(&self.broker.sessions), entry, (socket, stream), places);
        driver.begin(early_words, &early);
        tokio::spawn(driver);
    }

    /// The client's new connection is a raw socket now: its session's task takes it over.
    fn hand_over(&self, returning: ReturningClient, stream: Stream, early: Bytes) {
        let ReturningClient { session, resume } = returning;
        self.broker
            .sessions
            .returns
            .arrive(session, Arrival { client: self.peer.client, stream, early, resume });
    }
}

/// Goes on with a session of the client's.
fn go_on(
    known: Known,
    request: &Request<Incoming>,
    rules: Option<&HeaderRules>,
    next: &Mutex<Option<Next>>,
) -> Response<ResponseBody> {
    let Known { session, resume, protocol } = known;
    let response = switching_back(request.headers().get(header::SEC_WEBSOCKET_KEY), protocol, rules);
    keep(next, Next::Returns(ReturningClient { session, resume }));
    response
}

/// The client's socket, without what stood on it for the request.
fn socket(io: TokioIo<Spelled<FirstLine<'_>>>) -> Stream {
    io.into_inner().into_inner().into_inner()
}

/// A client's request is a handshake, and its target is a path afterwards.
fn sound<B>(request: &mut Request<B>, fragment: bool) -> Result<(), FormRefusal> {
    form::check(request)?;
    if fragment {
        return Err(FormRefusal::bad(FRAGMENT));
    }
    target::settle(request).map_err(FormRefusal::bad)
}

fn keep(next: &Mutex<Option<Next>>, what: Next) {
    *next.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
}

/// How long everything together may take: the request, a place in the queue and a dial of each
/// backend (twice, if one cannot do with the compression), and the client's reading of the answer.
fn patience(snapshot: &Snapshot) -> Duration {
    let timeouts = &snapshot.settings.timeouts;
    let one = (timeouts.connect + timeouts.upgrade) * 2;
    let of_pool = |pool: &Arc<Pool>| {
        let present = pool.snapshot();
        (one + present.settings.queue.timeout).saturating_mul(present.backends.len() as u32 + 1)
    };
    let dials = snapshot.pools.values().map(of_pool).max().unwrap_or_default();
    (timeouts.handshake * 2).saturating_add(dials)
}

/// A backend's redirect or refusal, with its headers and body.
fn relayed(answer: Response<Incoming>, rules: Option<&HeaderRules>) -> Response<ResponseBody> {
    let (parts, body) = answer.into_parts();
    let mut response = Response::new(body.boxed());
    *response.status_mut() = parts.status;
    let headers = response.headers_mut();
    for (name, value) in end_to_end(&parts.headers) {
        headers.append(name, value.clone());
    }
    if let Some(rules) = rules {
        // The body is passed on as it is.
        let of_the_body = [header::CONTENT_TYPE, header::CONTENT_ENCODING];
        header_rules::apply(rules, headers, |name| of_the_body.contains(name));
    }
    headers.insert(header::CONNECTION, ONE_REQUEST);
    if parts.status == StatusCode::UPGRADE_REQUIRED {
        form::ask_for_upgrade(headers);
    }
    response
}

fn denied(denial: &Denial) -> Response<ResponseBody> {
    let mut response = plain(denial.status, denial.sentence);
    if let Some(seconds) = denial.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn busy(sentence: &'static str) -> Response<ResponseBody> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, sentence);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn plain(status: StatusCode, sentence: &'static str) -> Response<ResponseBody> {
    let mut response =
        Response::new(Full::from(format!("{sentence}\n")).map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONNECTION, ONE_REQUEST);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn nothing() -> ResponseBody {
    Full::default().map_err(|never| match never {}).boxed()
}
