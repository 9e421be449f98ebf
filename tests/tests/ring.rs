//! Bounded memory: a full ring and a full budget push back, and everything flows on afterwards.

use std::time::Duration;

use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::{Client, Writer};
use steadfast_tests::frame::{BINARY, Frame};
use steadfast_tests::payload::{Payload, noise};
use steadfast_tests::wait::{bounded, eventually};
use tokio::task::JoinHandle;

const MESSAGE: usize = 16 << 10;
const RING: usize = 256 << 10;
/// What a session may hold: it stops to read when the ring is full, and one read may have gone beyond.
const RING_BOUND: usize = RING + (128 << 10);
/// Messages of 16 KiB: 64 MiB, far more than all kernel buffers on the way.
const COUNT: usize = 4096;

fn payload(session: usize, n: usize) -> Vec<u8> {
    noise(MESSAGE, (session * 1_000_000 + n) as u64)
}

fn send_all(writer: Writer, session: usize, count: usize) -> JoinHandle<()> {
    tokio::spawn(async move {
        for n in 0..count {
            assert!(writer.send_frame(Frame::new(BINARY, payload(session, n))).await, "the connection broke");
        }
    })
}

/// Reads the answers to all messages and checks that each comes once and in order.
async fn read_all(client: &mut Client, session: usize, count: usize, name: &str) {
    for n in 0..count {
        let expected = [name.as_bytes(), b":", &payload(session, n)].concat();
        assert!(
            client.message().await.bytes == expected,
            "answer {n} of session {session} is not the one due"
        );
    }
}

fn buffered(session: &Value) -> usize {
    session["buffered_bytes"].as_u64().expect("a count of bytes") as usize
}

#[tokio::test]
async fn a_full_ring_pushes_back_and_flows_on() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).pool_setting("ack_timeout = \"1h\"");
    let limits = format!("message = {}\nring = {RING}", RING / 4);
    let broker = broker.setting("limits", &limits).setting("timeouts", "message = \"1h\"").start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("ready", "a:ready").await;
    backend.command("!stop-reading").await;
    let sender = send_all(client.writer(), 1, COUNT);
    broker.wait_only_session("a full ring", |session| buffered(session) > RING - 2 * MESSAGE).await;
    for _ in 0..20 {
        let session = broker.wait_only_session("the client's", |_| true).await;
        assert!(buffered(&session) <= RING_BOUND, "{} bytes in a ring of {RING}", buffered(&session));
        assert!(!sender.is_finished(), "64 MiB went into a ring of {RING} bytes");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    backend.command("!resume-reading").await;
    read_all(&mut client, 1, COUNT, "a").await;
    bounded("the sender's end", sender).await.expect("the sender ends well");
    broker.wait_only_session("an empty ring", |session| buffered(session) == 0).await;
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 0.0);
}

#[tokio::test]
async fn a_ring_that_is_full_of_what_is_held_flows_on_when_that_is_let_go_of() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).pool_setting("ack_hold = \"300ms\"");
    let limits = format!("message = {RING}\nring = {RING}");
    // Nothing else wakes the session.
    let broker = broker.setting("limits", &limits).setting("timeouts", "keepalive = \"1h\"").start().await;
    let mut client = Client::connect(broker.address()).await;
    let large = noise(RING - 100, 1);
    client.send_frame(Frame::new(BINARY, large.clone())).await;
    assert!(client.message().await.bytes == [b"a:", &large[..]].concat());
    for n in 0..3 {
        client.send_frame(Frame::new(BINARY, large.clone())).await;
        client.send(&format!("behind {n}")).await;
        assert!(client.message().await.bytes == [b"a:", &large[..]].concat());
        assert_eq!(bounded("an answer", client.text()).await, format!("a:behind {n}"));
    }
}

#[tokio::test]
async fn a_full_ring_is_counted_as_a_limit_reached() {
    let backend = Backend::start("a", "").await;
    let limits = format!("message = {}\nring = {RING}", RING / 4);
    let broker = Broker::over(&[&backend]).setting("limits", &limits).start().await;
    let client = Client::connect(broker.address()).await;
    backend.kill();
    let sender = send_all(client.writer(), 1, COUNT);
    broker.wait_metric("steadfast_limit_hits_total", &[("limit", "ring")], |hits| hits >= 1.0).await;
    sender.abort();
}

