//! Which pool a request goes to, and what becomes of its headers on the way.

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::journal::Connection;
use steadfast_tests::sequence::home_and_other;
use steadfast_tests::upgrade::Upgrade;

/// A broker whose pools `chat`, `rooms` and `rest` have one backend each, with these routes and a listener that
/// only routes lead on from.
struct Site {
    backends: Vec<Backend>,
    broker: Broker,
}

impl Site {
    async fn with(routes: &str) -> Self {
        let mut backends = Vec::new();
        for name in ["chat", "rooms", "rest"] {
            backends.push(Backend::start(name, "").await);
        }
        let pool = |broker: steadfast_tests::broker::BrokerBuilder, backend: &Backend| {
            broker.pool(backend.name(), &[backend])
        };
        let broker = backends.iter().fold(Default::default(), pool).listener_without_pool().tables(routes);
        Self { broker: broker.start().await, backends }
    }

    /// A request to the listener without a pool.
    fn request(&self) -> Upgrade {
        Upgrade::to(self.broker.address_of(self.backends.len()))
    }

    fn host(&self, host: &str) -> Upgrade {
        self.request().replace("Host", host)
    }

    fn path(&self, path: &str) -> Upgrade {
        self.request().path(path)
    }

    /// How many connections the backends have seen, whatever came on them.
    fn touched(&self) -> usize {
        self.backends.iter().map(|backend| backend.journal().peers().len()).sum()
    }
}

/// A session that this request makes is in this pool.
async fn leads(request: Upgrade, pool: &str) -> Client {
    let mut client = request.connect().await;
    client.ask("where?", &format!("{pool}:where?")).await;
    client
}

async fn leads_nowhere(request: Upgrade) {
    let response = request.refused().await;
    assert_eq!(response.status, 404, "{request:?}");
    assert!(!response.text().is_empty(), "the answer says why");
}

/// The headers of the only session at this backend.
fn seen(backend: &Backend) -> Connection {
    let connections = backend.journal().connections();
    assert_eq!(connections.len(), 1, "at backend {}", backend.name());
    connections[0].clone()
}

#[tokio::test]
async fn by_host() {
    let routes = r#"
        [[route]]
        host = "chat.example.com"
        pool = "chat"
        [[route]]
        host = ["*.example.org", "rooms.example.net"]
        pool = "rooms"
    "#;
    let site = Site::with(routes).await;
    for host in ["chat.example.com", "Chat.Example.COM", "chat.example.com:8080"] {
        leads(site.host(host), "chat").await;
    }
    for host in ["a.example.org", "a.b.example.org:80", "rooms.example.net"] {
        leads(site.host(host), "rooms").await;
    }
    for host in ["example.com", "a.chat.example.com", "example.org", "badexample.org", "a.rooms.example.net"]
    {
        leads_nowhere(site.host(host)).await;
    }
    // A whole URL in the request line says more than the Host header.
    leads(site.host("chat.example.com").path("http://rooms.example.net/x"), "rooms").await;
    leads_nowhere(site.host("chat.example.com").path("http://example.com/x")).await;
    assert_eq!(site.touched(), 7);
}

#[tokio::test]
async fn by_path() {
    let routes = r#"
        [[route]]
        path = "/chat"
        pool = "chat"
        [[route]]
        path_prefix = "/rooms/"
        pool = "rooms"
        [[route]]
        path_regex = '^/game/\d+$'
        pool = "rest"
    "#;
    let site = Site::with(routes).await;
    for path in ["/chat", "/chat?path=/rooms/"] {
        leads(site.path(path), "chat").await;
    }
    for path in ["/rooms/", "/rooms/7/talk?x=1"] {
        leads(site.path(path), "rooms").await;
    }
    leads(site.path("/game/42?seat=3"), "rest").await;
    for path in ["/", "/chat/", "/Chat", "/%63hat", "//chat", "/rooms", "/game/4a", "/x?y=/chat"] {
        leads_nowhere(site.path(path)).await;
    }
    let lines: Vec<String> =
        site.backends[1].journal().connections().into_iter().map(|conn| conn.line).collect();
    assert_eq!(lines, ["GET /rooms/ HTTP/1.1", "GET /rooms/7/talk?x=1 HTTP/1.1"], "the path is passed on");
}

