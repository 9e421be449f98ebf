//! The downstream upgrade: a client's HTTP request becomes a session, or gets an answer that says why not.
//! It ends when the session's task begins.

mod conversation;
mod form;
mod newcomer;
mod offer;
mod resume;
mod returning;

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{self, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use rustls::{HandshakeKind, ServerConfig};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::broker::Broker;
use crate::config::settings::{HeaderCase, LimitSettings, ListenerSettings};
use crate::http::client_cert::{self, CLIENT_CERT};
use crate::http::denial::Denial;
use crate::http::forwarding::Hops;
use crate::http::head::{self, RequestHead};
use crate::http::header_case::spell;
use crate::http::token_list::asks_for_websocket;
use crate::metric::{self, LookWord, TlsWord};
use crate::net::lingering_close;
use crate::net::places::Place;
use crate::net::stream::Stream;
use crate::routing::admission::{AddressPermits, Guard};
use crate::routing::listener::ListenerId;
use crate::routing::trust::Trust;
use crate::session::registry::SessionPermit;
use crate::snapshot::Snapshot;
use crate::upstream::balance::Affinity;
use crate::upstream::pool::Pool;

use super::accept::{Accepted, Introduction, Peer};
use super::response::{AnswerLines, ResponseBody, busy, denied, no_route, plain};
use super::{balancer_page, introduction, redirect, target, to_https};
use form::FormRefusal;
use newcomer::{Admitted, Newcomer};
use offer::Offered;
use returning::ReturningClient;

const PAUSED: &str = "new sessions are paused here; try again later";

const DROPPED: &str = "headers that say for whom a request is are dropped, here and from now on, because this peer is not \
                       trusted; if it is a proxy of yours, name its network in listener.trusted";

const FRAGMENT: &str = "a request's target has no fragment; remove what follows the #";

pub(super) const NOT_PLAIN: &str = "this port speaks TLS: ask it by https:// or wss://";

const NO_PLACE: &str = "another connection needs its place";

const GONE: &str = "it ended the connection before it had an answer";

/// Bytes that are read at first: nearly all requests are shorter.
const FIRST_READ: usize = 8192;

/// One connection that is to become a session.
pub(crate) struct UpgradeTask {
    pub(super) broker: Arc<Broker>,
    pub(super) listener: ListenerId,
    /// As it is before it has said for whom it asks.
    pub(super) peer: Peer,
    /// Its place among the handshakes, until it has one among the sessions.
    place: Place,
    /// Where the client has connected to, if backends may be told and it is not the listener's address.
    pub(super) arrival: Option<SocketAddr>,
    /// It is a proxy's own, which may be there only to see whether somebody listens.
    is_own: bool,
    /// Its place among the sessions, while a backend answers it over HTTP, or may be asked again.
    relaying: Mutex<Option<SessionPermit>>,
    /// Set once TLS is spoken, with what backends are told of the certificate that the client has shown.
    secured: OnceLock<Option<HeaderValue>>,
}

/// For whom a request is, and by which way it has come.
pub(super) struct Caller {
    pub(super) peer: Peer,
    pub(super) hops: Hops,
}

/// What follows when the client's upgrade is through.
pub(super) enum Next {
    Begins(Box<Admitted>),
    Returns(ReturningClient),
}

/// What a request comes to.
pub(super) enum UpgradeAnswer {
    /// The client's connection becomes a session's. With the lines of the 101.
    Switches(AnswerLines, Next),
    /// It ends with this.
    Refused(Response<ResponseBody>),
}

/// A connection whose request is answered.
pub(super) struct AnsweredRequest {
    pub(super) stream: Stream,
    /// What came right behind the request.
    pub(super) early: Bytes,
    /// `None`: the connection ends.
    pub(super) next: Option<Next>,
}

/// A connection whose request could not be read or answered.
pub(super) struct FailedRequest {
    pub(super) why: String,
    /// It has got an answer all the same.
    pub(super) told: Option<Stream>,
}

impl From<Response<ResponseBody>> for UpgradeAnswer {
    fn from(response: Response<ResponseBody>) -> UpgradeAnswer {
        UpgradeAnswer::Refused(response)
    }
}

impl FailedRequest {
    fn gone() -> FailedRequest {
        FailedRequest { why: GONE.to_owned(), told: None }
    }
}

impl From<io::Error> for FailedRequest {
    fn from(error: io::Error) -> FailedRequest {
        FailedRequest { why: error.to_string(), told: None }
    }
}

impl UpgradeTask {
    /// Serves the one request of a connection that `listener` has accepted, in a task of its own.
    pub(crate) fn spawn(broker: &Arc<Broker>, listener: ListenerId, accepted: Accepted) {
        let (broker, snapshot) = (Arc::clone(broker), broker.snapshot());
        let until = Instant::now() + snapshot.settings.timeouts.handshake;
        if snapshot.expects_proxy_header(listener.number) {
            tokio::spawn(UpgradeTask::introduced(broker, listener, accepted, until));
        } else {
            tokio::spawn(UpgradeTask::serve(broker, &snapshot, listener, accepted, until));
        }
    }

    /// Serves it when a proxy has said whom it is for.
    async fn introduced(broker: Arc<Broker>, listener: ListenerId, accepted: Accepted, until: Instant) {
        // What that takes is needed for a moment, and not while nothing else is said.
        let Some(accepted) = introduction::read(&broker, &listener, accepted, until).boxed().await else {
            return;
        };
        let snapshot = broker.snapshot();
        let served = UpgradeTask::serve(broker, &snapshot, listener, accepted, until);
        drop(snapshot);
        served.await;
    }

    fn serve(
        broker: Arc<Broker>,
        snapshot: &Snapshot,
        listener: ListenerId,
        accepted: Accepted,
        until: Instant,
    ) -> impl Future<Output = ()> + Send + use<> {
        let Accepted { stream, peer, place, introduction } = accepted;
        let arrival = match introduction {
            Introduction::Client { arrival } => Some(arrival),
            // Of a listener for all addresses, only the socket knows.
            _ if snapshot.sends_proxy && listener.address.is_unspecified() => stream.local_address().ok(),
            _ => None,
        };
        let is_own = introduction == Introduction::Own;
        let relaying = Mutex::default();
        UpgradeTask::run(
            Arc::new(UpgradeTask {
                broker,
                listener,
                peer,
                place,
                arrival,
                is_own,
                relaying,
                secured: OnceLock::new(),
            }),
            stream,
            until,
        )
    }

    /// Until the first byte is there, a connection has a timer, and neither a buffer nor a parser: many may say nothing.
    async fn run(task: Arc<UpgradeTask>, mut stream: Stream, until: Instant) {
        let begins = tokio::select! {
            // Who says something at the last moment is heard.
            biased;
            ready = stream.readable() => match ready {
                Err(_) if task.is_own => return task.looked(),
                ready => ready.map_err(|error| error.to_string()),
            },
            () = task.place.told() => Err(NO_PLACE.to_owned()),
            () = sleep_until(until) => Err("it said nothing".to_owned()),
        };
        match begins {
            Ok(()) => UpgradeTask::begun(task, stream, until).await,
            Err(why) => task.failed(&why),
        }
    }

    /// What follows the first byte, in an allocation of its own: it takes much more memory than the wait for that.
    fn begun(task: Arc<UpgradeTask>, stream: Stream, until: Instant) -> BoxFuture<'static, ()> {
        UpgradeTask::converse(task, stream, until).boxed()
    }

    /// Reads the request, which must be there by `until`, and goes on with what it comes to.
    async fn converse(task: Arc<UpgradeTask>, stream: Stream, until: Instant) {
        let snapshot = task.broker.snapshot();
        // Large as it is, it is not moved.
        let answered = pin!(task.answered(&snapshot, stream, until));
        let served = tokio::select! {
            // Who is told to go and has sent its request by now has a place elsewhere.
            biased;
            served = answered => served,
            () = task.place.told() => return task.failed(NO_PLACE),
        };
        let AnsweredRequest { stream, early, next } = match served {
            Ok(answered) => answered,
            Err(FailedRequest { why, told }) => {
                task.failed(&why);
                if let Some(stream) = told {
                    task.close(stream).await;
                }
                return;
            }
        };
        let Some(next) = next else { return task.close(stream).await };
        task.place.give_back();
        match next {
            Next::Begins(admitted) => task.begin(*admitted, (stream, early)),
            Next::Returns(returning) => task.hand_over(returning, stream, early),
        }
    }

    /// Answers the request. Nearly all come whole at once and are answered with a 101, for which little is needed. Whatever
    /// else comes, and each answer with a body, is left to hyper.
    async fn answered(
        &self,
        snapshot: &Snapshot,
        mut stream: Stream,
        until: Instant,
    ) -> Result<AnsweredRequest, FailedRequest> {
        if let Some(tls) = snapshot.tls(self.listener.number) {
            stream = self.secured(snapshot, (stream, tls), until).boxed().await?;
        }
        let came = match poll_fn(|cx| first_bytes(&mut stream, cx)).await {
            Err(_) if self.is_own => Bytes::new(),
            came => came?,
        };
        if came.is_empty() {
            // As of a balancer that looks whether somebody listens.
            if self.is_own {
                self.looked();
            }
            return Ok(AnsweredRequest { stream, early: came, next: None });
        }
        let head =
            whole(&came, &snapshot.settings.limits).filter(|head| asks_for_websocket(head.request.headers()));
        let Some(RequestHead { request, length, has_fragment }) = head else {
            return self.converse_by_hyper(snapshot, (stream, came), None, until).boxed().await;
        };
        let early = came.slice(length..);
        let answer = tokio::select! {
            biased;
            answer = timeout(patience(snapshot), self.welcome(request, has_fragment)) => {
                answer.map_err(|_| FailedRequest { why: "it took too long".to_owned(), told: None })?
            }
            // What comes before the answer waits for it, and so does an end behind that.
            ended = stream.ended(), if early.is_empty() => {
                return Err(ended.err().map_or_else(FailedRequest::gone, FailedRequest::from));
            }
        };
        match answer {
            UpgradeAnswer::Switches(lines, next) => {
                let mut head = head::switching(&lines);
                spell(&mut head, self.header_case(snapshot));
                stream.write_all(&head).await?;
                stream.flush().await?;
                Ok(AnsweredRequest { stream, early, next: Some(next) })
            }
            UpgradeAnswer::Refused(response) => {
                self.converse_by_hyper(snapshot, (stream, came), Some(response), until).boxed().await
            }
        }
    }

    /// Does the handshake of TLS, and waits for what is said inside. All of it must be there by `until`.
    async fn secured(
        &self,
        snapshot: &Snapshot,
        (mut stream, tls): (Stream, Arc<ServerConfig>),
        until: Instant,
    ) -> Result<Stream, FailedRequest> {
        let mut first = [0];
        match stream.peek(&mut first).await {
            // Nothing was begun, and it ends as a plain one does.
            Ok(0) => return Ok(stream),
            Err(_) if self.is_own => return Ok(stream),
            came => came?,
        };
        if first[0].is_ascii_alphabetic() {
            metric::TLS_HANDSHAKES.count(TlsWord::Plain);
            // A request, and no handshake, which begins with a number. It is answered as it was asked.
            let refusal = Some(plain(StatusCode::BAD_REQUEST, NOT_PLAIN));
            let answered = self.converse_by_hyper(snapshot, (stream, Bytes::new()), refusal, until).await?;
            return Err(FailedRequest { why: NOT_PLAIN.to_owned(), told: Some(answered.stream) });
        }
        let handshake = timeout_at(until, stream.accept_tls(tls)).await;
        let handshake = handshake.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let mut stream = handshake.map_err(|error| {
            metric::TLS_HANDSHAKES.count(TlsWord::Failed);
            FailedRequest { why: format!("no TLS: {error}"), told: None }
        })?;
        if let Some(agreed) = stream.tls() {
            let resumed = agreed.handshake_kind() == Some(HandshakeKind::Resumed);
            metric::TLS_HANDSHAKES.count(if resumed { TlsWord::Resumed } else { TlsWord::Full });
            let shown = agreed.peer_certificates().and_then(|chain| chain.first());
            let _ = self.secured.set(shown.and_then(|leaf| client_cert::value(leaf)));
        }
        match timeout_at(until, stream.readable()).await {
            Ok(Err(error)) if !self.is_own => Err(error.into()),
            Ok(_) => Ok(stream),
            Err(_) => Err(FailedRequest { why: "it said nothing".to_owned(), told: None }),
        }
    }

    /// How names of headers are spelled for this listener's clients.
    pub(super) fn header_case(&self, snapshot: &Snapshot) -> HeaderCase {
        self.settings(snapshot).map_or(HeaderCase::Lower, |listener| listener.header_case)
    }

    pub(super) fn settings<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a ListenerSettings> {
        snapshot.settings.listeners.get(self.listener.number)
    }

    /// It counts among the sessions until its connection ends.
    fn keep(&self, permit: SessionPermit) {
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
    async fn close(&self, stream: Stream) {
        tokio::select! {
            () = lingering_close::close(stream) => {}
            () = self.place.told() => {}
        }
    }

    /// A balancer has seen that somebody listens, and is content.
    fn looked(&self) {
        metric::BALANCER_LOOKS.count(LookWord::Connection);
    }

    fn failed(&self, why: &str) {
        metric::HANDSHAKE_ERRORS.count(());
        // It is the connection that has failed, whoever it is for.
        tracing::debug!(client = %self.peer.socket, why, "handshake failed");
    }

    pub(super) async fn welcome(&self, mut request: Request<()>, fragment: bool) -> UpgradeAnswer {
        let snapshot = self.broker.snapshot();
        if let Some(page) =
            balancer_page::answer(&self.broker, &self.listener, &snapshot, request.uri().path())
        {
            return page.into();
        }
        let caller = self.caller(&snapshot, &mut request);
        let client = caller.peer.client;
        let elsewhere = self.settings(&snapshot).is_some_and(|listener| listener.redirect_to_https);
        let elsewhere = elsewhere.then(|| to_https::answer(&request, &caller.hops)).flatten();
        if elsewhere.is_none()
            && !fragment
            && let Some(sent) = redirect::answer(&self.broker, &self.listener, &snapshot, client, &request)
        {
            return sent.into();
        }
        let answer = match (elsewhere, check_form(&mut request, fragment)) {
            (Some(elsewhere), _) => elsewhere.into(),
            // Large as it is, it is not moved.
            (None, Ok(())) => pin!(self.answer(&snapshot, caller, request)).await,
            (None, Err(FormRefusal { status, sentence })) => plain(status, sentence).into(),
        };
        if let UpgradeAnswer::Refused(response) = &answer {
            let status = response.status();
            metric::REFUSED_UPGRADES.count(status.as_str().to_owned());
            tracing::info!(%client, listener = %self.listener.address, status = status.as_u16(), "no session");
        }
        answer
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

    async fn answer(&self, snapshot: &Snapshot, caller: Caller, mut request: Request<()>) -> UpgradeAnswer {
        // Who comes back may come in all the same.
        let paused = self.broker.pauses.is_paused(self.listener.number);
        let client = caller.peer.client.ip();
        let matched = match snapshot.matched(self.listener.number, &request) {
            Ok(matched) => matched,
            Err(_) if paused => return busy(PAUSED).into(),
            Err(none) => {
                let admitted = self.judged(snapshot.guard.admit(client, request.headers()));
                return admitted.map_or_else(|denial| denied(&denial), |_| no_route(none)).into();
            }
        };
        let present = matched.binding.pool.snapshot();
        let balance = &present.settings.balance;
        let affinity = Affinity::find(balance, client, request.uri(), request.headers());
        let token = match present.settings.plain_resume.then(|| resume::take(&mut request)).transpose() {
            Ok(token) => token.flatten(),
            Err(sentence) => return plain(StatusCode::BAD_REQUEST, sentence).into(),
        };
        let offered = Offered::read(request.headers(), token);
        let guards = [Some(&snapshot.guard), matched.guard()];
        match self.find(&offered, matched.binding, caller.peer.client, request.headers()) {
            Ok(returning) => {
                let readmitted = guards
                    .into_iter()
                    .flatten()
                    .try_for_each(|guard| self.judged(guard.readmit(client, request.headers())));
                match readmitted {
                    Ok(()) => returning.answer(&request, matched.response_headers()),
                    Err(denial) => denied(&denial).into(),
                }
            }
            Err(_) if paused => busy(PAUSED).into(),
            Err(reason) => match self.admitted(guards, client, &request) {
                Ok(permits) => {
                    let newcomer = Newcomer { caller, request, matched, offered, reason, affinity, permits };
                    self.open(Box::new(newcomer)).await
                }
                Err(denial) => denied(&denial).into(),
            },
        }
    }

    fn admitted(
        &self,
        guards: [Option<&Guard>; 2],
        client: IpAddr,
        request: &Request<()>,
    ) -> Result<AddressPermits, Denial> {
        let mut permits = [None, None];
        for (guard, permit) in guards.into_iter().zip(&mut permits) {
            let Some(guard) = guard else { continue };
            *permit = self.judged(guard.admit(client, request.headers()))?;
        }
        Ok(permits.iter().any(Option::is_some).then(|| Box::new(permits)))
    }

    /// Counts who is turned away.
    pub(super) fn judged<T>(&self, judgement: Result<T, Denial>) -> Result<T, Denial> {
        judgement.inspect_err(|denial| {
            metric::DENIED.count(denial.reason);
        })
    }
}

/// Reads what is there, into no more memory than that takes.
fn first_bytes(stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    let mut room = [const { MaybeUninit::uninit() }; FIRST_READ];
    let mut buffer = ReadBuf::uninit(&mut room);
    ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(Bytes::copy_from_slice(buffer.filled())))
}

/// The request, if it is there as a whole, within the limits, and nothing of it is hyper's to judge.
fn whole(came: &Bytes, limits: &LimitSettings) -> Option<RequestHead> {
    let head = head::get_request(came, limits.header_lines)?;
    let is_of_body =
        |name: &HeaderName| *name == header::TRANSFER_ENCODING || *name == header::CONTENT_LENGTH;
    let has_body = head.request.headers().keys().any(is_of_body);
    (head.length <= limits.header && !has_body).then_some(head)
}

/// No other thread waits for what only this task has.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client's request is a handshake, and its target is a path afterwards.
fn check_form<B>(request: &mut Request<B>, fragment: bool) -> Result<(), FormRefusal> {
    form::check(request)?;
    if fragment {
        return Err(FormRefusal::bad(FRAGMENT));
    }
    target::settle(request).map_err(FormRefusal::bad)
}

/// How long everything together may take: the request, a place in the queue and a dial of each
/// backend (twice, if one cannot do with the compression), and the client's reading of the answer.
pub(super) fn patience(snapshot: &Snapshot) -> Duration {
    let timeouts = &snapshot.settings.timeouts;
    let one = (timeouts.connect + timeouts.upgrade) * 2;
    let of_pool = |pool: &Arc<Pool>| {
        let present = pool.snapshot();
        (one + present.settings.queue.timeout).saturating_mul(present.backends.len() as u32 + 1)
    };
    let dials = snapshot.pools.values().map(of_pool).max().unwrap_or_default();
    (timeouts.handshake * 2).saturating_add(dials)
}
