//! A message that kills every backend it reaches ends its own session, and nobody else's.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use steadfast_tests::backend::{Backend, Supervisor};
use steadfast_tests::broker::Broker;
use steadfast_tests::client::{Client, Incoming};
use steadfast_tests::frame::Frame;
use steadfast_tests::journal::{Connection, Event};
use steadfast_tests::sequence::{
    check_answers, check_arrivals, converse, home_and_other, numbered, range, send_range, session_connections,
};
use steadfast_tests::wait::{bounded, eventually, eventually_async};
use tokio::time::sleep;

const INNOCENTS: usize = 12;
const MESSAGES: usize = 300;

/// Sends and reads the stream `tag` in small steps.
async fn chat(client: &mut Client, tag: &str) -> Vec<String> {
    converse(client, tag, MESSAGES, 4, async |_, _| sleep(Duration::from_millis(5)).await).await
}

#[tokio::test]
async fn poison_among_innocents() {
    let flags = "--die-on poison";
    let backends = [
        Backend::start("a", flags).await,
        Backend::start("b", flags).await,
        Backend::start("c", flags).await,
    ];
    let all: Vec<&Backend> = backends.iter().collect();
    let _supervisors: Vec<_> = all.iter().map(|backend| backend.supervise()).collect();
    let broker = Broker::start(&all).await;
    let mut innocents = Vec::new();
    for _ in 0..INNOCENTS {
        innocents.push(Client::connect(broker.address()).await);
    }
    let mut guilty = Client::connect(broker.address()).await;
    let tags: Vec<String> = (0..INNOCENTS).map(|id| format!("i{id}")).collect();
    let chats = innocents.iter_mut().zip(&tags).map(async |(client, tag)| chat(client, tag).await);
    let crime = async {
        guilty.send("harmless").await;
        let harmless = guilty.text().await;
        assert!(harmless.ends_with(":harmless"), "{harmless}");
        guilty.send("poison").await;
        guilty.rest().await
    };
    let (answers, end) = tokio::join!(futures::future::join_all(chats), crime);
    assert!(
        matches!(&end[..], [Incoming::Close(Some(1011), reason), ..] if !reason.is_empty()),
        "the guilty session ends with 1011 and a reason: {end:?}"
    );
    assert_eq!(broker.wait_causes(1).await, ["poison"], "and no other ends");
    assert_eq!(poisonings(&all), 3, "backends that died of it");
    for ((client, tag), answers) in innocents.iter_mut().zip(&tags).zip(&answers) {
        let connections = connections_of(tag, &all);
        check_arrivals(tag, MESSAGES, &connections);
        check_answers(tag, MESSAGES, answers, &connections);
        client.send("end").await;
        let last = bounded("an answer to an innocent", client.text()).await;
        assert!(last.ends_with(":end"), "{last}");
    }
    let letters = broker.records(|record| {
        let text = record.to_string().to_lowercase();
        text.contains("dead") && text.contains("letter")
    });
    assert_eq!(letters.len(), 1, "one dead-letter record: {letters:?}");
}

#[tokio::test]
async fn a_code_that_every_backend_gives_reaches_the_client() {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let broker = Broker::over(&[&a, &b]).setting("failover", "close_codes = [1011, 4500]").start().await;
    let mut client = Client::connect(broker.address()).await;
    // Each backend takes the message for an order.
    client.send("!close 4500 no such room").await;
    assert_eq!(client.closed().await, (Some(4500), "no such room".to_owned()));
    client.send_frame(Frame::close(4500, "")).await;
    assert_eq!(broker.wait_causes(1).await, ["poison"], "the conviction is told all the same");
    assert_eq!(broker.access_lines()[0]["code"], 4500);
    assert_eq!(broker.metric("steadfast_poison_total", &[]).await, 1.0);
}

fn poisonings(backends: &[&Backend]) -> usize {
    backends.iter().flat_map(|backend| backend.journal().texts()).filter(|text| text == "poison").count()
}

