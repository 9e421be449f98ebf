//! One session is mute while its backend lives: a handler that is slow, or dead.

use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::sequence::{home_and_other, range, send_range};
use steadfast_tests::wait::eventually;

use crate::clock::Clock;
use crate::{NO_PROBE, SHORT, all_at_rest, at_home, count, dials, pair, pool};

/// A pool over two backends whose sessions all go to the first, and a clock that rings after 1 s.
async fn on_first(backends: &(Backend, Backend), clock: &Clock, settings: &[&str]) -> Broker {
    let broker = pool(BrokerBuilder::default(), "default", &[&backends.0, &backends.1], settings);
    clock.add_to(broker.backend_setting("b", "backup = true"), "1s").start().await
}

/// A session of the backend `a` that is served all the time, until this is dropped.
struct Neighbour(tokio::task::JoinHandle<()>);

impl Neighbour {
    async fn start(broker: &Broker) -> Self {
        let mut client = Client::connect(broker.address()).await;
        client.ask("hello-1", "a:hello-1").await;
        Self(tokio::spawn(async move {
            for n in 2.. {
                client.ask(&format!("hello-{n}"), &format!("a:hello-{n}")).await;
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }))
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A session whose service stops reading stays where it is while the clock runs, and, when `leaves` is true, is
/// then served by the other backend.
async fn assert_deadlock(flags: &str, settings: &[&str], leaves: bool) {
    let (clock, backends) = (Clock::new().await, pair("").await);
    backends.0.set(flags).await;
    let broker = on_first(&backends, &clock, &[&[SHORT, NO_PROBE], settings].concat()).await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    all_at_rest(&broker).await;
    let neighbour = Neighbour::start(&broker).await;
    let running = clock.start(&broker, 1).await;
    client.send("!stop-reading").await;
    send_range(&client, "m", 2, 5).await;
    running.rang().await;
    assert_eq!(dials(&backends.1), 0, "twice what a backend may be silent is not long");
    if leaves {
        backends.1.wait_upgrades(1).await;
        let resumed = || backends.1.journal().texts() == ["!stop-reading"];
        eventually("the message that stops it has come to the other", resumed).await;
        backends.1.command("!resume-reading").await;
        assert_eq!(client.texts(4).await, range("b:m", 2, 5));
    } else {
        backends.0.command("!resume-reading").await;
        assert_eq!(client.texts(4).await, range("a:m", 2, 5));
        assert_eq!(dials(&backends.1), 0);
    }
    assert!(!neighbour.0.is_finished(), "the neighbour was served all the time");
}

#[tokio::test]
async fn a_slow_session_among_lively_ones_stays() {
    assert_deadlock("", &[], false).await;
}

#[tokio::test]
async fn a_deadlocked_session_leaves_when_it_has_stalled() {
    assert_deadlock("", &["stall_timeout = \"2500ms\""], true).await;
}

/// Pings of its library's own are no sign of its life.
#[tokio::test]
async fn a_deadlocked_session_whose_library_pings_leaves_when_it_has_stalled() {
    assert_deadlock("--ping-every 50", &["stall_timeout = \"2500ms\""], true).await;
}

/// It owes nothing but answers to keepalive pings.
#[tokio::test]
async fn an_idle_session_that_falls_mute_leaves_when_it_has_stalled() {
    let (clock, backends) = (Clock::new().await, pair("").await);
    let settings = [SHORT, NO_PROBE, "stall_timeout = \"2500ms\""];
    let broker = pool(BrokerBuilder::default(), "default", &[&backends.0, &backends.1], &settings);
    let broker = broker.backend_setting("b", "backup = true").setting("timeouts", "keepalive = \"100ms\"");
    let broker = clock.add_to(broker, "1s").start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    broker.wait_at_rest().await;
    backends.0.command_some(1, "!stop-reading").await;
    let _neighbour = Neighbour::start(&broker).await;
    clock.start(&broker, 1).await.rang().await;
    assert_eq!(dials(&backends.1), 0, "twice what a backend may be silent is not long");
    backends.1.wait_upgrades(1).await;
    client.ask("m-2", "b:m-2").await;
}

/// A service that talks is alive, for as long as it does.
#[tokio::test]
async fn a_feed_whose_service_does_not_read_stays() {
    let (clock, backends) = (Clock::new().await, pair("--feed 20").await);
    let settings = [SHORT, NO_PROBE, "stall_timeout = \"400ms\""];
    let broker = on_first(&backends, &clock, &settings).await;
    let mut client = Client::connect(broker.address()).await;
    // It is known to answer pings.
    client.send("m-1").await;
    let acknowledged = |session: &Value| count(session, "upstream", "acknowledged") == 1;
    broker.wait_only_session("acknowledged", acknowledged).await;
    let reader = tokio::spawn(async move {
        let mut texts = Vec::new();
        while texts.last().is_none_or(|text: &String| text != "a:m-3") {
            texts.push(client.text().await);
            if texts.len() == 3 {
                client.send("!stop-reading").await;
                send_range(&client, "m", 2, 3).await;
            }
        }
        texts
    });
    clock.start(&broker, 1).await.rang().await;
    assert_eq!(dials(&backends.1), 0, "it has stayed");
    backends.0.command("!resume-reading").await;
    let texts = reader.await.expect("a client that was served");
    assert_eq!(dials(&backends.1), 0);
    let feed: Vec<&String> = texts.iter().filter(|text| text.contains("feed")).collect();
    assert_eq!(feed, range("a:feed", 1, feed.len()).iter().collect::<Vec<_>>(), "nothing is missing");
}

/// It has not ponged yet and talks: that makes it slow, not one that never pongs.
#[tokio::test]
async fn a_first_message_that_streams_answers_is_kept_until_it_is_acknowledged() {
    let (clock, backends) = (Clock::new().await, pair("--feed 20").await);
    let broker = on_first(&backends, &clock, &[SHORT, NO_PROBE]).await;
    let client = Client::connect(broker.address()).await;
    client.send("!stop-reading").await;
    backends.0.wait_messages(1).await;
    send_range(&client, "m", 2, 3).await;
    clock.start(&broker, 1).await.rang().await;
    let sessions = broker.sessions().await;
    let session = sessions.iter().find(|session| session["pool"] == "default").expect("the client's session");
    assert_eq!(count(session, "upstream", "acknowledged"), 0, "{session}");
    assert!(session["buffered_bytes"].as_u64() > Some(0), "what is not acknowledged is kept: {session}");
    let unfit = broker.records(|record| record["level"] == "WARN" && record["pool"] == "default");
    assert_eq!(unfit, [0; 0], "it is not called unfit");
    // The proof that it was kept: the other gets it.
    backends.0.kill();
    backends.1.wait_messages(1).await;
    backends.1.command("!resume-reading").await;
    let replayed = || backends.1.journal().texts() == ["!stop-reading", "m-2", "m-3"];
    eventually("the messages come to the other backend", replayed).await;
}

/// Without acknowledgements nothing is owed, and silence is no reason to leave.
#[tokio::test]
async fn without_acks_a_service_that_does_not_read_is_not_left() {
    let (clock, (a, b)) = (Clock::new().await, pair("").await);
    let broker = pool(BrokerBuilder::default(), "default", &[&a, &b], &["ack = \"none\"", SHORT, NO_PROBE]);
    let broker = broker.setting("timeouts", "keepalive = \"200ms\"");
    let broker = clock.add_to(broker, "1s").start().await;
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other([&a, &b]).await;
    client.send("!stop-reading").await;
    home.wait_messages(1).await;
    send_range(&client, "m", 2, 50).await;
    clock.start(&broker, 1).await.rang().await;
    home.command("!resume-reading").await;
    assert_eq!(client.texts(49).await, range(&format!("{}:m", home.name()), 2, 50));
    assert_eq!(dials(other), 0);
}

/// The ledger does not call acknowledged what a dead backend has never read.
#[tokio::test]
async fn without_acks_what_a_dead_backend_had_not_read_is_counted_as_lost() {
    let (a, b) = pair("").await;
    let broker = pool(BrokerBuilder::default(), "default", &[&a, &b], &["ack = \"none\""]);
    // A keepalive ping marks what was read before.
    let broker = broker.setting("timeouts", "keepalive = \"200ms\"").start().await;
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other([&a, &b]).await;
    client.ask("m-1", &format!("{}:m-1", home.name())).await;
    broker.wait_only_session("marked", |session| count(session, "upstream", "acknowledged") == 1).await;
    home.command("!stop-reading").await;
    send_range(&client, "m", 2, 41).await;
    let sent = |session: &Value| count(session, "upstream", "forwarded") == 41;
    broker.wait_only_session("all is written", sent).await;
    home.kill();
    client.send("m-42").await;
    let mut answer = client.text().await;
    if answer == format!("{}:m-2", home.name()) {
        // It was read with the order to stop.
        answer = client.text().await;
    }
    assert_eq!(answer, format!("{}:m-42", other.name()));
    let session = broker.wait_only_session("moved", |session| session["failovers"] == 1).await;
    assert_eq!(count(&session, "upstream", "lost"), 40, "{session}");
    assert!((1..=2).contains(&count(&session, "upstream", "acknowledged")), "{session}");
    assert_eq!(other.journal().texts(), ["m-42"]);
    // One may have been read with the order to stop.
    assert!(home.journal().texts().len() <= 2, "{:?}", home.journal().texts());
}

/// The negative of those that stay: mute everywhere, and left.
#[tokio::test]
async fn a_session_whose_backend_is_mute_everywhere_leaves() {
    let (a, b) = pair("").await;
    let broker = pool(BrokerBuilder::default(), "default", &[&a, &b], &[SHORT, NO_PROBE]).start().await;
    let (mut client, home, other) = at_home(&broker, [&a, &b]).await;
    home.set("--silent --no-pong").await;
    client.ask("m-2", &format!("{}:m-2", other.name())).await;
    assert_eq!(home.journal().texts(), ["m-1", "m-2"]);
}
