//! Who may use the API. The pages for balancers and for Prometheus are open to whoever can connect.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::uri::Authority;
use axum::http::{self, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Admin, AdminError};
use crate::api::model::errors::ErrorCode;
use crate::config::AdminToken;

/// Why a request is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GuardDenial {
    /// It does not show the token.
    Unauthorized,
    /// Others than this machine's users can connect, and there is no token.
    Closed,
    /// It names a host that is not this machine's loopback: a name of somebody's page may lead here.
    ForeignHost,
    /// It would change something, and comes from a page.
    FromPage,
}

/// Turns away requests to the API that may not use it.
pub(super) async fn check(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with("/api/") {
        return next.run(request).await;
    }
    let judged = judge(admin.broker.snapshot().settings.admin.token.as_ref(), admin.local, &request);
    match judged {
        Ok(()) => next.run(request).await,
        Err(denial) => denial.into_response(),
    }
}

/// With a token, who shows it may come in. Without one, who is on this machine may, but no page that a
/// browser on it shows: browsers name a page's origin with each of its requests that is no GET (RFC 6454,
/// 7), and a page whose own name leads to this machine still names that in `Host`.
fn judge<B>(token: Option<&AdminToken>, local: bool, request: &http::Request<B>) -> Result<(), GuardDenial> {
    if let Some(token) = token {
        let shown = bearer(request.headers()).is_some_and(|offered| token.is(offered));
        return if shown { Ok(()) } else { Err(GuardDenial::Unauthorized) };
    }
    if !local {
        return Err(GuardDenial::Closed);
    }
    if !names_loopback(request) {
        return Err(GuardDenial::ForeignHost);
    }
    if changes(request.method()) && request.headers().contains_key(header::ORIGIN) {
        return Err(GuardDenial::FromPage);
    }
    Ok(())
}

/// Whether a request with this method may change something.
pub(super) fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

/// What stands behind `Bearer` (RFC 6750, 2.1), in the only `Authorization` header.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// Whether the request is for this machine by a name that can mean no other: in its target, if that has a
/// host (RFC 9112, 3.2.2), and in each `Host`.
fn names_loopback<B>(request: &http::Request<B>) -> bool {
    let target = request.uri().authority().map(Authority::as_str);
    let hosts = request.headers().get_all(header::HOST).iter();
    let mut names = target.into_iter().chain(hosts.map(|host| host.to_str().unwrap_or_default())).peekable();
    names.peek().is_some() && names.all(is_loopback)
}

fn is_loopback(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let address = address.parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

impl IntoResponse for GuardDenial {
    fn into_response(self) -> Response {
        if self == GuardDenial::Unauthorized {
            let sentence = "show the token of the broker's [admin] table: Authorization: Bearer TOKEN";
            let error = AdminError::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, sentence);
            let scheme = HeaderValue::from_static("Bearer");
            return ([(header::WWW_AUTHENTICATE, scheme)], error).into_response();
        }
        AdminError::new(StatusCode::FORBIDDEN, ErrorCode::Forbidden, self.sentence()).into_response()
    }
}

