//! What happens to sessions is a judgement too.

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::wait::eventually_async;

use crate::{WELL, http, pair, placed, quick, state_in_metrics, states};

/// Comes and goes until `done`.
async fn visit_until(broker: &Broker, what: &str, mut done: impl AsyncFnMut() -> bool) {
    eventually_async(what, async || {
        let mut client = Client::connect(broker.address()).await;
        client.ask("m-1", "good:m-1").await;
        client.close(1000, "").await;
        done().await.then_some(())
    })
    .await;
}

#[tokio::test]
async fn of_four_the_good_one_serves() {
    let good = Backend::start("good", WELL).await;
    let slow = Backend::start("slow", &format!("{WELL} --page-delay 60000")).await;
    let liar = Backend::start("liar", &format!("{WELL} --spoil-upgrade accept-then-fail")).await;
    let refusing = Backend::absent("refusing", "");
    let table = http().replace("timeout = \"2s\"", "timeout = \"500ms\"")
        + "\n[pool.outlier]\nfailures = 2\nejection_min = \"1m\"";
    let broker = quick(&[&good, &slow, &liar, &refusing], &table).start().await;
    broker.wait_state("slow", "down").await;
    let refused = broker.wait_state("refusing", "down").await;
    assert_eq!(refused["why"], "its health checks fail: connection refused");
    let is_ejected = async || broker.backend("liar").await.is_some_and(|own| own["state"] == "ejected");
    visit_until(&broker, "the liar's ejection", is_ejected).await;
    let ejected = broker.backend("liar").await.expect("it is there");
    assert_eq!((&ejected["health"], &ejected["circuit"]), (&"up".into(), &"open".into()));
    assert_eq!(ejected["why"], "ejected for 60s: 2 dials or young sessions in a row failed");
    assert!(ejected["ejected_for_ms"].as_u64().is_some_and(|left| left > 0 && left <= 60_000), "{ejected}");
    assert_eq!(state_in_metrics(&broker, "liar").await, ["ejected"]);
    assert_eq!(broker.metric("steadfast_ejections_total", &[]).await, 1.0);
    let before = liar.journal().sessions().len();
    for _ in 0..10 {
        assert_eq!(placed(&broker).await, "good");
    }
    assert_eq!(liar.journal().sessions().len(), before, "an ejected one gets no session");
    assert_eq!(slow.journal().sessions().len(), 0);
    assert!(broker.wait_causes(before).await.iter().all(|cause| cause.starts_with("client")));
}

#[tokio::test]
async fn ejections_grow_until_a_trial_lasts() {
    let good = Backend::start("good", "").await;
    let liar = Backend::start("good-again", "--spoil-upgrade accept-then-fail").await;
    let table = "[pool.outlier]\nfailures = 2\nearly_death = \"500ms\"\nejection_min = \"200ms\"\nejection_max = \"1m\"";
    let broker = quick(&[&good, &liar], table).start().await;
    let count = async || broker.metric("steadfast_ejections_total", &[]).await;
    visit_until(&broker, "three ejections", async || count().await >= 3.0).await;
    let whys = [
        "ejected for 200ms: 2 dials or young sessions in a row failed",
        "ejected for 400ms: the session that tried it failed",
        "ejected for 800ms: the session that tried it failed",
    ];
    let changes = broker.changes("good-again").await;
    let ejections = changes.iter().filter(|(state, _)| state == "ejected").map(|(_, why)| why.as_str());
    assert_eq!(ejections.take(3).collect::<Vec<_>>(), whys);
    liar.set("").await;
    let before = liar.journal().sessions().len();
    let mut clients = Vec::new();
    // One session at a time tries it; those that stay at the good one make the trial the next one's.
    eventually_async("the end of the ejection", async || {
        clients.push(Client::connect(broker.address()).await);
        broker.backend("good-again").await.filter(|own| own["state"] == "up")
    })
    .await;
    assert!(liar.journal().sessions().len() > before);
    let changes = broker.changes("good-again").await;
    let last: Vec<&str> = states(&changes)[changes.len() - 2..].to_vec();
    assert_eq!(last, ["half_open", "up"]);
    assert_eq!(changes.last().map(|(_, why)| why.as_str()), Some("a session has lasted"));
    assert_eq!(broker.backend("good-again").await.expect("listed")["circuit"], "closed");
}

#[tokio::test]
async fn half_open_it_gets_one_session_at_a_time() {
    let good = Backend::start("good", "").await;
    let liar = Backend::start("liar", "--spoil-upgrade accept-then-fail").await;
    let table = "[pool.outlier]\nfailures = 1\nearly_death = \"1m\"\nejection_min = \"100ms\"\nejection_max = \"100ms\"";
    let broker = quick(&[&good, &liar], table).start().await;
    let is_ejected = async || broker.metric("steadfast_ejections_total", &[]).await > 0.0;
    visit_until(&broker, "an ejection", is_ejected).await;
    liar.set("").await;
    let before = liar.journal().sessions().len();
    let mut clients = Vec::new();
    eventually_async("the trial", async || {
        clients.push(Client::connect(broker.address()).await);
        (liar.journal().sessions().len() > before).then_some(())
    })
    .await;
    for _ in 0..20 {
        clients.push(Client::connect(broker.address()).await);
    }
    assert_eq!(liar.journal().sessions().len(), before + 1, "the trial has not lasted yet");
    assert_eq!(broker.backend("liar").await.expect("listed")["sessions"], 1);
}

#[tokio::test]
async fn the_last_one_is_never_ejected() {
    let flags = "--spoil-upgrade accept-then-fail";
    for (percent, ejectable) in [(50, 1), (0, 0), (100, 2)] {
        let (a, b) = pair(flags).await;
        let table = format!("[pool.outlier]\nfailures = 2\nejection_min = \"1m\"\nmax_ejected = {percent}");
        // Redials are far enough apart that each of them counts.
        let broker = quick(&[&a, &b], &table)
            .setting("failover", "backoff_min = \"300ms\"\nbackoff_max = \"300ms\"")
            .start()
            .await;
        let _client = Client::connect(broker.address()).await;
        let count = |value: f64| value == f64::from(ejectable);
        broker.wait_metric("steadfast_ejections_total", &[], count).await;
        for backend in [&a, &b] {
            // Far more failures than would do.
            if broker.backend(backend.name()).await.expect("listed")["state"] == "up" {
                backend.wait_upgrades(8).await;
            }
        }
        let ejected = broker.metric("steadfast_ejections_total", &[]).await;
        assert_eq!(ejected, f64::from(ejectable), "max_ejected = {percent}");
    }
}
