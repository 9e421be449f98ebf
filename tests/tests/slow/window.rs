//! How much of what was written a backend may not have read.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::network::unread;
use steadfast_tests::payload::Payload;
use steadfast_tests::proxy::Proxy;
use steadfast_tests::sequence::{converse, home_and_other, numbered, send_range, session_connections};
use steadfast_tests::wait::eventually;

use crate::clock::Clock;
use crate::count;

/// Kills of which the median counts.
const KILLS: usize = 20;
/// Messages that are enough for that.
const TOTAL: usize = KILLS * 200;

/// A reader that was fast has a large receive buffer, which must not fill when it becomes slow.
#[tokio::test]
async fn little_is_unread_when_a_fast_reader_becomes_slow() {
    let backend = Backend::start("a", "--silent").await;
    let broker = Broker::start(&[&backend]).await;
    let client = Client::connect(broker.address()).await;
    let writer = client.writer();
    let flood = tokio::spawn(async move {
        let text = "m".repeat(1000);
        while writer.send(&text).await {}
    });
    backend.wait_messages(10_000).await;
    backend.set("--silent --handle 20").await;
    let before = messages(&backend);
    let mut most = 0;
    for n in 1..=25 {
        backend.wait_messages(before + n).await;
        most = most.max(unread(backend.address()));
    }
    flood.abort();
    assert!(most > 0, "nothing was ever unread: the test tests nothing");
    assert!(most < 256 << 10, "{most} bytes were written to a backend that had not read them");
}

/// The window is 64 messages or 64 KiB, whichever is more.
#[tokio::test]
async fn nothing_beyond_the_window_is_written_while_no_pong_comes() {
    let (clock, backend) = (Clock::new().await, Backend::start("a", "--silent --no-pong").await);
    let broker = clock.add_to(Broker::over(&[&backend]), "1s").start().await;
    let client = Client::connect(broker.address()).await;
    let long = "m".repeat(1000);
    for _ in 0..500 {
        client.send(&long).await;
    }
    clock.start(&broker, 1).await.rang().await;
    let written = messages(&backend) + unread(backend.address()) / 1000;
    assert!((50..=80).contains(&written), "{written} messages were written");
}

/// What is under way on a long path is no unread backlog: there the window grows with what the pongs show.
#[tokio::test]
async fn the_window_grows_on_a_long_path() {
    let backend = Backend::start("a", "--silent").await;
    let path = Proxy::start_long(backend.address(), Duration::from_millis(100)).await;
    let listed = format!("[[pool.backend]]\nurl = \"ws://{}\"", path.address());
    let broker = Broker::over(&[]).pool_table(&listed).start().await;
    let client = Client::connect(broker.address()).await;
    let long = "m".repeat(8000);
    for _ in 0..1500 {
        client.send(&long).await;
    }
    backend.wait_messages(1500).await;
    let most = path.most_under_way();
    assert!(most > 1 << 20, "12 MB were sent with at most {most} bytes under way");
}

/// A peer may answer the latest of several pings alone, and that answers for all before it.
#[tokio::test]
async fn a_pong_answers_for_all_that_was_in_front_of_its_ping() {
    let backend = Backend::start("a", "--silent --latest-pong 30").await;
    let broker = Broker::start(&[&backend]).await;
    let client = Client::connect(broker.address()).await;
    send_range(&client, &"m".repeat(200), 1, 1500).await;
    let acknowledged = |session: &Value| count(session, "upstream", "acknowledged") == 1500;
    broker.wait_only_session("all is acknowledged", acknowledged).await;
    let connection = backend.journal().sessions().remove(0);
    assert!(connection.pings().len() > 8, "{:?}", connection.pings());
    assert_eq!(connection.violations(), [""; 0]);
}

fn messages(backend: &Backend) -> usize {
    backend.journal().sessions().iter().map(|connection| connection.payloads().len()).sum()
}

