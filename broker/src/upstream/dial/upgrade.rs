//! The upgrade of a connection to a backend: what it is asked, and what its answer means. Whether that is the last word
//! is for the search to say.

use std::sync::atomic::Ordering::Relaxed;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderMap;
use steadfast_protocol::time::Time;
use steadfast_protocol::websocket::deflate::Agreement;
use tokio::time::timeout;

use crate::clock;
use crate::http::backend_headers::{check_upgrade, requests_drain};
use crate::http::header_case::spell;
use crate::http::replay_request::BackendOffer;
use crate::net::stream::Stream;
use crate::upstream::pool::DialSettings;

use super::Link;
use super::connect::DialPermit;
use super::consequences::linked;
use super::exchange::{Answer, NoAnswer, Switched, exchange};
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
pub(super) struct Upgraded {
    stream: Stream,
    early: Bytes,
    headers: HeaderMap,
    deflate: Option<Agreement>,
    attempt: u32,
}

/// Why the session is not linked.
pub(super) enum NotLinked {
    /// Without compression it may be: the backend asks for a context that cannot be moved, or may not know what is
    /// offered.
    Compressed,
    Otherwise(DialOutcome),
}

/// Asks a backend to take the session, on a connection that was begun then.
///
/// # Errors
/// What its answer means instead, or that none has come.
pub(super) async fn upgrade(
    search: &BackendSearch<'_>,
    stream: Stream,
    begun: Time,
    compress: bool,
) -> Result<Upgraded, NotLinked> {
    let DialSettings { upgrade: limit, manner, .. } = search.pool.snapshot().dialing;
    let asked = Asked {
        offer: search.terms.offer(compress),
        compress,
        key: STANDARD.encode(rand::random::<u128>().to_ne_bytes()),
        attempt: 1 + search.attempts.fetch_add(1, Relaxed),
    };
    let Asked { offer, key, attempt, .. } = &asked;
    let mut request = search.handshake.request(search.client.ip(), key, offer, search.session, *attempt);
    spell(&mut request, manner.case);
    let outcome = match timeout(limit, exchange(stream, &request, manner)).await {
        Ok(Ok(Answer::Switched(switched))) => return taken(search, &asked, switched),
        // Some do not decline parameters that they do not know, but refuse the request.
        Ok(Ok(Answer::Other(answer)))
            if answer.status() == StatusCode::BAD_REQUEST
                && offer.extensions.is_some()
                && search.terms.are_first() =>
        {
            return Err(NotLinked::Compressed);
        }
        Ok(Ok(Answer::Other(answer))) => DialOutcome::Answered(Box::new(answer)),
        Ok(Err(NoAnswer::OverLimit)) => DialOutcome::OverLimit,
        Ok(Err(NoAnswer::HungUp(why))) => DialOutcome::HungUp(HangUp::new(begun, &why)),
        Ok(Err(NoAnswer::Failed(why))) => DialOutcome::Failed(format!("the upgrade failed: {why}")),
        Err(_) => DialOutcome::Failed(format!("no answer to the upgrade within {limit:?}")),
    };
    Err(NotLinked::Otherwise(outcome))
}

/// The backend has switched. Whether it has taken the session is in its headers.
fn taken(search: &BackendSearch<'_>, asked: &Asked, switched: Switched) -> Result<Upgraded, NotLinked> {
    let Switched { stream, headers, early } = switched;
    check_upgrade(&headers, &asked.key)
        .map_err(|why| NotLinked::Otherwise(DialOutcome::Failed(why.to_owned())))?;
    let deflate = search.terms.judge(&headers, asked.compress).map_err(|misfit| match misfit {
        Misfit::Compressed => NotLinked::Compressed,
        Misfit::Incompatible(why) => NotLinked::Otherwise(DialOutcome::Incompatible(why)),
    })?;
    Ok(Upgraded { stream, early, headers, deflate, attempt: asked.attempt })
}

impl Upgraded {
    /// The session is on its backend from now on.
    pub(super) fn linked(self, search: &BackendSearch<'_>, permit: DialPermit<'_>) -> Link {
        let Upgraded { stream, early, headers, deflate, attempt } = self;
        let DialPermit { mut lease, turn, .. } = permit;
        let now = clock::now();
        lease.linked(now, search.client.ip());
        search.linked(now);
        search.pool.placed(now, search.session);
        linked(search.pool, lease.backend());
        if requests_drain(&headers) {
            lease.backend().asked_in_upgrade(now);
        }
        Link { lease, stream, early, headers, deflate, epoch: attempt.into(), turn }
    }
}
