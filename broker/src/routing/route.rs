//! Which route a request takes.

use std::net::Ipv6Addr;

use http::header::{HeaderMap, HeaderValue};

use crate::config::settings::{HeaderMatch, HostPattern, PathMatch, Route, ValueMatch};
use crate::http::hostname::{is_below, is_port};

/// The place of the first route whose conditions all hold.
///
/// `host` is the Host header. A request without one, or with one that is no host (RFC 9110, 7.2),
/// takes routes that name no host.
///
/// `path` is without the query and compared byte by byte, as the client wrote it: neither `//`, `.`
/// and `..`, nor `%2f` and other escapes, nor letter case are normalised. The backend gets the same
/// bytes, and what it makes of them is not known here; a normalised path would be judged as one thing
/// and served as another. So `/chat` is not the path of `//chat`, `/%63hat` or `/x/../chat`, and what
/// must be out of reach is kept so by naming the paths that are open, not those that are closed.
pub(crate) fn find(routes: &[Route], host: Option<&[u8]>, path: &str, headers: &HeaderMap) -> Option<usize> {
    let host = host.and_then(Host::parse);
    routes.iter().position(|route| {
        fits_host(&route.hosts, host.as_ref())
            && route.path.as_ref().is_none_or(|wanted| fits_path(wanted, path))
            && route.headers.iter().all(|wanted| fits_header(wanted, headers))
    })
}

/// What a Host header names, without the port.
#[derive(Debug, PartialEq)]
enum Host<'a> {
    /// A name or an IPv4 address, without the dot that may end it.
    Name(&'a [u8]),
    /// It stands in brackets, and can be spelled in many ways.
    V6(Ipv6Addr),
}

impl<'a> Host<'a> {
    fn parse(host: &'a [u8]) -> Option<Host<'a>> {
        if let Some(rest) = host.strip_prefix(b"[") {
            let end = rest.iter().position(|byte| *byte == b']')?;
            let address = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
            return is_port(&rest[end + 1..]).then_some(Host::V6(address));
        }
        let end = host.iter().position(|byte| *byte == b':').unwrap_or(host.len());
        let (name, port) = host.split_at(end);
        let name = name.strip_suffix(b".").unwrap_or(name);
        (!name.is_empty() && is_port(port)).then_some(Host::Name(name))
    }

    fn fits(&self, pattern: &HostPattern) -> bool {
        match (self, pattern) {
            (Host::Name(name), HostPattern::Exact(wanted)) => name.eq_ignore_ascii_case(wanted.as_bytes()),
            (Host::Name(name), HostPattern::Suffix(suffix)) => is_below(name, suffix),
            (Host::V6(address), HostPattern::Exact(wanted)) => {
                wanted.trim_matches(['[', ']']).parse() == Ok(*address)
            }
            (Host::V6(_), HostPattern::Suffix(_)) => false,
        }
    }
}

fn fits_host(patterns: &[HostPattern], host: Option<&Host<'_>>) -> bool {
    patterns.is_empty() || host.is_some_and(|host| patterns.iter().any(|pattern| host.fits(pattern)))
}

fn fits_path(wanted: &PathMatch, path: &str) -> bool {
    match wanted {
        PathMatch::Exact(wanted) => path == wanted,
        PathMatch::Prefix(wanted) => path.starts_with(wanted.as_str()),
        PathMatch::Regex(wanted) => wanted.is_match(path),
    }
}

/// A header that came several times fits when one of its values does; a list in one value is not
/// taken apart.
fn fits_header(wanted: &HeaderMatch, headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(&wanted.name).iter();
    match &wanted.value {
        None => values.next().is_some(),
        Some(wanted) => values.any(|value| fits_value(wanted, value)),
    }
}

/// Expressions are over text, so a value that is not UTF-8 fits none of them.
fn fits_value(wanted: &ValueMatch, value: &HeaderValue) -> bool {
    match wanted {
        ValueMatch::Exact(wanted) => value.as_bytes() == wanted.as_bytes(),
        ValueMatch::Regex(wanted) => std::str::from_utf8(value.as_bytes()).is_ok_and(|v| wanted.is_match(v)),
    }
}

#[cfg(test)]
mod tests {
    use http::header::HeaderName;
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;
    use crate::config::settings::{AccessSettings, HeaderRules};

    fn route() -> Route {
        Route {
            name: "route-1".into(),
            hosts: Vec::new(),
            path: None,
            headers: Vec::new(),
            pool: "default".into(),
            request_headers: HeaderRules::default(),
            response_headers: HeaderRules::default(),
            access: AccessSettings::default(),
        }
    }

    fn with_host(pattern: HostPattern) -> Vec<Route> {
        vec![Route { hosts: vec![pattern], ..route() }]
    }

