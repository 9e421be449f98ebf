//! Services whose handlers take their time: every message is handled, and once.

use futures::future::join_all;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::frame::{BINARY, Frame};
use steadfast_tests::payload::{Payload, noise};
use steadfast_tests::sequence::{number, range, send_range};
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::{bounded, eventually};

use crate::clock::Clock;
use crate::peers::server::Server;
use crate::peers::tools::{Tool, left_out};
use crate::{NO_PROBE, SHORT, dials, over, pair, pool};

/// Settings of pools in which a slow service must be served as well as in any other.
const MODES: [&[&str]; 3] = [&[], &["ack = \"none\""], &["on_failure = \"close\""]];

/// How long a backend may owe a pong here: several times what it takes to handle what a window has.
const LONGER: &str = "ack_timeout = \"1500ms\"";

/// Brokers' pools, one for each of [`MODES`], over `size` backends each.
async fn in_all_modes(size: usize, flags: &str, settings: &[&str]) -> (Vec<Vec<Backend>>, BrokerBuilder) {
    let mut broker = BrokerBuilder::default();
    let mut pools = Vec::new();
    for (index, mode) in MODES.into_iter().enumerate() {
        let names = (0..size).map(|n| format!("{}{index}", ["a", "b"][n]));
        let backends: Vec<Backend> =
            join_all(names.map(async |name| Backend::start(&name, flags).await)).await;
        let all: Vec<&Backend> = backends.iter().collect();
        broker = pool(broker, &format!("mode-{index}"), &all, &[mode, settings].concat());
        pools.push(backends);
    }
    // Without acknowledgements, keepalive pings are all that a backend can owe.
    (pools, broker.setting("timeouts", "keepalive = \"200ms\""))
}

/// A client says all of its messages at once, and gets no answers: each has arrived once, in order, and at one
/// backend.
async fn assert_handled_once(broker: &Broker, index: usize, backends: &[Backend], tag: &str, total: usize) {
    let client = Client::connect(broker.address_of(index)).await;
    send_range(&client, tag, 1, total).await;
    let arrived =
        || -> Vec<String> { backends.iter().flat_map(|backend| backend.journal().texts()).collect() };
    eventually(&format!("all messages, mode {index}"), || arrived().len() >= total).await;
    assert_eq!(arrived(), range(tag, 1, total), "mode {index}");
    // What would come again is on its way.
    client.send("end").await;
    eventually(&format!("the end, mode {index}"), || arrived().last().is_some_and(|text| text == "end"))
        .await;
    assert_eq!(arrived().len(), total + 1, "mode {index}");
    let dials: usize = backends.iter().map(dials).sum();
    assert_eq!(dials, 1, "mode {index}");
}

async fn assert_all_modes(broker: &Broker, pools: &[Vec<Backend>], tag: &str, total: usize) {
    let each = pools.iter().enumerate();
    let each = each.map(async |(index, backends)| {
        assert_handled_once(broker, index, backends, tag, total).await;
    });
    join_all(each).await;
}

/// What a service has not read stands in nobody's way: a pong answers for what is in front of it, and that is
/// never more than it reads in the time it has.
#[tokio::test]
async fn a_handler_of_5_ms_for_each_of_600_messages() {
    let tag = "m".repeat(200);
    join_all([1, 2].map(async |size| {
        let (pools, broker) = in_all_modes(size, "--silent --handle 5", &[LONGER, NO_PROBE]).await;
        let broker = broker.start().await;
        assert_all_modes(&broker, &pools, &tag, 600).await;
    }))
    .await;
}

#[tokio::test]
async fn python_services_with_5_ms_for_each_of_600_messages() {
    if left_out("python_services_with_5_ms_for_each_of_600_messages", &[Tool::Websockets]) {
        return;
    }
    let mut servers = [Server::start(Tool::Websockets).await, Server::start(Tool::Websockets).await];
    let listed = servers.iter().map(|server| format!("[[pool.backend]]\nurl = \"{}\"\n", server.url()));
    // Less than all the work takes, and more than a machine that compiles beside this leaves an interpreter waiting.
    let broker = over(&[], &["ack_timeout = \"2500ms\"", NO_PROBE]);
    let broker = broker.pool_table(&listed.collect::<String>()).start().await;
    let upgrade = Upgrade::to(broker.address()).header("Sec-WebSocket-Protocol", "chat.v2");
    let mut client = upgrade.connect().await;
    for n in 1..=600 {
        client.send(&format!("!work 5 {}-{n}", "m".repeat(1000))).await;
    }
    let session = broker.wait_only_session("at a server", |session| session["state"] == "relaying").await;
    let home = servers.iter_mut().find(|server| session["backend"] == server.address().to_string());
    let home = home.expect("one of the two");
    assert_eq!(home.event().await["event"], "open");
    for n in 1..=600 {
        let event = home.event().await;
        assert_eq!(
            (&event["event"], number(event["text"].as_str().unwrap_or_default())),
            (&"worked".into(), n)
        );
    }
    client.ask("!who", "websockets").await;
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 0.0);
}

