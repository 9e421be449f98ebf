//! What a session whose client is away holds up: nothing.

use nix::sys::signal::Signal;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Incoming;
use steadfast_tests::frame::{CONTINUATION, End, Frame, PING};
use steadfast_tests::shim::{Host, Link, ShimClient};
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::{eventually_async, eventually_some};

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

#[tokio::test]
async fn the_log_says_from_where_a_client_is_back_and_shows_nobodys_token() {
    const PLAIN: &str = "c2VjcmV0LW9mLXRoZS1jbGllbnRz";
    let host = Host::start().await;
    let backend = Backend::start("p", "").await;
    let broker = over(&[&host])
        .pool("plain", &[&backend])
        .pool_setting("plain_resume = true")
        .setting("log", "level = \"trace\"")
        .start()
        .await;
    let (client, _link) = session(&broker, &host).await;
    let first = client.token().to_owned();
    client.client.reset().await;
    let mut client = ShimClient::connect(broker.address(), Some((&first, 0))).await;
    client.client.send("q").await;
    client.acknowledged(0, 0).await;
    for _ in 0..2 {
        let path = format!("/?steadfast-resume={PLAIN}");
        let mut plain = Upgrade::to(broker.address_of(1)).path(&path).connect().await;
        plain.send("one").await;
        plain.text().await;
    }
    let back = eventually_some("both clients to be back", || {
        Some(broker.records(|record| record["message"] == "client is back")).filter(|back| back.len() == 2)
    })
    .await;
    assert!(
        back.iter().all(|line| line["client"].as_str().is_some_and(|from| from.starts_with("127.0.0.1:")))
    );
    let shown = [broker.log().join("\n"), broker.get("/metrics").await.text()];
    let sessions = broker.get("/api/v1/sessions").await.text();
    // A token's first 21 characters name the session, which is no secret.
    for secret in [&first[22..], &client.token()[22..], PLAIN] {
        assert!(shown.iter().chain([&sessions]).all(|text| !text.contains(secret)));
    }
}

#[tokio::test]
async fn a_client_that_is_given_up_learns_of_it() {
    let host = Host::start().await;
    // Nothing but the client's end wakes the session.
    let broker = over(&[&host])
        .pool_setting("ack_timeout = \"1h\"")
        .setting("timeouts", "client_stall = \"200ms\"\nkeepalive = \"0s\"")
        .setting("limits", "message = \"64KiB\"\nring = \"64KiB\"")
        .start()
        .await;
    let (mut client, mut link) = session(&broker, &host).await;
    let output = "x".repeat(40 * KIB);
    link.commit(1, 0, None, &[&output, &output]).await;
    for _ in 0..2 {
        client.message().await;
    }
    // It acknowledges nothing, and so much is kept for it that its service is not read.
    wait_state(&broker, client.session(), "detached").await;
    assert_eq!(client.client.ended().await, End::Reset);
}

#[tokio::test]
async fn a_paused_listener_takes_those_that_come_back() {
    let host = Host::start().await;
    let broker = over(&[&host]).start().await;
    let (client, _link) = session(&broker, &host).await;
    let token = client.token().to_owned();
    client.client.reset().await;
    assert_eq!(broker.change("POST", "/api/v1/pause", "").await.status, 200);
    assert_eq!(Upgrade::to(broker.address()).refused().await.status, 503);
    let back = ShimClient::connect(broker.address(), Some((&token, 0))).await;
    assert_eq!(back.standing(), "resumed 0 0");
}
