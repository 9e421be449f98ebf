//! Weights and limits that the API changes while sessions run.

use serde_json::{Value, json};
use steadfast_tests::broker::Broker;
use steadfast_tests::upgrade::Upgrade;

use crate::{backends, home, over, shares, staying};

/// Changes a backend of the default pool; the backend as it is then.
async fn patch(broker: &Broker, name: &str, change: Value) -> Value {
    let path = format!("/api/v1/pools/default/backends/{name}");
    let answer = broker.change("PATCH", &path, &change.to_string()).await;
    assert_eq!(answer.status, 200, "{change}: {}", answer.text());
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(broker.backend(name).await.map(without_times), Some(without_times(body["backend"].clone())));
    body["backend"].clone()
}

/// What does not change by itself.
fn without_times(mut backend: Value) -> Value {
    backend["state_for_ms"].take();
    backend
}

#[tokio::test]
async fn a_weight_as_a_number_and_as_a_share() {
    let all = backends(["a", "b"]).await;
    let broker = over(&all).pool_setting("balance = \"round_robin\"").backend_setting("a", "weight = 4");
    let broker = broker.backend_setting("b", "weight = 2").start().await;
    let (_clients, homes) = staying(&broker, 6).await;
    assert_eq!(shares(&homes, ["a", "b"]), [4, 2]);
    let changed = patch(&broker, "a", json!({ "weight": "50%" })).await;
    assert_eq!((&changed["weight"], &changed["effective_weight"]), (&json!(4), &json!(2.0)));
    let (_clients, homes) = staying(&broker, 12).await;
    // What was owed before the change may still be paid.
    let [to_a, to_b] = shares(&homes, ["a", "b"]);
    assert!(to_a.abs_diff(to_b) <= 2, "equal shares: {homes:?}");
    let changed = patch(&broker, "b", json!({ "weight": 6 })).await;
    assert_eq!((&changed["weight"], &changed["effective_weight"]), (&json!(2), &json!(6.0)));
    let (_clients, homes) = staying(&broker, 24).await;
    let [to_a, _] = shares(&homes, ["a", "b"]);
    assert!((4..=8).contains(&to_a), "a quarter of 24: {homes:?}");
    assert_eq!(patch(&broker, "a", json!({ "weight": "100%" })).await["effective_weight"], json!(4.0));
    assert_eq!(patch(&broker, "a", json!({ "weight": 256 })).await["effective_weight"], json!(256.0));
    let weight = broker.metric("steadfast_backend_weight", &[("backend", "a")]).await;
    assert_eq!(weight, 256.0);
}

#[tokio::test]
async fn without_weight_it_keeps_its_sessions_and_gets_no_new_one() {
    let all = backends(["a", "b"]).await;
    let broker = over(&all).start().await;
    let (mut clients, before) = staying(&broker, 6).await;
    assert_eq!(shares(&before, ["a", "b"]), [3, 3]);
    let changed = patch(&broker, "a", json!({ "weight": 0 })).await;
    assert_eq!((&changed["state"], &changed["sessions"]), (&json!("off"), &json!(3)));
    assert_eq!(staying(&broker, 5).await.1, ["b"; 5]);
    for (client, before) in clients.iter_mut().zip(&before) {
        assert_eq!(&home(client).await, before);
    }
    assert!(broker.sessions().await.iter().all(|session| session["failovers"] == 0));
    let changed = patch(&broker, "b", json!({ "weight": "0%" })).await;
    assert_eq!(changed["state"], "off");
    let response = Upgrade::to(broker.address()).refused().await;
    assert_eq!(response.status, 503);
    assert!(response.header("retry-after").is_some());
    assert_eq!(patch(&broker, "a", json!({ "weight": "100%" })).await["state"], "up");
    assert_eq!(staying(&broker, 2).await.1, ["a"; 2]);
}

#[tokio::test]
async fn a_limit_that_is_set_and_lifted() {
    let all = backends(["a"]).await;
    let broker = over(&all).pool_setting("queue = { max = 0 }").start().await;
    let (mut clients, _) = staying(&broker, 3).await;
    assert_eq!(patch(&broker, "a", json!({ "max_sessions": 2 })).await["max_sessions"], json!(2));
    assert_eq!(Upgrade::to(broker.address()).refused().await.status, 503);
    for client in &mut clients {
        client.ask("still here", "a:still here").await;
    }
    // A change of the weight alone leaves the limit.
    assert_eq!(patch(&broker, "a", json!({ "weight": 7 })).await["max_sessions"], json!(2));
    assert_eq!(Upgrade::to(broker.address()).refused().await.status, 503);
    let changed = patch(&broker, "a", json!({ "max_sessions": null })).await;
    assert_eq!((&changed["max_sessions"], &changed["effective_weight"]), (&Value::Null, &json!(7.0)));
    staying(&broker, 2).await;
}
