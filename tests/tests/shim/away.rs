//! What a session whose client is away holds up: nothing.

use nix::sys::signal::Signal;
use steadfast_tests::broker::Broker;
use steadfast_tests::shim::Host;
use steadfast_tests::wait::eventually_async;

use crate::scene::{over, session};

async fn wait_state(broker: &Broker, id: &str, state: &str) {
    eventually_async(&format!("a session to be {state}"), async || {
        let sessions = broker.sessions().await;
        sessions.iter().any(|one| one["id"] == id && one["state"] == state).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_takes_no_clients_does_not_wait_for_them() {
    let host = Host::start().await;
    let mut broker = over(&[&host]).setting("shutdown", "grace = \"10m\"").start().await;
    let (away, mut link) = session(&broker, &host).await;
    let (client, _other) = session(&broker, &host).await;
    let id = away.session().to_owned();
    away.client.reset().await;
    wait_state(&broker, &id, "detached").await;
    broker.signal(Signal::SIGTERM);
    assert_eq!(link.closed().await, (Some(1001), "the service is going away".to_owned()));
    drop(link);
    broker.wait_sessions(1).await;
    client.client.reset().await;
    assert_eq!(broker.wait_exit().await.code(), Some(0));
    let causes: Vec<_> = broker.access_lines().iter().map(|line| line["cause"].clone()).collect();
    assert_eq!(causes, ["shutdown", "client_gone"]);
}