/// A service that handles one message after the other has hundreds before it when it dies.
#[tokio::test]
async fn a_kill_in_a_flood_repeats_no_more_of_what_was_read_than_the_window() {
    let (a, b) = (Backend::start("a", "--silent --handle 1").await, Backend::start("b", "--silent").await);
    let broker = Broker::over(&[&a, &b]).backend_setting("b", "backup = true").start().await;
    let client = Client::connect(broker.address()).await;
    let tag = "m".repeat(250);
    send_range(&client, &tag, 1, 2000).await;
    a.wait_messages(700).await;
    a.kill();
    // How many it gets depends on how far the other has come when it dies.
    let last = numbered(&tag, 2000);
    eventually("the last message is at b", || b.journal().texts().last() == Some(&last)).await;
    broker.wait_at_rest().await;
    let (read, replayed) = (a.journal().texts(), b.journal().texts());
    assert_eq!(replayed.last(), Some(&numbered(&tag, 2000)));
    let again: Vec<&String> = replayed.iter().filter(|text| read.contains(text)).collect();
    let bytes: usize = again.iter().map(|text| text.len()).sum();
    assert!(again.len() <= 64 || bytes <= 64 << 10, "{} messages, {bytes} bytes", again.len());
}

/// What of the messages that were replayed after each kill the dead backend had read, (messages, bytes).
async fn replayed_though_read(tag: &str) -> Vec<(usize, usize)> {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let _supervised = [a.supervise(), b.supervise()];
    let broker = BrokerBuilder::default().pool("default", &[&a, &b]).setting("failover", "stable = \"0s\"");
    let broker = broker.setting("failover", "penalty_min = \"0s\"\npenalty_max = \"0s\"");
    // Nobody is convicted for the kills.
    let broker = broker.setting("poison", "deaths = 1000\nconvictions = 1000").start().await;
    let mut client = Client::connect(broker.address()).await;
    home_and_other([&a, &b]).await;
    let (mut kills, mut next_kill) = (0, 40);
    converse(&mut client, tag, TOTAL, 16, async |answered, by| {
        let home = if by == "a" { &a } else { &b };
        if kills < KILLS && answered >= next_kill {
            // It has answered; its supervisor may not have taken note yet that it is up again.
            eventually("the backend's supervisor has it", || home.is_alive()).await;
            (kills, next_kill) = (kills + 1, answered + 40);
            home.kill();
        }
    })
    .await;
    assert_eq!(kills, KILLS);
    let session = broker.wait_at_rest().await;
    let id = session["id"].as_str().expect("an id");
    let numbers: HashMap<String, usize> =
        (1..=TOTAL).map(|n| (Payload::of(numbered(tag, n).as_bytes()).hash, n)).collect();
    let (mut read, mut counts) = (0_usize, Vec::new());
    for (_, connection) in session_connections(id, &[&a, &b]) {
        let payloads = connection.payloads();
        let Some(first) = payloads.first().map(|payload| numbers[&payload.hash]) else { continue };
        if read > 0 {
            let again = (read + 1).saturating_sub(first).min(payloads.len());
            counts.push((again, payloads[..again].iter().map(|payload| payload.len).sum()));
        }
        read = read.max(first + payloads.len() - 1);
    }
    assert_eq!(read, TOTAL, "the last message that was read");
    counts
}

fn median(mut counts: Vec<usize>) -> usize {
    counts.sort_unstable();
    counts[counts.len() / 2]
}

/// Sixteen messages are under way at each kill.
#[tokio::test]
async fn a_kill_repeats_little_of_what_was_read() {
    let short = "m".repeat(64 - "-123".len());
    let long = "m".repeat(4096);
    let (short, long) = tokio::join!(replayed_though_read(&short), replayed_though_read(&long));
    assert!(short.len() >= KILLS && long.len() >= KILLS, "{short:?} {long:?}");
    let messages = median(short.iter().map(|(messages, _)| *messages).collect());
    assert!(messages <= 64, "{messages} messages of 64 bytes had been read; all kills: {short:?}");
    let bytes = median(long.iter().map(|(_, bytes)| *bytes).collect());
    assert!(bytes <= 64 << 10, "{bytes} bytes in long messages had been read; all kills: {long:?}");
}
