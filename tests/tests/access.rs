//! Who may come in, and how often; of those who may not, no backend hears.

use std::net::Ipv4Addr;

use futures::future::join_all;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::http::Response;
use steadfast_tests::sequence::home_and_other;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::{eventually, eventually_async};
use tokio::time::Instant;

/// An address of this machine, as every one of 127.0.0.0/8 is.
fn loopback(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

fn from(broker: &Broker, last: u8) -> Upgrade {
    Upgrade::to(broker.address()).from(loopback(last))
}

/// A broker over one backend with these lines in `[access]`.
fn guarded(backend: &Backend, lines: &str) -> BrokerBuilder {
    Broker::over(&[backend]).setting("access", lines)
}

async fn denials(broker: &Broker, reason: &str) -> f64 {
    broker.metric("steadfast_denied_total", &[("reason", reason)]).await
}

/// The answer to what will not change: 403, and no time to come back.
fn assert_forbidden(response: &Response) {
    assert_eq!((response.status, response.header("retry-after")), (403, None), "{response:?}");
    assert!(!response.text().is_empty(), "the answer says why");
}

/// The answer to what passes: 429, and when to come back.
fn assert_too_many(response: &Response) {
    assert_eq!(response.status, 429, "{response:?}");
    let seconds = response.header("retry-after").and_then(|value| value.parse::<u32>().ok());
    assert!(seconds.is_some_and(|seconds| seconds >= 1), "Retry-After in seconds: {response:?}");
}

/// Waits until this request is accepted.
async fn accepted(request: &Upgrade) -> Client {
    eventually_async("room for another session", async || request.attempt().await.ok()).await
}

#[tokio::test]
async fn networks() {
    let backend = Backend::start("a", "").await;
    let lines = "allow = [\"127.0.0.2\", \"127.0.0.8/30\"]\ndeny = [\"127.0.0.9\"]";
    let broker = guarded(&backend, lines).start().await;
    for allowed in [2, 8, 10, 11] {
        from(&broker, allowed).connect().await.ask("hello", "a:hello").await;
    }
    for denied in [1, 3, 7, 9, 12] {
        assert_forbidden(&from(&broker, denied).refused().await);
    }
    assert_eq!(backend.journal().peers().len(), 4, "denied ones touch no backend");
    assert_eq!(denials(&broker, "network").await, 5.0);
    assert_eq!(broker.metric("steadfast_denied_total", &[]).await, 5.0);
}

#[tokio::test]
async fn origins() {
    let backend = Backend::start("a", "").await;
    let lines = "origins = [\"https://example.com\", \"https://*.example.org:8443\"]";
    let broker = guarded(&backend, lines).start().await;
    let request = Upgrade::to(broker.address());
    for origin in ["https://example.com", "HTTPS://Example.COM", "https://example.com:443"] {
        request.clone().header("Origin", origin).connect().await.ask("hello", "a:hello").await;
    }
    request.clone().header("Origin", "https://a.b.example.org:8443").connect().await;
    let others = [
        "http://example.com",
        "https://example.com:8443",
        "https://example.com.evil.test",
        "https://a.example.com",
        "https://example.org:8443",
        "https://a.example.org",
        "null",
    ];
    for origin in others {
        assert_forbidden(&request.clone().header("Origin", origin).refused().await);
    }
    assert_forbidden(&request.refused().await);
    assert_eq!(backend.journal().peers().len(), 4);
    assert_eq!(denials(&broker, "origin").await, 8.0);
}

#[tokio::test]
async fn sessions_of_an_address() {
    let backend = Backend::start("a", "").await;
    let broker = guarded(&backend, "sessions_per_address = 2").start().await;
    let first = from(&broker, 2).connect().await;
    let mut second = from(&broker, 2).connect().await;
    assert_too_many(&from(&broker, 2).refused().await);
    let mut other = from(&broker, 3).connect().await;
    assert_eq!(backend.journal().peers().len(), 3);
    assert_eq!(denials(&broker, "sessions").await, 1.0);
    first.close(1000, "").await;
    let mut third = accepted(&from(&broker, 2)).await;
    assert_too_many(&from(&broker, 2).refused().await);
    for client in [&mut second, &mut other, &mut third] {
        client.ask("still here", "a:still here").await;
    }
}

#[tokio::test]
async fn a_session_that_moves_keeps_its_place_and_no_other() {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let broker = Broker::over(&[&a, &b]).setting("access", "sessions_per_address = 1").start().await;
    let mut client = from(&broker, 2).connect().await;
    let (home, other) = home_and_other([&a, &b]).await;
    home.kill();
    client.ask("hello", &format!("{}:hello", other.name())).await;
    assert_too_many(&from(&broker, 2).refused().await);
    client.reset().await;
    accepted(&from(&broker, 2)).await;
}

#[tokio::test]
async fn an_upgrade_that_fails_takes_no_place() {
    let backend = Backend::start("a", "--refuse 403").await;
    let broker = guarded(&backend, "sessions_per_address = 1").start().await;
    for status in [403, 404, 503] {
        backend.set(&format!("--refuse {status}")).await;
        assert_eq!(from(&broker, 2).refused().await.status, status);
    }
    let old = Upgrade::to(broker.address()).from(loopback(2)).replace("Sec-WebSocket-Version", "8");
    assert_eq!(old.refused().await.status, 426);
    backend.set("").await;
    from(&broker, 2).connect().await.ask("hello", "a:hello").await;
    assert_eq!(denials(&broker, "sessions").await, 0.0);
}

#[tokio::test]
async fn an_upgrade_under_way_takes_a_place_until_its_client_leaves() {
    let backend = Backend::start("a", "--spoil-upgrade hang").await;
    let broker = guarded(&backend, "sessions_per_address = 1").setting("timeouts", "upgrade = \"1m\"");
    let broker = broker.start().await;
    let waiting = from(&broker, 2).open().await;
    eventually("the request at the backend", || backend.journal().connections().len() == 1).await;
    backend.set("").await;
    assert_too_many(&from(&broker, 2).refused().await);
    drop(waiting);
    accepted(&from(&broker, 2)).await.ask("hello", "a:hello").await;
}

/// Sends this request so often at once; how many were accepted, and how long it took in whole seconds, rounded up.
async fn storm(request: &Upgrade, count: usize) -> (usize, usize) {
    let begun = Instant::now();
    let outcomes = join_all((0..count).map(|_| request.attempt())).await;
    let seconds = begun.elapsed().as_secs() as usize + 1;
    let denied: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    denied.iter().for_each(|response| assert_too_many(response));
    (count - denied.len(), seconds)
}

#[tokio::test]
async fn upgrades_of_an_address_per_second() {
    let backend = Backend::start("a", "").await;
    let lines = "upgrades_per_second = 1\nupgrades_burst = 3";
    let broker = guarded(&backend, lines).start().await;
    let (accepted_at_once, seconds) = storm(&from(&broker, 2), 60).await;
    assert!((3..=3 + seconds).contains(&accepted_at_once), "{accepted_at_once} in {seconds} s");
    assert_eq!(denials(&broker, "rate").await, (60 - accepted_at_once) as f64);
    assert_eq!(backend.journal().peers().len(), accepted_at_once);
    from(&broker, 3).connect().await.ask("hello", "a:hello").await;
    accepted(&from(&broker, 2)).await.ask("hello", "a:hello").await;
}

/// Two routes, of which the first has these lines in its `[route.access]`.
fn routes(lines: &str) -> String {
    format!(
        "[[route]]\nname = \"narrow\"\npath = \"/narrow\"\npool = \"default\"\n[route.access]\n{lines}\n\
         [[route]]\nname = \"wide\"\npath = \"/wide\"\npool = \"default\"\n"
    )
}

#[tokio::test]
async fn a_routes_rate_counts_its_own_requests() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).tables(&routes("upgrades_per_second = 1\nupgrades_burst = 2"));
    let broker = broker.start().await;
    let (accepted_wide, _) = storm(&from(&broker, 2).path("/wide"), 20).await;
    assert_eq!(accepted_wide, 20);
    let (accepted_narrow, seconds) = storm(&from(&broker, 2).path("/narrow"), 40).await;
    assert!((2..=2 + seconds).contains(&accepted_narrow), "{accepted_narrow} in {seconds} s");
    assert_eq!(denials(&broker, "rate").await, (40 - accepted_narrow) as f64);
    from(&broker, 2).path("/wide").connect().await;
    from(&broker, 3).path("/narrow").connect().await;
}

