//! Services that link the shim may take their time like any other: commits come when they come.

use std::time::Duration;

use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::sequence::{numbered, send_range};
use steadfast_tests::shim::Host;
use tokio::time::sleep;

use crate::NO_PROBE;

/// It commits when it has handled all.
#[tokio::test]
async fn a_service_that_takes_5_ms_for_each_of_600_messages() {
    let (a, b) = (Host::start().await, Host::start().await);
    let broker = Broker::over(&[]).pool_setting("ack = \"shim\"\nack_timeout = \"1500ms\"");
    let broker = broker.pool_setting(NO_PROBE).pool_table(&a.table("a"));
    let broker = broker.pool_table(&format!("{}\nbackup = true", b.table("b"))).start().await;
    let (mut client, mut link) = tokio::join!(Client::connect(broker.address()), a.accept());
    let tag = "m".repeat(200);
    send_range(&client, &tag, 1, 600).await;
    for n in 1..=600 {
        sleep(Duration::from_millis(5)).await;
        assert_eq!(link.message().await, numbered(&tag, n));
    }
    link.commit(1, 600, None, &["done"]).await;
    assert_eq!(client.text().await, "done");
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 0.0);
    client.send("one more").await;
    assert_eq!(link.message().await, "one more");
}
