//! What counts as a backend's failure, and what does not.

use std::collections::HashSet;

use nix::sys::signal::Signal;
use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::{Client, Incoming};
use steadfast_tests::frame::{End, Frame};
use steadfast_tests::sequence::{home_and_other, range, send_range};
use steadfast_tests::wait::eventually;

async fn pair() -> (Backend, Backend) {
    (Backend::start("a", "").await, Backend::start("b", "").await)
}

/// Without keepalive pings, so that nothing but its own timers wakes a session.
fn quiet(broker: BrokerBuilder) -> BrokerBuilder {
    broker.setting("timeouts", "keepalive = \"0s\"")
}

/// A client whose only message so far is acknowledged, and where it is.
async fn at_home<'a>(broker: &Broker, backends: [&'a Backend; 2]) -> (Client, &'a Backend, &'a Backend) {
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other(backends).await;
    client.ask("m-1", &format!("{}:m-1", home.name())).await;
    broker
        .wait_only_session("acknowledged", |session| session["ledger"]["upstream"]["acknowledged"] == 1)
        .await;
    (client, home, other)
}

/// The command makes the session's backend fail; the session goes on at the other and the client sees nothing.
async fn assert_moves(command: &str) {
    let (a, b) = pair().await;
    let broker = Broker::start(&[&a, &b]).await;
    let (mut client, home, other) = at_home(&broker, [&a, &b]).await;
    home.command(command).await;
    other.wait_upgrades(1).await;
    client.ask("m-2", &format!("{}:m-2", other.name())).await;
    assert_eq!(other.journal().texts(), ["m-2"], "after {command}");
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 1.0, "after {command}");
    assert_eq!(home.journal().connections()[0].violations(), [""; 0], "after {command}");
}

#[tokio::test]
async fn connections_that_end_without_a_close() {
    for command in ["!eof", "!rst", "!partial-then-die"] {
        assert_moves(command).await;
    }
}

#[tokio::test]
async fn close_codes_of_a_service_that_goes_away() {
    for code in [1001, 1011, 1012, 1013, 1014] {
        assert_moves(&format!("!close {code} going")).await;
    }
}

#[tokio::test]
async fn nothing_counts_after_a_failing_close() {
    assert_moves("!speak-after-close 1012").await;
}

#[tokio::test]
async fn frames_that_the_protocol_forbids() {
    let kinds = ["masked", "rsv1", "rsv2", "rsv3", "opcode", "control-opcode", "length-2", "length-8"];
    let more = ["length-top-bit", "long-ping", "fragmented-ping", "stray-continuation", "nested"];
    let (a, b) = pair().await;
    let broker = Broker::over(&[&a, &b]).setting("failover", "penalty_max = \"1s\"");
    // So many failures would take a backend out, as they should.
    let broker = broker.pool_table("[pool.outlier]\nfailures = 0").start().await;
    for (n, kind) in kinds.into_iter().chain(more).enumerate() {
        let mut client = Client::connect(broker.address()).await;
        client.send("where?").await;
        let first = client.text().await;
        let (home, other) = if first == "a:where?" { (&a, &b) } else { (&b, &a) };
        assert_eq!(first, format!("{}:where?", home.name()));
        broker.wait_at_rest().await;
        home.command(&format!("!bad-frame {kind}")).await;
        let is_moved = |session: &Value| session["backend"] == other.name() && session["state"] != "dialing";
        broker.wait_only_session(&format!("moved after a bad frame: {kind}"), is_moved).await;
        client.ask("m-2", &format!("{}:m-2", other.name())).await;
        let labels = [("side", "backend")];
        broker
            .wait_metric("steadfast_protocol_errors_total", &labels, |errors| errors == (n + 1) as f64)
            .await;
        client.close(1000, "").await;
        broker.wait_sessions(0).await;
    }
}

#[tokio::test]
async fn the_set_of_failing_close_codes_can_be_changed() {
    let (a, b) = pair().await;
    let broker = Broker::over(&[&a, &b]).setting("failover", "close_codes = [4100]").start().await;
    let (mut client, home, other) = at_home(&broker, [&a, &b]).await;
    home.command("!close 4100 moving").await;
    client.ask("m-2", &format!("{}:m-2", other.name())).await;
    other.command("!close 1012 restart").await;
    assert_eq!(client.closed().await, (Some(1012), "restart".to_owned()));
}