    fn exact(host: &str) -> Vec<Route> {
        with_host(HostPattern::Exact(host.into()))
    }

    fn below(suffix: &str) -> Vec<Route> {
        with_host(HostPattern::Suffix(suffix.into()))
    }

    fn with_path(path: PathMatch) -> Vec<Route> {
        vec![Route { path: Some(path), ..route() }]
    }

    fn regex(pattern: &str) -> Regex {
        Regex::new(pattern).expect("a regular expression")
    }

    fn takes_host(routes: &[Route], host: &str) -> bool {
        find(routes, Some(host.as_bytes()), "/", &HeaderMap::new()).is_some()
    }

    fn takes_path(routes: &[Route], path: &str) -> bool {
        find(routes, None, path, &HeaderMap::new()).is_some()
    }

    fn tenant(value: Option<ValueMatch>) -> Vec<Route> {
        let name = HeaderName::from_static("x-tenant");
        vec![Route { headers: vec![HeaderMatch { name, value }], ..route() }]
    }

    fn takes_tenants(routes: &[Route], tenants: &[&[u8]]) -> bool {
        let mut headers = HeaderMap::new();
        for tenant in tenants {
            headers.append("x-tenant", HeaderValue::from_bytes(tenant).expect("a value"));
        }
        find(routes, None, "/", &headers).is_some()
    }

    #[test]
    fn a_host_is_compared_without_port_case_and_last_dot() {
        let routes = exact("chat.example.com");
        for host in ["chat.example.com", "Chat.Example.COM:8080", "chat.example.com.", "chat.example.com.:80"]
        {
            assert!(takes_host(&routes, host), "{host}");
        }
        assert!(takes_host(&routes, "chat.example.com:"));
        for host in
            ["", ":80", "example.com", "chat.example.com..", "chat.example.com:80x", "a@chat.example.com"]
        {
            assert!(!takes_host(&routes, host), "{host}");
        }
        assert!(!takes_host(&routes, "chat.example.com:80:80"));
        assert!(!takes_host(&routes, "[chat.example.com]"));
    }

    #[test]
    fn the_star_stands_for_names_below_only() {
        let routes = below(".example.com");
        assert!(takes_host(&routes, "a.Example.com:80"));
        assert!(takes_host(&routes, "a.b.example.com."));
        for host in ["example.com", ".example.com", "evil-example.com", "a.example.com.evil.com", "[::1]"] {
            assert!(!takes_host(&routes, host), "{host}");
        }
    }

    #[test]
    fn an_ipv6_host_is_compared_as_an_address() {
        for pattern in ["[::1]", "::1", "0:0:0:0:0:0:0:1"] {
            let routes = exact(pattern);
            assert!(takes_host(&routes, "[::1]:80"));
            assert!(takes_host(&routes, "[::1]"));
            assert!(takes_host(&routes, "[0::0:1]:"));
            for host in ["::1", "[::2]", "[::1", "[::1]80", "[::1]:x", "[]", "[", "[::1%25eth0]", "127.0.0.1"]
            {
                assert!(!takes_host(&routes, host), "{host}");
            }
        }
        assert!(takes_host(&exact("127.0.0.1"), "127.0.0.1:9000"));
    }

    #[test]
    fn without_a_host_only_routes_for_all_hosts_are_open() {
        let none = |routes: &[Route]| find(routes, None, "/", &HeaderMap::new());
        assert_eq!(none(&exact("example.com")), None);
        assert_eq!(none(&[route()]), Some(0));
        assert!(takes_host(&[route()], "not a host:x"));
        assert_eq!(find(&exact("a.com"), Some(b"\xff"), "/", &HeaderMap::new()), None);
    }

    #[test]
    fn one_of_several_hosts_is_enough() {
        let hosts = vec![HostPattern::Exact("a.com".into()), HostPattern::Suffix(".b.com".into())];
        let routes = [Route { hosts, ..route() }];
        assert!(takes_host(&routes, "a.com") && takes_host(&routes, "x.b.com"));
        assert!(!takes_host(&routes, "b.com"));
    }

    #[test]
    fn paths_are_exact_begin_so_or_fit_an_expression() {
        let routes = with_path(PathMatch::Exact("/chat".into()));
        assert!(takes_path(&routes, "/chat"));
        assert!(
            !takes_path(&routes, "/chat/") && !takes_path(&routes, "/Chat") && !takes_path(&routes, "/cha")
        );
        let routes = with_path(PathMatch::Prefix("/chat".into()));
        assert!(
            takes_path(&routes, "/chat") && takes_path(&routes, "/chats") && takes_path(&routes, "/chat/1")
        );
        assert!(!takes_path(&routes, "/cha") && !takes_path(&routes, "/a/chat"));
        let routes = with_path(PathMatch::Prefix("/chat/".into()));
        assert!(takes_path(&routes, "/chat/") && !takes_path(&routes, "/chats"));
        let routes = with_path(PathMatch::Regex(regex("^/room/[0-9]+$")));
        assert!(takes_path(&routes, "/room/7"));
        assert!(!takes_path(&routes, "/room/x") && !takes_path(&routes, "/a/room/7"));
        assert!(takes_path(&with_path(PathMatch::Regex(regex("room"))), "/a/room/7"));
    }