#[tokio::test]
async fn the_rate_of_all_counts_the_requests_of_every_route() {
    let backend = Backend::start("a", "").await;
    let lines = "upgrades_per_second = 1\nupgrades_burst = 4";
    let broker = guarded(&backend, lines).tables(&routes("upgrades_per_second = 1000")).start().await;
    let requests = [from(&broker, 2).path("/narrow"), from(&broker, 2).path("/wide")];
    let begun = Instant::now();
    let storms = join_all(requests.iter().map(|request| storm(request, 30))).await;
    let seconds = begun.elapsed().as_secs() as usize + 1;
    let accepted: usize = storms.iter().map(|(accepted, _)| accepted).sum();
    assert!((4..=4 + seconds).contains(&accepted), "{accepted} in {seconds} s");
    assert_eq!(denials(&broker, "rate").await, (60 - accepted) as f64);
    assert_eq!(backend.journal().peers().len(), accepted);
}

#[tokio::test]
async fn a_routes_rules_hold_on_top_of_those_of_all() {
    let backend = Backend::start("a", "").await;
    let lines = "deny = \"127.0.0.9\"\nsessions_per_address = 3";
    let narrow = "allow = \"127.0.0.0/29\"\norigins = \"https://example.com\"\nsessions_per_address = 1";
    let broker = guarded(&backend, lines).tables(&routes(narrow)).start().await;
    let narrow = |last: u8| from(&broker, last).path("/narrow").header("Origin", "https://example.com");
    let wide = |last: u8| from(&broker, last).path("/wide");
    assert_forbidden(&wide(9).refused().await);
    assert_forbidden(&narrow(9).refused().await);
    assert_forbidden(&narrow(10).refused().await);
    assert_forbidden(&narrow(2).without("Origin").refused().await);
    let mut clients = vec![wide(10).connect().await, narrow(2).connect().await];
    assert_too_many(&narrow(2).refused().await);
    clients.push(wide(2).connect().await);
    clients.push(wide(2).connect().await);
    assert_too_many(&wide(2).refused().await);
    clients.push(narrow(3).connect().await);
    assert_eq!(backend.journal().peers().len(), clients.len());
    for (reason, count) in [("network", 3.0), ("origin", 1.0), ("sessions", 2.0), ("rate", 0.0)] {
        assert_eq!(denials(&broker, reason).await, count, "{reason}");
    }
    // The place under the rules of all is free again too.
    clients.remove(1).close(1000, "").await;
    accepted(&narrow(2)).await.ask("hello", "a:hello").await;
}
