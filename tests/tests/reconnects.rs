//! Clients whose protocol has a conversation that ends with the backend: they are closed when it is left, as soon as
//! a reconnect can succeed.

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde_json::{Value, json};
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::{Client, Incoming};
use steadfast_tests::frame::Frame;
use steadfast_tests::sequence::home_and_other;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::eventually_async;

/// As a Socket.IO client asks that has begun by polling: what it has said there, nobody can repeat.
const SOCKET_IO: &str = "/socket.io/?EIO=4&transport=websocket&sid=abc";

const LONG: &str = "auto_wait = \"1h\"";

const SHORT: &str = "auto_wait = \"500ms\"";

const FAILED: (Option<u16>, &str) = (Some(1012), "the backend failed; connect again");

async fn pair(flags: &str) -> (Backend, Backend) {
    (Backend::start("a", flags).await, Backend::start("b", flags).await)
}

fn socket_io(broker: &Broker) -> Upgrade {
    Upgrade::to(broker.address()).path(SOCKET_IO)
}

/// A message and its answer, so that everything is acknowledged.
async fn settled(broker: &Broker, client: &mut Client, home: &Backend) {
    client.ask("m-1", &format!("{}:m-1", home.name())).await;
    broker
        .wait_only_session("acknowledged", |session| session["ledger"]["upstream"]["acknowledged"] == 1)
        .await;
}

/// The backend gets sessions from now on.
async fn give_weight(broker: &Broker, name: &str) {
    let path = format!("/api/v1/pools/default/backends/{name}");
    assert_eq!(broker.change("PATCH", &path, "{\"weight\": 1}").await.status, 200);
}

fn closed((code, reason): &(Option<u16>, String)) -> (Option<u16>, &str) {
    (*code, reason)
}

fn told_of(broker: &Broker, protocol: &str) -> Vec<Value> {
    broker.records(|record| record["protocol"] == protocol)
}

#[tokio::test]
async fn a_client_is_closed_when_another_backend_has_room_and_reconnects_there() {
    let (a, b) = pair("").await;
    let broker = Broker::over(&[&a, &b]).pool_setting(SHORT).start().await;
    let mut client = socket_io(&broker).connect().await;
    let (home, other) = home_and_other([&a, &b]).await;
    settled(&broker, &mut client, home).await;
    home.kill();
    assert_eq!(closed(&client.closed().await), FAILED);
    client.send_frame(Frame::close(1012, "")).await;
    let mut again = socket_io(&broker).connect().await;
    again.ask("m-2", &format!("{}:m-2", other.name())).await;
    assert_eq!(other.journal().sessions().len(), 1, "nobody but the client has dialled");
    assert_eq!(broker.wait_causes(1).await, ["reconnect"]);
    assert_eq!(broker.metric("steadfast_orphaned_total", &[]).await, 1.0);

    let told = told_of(&broker, "Socket.IO");
    assert_eq!(told.len(), 1, "once for all its clients: {told:?}");
    assert!(told[0]["message"].as_str().is_some_and(|line| line.contains("on_failure = \"failover\"")));
}

#[tokio::test]
async fn a_lone_backends_client_waits_until_it_is_back() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).pool_setting(LONG).start().await;
    let mut client = socket_io(&broker).connect().await;
    settled(&broker, &mut client, &backend).await;
    backend.kill();
    client.send("for nobody").await;
    let orphaned = broker.wait_only_session("orphaned", |session| session["state"] == "orphaned").await;
    assert_eq!(orphaned["backend"], Value::Null);
    backend.restart().await;
    assert_eq!(closed(&client.closed().await), FAILED);
    let mut again = socket_io(&broker).connect().await;
    again.ask("m-2", "a:m-2").await;
    assert_eq!(backend.journal().texts(), ["m-1", "m-2"]);
}

#[tokio::test]
async fn without_any_backend_it_is_closed_when_the_wait_is_over() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).pool_setting(SHORT).start().await;
    let mut client = socket_io(&broker).connect().await;
    settled(&broker, &mut client, &backend).await;
    backend.kill();
    assert_eq!(closed(&client.closed().await), FAILED);
}

#[tokio::test]
async fn no_more_are_closed_than_there_is_room_for() {
    let (a, b) = pair("").await;
    let broker =
        Broker::over(&[&a, &b]).pool_setting(LONG).backend_setting("b", "weight = 0\nmax_sessions = 2");
    let broker = broker.start().await;
    let upgrade = socket_io(&broker);
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = upgrade.connect().await;
        client.ask("m-1", "a:m-1").await;
        clients.push(client);
    }
    give_weight(&broker, "b").await;
    a.kill();
    let reconnects = clients.into_iter().map(async |mut client| {
        assert_eq!(closed(&client.closed().await), FAILED);
        client.send_frame(Frame::close(1012, "")).await;
        // It is refused if there is no room.
        upgrade.connect().await
    });
    let mut back: FuturesUnordered<_> = reconnects.collect();
    let one = back.next().await.expect("a client");
    let _other = back.next().await.expect("a client");
    let waits = async || {
        let orphaned = |session: &Value| session["state"] == "orphaned";
        broker.sessions().await.iter().filter(|session| orphaned(session)).count()
    };
    eventually_async("one waits for room", async || (waits().await == 1).then_some(())).await;
    drop(one);
    let mut last = back.next().await.expect("the last one");
    last.ask("m-2", "b:m-2").await;
    assert_eq!(waits().await, 0);
}