    #[test]
    fn a_path_is_taken_as_it_is_written() {
        let routes = with_path(PathMatch::Exact("/a/b".into()));
        for path in ["//a/b", "/a//b", "/a%2fb", "/%61/b", "/./a/b", "/x/../a/b", "/a/b/."] {
            assert!(!takes_path(&routes, path), "{path}");
            assert!(takes_path(&with_path(PathMatch::Exact(path.into())), path), "{path}");
        }
        // The broker does not resolve it, so it is still below the prefix.
        assert!(takes_path(&with_path(PathMatch::Prefix("/open/".into())), "/open/../closed"));
    }

    #[test]
    fn a_header_is_there_or_one_of_its_values_fits() {
        let routes = tenant(None);
        assert!(takes_tenants(&routes, &[b""]) && !takes_tenants(&routes, &[]));
        let routes = tenant(Some(ValueMatch::Exact("blue".into())));
        assert!(takes_tenants(&routes, &[b"blue"]) && takes_tenants(&routes, &[b"red", b"blue"]));
        assert!(!takes_tenants(&routes, &[b"red", b"Blue"]) && !takes_tenants(&routes, &[b"red, blue"]));
        assert!(!takes_tenants(&routes, &[]));
        let routes = tenant(Some(ValueMatch::Regex(regex("^b.+e$"))));
        assert!(takes_tenants(&routes, &[b"red", b"bronze"]));
        assert!(!takes_tenants(&routes, &[b"red", b"blues"]));
    }

    #[test]
    fn values_beyond_ascii_are_compared_as_bytes() {
        let routes = tenant(Some(ValueMatch::Exact("blé".into())));
        assert!(takes_tenants(&routes, &["blé".as_bytes()]));
        assert!(!takes_tenants(&routes, &[b"bl\xe9"]));
        let routes = tenant(Some(ValueMatch::Regex(regex("^bl.$"))));
        assert!(takes_tenants(&routes, &["blé".as_bytes()]));
        assert!(!takes_tenants(&routes, &[b"bl\xe9"]));
        assert!(takes_tenants(&routes, &[b"bl\xe9", b"blu"]));
        // Not even one that allows for everything.
        assert!(!takes_tenants(&tenant(Some(ValueMatch::Regex(regex("")))), &[b"bl\xe9"]));
    }

    #[test]
    fn all_conditions_hold_and_the_first_route_wins() {
        let mut both = exact("a.com").remove(0);
        both.path = Some(PathMatch::Exact("/chat".into()));
        both.headers = tenant(None).remove(0).headers;
        let routes = [both, exact("a.com").remove(0), route(), route()];
        let mut headers = HeaderMap::new();
        assert_eq!(find(&routes, Some(b"a.com"), "/chat", &headers), Some(1));
        headers.insert("x-tenant", HeaderValue::from_static("blue"));
        assert_eq!(find(&routes, Some(b"a.com"), "/chat", &headers), Some(0));
        assert_eq!(find(&routes, Some(b"a.com"), "/", &headers), Some(1));
        assert_eq!(find(&routes, Some(b"b.com"), "/chat", &headers), Some(2));
        assert_eq!(find(&routes[..2], Some(b"b.com"), "/chat", &headers), None);
        assert_eq!(find(&[], Some(b"a.com"), "/", &headers), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_host_or_none(host in prop::collection::vec(any::<u8>(), 0..40)) {
            match Host::parse(&host) {
                Some(Host::Name(name)) => {
                    prop_assert!(!name.is_empty() && !name.contains(&b':') && host.starts_with(name));
                }
                Some(Host::V6(_)) => prop_assert!(host.starts_with(b"[")),
                None => {}
            }
        }

        #[test]
        fn a_port_changes_nothing(name in "[a-z0-9.-]{1,20}", port: u16) {
            let with_port = format!("{name}:{port}");
            prop_assert_eq!(Host::parse(name.as_bytes()), Host::parse(with_port.as_bytes()));
        }

        #[test]
        fn every_spelling_of_an_address_is_one_host(address: Ipv6Addr, port: u16) {
            let long = address.segments().map(|part| format!("{part:04X}")).join(":");
            for host in [format!("[{address}]"), format!("[{long}]:{port}")] {
                prop_assert_eq!(Host::parse(host.as_bytes()), Some(Host::V6(address)));
            }
        }
    }
}
