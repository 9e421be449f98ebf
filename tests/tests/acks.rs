//! How the broker learns what a backend has, and what follows from it when the backend dies.

use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::sequence::{
    answers_to_end, check_arrivals, home_and_other, number, numbered, range, send_range, session_connections,
};
use steadfast_tests::wait::{bounded, eventually};

async fn pair(flags: &str) -> (Backend, Backend) {
    (Backend::start("a", flags).await, Backend::start("b", flags).await)
}

/// Without keepalive pings, so that nothing but its own timers wakes a session.
fn quiet(broker: BrokerBuilder) -> BrokerBuilder {
    broker.setting("timeouts", "keepalive = \"0s\"")
}

fn count(session: &Value, direction: &str, what: &str) -> u64 {
    let count = session["ledger"][direction][what].as_u64();
    count.unwrap_or_else(|| panic!("no count of {what} {direction} in {session}"))
}

/// All that a session's ledger counts as in doubt.
fn in_doubt(session: &Value) -> u64 {
    count(session, "upstream", "in_doubt") + count(session, "downstream", "in_doubt")
}

async fn wait_acknowledged(broker: &Broker, n: u64) -> Value {
    let what = format!("{n} messages acknowledged");
    broker.wait_only_session(&what, |session| count(session, "upstream", "acknowledged") >= n).await
}

#[tokio::test]
async fn at_rest_everything_is_acknowledged_and_nothing_kept() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let mut client = Client::connect(broker.address()).await;
    send_range(&client, "m", 1, 100).await;
    assert_eq!(client.texts(100).await, range("a:m", 1, 100));
    let session = wait_acknowledged(&broker, 100).await;
    assert_eq!(session["buffered_bytes"], 0);
    let expected = [("forwarded", 100), ("acknowledged", 100), ("replayed", 0), ("lost", 0), ("in_doubt", 0)];
    for (what, n) in expected {
        assert_eq!(count(&session, "upstream", what), n, "{what}");
    }
    assert_eq!((count(&session, "downstream", "forwarded"), count(&session, "downstream", "lost")), (100, 0));
    assert_eq!(
        broker.metric("steadfast_messages_forwarded_total", &[("direction", "upstream")]).await,
        100.0
    );
    assert_eq!(
        broker.metric("steadfast_messages_forwarded_total", &[("direction", "downstream")]).await,
        100.0
    );
    assert_eq!(
        broker.metric("steadfast_messages_acknowledged_total", &[("direction", "upstream")]).await,
        100.0
    );
    assert_eq!(broker.metric("steadfast_unacknowledged_bytes", &[]).await, 0.0);
}

#[tokio::test]
async fn unsolicited_pongs_acknowledge_nothing() {
    let (a, b) = pair("--unsolicited-pongs --no-pong").await;
    let broker = Broker::start(&[&a, &b]).await;
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other([&a, &b]).await;
    other.set("").await;
    send_range(&client, "m", 1, 20).await;
    assert_eq!(client.texts(20).await, range(&format!("{}:m", home.name()), 1, 20));
    // Each answer came behind that message's unsolicited pongs, so the broker has read those too.
    let session = broker.wait_only_session("the client's", |_| true).await;
    assert_eq!(count(&session, "upstream", "acknowledged"), 0);
    home.kill();
    assert_eq!(client.texts(20).await, range(&format!("{}:m", other.name()), 1, 20));
    assert_eq!(other.journal().texts(), range("m", 1, 20));
    let session = wait_acknowledged(&broker, 20).await;
    assert_eq!(count(&session, "upstream", "replayed"), 20);
    assert!(in_doubt(&session) >= 20, "twenty were answered twice: {session}");
}

#[tokio::test]
async fn a_backend_that_talks_but_never_pongs_does_not_block_its_session() {
    let (a, b) = pair("--no-pong").await;
    let broker = Broker::over(&[&a, &b]).pool_setting("ack_timeout = \"500ms\"");
    let broker = broker.setting("limits", "message = 4096\nring = 4096").start().await;
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other([&a, &b]).await;
    // 400 KB: many times what the ring and one read may hold.
    let tag = "m".repeat(200);
    let expected = range(&format!("{}:{tag}", home.name()), 1, 2000);
    let writer = client.writer();
    let sender = tokio::spawn(async move {
        for n in 1..=2000 {
            assert!(writer.send(&numbered(&tag, n)).await, "the connection broke");
        }
    });
    let answers = bounded("two thousand answers", client.texts(2000)).await;
    assert_eq!(answers, expected);
    sender.await.expect("the sender ends well");
    assert_eq!(other.journal().connections().len(), 0, "a backend that talks is alive");
    let is_complaint = |record: &Value| record["level"] == "WARN" && record.to_string().contains("pong");
    let is_logged = || !broker.records(is_complaint).is_empty();
    eventually("the backend to be logged as unfit for pong acks", is_logged).await;
}

