//! Backends that hang up on upgrade requests without an answer: killed by one of them, or down for all.

use std::net::Ipv4Addr;

use futures::future::join_all;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::{eventually, eventually_some};

const HANG_UPS: &str = "steadfast_hang_ups_total";

async fn backends(flags: &str) -> Vec<Backend> {
    join_all(["a", "b", "c", "d"].map(|name| Backend::start(name, flags))).await
}

async fn broker(backends: &[Backend]) -> Broker {
    Broker::start(&backends.iter().collect::<Vec<_>>()).await
}

/// A request of one of several clients.
fn request(broker: &Broker, client: u8) -> Upgrade {
    Upgrade::to(broker.address()).from(Ipv4Addr::new(127, 0, 1, client))
}

#[tokio::test]
async fn a_request_that_kills_its_reader_takes_two_backends_and_no_more() {
    let backends = backends("--die-on-path /kill").await;
    let broker = broker(&backends).await;
    let chat = async |client| request(&broker, client).path("/chat").connect().await;
    let mut clients: Vec<Client> = join_all((1..=8).map(chat)).await;

    let killer = request(&broker, 9).path("/kill");
    assert_eq!(killer.refused().await.status, 503);
    let alive = || backends.iter().filter(|backend| backend.is_alive()).count();
    eventually("two backends to end", || alive() == 2).await;
    for _ in 0..3 {
        let answer = killer.refused().await;
        assert_eq!(answer.status, 503);
        let sentence = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(sentence.contains("hung up on requests like this one"), "{sentence}");
        assert!(answer.header("retry-after").is_some());
    }
    for client in &mut clients {
        client.send("hello").await;
        let answer = client.text().await;
        assert!(answer.ends_with(":hello"), "{answer}");
    }
    request(&broker, 9).path("/chat").connect().await;
    assert_eq!(alive(), 2);

    assert_eq!(broker.metric("steadfast_denied_total", &[("reason", "hang_ups")]).await, 3.0);
    assert_eq!(broker.metric(HANG_UPS, &[("verdict", "killer")]).await, 1.0);
    let warnings = || broker.records(|record| record["level"] == "WARN" && record["path"] == "/kill");
    let line = eventually_some("a warning", || warnings().pop()).await;
    assert_eq!(line["client"], "127.0.1.9", "{line}");
    assert!(line["backends"].is_string(), "{line}");
}

/// As in a deploy that ends all at once, behind something that still takes connections.
#[tokio::test]
async fn while_every_backend_hangs_up_nobody_is_banned() {
    let backends = backends("--spoil-upgrade close").await;
    let broker = broker(&backends).await;
    let knock = async |client| {
        for _ in 0..5 {
            assert_eq!(request(&broker, client).path("/chat").refused().await.status, 503);
        }
    };
    join_all((1..=5).map(knock)).await;
    assert!(broker.metric(HANG_UPS, &[]).await >= 10.0);
    for backend in &backends {
        backend.set("").await;
    }
    let chat = async |client| request(&broker, client).path("/chat").connect().await;
    let _clients: Vec<Client> = join_all((1..=5).map(chat)).await;
    broker.wait_sessions(5).await;
}