#[tokio::test]
async fn a_service_that_reads_a_steady_200_kb_a_second() {
    let tag = "m".repeat(200);
    let flags = "--silent --read-rate 200000 --receive-buffer 4096";
    let (pools, broker) = in_all_modes(2, flags, &[LONGER, NO_PROBE]).await;
    let broker = broker.start().await;
    // 420 KB with headers.
    assert_all_modes(&broker, &pools, &tag, 2000).await;
}

/// One message that takes longer to read than a pong may take: the kernel sees it go.
#[tokio::test]
async fn one_message_that_is_read_for_long() {
    let (pools, broker) = in_all_modes(2, "--read-rate 200000 --receive-buffer 4096", &[SHORT]).await;
    let broker = broker.start().await;
    let long = noise(300_000, 7);
    let each = pools.iter().enumerate().map(async |(index, backends)| {
        let mut client = Client::connect(broker.address_of(index)).await;
        client.send_frame(Frame::new(BINARY, long.clone())).await;
        let answer = client.message().await;
        assert!(answer.bytes.ends_with(&long), "mode {index}: {answer:?}");
        let messages = backends.iter().flat_map(|backend| backend.journal().sessions());
        let messages: Vec<Payload> = messages.flat_map(|connection| connection.payloads()).collect();
        assert_eq!(messages, [Payload::of(&long)], "mode {index}");
    });
    join_all(each).await;
}

/// The kernel does not reset a connection whose window is closed, and nobody else does.
#[tokio::test]
async fn a_lone_service_that_reads_nothing_for_long_while_its_connection_is_full() {
    let clock = Clock::new().await;
    let (pools, broker) = in_all_modes(1, "--receive-buffer 65536", &[SHORT]).await;
    let broker = clock.add_to(broker, "1500ms").start().await;
    // More than the kernel's buffers on both sides take.
    let long = noise(8_000_000, 7);
    let mut clients = join_all((0..MODES.len()).map(|index| Client::connect(broker.address_of(index)))).await;
    for (client, backends) in clients.iter_mut().zip(&pools) {
        client.send("!stop-reading").await;
        backends[0].wait_messages(1).await;
        let writer = client.writer();
        let frame = Frame::new(BINARY, long.clone());
        tokio::spawn(async move { writer.send_frame(frame).await });
    }
    clock.start(&broker, MODES.len()).await.rang().await;
    for (client, backends) in clients.iter_mut().zip(&pools) {
        backends[0].command("!resume-reading").await;
        assert!(client.message().await.bytes.ends_with(&long));
        let sessions = backends[0].journal().sessions();
        assert_eq!(sessions.len(), 1, "the session has stayed where it was");
        assert_eq!(sessions[0].payloads(), [Payload::of(b"!stop-reading"), Payload::of(&long)]);
    }
}

#[tokio::test]
async fn a_handler_that_works_long_before_the_next_message_works_once() {
    let (a, b) = pair("").await;
    let broker = over(&[&a, &b], &[SHORT]).start().await;
    let mut client = Client::connect(broker.address()).await;
    client.send("!work 1500").await;
    client.send("m-2").await;
    let answers = bounded("both answers", client.texts(2)).await;
    let name = answers[0].split(':').next().unwrap_or_default();
    assert_eq!(answers, [format!("{name}:done"), format!("{name}:m-2")]);
    let arrived: Vec<String> = [a, b].iter().flat_map(|backend| backend.journal().texts()).collect();
    assert_eq!(arrived, ["!work 1500", "m-2"]);
}

/// It reads on and answers pings meanwhile.
#[tokio::test]
async fn an_asynchronous_handler_that_works_long_works_once() {
    let (a, b) = pair("--delay 1500").await;
    let broker = over(&[&a, &b], &[SHORT, NO_PROBE]).start().await;
    let mut client = Client::connect(broker.address()).await;
    send_range(&client, "m", 1, 3).await;
    let answers = client.texts(3).await;
    assert_eq!(answers.iter().map(|answer| number(answer)).collect::<Vec<_>>(), [1, 2, 3]);
    let arrived: Vec<String> = [a, b].iter().flat_map(|backend| backend.journal().texts()).collect();
    assert_eq!(arrived, range("m", 1, 3));
}
