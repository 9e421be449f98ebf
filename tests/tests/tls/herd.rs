//! Many sessions that leave one backend at once, and what their handshakes with the next one cost.

use futures::future::join_all;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::process::raise_descriptor_limit;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::eventually_async;

use crate::scene::World;

const SESSIONS: usize = 100;

/// The way to order something of a backend.
fn order(name: &str, what: &str) -> String {
    format!("/api/v1/pools/default/backends/{name}/{what}")
}

/// A hundred sessions.
async fn gathered(request: &Upgrade, at: &str) -> Vec<Client> {
    raise_descriptor_limit(4 * SESSIONS as u64 + 200);
    let mut clients: Vec<Client> = join_all((0..SESSIONS).map(|_| request.connect())).await;
    for (n, client) in clients.iter_mut().enumerate() {
        client.ask(&format!("first-{n}"), &format!("{at}:first-{n}")).await;
    }
    clients
}

/// All of them go on at this backend, and nothing was lost.
async fn go_on(broker: &Broker, clients: &mut [Client], at: &str) {
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(&format!("on-{n}")).await;
        // What was not acknowledged is answered again.
        while client.text().await != format!("{at}:on-{n}") {}
    }
    let planned = broker.metric("steadfast_failovers_total", &[("reason", "planned")]).await;
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await - planned, SESSIONS as f64);
    assert_eq!(broker.metric("steadfast_messages_lost_total", &[]).await, 0.0);
    assert_eq!(broker.ends().await, 0.0, "no session has ended");
}

#[tokio::test]
async fn a_herd_resumes_at_a_backend_what_that_has_given_before() {
    let world = World::new();
    let first = world.backend("a", "--shared-tickets").await;
    let other = Backend::absent_encrypted("b", "", &world.pair);
    let broker = world.over(&[&first, &other]).start().await;
    let mut clients = gathered(&world.upgrade(&broker), "a").await;
    let before = first.journal().secured();
    other.restart().await;
    assert_eq!(broker.post(&order("a", "drain")).await.status, 202);
    eventually_async("the end of the drain", async || {
        let operations = broker.get_json("/api/v1/operations").await;
        (operations["operations"][0]["state"] == "done").then_some(())
    })
    .await;
    assert_eq!(broker.post(&order("a", "undrain")).await.status, 200);
    broker.wait_state("a", "up").await;
    other.kill();
    go_on(&broker, &mut clients, "a").await;
    let (full, resumed) = first.journal().secured();
    assert_eq!((full - before.0, resumed - before.1), (0, SESSIONS));
}

#[tokio::test]
async fn a_herd_shakes_hands_in_full_where_nothing_was_given_and_then_resumes() {
    let world = World::new();
    let first = world.backend("a", "--shared-tickets").await;
    let next = Backend::absent_encrypted("b", "--shared-tickets", &world.pair);
    let broker = world.over(&[&first, &next]).setting("herd", "dials = 4").start().await;
    let mut clients = gathered(&world.upgrade(&broker), "a").await;
    next.restart().await;
    first.kill();
    go_on(&broker, &mut clients, "b").await;
    let (full, resumed) = next.journal().secured();
    assert_eq!(full + resumed, SESSIONS);
    assert!(
        (1..=SESSIONS / 2).contains(&full),
        "{full} full ones, and {resumed} that resume what those were given"
    );
}
