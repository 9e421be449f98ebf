//! Each rule over real backends.

use std::net::Ipv4Addr;

use steadfast_tests::upgrade::Upgrade;

use crate::{backends, over, placed, shares, staying};

#[tokio::test]
async fn least_sessions_levels_out() {
    let all = backends(["a", "b", "c"]).await;
    let broker = over(&all).start().await;
    let (clients, homes) = staying(&broker, 9).await;
    assert_eq!(shares(&homes, ["a", "b", "c"]), [3, 3, 3]);
    let mut kept = Vec::new();
    for (client, home) in clients.into_iter().zip(&homes) {
        if home == "b" {
            client.close(1000, "").await;
        } else {
            kept.push(client);
        }
    }
    broker.wait_backend("b", "left by all", |backend| backend["sessions"] == 0).await;
    let (_clients, homes) = staying(&broker, 3).await;
    assert_eq!(homes, ["b", "b", "b"]);
}

#[tokio::test]
async fn least_sessions_by_weight() {
    let all = backends(["a", "b"]).await;
    let broker = over(&all).backend_setting("a", "weight = 3").start().await;
    let (_clients, homes) = staying(&broker, 16).await;
    assert_eq!(shares(&homes, ["a", "b"]), [12, 4]);
}

#[tokio::test]
async fn round_robin_takes_turns_whoever_leaves() {
    let all = backends(["a", "b", "c"]).await;
    let broker = over(&all).pool_setting("balance = \"round_robin\"").start().await;
    let (mut kept, mut homes) = (Vec::new(), Vec::new());
    for n in 0..12 {
        let (client, home) = placed(&Upgrade::to(broker.address())).await;
        homes.push(home);
        match n % 3 {
            0 => kept.push(client),
            _ => drop(client.close(1000, "").await),
        }
    }
    assert_eq!(homes, ["a", "b", "c"].repeat(4));
}

#[tokio::test]
async fn round_robin_by_weight() {
    let all = backends(["a", "b"]).await;
    let broker = over(&all).pool_setting("balance = \"round_robin\"").backend_setting("a", "weight = 3");
    let broker = broker.start().await;
    let (_clients, homes) = staying(&broker, 16).await;
    for round in homes.chunks(4) {
        assert_eq!(shares(round, ["a", "b"]), [3, 1], "in each round: {homes:?}");
    }
}

/// The busiest of three can be drawn with a busier one only while it is level with that, so none runs ahead.
#[tokio::test]
async fn power_of_two_stays_nearly_even() {
    let all = backends(["a", "b", "c"]).await;
    let broker = over(&all).pool_setting("balance = \"power_of_two\"").start().await;
    let (_clients, homes) = staying(&broker, 60).await;
    let shares = shares(&homes, ["a", "b", "c"]);
    assert!(shares.iter().all(|share| (15..=25).contains(share)), "{shares:?}");
}

/// Chance leaves one of three out of 80 once in 10^14 runs.
#[tokio::test]
async fn random_reaches_all() {
    let all = backends(["a", "b", "c"]).await;
    let broker = over(&all).pool_setting("balance = \"random\"").start().await;
    let (_clients, homes) = staying(&broker, 80).await;
    let shares = shares(&homes, ["a", "b", "c"]);
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
    let turns = ["a", "b", "c"].repeat(27);
    assert_ne!(homes, turns[..80], "turns are no chance");
}

/// Names and addresses are always the same, so it is always the same ones that meet.
#[tokio::test]
async fn source_is_always_the_same_backend() {
    let all = backends(["a", "b", "c"]).await;
    let broker = over(&all).pool_setting("balance = \"source\"").start().await;
    let request = |last: u8| Upgrade::to(broker.address()).from(Ipv4Addr::new(127, 0, 0, last));
    let (mut clients, mut homes) = (Vec::new(), Vec::new());
    for last in 2..26 {
        let (first, home) = placed(&request(last)).await;
        let (second, again) = placed(&request(last)).await;
        assert_eq!(home, again, "127.0.0.{last}");
        clients.extend([first, second]);
        homes.push(home);
    }
    let shares = shares(&homes, ["a", "b", "c"]);
    assert!(shares.iter().all(|share| *share >= 3), "24 addresses: {shares:?}");
    assert!(broker.sessions().await.iter().all(|session| session["placed"] == "source"));
}
