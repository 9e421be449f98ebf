//! The broker itself is stopped for a while: what others have failed to do in that time is not held against them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures::future::join_all;
use nix::sys::signal::Signal;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::frame::{CONTINUATION, Frame, TEXT};

const CLIENTS: usize = 20;

/// Longer than any of the limits below.
const STOP: Duration = Duration::from_secs(3);

fn part(fin: bool, opcode: u8, text: &str) -> Frame {
    Frame { fin, ..Frame::new(opcode, text.as_bytes().to_vec()) }
}

#[tokio::test]
async fn time_in_which_the_broker_is_stopped_counts_against_nobody() {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let mut broker = Broker::over(&[&a, &b])
        .pool_setting("ack_timeout = \"1200ms\"\nstall_timeout = \"2s\"")
        .pool_table("[pool.health]\ntype = \"tcp\"\ninterval = \"200ms\"\ntimeout = \"1s\"")
        .setting("timeouts", "message = \"2s\"\nclient_stall = \"1500ms\"\nkeepalive = \"1s\"")
        .start()
        .await;
    let mut half = Client::connect(broker.address()).await;
    half.send("whole").await;
    let home = half.text().await.replace(":whole", "");
    let done = Arc::new(AtomicBool::new(false));
    let talks = (0..CLIENTS).map(|_| {
        let (done, address) = (Arc::clone(&done), broker.address());
        tokio::spawn(async move {
            let mut client = Client::connect(address).await;
            let mut n = 0;
            while !done.load(Relaxed) {
                n += 1;
                client.send(&format!("m-{n}")).await;
                // The same backend answers, or another that has got it again.
                assert!(client.text().await.ends_with(&format!(":m-{n}")));
            }
            client
        })
    });
    let talks: Vec<_> = talks.collect();
    broker.wait_sessions(CLIENTS + 1).await;
    let before = (a.journal().texts().len(), b.journal().texts().len());
    half.send_frame(part(false, TEXT, "one half ")).await;
    broker.signal(Signal::SIGSTOP);
    tokio::time::sleep(STOP).await;
    half.send_frame(part(true, CONTINUATION, "and the other")).await;
    broker.signal(Signal::SIGCONT);
    assert_eq!(half.text().await, format!("{home}:one half and the other"));
    // All have had many turns again.
    a.wait_messages(before.0 + 500).await;
    b.wait_messages(before.1 + 500).await;
    done.store(true, Relaxed);
    let clients = join_all(talks).await;
    assert!(clients.iter().all(Result::is_ok), "each has its answers: {clients:?}");

    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 0.0);
    assert_eq!(broker.ends().await, 0.0);
    for backend in ["a", "b"] {
        let changes = broker.changes(backend).await;
        assert!(changes.is_empty(), "{backend}: {changes:?}");
    }
    let accused = |record: &serde_json::Value| record["level"] == "WARN";
    assert_eq!(broker.records(accused), [serde_json::Value::Null; 0]);
}
