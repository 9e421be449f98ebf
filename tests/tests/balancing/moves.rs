//! Backends that are added and taken away under running sessions.

use futures::future::join_all;
use serde_json::{Value, json};
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::sequence::{
    answers_to_end, check_answers, check_arrivals, converse, range, send_range, session_connections,
};
use steadfast_tests::wait::eventually_some;

use crate::{backends, home, over, shares, staying};

const POOL: &str = "/api/v1/pools/default/backends";

/// How soon a session is quiet enough to be moved.
const SOON: &str = "quiet = \"50ms\"";

/// Adds a backend to the default pool; the backend as the API shows it.
async fn add(broker: &Broker, backend: &Backend) -> Value {
    let body = json!({ "url": backend.url(), "name": backend.name() });
    let answer = broker.change("POST", POOL, &body.to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    serde_json::from_slice::<Value>(&answer.body).expect("JSON")["backend"].clone()
}

async fn remove(broker: &Broker, name: &str) {
    let answer = broker.change("DELETE", &format!("{POOL}/{name}"), "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // It is listed for as long as it has sessions.
    let state = broker.backend(name).await.map(|backend| backend["state"].clone());
    assert!(state.is_none_or(|state| state == "removed"), "{name} was taken away");
}

#[tokio::test]
async fn a_backend_that_is_added_gets_sessions() {
    let [a, b] = backends(["a", "b"]).await;
    let broker = over(std::slice::from_ref(&a)).start().await;
    let (mut clients, _) = staying(&broker, 3).await;
    let body = json!({ "url": b.url(), "name": "b", "weight": 3, "backup": false, "max_sessions": 9 });
    let answer = broker.change("POST", POOL, &body.to_string()).await;
    assert_eq!(answer.status, 201);
    let shown = serde_json::from_slice::<Value>(&answer.body).expect("JSON")["backend"].clone();
    let expected = json!({ "pool": "default", "name": "b", "origin": "api", "state": "up", "weight": 3,
        "effective_weight": 3.0, "backup": false, "max_sessions": 9, "sessions": 0 });
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(&shown[key], value, "{key}");
    }
    assert_eq!(shown["address"], b.address().to_string());
    let (_more, homes) = staying(&broker, 9).await;
    assert_eq!(shares(&homes, ["a", "b"]), [0, 9], "3 and 9 sessions for weights 1 and 3");
    assert_eq!(staying(&broker, 1).await.1, ["a"]);
    for client in &mut clients {
        assert_eq!(home(client).await, "a", "those that are there stay");
    }
}

#[tokio::test]
async fn a_name_is_made_from_the_address() {
    let [a, b] = backends(["a", "b"]).await;
    let broker = over(std::slice::from_ref(&a)).start().await;
    let answer = broker.change("POST", POOL, &json!({ "url": b.url() }).to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    remove(&broker, &b.address().to_string()).await;
}

/// What one client sent and got while its backend was taken away.
struct Conversation {
    tag: String,
    client: Client,
    session: String,
    answers: Vec<String>,
}

/// Ten sessions talk all the time, those of one backend are moved, and at both ends every message is there once and
/// in order.
#[tokio::test]
async fn sessions_of_a_backend_that_is_removed_move_unnoticed() {
    let all = backends(["a", "b"]).await;
    let broker = over(&all).setting("drain", SOON).start().await;
    let mut conversations = Vec::new();
    for n in 0..10 {
        let (mut clients, _) = staying(&broker, 1).await;
        let session =
            broker.sessions().await.last().expect("a session")["id"].as_str().expect("an id").to_owned();
        let client = clients.remove(0);
        conversations.push(Conversation { tag: format!("c{n}"), client, session, answers: Vec::new() });
    }
    let talks = conversations.iter_mut().map(async |own| {
        own.answers = converse(&mut own.client, &own.tag, 300, 10, async |_, _| {}).await;
    });
    tokio::join!(join_all(talks), async {
        all[0].wait_messages(100).await;
        remove(&broker, "a").await;
    });
    broker.wait_metric("steadfast_failovers_total", &[("reason", "planned")], |moved| moved == 5.0).await;
    for own in &mut conversations {
        send_range(&own.client, &own.tag, 301, 400).await;
        own.answers.extend(answers_to_end(&mut own.client, &own.tag, 400).await);
        let connections = own.connections(&[&all[0], &all[1]]);
        assert_eq!(check_arrivals(&own.tag, 400, &connections), 0, "no message came twice");
        assert_eq!(check_answers(&own.tag, 400, &own.answers, &connections), 0, "no answer came twice");
        let last = connections.last().expect("a connection");
        assert_eq!((last.0.as_str(), last.1.end()), ("b", None));
        assert_eq!(connections.len(), if connections[0].0 == "a" { 2 } else { 1 });
    }
    for old in all[0].journal().connections() {
        assert_eq!(old.close().and_then(|(code, _)| code), Some(1001));
        assert_eq!(old.end(), Some("Eof"), "it could say its last words");
    }
    assert_eq!(all[0].journal().connections().len(), 5);
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 5.0);
    assert_eq!(broker.metric("steadfast_messages_replayed_total", &[]).await, 0.0);
    assert_eq!(broker.metric("steadfast_messages_lost_total", &[]).await, 0.0);
}

impl Conversation {
    /// Its connections, with the question of where it is left out.
    fn connections(&self, backends: &[&Backend]) -> Vec<(String, steadfast_tests::journal::Connection)> {
        let mut connections = session_connections(&self.session, backends);
        for (_, connection) in &mut connections {
            connection.events.retain(|event| !is_question(event));
        }
        connections
    }
}

fn is_question(event: &steadfast_tests::journal::Event) -> bool {
    matches!(event, steadfast_tests::journal::Event::Message { payload, .. } if payload.as_text() == "where?")
}

/// What it says after the broker's Close, and before its own, is the client's too.
#[tokio::test]
async fn a_removed_backends_last_words_are_relayed() {
    let [a, b] = backends(["a", "b"]).await;
    let broker = over(std::slice::from_ref(&a)).setting("drain", SOON).setting("timeouts", "close = \"5m\"");
    let broker = broker.start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    add(&broker, &b).await;
    a.set("--ignore-close").await;
    remove(&broker, "a").await;
    eventually_some("the Close at a", || a.journal().connections()[0].close()).await;
    client.send("m-2").await;
    a.command("!push last words").await;
    assert_eq!(client.text().await, "last words");
    a.command("!close 1001").await;
    assert_eq!(client.text().await, "b:m-2", "what came after the Close is the next one's");
    client.ask("m-3", "b:m-3").await;
    let old = a.wait_end(0).await;
    assert_eq!(old.close().and_then(|(code, _)| code), Some(1001));
    assert_eq!((a.journal().texts(), b.journal().texts()), (range("m", 1, 1), range("m", 2, 3)));
}

#[tokio::test]
async fn sessions_of_the_only_backend_stay_until_there_is_another() {
    let [a, b] = backends(["a", "b"]).await;
    let broker = over(std::slice::from_ref(&a)).setting("drain", SOON).start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    remove(&broker, "a").await;
    let refused = steadfast_tests::upgrade::Upgrade::to(broker.address()).refused().await;
    assert_eq!(refused.status, 503);
    client.ask("m-2", "a:m-2").await;
    add(&broker, &b).await;
    let old = a.wait_end(0).await;
    assert_eq!(old.close().and_then(|(code, _)| code), Some(1001));
    client.ask("m-3", "b:m-3").await;
    let session = broker.wait_only_session("on b", |session| session["backend"] == "b").await;
    assert_eq!((&session["moves"], &session["failovers"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn a_backend_that_was_removed_can_be_added_again() {
    let all = backends(["a", "b"]).await;
    let broker = over(&all).setting("drain", SOON).start().await;
    let mut client = Client::connect(broker.address()).await;
    for _ in 0..3 {
        let here = home(&mut client).await;
        let backend = all.iter().find(|backend| backend.name() == here).expect("one of the two");
        remove(&broker, &here).await;
        broker.wait_only_session("moved", |session| session["backend"] != *here).await;
        assert_ne!(home(&mut client).await, here);
        add(&broker, backend).await;
    }
}
