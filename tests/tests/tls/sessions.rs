//! What a session is promised, with TLS on both sides.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::{Client, Incoming};
use steadfast_tests::frame::{BINARY, End, Frame};
use steadfast_tests::payload::noise;
use steadfast_tests::sequence::{
    check_answers, check_arrivals, converse, home_and_other, session_connections,
};
use steadfast_tests::shim::{Host, ShimClient};
use steadfast_tests::wait::eventually_async;

use crate::scene::World;

async fn pair(world: &World, flags: &str) -> (Backend, Backend) {
    (world.backend("a", flags).await, world.backend("b", flags).await)
}

/// The one session's connections at the backends must have had everything, in order. Returns how many messages came
/// twice.
async fn all_there(
    broker: &Broker,
    total: usize,
    answers: &[String],
    backends: &[&Backend],
) -> (usize, usize) {
    let session = broker.wait_at_rest().await;
    let connections = session_connections(session["id"].as_str().expect("an id"), backends);
    let repeated = check_arrivals("m", total, &connections);
    assert_eq!(broker.ends().await, 0.0, "no session has ended");
    (check_answers("m", total, answers, &connections), repeated)
}

#[tokio::test]
async fn a_session_outlives_its_backend_whatever_acknowledges_its_messages() {
    let world = World::new();
    for ack in ["pong", "none"] {
        let (a, b) = pair(&world, "").await;
        let broker = world.over(&[&a, &b]).pool_setting(&format!("ack = \"{ack}\"")).start().await;
        let mut client = world.upgrade(&broker).connect().await;
        let (home, _) = home_and_other([&a, &b]).await;
        let kill_at_100 = async |number, _: &str| {
            if number == 100 {
                home.kill();
            }
        };
        if ack == "pong" {
            let answers = converse(&mut client, "m", 300, 8, kill_at_100).await;
            all_there(&broker, 300, &answers, &[&a, &b]).await;
            assert_eq!(broker.metric("steadfast_messages_lost_total", &[]).await, 0.0);
        } else {
            // What was written may be lost, so nothing is on its way when it dies.
            let mut answers = converse(&mut client, "m", 100, 8, kill_at_100).await;
            let away = |session: &Value| session["attempt"] == 2;
            broker
                .wait_only_session("at the other", |session| {
                    away(session) || session["backend"] != home.name()
                })
                .await;
            for n in 101..=300 {
                client.send(&format!("m-{n}")).await;
                answers.push(client.text().await);
            }
            all_there(&broker, 300, &answers, &[&a, &b]).await;
        }
        assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 1.0, "{ack}");
    }
}

#[tokio::test]
async fn a_session_is_moved_by_a_drain_and_nothing_is_repeated() {
    let world = World::new();
    let (a, b) = pair(&world, "").await;
    let broker = world.over(&[&a, &b]).start().await;
    let mut client = world.upgrade(&broker).connect().await;
    let (home, other) = home_and_other([&a, &b]).await;
    let path = format!("/api/v1/pools/default/backends/{}/drain", home.name());
    let mut answers = converse(&mut client, "m", 50, 4, async |_, _: &str| {}).await;
    assert_eq!(broker.post(&path).await.status, 202);
    broker.wait_only_session("moved", |session| session["backend"] == other.name()).await;
    for n in 51..=100 {
        client.send(&format!("m-{n}")).await;
        answers.push(client.text().await);
    }
    assert_eq!(all_there(&broker, 100, &answers, &[&a, &b]).await, (0, 0));
    let left = home.wait_end(0).await;
    assert_eq!((left.close(), left.end()), (Some((Some(1001), String::new())), Some("Eof")));
}

