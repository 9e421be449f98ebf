//! What is written arrives in the settings.

use std::time::Duration;

use super::super::settings::{
    Ack, Agent, BackendSettings, Balance, Check, Discovery, HashKey, HeaderCase, HeaderRules, Health,
    HostPattern, OriginPattern, PathMatch, Query, Route, Settings, ValueMatch,
};
use super::super::{Overrides, parse};

const BACKEND: &str = "[[pool.backend]]\nurl = \"ws://127.0.0.1:9001\"\n";

fn settings(text: &str) -> Settings {
    parse(&format!("[[listener]]\naddress = \"127.0.0.1:0\"\n{text}"), &Overrides::default())
        .expect("a sound configuration")
}

/// One pool with these keys in front of its tables.
fn pool(keys: &str) -> super::PoolSettings {
    settings(&format!("[[pool]]\nname = \"chat\"\n{keys}\n{BACKEND}")).pools.remove(0)
}

/// One route with these keys in front of its tables.
fn route(keys: &str) -> Route {
    settings(&format!("[[route]]\npool = \"chat\"\n{keys}\n[[pool]]\nname = \"chat\"\n{BACKEND}"))
        .routes
        .remove(0)
}

#[test]
fn paths_are_matched_as_their_key_says() {
    assert!(matches!(route("path = '/a'").path, Some(PathMatch::Exact(path)) if path == "/a"));
    assert!(matches!(route("path_prefix = '/a'").path, Some(PathMatch::Prefix(path)) if path == "/a"));
    assert!(
        matches!(route("path_regex = '^/a$'").path, Some(PathMatch::Regex(regex)) if regex.is_match("/a"))
    );
    assert!(route("").path.is_none());
}

#[test]
fn headers_are_matched_as_their_keys_say() {
    let text = "header = [{ name = 'A', value = 'x' }, { name = 'B', regex = '^y$' }, { name = 'C' }]";
    let [exact, regex, there] = &route(text).headers[..] else { panic!("three headers") };
    assert!(exact.name == "a" && matches!(&exact.value, Some(ValueMatch::Exact(value)) if value == "x"));
    assert!(
        regex.name == "b" && matches!(&regex.value, Some(ValueMatch::Regex(regex)) if regex.is_match("y"))
    );
    assert!(there.name == "c" && there.value.is_none());
}

#[test]
fn a_route_has_a_name_hosts_and_rules() {
    let plain = route("");
    assert_eq!((plain.name.as_str(), plain.pool.as_str()), ("route-1", "chat"));
    assert!(plain.hosts.is_empty() && plain.access.allow.is_empty() && plain.request_headers.pass.is_none());

    let full = route(
        "name = 'rooms'\nhost = ['A.example', '*.b.example']\n[route.request_headers]\npass = []\nblock = 'X-A'\n\
         set = { Host = 'c' }\nadd = { X-B = 'd' }\n[route.response_headers]\npass = 'X-C'",
    );
    assert_eq!(full.name, "rooms");
    let hosts = [HostPattern::Exact("a.example".to_owned()), HostPattern::Suffix(".b.example".to_owned())];
    assert_eq!(full.hosts, hosts);
    let HeaderRules { pass, block, set, add } = full.request_headers;
    assert_eq!((pass, block.len()), (Some(Vec::new()), 1));
    assert!(
        block[0] == "x-a" && set[0].0 == "host" && set[0].1 == "c" && add[0].0 == "x-b" && add[0].1 == "d"
    );
    assert_eq!(full.response_headers.pass.map(|names| names.len()), Some(1));
}

#[test]
fn access_is_read_at_both_places() {
    let keys = "allow = '10.0.0.0/8'\ndeny = ['10.6.6.6']\norigins = 'https://*.example.com'\nupgrades_per_second = 3";
    let text = format!("[access]\n{keys}\nsessions_per_address = 7\n[[pool]]\nname = 'chat'\n{BACKEND}");
    for access in [settings(&text).access, route(&format!("[route.access]\n{keys}")).access] {
        assert_eq!(
            (access.allow[0].to_string(), access.deny[0].to_string()),
            ("10.0.0.0/8".into(), "10.6.6.6/32".into())
        );
        let below = OriginPattern::Below { scheme: "https".to_owned(), suffix: ".example.com".to_owned() };
        assert_eq!(access.origins, [below]);
        assert_eq!(
            (access.upgrades_per_second, access.upgrades_burst),
            (Some(3), 3),
            "the burst is the rate"
        );
    }
    assert_eq!(settings(&text).access.sessions_per_address, Some(7));
    assert_eq!(route(&format!("[route.access]\n{keys}\nupgrades_burst = 9")).access.upgrades_burst, 9);
}

#[test]
fn names_of_headers_are_spelled_for_each_listener_and_pool() {
    let cases = |keys: &str| {
        let pool = format!("[[pool]]\nname = 'chat'\n{BACKEND}");
        let settings = settings(&format!("{keys}\n{pool}"));
        settings.listeners[0].header_case
    };
    assert_eq!((cases(""), pool("").header_case), (HeaderCase::Lower, HeaderCase::Lower));
    let title = "header_case = 'title'";
    assert_eq!((cases(title), pool(title).header_case), (HeaderCase::Title, HeaderCase::Title));
}

