//! Many who ask at once.

use std::collections::BTreeMap;

use futures::future::join_all;
use steadfast_tests::backend::Backend;
use steadfast_tests::client::Client;

use crate::{FOR_EVER, next, sending};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Where 200 clients are sent who come at once, when `a`, `b` and `c` have a session and `d` has none.
async fn sent(reserve: &str, workers: &str) -> BTreeMap<String, usize> {
    let mut backends = Vec::new();
    for name in NAMES {
        backends.push(Backend::start(name, "").await);
    }
    let all: Vec<&Backend> = backends.iter().collect();
    let broker = sending(&all, reserve).argument("--workers").argument(workers).start().await;
    let disabled = broker.post("/api/v1/pools/default/backends/d/disable").await;
    assert_eq!(disabled.status, 200, "{}", disabled.text());
    let clients = join_all((0..3).map(|_| Client::connect(broker.address()))).await;
    for name in &NAMES[..3] {
        broker.wait_backend(name, "has a session", |backend| backend["sessions"] == 1).await;
    }
    assert_eq!(broker.post("/api/v1/pools/default/backends/d/enable").await.status, 200);
    let mut counts: BTreeMap<String, usize> = NAMES.map(|name| (name.to_owned(), 0)).into();
    for name in join_all((0..200).map(|_| next(&broker))).await {
        *counts.get_mut(&name.expect("a backend is named")).expect("one of the four") += 1;
    }
    for (name, count) in &counts {
        let redirects = broker.metric("steadfast_redirects_total", &[("backend", name)]).await;
        assert_eq!(redirects, *count as f64, "as counted");
    }
    drop(clients);
    counts
}

#[tokio::test]
async fn a_herd_is_spread_evenly() {
    let mut counts = sent(FOR_EVER, "4").await;
    // 203 in all. Threads that choose at the same moment may choose alike; the next choice makes up for it.
    *counts.get_mut("d").expect("the one without a session") -= 1;
    assert!(counts.values().all(|count| (47..=53).contains(count)), "{counts:?}");
}

#[tokio::test]
async fn without_a_reserve_a_herd_lands_on_one() {
    // Of several threads, those that choose at the same moment may see each other's choice.
    let counts = sent("[route.redirect]\nreserve = \"0s\"", "1").await;
    assert_eq!(counts["d"], 200, "{counts:?}");
}
