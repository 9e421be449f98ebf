//! Requests that are no WebSocket upgrades, on their way to a backend: the choice of it, a connection that is there or a
//! new one, and what is tried again. A request is sent again only if nothing of it was written, or if it may be
//! repeated (RFC 9110, 9.2.2) and nothing of an answer has come; whatever else fails has happened perhaps, and is the
//! client's to judge.
//!
//! ```text
//!                lease                connection                written, and a head has come
//!   request ------------> backend --------------------> asked -----------------------------> answered
//!      ^                     |  it cannot be reached       |
//!      |<--------------------+                             |  nothing was written: there, over a new connection
//!      |<--------------------------------------------------+  GET, HEAD or OPTIONS without a body, and not one byte has
//!      |                                                   |  come: once more; over a connection that was kept it does
//!      |                                                   |  not count
//!      |                                                   +--> lost: 502
//!      +--> nobody is left to ask, or has room: 503
//! ```

mod answer;
mod body;
mod connection;
mod kept;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::FutureExt;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use hyper::body::{Body, Incoming};

use crate::clock;
use crate::config::settings::{HttpSettings, Reuse};
use crate::http::hostname::without_port;
use crate::net::connect::is_local;
use crate::upstream::backend::{Backend, RequestLease};
use crate::upstream::balance::Affinity;
use crate::upstream::dial::{Announcement, Dialer, local_fault, testify, unreached};
use crate::upstream::health::docket::Mishap;
use crate::upstream::pool::{Ask, NoLease, Pool, PoolSnapshot};
use crate::upstream::sticky::Preferred;

use answer::Keeping;
pub(crate) use answer::{AnswerBody, AnswerFault};
use body::BodyWatch;
pub(crate) use body::{BodyFault, RequestBody};
use connection::{RequestConnection, Undelivered};
pub(crate) use kept::sweep;

/// One client's request, as far as it is no part of that: who asks, and by what it is placed.
pub(crate) struct Forwarding<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) client: SocketAddr,
    /// Where it has connected to, if anybody knows.
    pub(crate) destination: Option<SocketAddr>,
    pub(crate) affinity: Option<Affinity>,
    /// The backend that its client belongs to.
    pub(crate) preferred: Option<Preferred>,
    /// It is the first request of its client's connection.
    pub(crate) is_first: bool,
}

/// A backend's answer.
pub(crate) struct BackendAnswer {
    pub(crate) response: Response<AnswerBody>,
    pub(crate) backend: Arc<Backend>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum RequestFailure {
    /// Every backend has as much as it may have.
    Full,
    /// No backend could be reached.
    Nobody,
    /// A backend may have had the request, and has not answered it.
    Lost,
    /// It has not done so in time.
    Late,
    /// It is drained, and the time of its requests is over.
    Drained,
    /// The client has not sent its request's body as it should.
    Body(BodyFault),
}

/// What is left of a request that was tried.
enum Tried {
    /// Nothing was written.
    Whole(Request<RequestBody>),
    /// It was, and may be repeated: not one byte of an answer has come. With what is said if nobody else has one.
    Repeatable(RequestCopy, RequestFailure),
    Gone(RequestFailure),
}

/// A request without a body, kept in case that it is sent again. Hardly any is, and a list takes half of what a map does.
struct RequestCopy {
    method: Method,
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What one backend has made of a request.
enum AskOutcome {
    Answered(BackendAnswer),
    /// Another one may be asked.
    Elsewhere(Request<RequestBody>),
    Failed(RequestFailure),
}

/// The way of one request from backend to backend.
struct Search<'a> {
    dialer: &'a Dialer,
    whose: &'a Forwarding<'a>,
    may_repeat: bool,
    /// It was written over a connection that had served others, and goes over new ones from now on.
    is_stale: bool,
    /// It was written over a new one, and will be once more.
    is_repeated: bool,
    /// What is said when nobody is left to ask.
    none: RequestFailure,
    /// What it is called where failures of backends are compared; `None`: it has met none.
    name: Option<String>,
}

/// Sends `request` to a backend of its pool.
///
/// # Errors
/// Why nobody has answered it.
pub(crate) async fn forward(
    dialer: &Dialer,
    whose: &Forwarding<'_>,
    mut request: Request<RequestBody>,
) -> Result<BackendAnswer, RequestFailure> {
    let may_repeat = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method())
        && request.body().is_end_stream();
    let none = RequestFailure::Nobody;
    let mut search =
        Search { dialer, whose, may_repeat, is_stale: false, is_repeated: false, none, name: None };
    let mut tried = Vec::new();
    loop {
        let lease = match whose.lease(&tried).await {
            Ok(lease) => lease,
            Err(NoLease::Full) if tried.is_empty() => return Err(RequestFailure::Full),
            Err(_) => return Err(search.none),
        };
        let asked = lease.backend().id;
        match search.ask(lease, request).await {
            AskOutcome::Answered(answer) => return Ok(answer),
            AskOutcome::Elsewhere(whole) => request = whole,
            AskOutcome::Failed(why) => return Err(why),
        }
        tried.push(asked);
    }
}