impl GuardDenial {
    fn sentence(self) -> &'static str {
        match self {
            GuardDenial::Unauthorized => "the token is missing or wrong",
            GuardDenial::Closed => {
                "admin.address is no loopback address, and there is no token: set admin.token or \
                 admin.token_file, or use an address such as 127.0.0.1:9000"
            }
            GuardDenial::ForeignHost => {
                "without a token the API answers only requests whose Host is localhost or a loopback address"
            }
            GuardDenial::FromPage => {
                "without a token web pages may not change anything; send the request without an Origin header"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef";

    /// Judges a request with these headers; GET unless it changes something.
    fn judged(token: bool, local: bool, method: Method, headers: &[(&str, &str)]) -> Result<(), GuardDenial> {
        let token = AdminToken::new(SECRET).ok().filter(|_| token);
        let mut request = http::Request::builder().method(method).uri("/api/v1/backends");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        judge(token.as_ref(), local, &request.body(()).expect("a request"))
    }

    #[test]
    fn with_a_token_only_that_counts() {
        let right = ("authorization", "Bearer 0123456789abcdef");
        let cases: [(&[(&str, &str)], bool); 11] = [
            (&[right], true),
            (&[("authorization", "bearer  0123456789abcdef")], true),
            (&[right, ("origin", "https://example.com"), ("host", "example.com")], true),
            (&[], false),
            (&[("host", "localhost")], false),
            (&[("authorization", "0123456789abcdef")], false),
            (&[("authorization", "Basic 0123456789abcdef")], false),
            (&[("authorization", "Bearer 0123456789abcdeF")], false),
            (&[("authorization", "Bearer ")], false),
            (&[("authorization", "Bearer")], false),
            (&[right, ("authorization", "Bearer 0123456789abcdef")], false),
        ];
        for (headers, allowed) in cases {
            for method in [Method::GET, Method::POST, Method::DELETE] {
                for local in [true, false] {
                    let expected = if allowed { Ok(()) } else { Err(GuardDenial::Unauthorized) };
                    assert_eq!(judged(true, local, method.clone(), headers), expected, "{headers:?}");
                }
            }
        }
    }

    #[test]
    fn without_a_token_another_address_is_closed() {
        for method in [Method::GET, Method::POST] {
            let headers = [("host", "localhost"), ("authorization", "Bearer 0123456789abcdef")];
            assert_eq!(judged(false, false, method, &headers), Err(GuardDenial::Closed));
        }
    }

    #[test]
    fn without_a_token_the_host_must_be_loopback() {
        let good = ["localhost", "LocalHost:9000", "127.0.0.1", "127.8.9.10:80", "[::1]:9000", "[::1]"];
        for host in good {
            assert_eq!(judged(false, true, Method::GET, &[("host", host)]), Ok(()), "{host}");
        }
        let bad = [
            "example.com",
            "localhost.example.com",
            "127.0.0.1.example.com:9000",
            "10.0.0.1",
            "[2001:db8::1]",
            "0.0.0.0",
            "2130706433",
            "",
            "a b",
        ];
        for host in bad {
            for method in [Method::GET, Method::POST] {
                let verdict = judged(false, true, method, &[("host", host)]);
                assert_eq!(verdict, Err(GuardDenial::ForeignHost), "{host}");
            }
        }
        assert_eq!(judged(false, true, Method::GET, &[]), Err(GuardDenial::ForeignHost), "no Host at all");
        let two = [("host", "localhost"), ("host", "example.com")];
        assert_eq!(judged(false, true, Method::GET, &two), Err(GuardDenial::ForeignHost));
    }

    #[test]
    fn a_host_in_the_target_counts_too() {
        let judged = |uri: &str| {
            let request = http::Request::get(uri).header("host", "localhost").body(()).expect("a request");
            judge(None, true, &request)
        };
        assert_eq!(judged("http://127.0.0.1:9000/api/v1/pools"), Ok(()));
        assert_eq!(judged("http://example.com/api/v1/pools"), Err(GuardDenial::ForeignHost));
    }

    #[test]
    fn without_a_token_pages_may_look_and_not_touch() {
        let headers = [("host", "localhost:9000"), ("origin", "http://localhost:9000")];
        for (method, verdict) in [
            (Method::GET, Ok(())),
            (Method::HEAD, Ok(())),
            (Method::POST, Err(GuardDenial::FromPage)),
            (Method::PATCH, Err(GuardDenial::FromPage)),
            (Method::DELETE, Err(GuardDenial::FromPage)),
            (Method::OPTIONS, Err(GuardDenial::FromPage)),
        ] {
            assert_eq!(judged(false, true, method.clone(), &headers), verdict, "{method}");
        }
    }
}
