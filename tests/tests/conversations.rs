//! Which clients get a profile, and what comes of it: the pool's choice, what is offered, and what is counted and told.

use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::sequence::home_and_other;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::eventually_async;

/// A protocol that the tests' backends speak, which answer what they hear with their name in front.
const MINE: &str = r#"
[[profile]]
name = "mine"
match = { path = "/mine*" }
up = [
    { when = { prefix = "login" }, keep = "login", answer = "login" },
    { when = { prefix = "join" }, keep = "join", standing = true },
]
down = [
    { when = { prefix = "a:login" }, answer = "login" },
    { when = { prefix = "b:login" }, answer = "login" },
    { when = { prefix = "a:bye" }, parting = true },
    { when = { prefix = "b:bye" }, parting = true },
]
"#;

/// As a Socket.IO client asks that has begun by polling.
const POLLED: &str = "/socket.io/?EIO=4&transport=websocket&sid=abc";

const AGAIN: (Option<u16>, &str) = (Some(1012), "the backend failed; connect again");

async fn pair(flags: &str) -> (Backend, Backend) {
    (Backend::start("a", flags).await, Backend::start("b", flags).await)
}

fn over(pair: [&Backend; 2], settings: &[&str]) -> BrokerBuilder {
    let broker = Broker::over(&pair).tables(MINE).pool_setting("auto_wait = \"500ms\"");
    settings.iter().fold(broker, |broker, setting| broker.pool_setting(setting))
}

fn at(broker: &Broker, path: &str) -> Upgrade {
    Upgrade::to(broker.address()).path(path)
}

/// Says something that is answered, and waits until that and all before it is acknowledged.
async fn say(broker: &Broker, client: &mut Client, home: &Backend, words: &[&str]) {
    for word in words {
        client.ask(word, &format!("{}:{word}", home.name())).await;
    }
    let n = words.len();
    broker
        .wait_only_session("acknowledged", |session| session["ledger"]["upstream"]["acknowledged"] == n)
        .await;
}