#[tokio::test]
async fn a_backend_that_neither_talks_nor_pongs_is_left() {
    let (a, b) = pair("").await;
    // It would answer a probe, and be held to be slow.
    let broker = Broker::over(&[&a, &b]).pool_setting("ack_timeout = \"500ms\"\nprobe = false");
    let broker = quiet(broker).start().await;
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other([&a, &b]).await;
    home.set("--silent --no-pong").await;
    send_range(&client, "m", 1, 5).await;
    assert_eq!(client.texts(5).await, range(&format!("{}:m", other.name()), 1, 5));
    home.wait_end(0).await;
    assert_eq!(home.journal().texts(), range("m", 1, 5));
}

#[tokio::test]
async fn a_slow_client_is_not_its_backends_silence() {
    let (a, b) = pair("").await;
    let clock = pair("").await;
    let broker = Broker::over(&[&a, &b]).pool_setting("ack_timeout = \"700ms\"");
    let broker =
        broker.pool("clock", &[&clock.0, &clock.1]).pool_setting("ack_timeout = \"1500ms\"\nprobe = false");
    let broker = quiet(broker).start().await;
    let mut client = Client::connect(broker.address()).await;
    client.shrink_receive_buffer(64 << 10);
    let timing = Client::connect(broker.address_of(1)).await;
    let (home, other) = home_and_other([&a, &b]).await;
    let (ticking, rang) = home_and_other([&clock.0, &clock.1]).await;
    // Answers of 40 MB, which nobody reads: the backend blocks, and the pongs are stuck behind them.
    for _ in 0..40 {
        client.send("!big 1000000").await;
    }
    home.wait_messages(1).await;
    ticking.set("--silent --no-pong").await;
    timing.send("m-1").await;
    // The other pool's timer is twice as long and began later.
    rang.wait_upgrades(1).await;
    for n in 1..=40 {
        assert_eq!(client.message().await.bytes.len(), 1_000_000, "answer {n}");
    }
    client.ask("m-1", &format!("{}:m-1", home.name())).await;
    assert_eq!(home.journal().texts().len(), 41, "nothing was repeated");
    assert_eq!(other.journal().connections().len(), 0, "the session stayed");
}

/// What became of 40 messages to a backend that had read ahead and died after its tenth answer.
struct ReadAhead {
    session: Value,
    answers: Vec<String>,
    repeated: usize,
}

async fn kill_while_reading_ahead(
    flags: &str,
    broker: impl FnOnce(BrokerBuilder) -> BrokerBuilder,
) -> ReadAhead {
    let (a, b) = pair(flags).await;
    let broker = broker(Broker::over(&[&a, &b])).start().await;
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other([&a, &b]).await;
    send_range(&client, "m", 1, 40).await;
    let mut answers = client.texts(10).await;
    home.wait_messages(40).await;
    home.kill();
    other.wait_upgrades(1).await;
    send_range(&client, "m", 41, 50).await;
    answers.extend(answers_to_end(&mut client, "m", 50).await);
    let session = broker.wait_only_session("moved", |session| session["failovers"] == 1).await;
    let connections = session_connections(session["id"].as_str().expect("an id"), &[home, other]);
    let repeated = check_arrivals("m", 50, &connections);
    ReadAhead { session, answers, repeated }
}

/// How many of `m-1..=m-total` have no answer, and how many have two.
fn tally(answers: &[String], total: usize) -> (u64, u64) {
    let times = |n: usize| answers.iter().filter(|answer| number(answer) == n).count();
    let all: Vec<usize> = (1..=total).map(times).collect();
    assert!(all.iter().all(|times| *times <= 2), "two backends answer twice at most: {answers:?}");
    let count = |n| all.iter().filter(|times| **times == n).count() as u64;
    (count(0), count(2))
}

#[tokio::test]
async fn without_a_hold_what_a_backend_had_read_ahead_is_counted_in_doubt() {
    // The backend pongs at once, and answers one message each 20 ms.
    let end = kill_while_reading_ahead("--delay 20 --one-by-one", |broker| broker).await;
    let (unanswered, twice) = tally(&end.answers, 50);
    assert!(unanswered > 0, "the backend had nothing in hand: the test tests nothing");
    assert!(
        in_doubt(&end.session) >= unanswered + twice,
        "{unanswered} unanswered and {twice} answered twice are not all in doubt: {}",
        end.session
    );
    assert_eq!(count(&end.session, "upstream", "lost"), 0, "the backend had them all");
}