#[tokio::test]
async fn a_ring_that_is_full_while_no_backend_is_there_pushes_back_and_flows_on() {
    let backend = Backend::start("a", "").await;
    let limits = format!("message = {}\nring = {RING}", RING / 4);
    let broker = Broker::over(&[&backend]).setting("limits", &limits).start().await;
    let mut client = Client::connect(broker.address()).await;
    backend.kill();
    broker.wait_only_session("without a backend", |session| session["state"] != "relaying").await;
    let sender = send_all(client.writer(), 1, COUNT);
    let full =
        broker.wait_only_session("a full ring", |session| buffered(session) > RING - 2 * MESSAGE).await;
    assert!(buffered(&full) <= RING_BOUND, "{} bytes in a ring of {RING}", buffered(&full));
    assert!(!sender.is_finished(), "64 MiB went into a ring of {RING} bytes");
    backend.restart().await;
    read_all(&mut client, 1, COUNT, "a").await;
    bounded("the sender's end", sender).await.expect("the sender ends well");
    let expected: Vec<Payload> = (0..COUNT).map(|n| Payload::of(&payload(1, n))).collect();
    assert!(backend.journal().connections()[1].payloads() == expected, "the backend got something else");
}

#[tokio::test]
async fn all_sessions_together_keep_to_the_budget() {
    const SESSIONS: usize = 12;
    const EACH: usize = 512;
    const BUDGET: usize = 2 << 20;
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).pool_setting("ack_timeout = \"1h\"");
    let limits = format!("message = {0}\nring = {0}\nbuffers = {BUDGET}", BUDGET / 2);
    let broker = broker.setting("limits", &limits).setting("timeouts", "message = \"1h\"").start().await;
    let mut clients = Vec::new();
    for _ in 0..SESSIONS {
        clients.push(Client::connect(broker.address()).await);
    }
    backend.wait_upgrades(SESSIONS).await;
    backend.command("!stop-reading").await;
    let senders: Vec<_> =
        clients.iter().enumerate().map(|(id, client)| send_all(client.writer(), id, EACH)).collect();
    // One message of the budget is kept aside.
    let is_full = |bytes| bytes > (BUDGET / 2 - 2 * MESSAGE) as f64;
    broker.wait_metric("steadfast_unacknowledged_bytes", &[], is_full).await;
    for _ in 0..20 {
        let all: usize = broker.sessions().await.iter().map(buffered).sum();
        assert!(all <= BUDGET + SESSIONS * MESSAGE, "{all} bytes in a budget of {BUDGET}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(senders.iter().any(|sender| !sender.is_finished()), "nobody was pushed back");
    backend.command("!resume-reading").await;
    let read = clients.iter_mut().enumerate().map(async |(id, client)| read_all(client, id, EACH, "a").await);
    futures::future::join_all(read).await;
    for sender in senders {
        bounded("a sender's end", sender).await.expect("the sender ends well");
    }
    broker.wait_metric("steadfast_unacknowledged_bytes", &[], |bytes| bytes == 0.0).await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_closed_after_a_while() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).setting("timeouts", "client_stall = \"500ms\"").start().await;
    let mut innocent = Client::connect(broker.address()).await;
    let client = Client::connect(broker.address()).await;
    client.shrink_receive_buffer(64 << 10);
    for _ in 0..40 {
        client.send("!big 1000000").await;
    }
    assert_eq!(broker.wait_causes(1).await, ["client_stall"]);
    backend.wait_end(1).await;
    innocent.ask("still here", "a:still here").await;
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_everything() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let mut client = Client::connect(broker.address()).await;
    client.shrink_receive_buffer(64 << 10);
    client.send("!feed 20000").await;
    for n in 1..=20_000 {
        assert_eq!(client.text().await, format!("a:feed-{n}"));
        if n % 500 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    eventually("the backend's life", || backend.is_alive()).await;
}

#[tokio::test]
async fn a_message_that_never_ends_is_closed_after_a_while() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).setting("timeouts", "message = \"500ms\"").start().await;
    let mut innocent = Client::connect(broker.address()).await;
    innocent.ask("hello", "a:hello").await;
    let mut client = Client::connect(broker.address()).await;
    client.send_frame(Frame::text("a beginning").unfinished()).await;
    assert_eq!(client.closed().await.0, Some(1008));
    assert_eq!(broker.wait_causes(1).await, ["slow_message"]);
    backend.wait_end(1).await;
    assert_eq!(backend.journal().texts(), ["hello"]);
    innocent.ask("still here", "a:still here").await;
}