#[tokio::test]
async fn by_headers() {
    let routes = r#"
        [[route]]
        pool = "chat"
        [[route.header]]
        name = "X-Tenant"
        value = "blue"
        [[route.header]]
        name = "X-Version"
        regex = '^2\.'
        [[route]]
        pool = "rooms"
        [[route.header]]
        name = "Authorization"
    "#;
    let site = Site::with(routes).await;
    let tenant = |tenant: &str| site.request().header("x-tenant", tenant);
    leads(tenant("blue").header("X-Version", "2.1"), "chat").await;
    leads(tenant("red").header("X-Tenant", "blue").header("X-Version", "2.0"), "chat").await;
    leads(tenant("blue").header("Authorization", "Bearer x"), "rooms").await;
    leads_nowhere(tenant("blue")).await;
    leads_nowhere(tenant("blue").header("X-Version", "1.2.0")).await;
    leads_nowhere(tenant("Blue").header("X-Version", "2.1")).await;
    assert_eq!(site.touched(), 3);
}

#[tokio::test]
async fn by_the_query() {
    let routes = r#"
        [[route]]
        pool = "chat"
        [[route.query]]
        name = "tenant"
        value = "blue sky"
        [[route.query]]
        name = "version"
        regex = '^2\.'
        [[route]]
        pool = "rooms"
        [[route.query]]
        name = "room"
    "#;
    let site = Site::with(routes).await;
    for path in ["/?tenant=blue+sky&version=2.1", "/x?version=2.0&tenant=red&tenant=blue%20sky"] {
        leads(site.path(path), "chat").await;
    }
    for path in ["/?room", "/?tenant=blue+sky&version=1.2&room=7"] {
        leads(site.path(path), "rooms").await;
    }
    for path in ["/", "/?", "/?tenant=blue+sky", "/?tenant=Blue+sky&version=2.1", "/?rooms=1", "/room=1"] {
        leads_nowhere(site.path(path)).await;
    }
    let lines: Vec<String> =
        site.backends[1].journal().connections().into_iter().map(|conn| conn.line).collect();
    assert_eq!(lines[0], "GET /?room HTTP/1.1", "the query is passed on as it was written");
}

/// As Socket.IO has it: one path, and two transports that differ in a parameter.
#[tokio::test]
async fn by_the_transport() {
    let routes = r#"
        [[route]]
        path = "/socket.io/"
        kind = "websocket"
        pool = "chat"
        [[route.query]]
        name = "transport"
        value = "websocket"
        [[route]]
        path = "/socket.io/"
        kind = "http"
        pool = "rooms"
        [[route.query]]
        name = "transport"
        value = "polling"
    "#;
    let site = Site::with(routes).await;
    leads(site.path("/socket.io/?EIO=4&transport=websocket"), "chat").await;
    leads(site.path("/socket.io/?EIO=4&transport=websocket&sid=abc"), "chat").await;
    let other = site.path("/socket.io/?EIO=4&transport=polling").refused().await;
    assert_eq!(other.status, 404, "a route for other requests takes no WebSocket");
    assert!(other.text().contains("WebSocket"), "{}", other.text());
    leads_nowhere(site.path("/socket.io/?EIO=4")).await;
    let plain = site.path("/socket.io/?EIO=4&transport=websocket").without("Upgrade").without("Connection");
    let refused = plain.refused().await;
    assert_eq!((refused.status, refused.header("upgrade")), (426, Some("websocket")));
    assert_eq!(site.touched(), 2);
}

#[tokio::test]
async fn all_conditions_hold_and_the_first_match_wins() {
    let routes = r#"
        [[route]]
        host = "chat.example.com"
        path_prefix = "/v2/"
        pool = "chat"
        [[route.header]]
        name = "X-Tenant"
        value = "blue"
        [[route]]
        host = "*.example.com"
        pool = "rooms"
        [[route]]
        pool = "rest"
        [[route]]
        path = "/never"
        pool = "chat"
    "#;
    let site = Site::with(routes).await;
    let blue = |host: &str, path: &str| site.host(host).path(path).header("X-Tenant", "blue");
    leads(blue("chat.example.com", "/v2/x"), "chat").await;
    leads(site.host("chat.example.com").path("/v2/x"), "rooms").await;
    leads(blue("chat.example.com", "/v1/x"), "rooms").await;
    leads(blue("news.example.com", "/v2/x"), "rooms").await;
    leads(blue("chat.example.org", "/v2/x"), "rest").await;
    leads(blue("chat.example.org", "/never"), "rest").await;
}

#[tokio::test]
async fn without_a_match_it_is_the_listeners_pool_or_none() {
    let site = Site::with("[[route]]\npath = \"/chat\"\npool = \"chat\"").await;
    leads_nowhere(site.path("/other")).await;
    assert_eq!(site.touched(), 0, "no backend is touched");
    let refused = site.broker.metric("steadfast_refused_upgrades_total", &[("status", "404")]).await;
    assert_eq!(refused, 1.0);
    // The second pool's own listener.
    let own = site.broker.address_of(1);
    leads(Upgrade::to(own).path("/other"), "rooms").await;
    leads(Upgrade::to(own).path("/chat"), "chat").await;
    leads(site.path("/chat"), "chat").await;
}

