//! Which route a request takes.

use std::net::Ipv6Addr;

use http::Request;
use http::header::{self, HeaderMap, HeaderValue};

use crate::config::settings::{
    HeaderMatch, HostPattern, PathMatch, QueryMatch, Route, RouteKind, ValueMatch,
};
use crate::http::hostname::{is_below, is_port};
use crate::http::token_list::asks_for_websocket;

/// What a route is chosen by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RouteRequest<'a> {
    /// The Host header. A request without one, or with one that is no host (RFC 9110, 7.2), takes
    /// routes that name no host.
    pub(crate) host: Option<&'a [u8]>,
    /// Without the query and compared byte by byte, as the client wrote it: neither `//`, `.`
    /// and `..`, nor `%2f` and other escapes, nor letter case are normalised. The backend gets the same
    /// bytes, and what it makes of them is not known here; a normalised path would be judged as one thing
    /// and served as another. So `/chat` is not the path of `//chat`, `/%63hat` or `/x/../chat`, and what
    /// must be out of reach is kept so by naming the paths that are open, not those that are closed.
    pub(crate) path: &'a str,
    /// What stands behind the path's `?`, as it was written.
    pub(crate) query: Option<&'a str>,
    pub(crate) headers: &'a HeaderMap,
    /// It asks for a WebSocket.
    pub(crate) is_websocket: bool,
}

/// Why no route is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoute {
    /// None fits.
    Nothing,
    /// A route fits that is for WebSockets, and the request asks for none.
    OnlyWebSocket,
    /// A route fits that is for other requests, and this one asks for a WebSocket.
    OnlyHttp,
}

