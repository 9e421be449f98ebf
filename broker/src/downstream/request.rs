//! Requests that are no WebSocket upgrades: what they must be, which pool answers them, and what their clients get to
//! see of that.

use std::ops::ControlFlow;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::connection::{Caller, ClientConnection};
use super::learned_body::LearnedBody;
use super::response::{ResponseBody, busy, denied, no_route, plain};
use super::target;
use super::turns::RequestTurn;
use crate::config::settings::HeaderRules;
use crate::http::header_rules;
use crate::http::hop_by_hop::keep_end_to_end;
use crate::http::hostname::is_authority;
use crate::http::onward;
use crate::http::token_list::has_token;
use crate::metric;
use crate::snapshot::Snapshot;
use crate::upstream::balance::Affinity;
use crate::upstream::forward::{
    AnswerBody, BackendAnswer, BodyFault, Forwarding, RequestBody, RequestFailure, forward,
};

const PAUSED: &str = "this listener is paused; try again later";

const LOST: &str = "the service ended the connection without an answer; it may have had the request";

const LATE: &str = "the service has not answered in time; it may have had the request";

const CONTINUE: HeaderValue = HeaderValue::from_static("100-continue");

const TWO_LENGTHS: &str = "a request has Content-Length or Transfer-Encoding, not both";

impl ClientConnection {
    /// Has a request answered by its pool, or says why not.
    pub(super) async fn respond(
        &self,
        mut request: Request<Incoming>,
        turn: RequestTurn,
        fragment: bool,
    ) -> Response<ResponseBody> {
        let snapshot = self.broker.snapshot();
        let (caller, elsewhere) = match self.meets(&snapshot, &mut request, fragment) {
            ControlFlow::Continue(met) => met,
            ControlFlow::Break(response) => return response,
        };
        let response = match (elsewhere, check(&mut request, &turn, fragment)) {
            (Some(elsewhere), _) => elsewhere,
            (None, Ok(())) => self.answer_request(&snapshot, &caller, request, turn.is_first).await,
            (None, Err((status, sentence))) => plain(status, sentence),
        };
        self.broker.answers.count(&metric::HTTP_REQUESTS, class(response.status()));
        response
    }

    async fn answer_request(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        request: Request<Incoming>,
        is_first: bool,
    ) -> Response<ResponseBody> {
        if self.broker.pauses.is_paused(self.listener.number) {
            return busy(PAUSED);
        }
        let client = caller.peer.client;
        if let Err(denial) = self.judged(snapshot.guard.admit_request(client.ip())) {
            return denied(&denial);
        }
        let matched = match snapshot.matched(self.listener.number, &request) {
            Ok(matched) => matched,
            Err(none) => return no_route(none),
        };
        if let Some(guard) = matched.guard()
            && let Err(denial) = self.judged(guard.admit_request(client.ip()))
        {
            return denied(&denial);
        }
        if !self.takes_place() {
            return busy("no room for another connection; try again later");
        }
        let pool = &matched.binding.pool;
        let present = pool.snapshot();
        let affinity =
            Affinity::find(&present.settings.balance, client.ip(), request.uri(), request.headers());
        let over_tls = caller.hops.came_over_tls(request.headers());
        let mut identified = present.identify(request.uri(), request.headers(), over_tls);
        let whose = Forwarding {
            pool,
            client,
            destination: self.arrival.or(matched.binding.entrance()),
            affinity,
            preferred: identified.for_request(),
            is_first,
        };
        let settings = &present.settings.http;
        let most = settings.body_max;
        if most.is_some_and(|most| length(request.headers()).is_some_and(|length| length > most)) {
            return body_fault(BodyFault::Large);
        }
        let asks_first = request.version() == Version::HTTP_11
            && has_token(request.headers(), &header::EXPECT, "100-continue");
        let (mut parts, body) = request.into_parts();
        identified.strip(&mut parts.headers);
        let form = present.settings.forwarded;
        parts.headers = onward::of_request(parts.headers, (&caller.hops, form), matched.request_headers());
        parts.version = Version::HTTP_11;
        parts.extensions = http::Extensions::new();
        let body = RequestBody::of(body, most, settings.body_timeout);
        let mut request = Request::from_parts(parts, body);
        if asks_first && let Some(permit) = request.body_mut().ask_first() {
            request.headers_mut().insert(header::EXPECT, CONTINUE);
            hyper::ext::on_informational(&mut request, move |answer| {
                if answer.status() == StatusCode::CONTINUE {
                    permit.give();
                }
            });
        }
        match forward(&self.broker.sessions.dialer, &whose, request).await {
            Ok(BackendAnswer { mut response, backend }) => {
                let (name, status) = (&backend.name, response.status().as_u16());
                tracing::debug!(%client, listener = %self.listener.address, pool = &*pool.name, backend = name, status, "request");
                let cookie = identified.answered(&backend, response.headers_mut());
                let mut response = passed_back(response, matched.response_headers());
                if let Some(cookie) = cookie {
                    cookie.add_to(response.headers_mut());
                }
                match identified.learns_of_bodies() {
                    true => response.map(|body| LearnedBody::new(body, identified, backend).boxed_unsync()),
                    false => response,
                }
            }
            Err(none) => unanswered(none),
        }
    }
}

