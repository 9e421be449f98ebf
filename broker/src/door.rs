//! The door: a client's HTTP request becomes a session, or gets an answer that says why not.

mod form;
mod offer;
mod resume;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use steadfast_protocol::session::{AckMode, Config, Session};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::access::{Denial, Guard, Pass};
use crate::answer_headers::declines_failover;
use crate::broker::Broker;
use crate::clock;
use crate::config::settings::HeaderRules;
use crate::dial::{Agreed, DialError, HandshakePlace, Link, Search, Terms};
use crate::gate::Gate;
use crate::handshake::{Handshake, end_to_end};
use crate::pool::Pool;
use crate::registry::{Entry, Place, Visit, session_name};
use crate::session::Driver;
use crate::setup::Setup;
use crate::worker::Listener;
use crate::{header_rules, placement};

use offer::Offered;

/// A backend's refusal is streamed through; the broker's own answers are short.
type Body = BoxBody<Bytes, hyper::Error>;

/// Whoever is turned away dials again. (To switch keep-alive off would mark the 101 as well.)
const ONE_REQUEST: HeaderValue = HeaderValue::from_static("close");

/// One connection at the door.
pub(crate) struct Visitor {
    pub(crate) broker: Arc<Broker>,
    pub(crate) listener: Listener,
    pub(crate) client: SocketAddr,
    /// Its place among the handshakes.
    pub(crate) place: HandshakePlace,
}

/// A session's places among those of its address, under the broker's rules and its route's; `None`:
/// neither counts sessions.
pub(crate) type Passes = Option<Box<[Option<Pass>; 2]>>;

/// A session that begins when the client's upgrade is through.
struct Admitted {
    upgrade: OnUpgrade,
    link: Box<Link>,
    visit: Visit,
    /// What its machine is told: as the pool was when it was dialled, whatever a reload has made of it.
    config: Arc<Config>,
    places: (Place, Passes),
}

impl Visitor {
    /// Serves the one request of a connection.
    pub(crate) async fn serve(self, stream: TcpStream) {
        let visitor = Arc::new(self);
        let admitted = Mutex::new(None);
        let service = service_fn(|request| {
            let (visitor, admitted) = (Arc::clone(&visitor), &admitted);
            async move { Ok::<_, Infallible>(visitor.welcome(request, admitted).await) }
        });
        let setup = visitor.broker.setup();
        let limits = &setup.settings;
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.timeouts.handshake)
            .max_header_size(limits.limits.header)
            .max_buf_size(limits.limits.header.max(8192))
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        match timeout(patience(&setup), connection).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => visitor.failed(&error.to_string()),
            Err(_) => visitor.failed("it took too long"),
        }
        visitor.place.lock().unwrap_or_else(PoisonError::into_inner).take();
        let admitted = admitted.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(admitted) = admitted {
            visitor.begin(admitted).await;
        }
    }

    fn failed(&self, why: &str) {
        metrics::counter!("steadfast_handshake_errors_total").increment(1);
        tracing::debug!(client = %self.client, why, "handshake failed");
    }

    async fn welcome(
        &self,
        request: Request<Incoming>,
        admitted: &Mutex<Option<Admitted>>,
    ) -> Response<Body> {
        let response = self.answer(request, admitted).await;
        let status = response.status();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            metrics::counter!("steadfast_refused_upgrades_total", "status" => status.as_str().to_owned())
                .increment(1);
            tracing::info!(client = %self.client, listener = %self.listener.address, status = status.as_u16(), "no session");
        }
        response
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        admitted: &Mutex<Option<Admitted>>,
    ) -> Response<Body> {
        if let Err(refusal) = form::check(&request) {
            return refusal.response();
        }
        if self.broker.pauses.is_paused(self.listener.number) {
            return busy("new sessions are paused here; try again later");
        }
        let setup = self.broker.setup();
        let first = match self.admitted(&setup.guard, &request) {
            Ok(pass) => pass,
            Err(denial) => return denied(&denial),
        };
        let Some(way) = setup.way(self.listener.number, &request) else {
            return plain(StatusCode::NOT_FOUND, "no route leads from this host and path to a service");
        };
        let second = match way.guard().map_or(Ok(None), |guard| self.admitted(guard, &request)) {
            Ok(pass) => pass,
            Err(denial) => return denied(&denial),
        };
        let passes = (first.is_some() || second.is_some()).then(|| Box::new([first, second]));
        let present = way.gate.pool.present();
        let hashed =
            placement::key::of(&present.settings.balance, self.client.ip(), request.uri(), request.headers());
        if present.settings.plain_resume
            && let Err(sentence) = resume::take(&mut request)
        {
            return plain(StatusCode::BAD_REQUEST, sentence);
        }
        let Some(place) = self.broker.registry.admit(self.broker.max_sessions) else {
            metrics::counter!("steadfast_limit_hits_total", "limit" => "max_sessions").increment(1);
            return busy("no room for another session; try again later");
        };
        let upgrade = hyper::upgrade::on(&mut request);
        let id: u128 = rand::random();
        let offered = Offered::read(request.headers());
        let handshake = Handshake::new(&request, way.request_headers());
        let key = request.headers().get(header::SEC_WEBSOCKET_KEY).cloned();
        let attempts = AtomicU32::new(0);
        let who = (id, hashed);
        let shim = present.session.ack == AckMode::Shim;
        let found = self.dial(offered.terms(shim), way.gate, &handshake, who, &attempts).await;
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
                let response = switching(&link, key.as_ref(), &agreed, way.response_headers());
                let gate = Arc::clone(way.gate);
                let visit = Visit { id, handshake, agreed, key: hashed, attempts, gate };
                let next = Admitted {
                    upgrade,
                    link,
                    visit,
                    config: Arc::clone(&present.session),
                    places: (place, passes),
                };
                *admitted.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
                response
            }
            Err(DialError::Answered(answer)) => relayed(*answer, way.response_headers()),
            Err(DialError::Full) => busy("every backend of this service is full; try again later"),
            Err(DialError::Unreachable | DialError::Refused) => {
                metrics::counter!("steadfast_no_backend_total").increment(1);
                busy("no backend can take this session now; try again later")
            }
        }
    }

    fn admitted(&self, guard: &Guard, request: &Request<Incoming>) -> Result<Option<Pass>, Denial> {
        guard.admit(self.client.ip(), request.headers()).inspect_err(|denial| {
            metrics::counter!("steadfast_denied_total", "reason" => denial.reason).increment(1);
        })
    }

    async fn dial(
        &self,
        terms: Terms,
        gate: &Gate,
        handshake: &Handshake,
        (id, key): (u128, Option<u64>),
        attempts: &AtomicU32,
    ) -> Result<Box<Link>, DialError> {
        let session = session_name(id);
        let search = Search {
            pool: &gate.pool,
            handshake,
            session: &session,
            client: self.client.ip(),
            terms,
            key,
            attempts,
            just_failed: None,
            suspect: false,
            handshake_place: Some(&self.place),
        };
        self.broker.dialer.first(&search).await
    }

    /// Both sides are raw sockets now: the session begins, as a task of its own, which is much
    /// smaller than this one.
    async fn begin(&self, admitted: Admitted) {
        let Admitted { upgrade, link, visit, config, places } = admitted;
        let parts = match upgrade.await.map(Upgraded::downcast::<TokioIo<TcpStream>>) {
            Ok(Ok(parts)) => parts,
            // The client left before it had our answer.
            Ok(Err(_)) | Err(_) => return,
        };
        let now = clock::now();
        let no_failover = declines_failover(&link.headers);
        let deflate = visit.agreed.deflate.is_some();
        let machine = Session::new(config, now, deflate, no_failover);
        let Link { seat, stream, early, .. } = *link;
        let entry = Arc::new(Entry::new(visit, self.client, machine, seat));
        self.broker.registry.insert(Arc::clone(&entry));
        let sockets = (parts.io.into_inner(), stream);
        let driver = Driver::new(Arc::clone(&self.broker), entry, sockets, places);
        driver.begin(&parts.read_buf, &early);
        tokio::spawn(driver);
    }
}

