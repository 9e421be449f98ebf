//! The same key comes to the same backend, and when one goes, only its keys move.
//!
//! Where a key belongs follows from it and the backends' names alone, so these tests always see the same.

use std::collections::BTreeMap;

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::upgrade::Upgrade;

use crate::{backends, home, over, placed, shares};

const KEYS: usize = 24;

async fn hashing(backends: &[Backend], key: &str) -> Broker {
    over(backends)
        .pool_setting("balance = \"hash\"")
        .pool_setting(&format!("hash_key = {key:?}"))
        .start()
        .await
}

fn keys() -> impl Iterator<Item = String> {
    (0..KEYS).map(|n| format!("user-{n}"))
}

/// Two sessions of each key, which meet; the keys are spread over all backends.
async fn assert_keys_meet(hash_key: &str, with_key: impl Fn(Upgrade, &str, usize) -> Upgrade) {
    let all = backends(["a", "b", "c"]).await;
    let broker = hashing(&all, hash_key).await;
    let (mut clients, mut homes) = (Vec::new(), Vec::new());
    for key in keys() {
        let request = |time| with_key(Upgrade::to(broker.address()), &key, time);
        let (first, home) = placed(&request(1)).await;
        let (second, again) = placed(&request(2)).await;
        assert_eq!(home, again, "{hash_key} {key}");
        clients.extend([first, second]);
        homes.push(home);
    }
    let shares = shares(&homes, ["a", "b", "c"]);
    assert!(shares.iter().all(|share| *share >= 3), "{hash_key}, {KEYS} keys: {shares:?}");
    assert!(broker.sessions().await.iter().all(|session| session["placed"] == "hash"));
    let _without = placed(&Upgrade::to(broker.address())).await;
    let placed =
        broker.sessions().await.iter().filter(|one| one["placed"] == "no key: least_sessions").count();
    assert_eq!(placed, 1, "{hash_key}: a request without the key");
}

#[tokio::test]
async fn by_header() {
    assert_keys_meet("header:X-User", |request, key, _| request.header("x-user", key)).await;
}

#[tokio::test]
async fn by_cookie() {
    let cookie = |key: &str, time: usize| format!("visit={time}; sid={key}; theme=dark");
    assert_keys_meet("cookie:sid", |request, key, time| request.header("Cookie", &cookie(key, time))).await;
}

#[tokio::test]
async fn by_query() {
    let path = |key: &str, time: usize| format!("/talk/{time}?visit={time}&room={key}");
    assert_keys_meet("query:room", |request, key, time| request.path(&path(key, time))).await;
}

#[tokio::test]
async fn by_a_segment_of_the_path() {
    let path = |key: &str, time: usize| format!("/room/{key}/{time}?visit={time}");
    assert_keys_meet("path:2", |request, key, time| request.path(&path(key, time))).await;
}

/// A session for each key, and where it is.
async fn session_of_each(broker: &Broker) -> (BTreeMap<String, Client>, BTreeMap<String, String>) {
    let (mut clients, mut homes) = (BTreeMap::new(), BTreeMap::new());
    for key in keys() {
        let (client, home) = placed(&Upgrade::to(broker.address()).header("X-User", &key)).await;
        clients.insert(key.clone(), client);
        homes.insert(key, home);
    }
    (clients, homes)
}

async fn homes(clients: &mut BTreeMap<String, Client>) -> BTreeMap<String, String> {
    let mut homes = BTreeMap::new();
    for (key, client) in clients {
        homes.insert(key.clone(), home(client).await);
    }
    homes
}

#[tokio::test]
async fn keys_of_a_backend_that_dies_spread_and_the_others_stay() {
    let all = backends(["a", "b", "c"]).await;
    let broker = hashing(&all, "header:X-User").await;
    let (mut clients, before) = session_of_each(&broker).await;
    all[1].kill();
    let after = homes(&mut clients).await;
    let (moved, stayed): (Vec<_>, Vec<_>) = before.keys().partition(|key| before[*key] == "b");
    for key in stayed {
        assert_eq!(before[key], after[key], "{key} did not have to move");
    }
    let moved: Vec<String> = moved.into_iter().map(|key| after[key].clone()).collect();
    let [to_a, to_b, to_c] = shares(&moved, ["a", "b", "c"]);
    assert!(to_a > 0 && to_b == 0 && to_c > 0, "both take over: {moved:?}");
    // New sessions find those that have moved.
    let (mut more, now) = session_of_each(&broker).await;
    assert_eq!(now, after);
    // When it is back, what comes anew goes where it belongs, and what is open stays.
    all[1].restart().await;
    broker.wait_backend("b", "trusted again", |backend| backend["penalised"] == false).await;
    let (_anew, home_again) = session_of_each(&broker).await;
    assert_eq!(home_again, before);
    assert_eq!(homes(&mut clients).await, after);
    assert_eq!(homes(&mut more).await, after);
}

#[tokio::test]
async fn a_full_first_choice_is_passed_over() {
    let all = backends(["a", "b"]).await;
    let broker = over(&all).pool_setting("balance = \"hash\"\nhash_key = \"header:X-User\"");
    let broker = broker.backend_setting("a", "max_sessions = 1").backend_setting("b", "max_sessions = 1");
    let broker = broker.start().await;
    let request = Upgrade::to(broker.address()).header("X-User", "ann");
    let (first, home) = placed(&request).await;
    let (_second, other) = placed(&request).await;
    assert_ne!(home, other);
    let reasons: Vec<_> = broker.sessions().await.iter().map(|session| session["placed"].clone()).collect();
    assert_eq!(reasons, ["hash", "hash, the first choice is full"]);
    first.close(1000, "").await;
    broker.wait_backend(&home, "free again", |backend| backend["sessions"] == 0).await;
    assert_eq!(placed(&request).await.1, home);
}
