//! What every request meets first, whatever it asks for: who it is from, and what is answered before its form is looked at.

use std::ops::ControlFlow;

use http::{Request, Response};

use super::connection::{Caller, ClientConnection};
use super::response::ResponseBody;
use super::{balancer_page, redirect, to_https};
use crate::snapshot::Snapshot;

impl ClientConnection {
    /// Meets a request; `fragment`: its target had one. It ends with an answer that is counted where it is given: to a
    /// balancer's look, or of a route that sends its clients on. Or it goes on, for this caller, and with the answer if it
    /// should have come over TLS.
    pub(super) fn meets<B>(
        &self,
        snapshot: &Snapshot,
        request: &mut Request<B>,
        fragment: bool,
    ) -> ControlFlow<Response<ResponseBody>, (Caller, Option<Response<ResponseBody>>)> {
        if let Some(page) =
            balancer_page::answer(&self.broker, &self.listener, snapshot, request.uri().path())
        {
            return ControlFlow::Break(page);
        }
        let caller = self.caller(snapshot, request);
        let elsewhere = self.settings(snapshot).is_some_and(|listener| listener.redirect_to_https);
        let elsewhere = elsewhere.then(|| to_https::answer(request, &caller.hops)).flatten();
        let client = caller.peer.client;
        if elsewhere.is_none()
            && !fragment
            && let Some(sent) = redirect::answer(&self.broker, &self.listener, snapshot, client, request)
        {
            return ControlFlow::Break(sent);
        }
        ControlFlow::Continue((caller, elsewhere))
    }
}
