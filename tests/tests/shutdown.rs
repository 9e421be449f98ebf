//! How the broker ends: in order when asked once, at once when asked twice.

use nix::sys::signal::Signal;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::frame::{End, Frame};
use steadfast_tests::http::header;
use steadfast_tests::origin::Origin;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::{eventually, eventually_async, eventually_some};
use steadfast_tests::wire::Wire;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

async fn wait_unready(broker: &Broker) {
    eventually_async("readiness to be withdrawn", async || {
        (broker.get("/readyz").await.status == 503).then_some(())
    })
    .await;
}

async fn wait_refusing(broker: &Broker) {
    let address = broker.address();
    eventually("connections to be refused", || std::net::TcpStream::connect(address).is_err()).await;
}

#[tokio::test]
async fn without_sessions_it_ends_at_once() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let backend = Backend::start("a", "").await;
        let mut broker = Broker::start(&[&backend]).await;
        Client::connect(broker.address()).await.close(1000, "").await;
        broker.wait_sessions(0).await;
        broker.signal(signal);
        assert_eq!(broker.wait_exit().await.code(), Some(0), "after {signal}");
    }
}

#[tokio::test]
async fn sessions_go_on_during_the_grace_and_their_end_ends_the_broker() {
    let backend = Backend::start("a", "").await;
    let mut broker = Broker::over(&[&backend]).setting("shutdown", "grace = \"10m\"").start().await;
    let mut client = Client::connect(broker.address()).await;
    broker.signal(Signal::SIGTERM);
    wait_unready(&broker).await;
    assert_eq!(broker.get("/healthz").await.status, 200);
    wait_refusing(&broker).await;
    client.ask("still here", "a:still here").await;
    assert_eq!(client.close(1000, "bye").await, (Some(1000), "bye".to_owned()));
    assert_eq!(broker.wait_exit().await.code(), Some(0));
}

#[tokio::test]
async fn sessions_still_move_during_the_grace() {
    let backend = Backend::start("a", "").await;
    let mut broker = Broker::over(&[&backend]).setting("shutdown", "grace = \"10m\"").start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    broker.wait_at_rest().await;
    broker.signal(Signal::SIGTERM);
    wait_unready(&broker).await;
    backend.restart().await;
    client.ask("m-2", "a:m-2").await;
    client.close(1000, "").await;
    assert_eq!(broker.wait_exit().await.code(), Some(0));
}

#[tokio::test]
async fn clients_are_accepted_during_the_delay() {
    let backend = Backend::start("a", "").await;
    let mut broker = Broker::over(&[&backend]).setting("shutdown", "delay = \"10m\"").start().await;
    broker.signal(Signal::SIGTERM);
    wait_unready(&broker).await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("let in", "a:let in").await;
    broker.signal(Signal::SIGTERM);
    broker.wait_exit().await;
}

#[tokio::test]
async fn after_the_grace_clients_and_backends_are_closed_with_1001() {
    let backend = Backend::start("a", "").await;
    let mut broker = Broker::over(&[&backend]).setting("shutdown", "grace = \"500ms\"").start().await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(Client::connect(broker.address()).await);
    }
    broker.signal(Signal::SIGTERM);
    for client in &mut clients {
        assert_eq!(client.closed().await.0, Some(1001));
        client.send_frame(Frame::close(1001, "")).await;
        assert_eq!(client.ended().await, End::Eof);
    }
    assert_eq!(broker.wait_exit().await.code(), Some(0));
    assert_eq!(broker.wait_causes(5).await, ["shutdown"; 5]);
    for connection in backend.journal().connections() {
        assert_eq!(connection.close().map(|(code, _)| code), Some(Some(1001)));
    }
}

#[tokio::test]
async fn a_pool_may_have_a_code_of_its_own() {
    let backend = Backend::start("a", "").await;
    let builder = Broker::over(&[&backend]).pool("own", &[&backend]);
    let builder = builder.pool_table("[pool.close_codes]\nshutdown = 1012");
    let mut broker = builder.setting("shutdown", "grace = \"100ms\"").start().await;
    let mut client = Client::connect(broker.address()).await;
    let mut other = Client::connect(broker.address_of(1)).await;
    broker.signal(Signal::SIGTERM);
    assert_eq!((client.closed().await.0, other.closed().await.0), (Some(1001), Some(1012)));
}

#[tokio::test]
async fn a_client_that_does_not_answer_the_last_close_holds_nothing_up() {
    let backend = Backend::start("a", "").await;
    let builder = Broker::over(&[&backend]).setting("shutdown", "grace = \"200ms\"");
    let mut broker = builder.setting("timeouts", "close = \"300ms\"").start().await;
    let mut client = Client::connect(broker.address()).await;
    broker.signal(Signal::SIGTERM);
    assert_eq!(client.closed().await.0, Some(1001));
    assert_eq!(broker.wait_exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_session_that_waits_for_a_backend_is_closed_too() {
    let backend = Backend::start("a", "").await;
    let mut broker = Broker::over(&[&backend]).setting("shutdown", "grace = \"500ms\"").start().await;
    let mut client = Client::connect(broker.address()).await;
    backend.kill();
    broker.wait_only_session("without a backend", |session| session["state"] != "relaying").await;
    broker.signal(Signal::SIGTERM);
    assert_eq!(client.closed().await.0, Some(1001));
    drop(client);
    assert_eq!(broker.wait_exit().await.code(), Some(0));
}

#[tokio::test]
async fn the_second_signal_ends_it_at_once() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let backend = Backend::start("a", "").await;
        let mut broker = Broker::over(&[&backend]).setting("shutdown", "grace = \"10m\"").start().await;
        let mut client = Client::connect(broker.address()).await;
        client.ask("hello", "a:hello").await;
        broker.signal(Signal::SIGTERM);
        wait_unready(&broker).await;
        broker.signal(signal);
        broker.wait_exit().await;
    }
}

/// An upgrade that is under way when the end begins gets its session, and is not told that its connection ends, whatever
/// that has carried before.
#[tokio::test]
async fn an_upgrade_under_way_behind_a_page_is_answered_as_any_other() {
    let origin = Origin::listen().await;
    let table = format!("[[pool.backend]]\nurl = \"ws://{}\"", origin.address());
    let mut broker =
        Broker::over(&[]).pool_table(&table).setting("shutdown", "grace = \"10m\"").start().await;
    let mut client = Wire::dial(broker.address()).await;
    client.send("GET /page HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let mut page = origin.accept().await;
    page.head().await;
    page.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(client.answer().await.text(), "ok");
    client.send(Upgrade::to(broker.address()).encode()).await;
    let mut backend = origin.accept().await;
    let asked = backend.head().await;
    broker.signal(Signal::SIGTERM);
    let closed = |record: &serde_json::Value| record["message"] == "ending: no new sessions";
    eventually_some("the end to begin", || broker.records(closed).pop()).await;
    let accept = derive_accept_key(header(&asked.headers, "sec-websocket-key").expect("a key").as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    backend.send([answer.as_bytes(), b"\x81\x02on"].concat()).await;
    let head = client.head().await;
    assert!(head.line.contains(" 101 "), "{}", head.line);
    assert_eq!(header(&head.headers, "connection"), Some("Upgrade"));
    assert_eq!(client.bytes(4).await, b"\x81\x02on", "it is a session's");
}
