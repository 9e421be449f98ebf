//! The connections of the admin listener: how many there are, who makes room, and how long each step may take. Whoever
//! asks whether the broker lives gets an answer, however many others there are: else it would be killed for that.
//!
//! A connection on which no request is being answered goes when another needs its place, the oldest of the address with
//! most (`net/places.rs`). When all are busy, a few more places are left, where the pages for health are served alone.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use tokio::time::{Sleep, sleep};

use super::{AdminError, HEALTH, READY};
use crate::api::model::errors::ErrorCode;
use crate::net::address::Address;
use crate::net::patient::Patient;
use crate::net::places::{Place, Places};
use crate::pace::Pace;
use crate::{clock, metric};

/// Connections at once for all pages.
const PLACES: usize = 64;

/// Connections besides, when those are all busy, for the pages for health.
const HEALTH_PLACES: usize = 32;

/// Connections at once in all.
pub(crate) const CONNECTIONS_MAX: usize = PLACES + HEALTH_PLACES;

/// How long a step may take: a request's header, also the next one on the same connection; its body; and until some of an
/// answer is taken.
const STEP: Duration = Duration::from_secs(10);

/// After an accept that failed for want of descriptors, others get time to end.
const PAUSE: Duration = Duration::from_millis(50);

static NO_ACCEPT: Pace = Pace::new();

static SHORT: Pace = Pace::new();

/// Accepts for ever.
pub(super) async fn serve(listener: TcpListener, router: Router) {
    let (places, health) = (Places::new(PLACES), Places::new(HEALTH_PLACES));
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let address = Address::of(peer.ip());
                let short = || told_to_go(peer);
                let (place, pages) = match places.take_if_one_goes(address, short).await {
                    Some(place) => (Some(place), Pages::All),
                    None => (health.take(address, short).await, Pages::Health),
                };
                let Some(place) = place else { return };
                tokio::spawn(converse(stream, peer, Arc::new(place), pages, router.clone()));
                // It is read before the next one can need its place.
                yield_now().await;
            }
            Err(error) => {
                metric::LIMIT_HITS.count(metric::Limit::Accept);
                if let Some(left_out) = NO_ACCEPT.line(clock::now()) {
                    tracing::warn!(%error, left_out, "cannot accept a connection to the admin listener");
                }
                sleep(PAUSE).await;
            }
        }
    }
}

fn told_to_go(peer: SocketAddr) {
    metric::LIMIT_HITS.count(metric::Limit::Admin);
    if let Some(left_out) = SHORT.line(clock::now()) {
        tracing::warn!(%peer, left_out, "{TOLD_TO_GO}");
    }
}

const TOLD_TO_GO: &str = "the admin listener has as many connections as it may have; to make room for another, the oldest \
                          idle one of the address with most is closed";

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pages {
    All,
    /// Those that say whether the broker lives.
    Health,
}

/// Serves one connection, until its peer or somebody else's need ends it.
async fn converse(stream: TcpStream, peer: SocketAddr, place: Arc<Place>, pages: Pages, router: Router) {
    let (told, service) = (Arc::clone(&place), TowerToHyperService::new(router));
    let service =
        service_fn(move |request| answer(request, peer, Arc::clone(&place), pages, service.clone()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(STEP)
        .keep_alive(pages == Pages::All)
        // Who asks and leaves at once has asked.
        .half_close(true)
        .serve_connection(TokioIo::new(Patient::new(stream, STEP)), service);
    tokio::select! {
        biased;
        () = told.told() => {}
        // Why a peer has gone matters to nobody.
        _ = connection => {}
    }
}

async fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    place: Arc<Place>,
    pages: Pages,
    service: TowerToHyperService<Router>,
) -> Result<Response, Infallible> {
    if pages == Pages::Health && ![HEALTH, READY].contains(&request.uri().path()) {
        return Ok(busy());
    }
    let mut request = request.map(|body| Body::new(InTime::new(body)));
    request.extensions_mut().insert(ConnectInfo(peer));
    place.busy();
    let answer = service.call(request).await;
    place.idle();
    answer
}

/// What is said where all but the pages for health are full.
fn busy() -> Response {
    let sentence = "the admin listener is busy; try again";
    let error = AdminError::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Busy, sentence);
    ([(header::RETRY_AFTER, HeaderValue::from_static("1"))], error).into_response()
}

/// A request's body, all of which comes within a [`STEP`].
struct InTime {
    body: Incoming,
    end: Pin<Box<Sleep>>,
}

impl InTime {
    fn new(body: Incoming) -> InTime {
        InTime { body, end: Box::pin(sleep(STEP)) }
    }
}

impl HttpBody for InTime {
    type Data = <Incoming as HttpBody>::Data;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(std::io::Error::other)));
        }
        ready!(self.end.as_mut().poll(cx));
        Poll::Ready(Some(Err(late())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn late() -> std::io::Error {
    std::io::Error::from(std::io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests;
