//! The downstream upgrade: a client's HTTP request becomes a session, or gets an answer that says why not.
//! It ends when the session's task begins.

mod conversation;
mod form;
mod newcomer;
mod offer;
mod resume;
mod returning;

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use crate::http::denial::Denial;
use crate::metric;
use crate::net::stream::Stream;
use crate::routing::admission::{AddressPermits, Guard};
use crate::snapshot::Snapshot;
use crate::upstream::balance::Affinity;
use crate::upstream::pool::Pool;

use super::connection::{Caller, ClientConnection};
use super::response::{AnswerLines, ResponseBody, busy, denied, no_route, plain};
use super::target;
use form::FormRefusal;
use newcomer::{Admitted, Newcomer};
use offer::Offered;
use returning::ReturningClient;

const PAUSED: &str = "new sessions are paused here; try again later";

const FRAGMENT: &str = "a request's target has no fragment; remove what follows the #";

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

impl From<Response<ResponseBody>> for UpgradeAnswer {
    fn from(response: Response<ResponseBody>) -> UpgradeAnswer {
        UpgradeAnswer::Refused(response)
    }
}

impl ClientConnection {
    pub(super) async fn welcome(&self, mut request: Request<()>, fragment: bool) -> UpgradeAnswer {
        let snapshot = self.broker.snapshot();
        let (caller, elsewhere) = match self.meets(&snapshot, &mut request, fragment) {
            ControlFlow::Continue(met) => met,
            ControlFlow::Break(response) => return response.into(),
        };
        let client = caller.peer.client;
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
                    let newcomer = Box::write(
                        Box::new_uninit(),
                        Newcomer { caller, request, matched, offered, reason, affinity, permits },
                    );
                    self.open(newcomer).await
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
