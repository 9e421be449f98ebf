//! Listeners that speak plainly and send everybody to `https`: what was asked for is asked again on the port of TLS.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode, Uri};

use crate::http::forwarding::Hops;

use super::response::{ResponseBody, plain};

const ELSEWHERE: &str = "this service speaks TLS: ask it by https:// or wss://";

const NO_HOST: &str = "the request names no host; ask by https:// or wss://";

/// The answer to a request that has come plainly all the way; `None`: a proxy in front that is believed has spoken TLS.
pub(super) fn answer<B>(request: &Request<B>, hops: &Hops) -> Option<Response<ResponseBody>> {
    if hops.came_over_tls(request.headers()) {
        return None;
    }
    let Some(location) = location(request.uri(), request.headers()) else {
        return Some(plain(StatusCode::BAD_REQUEST, NO_HOST));
    };
    let mut response = plain(StatusCode::MOVED_PERMANENTLY, ELSEWHERE);
    response.headers_mut().insert(header::LOCATION, location);
    Some(response)
}

/// The same at `https`, at its own port.
fn location(target: &Uri, headers: &HeaderMap) -> Option<HeaderValue> {
    let named = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = target.authority().map(http::uri::Authority::as_str).or(named)?;
    // What cannot be a host's must not get into a header of ours.
    let authority: http::uri::Authority = authority.parse().ok()?;
    let path = target.path_and_query().map_or("/", |path| path.as_str());
    let path = if path.starts_with('/') { path } else { "/" };
    HeaderValue::from_str(&format!("https://{}{path}", authority.host())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(target: &str, host: Option<&str>) -> Option<String> {
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(header::HOST, host.parse().expect("a value"));
        }
        let location = location(&target.parse().expect("a target"), &headers)?;
        Some(location.to_str().expect("it is text").to_owned())
    }

    #[test]
    fn the_same_is_asked_for_at_the_port_of_tls() {
        let told = |target, host| told(target, host).expect("a host is named");
        assert_eq!(told("/chat?a=b", Some("chat.example.com:8080")), "https://chat.example.com/chat?a=b");
        assert_eq!(told("/", Some("[::1]:8080")), "https://[::1]/");
        assert_eq!(told("http://a.test:80/x", Some("b.test")), "https://a.test/x");
        assert_eq!(told("*", Some("a.test")), "https://a.test/");
    }

    #[test]
    fn without_a_host_nobody_is_sent_anywhere() {
        assert_eq!(told("/", None), None);
        for host in ["", "a b", "a/b", "a\u{e9}"] {
            assert_eq!(told("/", Some(host)), None, "{host}");
        }
    }
}
