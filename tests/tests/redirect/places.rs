//! Reserved places: whose they are, how long they count, and who is named at all.

use nix::sys::signal::Signal;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::upgrade::Upgrade;

use crate::{FOR_EVER, JSON, ask, next, sending};

/// A second is longer than the way of a request, and short enough to be waited for.
const SHORT: &str = "[route.redirect]\nreserve = \"1s\"";

/// With room for one.
fn narrow(backend: &Backend, tables: &str) -> BrokerBuilder {
    sending(&[backend], tables).backend_setting("a", "max_sessions = 1")
}

async fn reserved(broker: &Broker) -> f64 {
    broker.metric("steadfast_backend_reserved", &[("backend", "a")]).await
}

#[tokio::test]
async fn who_was_sent_on_counts_as_a_session() {
    let backend = Backend::start("a", "").await;
    let broker = narrow(&backend, FOR_EVER).pool_table("[pool.queue]\nmax = 0").start().await;
    assert_eq!(next(&broker).await.as_deref(), Some("a"));
    let shown = broker.backend("a").await.expect("it is listed");
    assert_eq!((&shown["reserved"], &shown["sessions"]), (&1.into(), &0.into()));
    assert_eq!(reserved(&broker).await, 1.0);
    assert_eq!(next(&broker).await, None, "its only place is taken");
    assert_eq!(Upgrade::to(broker.address()).refused().await.status, 503, "also for a session");
    assert_eq!(broker.metric("steadfast_redirects_total", &[]).await, 1.0);
}

#[tokio::test]
async fn a_session_counts_for_those_who_are_to_be_sent_on() {
    let backend = Backend::start("a", "").await;
    let broker = narrow(&backend, FOR_EVER).start().await;
    let client = Client::connect(broker.address()).await;
    assert_eq!(next(&broker).await, None, "its only place is taken");
    client.close(1000, "").await;
    broker.wait_backend("a", "without a session", |backend| backend["sessions"] == 0).await;
    assert_eq!(next(&broker).await.as_deref(), Some("a"));
}

#[tokio::test]
async fn a_reserve_ends() {
    let backend = Backend::start("a", "").await;
    let broker = narrow(&backend, SHORT).start().await;
    for _ in 0..3 {
        assert_eq!(next(&broker).await.as_deref(), Some("a"));
        broker.wait_backend("a", "not reserved", |backend| backend["reserved"] == 0).await;
    }
    assert_eq!(broker.metric("steadfast_redirects_total", &[]).await, 3.0);
}

#[tokio::test]
async fn who_waits_is_let_in_when_a_reserve_ends() {
    let backend = Backend::start("a", "").await;
    let broker = narrow(&backend, SHORT).pool_table("[pool.queue]\ntimeout = \"1m\"").start().await;
    assert_eq!(next(&broker).await.as_deref(), Some("a"));
    let mut client = Client::connect(broker.address()).await;
    client.ask("m", "a:m").await;
    assert_eq!(reserved(&broker).await, 0.0);
}

#[tokio::test]
async fn an_address_has_so_many_places() {
    let backend = Backend::start("a", "").await;
    let access = format!("{FOR_EVER}\n[route.access]\nsessions_per_address = 2");
    let broker = sending(&[&backend], &access).start().await;
    for status in [307, 307, 429, 429] {
        assert_eq!(ask(&broker, "GET /", &[]).await.status, status);
    }
    assert_eq!(reserved(&broker).await, 2.0);
}

#[tokio::test]
async fn there_are_no_more_places_than_sessions() {
    let backend = Backend::start("a", "").await;
    let broker = sending(&[&backend], FOR_EVER).setting("limits", "max_sessions = 3").start().await;
    for _ in 0..3 {
        assert_eq!(next(&broker).await.as_deref(), Some("a"));
    }
    assert_eq!(next(&broker).await, None);
    assert_eq!(reserved(&broker).await, 3.0);
    // Those who were sent on take no session's place at the broker.
    Client::connect(broker.address()).await.ask("m", "a:m").await;
}

#[tokio::test]
async fn a_reserve_does_not_hold_up_the_end() {
    let backend = Backend::start("a", "").await;
    let mut broker = sending(&[&backend], FOR_EVER).start().await;
    assert_eq!(next(&broker).await.as_deref(), Some("a"));
    broker.signal(Signal::SIGTERM);
    assert!(broker.wait_exit().await.success());
}

/// Twenty who ask are sent to one of these each, and to each at least one of them.
async fn named(broker: &Broker, expected: &[&str]) {
    let mut names = Vec::new();
    for _ in 0..20 {
        names.extend(next(broker).await);
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn only_who_is_up_is_named() {
    let backends = [
        Backend::start("a", "--page /health:200").await,
        Backend::start("b", "--page /health:200").await,
        Backend::start("c", "--page /health:200").await,
    ];
    let health = "[pool.health]\ntype = \"http\"\npath = \"/health\"\ninterval = \"50ms\"\njitter = \"0s\"";
    let all: Vec<&Backend> = backends.iter().collect();
    let broker = sending(&all, FOR_EVER).pool_table(health).start().await;
    named(&broker, &["a", "b", "c"]).await;
    backends[0].kill();
    broker.wait_state("a", "down").await;
    named(&broker, &["b", "c"]).await;
    assert_eq!(broker.post("/api/v1/pools/default/backends/b/disable").await.status, 200);
    named(&broker, &["c"]).await;
    assert_eq!(broker.post("/api/v1/pools/default/backends/c/drain").await.status, 202);
    broker.wait_state("c", "draining").await;
    assert_eq!(next(&broker).await, None);
    assert!(broker.metric("steadfast_no_backend_total", &[]).await >= 1.0);
    // Those who were sent on hold up no drain, and whoever is down has nobody to evacuate.
    broker.wait_backend("c", "is drained", |backend| backend["drain"].is_null()).await;
    let operations = broker.get_json("/api/v1/operations").await;
    let kinds = operations["operations"].as_array().expect("a list").iter().map(|one| one["kind"].clone());
    assert_eq!(kinds.collect::<Vec<_>>(), ["drain"]);
    backends[0].restart().await;
    broker.wait_state("a", "up").await;
    named(&broker, &["a"]).await;
}

#[tokio::test]
async fn who_was_ejected_is_not_named() {
    let backends = [Backend::start("a", "").await, Backend::start("b", "").await];
    let outlier = "[pool.outlier]\nfailures = 1\nejection_min = \"1h\"\nejection_max = \"1h\"";
    let broker = sending(&[&backends[0], &backends[1]], FOR_EVER).pool_table(outlier).start().await;
    named(&broker, &["a", "b"]).await;
    backends[0].kill();
    let clients = [Client::connect(broker.address()).await, Client::connect(broker.address()).await];
    broker.wait_state("a", "ejected").await;
    named(&broker, &["b"]).await;
    backends[1].kill();
    drop(clients);
    assert_eq!(broker.post("/api/v1/pools/default/backends/b/disable").await.status, 200);
    assert_eq!(next(&broker).await, None, "an ejected one is not the last resort of those who are sent on");
}

#[tokio::test]
async fn a_backend_of_the_api_is_not_named() {
    let backends = [Backend::start("a", "").await, Backend::start("b", "").await];
    let broker = sending(&[&backends[0]], FOR_EVER).start().await;
    let added = format!("{{\"url\":\"{}\",\"name\":\"b\"}}", backends[1].url());
    assert_eq!(broker.change("POST", "/api/v1/pools/default/backends", &added).await.status, 201);
    named(&broker, &["a"]).await;
    assert_eq!(ask(&broker, "GET /", &[JSON]).await.status, 200);
}
