//! What a session whose client is away holds up: nothing.

use nix::sys::signal::Signal;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Incoming;
use steadfast_tests::frame::{CONTINUATION, Frame, PING};
use steadfast_tests::shim::{Host, Link, ShimClient};
use steadfast_tests::wait::eventually_async;

use crate::scene::{over, session};

const KIB: usize = 1024;

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

/// When memory is short, messages that are begun come to their end one at a time.
#[tokio::test]
async fn the_turn_of_one_whose_client_was_lost_in_a_message_passes_on() {
    let host = Host::start().await;
    let broker =
        over(&[&host]).setting("limits", "message = \"128KiB\"\nring = \"1MiB\"\nbuffers = \"512KiB\"");
    let broker = broker.start().await;
    let (mut first, _link) = session(&broker, &host).await;
    let (second, mut second_link) = session(&broker, &host).await;
    first.client.send_frame(Frame::text("mbegun").unfinished()).await;
    let message = Frame::text("mbegun and ended").masked([1, 2, 3, 4]).encode();
    let (begun, end) = message.split_at(10);
    second.client.send_raw(begun.to_vec()).await;
    let (hog, mut hog_link) = session(&broker, &host).await;
    fill(&broker, &hog, &mut hog_link).await;
    first.client.send_frame(Frame::new(CONTINUATION, b" and".to_vec()).unfinished()).await;
    first.client.send_frame(Frame::new(PING, b"read".to_vec())).await;
    assert_eq!(first.client.next_but_pings().await, Incoming::Pong(b"read".to_vec()));
    let id = first.session().to_owned();
    first.client.reset().await;
    wait_state(&broker, &id, "detached").await;
    second.client.send_raw(end.to_vec()).await;
    assert_eq!(second_link.message().await, "begun and ended");
}

/// Messages that are not committed take all the memory, but for what is kept aside.
async fn fill(broker: &Broker, client: &ShimClient, link: &mut Link) {
    for _ in 0..4 {
        client.say(&"x".repeat(110 * KIB)).await;
    }
    for _ in 0..4 {
        link.message().await;
    }
    broker.wait_metric("steadfast_buffered_bytes", &[], |bytes| bytes >= (384 * KIB) as f64).await;
}