#[tokio::test]
async fn a_session_tells_its_route_and_its_placement() {
    let routes = "[[route]]\nname = \"talk\"\npath = \"/chat\"\npool = \"chat\"\n\
                  [[route]]\npath = \"/rooms\"\npool = \"rooms\"";
    let site = Site::with(routes).await;
    let own = Upgrade::to(site.broker.address_of(2));
    let expected = [
        (site.path("/chat"), "chat", Some("talk")),
        (site.path("/rooms"), "rooms", Some("route-2")),
        (own, "rest", None),
    ];
    for (count, (request, pool, route)) in expected.into_iter().enumerate() {
        let client = leads(request, pool).await;
        let session = site.broker.wait_only_session("the present one", |own| own["pool"] == pool).await;
        assert_eq!((session["route"].as_str(), session["backend"].as_str()), (route, Some(pool)));
        assert_eq!(session["placed"], "least_sessions");
        client.close(1000, "").await;
        site.broker.wait_causes(count + 1).await;
        let line = &site.broker.access_lines()[count];
        assert_eq!((line["pool"].as_str(), line["route"].as_str()), (Some(pool), route));
    }
}

/// A pool of two behind one route with these rules, and the session's backend after the first dial.
struct Ruled {
    broker: Broker,
    backends: [Backend; 2],
}

impl Ruled {
    async fn with(flags: &str, rules: &str) -> Self {
        let backends = [Backend::start("a", flags).await, Backend::start("b", flags).await];
        let broker = Broker::over(&[&backends[0], &backends[1]]);
        let broker = broker.tables(&format!("[[route]]\npool = \"default\"\n{rules}")).start().await;
        Self { broker, backends }
    }

    /// What the first backend got, and after its death the second.
    async fn at_both(&self, client: &mut Client) -> [Connection; 2] {
        let (home, other) = home_and_other([&self.backends[0], &self.backends[1]]).await;
        client.ask("m-1", &format!("{}:m-1", home.name())).await;
        self.broker.wait_at_rest().await;
        home.kill();
        client.ask("m-2", &format!("{}:m-2", other.name())).await;
        [seen(home), seen(other)]
    }
}

#[tokio::test]
async fn request_headers_are_ruled_at_every_dial() {
    let rules = r#"
        [route.request_headers]
        pass = ["Cookie", "Origin", "X-Debug", "X-Env", "X-Via"]
        block = "X-Debug"
        set = { "X-Env" = "prod", "X-New" = "set" }
        add = { "X-Via" = "steadfast", "X-Added" = "added" }
    "#;
    let site = Ruled::with("--subprotocol chat", rules).await;
    let request = Upgrade::to(site.broker.address()).path("/room?id=7").replace("Host", "chat.example");
    let request = request.header("Cookie", "who=ann").header("Origin", "https://chat.example");
    let request = request.header("X-Debug", "1").header("X-Other", "1").header("Authorization", "Bearer x");
    let request = request.header("X-Env", "test").header("X-Env", "dev").header("X-Via", "proxy");
    let mut client = request.header("Sec-WebSocket-Protocol", "chat").connect().await;
    assert_eq!(client.response().header_values("sec-websocket-protocol"), ["chat"]);
    let both = site.at_both(&mut client).await;
    for (attempt, own) in (1..).zip(&both) {
        assert_eq!((own.attempt(), own.line.as_str()), (attempt, "GET /room?id=7 HTTP/1.1"));
        assert_eq!(own.header_values("host"), ["chat.example"], "without it there is no request");
        assert_eq!(own.header_values("cookie"), ["who=ann"]);
        assert_eq!(own.header_values("origin"), ["https://chat.example"]);
        for name in ["x-debug", "x-other", "authorization"] {
            assert_eq!(own.header_values(name), [""; 0], "{name} at dial {attempt}");
        }
        assert_eq!((own.header_values("x-env"), own.header_values("x-new")), (vec!["prod"], vec!["set"]));
        assert_eq!(own.header_values("x-via"), ["proxy", "steadfast"]);
        assert_eq!(own.header_values("x-added"), ["added"]);
        assert_eq!(own.header_values("sec-websocket-protocol"), ["chat"]);
        assert_eq!(own.header_values("x-forwarded-for"), ["127.0.0.1"]);
    }
    let [first, second] = both.map(|own| own.headers);
    let repeated = |headers: Vec<(String, String)>| -> Vec<_> {
        let fresh = ["sec-websocket-key", "steadfast-attempt"];
        headers.into_iter().filter(|(name, _)| !fresh.contains(&name.as_str())).collect()
    };
    assert_eq!(repeated(first), repeated(second));
}

