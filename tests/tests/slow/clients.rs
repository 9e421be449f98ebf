//! Clients that take their time, and clients that are gone.

use std::time::Duration;

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::{Client, Incoming};
use steadfast_tests::frame::End;
use tokio::time::sleep;

/// Clients are pinged each 100 ms, and their pong is missed soon; but four times `stall` is never too long for one
/// that reads.
fn strict(backend: &Backend, stall: &str) -> BrokerBuilder {
    let times = format!(
        "keepalive = \"100ms\"\nclient_pong = \"200ms\"\nclient_stall = \"{stall}\"\nclose = \"500ms\""
    );
    Broker::over(&[backend]).setting("timeouts", &times)
}

/// The pong to a ping behind a burst comes when the client has read the burst.
#[tokio::test]
async fn a_client_that_takes_a_burst_message_by_message_is_kept() {
    let backend = Backend::start("a", "").await;
    let broker = strict(&backend, "2s").start().await;
    let mut client = Client::connect(broker.address()).await;
    client.send("!feed 400").await;
    for n in 1..=400 {
        sleep(Duration::from_millis(5)).await;
        assert_eq!(client.text().await, format!("a:feed-{n}"));
    }
    client.ask("m-1", "a:m-1").await;
    assert_eq!(broker.ends().await, 0.0);
}

#[tokio::test]
async fn a_client_that_reads_600_kb_at_a_steady_300_kb_a_second_is_kept() {
    let backend = Backend::start("a", "").await;
    let broker = strict(&backend, "2s").start().await;
    let mut client = Client::connect(broker.address()).await;
    client.shrink_receive_buffer(32 << 10);
    for _ in 0..150 {
        client.send("!big 4000").await;
    }
    for _ in 1..=150 {
        sleep(Duration::from_millis(13)).await;
        assert_eq!(client.message().await.bytes.len(), 4000);
    }
    client.ask("m-1", "a:m-1").await;
    assert_eq!(broker.ends().await, 0.0);
}

/// It is told so between two messages, and the connection ends in good order.
#[tokio::test]
async fn a_client_that_reads_and_never_answers_pings_is_closed() {
    let backend = Backend::start("a", "--feed 5").await;
    let broker = strict(&backend, "500ms").start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ignore_pings();
    let mut rest = client.rest().await;
    assert_eq!(rest.pop(), Some(Incoming::End(End::Eof)));
    assert!(matches!(rest.pop(), Some(Incoming::Close(Some(_), reason)) if !reason.is_empty()), "a Close");
    for (n, incoming) in (1..).zip(rest) {
        let Incoming::Message(message) = incoming else { panic!("a message, not {incoming:?}") };
        assert_eq!(message.bytes, format!("a:feed-{n}").into_bytes());
    }
    broker.wait_causes(1).await;
}

/// The negative: nothing is acknowledged any more.
#[tokio::test]
async fn a_client_whose_connection_is_dead_is_given_up() {
    let backend = Backend::start("a", "").await;
    let broker = strict(&backend, "500ms").start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    client.swallow();
    broker.wait_causes(1).await;
    assert!(backend.wait_end(0).await.end().is_some());
}