/// The connections of the session whose client sent `tag-1`.
fn connections_of(tag: &str, backends: &[&Backend]) -> Vec<(String, Connection)> {
    let first = numbered(tag, 1);
    let mut all = backends.iter().flat_map(|backend| backend.journal().connections());
    let own = all.find(|connection| connection.texts().contains(&first)).expect("the first message arrived");
    session_connections(own.session(), backends)
}

#[tokio::test]
async fn idle_sessions_are_not_suspected_however_often_backends_die() {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let broker = Broker::start(&[&a, &b]).await;
    let mut client = Client::connect(broker.address()).await;
    for n in 1..=8 {
        client.send(&numbered("m", n)).await;
        let answer = client.text().await;
        let (home, other) = if answer.starts_with("a:") { (&a, &b) } else { (&b, &a) };
        assert_eq!(answer, format!("{}:m-{n}", home.name()));
        broker.wait_at_rest().await;
        let upgrades = other.journal().connections().len();
        if !other.is_alive() {
            other.restart().await;
        }
        home.kill();
        other.wait_upgrades(upgrades + 1).await;
    }
    assert_eq!(broker.ended().await, Vec::<Value>::new(), "nobody was closed");
}

#[tokio::test]
async fn a_burst_that_was_in_flight_at_two_deaths_is_delivered_one_by_one() {
    let (a, b, c) = (Backend::start("a", "").await, Backend::start("b", "").await, Backend::absent("c", ""));
    let broker = Broker::start(&[&a, &b, &c]).await;
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other([&a, &b]).await;
    home.set("--silent --no-pong").await;
    other.set("--silent --no-pong --die-after 30").await;
    send_range(&client, "m", 1, 30).await;
    home.wait_messages(30).await;
    home.kill();
    other.wait_messages(30).await;
    c.restart().await;
    assert_eq!(client.texts(30).await, range("c:m", 1, 30));
    assert_eq!(c.journal().texts(), range("m", 1, 30));
    let events = c.journal().connections().remove(0).events;
    let is_message = |event: &Event| matches!(event, Event::Message { .. });
    let neighbours = events.windows(2).filter(|pair| pair.iter().all(is_message)).count();
    assert_eq!(neighbours, 0, "each message awaits its pong: {events:?}");
    assert_eq!(broker.ended().await, Vec::<Value>::new(), "nobody was closed");
}

/// All of a pool's backends, `--die-on poison` and what else `flags` say.
async fn three(flags: &str) -> [Backend; 3] {
    let flags = format!("--die-on poison {flags}");
    [Backend::start("a", &flags).await, Backend::start("b", &flags).await, Backend::start("c", &flags).await]
}

/// How often this message has come, at all of them.
fn arrivals(backends: &[&Backend], text: &str) -> usize {
    backends.iter().flat_map(|backend| backend.journal().texts()).filter(|arrived| arrived == text).count()
}

/// Each of the clients says its text, and twice all backends are killed while they handle them. Turns one by one would
/// take longer than a failover may.
async fn kill_all_twice(
    texts: &[&str],
    deadline: &str,
) -> (Broker, Vec<Client>, [Backend; 3], Vec<Supervisor>) {
    let backends = three("").await;
    let all: Vec<&Backend> = backends.iter().collect();
    let supervisors = all.iter().map(|backend| backend.supervise()).collect();
    let short = format!("deadline = \"{deadline}\"\nstable = \"1s\"");
    let broker = Broker::over(&all).setting("failover", &short).start().await;
    let mut clients = Vec::new();
    for text in texts {
        let client = Client::connect(broker.address()).await;
        client.send(text).await;
        clients.push(client);
    }
    for times in 1..=2 {
        let arrived = || all.iter().map(|backend| backend.journal().texts().len()).sum::<usize>();
        eventually("all messages", || arrived() >= times * texts.len()).await;
        all.iter().for_each(|backend| backend.kill());
    }
    (broker, clients, backends, supervisors)
}

async fn assert_done(client: &mut Client) {
    let answer = bounded("an answer", client.text()).await;
    assert!(answer.ends_with(":done"), "{answer}");
}

