//! Real deaths, after which the others take their time, or die too.

use futures::future::join_all;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::BrokerBuilder;
use steadfast_tests::client::{Client, Incoming};
use steadfast_tests::sequence::{numbered, range};

use crate::{NO_PROBE, all_at_rest, over, pair};

/// A replay may take longer than the deadline: that runs while nothing moves.
#[tokio::test]
async fn a_replay_that_makes_progress_outlasts_the_deadline() {
    let (a, b) = pair("").await;
    a.set("--silent --handle 600000").await;
    b.set("--read-rate 200000").await;
    let broker = over(&[&a, &b], &[NO_PROBE]).backend_setting("b", "backup = true");
    let broker = broker.setting("failover", "deadline = \"1s\"\nstable = \"100ms\"").start().await;
    let mut client = Client::connect(broker.address()).await;
    let tag = "m".repeat(200);
    // 480 KB with headers: 2.4 s.
    let total = 2300;
    let sends: Vec<String> = range(&tag, 1, total);
    for text in &sends {
        client.send(text).await;
    }
    a.wait_messages(1).await;
    a.kill();
    assert_eq!(client.texts(total).await, range(&format!("b:{tag}"), 1, total));
    assert_eq!(b.journal().texts(), sends);
    assert_eq!(b.journal().sessions().len(), 1);
}

/// The negative: nothing moves, and the deadline ends it.
#[tokio::test]
async fn a_replay_that_does_not_move_ends_at_the_deadline() {
    let (a, b) = pair("").await;
    b.set("--spoil-upgrade close").await;
    let broker = over(&[&a, &b], &[NO_PROBE]).backend_setting("b", "backup = true");
    let broker = broker.setting("failover", "deadline = \"600ms\"\nstable = \"100ms\"").start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    a.kill();
    assert_eq!(client.closed().await.0, Some(1013));
}

/// Each life of the backend takes 60 messages of 1 KB, so there is progress; but there is no end.
#[tokio::test]
async fn an_episode_of_deaths_ends_at_its_bound() {
    let backend = Backend::start("a", "--die-after 60 --die-how rst --silent").await;
    let broker = BrokerBuilder::default().pool("default", &[&backend]).pool_setting(NO_PROBE);
    let times = "deadline = \"1s\"\nlongest = \"2s\"\nstable = \"900ms\"\nbackoff_max = \"100ms\"\n\
        penalty_min = \"0s\"\npenalty_max = \"0s\"";
    let broker = broker.setting("failover", times).start().await;
    let mut client = Client::connect(broker.address()).await;
    let writer = client.writer();
    let flood = tokio::spawn(async move {
        let tag = "m".repeat(1000);
        for n in 1.. {
            if !writer.send(&numbered(&tag, n)).await {
                return;
            }
        }
    });
    let end = client.rest().await;
    assert!(matches!(&end[..], [Incoming::Close(Some(1012), _), ..]), "{end:?}");
    assert!(backend.journal().sessions().len() > 3, "it was tried again and again");
    flood.abort();
}

/// Among sessions with something to say whose backend comes back within the deadline nobody is closed.
#[tokio::test]
async fn deaths_that_end_before_the_bound_close_nobody() {
    let (a, b) = pair("").await;
    let broker = over(&[&a, &b], &[]).setting("failover", "stable = \"100ms\"").start().await;
    let mut clients = join_all((0..6).map(|_| Client::connect(broker.address()))).await;
    for round in 1..=3 {
        for client in &mut clients {
            client.send(&numbered("m", round)).await;
            assert!(client.text().await.ends_with(&format!(":{}", numbered("m", round))));
        }
        all_at_rest(&broker).await;
        [&a, &b][round % 2].restart().await;
    }
    assert_eq!(broker.ends().await, 0.0);
}
