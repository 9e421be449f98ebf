//! Drains while everybody talks.

use std::time::Duration;

use serde_json::json;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::crowd::Crowd;
use crate::scene::{
    POOL, drain, nothing_has_gone_wrong, order, wait_all_moved, wait_operation, wait_progress,
};

/// Behind each answer; less than the quiet time, so that the sessions have to be held.
const PAUSE: Duration = Duration::from_millis(20);

/// Nobody falls quiet by chance, also where the machine lets a backend wait for its turn, and all are held soon.
fn busy(backends: &[&Backend]) -> BrokerBuilder {
    Broker::over(backends).setting("drain", "patience = \"300ms\"\nquiet = \"400ms\"")
}

/// Drains one of two backends whose handlers take so long, in milliseconds, under load.
async fn drain_with_handlers(delay: u64, window: usize) {
    let flags = format!("--delay {delay}");
    let (a, b) = (Backend::start("a", &flags).await, Backend::start("b", &flags).await);
    let broker = busy(&[&a, &b]).start().await;
    let crowd = Crowd::gather(&broker, 20, window, PAUSE).await;
    let drain = drain(&broker, "a").await;
    wait_all_moved(&broker, &drain, 10).await;
    crowd.goes_on(40).await;
    nothing_has_gone_wrong(&broker).await;
    assert_eq!(crowd.hush(&[&a, &b]).await, (0, 0), "arrived or answered twice");
    assert!(a.journal().sessions().iter().all(|own| own.close().map(|(code, _)| code) == Some(Some(1001))));
}

#[tokio::test]
async fn handlers_that_answer_at_once() {
    drain_with_handlers(0, 1).await;
}

#[tokio::test]
async fn handlers_that_take_50_ms() {
    drain_with_handlers(50, 3).await;
}

#[tokio::test]
async fn handlers_that_take_500_ms() {
    drain_with_handlers(500, 3).await;
}

#[tokio::test]
async fn a_drain_is_cancelled_and_resumed() {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let broker = busy(&[&a, &b]).start().await;
    let crowd = Crowd::gather(&broker, 20, 1, PAUSE).await;
    let slowly = json!({ "rate": 2 });
    let begun = order(&broker, &format!("{POOL}/backends/a/drain"), slowly).await;
    let path = format!("/api/v1/operations/{}", begun["id"].as_str().expect("an id"));
    wait_progress(&broker, "drain-1", "begun", |own| own["sessions"]["moved"] != 0).await;
    let cancelled = order(&broker, &format!("{path}/cancel"), json!({})).await;
    let remaining = cancelled["sessions"]["remaining"].as_u64().expect("a count");
    assert!(remaining > 0, "two a second, and ten there were: {cancelled}");
    let own = broker.backend("a").await.expect("listed");
    assert_eq!((&own["state"], &own["drain"]), (&json!("draining"), &json!(null)));
    // Those whose move had begun may arrive yet, and no others.
    crowd.goes_on(200).await;
    let stayed = broker.backend("a").await.expect("listed")["sessions"].as_u64().expect("a count");
    assert!(stayed > 0, "{stayed} of {remaining} stay");
    order(&broker, &format!("{path}/resume"), json!({})).await;
    let fast = broker.change("PATCH", &path, &json!({ "rate": 100 }).to_string()).await;
    assert_eq!(fast.status, 200, "{}", fast.text());
    let done = wait_operation(&broker, "drain-1", "done").await;
    assert_eq!((&done["sessions"]["moved"], &done["sessions"]["failed"]), (&json!(10), &json!(0)));
    nothing_has_gone_wrong(&broker).await;
    assert_eq!(crowd.hush(&[&a, &b]).await, (0, 0), "arrived or answered twice");
}

#[tokio::test]
async fn two_backends_are_drained_at_once() {
    let (a, b, c) =
        (Backend::start("a", "").await, Backend::start("b", "").await, Backend::start("c", "").await);
    // Before the second order, a session of the first may be on its way already: the other must be full until then.
    let broker = busy(&[&a, &b, &c]).backend_setting("a", "max_sessions = 10");
    let broker = broker.backend_setting("b", "max_sessions = 10").start().await;
    let crowd = Crowd::gather(&broker, 30, 1, PAUSE).await;
    let drains = [drain(&broker, "a").await, drain(&broker, "b").await];
    for drain in &drains {
        wait_all_moved(&broker, drain, 10).await;
    }
    crowd.goes_on(60).await;
    let last = broker.backend("c").await.expect("listed");
    assert_eq!(last["sessions"], 30, "none went to the other drained one");
    nothing_has_gone_wrong(&broker).await;
    assert_eq!(crowd.hush(&[&a, &b, &c]).await, (0, 0), "arrived or answered twice");
}

#[tokio::test]
async fn a_drain_outlives_who_asked_for_it() {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let broker = busy(&[&a, &b]).start().await;
    let crowd = Crowd::gather(&broker, 10, 1, PAUSE).await;
    let mut command = broker.command(&["drain", "a", "--wait", "--rate", "2"]);
    wait_progress(&broker, "drain-1", "begun", |own| own["sessions"]["moved"] != 0).await;
    command.kill();
    wait_all_moved(&broker, "drain-1", 5).await;
    broker.post(&format!("{POOL}/backends/a/undrain")).await;
    let mut hasty = TcpStream::connect(broker.admin_address()).await.expect("the listener accepts");
    let request = format!(
        "POST {POOL}/backends/b/drain HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n",
        broker.admin_address()
    );
    hasty.write_all(request.as_bytes()).await.expect("a connection");
    drop(hasty);
    wait_all_moved(&broker, "drain-2", 10).await;
    nothing_has_gone_wrong(&broker).await;
    assert_eq!(crowd.hush(&[&a, &b]).await, (0, 0), "arrived or answered twice");
}