#[tokio::test]
async fn where_slow_services_die_twice_at_once_nobody_is_closed() {
    let (broker, mut clients, _backends, _supervisors) = kill_all_twice(&["!work 500"; 40], "2s").await;
    for client in &mut clients {
        assert_done(client).await;
    }
    assert_eq!(broker.ended().await, Vec::<Value>::new(), "nobody was closed");
}

#[tokio::test]
async fn suspects_that_take_long_keep_nobody_from_a_backend() {
    let texts = [["!work 8000"; 12].as_slice(), ["!work 300"; 20].as_slice()].concat();
    let (broker, mut clients, _backends, _supervisors) = kill_all_twice(&texts, "12s").await;
    for client in clients.iter_mut().rev() {
        assert_done(client).await;
    }
    assert_eq!(broker.ended().await, Vec::<Value>::new(), "nobody was closed");
}

/// Connects a client, and returns the id of its session too.
async fn client_with_id(broker: &Broker) -> (String, Client) {
    let id = |session: &Value| session["id"].as_str().expect("an id").to_owned();
    let before: Vec<String> = broker.sessions().await.iter().map(id).collect();
    let client = Client::connect(broker.address()).await;
    let fresh = eventually_async("its session", async || {
        broker.sessions().await.iter().map(id).find(|id| !before.contains(id))
    });
    (fresh.await, client)
}

#[tokio::test]
async fn who_is_slow_beside_fresh_killers_is_not_convicted() {
    const SLOW: &str = "!work 1500";
    let backends = three("").await;
    let all: Vec<&Backend> = backends.iter().collect();
    let _supervisors: Vec<_> = all.iter().map(|backend| backend.supervise()).collect();
    let broker = Broker::start(&all).await;
    let mut others = HashMap::new();
    for _ in 0..15 {
        let (id, client) = client_with_id(&broker).await;
        others.insert(id, client);
    }
    let (own, mut innocent) = client_with_id(&broker).await;
    innocent.send(SLOW).await;
    let mut killers = Vec::new();
    for times in 1..=4 {
        eventually("the slow message", || arrivals(&all, SLOW) >= times).await;
        let beside = eventually_async("a session beside it", async || {
            let sessions = broker.sessions().await;
            let home = sessions.iter().find(|session| session["id"] == own.as_str())?["backend"].clone();
            let at_home = |session: &&Value| session["backend"] == home;
            let ids = sessions.iter().filter(at_home).filter_map(|session| session["id"].as_str());
            ids.map(str::to_owned).find(|id| others.contains_key(id))
        });
        let killer = others.remove(&beside.await).expect("it is among them");
        killer.send("poison").await;
        killers.push(killer);
        eventually("the slow message again", || arrivals(&all, SLOW) > times).await;
    }
    assert_eq!(innocent.text().await.split(':').nth(1), Some("done"));
    assert!(arrivals(&all, SLOW) > 4, "it was there at more than three deaths");
}

#[tokio::test]
async fn no_message_is_blamed_for_a_backend_that_fails_without_any() {
    const GARBAGE: &str = "--spoil-upgrade accept-then-garbage";
    let (a, b, c) = (
        Backend::start("a", "--silent --no-pong").await,
        Backend::start("b", GARBAGE).await,
        Backend::absent("c", ""),
    );
    let broker = Broker::over(&[&a, &b, &c]).setting("failover", "deadline = \"1m\"").start().await;
    let mut client = loop {
        let client = Client::connect(broker.address()).await;
        client.send("innocent").await;
        let arrived = || arrivals(&[&a], "innocent") > 0 || !broker.access_lines().is_empty();
        if tokio::time::timeout(Duration::from_secs(1), eventually("it", arrived)).await.is_ok() {
            break client;
        }
    };
    a.set(GARBAGE).await;
    a.command("!rst").await;
    let garbage = || b.journal().connections().len() + a.journal().connections().len() - 1;
    eventually("garbage, again and again", || garbage() >= 8).await;
    c.restart().await;
    assert_eq!(bounded("its answer", client.text()).await, "c:innocent");
    assert_eq!(broker.metric("steadfast_poison_total", &[]).await, 0.0);
}
