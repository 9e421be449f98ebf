//! A thousand sessions, and every kind of reload.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use nix::sys::signal::Signal;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::frame::Frame;
use steadfast_tests::process::raise_descriptor_limit;
use steadfast_tests::sequence::{check_answers, check_arrivals, connections_by_tag, numbered};
use steadfast_tests::wait::eventually_async;
use tokio::task::JoinHandle;

use crate::{complaint, wait_applied, wait_refused, watching, weighed, weights};

const SESSIONS: usize = 1000;
/// From an answer to the client's next message, so that a session has quiet moments.
const THINKING: Duration = Duration::from_millis(400);

/// Clients that talk until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    talks: Vec<JoinHandle<(Client, Vec<String>)>>,
}

impl Load {
    fn new() -> Self {
        Self { stop: Arc::default(), talks: Vec::new() }
    }

    /// Connects `n` more, each of which talks in its own stream.
    async fn join(&mut self, broker: &Broker, n: usize) {
        for _ in 0..n {
            let client = Client::connect(broker.address()).await;
            let tag = format!("c{}", self.talks.len());
            self.talks.push(tokio::spawn(talk(client, tag, Arc::clone(&self.stop))));
        }
    }

    /// Lets each client finish; returns them with the answers they got.
    async fn end(self) -> Vec<(Client, Vec<String>)> {
        self.stop.store(true, Ordering::Relaxed);
        let talks = join_all(self.talks).await;
        talks.into_iter().map(|talk| talk.expect("a talk without a mistake")).collect()
    }
}

async fn talk(mut client: Client, tag: String, stop: Arc<AtomicBool>) -> (Client, Vec<String>) {
    let mut answers = Vec::new();
    // One more after the stop, so that each session is seen to live on.
    let mut last = false;
    while !last {
        last = stop.load(Ordering::Relaxed);
        client.send(&numbered(&tag, answers.len() + 1)).await;
        answers.push(client.text().await);
        tokio::time::sleep(THINKING).await;
    }
    (client, answers)
}

#[tokio::test]
async fn a_thousand_sessions_notice_nothing() {
    raise_descriptor_limit(4 * SESSIONS as u64 + 400);
    let flags = format!("--descriptors {}", 2 * SESSIONS + 400);
    let (a, b) = (Backend::start("a", &flags).await, Backend::start("b", &flags).await);
    let c = Backend::start("c", &flags).await;
    let both = watching(&[&a, &b], "50ms");
    let mut broker = both.clone().start().await;
    let mut load = Load::new();
    load.join(&broker, SESSIONS).await;

    broker.signal(Signal::SIGHUP);
    wait_applied(&broker, 1.0).await;
    broker.replace_file(&both.clone().setting("timeouts", "close = \"4s\"").to_toml());
    wait_applied(&broker, 2.0).await;
    broker.overwrite_file(&both.to_toml());
    wait_applied(&broker, 3.0).await;
    assert_eq!(broker.post("/api/v1/reload").await.status, 200);
    wait_applied(&broker, 4.0).await;

    broker.overwrite_file(&both.clone().setting("timeouts", "clsoe = \"4s\"").to_toml());
    wait_refused(&broker, 1.0).await;
    assert!(complaint(&broker.post("/api/v1/reload").await).contains("clsoe"));
    broker.signal(Signal::SIGHUP);
    wait_refused(&broker, 3.0).await;

    // What is removed is left, and what is added gets sessions.
    broker.replace_file(&watching(&[&a], "50ms").to_toml());
    broker.wait_backend("a", "all sessions", |own| own["sessions"] == SESSIONS).await;
    // A session is counted there before its last word here.
    eventually_async("b gone from the list", async || {
        (weights(&broker).await == weighed(&[("a", 1)])).then_some(())
    })
    .await;
    broker.replace_file(&watching(&[&a, &c], "50ms").to_toml());
    broker.wait_state("c", "up").await;
    load.join(&broker, 20).await;
    let heavy = watching(&[&a, &c], "50ms").backend_setting("a", "weight = 200");
    broker.replace_file(&heavy.to_toml());
    broker.wait_backend("a", "heavy", |own| own["weight"] == 200).await;
    load.join(&broker, 20).await;
    let counts = [&a, &c].map(|backend| backend.journal().sessions().len());
    assert_eq!(counts, [SESSIONS + 20, 20], "first the one that has none, then the heavy one");
    broker.replace_file(&heavy.clone().setting("herd", "dials = 3").to_toml());
    wait_refused(&broker, 4.0).await;

    let talks = load.end().await;
    let connections = connections_by_tag(&[&a, &b, &c]);
    assert_eq!(connections.len(), talks.len());
    for (id, (_, answers)) in talks.iter().enumerate() {
        let tag = format!("c{id}");
        assert_eq!(check_arrivals(&tag, answers.len(), &connections[&tag]), 0, "nothing is repeated");
        assert_eq!(check_answers(&tag, answers.len(), answers, &connections[&tag]), 0);
    }
    for left in b.journal().sessions() {
        assert_eq!((left.close().map(|(code, _)| code), left.end()), (Some(Some(1001)), Some("Eof")));
    }
    assert_eq!(broker.ends().await, 0.0, "no session has ended");
    let moved = b.journal().sessions().len();
    assert_eq!(broker.metric("steadfast_failovers_total", &[("reason", "planned")]).await, moved as f64);
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, moved as f64);
    assert_eq!(broker.metric("steadfast_sessions", &[]).await, talks.len() as f64);
    assert_eq!(broker.metric("steadfast_messages_lost_total", &[]).await, 0.0);
    for (client, _) in &talks {
        client.send_frame(Frame::close(1000, "")).await;
    }
    broker.wait_sessions(0).await;
}