/// RFC 9112, 3.2 and 6: what a request must be, so that nobody behind us takes it for another one. Its target is a path
/// afterwards.
fn check<B>(
    request: &mut Request<B>,
    turn: &RequestTurn,
    fragment: bool,
) -> Result<(), (StatusCode, &'static str)> {
    let bad = |sentence| Err((StatusCode::BAD_REQUEST, sentence));
    if request.method() == Method::CONNECT {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "this is no proxy for CONNECT"));
    }
    if fragment {
        return bad("a request's target has no fragment; remove what follows the #");
    }
    let headers = request.headers();
    if headers.contains_key(header::TRANSFER_ENCODING)
        && (headers.contains_key(header::CONTENT_LENGTH) || turn.head.as_deref().is_some_and(says_length))
    {
        return bad(TWO_LENGTHS);
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() || (host.is_none() && request.version() == Version::HTTP_11) {
        return bad("the request needs one Host header");
    }
    if host.is_some_and(|host| !host.is_empty() && !is_authority(host.as_bytes())) {
        return bad("the Host header must be a host, with a port or without");
    }
    if request.method() == Method::OPTIONS && request.uri().path() == "*" {
        return Ok(());
    }
    target::settle(request).map_err(|sentence| (StatusCode::BAD_REQUEST, sentence))
}

/// Whether a line of this head is a Content-Length. hyper takes it out where there is a Transfer-Encoding.
fn says_length(head: &[u8]) -> bool {
    let lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let mut lines = lines.skip_while(|line| line.is_empty()).take_while(|line| !line.is_empty());
    lines.any(|line| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        name.eq_ignore_ascii_case(header::CONTENT_LENGTH.as_str().as_bytes())
    })
}

fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// A backend's answer as its client gets it.
fn passed_back(answer: Response<AnswerBody>, rules: Option<&HeaderRules>) -> Response<ResponseBody> {
    let (mut parts, mut body) = answer.into_parts();
    let headers = &mut parts.headers;
    keep_end_to_end(headers);
    body.is_event_stream = headers.get(header::CONTENT_TYPE).is_some_and(is_event_stream);
    if let Some(rules) = rules {
        // The body is passed on as it is.
        let stays = [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LENGTH];
        header_rules::apply(rules, headers, |name| stays.contains(name));
    }
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = parts.status;
    *response.headers_mut() = parts.headers;
    response
}

fn is_event_stream(kind: &HeaderValue) -> bool {
    let kind = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

fn unanswered(none: RequestFailure) -> Response<ResponseBody> {
    match none {
        RequestFailure::Full => busy("every backend of this service is full; try again later"),
        RequestFailure::Nobody => {
            metric::NO_BACKEND.count(());
            busy("no backend can answer now; try again later")
        }
        RequestFailure::Drained => busy("the backend of this service is being replaced; try again"),
        RequestFailure::Lost => plain(StatusCode::BAD_GATEWAY, LOST),
        RequestFailure::Late => plain(StatusCode::GATEWAY_TIMEOUT, LATE),
        RequestFailure::Body(fault) => body_fault(fault),
    }
}

fn body_fault(fault: BodyFault) -> Response<ResponseBody> {
    match fault {
        BodyFault::Large => {
            plain(StatusCode::PAYLOAD_TOO_LARGE, "the request's body is larger than it may be")
        }
        BodyFault::Slow => plain(StatusCode::REQUEST_TIMEOUT, "the request's body has paused for too long"),
        BodyFault::Broken => plain(StatusCode::BAD_REQUEST, "the request's body cannot be read"),
    }
}

/// As HAProxy counts answers.
fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _ => "other",
    }
}