impl Search<'_> {
    /// Asks the backend of `lease`: over a connection that was kept, and over a new one if that has ended meanwhile.
    async fn ask(&mut self, lease: RequestLease, mut request: Request<RequestBody>) -> AskOutcome {
        let (whose, backend) = (self.whose, Arc::clone(lease.backend()));
        let present = whose.pool.snapshot();
        let settings = &present.settings.http;
        let keeps = settings.reuse == Reuse::Safe && !present.settings.send_proxy.is_on();
        let rides = keeps && !self.is_stale && !self.is_repeated && (self.may_repeat || !whose.is_first);
        let mut kept = if rides { kept::take(backend.id) } else { None };
        name_host(&mut request, &backend);
        loop {
            let was_kept = kept.is_some();
            let connection = match kept.take() {
                Some(mut connection) => {
                    if !connection.is_ready().await {
                        continue;
                    }
                    connection
                }
                // Few dial, and all would keep the room that it takes.
                None => match whose.connect(self.dialer, &present, &backend, request.headers()).boxed().await
                {
                    Ok(connection) => connection,
                    Err(error) => {
                        whose.unreached(&backend, &error);
                        return AskOutcome::Elsewhere(request);
                    }
                },
            };
            let may_repeat = self.may_repeat && !self.is_repeated;
            let sent = request.body().watch();
            match send(connection, &lease, (request, &sent), settings, may_repeat).await {
                Ok((response, connection)) => {
                    self.answered(&lease);
                    let keeps = keeps.then_some(Keeping {
                        connection,
                        sent,
                        most: settings.idle,
                        time: settings.idle_timeout,
                    });
                    let response = response.map(|body| AnswerBody::new(body, lease, keeps));
                    return AskOutcome::Answered(BackendAnswer { response, backend });
                }
                Err(Tried::Whole(whole)) if was_kept => request = whole,
                Err(Tried::Whole(whole)) => {
                    whose.unreached(&backend, &io::ErrorKind::ConnectionAborted.into());
                    return AskOutcome::Elsewhere(whole);
                }
                Err(Tried::Repeatable(copy, why)) => {
                    let is_drained = matches!(why, RequestFailure::Drained);
                    request = copy.into_request();
                    self.none = why;
                    // Who ends a connection that was kept may have done so before the request came. It does not count: a
                    // backend that is killed may take a new one for a moment yet, and end that too.
                    self.is_stale |= was_kept;
                    self.is_repeated |= !was_kept || is_drained;
                    if !was_kept && !is_drained {
                        let name = || format!("request {:x}", rand::random::<u64>());
                        whose.hung_up(&backend, self.name.get_or_insert_with(name));
                    }
                    if !was_kept || is_drained {
                        return AskOutcome::Elsewhere(request);
                    }
                }
                Err(Tried::Gone(why)) => return AskOutcome::Failed(why),
            }
        }
    }

    fn answered(&self, lease: &RequestLease) {
        let now = clock::now();
        lease.answered(now);
        if let Some(name) = &self.name {
            self.whose.pool.placed(now, name);
        }
    }
}

impl RequestCopy {
    fn of(request: &Request<RequestBody>) -> RequestCopy {
        let mut headers = Vec::with_capacity(request.headers().len());
        headers.extend(request.headers().iter().map(|(name, value)| (name.clone(), value.clone())));
        RequestCopy { method: request.method().clone(), uri: request.uri().clone(), headers }
    }