#[tokio::test]
async fn a_shims_session_outlives_its_host_and_its_clients_connection() {
    let world = World::new();
    let (a, b) = (Host::encrypted(&world.pair).await, Host::encrypted(&world.pair).await);
    let builder = world.served(world.trusting(Broker::over(&[])), "").pool_setting("ack = \"shim\"");
    let broker = builder.pool_table(&a.table("a")).pool_table(&b.table("b")).start().await;
    let connect = async |resume: Option<(&str, u64)>| {
        let resume = resume.map(|(token, last)| format!(", steadfast.resume.{token}.{last}"));
        let offer = format!("steadfast.v1{}", resume.unwrap_or_default());
        ShimClient::of(world.upgrade(&broker).header("Sec-WebSocket-Protocol", &offer)).await
    };
    let at_either = async {
        tokio::select! { link = a.accept() => (link, &b), link = b.accept() => (link, &a) }
    };
    let (mut client, (mut link, other)) = tokio::join!(connect(None), at_either);
    client.say("one").await;
    client.say("two").await;
    assert_eq!(link.message().await, "one");
    link.commit(1, 1, Some(b"state"), &["answer"]).await;
    assert_eq!(client.message().await, "answer");
    client.acknowledge(1).await;
    drop(link);
    let mut link = other.accept().await;
    assert_eq!((link.attach.committed, link.attach.capsule.as_deref()), (1, Some(&b"state"[..])));
    assert_eq!(link.message().await, "two", "what was not committed comes again, and nothing else");
    let token = client.token().to_owned();
    client.client.reset().await;
    link.commit(2, 2, Some(b"more"), &["the answer that was missed"]).await;
    let mut client = connect(Some((&token, 1))).await;
    assert!(client.standing().starts_with("resumed"), "{}", client.standing());
    assert_eq!(client.message().await, "the answer that was missed");
    client.say("three").await;
    assert_eq!(link.message().await, "three");
}

#[tokio::test]
async fn a_plain_client_gets_its_session_back() {
    let world = World::new();
    let backend = world.backend("a", "").await;
    let broker = world.over(&[&backend]).pool_setting("plain_resume = true").start().await;
    let request = world.upgrade(&broker).path("/?steadfast-resume=c2VjcmV0LW9mLXRoZS1jbGllbnRz");
    let mut client = request.connect().await;
    client.ask("one", "a:one").await;
    let session = broker.wait_only_session("the client's", |_| true).await;
    client.reset().await;
    broker.wait_only_session("its client is away", |session| session["state"] == "detached").await;
    let mut client = request.connect().await;
    client.send("two").await;
    // What its side has not acknowledged comes again.
    while client.text().await != "a:two" {}
    let same = broker.wait_only_session("the same", |_| true).await;
    assert_eq!(same["id"], session["id"]);
    assert_eq!(backend.journal().sessions().len(), 1);
}

const MESSAGE: usize = 16 << 10;
const RING: usize = 256 << 10;
/// 32 MiB, more than the kernel's buffers on the way.
const COUNT: usize = 2048;

fn pressed(builder: BrokerBuilder) -> BrokerBuilder {
    let limits = format!("message = {}\nring = {RING}", RING / 4);
    builder
        .setting("limits", &limits)
        .setting("timeouts", "message = \"1h\"")
        .pool_setting("ack_timeout = \"1h\"")
}

/// Bytes that the broker's process has at the moment.
fn resident(broker: &Broker) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", broker.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a figure");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

async fn echoes(client: &mut Client, from: usize) {
    for n in from..COUNT {
        let expected = [b"a:", &noise(MESSAGE, n as u64)[..]].concat();
        assert!(client.message().await.bytes == expected, "answer {n} is not the one due");
    }
}