/// The log has this in so many lines.
async fn wait_told(broker: &Broker, part: &str, times: usize) {
    let has = |record: &Value| record["message"].as_str().is_some_and(|line| line.contains(part));
    eventually_async(&format!("{times} lines with {part}"), async || {
        (broker.records(has).len() == times).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_is_logged_in_at_the_next_backend_and_notices_nothing() {
    for (path, setting) in
        [("/mine/1", ""), ("/mine/1", "on_failure = \"failover\""), ("/other", "profile = \"mine\"")]
    {
        let (a, b) = pair("").await;
        let broker = over([&a, &b], &[setting]).start().await;
        let mut client = at(&broker, path).connect().await;
        let (home, other) = home_and_other([&a, &b]).await;
        say(&broker, &mut client, home, &["login ann", "join room", "m-1"]).await;
        home.kill();
        other.wait_messages(2).await;
        // The answer of the login is swallowed; what is kept without one has its answer passed on.
        assert_eq!(client.text().await, format!("{}:join room", other.name()), "{path} {setting}");
        client.ask("m-2", &format!("{}:m-2", other.name())).await;
        assert_eq!(other.journal().texts(), ["login ann", "join room", "m-2"]);
        let session = broker.wait_only_session("there", |session| session["state"] != "greeting").await;
        assert_eq!(session["ledger"]["upstream"]["repeated"], 2, "{session}");
        assert_eq!(session["ledger"]["downstream"]["suppressed"], 1, "{session}");
        assert_eq!(broker.metric("steadfast_messages_repeated_total", &[]).await, 2.0);
        wait_told(&broker, "profile = \"none\"", usize::from(!setting.contains("mine"))).await;
    }
}

#[tokio::test]
async fn without_a_profile_nothing_is_said_again() {
    for (path, setting) in [
        ("/other", ""),
        ("/mine", "profile = \"none\""),
        ("/mine", "ack = \"none\""),
        ("/mine?steadfast-resume=c2VjcmV0LW9mLXRoZS1jbGllbnRz", "plain_resume = true"),
    ] {
        let (a, b) = pair("").await;
        let broker = over([&a, &b], &[setting]).start().await;
        let mut client = at(&broker, path).connect().await;
        let (home, other) = home_and_other([&a, &b]).await;
        client.ask("login ann", &format!("{}:login ann", home.name())).await;
        home.kill();
        other.wait_upgrades(1).await;
        client.send("m-2").await;
        // What was not acknowledged comes first.
        while client.text().await != format!("{}:m-2", other.name()) {}
        assert_eq!(broker.metric("steadfast_messages_repeated_total", &[]).await, 0.0, "{path} {setting}");
    }
}

#[tokio::test]
async fn nothing_is_compressed_where_a_profile_may_have_to_read_it() {
    let flags = "--extensions permessage-deflate;server_no_context_takeover;client_no_context_takeover --subprotocol chat";
    let (a, b) = pair(flags).await;
    let broker = over([&a, &b], &[]).start().await;
    for (path, offered) in [("/mine", false), ("/other", true)] {
        let upgrade = at(&broker, path).header("Sec-WebSocket-Extensions", "permessage-deflate");
        let client = upgrade.header("Sec-WebSocket-Protocol", "chat").connect().await;
        let agreed = client.response().header_values("sec-websocket-extensions");
        assert_eq!(!agreed.is_empty(), offered, "{path}: {agreed:?}");
    }
    let mut offers: Vec<bool> = Vec::new();
    for backend in [&a, &b] {
        let connections = backend.journal().connections();
        let offer = |connection: &steadfast_tests::journal::Connection| {
            !connection.header_values("sec-websocket-extensions").is_empty()
        };
        offers.extend(connections.iter().map(offer));
    }
    offers.sort_unstable();
    assert_eq!(offers, [false, true]);
}

#[tokio::test]
async fn socket_io_that_began_by_polling_is_closed_to_reconnect() {
    let (a, b) = pair("").await;
    let broker = over([&a, &b], &["profile = \"socket.io\""]).start().await;
    let mut client = at(&broker, POLLED).connect().await;
    let (home, _) = home_and_other([&a, &b]).await;
    say(&broker, &mut client, home, &["40"]).await;
    home.kill();
    let (code, reason) = client.closed().await;
    assert_eq!((code, reason.as_str()), AGAIN);
    wait_told(&broker, "transports: [\"websocket\"]", 1).await;
}

#[tokio::test]
async fn what_is_too_long_to_be_kept_is_told_and_counted_once_for_each_session() {
    let (a, b) = pair("").await;
    let broker = over([&a, &b], &["profile = \"mine\"", "profile_records = 1024"]).start().await;
    let long = format!("login {}", "x".repeat(2048));
    let mut client = at(&broker, "/").connect().await;
    let (home, _) = home_and_other([&a, &b]).await;
    say(&broker, &mut client, home, &[&long, "m-1"]).await;
    broker.wait_metric("steadfast_unsaveable_total", &[], |count| count == 1.0).await;
    home.kill();
    let (code, reason) = client.closed().await;
    assert_eq!((code, reason.as_str()), AGAIN);
    wait_told(&broker, "cannot be repeated to another backend", 1).await;
}

#[tokio::test]
async fn a_backend_that_says_in_its_own_words_that_it_goes_is_drained() {
    let (a, b) = pair("").await;
    let broker = over([&a, &b], &["profile = \"mine\""]).backend_setting("b", "weight = 0").start().await;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = at(&broker, "/").connect().await;
        client.ask("m-1", "a:m-1").await;
        clients.push(client);
    }
    for client in &mut clients {
        client.send("bye").await;
    }
    broker.wait_metric("steadfast_drain_requests_total", &[], |count| count == 1.0).await;
    for client in &mut clients {
        client.send("m-2").await;
        let answer = client.text().await;
        assert!(answer.ends_with(":m-2"), "the parting is not for the client: {answer}");
    }
}
