//! A backend dies at the worst moments; the client's socket stays open, and nothing is missing or out of order.

use nix::sys::signal::Signal;
use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::{Client, Incoming};
use steadfast_tests::frame::{BINARY, CONTINUATION, Frame, PING, TEXT};
use steadfast_tests::journal::{Entry, Event};
use steadfast_tests::payload::{Payload, noise};
use steadfast_tests::sequence::{
    answers_to_end, check_answers, check_arrivals, connections_by_tag, converse, home_and_other, range,
    send_range, session_connections,
};
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::eventually;

async fn pair() -> (Backend, Backend) {
    (Backend::start("a", "").await, Backend::start("b", "").await)
}

/// Waits until everything that was sent is acknowledged; returns the session's id.
async fn settled(broker: &Broker, forwarded: u64) -> String {
    let acknowledged = |session: &Value| session["ledger"]["upstream"]["acknowledged"] == forwarded;
    let session = broker.wait_only_session("everything acknowledged", acknowledged).await;
    session["id"].as_str().expect("an id").to_owned()
}

/// Waits until backend got `n` frames that do not end their message.
async fn wait_fragments(backend: &Backend, n: usize) {
    let is_fragment = |entry: &&Entry| matches!(entry.event, Event::Fragment { .. });
    let count = || backend.journal().view(|entries| entries.iter().filter(is_fragment).count());
    eventually(&format!("{n} fragments at backend {}", backend.name()), || count() >= n).await;
}

/// A read brings more frames than one poll takes over: the rest waits with the socket, and outlives the backend.
#[tokio::test]
async fn killed_while_a_burst_of_small_messages_waits_to_be_taken_over() {
    const TOTAL: usize = 20_000;
    let (a, b) = pair().await;
    let broker = Broker::start(&[&a, &b]).await;
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other([&a, &b]).await;
    let frame = |text: &String| Frame::text(text).masked([1, 2, 3, 4]).encode();
    let burst: Vec<u8> = range("m", 1, TOTAL).iter().flat_map(frame).collect();
    let writer = client.writer();
    let sending = tokio::spawn(async move { writer.send_raw(burst).await });
    home.wait_messages(TOTAL / 20).await;
    home.kill();
    other.wait_messages(1).await;
    home.restart().await;
    other.kill();
    let answers = answers_to_end(&mut client, "m", TOTAL).await;
    assert!(sending.await.expect("no panic"), "the client's connection stands");
    let connections = connections_by_tag(&[&a, &b]).remove("m").expect("the session's connections");
    check_arrivals("m", TOTAL, &connections);
    check_answers("m", TOTAL, &answers, &connections);
}

#[tokio::test]
async fn killed_while_idle() {
    let (a, b) = pair().await;
    let broker = Broker::start(&[&a, &b]).await;
    let request = Upgrade::to(broker.address()).path("/room?id=7").header("Cookie", "who=ann");
    let mut client = request.header("Origin", "https://chat.example").connect().await;
    let (home, other) = home_and_other([&a, &b]).await;
    client.ask("m-1", &format!("{}:m-1", home.name())).await;
    let id = settled(&broker, 1).await;
    home.kill();
    other.wait_upgrades(1).await;
    let before = home.journal().connections_of(&id).remove(0);
    let after = other.journal().connections_of(&id).remove(0);
    assert_eq!((before.attempt(), after.attempt()), (1, 2));
    assert_eq!(after.line, "GET /room?id=7 HTTP/1.1");
    for name in ["host", "cookie", "origin", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"] {
        assert_eq!(after.header_values(name), before.header_values(name), "{name} is repeated");
    }
    client.ask("m-2", &format!("{}:m-2", other.name())).await;
    assert_eq!(other.journal().texts(), ["m-2"], "acknowledged messages are not repeated");
    let session = broker.wait_only_session("moved once", |session| session["failovers"] == 1).await;
    assert_eq!(
        (session["id"].as_str(), session["backend"].as_str()),
        (Some(id.as_str()), Some(other.name()))
    );
}

