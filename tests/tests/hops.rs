//! Proxies in front of the broker: who the client is, and what backends are told of it.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::journal::Connection;
use steadfast_tests::sequence::home_and_other;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::{eventually_async, eventually_some};

/// Where the trusted proxy connects from; its neighbour is not trusted.
const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// Networks on the way that are trusted.
const TRUSTED: &str = "trusted = [\"127.0.0.2\", \"10.0.0.0/8\", \"fd00::/8\"]";

/// Everything that says for whom a request is, and one that does not.
const CLAIMS: [(&str, &str); 9] = [
    ("X-Forwarded-For", "203.0.113.9"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "shop.example"),
    ("X-Forwarded-Port", "443"),
    ("X-Forwarded-Prefix", "/shop"),
    ("X-Real-IP", "203.0.113.9"),
    ("True-Client-IP", "203.0.113.9"),
    ("Forwarded", "for=203.0.113.9;proto=https"),
    ("Via", "1.1 edge"),
];

fn behind(backends: &[&Backend]) -> BrokerBuilder {
    Broker::over(backends).listener_setting(TRUSTED)
}

fn from(broker: &Broker, address: Ipv4Addr) -> Upgrade {
    Upgrade::to(broker.address()).from(address).replace("Host", "chat.example")
}

fn claiming(request: Upgrade) -> Upgrade {
    CLAIMS.iter().fold(request, |request, (name, value)| request.header(name, value))
}

/// A request of a client of the proxy's.
fn of_client(broker: &Broker, client: &str) -> Upgrade {
    from(broker, PROXY).header("X-Forwarded-For", client)
}

fn last(backend: &Backend) -> Connection {
    backend.journal().connections().pop().expect("a connection")
}

fn warnings(broker: &Broker) -> Vec<Value> {
    broker.records(|record| record["message"].as_str().is_some_and(|text| text.contains("listener.trusted")))
}

