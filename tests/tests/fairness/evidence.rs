//! What one session makes its backends say is evidence about that session first.

use std::net::Ipv4Addr;

use futures::future::join_all;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::eventually_async;

/// Innocent clients.
const INNOCENTS: u8 = 12;

async fn backends<const N: usize>(flags: &str) -> [Backend; N] {
    let names = ["a", "b", "c", "d"];
    let started = join_all((0..N).map(|n| Backend::start(names[n], flags))).await;
    started.try_into().expect("as many as names")
}

/// Looks for the next backend soon, so that one message meets many of them.
fn hurried(backends: &[Backend]) -> BrokerBuilder {
    let broker = Broker::over(&backends.iter().collect::<Vec<_>>());
    broker.setting("failover", "backoff_min = \"20ms\"\nbackoff_max = \"50ms\"")
}

/// A request of one of several clients.
fn request(broker: &Broker, client: u8) -> Upgrade {
    Upgrade::to(broker.address()).from(Ipv4Addr::new(127, 0, 1, client))
}

async fn innocents(broker: &Broker) -> Vec<Client> {
    join_all((1..=INNOCENTS).map(async |client| request(broker, client).connect().await)).await
}

/// One exchange of each.
async fn all_talk(clients: &mut [Client]) {
    for client in clients {
        client.send("hello").await;
        let answer = client.text().await;
        assert!(answer.ends_with(":hello"), "{answer}");
    }
}

/// The states of the pool's backends.
async fn states(broker: &Broker, backends: &[Backend]) -> Vec<String> {
    let mut states = Vec::new();
    for backend in backends {
        let state = broker.backend(backend.name()).await.expect("listed")["state"].clone();
        states.push(state.as_str().expect("a word").to_owned());
    }
    states
}

/// How often each backend has got this message.
fn deliveries(backends: &[Backend], text: &str) -> Vec<usize> {
    let count = |backend: &Backend| backend.journal().texts().iter().filter(|own| *own == text).count();
    backends.iter().map(count).collect()
}

/// Has innocents talk, and new ones come, until `done`; none may be refused, nor the pool be empty.
async fn nobody_suffers(broker: &Broker, backends: &[Backend], done: impl Fn() -> bool) {
    let mut innocents = innocents(broker).await;
    eventually_async("the attack to be over", async || {
        all_talk(&mut innocents).await;
        let mut newcomer = request(broker, INNOCENTS + 1).connect().await;
        all_talk(std::slice::from_mut(&mut newcomer)).await;
        newcomer.close(1000, "").await;
        let states = states(broker, backends).await;
        assert!(states.iter().any(|state| state == "up"), "the pool is empty: {states:?}");
        done().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_message_that_is_answered_with_service_restart_empties_no_pool() {
    let backends = backends::<4>("").await;
    let broker = hurried(&backends).start().await;
    let attacker = request(&broker, 100).connect().await;
    attacker.send("!close 1012 restart").await;
    let rounds = || deliveries(&backends, "!close 1012 restart").iter().sum::<usize>();
    nobody_suffers(&broker, &backends, || rounds() >= 40).await;
}

#[tokio::test]
async fn a_service_that_closes_idle_sessions_stays_in_service() {
    let backends = backends::<2>("").await;
    let broker = hurried(&backends).start().await;
    let mut clients = innocents(&broker).await;
    for _ in 0..5 {
        for backend in &backends {
            backend.command("!close 1001 idle").await;
        }
        all_talk(&mut clients).await;
        request(&broker, 50).connect().await.close(1000, "").await;
        assert!(states(&broker, &backends).await.iter().any(|state| state == "up"));
    }
    let asked = broker.metric("steadfast_drain_requests_total", &[("reason", "going_away")]).await;
    assert!(asked > 0.0, "it looks like a backend that goes");
    assert_eq!(broker.ends().await, 5.0, "nobody but the visitors has left");
}