impl<'a> RouteRequest<'a> {
    /// Of a request. The host of a whole URL counts in place of the Host header (RFC 9112, 3.2.2).
    pub(crate) fn of<B>(request: &'a Request<B>) -> RouteRequest<'a> {
        let (uri, headers) = (request.uri(), request.headers());
        let named = uri.authority().map(|authority| authority.as_str().as_bytes());
        RouteRequest {
            host: named.or_else(|| headers.get(header::HOST).map(HeaderValue::as_bytes)),
            path: uri.path(),
            query: uri.query(),
            headers,
            is_websocket: asks_for_websocket(headers),
        }
    }
}

/// The place of the first route whose conditions all hold.
///
/// # Errors
///
/// Why there is none. Of a route whose conditions hold but for its kind it says that.
pub(crate) fn find(routes: &[Route], asked: &RouteRequest<'_>) -> Result<usize, NoRoute> {
    let host = asked.host.and_then(Host::parse);
    let fits = |route: &&Route| {
        fits_host(&route.hosts, host.as_ref())
            && route.path.as_ref().is_none_or(|wanted| fits_path(wanted, asked.path))
            && route.headers.iter().all(|wanted| fits_header(wanted, asked.headers))
            && route.queries.iter().all(|wanted| fits_query(wanted, asked.query))
    };
    let mut none = NoRoute::Nothing;
    for (number, route) in routes.iter().enumerate().filter(|(_, route)| fits(route)) {
        match route.kind {
            RouteKind::WebSocket if !asked.is_websocket => none = NoRoute::OnlyWebSocket,
            RouteKind::Http if asked.is_websocket => none = NoRoute::OnlyHttp,
            RouteKind::WebSocket | RouteKind::Http | RouteKind::Any => return Ok(number),
        }
    }
    Err(none)
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

/// A parameter that came several times fits when one of its values does. Names and values are decoded as forms are: `+` is
/// a space, and bytes that are no UTF-8 become U+FFFD.
fn fits_query(wanted: &QueryMatch, query: Option<&str>) -> bool {
    let parameters = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let mut values = parameters.filter(|(name, _)| *name == wanted.name).map(|(_, value)| value);
    match &wanted.value {
        None => values.next().is_some(),
        Some(ValueMatch::Exact(wanted)) => values.any(|value| value == wanted.as_str()),
        Some(ValueMatch::Regex(wanted)) => values.any(|value| wanted.is_match(&value)),
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
            queries: Vec::new(),
            kind: RouteKind::Any,
            pool: "default".into(),
            redirect: None,
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

    /// A plain request.
    fn asked<'a>(host: Option<&'a [u8]>, path: &'a str, headers: &'a HeaderMap) -> RouteRequest<'a> {
        RouteRequest { host, path, query: None, headers, is_websocket: false }
    }

    fn first(routes: &[Route], host: Option<&[u8]>, path: &str, headers: &HeaderMap) -> Option<usize> {
        find(routes, &asked(host, path, headers)).ok()
    }

    fn takes_host(routes: &[Route], host: &str) -> bool {
        first(routes, Some(host.as_bytes()), "/", &HeaderMap::new()).is_some()
    }

    fn takes_path(routes: &[Route], path: &str) -> bool {
        first(routes, None, path, &HeaderMap::new()).is_some()
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
        first(routes, None, "/", &headers).is_some()
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
        let none = |routes: &[Route]| first(routes, None, "/", &HeaderMap::new());
        assert_eq!(none(&exact("example.com")), None);
        assert_eq!(none(&[route()]), Some(0));
        assert!(takes_host(&[route()], "not a host:x"));
        assert_eq!(first(&exact("a.com"), Some(b"\xff"), "/", &HeaderMap::new()), None);
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
        assert_eq!(first(&routes, Some(b"a.com"), "/chat", &headers), Some(1));
        headers.insert("x-tenant", HeaderValue::from_static("blue"));
        assert_eq!(first(&routes, Some(b"a.com"), "/chat", &headers), Some(0));
        assert_eq!(first(&routes, Some(b"a.com"), "/", &headers), Some(1));
        assert_eq!(first(&routes, Some(b"b.com"), "/chat", &headers), Some(2));
        assert_eq!(first(&routes[..2], Some(b"b.com"), "/chat", &headers), None);
        assert_eq!(first(&[], Some(b"a.com"), "/", &headers), None);
    }

    fn wants(name: &str, value: Option<ValueMatch>) -> QueryMatch {
        QueryMatch { name: name.into(), value }
    }

    fn of_kind(kind: RouteKind) -> Route {
        Route { kind, ..route() }
    }

    fn takes_query(conditions: &[QueryMatch], query: Option<&str>) -> bool {
        let routes = [Route { queries: conditions.to_vec(), ..route() }];
        let headers = HeaderMap::new();
        find(&routes, &RouteRequest { query, ..asked(None, "/", &headers) }).is_ok()
    }

    fn way(routes: &[Route], query: &str, is_websocket: bool) -> Result<usize, NoRoute> {
        let headers = HeaderMap::new();
        find(
            routes,
            &RouteRequest { query: Some(query), is_websocket, ..asked(None, "/socket.io/", &headers) },
        )
    }

    #[test]
    fn a_parameter_is_there_or_one_of_its_values_fits() {
        let there = [wants("sid", None)];
        for query in ["sid=7", "sid", "sid=", "a=b&sid=7", "%73id=7", "&&sid"] {
            assert!(takes_query(&there, Some(query)), "{query}");
        }
        for query in ["", "Sid=7", "asid=7", "a=sid", "sid+=7", "%2573id=7"] {
            assert!(!takes_query(&there, Some(query)), "{query}");
        }
        assert!(!takes_query(&there, None));
        let polling = [wants("transport", Some(ValueMatch::Exact("polling".into())))];
        for query in
            ["EIO=4&transport=polling", "transport=websocket&transport=polling", "transport=%70olling"]
        {
            assert!(takes_query(&polling, Some(query)), "{query}");
        }
        for query in
            ["transport=websocket", "transport=Polling", "transport=polling+", "transport", "polling"]
        {
            assert!(!takes_query(&polling, Some(query)), "{query}");
        }
        let number = [wants("room", Some(ValueMatch::Regex(regex("^[0-9]+$"))))];
        assert!(takes_query(&number, Some("room=x&room=7")) && !takes_query(&number, Some("room=7x")));
        assert!(takes_query(&[wants("a", Some(ValueMatch::Exact(String::new())))], Some("a")));
    }

    #[test]
    fn parameters_are_decoded_as_forms_are() {
        for (value, query) in [
            ("a b", "x=a+b"),
            ("a b", "x=a%20b"),
            ("a+b", "x=a%2Bb"),
            ("é", "x=%c3%a9"),
            ("\u{fffd}", "x=%ff"),
            ("%zz", "x=%zz"),
            ("a=b", "x=a=b"),
        ] {
            assert!(
                takes_query(&[wants("x", Some(ValueMatch::Exact(value.into())))], Some(query)),
                "{query}"
            );
        }
    }

    #[test]
    fn all_parameters_hold() {
        let both = [wants("a", None), wants("b", Some(ValueMatch::Exact("1".into())))];
        assert!(takes_query(&both, Some("b=1&a=2")));
        assert!(!takes_query(&both, Some("b=1")) && !takes_query(&both, Some("a=1&b=2")));
        // Of one name, each condition may be met by another of its values.
        let twice = ["1", "2"].map(|value| wants("a", Some(ValueMatch::Exact(value.into()))));
        assert!(takes_query(&twice, Some("a=2&a=1")) && !takes_query(&twice, Some("a=1&a=1")));
    }

    #[test]
    fn the_two_transports_of_socket_io_take_two_ways() {
        let transport = |name: &str| wants("transport", Some(ValueMatch::Exact(name.into())));
        let routes = [
            Route {
                queries: vec![transport("websocket"), wants("sid", None)],
                ..of_kind(RouteKind::WebSocket)
            },
            Route { queries: vec![transport("websocket")], ..of_kind(RouteKind::WebSocket) },
            Route { queries: vec![transport("polling")], ..of_kind(RouteKind::Http) },
        ];
        assert_eq!(way(&routes, "EIO=4&transport=polling&t=abc", false), Ok(2));
        assert_eq!(way(&routes, "EIO=4&transport=polling&t=abc&sid=x", false), Ok(2));
        assert_eq!(way(&routes, "EIO=4&transport=websocket&sid=x", true), Ok(0));
        assert_eq!(way(&routes, "EIO=4&transport=websocket", true), Ok(1));
        assert_eq!(way(&routes, "EIO=4&transport=websocket", false), Err(NoRoute::OnlyWebSocket));
        assert_eq!(way(&routes, "EIO=4&transport=polling", true), Err(NoRoute::OnlyHttp));
        assert_eq!(way(&routes, "EIO=4&transport=webtransport", true), Err(NoRoute::Nothing));
    }

    #[test]
    fn a_route_of_the_other_kind_is_passed_over() {
        use RouteKind::{Any, Http, WebSocket};
        let kinds = |kinds: &[RouteKind]| kinds.iter().copied().map(of_kind).collect::<Vec<_>>();
        for (routes, plain, websocket) in [
            (&[WebSocket, Http, Any][..], Ok(1), Ok(0)),
            (&[Http, WebSocket], Ok(0), Ok(1)),
            (&[Http, Any], Ok(0), Ok(1)),
            (&[Any, Http, WebSocket], Ok(0), Ok(0)),
            (&[WebSocket, WebSocket], Err(NoRoute::OnlyWebSocket), Ok(0)),
            (&[Http], Ok(0), Err(NoRoute::OnlyHttp)),
            (&[], Err(NoRoute::Nothing), Err(NoRoute::Nothing)),
        ] {
            assert_eq!(way(&kinds(routes), "", false), plain, "{routes:?}");
            assert_eq!(way(&kinds(routes), "", true), websocket, "{routes:?}");
        }
        // What does not fit otherwise says nothing.
        let elsewhere = [Route { path: Some(PathMatch::Exact("/x".into())), ..of_kind(WebSocket) }];
        assert_eq!(way(&elsewhere, "", false), Err(NoRoute::Nothing));
    }

    #[test]
    fn a_request_tells_what_it_asks_for() {
        let request = |target: &str, headers: &[(&str, &str)]| {
            let request =
                headers.iter().fold(Request::get(target), |made, (name, value)| made.header(*name, *value));
            request.body(()).expect("a request")
        };
        let plain = request("/a?b=c", &[("host", "a.com"), ("upgrade", "h2c"), ("connection", "upgrade")]);
        let RouteRequest { host, path, query, is_websocket, .. } = RouteRequest::of(&plain);
        assert_eq!((host, path, query, is_websocket), (Some(&b"a.com"[..]), "/a", Some("b=c"), false));
        let upgrade = request("http://b.com:80/a", &[("host", "a.com"), ("upgrade", "h2c, WebSocket")]);
        let RouteRequest { host, path, query, is_websocket, .. } = RouteRequest::of(&upgrade);
        assert_eq!((host, path, query, is_websocket), (Some(&b"b.com:80"[..]), "/a", None, true));
    }

    /// The values of a parameter, as whoever writes it means them.
    fn written(pairs: &[(&str, &str)]) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
    }