#[tokio::test]
async fn who_is_not_trusted_says_nothing_of_the_client() {
    let backend = Backend::start("a", "").await;
    let broker = behind(&[&backend]).start().await;
    let _client = claiming(from(&broker, STRANGER)).connect().await;
    let seen = last(&backend);
    assert_eq!(seen.header_values("x-forwarded-for"), ["127.0.0.3"]);
    assert_eq!(seen.header_values("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.header_values("x-forwarded-host"), ["chat.example"]);
    for name in ["x-forwarded-port", "x-forwarded-prefix", "x-real-ip", "true-client-ip", "forwarded"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(seen.header("via"), Some("1.1 edge"), "that is no claim");
    let session = broker.wait_only_session("the stranger's", |_| true).await;
    assert!(session["client"].as_str().is_some_and(|client| client.starts_with("127.0.0.3:")), "{session}");
}

#[tokio::test]
async fn each_listener_tells_once_that_it_drops_what_proxies_say() {
    let backend = Backend::start("a", "").await;
    let broker = behind(&[&backend]).pool("other", &[&backend]).start().await;
    of_client(&broker, "203.0.113.9").connect().await.ask("m", "a:m").await;
    from(&broker, STRANGER).connect().await.ask("m", "a:m").await;
    for _ in 0..3 {
        claiming(from(&broker, STRANGER)).connect().await.ask("m", "a:m").await;
        let other = Upgrade::to(broker.address_of(1)).from(PROXY).header("X-Real-IP", "203.0.113.9");
        other.connect().await.ask("m", "a:m").await;
    }
    // Lines come in order, and this one is behind those.
    let refused = from(&broker, STRANGER).replace("Sec-WebSocket-Version", "8").refused().await;
    assert_eq!(refused.status, 426);
    eventually_some("the refusal's line", || broker.records(|record| record["status"] == 426).pop()).await;
    let told: Vec<_> = warnings(&broker)
        .iter()
        .map(|line| ["listener", "peer", "header"].map(|key| line[key].as_str().expect("text").to_owned()))
        .collect();
    let line = |listener, peer: &str, header: &str| {
        [broker.address_of(listener).to_string(), peer.to_owned(), header.to_owned()]
    };
    assert_eq!(told, [line(0, "127.0.0.3", "x-forwarded-for"), line(1, "127.0.0.2", "x-real-ip")]);
}

#[tokio::test]
async fn a_trusted_proxy_says_who_the_client_is_and_how_it_asked() {
    let backend = Backend::start("a", "").await;
    let broker = behind(&[&backend]).start().await;
    let mut client = claiming(from(&broker, PROXY)).connect().await;
    let seen = last(&backend);
    assert_eq!(seen.header_values("x-forwarded-for"), ["203.0.113.9, 127.0.0.2"], "the peer is appended");
    assert_eq!(seen.header_values("forwarded"), [""; 0], "it has not been asked for");
    let untouched = |(name, _): &&(&str, &str)| !["X-Forwarded-For", "Forwarded"].contains(name);
    for (name, value) in CLAIMS.iter().filter(untouched) {
        assert_eq!(seen.header_values(&name.to_lowercase()), [*value], "{name} is kept");
    }
    broker.wait_only_session("the client's", |session| session["client"] == "203.0.113.9:0").await;
    let found = broker.get_json("/api/v1/sessions?client=203.0.113.9").await;
    assert_eq!(found["sessions"].as_array().map(Vec::len), Some(1), "{found}");
    client.ask("m", "a:m").await;
    client.close(1000, "").await;
    broker.wait_causes(1).await;
    assert_eq!(broker.access_lines()[0]["client"], "203.0.113.9:0");
    assert_eq!(warnings(&broker), [Value::Null; 0]);
}

#[tokio::test]
async fn the_list_is_walked_over_trusted_proxies_up_to_what_cannot_be_read() {
    let backend = Backend::start("a", "").await;
    let broker = behind(&[&backend]).start().await;
    for (lines, client) in [
        (&["198.51.100.7, 203.0.113.9, 10.1.2.3"][..], "203.0.113.9:0"),
        (&["198.51.100.7", "203.0.113.9:5678", "10.1.2.3, 10.4.5.6:80"], "203.0.113.9:5678"),
        (&["203.0.113.9, [2001:db8::9]:443, fd00::1"], "[2001:db8::9]:443"),
        (&["203.0.113.9, rubbish, 10.1.2.3"], "10.1.2.3:0"),
        (&["203.0.113.9, unknown"], "127.0.0.2:"),
        (&["10.9.9.9, 10.1.2.3"], "10.9.9.9:0"),
    ] {
        let request = from(&broker, PROXY);
        let request = lines.iter().fold(request, |request, line| request.header("X-Forwarded-For", line));
        let session = request.connect().await;
        let is_it =
            |session: &Value| session["client"].as_str().is_some_and(|found| found.starts_with(client));
        broker.wait_only_session(client, is_it).await;
        assert_eq!(
            last(&backend).header_values("x-forwarded-for"),
            [format!("{}, 127.0.0.2", lines.join(", "))]
        );
        session.close(1000, "").await;
        broker.wait_sessions(0).await;
    }
}

#[tokio::test]
async fn forwarded_is_read_and_said_where_it_is_asked_for() {
    let backend = Backend::start("a", "").await;
    let broker = behind(&[&backend]).pool_setting("forwarded = \"rfc7239\"").start().await;
    let line = "for=198.51.100.7, for=\"[2001:db8::9]:443\";proto=https, for=10.1.2.3";
    let _client = from(&broker, PROXY).header("Forwarded", line).connect().await;
    broker.wait_only_session("the client's", |session| session["client"] == "[2001:db8::9]:443").await;
    let seen = last(&backend);
    assert_eq!(seen.header_values("forwarded"), [format!("{line}, for=127.0.0.2")]);
    for name in ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    let _stranger = claiming(from(&broker, STRANGER)).connect().await;
    assert_eq!(last(&backend).header_values("forwarded"), ["for=127.0.0.3;host=chat.example;proto=http"]);
    let backend = Backend::start("a", "").await;
    let broker = behind(&[&backend]).pool_setting("forwarded = \"both\"").start().await;
    let request = of_client(&broker, "2001:db8::9").header("X-Forwarded-Proto", "https");
    let _client = request.connect().await;
    let seen = last(&backend);
    let expected = "for=\"[2001:db8::9]\";host=chat.example;proto=https, for=127.0.0.2";
    assert_eq!(seen.header_values("forwarded"), [expected]);
    assert_eq!(seen.header_values("x-forwarded-for"), ["2001:db8::9, 127.0.0.2"]);
    assert_eq!(seen.header_values("x-forwarded-proto"), ["https"]);
}

#[tokio::test]
async fn access_rules_and_limits_mean_the_client_behind_the_proxy() {
    let backend = Backend::start("a", "").await;
    let lines = "deny = [\"198.51.100.0/24\"]\nsessions_per_address = 1";
    let broker = behind(&[&backend]).setting("access", lines).start().await;
    assert_eq!(of_client(&broker, "198.51.100.7").refused().await.status, 403);
    let stranger = from(&broker, STRANGER).header("X-Forwarded-For", "198.51.100.7");
    let _stranger = stranger.connect().await;
    let mut clients = Vec::new();
    for client in ["203.0.113.1", "203.0.113.2", "2001:db8:0:1::1", "2001:db8:0:2::1"] {
        clients.push(of_client(&broker, client).connect().await);
    }
    for again in ["203.0.113.1", "203.0.113.2:99", "[2001:db8:0:1:ffff::9]:80"] {
        assert_eq!(of_client(&broker, again).refused().await.status, 429, "{again}");
    }
    let lied = from(&broker, STRANGER).header("X-Forwarded-For", "203.0.113.77").refused().await;
    assert_eq!(lied.status, 429, "it makes no new client of itself");
    for client in &mut clients {
        client.ask("m", "a:m").await;
    }
}

#[tokio::test]
async fn rates_mean_the_client_behind_the_proxy() {
    let backend = Backend::start("a", "").await;
    let lines = "upgrades_per_second = 1\nupgrades_burst = 3";
    let broker = behind(&[&backend]).setting("access", lines).start().await;
    let refused = eventually_async("one client to be refused", async || {
        of_client(&broker, "203.0.113.1").attempt().await.err()
    })
    .await;
    assert_eq!(refused.status, 429);
    for number in 2..20 {
        of_client(&broker, &format!("203.0.113.{number}")).connect().await;
    }
}

#[tokio::test]
async fn source_places_by_the_client_behind_the_proxy() {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let broker = behind(&[&a, &b]).pool_setting("balance = \"source\"").start().await;
    let mut homes = HashSet::new();
    for number in 0..40 {
        let client = format!("203.0.113.{number}");
        let mut places = HashSet::new();
        for _ in 0..2 {
            let mut session = of_client(&broker, &client).connect().await;
            session.send("m").await;
            places.insert(session.text().await);
        }
        assert_eq!(places.len(), 1, "{client} comes to the same one");
        homes.extend(places);
    }
    assert_eq!(homes.len(), 2, "the proxy's clients are not one client");
}

#[tokio::test]
async fn every_dial_of_a_session_says_the_same() {
    for form in ["x", "rfc7239", "both"] {
        let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
        let broker = behind(&[&a, &b]).pool_setting(&format!("forwarded = \"{form}\"")).start().await;
        let request = of_client(&broker, "198.51.100.7, 203.0.113.9, 10.1.2.3");
        let mut client = request.header("X-Forwarded-Proto", "https").connect().await;
        let (home, other) = home_and_other([&a, &b]).await;
        client.ask("m-1", &format!("{}:m-1", home.name())).await;
        broker.wait_at_rest().await;
        home.kill();
        client.ask("m-2", &format!("{}:m-2", other.name())).await;
        broker.wait_at_rest().await;
        home.restart().await;
        let drained = broker.post(&format!("/api/v1/pools/default/backends/{}/drain", other.name())).await;
        assert_eq!(drained.status, 202, "{}", drained.text());
        home.wait_upgrades(2).await;
        let (first, moved) = (home.journal().sessions().remove(0), home.journal().sessions().remove(1));
        let failed_over = last(other);
        assert_eq!([&first, &failed_over, &moved].map(Connection::attempt), [1, 2, 3]);
        let said = |seen: &Connection| {
            ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"]
                .map(|name| seen.header(name).unwrap_or_default().to_owned())
        };
        assert_eq!([said(&failed_over), said(&moved)], [said(&first), said(&first)], "{form}");
        assert_eq!(said(&first)[0].is_empty(), form == "rfc7239");
        assert_eq!(said(&first)[3].is_empty(), form == "x");
    }
}

#[tokio::test]
async fn names_that_a_service_takes_for_the_same_are_dropped_with_them() {
    let backend = Backend::start("a", "").await;
    let broker = behind(&[&backend]).start().await;
    let names = [
        "X_Forwarded_For",
        "X-Forwarded_Proto",
        "X_Real_IP",
        "X.Forwarded.Host",
        "Steadfast_Session",
        "Steadfast-Shim_",
        "Sec_WebSocket_Key",
        "Content_Length",
    ];
    for address in [PROXY, STRANGER] {
        let request = names.iter().fold(from(&broker, address), |request, name| request.header(name, "9"));
        let _client = request.header("X_Custom", "mine").connect().await;
        let seen = last(&backend);
        for name in names {
            assert_eq!(seen.header(&name.to_lowercase()), None, "{name} from {address}");
        }
        assert_eq!(seen.header("x_custom"), Some("mine"), "what is nobody else's goes on");
    }
}

#[tokio::test]
async fn routes_see_no_claim_of_a_stranger() {
    let backend = Backend::start("a", "").await;
    let route =
        "[[route]]\npool = \"default\"\n[[route.header]]\nname = \"X-Forwarded-Proto\"\nvalue = \"https\"";
    let listener = format!("[[listener]]\naddress = \"127.0.0.1:0\"\n{TRUSTED}");
    let broker = Broker::over(&[&backend]).listener(&listener).tables(route).start().await;
    let request =
        |source| Upgrade::to(broker.address_of(1)).from(source).header("X-Forwarded-Proto", "https");
    request(PROXY).connect().await.ask("m", "a:m").await;
    assert_eq!(request(STRANGER).refused().await.status, 404);
}

#[tokio::test]
async fn rules_that_name_what_passes_leave_the_clients_address() {
    let backend = Backend::start("a", "").await;
    for (rule, expected) in
        [("pass = [\"Cookie\"]", "203.0.113.9, 127.0.0.2"), ("block = [\"X-Forwarded-For\"]", "127.0.0.2")]
    {
        let route = format!("[[route]]\npool = \"default\"\n[route.request_headers]\n{rule}");
        let broker = behind(&[&backend]).tables(&route).start().await;
        let _client = of_client(&broker, "203.0.113.9").header("X-Forwarded-Proto", "https").connect().await;
        let seen = last(&backend);
        assert_eq!(seen.header_values("x-forwarded-for"), [expected], "{rule}");
        assert_eq!(seen.header_values("x-forwarded-proto"), ["https"], "{rule}");
    }
}

#[tokio::test]
async fn a_reload_changes_who_is_trusted() {
    let backend = Backend::start("a", "").await;
    let setup = Broker::over(&[&backend]);
    let broker = setup.clone().start().await;
    let before = of_client(&broker, "203.0.113.9").connect().await;
    assert_eq!(last(&backend).header_values("x-forwarded-for"), ["127.0.0.2"]);
    broker.replace_file(&setup.listener_setting(TRUSTED).to_toml());
    let reloaded = broker.post("/api/v1/reload").await;
    assert!(reloaded.status < 300, "{}", reloaded.text());
    let _after = of_client(&broker, "203.0.113.9").connect().await;
    assert_eq!(last(&backend).header_values("x-forwarded-for"), ["203.0.113.9, 127.0.0.2"]);
    drop(before);
}