#[tokio::test]
async fn blocked_headers_leave_the_others_alone() {
    let site = Ruled::with("", "[route.request_headers]\nblock = [\"X-Forwarded-For\", \"Cookie\"]").await;
    let request = Upgrade::to(site.broker.address()).header("X-Forwarded-For", "192.0.2.7");
    let mut client = request.header("Cookie", "who=ann").header("X-Other", "1").connect().await;
    for own in site.at_both(&mut client).await {
        assert_eq!(
            own.header_values("x-forwarded-for"),
            ["127.0.0.1"],
            "only the client's forged part is gone"
        );
        assert_eq!((own.header("cookie"), own.header("x-other")), (None, Some("1")));
    }
}

#[tokio::test]
async fn a_host_that_is_set_is_the_backends_and_not_the_clients() {
    let site = Ruled::with("", "[route.request_headers]\nset = { \"Host\" = \"inner.example\" }").await;
    let mut client = Upgrade::to(site.broker.address()).replace("Host", "outer.example").connect().await;
    for own in site.at_both(&mut client).await {
        assert_eq!(own.header_values("host"), ["inner.example"]);
        assert_eq!(own.header_values("x-forwarded-host"), ["outer.example"], "what the client asked for");
    }
}

#[tokio::test]
async fn what_a_rule_says_of_a_request_the_client_cannot_undo() {
    let rules = "[route.request_headers]\nset = { \"X-Env\" = \"prod\", \"X-Forwarded-Proto\" = \"https\" }";
    let site = Ruled::with("", rules).await;
    let hops = "Upgrade, X-Env, X-Forwarded-Proto, X-Forwarded-Host, X-Forwarded-For";
    let request = Upgrade::to(site.broker.address()).replace("Connection", hops).header("X-Env", "test");
    let mut client = request.replace("Host", "outer.example").connect().await;
    for own in site.at_both(&mut client).await {
        assert_eq!(own.header_values("x-env"), ["prod"]);
        assert_eq!(own.header_values("x-forwarded-proto"), ["https"]);
        assert_eq!(own.header_values("x-forwarded-host"), ["outer.example"]);
        assert_eq!(own.header_values("x-forwarded-for"), ["127.0.0.1"]);
    }
}

const RESPONSE_RULES: &str = r#"
    [route.response_headers]
    pass = ["Set-Cookie", "Server", "X-Env", "X-Via", "Location"]
    block = "Server"
    set = { "X-Env" = "prod" }
    add = { "X-Via" = "steadfast" }
"#;

const ANSWER_HEADERS: &str = "--answer-header Set-Cookie:a=1 --answer-header Set-Cookie:b=2 \
     --answer-header Server:inner/1.0 --answer-header X-Powered-By:magic --answer-header X-Env:test \
     --answer-header X-Via:backend --answer-header Location:/there";

#[tokio::test]
async fn response_headers_are_ruled() {
    let site = Ruled::with(&format!("--subprotocol chat {ANSWER_HEADERS}"), RESPONSE_RULES).await;
    let request = Upgrade::to(site.broker.address()).header("Sec-WebSocket-Protocol", "chat");
    let mut client = request.connect().await;
    let response = client.response().clone();
    assert_eq!(response.header_values("set-cookie"), ["a=1", "b=2"]);
    assert_eq!((response.header("server"), response.header("x-powered-by")), (None, None));
    assert_eq!(response.header_values("x-env"), ["prod"]);
    assert_eq!(response.header_values("x-via"), ["backend", "steadfast"]);
    assert_eq!(response.header_values("sec-websocket-protocol"), ["chat"]);
    // The rules say nothing of requests.
    for own in site.at_both(&mut client).await {
        assert_eq!((own.header("x-env"), own.header("x-via")), (None, None));
    }
}

#[tokio::test]
async fn the_headers_of_a_refusal_are_ruled_too() {
    let flags = format!("--refuse 302 --refuse-body see+there {ANSWER_HEADERS}");
    let site = Ruled::with(&flags, RESPONSE_RULES).await;
    let response = Upgrade::to(site.broker.address()).refused().await;
    assert_eq!((response.status, response.text().as_str()), (302, "see there"));
    assert_eq!(response.header_values("location"), ["/there"]);
    assert_eq!((response.header("server"), response.header("x-powered-by")), (None, None));
    assert_eq!(response.header_values("x-env"), ["prod"]);
    assert_eq!(response.header_values("x-via"), ["backend", "steadfast"]);
}
