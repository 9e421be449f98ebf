//! Upgrades that wait while every backend is full.

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::http::Response;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::{bounded, eventually_async};
use tokio::task::JoinHandle;

use crate::{backends, over, staying};

/// A broker over one backend that takes one session, with this queue.
fn narrow(backend: &Backend, queue: &str) -> BrokerBuilder {
    let broker = over(std::slice::from_ref(backend)).backend_setting(backend.name(), "max_sessions = 1");
    broker.pool_setting(&format!("queue = {{ {queue} }}"))
}

/// An upgrade that is under way.
type Waiting = JoinHandle<Result<Client, Response>>;

/// Begins an upgrade, and waits until it is the `n`th in the queue.
async fn wait_in_line(broker: &Broker, n: usize) -> Waiting {
    let request = Upgrade::to(broker.address()).header("X-Place", &n.to_string());
    let waiting = tokio::spawn(async move { request.attempt().await });
    broker.wait_waiting("default", n).await;
    waiting
}

async fn let_in(waiting: Waiting) -> Client {
    let outcome = bounded("an upgrade that waits", waiting).await.expect("no panic");
    outcome.unwrap_or_else(|response| panic!("it was refused: {response:?}"))
}

/// The places of the upgrades that have come to the backend, in order.
fn places(backend: &Backend) -> Vec<String> {
    let place =
        |connection: steadfast_tests::journal::Connection| connection.header("x-place").map(str::to_owned);
    backend.journal().connections().into_iter().filter_map(place).collect()
}

fn assert_come_back(response: &Response) {
    assert_eq!(response.status, 503, "{response:?}");
    let seconds = response.header("retry-after").and_then(|value| value.parse::<u32>().ok());
    assert!(seconds.is_some_and(|seconds| seconds >= 1), "Retry-After in seconds: {response:?}");
}

#[tokio::test]
async fn who_waits_is_let_in_in_order_when_a_session_ends() {
    let [backend] = backends(["a"]).await;
    let broker = narrow(&backend, "timeout = \"5m\"").start().await;
    let mut present = Client::connect(broker.address()).await;
    let mut line = Vec::new();
    for n in 1..=8 {
        line.push(wait_in_line(&broker, n).await);
    }
    assert_eq!(broker.metric("steadfast_queue_length", &[("pool", "default")]).await, 8.0);
    assert_eq!(backend.journal().peers().len(), 1, "who waits touches no backend");
    for (n, next) in (1..).zip(line) {
        present.close(1000, "").await;
        backend.wait_upgrades(n + 1).await;
        assert_eq!(places(&backend).last(), Some(&n.to_string()), "came in: {:?}", places(&backend));
        present = let_in(next).await;
        present.ask("hello", "a:hello").await;
    }
    broker.wait_waiting("default", 0).await;
}

#[tokio::test]
async fn places_that_come_at_once_are_all_taken() {
    let [backend] = backends(["a"]).await;
    let broker = narrow(&backend, "timeout = \"5m\"").start().await;
    let _present = Client::connect(broker.address()).await;
    let mut line = Vec::new();
    for n in 1..=6 {
        line.push(wait_in_line(&broker, n).await);
    }
    let answer = broker.change("PATCH", "/api/v1/pools/default/backends/a", "{\"max_sessions\": 4}").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    backend.wait_upgrades(4).await;
    broker.wait_waiting("default", 3).await;
    let mut came: Vec<_> = places(&backend);
    came.sort();
    assert_eq!(came, ["1", "2", "3"]);
    let answer = broker.change("PATCH", "/api/v1/pools/default/backends/a", "{\"max_sessions\": null}").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    for waiting in line {
        let_in(waiting).await.ask("hello", "a:hello").await;
    }
}

#[tokio::test]
async fn a_full_queue_turns_away() {
    let [backend] = backends(["a"]).await;
    let broker = narrow(&backend, "max = 2, timeout = \"5m\"").start().await;
    let present = Client::connect(broker.address()).await;
    let line = [wait_in_line(&broker, 1).await, wait_in_line(&broker, 2).await];
    assert_come_back(&Upgrade::to(broker.address()).refused().await);
    assert_eq!(broker.metric("steadfast_limit_hits_total", &[("limit", "queue")]).await, 1.0);
    assert_eq!(broker.metric("steadfast_queue_timeouts_total", &[]).await, 0.0);
    present.close(1000, "").await;
    let [first, second] = line;
    let_in(first).await.close(1000, "").await;
    let_in(second).await.ask("hello", "a:hello").await;
}

#[tokio::test]
async fn who_waits_too_long_is_told_to_come_back() {
    let [backend] = backends(["a"]).await;
    let broker = narrow(&backend, "timeout = \"300ms\"").start().await;
    let mut present = Client::connect(broker.address()).await;
    assert_come_back(&Upgrade::to(broker.address()).refused().await);
    assert_eq!(broker.metric("steadfast_queue_timeouts_total", &[("pool", "default")]).await, 1.0);
    broker.wait_waiting("default", 0).await;
    assert_eq!(backend.journal().peers().len(), 1);
    present.ask("still here", "a:still here").await;
}

#[tokio::test]
async fn who_leaves_the_line_is_not_waited_for() {
    let [backend] = backends(["a"]).await;
    let broker = narrow(&backend, "timeout = \"5m\"").start().await;
    let present = Client::connect(broker.address()).await;
    let leaving = Upgrade::to(broker.address()).open().await;
    broker.wait_waiting("default", 1).await;
    let next = wait_in_line(&broker, 2).await;
    drop(leaving);
    broker.wait_waiting("default", 1).await;
    present.close(1000, "").await;
    let_in(next).await.ask("hello", "a:hello").await;
    assert_eq!(backend.journal().peers().len(), 2);
}

#[tokio::test]
async fn a_backend_that_is_added_takes_those_who_wait() {
    let [full, fresh] = backends(["a", "b"]).await;
    let broker = narrow(&full, "timeout = \"5m\"").start().await;
    let _present = Client::connect(broker.address()).await;
    let line = [wait_in_line(&broker, 1).await, wait_in_line(&broker, 2).await];
    let body = format!("{{\"url\": {:?}, \"name\": \"b\"}}", fresh.url());
    let answer = broker.change("POST", "/api/v1/pools/default/backends", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    for waiting in line {
        let_in(waiting).await.ask("hello", "b:hello").await;
    }
}

/// Its own backend is back, and the other stays full: it has nothing to wait for.
#[tokio::test]
async fn a_session_whose_backend_comes_back_does_not_wait_for_another() {
    let all = backends(["a", "b"]).await;
    let broker =
        over(&all).pool_setting("queue = { timeout = \"5m\" }").setting("failover", "deadline = \"5m\"");
    let broker = broker.backend_setting("a", "max_sessions = 1").backend_setting("b", "max_sessions = 1");
    let broker = broker.start().await;
    let (mut clients, homes) = staying(&broker, 2).await;
    assert_eq!(homes, ["a", "b"]);
    eventually_async("what is answered to be acknowledged", async || {
        (broker.metric("steadfast_messages_acknowledged_total", &[]).await == 2.0).then_some(())
    })
    .await;
    all[0].kill();
    all[0].restart().await;
    clients[0].ask("back", "a:back").await;
    clients[1].ask("still here", "b:still here").await;
}
