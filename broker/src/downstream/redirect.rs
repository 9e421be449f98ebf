//! Routes that send clients to a backend: placement chooses one, and the client is told where that is. What it does there
//! the broker does not see, so for a while it counts as a session of that backend, whether it comes or not.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::{BodyExt, Full};
use percent_encoding::{CONTROLS, utf8_percent_encode};
use serde_json::json;

use crate::broker::Broker;
use crate::clock;
use crate::config::settings::RedirectSettings;
use crate::http::denial::Denial;
use crate::http::header_rules;
use crate::http::hostname::is_authority;
use crate::http::token_list::split;
use crate::metric;
use crate::routing::admission::{AddressPermits, Guard};
use crate::routing::listener::ListenerId;
use crate::routing::reserve::SentClient;
use crate::routing::route::RouteRequest;
use crate::snapshot::{RouteMatch, Snapshot};
use crate::upstream::balance::Affinity;
use crate::upstream::pool::NoLease;

use super::response::{ResponseBody, busy, denied, plain};

const ELSEWHERE: &str = "this service is reached at the address in Location";

const PAUSED: &str = "nobody is sent to a service from here at the moment; try again later";

const FORM: &str = "the request needs one Host header with a host, and a path or a URL with http, https, ws or wss as its target";

const FULL: &str = "every backend of this service is full; try again later";

const MANY: &str = "too many clients were sent to services in the last moments; try again later";

const NOBODY: &str = "no backend of this service can be named now; try again later";

/// Of absolute targets.
const SCHEMES: [&str; 4] = ["http", "ws", "https", "wss"];

/// A request to a route that redirects.
struct Redirect<'a, B> {
    broker: &'a Broker,
    listener: &'a ListenerId,
    snapshot: &'a Snapshot,
    matched: RouteMatch<'a>,
    settings: &'a RedirectSettings,
    client: SocketAddr,
    request: &'a Request<B>,
}

/// Why a client is sent nowhere.
enum RedirectRefusal {
    /// The request says not clearly what it asks for.
    Malformed,
    Paused,
    Denied(Denial),
    NoPlace(NoLease),
    /// More were sent on lately than the broker keeps in mind.
    TooMany,
}

impl RedirectRefusal {
    /// What the client is told; it is counted.
    fn response(&self) -> Response<ResponseBody> {
        match self {
            RedirectRefusal::Malformed => plain(StatusCode::BAD_REQUEST, FORM),
            RedirectRefusal::Paused => busy(PAUSED),
            RedirectRefusal::Denied(denial) => {
                metric::DENIED.count(denial.reason);
                denied(denial)
            }
            RedirectRefusal::NoPlace(NoLease::Full) => busy(FULL),
            RedirectRefusal::NoPlace(NoLease::Nobody) => {
                metric::NO_BACKEND.count(());
                busy(NOBODY)
            }
            RedirectRefusal::TooMany => busy(MANY),
        }
    }
}

/// The answer to a request that takes a route with `answer = "redirect"`, be it for a WebSocket or not, and whatever its
/// method. `None`: it takes none of these. `client`: for whom it is, with what is not believed of that taken out of its
/// headers. Its target may still be a URL.
pub(super) fn answer<B>(
    broker: &Broker,
    listener: &ListenerId,
    snapshot: &Snapshot,
    client: SocketAddr,
    request: &Request<B>,
) -> Option<Response<ResponseBody>> {
    if !snapshot.redirects {
        return None;
    }
    let matched = snapshot.matched(listener.number, request).ok()?;
    let settings = matched.redirect()?;
    let redirect = Redirect { broker, listener, snapshot, matched, settings, client, request };
    let mut response = redirect.told().unwrap_or_else(|refused| {
        let refusal = refused.response();
        let status = refusal.status();
        metric::REFUSED_UPGRADES.count(status.as_str().to_owned());
        tracing::info!(%client, listener = %listener.address, status = status.as_u16(), "sent nowhere");
        refusal
    });
    redirect.add_route_headers(response.headers_mut());
    Some(response)
}

