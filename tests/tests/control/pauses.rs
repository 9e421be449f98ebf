//! Listeners that take no new sessions for a while.

use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::eventually_some;

use crate::{json, sentence};

async fn two_listeners() -> ([Backend; 2], Broker) {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let broker = Broker::over(&[&a]).pool("second", &[&b]).start().await;
    ([a, b], broker)
}

fn paused(listeners: &Value) -> Vec<bool> {
    let listeners = listeners["listeners"].as_array().expect("a list");
    listeners.iter().map(|listener| listener["paused"].as_bool().expect("yes or no")).collect()
}

async fn switch(broker: &Broker, what: &str, body: &str) -> Vec<bool> {
    let answer = broker.change("POST", &format!("/api/v1/{what}"), body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    paused(&json(&answer))
}

#[tokio::test]
async fn a_paused_listener_turns_new_sessions_away_and_keeps_the_others() {
    let (_backends, broker) = two_listeners().await;
    let mut stays = Client::connect(broker.address()).await;
    let body = format!("{{\"listener\": \"{}\"}}", broker.address());
    assert_eq!(switch(&broker, "pause", &body).await, [true, false]);

    let answer = Upgrade::to(broker.address()).refused().await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("paused"), "{}", answer.text());
    assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()));
    stays.ask("still here", "a:still here").await;
    Client::connect(broker.address_of(1)).await.ask("x", "b:x").await;
    assert_eq!(broker.get("/readyz").await.status, 200, "one listener is open");
    let address = broker.address().to_string();
    let gauge = broker.metric("steadfast_listener_paused", &[("listener", &address)]).await;
    assert_eq!((gauge, broker.metric("steadfast_listener_paused", &[]).await), (1.0, 1.0));

    assert_eq!(switch(&broker, "resume", &body).await, [false, false]);
    Client::connect(broker.address()).await.ask("again", "a:again").await;
    assert_eq!(broker.metric("steadfast_listener_paused", &[]).await, 0.0);
    for what in ["listener paused", "listener resumed"] {
        let told = || broker.records(|record| record["message"] == what && record["listener"] == address);
        let lines = eventually_some(what, || Some(told()).filter(|lines| !lines.is_empty())).await;
        assert_eq!(lines.len(), 1);
    }
}

#[tokio::test]
async fn a_pause_comes_before_the_rules() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).setting("access", "deny = \"127.0.0.0/8\"").start().await;
    assert_eq!(Upgrade::to(broker.address()).refused().await.status, 403);
    assert_eq!(switch(&broker, "pause", "").await, [true]);
    assert_eq!(Upgrade::to(broker.address()).refused().await.status, 503);
    assert_eq!(broker.metric("steadfast_denied_total", &[]).await, 1.0);
}

#[tokio::test]
async fn with_all_paused_the_broker_is_not_ready() {
    let (_backends, broker) = two_listeners().await;
    assert_eq!(switch(&broker, "pause", "").await, [true, true]);
    let ready = broker.get("/readyz").await;
    assert_eq!((ready.status, ready.text().as_str()), (503, "paused\n"));
    assert_eq!(broker.get("/healthz").await.status, 200);
    let body = format!("{{\"listener\": \"{}\"}}", broker.address_of(1));
    assert_eq!(switch(&broker, "resume", &body).await, [true, false]);
    assert_eq!(broker.get("/readyz").await.status, 200);
    assert_eq!(switch(&broker, "resume", "{}").await, [false, false]);
}

#[tokio::test]
async fn a_pause_survives_a_reload() {
    let (_backends, broker) = two_listeners().await;
    switch(&broker, "pause", "").await;
    assert_eq!(broker.post("/api/v1/reload").await.status, 200);
    assert_eq!(paused(&broker.get_json("/api/v1/listeners").await), [true, true]);
    assert_eq!(Upgrade::to(broker.address()).refused().await.status, 503);
}

#[tokio::test]
async fn listeners_are_listed() {
    let (_backends, broker) = two_listeners().await;
    let _clients = [Client::connect(broker.address()).await, Client::connect(broker.address()).await];
    broker.wait_sessions(2).await;
    let expected = serde_json::json!({ "listeners": [
        { "address": broker.address().to_string(), "pool": "default", "paused": false, "sessions": 2 },
        { "address": broker.address_of(1).to_string(), "pool": "second", "paused": false, "sessions": 0 },
    ]});
    assert_eq!(broker.get_json("/api/v1/listeners").await, expected);
    for (body, status, code, part) in [
        ("{\"listener\": \"127.0.0.1:1\"}", 404, "not_found", "127.0.0.1:1"),
        ("{\"listener\": \"nowhere\"}", 400, "invalid", "nowhere"),
        ("{\"listner\": \"127.0.0.1:1\"}", 400, "invalid", "listner"),
    ] {
        let sentence = sentence(&broker.change("POST", "/api/v1/pause", body).await, status, code);
        assert!(sentence.contains(part), "{body}: {sentence}");
    }
    assert_eq!(broker.get_json("/api/v1/listeners").await, expected);
}