    fn into_request(self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::none());
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        for (name, value) in self.headers {
            request.headers_mut().append(name, value);
        }
        request
    }
}

/// A request of HTTP/1.0 may name no host, and one of HTTP/1.1 must.
fn name_host(request: &mut Request<RequestBody>, backend: &Backend) {
    if !request.headers().contains_key(header::HOST)
        && let Ok(host) = HeaderValue::from_str(&backend.address())
    {
        request.headers_mut().insert(header::HOST, host);
    }
}

impl Forwarding<'_> {
    async fn lease(&self, tried: &[usize]) -> Result<RequestLease, NoLease> {
        let ask = Ask { preferred: self.preferred, affinity: self.affinity, just_failed: None, tried };
        let lease = match tried {
            [] => self.pool.lease(&ask, true, || ()).await,
            // Another one that has room is as good as a wait for the first.
            _ => self.pool.pick(clock::now(), &ask),
        };
        lease.map(RequestLease::new)
    }

    async fn connect(
        &self,
        dialer: &Dialer,
        present: &PoolSnapshot,
        backend: &Backend,
        headers: &HeaderMap,
    ) -> io::Result<RequestConnection> {
        let host = headers.get(header::HOST).map(|host| without_port(host.as_bytes()));
        let host = host.and_then(|host| std::str::from_utf8(host).ok());
        let id = if present.settings.send_proxy.is_on() {
            format!("{:032x}", rand::random::<u128>())
        } else {
            String::new()
        };
        let whom = Announcement { client: self.client, destination: self.destination, host, id: &id };
        let stream = dialer.reach(self.pool, backend, whom).await?;
        let limit = present.settings.http.answer_timeout;
        RequestConnection::new(stream, present.dialing.manner, limit).await
    }

    /// Nothing of the request has come to it.
    fn unreached(&self, backend: &Backend, error: &io::Error) {
        match is_local(error) {
            true => local_fault(self.pool, backend, error),
            false => unreached(self.pool, backend, &error.to_string()),
        }
    }

    /// It has ended a new connection without an answer, which counts when another one has one.
    fn hung_up(&self, backend: &Backend, name: &str) {
        testify(self.pool, (name, self.client.ip()), backend, (Mishap::HangUp, "it hung up on a request"));
    }
}

/// Sends it, and waits for the head of an answer. The connection comes back if it may serve another request when the
/// answer's body is through.
async fn send(
    mut connection: RequestConnection,
    lease: &RequestLease,
    (mut request, body): (Request<RequestBody>, &BodyWatch),
    settings: &HttpSettings,
    may_repeat: bool,
) -> Result<(Response<Incoming>, RequestConnection), Tried> {
    if !request.body().is_end_stream() && !request.headers().contains_key(header::CONTENT_LENGTH) {
        // hyper expects no body of a GET, unless it is told.
        request.headers_mut().insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let copy = may_repeat.then(|| RequestCopy::of(&request));
    let cut = lease.cut();
    let sent = tokio::select! {
        biased;
        sent = connection.send(request, (settings.answer_timeout, body)) => sent.map_err(Some),
        () = cut => Err(None),
    };
    match sent {
        // It was not asked to.
        Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            Err(Tried::Gone(RequestFailure::Lost))
        }
        Ok(response) => Ok((response, connection)),
        Err(Some(Undelivered::Whole(whole))) => Err(Tried::Whole(*whole)),
        Err(Some(Undelivered::Lost { answered })) => Err(match (body.fault(), copy) {
            (Some(fault), _) => Tried::Gone(RequestFailure::Body(fault)),
            (None, Some(copy)) if !answered => Tried::Repeatable(copy, RequestFailure::Lost),
            (None, _) => Tried::Gone(RequestFailure::Lost),
        }),
        Err(Some(Undelivered::Late)) => Err(Tried::Gone(RequestFailure::Late)),
        Err(None) => Err(match copy {
            Some(copy) => Tried::Repeatable(copy, RequestFailure::Drained),
            None => Tried::Gone(RequestFailure::Drained),
        }),
    }
}
