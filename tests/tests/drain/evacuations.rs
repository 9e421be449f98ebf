//! Evacuations: the sessions of a backend that is down leave it by themselves, and whoever wants otherwise wins.

use serde_json::{Value, json};
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::wait::eventually_async;

use crate::scene::{POOL, add, body, clients, order, wait_operation, wait_progress};

/// Healthy as far as its page says.
const WELL: &str = "--page /health:200";
/// Ill as far as its page says; sessions go on.
const ILL: &str = "--page /health:503";
/// It talks on, so that no session has a quiet moment.
const FEED: &str = "--feed 10";

/// A quiet moment is waited for so long that it does not come.
const LEISURE: &str =
    "quiet = \"20s\"\nquiet_max = \"20s\"\npatience = \"30s\"\nhold = \"30s\"\ndeadline = \"1m\"";

/// `a` with three sessions, and `b`, which has come after them. Both begin with these flags.
async fn scene(flags: &str, drain: &str) -> (Backend, Backend, Broker, Vec<Client>) {
    let flags = format!("{WELL} {flags}");
    let (a, b) = (Backend::start("a", &flags).await, Backend::absent("b", &flags));
    let table = "[pool.health]\ntype = \"http\"\npath = \"/health\"\ninterval = \"50ms\"\njitter = \"0s\"";
    let broker = Broker::over(&[&a, &b]).pool_table(table).setting("failover", "stable = \"50ms\"");
    let broker = broker.setting("drain", drain).start().await;
    broker.wait_state("b", "down").await;
    let clients = clients(&broker, 3).await;
    b.restart().await;
    broker.wait_backend("b", "well", |own| own["state"] == "up" && own["health"] == "up").await;
    (a, b, broker, clients)
}

async fn operations(broker: &Broker, kind: &str) -> Vec<Value> {
    let list = broker.get_json("/api/v1/operations").await;
    let all = list["operations"].as_array().cloned().expect("a list");
    all.into_iter().filter(|own| own["kind"] == kind).collect()
}

/// Waits until the newest evacuation is in `state`; it as it is then.
async fn wait_newest(broker: &Broker, state: &str) -> Value {
    eventually_async(&format!("an evacuation that is {state}"), async || {
        operations(broker, "evacuation").await.into_iter().next().filter(|own| own["state"] == state)
    })
    .await
}

#[tokio::test]
async fn a_backend_that_is_down_is_emptied_by_an_operation_of_its_own() {
    let (a, _b, broker, mut clients) = scene("", "quiet = \"50ms\"").await;
    assert_eq!(operations(&broker, "evacuation").await, Vec::<Value>::new());
    a.set(ILL).await;
    let done = wait_newest(&broker, "done").await;
    let expected = json!({ "pool": "default", "backend": "a", "cause": "down", "rate": null, "concurrency": null,
        "errors_max": null, "time_limit_ms": null, "force": false, "message": "a holds no session" });
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(&done[key], value, "{key}");
    }
    assert!(done["why"].as_str().is_some_and(|why| why.starts_with("its health checks fail: ")), "{done}");
    assert_eq!((&done["sessions"]["total"], &done["sessions"]["moved"]), (&json!(3), &json!(3)));
    for client in &mut clients {
        client.ask("m-1", "b:m-1").await;
    }
    let ended = [("kind", "evacuation"), ("state", "done")];
    assert_eq!(broker.metric("steadfast_operations_total", &ended).await, 1.0);
    assert_eq!(operations(&broker, "evacuation").await.len(), 1);
}

#[tokio::test]
async fn an_operators_drain_wins() {
    let (a, _b, broker, _clients) = scene(FEED, LEISURE).await;
    a.set(&format!("{ILL} {FEED}")).await;
    let evacuation = wait_newest(&broker, "running").await["id"].as_str().expect("an id").to_owned();
    let refused = broker
        .change("PATCH", &format!("/api/v1/operations/{evacuation}"), &json!({ "rate": 1 }).to_string())
        .await;
    assert_eq!((refused.status, &body(&refused)["error"]["operation"]), (409, &json!(evacuation)));
    let drain = order(&broker, &format!("{POOL}/backends/a/drain"), json!({})).await;
    let drain = drain["id"].as_str().expect("an id");
    let ended = wait_operation(&broker, &evacuation, "cancelled").await;
    assert_eq!(ended["message"], "it gives way: drain of a");
    let moving = |own: &Value| own["sessions"]["moving"] == 3;
    wait_progress(&broker, drain, "its sessions move", moving).await;
    assert_eq!(operations(&broker, "evacuation").await.len(), 1, "none begins beside a drain");
    order(&broker, &format!("/api/v1/operations/{drain}/cancel"), json!({})).await;
    let next = wait_newest(&broker, "running").await;
    order(&broker, &format!("/api/v1/operations/{}/cancel", next["id"].as_str().expect("an id")), json!({}))
        .await;
    a.set(&format!("{WELL} {FEED}")).await;
    broker.wait_state("a", "draining").await;
    let cancelled = operations(&broker, "evacuation").await;
    assert_eq!((cancelled.len(), &cancelled[0]["state"]), (1, &json!("cancelled")), "somebody has said so");
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 0.0);
}

#[tokio::test]
async fn a_backend_that_comes_and_goes_pushes_no_other_operation_out() {
    let (a, _b, broker, _clients) = scene(FEED, LEISURE).await;
    let c = Backend::start("c", WELL).await;
    add(&broker, &c).await;
    for _ in 0..100 {
        assert_eq!(broker.post(&format!("{POOL}/backends/c/drain")).await.status, 202);
    }
    for _ in 0..3 {
        a.set(&format!("{ILL} {FEED}")).await;
        wait_newest(&broker, "running").await;
        a.set(&format!("{WELL} {FEED}")).await;
        let done = wait_newest(&broker, "done").await;
        assert_eq!(done["message"], "a is down no more; who has not left it stays");
        assert_eq!((&done["sessions"]["total"], &done["sessions"]["moved"]), (&json!(3), &json!(0)));
    }
    assert_eq!(operations(&broker, "drain").await.len(), 100);
    assert_eq!(operations(&broker, "evacuation").await.len(), 1, "the last one of the backend");
}