#[tokio::test]
async fn a_stopped_backend_with_unacknowledged_messages() {
    let (a, b) = pair().await;
    let broker = quiet(Broker::over(&[&a, &b]).pool_setting("ack_timeout = \"1s\"")).start().await;
    let (mut client, home, other) = at_home(&broker, [&a, &b]).await;
    home.signal(Signal::SIGSTOP);
    send_range(&client, "m", 2, 6).await;
    assert_eq!(client.texts(5).await, range(&format!("{}:m", other.name()), 2, 6));
    home.signal(Signal::SIGCONT);
    home.wait_end(0).await;
    client.ask("m-7", &format!("{}:m-7", other.name())).await;
    assert_eq!(other.journal().texts(), range("m", 2, 7));
    client.send_frame(Frame::close(1000, "")).await;
    assert_eq!(client.closed().await.0, Some(1000), "the answers of the stopped backend went nowhere");
}

#[tokio::test]
async fn a_stopped_backend_that_owes_a_keepalive_pong() {
    let (a, b) = pair().await;
    let broker = Broker::over(&[&a, &b]).pool_setting("ack_timeout = \"600ms\"");
    let broker = broker.setting("timeouts", "keepalive = \"300ms\"").start().await;
    let (mut client, home, other) = at_home(&broker, [&a, &b]).await;
    home.signal(Signal::SIGSTOP);
    // Reading answers the keepalive pings that the client gets meanwhile.
    let moved = tokio::select! {
        incoming = client.text() => panic!("the client got {incoming}"),
        () = other.wait_upgrades(1) => true,
    };
    assert!(moved);
    client.ask("m-2", &format!("{}:m-2", other.name())).await;
    home.signal(Signal::SIGCONT);
}

#[tokio::test]
async fn a_stopped_backend_whose_connection_is_full() {
    let (a, b) = pair().await;
    let broker = quiet(Broker::over(&[&a, &b]).pool_setting("ack_timeout = \"1s\"")).start().await;
    let (mut client, home, other) = at_home(&broker, [&a, &b]).await;
    home.signal(Signal::SIGSTOP);
    // More than the kernel takes for a stopped process, less than the ring: writes to it block.
    for n in 1..=12_u8 {
        client.send_frame(Frame::new(steadfast_tests::frame::BINARY, vec![n; 1 << 20])).await;
    }
    for n in 1..=12_u8 {
        let expected = [other.name().as_bytes(), b":", &vec![n; 1 << 20]].concat();
        assert!(client.message().await.bytes == expected, "message {n} came back changed");
    }
    home.signal(Signal::SIGCONT);
}

#[tokio::test]
async fn a_stopped_backend_without_an_alternative_keeps_its_session() {
    let home = Backend::start("a", "").await;
    let clock = [Backend::start("x", "").await, Backend::start("y", "").await];
    let broker = Broker::over(&[&home]).pool_setting("ack_timeout = \"700ms\"");
    let broker = broker.pool("clock", &[&clock[0], &clock[1]]).pool_setting("ack_timeout = \"1400ms\"");
    let broker = quiet(broker).start().await;
    let mut client = Client::connect(broker.address()).await;
    let timing = Client::connect(broker.address_of(1)).await;
    let (ticking, rang) = home_and_other([&clock[0], &clock[1]]).await;
    home.signal(Signal::SIGSTOP);
    send_range(&client, "m", 1, 3).await;
    ticking.signal(Signal::SIGSTOP);
    timing.send("m-1").await;
    // The other pool's timer is twice as long and began later.
    rang.wait_upgrades(1).await;
    home.signal(Signal::SIGCONT);
    ticking.signal(Signal::SIGCONT);
    assert_eq!(client.texts(3).await, range("a:m", 1, 3));
    assert_eq!(home.journal().texts(), range("m", 1, 3), "nothing was repeated");
    assert_eq!(home.journal().sessions().len(), 1, "apart from the questions whether it answers");
}

#[tokio::test]
async fn last_answers_and_a_close_are_heard_although_writing_fails() {
    let (a, b) = pair().await;
    let broker = Broker::start(&[&a, &b]).await;
    let (mut client, home, other) = at_home(&broker, [&a, &b]).await;
    home.command("!answers-then-close 4010").await;
    let writer = client.writer();
    let sender = tokio::spawn(async move { while writer.send(&"x".repeat(4000)).await {} });
    assert_eq!(client.texts(3).await, range(&format!("{}:last", home.name()), 1, 3));
    assert_eq!(client.closed().await, (Some(4010), "last words".to_owned()));
    drop(client);
    sender.await.expect("the sender stops when the connection is gone");
    assert_eq!(broker.wait_causes(1).await, ["backend_close"]);
    assert_eq!(other.journal().connections().len(), 0, "a Close with 4010 is no failure");
}

