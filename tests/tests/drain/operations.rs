//! Operations over the API: what begins, changes and ends them, and what comes of them.

use serde_json::{Value, json};
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::eventually_async;

use crate::scene::{POOL, add, body, clients, order, wait_operation};

async fn pair() -> (Backend, Backend) {
    (Backend::start("a", "").await, Backend::start("b", "").await)
}

/// Sessions fall quiet soon, and none waits long for that.
fn quick(backends: &[&Backend]) -> BrokerBuilder {
    let drain = "quiet = \"20ms\"\nquiet_max = \"50ms\"\npatience = \"50ms\"\nhold = \"100ms\"";
    Broker::over(backends).setting("drain", drain).setting("failover", "stable = \"50ms\"")
}

/// The backend that answers.
async fn home(client: &mut Client) -> String {
    client.send("where?").await;
    client.text().await.split(':').next().expect("a name").to_owned()
}

#[tokio::test]
async fn a_drained_backend_is_empty_and_gets_nothing_until_it_is_undrained() {
    let (a, b) = pair().await;
    let broker = quick(&[&a, &b]).start().await;
    let mut clients = clients(&broker, 6).await;
    let begun = order(&broker, &format!("{POOL}/backends/a/drain"), json!({ "rate": 50 })).await;
    let expected = json!({ "id": "drain-1", "kind": "drain", "pool": "default", "backend": "a",
        "cause": "operator", "rate": 50, "concurrency": 100, "errors_max": 10, "time_limit_ms": 900_000,
        "force": false });
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(&begun[key], value, "{key}");
    }
    let done = wait_operation(&broker, "drain-1", "done").await;
    assert_eq!((&done["sessions"]["total"], &done["sessions"]["moved"]), (&json!(3), &json!(3)));
    assert_eq!(done["message"], "a holds no session");
    for client in &mut clients {
        assert_eq!(home(client).await, "b");
    }
    let drained = broker.backend("a").await.expect("listed");
    assert_eq!((&drained["state"], &drained["drain"]), (&json!("draining"), &Value::Null));
    let mut newcomer = Client::connect(broker.address()).await;
    assert_eq!(home(&mut newcomer).await, "b");
    let undrained = broker.post(&format!("{POOL}/backends/a/undrain")).await;
    assert_eq!(body(&undrained)["backend"]["state"], "up");
    assert_eq!(home(&mut Client::connect(broker.address()).await).await, "a");
    let ended = [("kind", "drain"), ("state", "done")];
    assert_eq!(broker.metric("steadfast_operations_total", &ended).await, 1.0);
    assert_eq!(broker.metric("steadfast_moves_total", &[("outcome", "moved")]).await, 3.0);
    assert_eq!(broker.metric("steadfast_messages_lost_total", &[]).await, 0.0);
}

#[tokio::test]
async fn what_is_in_the_way_is_named() {
    let a = Backend::start("a", "").await;
    let broker = quick(&[&a]).start().await;
    let _client = Client::connect(broker.address()).await;
    order(&broker, &format!("{POOL}/backends/a/drain"), json!({})).await;
    let waiting = wait_operation(&broker, "drain-1", "waiting").await;
    assert_eq!(waiting["message"], "no other backend has room; the sessions stay until one has");
    for path in ["/backends/a/drain", "/backends/a/failover", "/backends/a/disable", "/rebalance"] {
        let refused = broker.post(&format!("{POOL}{path}")).await;
        assert_eq!(refused.status, 409, "{path}: {}", refused.text());
        let error = body(&refused)["error"].clone();
        assert_eq!((&error["code"], &error["operation"]), (&json!("conflict"), &json!("drain-1")), "{path}");
    }
    let cancelled = order(&broker, "/api/v1/operations/drain-1/cancel", json!({})).await;
    assert_eq!((&cancelled["state"], &cancelled["sessions"]["remaining"]), (&json!("cancelled"), &json!(1)));
    assert_eq!(broker.backend("a").await.expect("listed")["state"], "draining");
    assert_eq!(order(&broker, "/api/v1/operations/drain-1/resume", json!({})).await["state"], "running");
    assert_eq!(broker.post("/api/v1/operations/drain-2/cancel").await.status, 404);
    for wrong in [json!({ "rate": 0 }), json!({ "rat": 1 }), json!({ "tolerance": 1 })] {
        let refused = broker.change("PATCH", "/api/v1/operations/drain-1", &wrong.to_string()).await;
        assert_eq!(refused.status, 400, "{wrong}");
    }
    let list = broker.get_json("/api/v1/operations").await;
    assert_eq!(list["operations"].as_array().map(Vec::len), Some(1), "{list}");
}

#[tokio::test]
async fn a_disabled_backend_keeps_what_it_has() {
    let a = Backend::start("a", "").await;
    let broker = quick(&[&a]).start().await;
    let mut client = Client::connect(broker.address()).await;
    let disabled = broker.post(&format!("{POOL}/backends/a/disable")).await;
    assert_eq!(body(&disabled)["backend"]["state"], "disabled");
    assert_eq!(Upgrade::to(broker.address()).refused().await.status, 503);
    client.ask("still there?", "a:still there?").await;
    let enabled = broker.post(&format!("{POOL}/backends/a/enable")).await;
    assert_eq!(body(&enabled)["backend"]["state"], "up");
    let _newcomer = Client::connect(broker.address()).await;
}

#[tokio::test]
async fn sessions_are_spread_over_a_backend_that_is_new() {
    let (a, b) = pair().await;
    let broker = quick(&[&a]).start().await;
    let mut clients = clients(&broker, 10).await;
    add(&broker, &b).await;
    order(&broker, &format!("{POOL}/rebalance"), json!({ "tolerance": 0 })).await;
    let done = wait_operation(&broker, "rebalance-1", "done").await;
    assert_eq!((&done["backend"], &done["sessions"]["moved"]), (&Value::Null, &json!(4)));
    let mut at_b = 0;
    for client in &mut clients {
        at_b += usize::from(home(client).await == "b");
    }
    assert_eq!(at_b, 4, "5 are its share, and one session is no imbalance");
}

#[tokio::test]
async fn a_failover_by_order_is_one_of_each_session() {
    let (a, b) = pair().await;
    let broker = quick(&[&a, &b]).start().await;
    let mut clients = clients(&broker, 6).await;
    order(&broker, &format!("{POOL}/backends/a/failover"), json!({})).await;
    let done = wait_operation(&broker, "failover-1", "done").await;
    assert_eq!((&done["sessions"]["total"], &done["sessions"]["moved"]), (&json!(3), &json!(3)));
    for client in &mut clients {
        home(client).await;
    }
    let counts = broker.sessions().await.iter().filter(|own| own["failovers"] == 1).count();
    assert_eq!(counts, 3);
    assert_eq!(broker.backend("a").await.expect("listed")["failures"], 0, "it was an order");
    let id = broker.sessions().await[0]["id"].as_str().expect("an id").to_owned();
    let one = format!("/api/v1/sessions/{id}/failover");
    eventually_async("settled", async || (broker.post(&one).await.status == 200).then_some(())).await;
}