    proptest! {
        /// However a form writes it, a parameter fits what it means, and nothing else.
        #[test]
        fn a_parameter_fits_what_it_means(
            pairs in prop::collection::vec(("[ab]", "[ab &=+%é]{0,2}"), 0..6),
            name in "[ab]",
            value in prop::option::of("[ab &=+%é]{0,2}"),
        ) {
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let expected = pairs.iter().any(|(found, has)| {
                *found == name && value.as_ref().is_none_or(|value| has == value)
            });
            let conditions = [wants(&name, value.map(ValueMatch::Exact))];
            prop_assert_eq!(takes_query(&conditions, Some(&written(&pairs))), expected);
        }

        /// Any bytes that a target may have are a query.
        #[test]
        fn any_query_fits_or_does_not(query in "[!-~]{0,60}") {
            let there = takes_query(&[wants("a", None)], Some(&query));
            let any = takes_query(&[wants("a", Some(ValueMatch::Regex(regex(""))))], Some(&query));
            prop_assert_eq!(there, any);
        }

        /// The first route that is for such requests is taken, whatever stands between; without one it is said that
        /// there are others.
        #[test]
        fn kinds_only_pass_over(
            kinds in prop::collection::vec(
                prop::sample::select(&[RouteKind::WebSocket, RouteKind::Http, RouteKind::Any][..]),
                0..6,
            ),
            is_websocket: bool,
        ) {
            let other = if is_websocket { RouteKind::Http } else { RouteKind::WebSocket };
            let why = if is_websocket { NoRoute::OnlyHttp } else { NoRoute::OnlyWebSocket };
            let none = if kinds.is_empty() { NoRoute::Nothing } else { why };
            let routes: Vec<_> = kinds.iter().copied().map(of_kind).collect();
            let expected = kinds.iter().position(|kind| *kind != other).ok_or(none);
            prop_assert_eq!(way(&routes, "", is_websocket), expected);
        }

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
