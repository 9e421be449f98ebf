//! Clients that come back to their sessions: finding the session, the answer, and handing the connection over. No backend
//! is asked, and no place is taken.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http::header::{self, HeaderMap, HeaderValue};
use steadfast_protocol::steadfast_v1::client_wire::{Reason, Resume};

use crate::config::settings::HeaderRules;
use crate::downstream::response::Switching;
use crate::net::stream::Stream;
use crate::routing::binding::RouteBinding;
use crate::session::resumption::Arrival;

use super::offer::Offered;
use super::{ClientConnection, Next, UpgradeAnswer};

/// A session that goes on with another connection of its client's.
pub(in crate::downstream) struct ReturningClient {
    session: u128,
    address: SocketAddr,
    /// `None`: its client does not link the shim.
    resume: Option<Resume>,
    /// The subprotocol to answer.
    protocol: Option<HeaderValue>,
}

impl ClientConnection {
    /// Finds the session to which a client comes back.
    ///
    /// # Errors
    /// Why the client gets a session of its own instead.
    pub(super) fn find(
        &self,
        offered: &Offered,
        binding: &RouteBinding,
        address: SocketAddr,
        headers: &HeaderMap,
    ) -> Result<ReturningClient, Reason> {
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
        let protocol = offered.spoken_again(entry.protocol(), resume.is_some()).ok_or(Reason::Unknown)?;
        Ok(ReturningClient { session: entry.id, address, resume, protocol })
    }

    /// The client's new connection is a raw socket now: its session's task takes it over.
    pub(in crate::downstream) fn hand_over(&self, returning: ReturningClient, stream: Stream, early: Bytes) {
        let ReturningClient { session, address: client, resume, .. } = returning;
        self.broker.sessions.returns.arrive(session, Arrival { client, stream, early, resume });
    }
}

impl ReturningClient {
    /// The session goes on when the client has got this.
    pub(super) fn answer<B>(self, request: &Request<B>, rules: Option<&HeaderRules>) -> UpgradeAnswer {
        let switching = Switching {
            key: request.headers().get(header::SEC_WEBSOCKET_KEY),
            headers: None,
            rules,
            cookie: None,
            protocol: self.protocol.clone(),
            deflate: None,
        };
        UpgradeAnswer::Switches(switching.lines(), Next::Returns(self))
    }
}
