//! The upgrade of a connection to a backend: what it is asked, what its answer means, and a second try without the
//! compression that it cannot do with.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use http::header::HeaderMap;
use http::{Response, StatusCode};
use hyper::body::Incoming;
use steadfast_protocol::time::Time;
use steadfast_protocol::websocket::deflate::Agreement;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use crate::clock;
use crate::http::backend_headers::{check_upgrade, requests_drain};
use crate::http::replay_request::BackendOffer;
use crate::net::stream::Stream;
use crate::upstream::manner::UpstreamWire;
use crate::upstream::pool::DialSettings;

use super::Link;
use super::connect::{Connected, DialPermit};
use super::consequences::record;
use super::exchange::{NoAnswer, Watched, cause, exchange};
use super::hang_ups::HangUp;
use super::outcome::DialOutcome;
use super::search::BackendSearch;
use super::terms::Misfit;

/// A question to a backend.
struct Asked {
    offer: BackendOffer,
    compress: bool,
    /// `Sec-WebSocket-Key`.
    key: String,
    /// `Steadfast-Attempt`.
    attempt: u32,
}

/// A connection whose backend has taken the session.
struct Upgraded {
    stream: Stream,
    early: Bytes,
    headers: HeaderMap,
    deflate: Option<Agreement>,
}

/// Why the session is not linked.
enum NotLinked {
    /// Without compression it may be.
    Compressed,
    Otherwise(DialOutcome),
}

/// Asks a backend to take the session; once more and without compression, if the first answer asks for a context that
/// cannot be moved, or the backend may not know what is offered.
pub(super) async fn upgrade(search: &BackendSearch<'_>, connected: Connected<'_>) -> DialOutcome {
    let permit = match ask(search, connected, true).await {
        Err(permit) => permit,
        Ok(outcome) => return outcome,
    };
    let connected = match permit.connect(search.pool).await {
        Ok(connected) => connected,
        Err(error) => return DialOutcome::unconnected(error),
    };
    let asked = ask(search, connected, false).await;
    asked.unwrap_or(DialOutcome::Incompatible("its compression cannot be moved"))
}

/// Asks once.
///
/// # Errors
/// The permit for another dial, when without compression the backend may take the session.
async fn ask<'a>(
    search: &BackendSearch<'_>,
    connected: Connected<'a>,
    compress: bool,
) -> Result<DialOutcome, DialPermit<'a>> {
    let Connected { stream, permit, settings, begun } = connected;
    let asked = Asked {
        offer: search.terms.offer(compress),
        compress,
        key: generate_key(),
        attempt: 1 + search.attempts.fetch_add(1, Relaxed),
    };
    let upgraded = match answer(search, &asked, stream, settings, begun).await {
        Ok(answer) => meaning(search, &asked, answer).await,
        Err(outcome) => return Ok(outcome),
    };
    match upgraded {
        Ok(upgraded) => Ok(DialOutcome::Linked(Box::new(upgraded.linked(search, permit, asked.attempt)))),
        Err(NotLinked::Compressed) => Err(permit),
        Err(NotLinked::Otherwise(outcome)) => Ok(outcome),
    }
}

/// Sends the question and waits for the answer.
///
/// # Errors
/// What it means that none has come.
async fn answer(
    search: &BackendSearch<'_>,
    asked: &Asked,
    stream: Stream,
    settings: DialSettings,
    begun: Time,
) -> Result<Response<Incoming>, DialOutcome> {
    let Asked { offer, key, attempt, .. } = asked;
    let request = search.handshake.request(search.client, key, offer, search.session, *attempt);
    let DialSettings { upgrade: limit, manner, .. } = settings;
    let answer = timeout(limit, exchange(stream, request, manner)).await;
    let answer =
        answer.map_err(|_| DialOutcome::Failed(format!("no answer to the upgrade within {limit:?}")))?;
    answer.map_err(|none| match none {
        NoAnswer::Failed(error) if error.is_parse_too_large() => DialOutcome::OverLimit,
        NoAnswer::HungUp(error) => DialOutcome::HungUp(HangUp::new(begun, &error)),
        NoAnswer::Failed(error) => DialOutcome::Failed(format!("the upgrade failed: {}", cause(&error))),
    })
}

/// Understands an answer. If the backend has taken the session, its connection comes back from hyper.
async fn meaning(
    search: &BackendSearch<'_>,
    asked: &Asked,
    answer: Response<Incoming>,
) -> Result<Upgraded, NotLinked> {
    let failed = |why| NotLinked::Otherwise(DialOutcome::Failed(why));
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        // Some do not decline parameters that they do not know, but refuse the request.
        let doubtful = answer.status() == StatusCode::BAD_REQUEST && asked.offer.extensions.is_some();
        return Err(match doubtful && search.terms.are_first() {
            true => NotLinked::Compressed,
            false => NotLinked::Otherwise(DialOutcome::Answered(answer)),
        });
    }
    check_upgrade(answer.headers(), &asked.key).map_err(|why| failed(why.to_owned()))?;
    let deflate = search.terms.judge(answer.headers(), asked.compress).map_err(|misfit| match misfit {
        Misfit::Compressed => NotLinked::Compressed,
        Misfit::Incompatible(why) => NotLinked::Otherwise(DialOutcome::Incompatible(why)),
    })?;
    let headers = answer.headers().clone();
    let io = hyper::upgrade::on(answer).await;
    let io = io.map_err(|error| failed(format!("the upgrade failed: {}", cause(&error))))?;
    let Ok(parts) = io.downcast::<UpstreamWire<Watched>>() else {
        return Err(failed("the upgrade failed".to_owned()));
    };
    let (stream, early) = (parts.io.into_inner().into_inner().into_inner(), parts.read_buf);
    Ok(Upgraded { stream, early, headers, deflate })
}

impl Upgraded {
    /// The session is on its backend from now on.
    fn linked(self, search: &BackendSearch<'_>, permit: DialPermit<'_>, attempt: u32) -> Link {
        let Upgraded { stream, early, headers, deflate } = self;
        let DialPermit { mut lease, turn, .. } = permit;
        lease.linked(clock::now());
        search.linked();
        record(search.pool, lease.backend(), "linked");
        if requests_drain(&headers) {
            lease.backend().asked_in_upgrade(clock::now());
        }
        Link { lease, stream, early, headers, deflate, epoch: attempt.into(), turn }
    }
}
