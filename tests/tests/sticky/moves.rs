//! A session that moves takes its client with it.

use std::collections::BTreeSet;

use serde_json::Value;
use steadfast_tests::broker::Broker;
use steadfast_tests::upgrade::Upgrade;

use crate::{Placed, backends, come_to, home, named, newcomer, placed, plain, showing, sticky, wait_done};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// The cookie of another client of this backend, which has no session there any more.
async fn bystander(broker: &Broker, home: &str) -> String {
    loop {
        let (client, name, cookie) = newcomer(broker).await;
        client.close(1000, "").await;
        if name == home {
            return cookie;
        }
    }
}

#[tokio::test]
async fn after_a_failover_the_cookie_leads_to_the_next_backend() {
    let all = backends(NAMES).await;
    let broker = sticky(&all, "").start().await;
    let (mut client, first, cookie) = newcomer(&broker).await;
    let bystander = bystander(&broker, &first).await;
    named(&all, &first).kill();
    let second = home(&mut client).await;
    assert_ne!(second, first);
    named(&all, &first).restart().await;
    let Placed { home: now, cookie: next, .. } = showing(&broker, &cookie).await;
    assert_eq!(now, second);
    let next = next.expect("the next answer says so");
    let again = showing(&broker, &next).await;
    assert_eq!((again.home, again.cookie), (second.clone(), None));
    assert_eq!(come_to(&broker, &cookie, &second, 3).await, 3, "the old one leads there as well");
    assert_eq!(come_to(&broker, &bystander, &first, 3).await, 3, "who did not move is where it was");
}

#[tokio::test]
async fn after_a_drain_it_does_too_and_no_session_goes_to_a_drained_backend() {
    let all = backends(NAMES).await;
    let broker = sticky(&all, "").start().await;
    let (mut client, first, cookie) = newcomer(&broker).await;
    let bystander = bystander(&broker, &first).await;
    let answer = broker.post(&format!("/api/v1/pools/default/backends/{first}/drain")).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let empty = |backend: &Value| backend["sessions"] == 0;
    broker.wait_backend(&first, "empty", empty).await;
    let second = home(&mut client).await;
    assert_ne!(second, first);
    let Placed { home: now, cookie: next, .. } = showing(&broker, &cookie).await;
    assert_eq!(now, second);
    assert!(next.is_some());
    let elsewhere = showing(&broker, &bystander).await;
    assert_ne!(elsewhere.home, first, "a session would have to leave at once");
    assert!(elsewhere.cookie.is_some());
}

/// All sessions of one client move to one backend, one after another; those of clients that nobody knows are spread.
#[tokio::test]
async fn the_sessions_of_a_client_stay_together() {
    let all = backends(NAMES).await;
    for is_sticky in [true, false] {
        let builder = if is_sticky { sticky(&all, "") } else { plain(&all) };
        let broker = builder.start().await;
        // All of them begin at one.
        for name in ["b", "c"] {
            let path = format!("/api/v1/pools/default/backends/{name}");
            assert_eq!(broker.change("PATCH", &path, "{\"weight\":0}").await.status, 200);
        }
        let first = placed(&Upgrade::to(broker.address())).await;
        let cookie = first.cookie.unwrap_or_default();
        let mut clients = vec![first.client];
        for _ in 0..3 {
            clients.push(showing(&broker, &cookie).await.client);
        }
        for name in ["b", "c"] {
            let path = format!("/api/v1/pools/default/backends/{name}");
            assert_eq!(broker.change("PATCH", &path, "{\"weight\":1}").await.status, 200);
        }
        let path = "/api/v1/pools/default/backends/a/drain";
        let answer = broker.change("POST", path, "{\"concurrency\":1}").await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        wait_done(&broker, "drain-1").await;
        let mut homes = BTreeSet::new();
        for client in &mut clients {
            homes.insert(home(client).await);
        }
        assert_eq!((homes.len() == 1, homes.contains("a")), (is_sticky, false), "{homes:?}");
    }
}

#[tokio::test]
async fn a_backend_without_weight_gets_its_own_unless_they_are_to_leave() {
    let all = backends(["a", "b"]).await;
    for (keys, follows) in [("", true), ("draining = \"leave\"", false)] {
        let broker = sticky(&all, keys).start().await;
        let (_client, first, cookie) = newcomer(&broker).await;
        let path = format!("/api/v1/pools/default/backends/{first}");
        let answer = broker.change("PATCH", &path, "{\"weight\":0}").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_ne!(newcomer(&broker).await.1, first, "who has no cookie does not go there");
        let again = showing(&broker, &cookie).await;
        assert_eq!((again.home == first, again.cookie.is_none()), (follows, follows), "{keys}");
    }
}

/// A rebalance spreads what nothing holds: clients whose cookies say where they belong stay there.
#[tokio::test]
async fn a_rebalance_leaves_those_who_belong_somewhere() {
    let all = backends(["a", "b"]).await;
    for is_sticky in [true, false] {
        let builder = if is_sticky { sticky(&all, "") } else { plain(&all) };
        let broker = builder.start().await;
        // All of them go to one, while the other takes nobody.
        let path = "/api/v1/pools/default/backends/b";
        assert_eq!(broker.change("PATCH", path, "{\"weight\":0}").await.status, 200);
        let mut clients = Vec::new();
        for _ in 0..6 {
            clients.push(showing(&broker, "none=1").await.client);
        }
        assert_eq!(broker.change("PATCH", path, "{\"weight\":1}").await.status, 200);
        let answer = broker.post("/api/v1/pools/default/rebalance").await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        wait_done(&broker, "rebalance-1").await;
        let mut at_a = 0;
        for client in &mut clients {
            at_a += usize::from(home(client).await == "a");
        }
        assert_eq!(at_a == 6, is_sticky, "{at_a}");
    }
}