impl<B> Redirect<'_, B> {
    fn told(&self) -> Result<Response<ResponseBody>, RedirectRefusal> {
        if !is_sound(self.request) {
            return Err(RedirectRefusal::Malformed);
        }
        if self.broker.pauses.is_paused(self.listener.number) {
            return Err(RedirectRefusal::Paused);
        }
        if self.request.method() == Method::OPTIONS {
            // Whoever asks whether it may ask goes nowhere yet.
            self.judged(Guard::readmit)?;
            return Ok(empty());
        }
        let permits = self.judged(Guard::admit)?.map(Option::flatten);
        self.sent(permits.iter().any(Option::is_some).then(|| Box::new(permits)))
    }

    /// Asks the rules that hold for all, then the route's own.
    fn judged<T>(
        &self,
        judge: impl Fn(&Guard, IpAddr, &HeaderMap) -> Result<T, Denial>,
    ) -> Result<[Option<T>; 2], RedirectRefusal> {
        let mut judgements = [None, None];
        let guards = [Some(&self.snapshot.guard), self.matched.guard()];
        for (guard, judgement) in guards.into_iter().zip(&mut judgements) {
            let Some(guard) = guard else { continue };
            let admitted = judge(guard, self.client.ip(), self.request.headers());
            *judgement = Some(admitted.map_err(RedirectRefusal::Denied)?);
        }
        Ok(judgements)
    }

    /// Chooses a backend.
    fn sent(&self, permits: AddressPermits) -> Result<Response<ResponseBody>, RedirectRefusal> {
        let (now, reserve) = (clock::now(), self.settings.reserve);
        self.broker.reserve.release(now);
        let (pool, request) = (&self.matched.binding.pool, self.request);
        let present = pool.snapshot();
        let (balance, headers) = (&present.settings.balance, request.headers());
        let affinity = Affinity::find(balance, self.client.ip(), request.uri(), headers);
        let (place, url) = pool.reserve(now, affinity).map_err(RedirectRefusal::NoPlace)?;
        let (backend, series) = (place.backend().name.clone(), place.backend().series());
        let sent = SentClient { _place: place, _permits: permits };
        if reserve.is_zero() {
            drop(sent);
        } else if !self.broker.reserve.keep(now + reserve, sent) {
            return Err(RedirectRefusal::TooMany);
        }
        metric::REDIRECTS.count((pool.name.to_string(), series));
        let (client, listener, route) = (self.client, &self.listener.address, &self.matched.binding.route);
        tracing::info!(%client, %listener, route = route.as_deref(), pool = &*pool.name, backend, "sent to a backend");
        let is_websocket = RouteRequest::of(request).is_websocket;
        let target = target(request.uri());
        Ok(if prefers_json(headers) {
            let url = url.with(is_websocket || url.websocket, &target);
            let expires = humantime::format_rfc3339_millis(clock::wall() + reserve).to_string();
            json_body(&json!({ "url": url, "backend": backend, "expires": expires }))
        } else {
            redirect(&url.with(is_websocket, &target))
        })
    }

    /// The route's rules add to all of these answers, so that pages of other origins may read them. What is in them
    /// already stays.
    fn add_route_headers(&self, headers: &mut HeaderMap) {
        let mut ruled = HeaderMap::new();
        if let Some(rules) = self.matched.response_headers() {
            header_rules::apply(rules, &mut ruled, |_| false);
        }
        let of_rule = |name: &HeaderName| !headers.contains_key(name);
        let names: Vec<HeaderName> = ruled.keys().filter(|name| of_rule(name)).cloned().collect();
        for name in names {
            for value in ruled.get_all(&name) {
                headers.append(&name, value.clone());
            }
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// Whoever reads the request line and whoever reads the Host header must come to the same host (RFC 9112, 3.2). A client
/// of HTTP/1.0 needs not name one.
fn is_sound<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host_is_sound = match (hosts.next(), hosts.next()) {
        (None, _) => request.version() < Version::HTTP_11,
        (Some(host), None) => is_authority(host.as_bytes()),
        (Some(_), Some(_)) => false,
    };
    let uri = request.uri();
    let target_is_sound = match (uri.scheme_str(), uri.authority()) {
        (None, None) => uri.path().starts_with('/'),
        (Some(scheme), Some(authority)) => {
            SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known))
                && !authority.host().is_empty()
                && is_authority(authority.as_str().as_bytes())
        }
        _ => false,
    };
    host_is_sound && target_is_sound
}

/// Path and query in ASCII. They are as the client wrote them, but for bytes that may not stand in a URL.
fn target(uri: &Uri) -> String {
    let path = utf8_percent_encode(uri.path(), CONTROLS);
    match uri.query() {
        Some(query) => format!("{path}?{}", utf8_percent_encode(query, CONTROLS)),
        None => path.to_string(),
    }
}