#[tokio::test]
async fn a_backend_that_does_not_read_pushes_back_and_all_flows_on_in_order() {
    let world = World::new();
    let backend = world.backend("a", "").await;
    let broker = pressed(world.over(&[&backend])).start().await;
    let mut client = world.upgrade(&broker).connect().await;
    client.ask("ready", "a:ready").await;
    backend.command("!stop-reading").await;
    let before = resident(&broker);
    let writer = client.writer();
    let sender = tokio::spawn(async move {
        for n in 0..COUNT {
            assert!(writer.send_frame(Frame::new(BINARY, noise(MESSAGE, n as u64))).await);
        }
    });
    let held = |session: &Value| session["buffered_bytes"].as_u64().expect("bytes") as usize;
    broker.wait_only_session("a full ring", |session| held(session) > RING - 2 * MESSAGE).await;
    for _ in 0..20 {
        let session = broker.wait_only_session("the client's", |_| true).await;
        assert!(held(&session) <= RING + (128 << 10), "{} bytes in a ring of {RING}", held(&session));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!sender.is_finished(), "32 MiB went into a ring of {RING} bytes");
    let grown = resident(&broker).saturating_sub(before);
    assert!(grown < 8 << 20, "the process has grown by {grown} bytes");
    backend.command("!resume-reading").await;
    echoes(&mut client, 0).await;
    sender.await.expect("it ends well");
    broker.wait_at_rest().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_pushes_back_and_all_flows_on_in_order() {
    let world = World::new();
    let backend = world.backend("a", "").await;
    let broker = pressed(world.over(&[&backend])).start().await;
    let mut client = world.upgrade(&broker).connect().await;
    client.shrink_receive_buffer(64 << 10);
    client.ask("ready", "a:ready").await;
    let before = resident(&broker);
    let (writer, sent) = (client.writer(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&sent);
    let sender = tokio::spawn(async move {
        for n in 0..COUNT {
            assert!(writer.send_frame(Frame::new(BINARY, noise(MESSAGE, n as u64))).await);
            counted.fetch_add(1, Relaxed);
        }
    });
    let mut last = 0;
    eventually_async("everything to stand still", async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = sent.load(Relaxed);
        (now > 0 && std::mem::replace(&mut last, now) == now).then_some(())
    })
    .await;
    assert!(!sender.is_finished(), "32 MiB went to a client that does not read");
    let grown = resident(&broker).saturating_sub(before);
    assert!(grown < 8 << 20, "the process has grown by {grown} bytes");
    echoes(&mut client, 0).await;
    sender.await.expect("it ends well");
}

#[tokio::test]
async fn a_silent_client_is_asked_and_stays_and_one_that_does_not_answer_goes() {
    let world = World::new();
    let backend = world.backend("a", "").await;
    let timeouts = "keepalive = \"100ms\"\nclient_pong = \"300ms\"\nclient_stall = \"300ms\"";
    let broker = world.over(&[&backend]).setting("timeouts", timeouts).start().await;
    let mut client = world.upgrade(&broker).connect().await;
    for _ in 0..8 {
        assert!(matches!(client.next().await, Incoming::Ping(_)));
    }
    client.ask("still here", "a:still here").await;
    assert!(backend.journal().sessions()[0].pings().len() >= 2, "the backend is asked too");
    assert_eq!(broker.ends().await, 0.0);
    client.close(1000, "").await;
    let mut deaf = world.upgrade(&broker).connect().await;
    deaf.ignore_pings();
    while !matches!(deaf.next().await, Incoming::End(_)) {}
    assert_eq!(broker.wait_causes(2).await, ["client_close", "client_timeout"]);
}

#[tokio::test]
async fn closes_pass_with_their_codes_and_both_connections_end_as_they_should() {
    let world = World::new();
    let backend = world.backend("a", "").await;
    let broker = world.over(&[&backend]).start().await;
    for (n, code) in [1000, 1003, 3000, 4999].into_iter().enumerate() {
        let client = world.upgrade(&broker).connect().await;
        assert_eq!(client.close(code, "the client's").await, (Some(code), "the client's".to_owned()));
        let seen = backend.wait_end(2 * n).await;
        assert_eq!((seen.close(), seen.end()), (Some((Some(code), "the client's".to_owned())), Some("Eof")));

        let mut client = world.upgrade(&broker).connect().await;
        client.send(&format!("!close {code} the backend's")).await;
        assert_eq!(client.closed().await, (Some(code), "the backend's".to_owned()));
        client.send_frame(Frame::close(code, "")).await;
        // Without close_notify it would be an error of the test's TLS.
        assert_eq!(client.ended().await, End::Eof);
    }
    broker.wait_sessions(0).await;
    assert_eq!(broker.metric("steadfast_handshake_errors_total", &[]).await, 0.0);
}

#[tokio::test]
async fn a_client_that_goes_without_a_word_ends_its_session_as_a_plain_one_does() {
    let world = World::new();
    let backend = world.backend("a", "").await;
    let broker = world.over(&[&backend]).start().await;
    let mut client = world.upgrade(&broker).connect().await;
    client.ask("m", "a:m").await;
    // FIN without close_notify.
    client.finish_sending();
    assert_eq!(broker.wait_causes(1).await, ["client_gone"]);
    let mut client = world.upgrade(&broker).connect().await;
    client.ask("m", "a:m").await;
    client.reset().await;
    assert_eq!(broker.wait_causes(2).await, ["client_gone"; 2]);
}