#[test]
fn each_way_of_balancing_has_its_word() {
    for (keys, expected) in [
        ("", Balance::LeastSessions),
        ("balance = 'least_sessions'", Balance::LeastSessions),
        ("balance = 'round_robin'", Balance::RoundRobin),
        ("balance = 'power_of_two'", Balance::PowerOfTwo),
        ("balance = 'random'", Balance::Random),
        ("balance = 'source'", Balance::Source),
        ("balance = 'hash'\nhash_key = 'path:2'", Balance::Hash(HashKey::Path(2))),
    ] {
        assert_eq!(pool(keys).balance, expected, "{keys}");
    }
}

#[test]
fn a_pool_says_what_its_sessions_may_keep() {
    let default = pool("");
    assert_eq!((default.ack, default.capsule), (Ack::Pong, 64 << 10));
    assert_eq!((default.resume_window, default.plain_resume), (Duration::from_secs(120), false));

    let written = pool("ack = 'shim'\ncapsule = '16MiB'\nresume_window = '1day'\nplain_resume = true");
    assert_eq!((written.ack, written.capsule), (Ack::Shim, 16 << 20));
    assert_eq!((written.resume_window, written.plain_resume), (Duration::from_secs(24 * 60 * 60), true));

    let least = pool("capsule = 0\nresume_window = '0s'");
    assert_eq!((least.capsule, least.resume_window), (0, Duration::ZERO));
}

#[test]
fn checks_are_made_only_where_their_table_stands() {
    let none = pool("");
    assert_eq!((none.health, none.agent), (None, None));

    let secs = Duration::from_secs;
    let tcp = Health {
        check: Check::Tcp,
        port: None,
        interval: secs(2),
        jitter: Duration::from_millis(200),
        timeout: secs(1),
        rise: 2,
        fall: 3,
    };
    assert_eq!(pool("[pool.health]\ntype = 'tcp'").health.as_ref(), Some(&tcp));
    let check =
        Check::Http { method: "GET".to_owned(), path: "/".to_owned(), host: None, expect: vec![200..=399] };
    assert_eq!(pool("[pool.health]\ntype = 'http'").health, Some(Health { check, ..tcp.clone() }));
    let check = Check::WebSocket { path: "/a?b".to_owned(), host: Some("c".to_owned()), shim: false };
    let text = "[pool.health]\ntype = 'websocket'\npath = '/a?b'\nhost = 'c'\nport = 7\nrise = 4\nfall = 5";
    assert_eq!(pool(text).health, Some(Health { check, port: Some(7), rise: 4, fall: 5, ..tcp.clone() }));
    let text = "[pool.health]\ntype = 'http'\nmethod = 'HEAD'\nexpect = [200, '300-302']";
    let Some(Health { check: Check::Http { method, expect, .. }, .. }) = pool(text).health else {
        panic!("an http check")
    };
    assert_eq!((method.as_str(), &expect[..]), ("HEAD", &[200..=200, 300..=302][..]));

    let agent = Agent { path: "/agent".to_owned(), port: None, interval: secs(5), timeout: secs(1) };
    assert_eq!(pool("[pool.agent]").agent, Some(agent));
}

#[test]
fn backends_have_shares() {
    let pool = pool(
        "[[pool.backend]]\nurl = 'ws://a:1'\nweight = 256\nbackup = true\nmax_sessions = 9\n\
         [[pool.discovery]]\nsrv = '_ws._tcp.a'\nweight = 0\n[[pool.discovery]]\naddress = 'a:1'\nbackup = true",
    );
    let expected = BackendSettings {
        name: "a:1".to_owned(),
        host: "a".to_owned(),
        port: 1,
        tls: false,
        weight: 256,
        backup: true,
        max_sessions: Some(9),
        public_url: None,
    };
    assert_eq!(pool.backends[0], expected);
    let srv = Query::Srv { name: "_ws._tcp.a".to_owned() };
    let address = Query::Address { host: "a".to_owned(), port: 1 };
    let found = [
        Discovery { query: srv, tls: false, weight: 0, max_sessions: None, backup: false },
        Discovery { query: address, tls: false, weight: 1, max_sessions: None, backup: true },
    ];
    assert_eq!(pool.discoveries, found);
}

#[test]
fn lists_are_bounded() {
    let networks = |count: usize| {
        let list: Vec<_> = (0..count).map(|n| format!("'10.0.{}.{}'", n / 256, n % 256)).collect();
        format!(
            "[[listener]]\naddress = '127.0.0.1:0'\n[access]\ndeny = [{}]\n[[pool]]\nname = 'a'\n{BACKEND}",
            list.join(",")
        )
    };
    let settings = parse(&networks(4096), &Overrides::default()).expect("a sound configuration");
    assert_eq!(settings.access.deny.len(), 4096);
    let error = parse(&networks(4097), &Overrides::default()).expect_err("one too many");
    assert_eq!(error.to_string(), "line 4: [access] deny: 4097 entries are too many; allowed are 4096");
}