/// Whether JSON is named in `Accept` and no page is liked better (RFC 9110, 12.5.1). That anything will do (`*/*`) names
/// nothing.
fn prefers_json(headers: &HeaderMap) -> bool {
    let accepted = |wanted: &str| {
        let ranges = headers.get_all(header::ACCEPT).into_iter().flat_map(|value| split(value.as_bytes()));
        let qualities = ranges.filter_map(|range| {
            let mut parts = std::str::from_utf8(range).ok()?.split(';').map(str::trim);
            parts.next()?.eq_ignore_ascii_case(wanted).then(|| quality(parts))
        });
        qualities.fold(0.0, f32::max)
    };
    let json = accepted("application/json");
    json > 0.0 && json >= accepted("text/html")
}

/// The weight among the parameters of a media range. What cannot be read weighs nothing.
fn quality<'a>(parameters: impl Iterator<Item = &'a str>) -> f32 {
    let mut pairs = parameters.filter_map(|parameter| parameter.split_once('='));
    let weight = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    weight.map_or(1.0, |(_, weight)| weight.trim().parse().unwrap_or(0.0))
}

/// 307, after which the method and the body are the same (RFC 9110, 15.4.8).
fn redirect(url: &str) -> Response<ResponseBody> {
    // A public URL is checked, and the target behind it is in ASCII.
    let Ok(location) = HeaderValue::from_str(url) else { return plain(StatusCode::BAD_REQUEST, FORM) };
    let mut response = plain(StatusCode::TEMPORARY_REDIRECT, ELSEWHERE);
    response.headers_mut().insert(header::LOCATION, location);
    response
}

fn json_body(value: &serde_json::Value) -> Response<ResponseBody> {
    let mut response = plain(StatusCode::OK, "");
    *response.body_mut() = body(format!("{value}\n"));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// To a preflight (the Fetch Standard, 4.8), and to others who ask what may be asked.
fn empty() -> Response<ResponseBody> {
    let mut response = plain(StatusCode::NO_CONTENT, "");
    *response.body_mut() = body(Bytes::new());
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
}

fn body(content: impl Into<Bytes>) -> ResponseBody {
    Full::from(content.into()).map_err(|never| match never {}).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(values: &[&str]) -> bool {
        let value = |value: &&str| (header::ACCEPT, value.parse().expect("a value"));
        prefers_json(&values.iter().map(value).collect())
    }

    #[test]
    fn json_is_for_those_who_name_it_and_like_no_page_better() {
        for values in [
            &["application/json"][..],
            &["Application/JSON; charset=utf-8"],
            &["application/json, text/plain, */*"],
            &["text/plain", "application/json;q=0.1"],
            &["text/html;q=0.5, application/json; q = 0.5"],
            &["text/html;q=0, application/json;q=0.1"],
        ] {
            assert!(accepts(values), "{values:?}");
        }
        for values in [
            &[][..],
            &["*/*"],
            &["application/*"],
            &["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
            &["application/json;q=0"],
            &["application/json;q=x"],
            &["application/json;q=NaN"],
            &["text/html, application/json;q=0.9"],
            &["application/jsonp"],
            &["\u{e9}"],
        ] {
            assert!(!accepts(values), "{values:?}");
        }
    }

    #[test]
    fn path_and_query_go_on_as_they_were_written() {
        let target = |uri: &str| target(&uri.parse().expect("a target"));
        assert_eq!(target("/chat/%2f..//x?a=%20b&c"), "/chat/%2f..//x?a=%20b&c");
        assert_eq!(target("http://a.com"), "/");
        assert_eq!(target("http://a.com?x=1"), "/?x=1");
        assert_eq!(target("/?"), "/?");
        assert_eq!(target("/\u{e9}?\u{e9}"), "/%C3%A9?%C3%A9");
    }

    #[test]
    fn requests_name_one_host() {
        let request = |target: &str, version, hosts: &[&str]| {
            let request = Request::get(target).version(version);
            let request = hosts.iter().fold(request, |request, host| request.header("host", *host));
            is_sound(&request.body(()).expect("a request"))
        };
        let (new, old) = (Version::HTTP_11, Version::HTTP_10);
        assert!(request("/", new, &["a.com"]) && request("/", old, &[]) && request("/", new, &["[::1]:80"]));
        assert!(request("http://a.com/x", new, &["b.com"]) && request("WSS://a.com/x", new, &["b.com"]));
        for (target, hosts) in [
            ("/", &[][..]),
            ("/", &["a.com", "a.com"]),
            ("/", &["a@b.com"]),
            ("*", &["a.com"]),
            ("a.com:80", &["a.com"]),
            ("http://u@a.com/", &["a.com"]),
            ("ftp://a.com/", &["a.com"]),
        ] {
            assert!(!request(target, new, hosts), "{target} {hosts:?}");
        }
    }
}