#[tokio::test]
async fn clients_that_can_be_kept_are_kept() {
    type Ask = fn(Upgrade) -> Upgrade;
    let cases: [(&str, &str, Ask); 6] = [
        ("on_failure = \"failover\"", "", |upgrade| upgrade.path(SOCKET_IO)),
        ("", "--answer-header Steadfast-Failover:on", |upgrade| upgrade.path(SOCKET_IO)),
        ("plain_resume = true", "", |upgrade| {
            upgrade.path(&format!("{SOCKET_IO}&steadfast-resume=c2VjcmV0LW9mLXRoZS1jbGllbnRz"))
        }),
        ("", "--subprotocol ocpp1.6", |upgrade| upgrade.header("Sec-WebSocket-Protocol", "ocpp1.6")),
        ("", "", |upgrade| upgrade.path("/socket.io/?EIO=4")),
        ("", "--subprotocol chat", |upgrade| upgrade.header("Sec-WebSocket-Protocol", "chat")),
    ];
    for (setting, flags, ask) in cases {
        let (a, b) = pair(flags).await;
        let broker = Broker::over(&[&a, &b]).pool_setting(setting).start().await;
        let mut client = ask(Upgrade::to(broker.address())).connect().await;
        let (home, other) = home_and_other([&a, &b]).await;
        settled(&broker, &mut client, home).await;
        home.kill();
        other.wait_upgrades(1).await;
        client.send("m-2").await;
        // Of a client that may come back, or whose messages are held, what was not acknowledged comes first.
        while client.text().await != format!("{}:m-2", other.name()) {}
    }
}

#[tokio::test]
async fn with_close_they_are_closed_at_once() {
    let (a, b) = pair("").await;
    let broker =
        Broker::over(&[&a, &b]).pool_setting("on_failure = \"close\"").pool_setting(LONG).start().await;
    let mut client = socket_io(&broker).connect().await;
    let (home, _) = home_and_other([&a, &b]).await;
    settled(&broker, &mut client, home).await;
    home.kill();
    assert_eq!(closed(&client.closed().await), (Some(1012), "the backend failed"));
    assert!(told_of(&broker, "Socket.IO").is_empty());
}

#[tokio::test]
async fn charging_stations_are_kept_with_a_hold() {
    let (a, b) = pair("--subprotocol ocpp1.6 --silent").await;
    let broker = Broker::over(&[&a, &b]).pool_setting("profile = \"none\"").start().await;
    let upgrade = Upgrade::to(broker.address()).path("/CP-17").header("Sec-WebSocket-Protocol", "ocpp1.6");
    let client = upgrade.connect().await;
    let (home, other) = home_and_other([&a, &b]).await;
    client.send("[2,\"1\",\"Heartbeat\",{}]").await;
    // Read, acknowledged, and never answered.
    home.wait_messages(1).await;
    home.kill();
    other.wait_messages(1).await;
    assert_eq!(other.journal().texts(), ["[2,\"1\",\"Heartbeat\",{}]"]);
    assert_eq!(told_of(&broker, "OCPP").len(), 1);
}

fn unhurried(broker: BrokerBuilder) -> BrokerBuilder {
    broker.setting("drain", "quiet = \"50ms\"\nquiet_max = \"100ms\"\npatience = \"300ms\"\nhold = \"300ms\"")
}

#[tokio::test]
async fn a_drain_closes_them_at_a_quiet_moment_and_ends() {
    // The one answers, the other talks all the time.
    for flags in ["", "--feed 10"] {
        let (a, b) = (Backend::start("a", flags).await, Backend::start("b", "").await);
        let broker = unhurried(Broker::over(&[&a, &b])).backend_setting("b", "weight = 0").start().await;
        let mut client = socket_io(&broker).connect().await;
        broker.wait_only_session("at home", |session| session["backend"] == "a").await;
        give_weight(&broker, "b").await;
        let path = "/api/v1/pools/default/backends/a/drain";
        let begun = broker.change("POST", path, &json!({}).to_string()).await;
        assert_eq!(begun.status, 202, "{}", begun.text());
        let close = loop {
            match client.next_but_pings().await {
                Incoming::Close(code, reason) => break (code, reason),
                other => assert!(matches!(other, Incoming::Message(_)), "{other:?}"),
            }
        };
        assert_eq!(closed(&close), (Some(1012), "the backend goes away; connect again"));
        drop(client);
        let done = eventually_async("the drain is done", async || {
            let all = broker.get_json("/api/v1/operations").await;
            let one = all["operations"][0].clone();
            (one["state"] == "done").then_some(one)
        })
        .await;
        let counts = ["moved", "reconnected", "failed", "gone"].map(|key| done["sessions"][key].as_u64());
        assert_eq!(counts, [Some(1), Some(1), Some(0), Some(0)], "{flags}: {done}");
        let moves = broker.metric("steadfast_moves_total", &[("outcome", "reconnected")]).await;
        assert_eq!(moves, 1.0);
        assert_eq!(a.wait_end(0).await.close().map(|close| close.0), Some(Some(1001)), "{flags}");
    }
}