#[tokio::test]
async fn last_answers_before_a_failing_close_are_heard_and_the_session_moves() {
    let (a, b) = pair().await;
    let broker = Broker::start(&[&a, &b]).await;
    let (mut client, home, other) = at_home(&broker, [&a, &b]).await;
    home.command("!answers-then-close 1012").await;
    send_range(&client, "m", 2, 60).await;
    let mut expected = range(&format!("{}:last", home.name()), 1, 3);
    expected.extend(range(&format!("{}:m", other.name()), 2, 60));
    assert_eq!(client.texts(62).await, expected);
    assert_eq!(other.journal().texts(), range("m", 2, 60));
}

#[tokio::test]
async fn an_oversized_message_of_a_backend_ends_its_session_only() {
    let (a, b) = pair().await;
    let broker = Broker::over(&[&a, &b]).setting("limits", "message = 65536").start().await;
    let mut innocent = Client::connect(broker.address()).await;
    innocent.ask("hello", "a:hello").await;
    let mut client = Client::connect(broker.address()).await;
    client.send("!big 65536").await;
    assert_eq!(client.message().await.bytes.len(), 65_536, "as large as the limit passes");
    client.send("!big 65537").await;
    assert_eq!(client.closed().await.0, Some(1009));
    client.send_frame(Frame::close(1009, "")).await;
    client.ended().await;
    assert_eq!(broker.wait_causes(1).await, ["protocol_backend_too_big"]);
    let closed: Vec<_> = [&a, &b].iter().flat_map(|backend| backend.journal().connections()).collect();
    let codes: Vec<_> = closed.iter().filter_map(|connection| connection.close()?.0).collect();
    assert_eq!(
        (closed.len(), codes),
        (2, vec![1009]),
        "its backend is closed in order, and no other dialled"
    );
    innocent.ask("still here", "a:still here").await;
}

#[tokio::test]
async fn without_failover_a_failure_closes_the_client() {
    let (a, b) = pair().await;
    let broker = Broker::over(&[&a, &b]).pool_setting("on_failure = \"close\"").start().await;
    // What the backend says itself is relayed, as it would be without a broker.
    for (command, code) in [("!eof", 1012), ("!close 1011 oops", 1011)] {
        let mut client = Client::connect(broker.address()).await;
        client.send("hello").await;
        let home = if client.text().await == "a:hello" { &a } else { &b };
        home.command(command).await;
        assert_eq!(client.closed().await.0, Some(code), "after {command}");
        client.send_frame(Frame::close(code, "")).await;
        assert_eq!(client.ended().await, End::Eof);
    }
    assert_eq!(broker.wait_causes(2).await, ["backend_failed", "backend_failed"]);
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 0.0);
    let attempts: HashSet<_> = [&a, &b]
        .iter()
        .flat_map(|backend| backend.journal().connections())
        .map(|conn| conn.attempt())
        .collect();
    assert_eq!(attempts, HashSet::from([1]), "nobody was redialled");
}

#[tokio::test]
async fn a_backend_can_ask_not_to_be_replaced() {
    let flags = "--answer-header Steadfast-Failover:off";
    let (a, b) = (Backend::start("a", flags).await, Backend::start("b", flags).await);
    let broker = Broker::start(&[&a, &b]).await;
    let (mut client, home, other) = at_home(&broker, [&a, &b]).await;
    home.kill();
    assert_eq!(client.closed().await.0, Some(1012));
    assert_eq!(broker.wait_causes(1).await, ["backend_failed"]);
    assert_eq!(other.journal().connections().len(), 0);
}

#[tokio::test]
async fn a_clients_ping_is_answered_while_its_backend_is_stopped() {
    let home = Backend::start("a", "").await;
    let broker = Broker::start(&[&home]).await;
    let mut client = Client::connect(broker.address()).await;
    home.signal(Signal::SIGSTOP);
    client.send_frame(Frame::new(steadfast_tests::frame::PING, "anyone?")).await;
    assert_eq!(client.next_but_pings().await, Incoming::Pong(b"anyone?".to_vec()));
    home.signal(Signal::SIGCONT);
    eventually("the backend's life", || home.is_alive()).await;
}