#[tokio::test]
async fn killed_again_and_again_while_streaming() {
    let (a, b) = pair().await;
    let broker = Broker::start(&[&a, &b]).await;
    let mut client = Client::connect(broker.address()).await;
    let mut kills = 0;
    let answers = converse(&mut client, "m", 3000, 40, async |answered, name| {
        if answered == (kills + 1) * 400 {
            kills += 1;
            let (home, other) = if name == a.name() { (&a, &b) } else { (&b, &a) };
            if !other.is_alive() {
                other.restart().await;
            }
            home.kill();
        }
    })
    .await;
    let session = broker.wait_only_session("moved", |_| true).await;
    let connections = session_connections(session["id"].as_str().expect("an id"), &[&a, &b]);
    check_arrivals("m", 3000, &connections);
    let twice = check_answers("m", 3000, &answers, &connections);
    assert!(kills >= 5, "{kills} kills");
    assert_eq!(session["failovers"], kills);
    assert_eq!(session["ledger"]["upstream"]["lost"], 0);
    let in_doubt = session["ledger"]["upstream"]["in_doubt"].as_u64().unwrap_or(0);
    assert!(in_doubt >= twice as u64, "{twice} messages were answered twice, {in_doubt} counted in doubt");
    client.send_frame(Frame::new(PING, "still here")).await;
    assert_eq!(client.next_but_pings().await, Incoming::Pong(b"still here".to_vec()));
}

#[tokio::test]
async fn killed_and_restarted_alone_while_streaming() {
    let backend = Backend::start("a", "").await;
    let _supervisor = backend.supervise();
    let broker = Broker::start(&[&backend]).await;
    let mut client = Client::connect(broker.address()).await;
    let mut kills = 0;
    let answers = converse(&mut client, "m", 900, 30, async |answered, _| {
        if answered % 250 == 0 && backend.is_alive() {
            backend.kill();
            kills += 1;
        }
    })
    .await;
    let session = broker.wait_only_session("moved", |_| true).await;
    let connections = session_connections(session["id"].as_str().expect("an id"), &[&backend]);
    check_arrivals("m", 900, &connections);
    check_answers("m", 900, &answers, &connections);
    assert_eq!(session["failovers"], kills);
    assert!(kills > 0 && connections.len() == kills + 1, "{kills} kills, {} connections", connections.len());
}

#[tokio::test]
async fn killed_between_the_fragments_of_a_clients_message() {
    let (a, b) = pair().await;
    let broker = Broker::start(&[&a, &b]).await;
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other([&a, &b]).await;
    client.send_frame(Frame::new(TEXT, "one ").unfinished()).await;
    client.send_frame(Frame::new(CONTINUATION, "two ").unfinished()).await;
    wait_fragments(home, 2).await;
    home.kill();
    other.wait_upgrades(1).await;
    client.send_frame(Frame::new(CONTINUATION, "three")).await;
    assert_eq!(client.text().await, format!("{}:one two three", other.name()));
    assert_eq!(other.journal().texts(), ["one two three"]);
    let connection = other.journal().connections().remove(0);
    assert!(
        connection
            .events
            .iter()
            .any(|event| matches!(event, Event::Message { fragments, .. } if *fragments == [4, 4, 5]))
    );
}

#[tokio::test]
async fn killed_in_the_middle_of_a_clients_frame() {
    let (a, b) = pair().await;
    let broker = Broker::start(&[&a, &b]).await;
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other([&a, &b]).await;
    let payload = noise(300_000, 4);
    let bytes = Frame::new(BINARY, payload.clone()).masked([5, 6, 7, 8]).encode();
    client.send_raw(bytes[..200_000].to_vec()).await;
    let half_is_there = |session: &Value| session["buffered_bytes"].as_u64() >= Some(200_000);
    broker.wait_only_session("half a frame", half_is_there).await;
    home.kill();
    other.wait_upgrades(1).await;
    client.send_raw(bytes[200_000..].to_vec()).await;
    let answer = client.message().await;
    assert!(
        answer.bytes == [other.name().as_bytes(), b":", &payload].concat(),
        "the message came back changed"
    );
    assert_eq!(other.journal().connections()[0].payloads(), [Payload::of(&payload)]);
}

#[tokio::test]
async fn killed_in_the_middle_of_its_own_message() {
    let (a, b) = pair().await;
    let broker = Broker::start(&[&a, &b]).await;
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other([&a, &b]).await;
    home.set("--die-on m-5 --die-how partial").await;
    send_range(&client, "m", 1, 10).await;
    let answers = answers_to_end(&mut client, "m", 10).await;
    let id = settled(&broker, 10).await;
    let connections = session_connections(&id, &[home, other]);
    assert_eq!(connections[0].1.texts().last().map(String::as_str), Some("m-5"));
    check_arrivals("m", 10, &connections);
    check_answers("m", 10, &answers, &connections);
    let own: Vec<_> = answers.iter().filter(|answer| answer.starts_with(home.name())).collect();
    assert_eq!(own.len(), 4, "of the dead backend's answers four were whole: {answers:?}");
}