#[tokio::test]
async fn without_a_hold_what_concurrent_handlers_had_in_hand_is_counted_in_doubt() {
    // All handlers end long after the kill.
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let broker = Broker::start(&[&a, &b]).await;
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other([&a, &b]).await;
    client.ask("m-1", &format!("{}:m-1", home.name())).await;
    home.set("--delay 600000").await;
    send_range(&client, "m", 2, 30).await;
    wait_acknowledged(&broker, 30).await;
    home.kill();
    client.ask("m-31", &format!("{}:m-31", other.name())).await;
    assert_eq!(other.journal().texts(), ["m-31"], "acknowledged messages are not repeated");
    let session = broker.wait_only_session("moved", |session| session["failovers"] == 1).await;
    assert!(in_doubt(&session) >= 29, "29 messages were acknowledged and not answered: {session}");
}

#[tokio::test]
async fn with_a_hold_what_a_backend_had_read_ahead_is_repeated() {
    let hold = |broker: BrokerBuilder| broker.pool_setting("ack_hold = \"20s\"");
    let (a, b) = pair("--delay 20 --one-by-one").await;
    let broker = hold(Broker::over(&[&a, &b])).start().await;
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other([&a, &b]).await;
    send_range(&client, "m", 1, 40).await;
    let mut answers = client.texts(10).await;
    home.wait_messages(40).await;
    home.kill();
    answers.extend(answers_to_end(&mut client, "m", 40).await);
    let (unanswered, twice) = tally(&answers, 40);
    assert_eq!(unanswered, 0, "{answers:?}");
    assert!(twice >= 10, "the first ten were answered by both");
    assert_eq!(other.journal().texts(), range("m", 1, 40));
    let session = broker.wait_only_session("moved", |session| session["failovers"] == 1).await;
    assert!(in_doubt(&session) >= twice, "{twice} answered twice are not all in doubt: {session}");
    assert_eq!(count(&session, "upstream", "replayed"), 40);
}

#[tokio::test]
async fn with_a_short_hold_old_messages_leave_the_ring() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).pool_setting("ack_hold = \"200ms\"").start().await;
    let mut client = Client::connect(broker.address()).await;
    send_range(&client, "m", 1, 20).await;
    assert_eq!(client.texts(20).await, range("a:m", 1, 20));
    broker.wait_at_rest().await;
    backend.restart().await;
    client.ask("m-21", "a:m-21").await;
    assert_eq!(backend.journal().connections()[1].texts(), ["m-21"]);
}

#[tokio::test]
async fn with_a_hold_reading_ahead_loses_nothing_in_a_stream() {
    let end = kill_while_reading_ahead("--delay 20 --one-by-one", |broker| {
        broker.pool_setting("ack_hold = \"20s\"")
    })
    .await;
    let (unanswered, twice) = tally(&end.answers, 50);
    assert_eq!(unanswered, 0, "{:?}", end.answers);
    assert!(end.repeated as u64 >= twice);
    assert!(in_doubt(&end.session) >= twice, "{twice} answered twice: {}", end.session);
}

#[tokio::test]
async fn without_acks_there_are_no_pings_and_no_repetitions() {
    let (a, b) = pair("").await;
    let broker = Broker::over(&[&a, &b]).pool_setting("ack = \"none\"");
    let broker = broker.setting("timeouts", "keepalive = \"0s\"").start().await;
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other([&a, &b]).await;
    send_range(&client, "m", 1, 50).await;
    assert_eq!(client.texts(50).await, range(&format!("{}:m", home.name()), 1, 50));
    assert_eq!(home.journal().connections()[0].pings(), [""; 0]);
    home.kill();
    other.wait_upgrades(1).await;
    send_range(&client, "m", 51, 60).await;
    assert_eq!(client.texts(10).await, range(&format!("{}:m", other.name()), 51, 60));
    assert_eq!(other.journal().texts(), range("m", 51, 60));
}

#[tokio::test]
async fn without_acks_what_was_never_written_goes_to_the_next_backend() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).pool_setting("ack = \"none\"").start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    backend.kill();
    broker.wait_only_session("without a backend", |session| session["state"] != "relaying").await;
    send_range(&client, "m", 2, 40).await;
    backend.restart().await;
    assert_eq!(client.texts(39).await, range("a:m", 2, 40));
    assert_eq!(backend.journal().connections()[1].texts(), range("m", 2, 40));
}