/// How long everything together may take: the request, a place in the queue and a dial of each
/// backend (twice, if one cannot do with the compression), and the client's reading of the answer.
fn patience(setup: &Setup) -> Duration {
    let timeouts = &setup.settings.timeouts;
    let one = (timeouts.connect + timeouts.upgrade) * 2;
    let of_pool = |pool: &Arc<Pool>| {
        let present = pool.present();
        (one + present.settings.queue.timeout).saturating_mul(present.backends.len() as u32 + 1)
    };
    let dials = setup.pools.values().map(of_pool).max().unwrap_or_default();
    (timeouts.handshake * 2).saturating_add(dials)
}

/// The backend's 101, as the client is to see it.
fn switching(
    link: &Link,
    key: Option<&HeaderValue>,
    agreed: &Agreed,
    rules: Option<&HeaderRules>,
) -> Response<Body> {
    let mut response = Response::new(nothing());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let accept = derive_accept_key(key.map_or(b"", HeaderValue::as_bytes));
    let headers = response.headers_mut();
    for (name, value) in end_to_end(&link.headers) {
        headers.append(name, value.clone());
    }
    if let Some(rules) = rules {
        header_rules::apply(rules, headers, |_| false);
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let extensions = agreed.deflate.map(|deflate| HeaderValue::from_str(&deflate.to_client()));
    let made = [
        (header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(&accept).ok()),
        (header::SEC_WEBSOCKET_PROTOCOL, link.headers.get(header::SEC_WEBSOCKET_PROTOCOL).cloned()),
        (header::SEC_WEBSOCKET_EXTENSIONS, extensions.and_then(Result::ok)),
    ];
    for (name, value) in made {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    response
}

/// A backend's redirect or refusal, with its headers and body.
fn relayed(answer: Response<Incoming>, rules: Option<&HeaderRules>) -> Response<Body> {
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
    response
}

fn denied(denial: &Denial) -> Response<Body> {
    let mut response = plain(denial.status, denial.sentence);
    if let Some(seconds) = denial.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn busy(sentence: &'static str) -> Response<Body> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, sentence);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn plain(status: StatusCode, sentence: &'static str) -> Response<Body> {
    let mut response =
        Response::new(Full::from(format!("{sentence}\n")).map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONNECTION, ONE_REQUEST);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn nothing() -> Body {
    Full::default().map_err(|never| match never {}).boxed()
}