#[tokio::test]
async fn died_during_the_dial() {
    let (a, b) = pair().await;
    let broker = Broker::start(&[&a, &b]).await;
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other([&a, &b]).await;
    client.ask("m-1", &format!("{}:m-1", home.name())).await;
    let id = settled(&broker, 1).await;
    other.set("--spoil-upgrade hang").await;
    home.kill();
    eventually("a request at the hanging backend", || other.journal().connections().len() == 1).await;
    send_range(&client, "m", 2, 4).await;
    other.kill();
    home.restart().await;
    assert_eq!(client.texts(3).await, range(&format!("{}:m", home.name()), 2, 4));
    let connections = home.journal().connections_of(&id);
    assert_eq!(connections.len(), 2);
    assert!(connections[1].attempt() >= 3, "the dial that died counts: attempt {}", connections[1].attempt());
    assert_eq!(connections[1].texts(), range("m", 2, 4));
}

#[tokio::test]
async fn a_host_that_accepts_and_says_nothing_is_left_for_another() {
    let (a, b) = pair().await;
    let broker = Broker::over(&[&a, &b]).setting("timeouts", "upgrade = \"300ms\"").start().await;
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other([&a, &b]).await;
    client.ask("m-1", &format!("{}:m-1", home.name())).await;
    settled(&broker, 1).await;
    // The kernel goes on to accept for a stopped process.
    other.signal(Signal::SIGSTOP);
    home.kill();
    send_range(&client, "m", 2, 3).await;
    broker.wait_only_session("a dial", |session| session["state"] != "relaying").await;
    home.restart().await;
    assert_eq!(client.texts(2).await, range(&format!("{}:m", home.name()), 2, 3));
}

#[tokio::test]
async fn died_during_the_replay() {
    let (a, b) = pair().await;
    let broker = Broker::start(&[&a, &b]).await;
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other([&a, &b]).await;
    home.set("--silent --no-pong").await;
    send_range(&client, "m", 1, 50).await;
    home.wait_messages(50).await;
    other.set("--silent --no-pong --die-after 10").await;
    home.kill();
    other.wait_messages(10).await;
    send_range(&client, "m", 51, 60).await;
    home.restart().await;
    assert_eq!(client.texts(60).await, range(&format!("{}:m", home.name()), 1, 60));
    let id = settled(&broker, 60).await;
    let connections = session_connections(&id, &[home, other]);
    assert_eq!(connections[1].1.texts(), range("m", 1, 10));
    assert_eq!(check_arrivals("m", 60, &connections), 10 + 50, "ten were repeated once and all fifty again");
}

#[tokio::test]
async fn what_a_client_says_during_a_failover_follows_the_replay() {
    let (a, b) = pair().await;
    let broker = Broker::start(&[&a, &b]).await;
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other([&a, &b]).await;
    home.set("--silent --no-pong").await;
    other.set("--upgrade-delay 300").await;
    // As many as are written before a pong.
    send_range(&client, "m", 1, 60).await;
    home.wait_messages(60).await;
    home.kill();
    // While the dial waits for its answer, and while the replay runs.
    send_range(&client, "m", 61, 400).await;
    assert_eq!(client.texts(400).await, range(&format!("{}:m", other.name()), 1, 400));
    assert_eq!(other.journal().texts(), range("m", 1, 400));
}

#[tokio::test]
async fn a_feed_goes_on_from_the_next_backend() {
    let (a, b) = (Backend::start("a", "--feed 2").await, Backend::start("b", "--feed 2").await);
    let broker = Broker::start(&[&a, &b]).await;
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other([&a, &b]).await;
    let mut feed = client.texts(100).await;
    home.kill();
    while feed.last() != Some(&format!("{}:feed-100", other.name())) {
        feed.push(client.text().await);
    }
    let split = feed.iter().position(|text| text.starts_with(other.name())).expect("the other's feed");
    assert_eq!(feed[..split], range(&format!("{}:feed", home.name()), 1, split));
    assert_eq!(feed[split..], range(&format!("{}:feed", other.name()), 1, 100));
}
