//! Connections that never send their request, beside clients that do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::upgrade::{Upgrade, complete};
use steadfast_tests::wait::{bounded, eventually};
use tokio::io::AsyncWriteExt;

use crate::crowd::{CROWD, NEIGHBOURS, THEIRS, half_open, neighbours, room, standing};

/// The places for which a crowd and its neighbours compete.
const PLACES: usize = 200;

/// A broker with few places, whose time for a request is over long after the test.
fn few_places(backend: &Backend) -> BrokerBuilder {
    let broker = Broker::over(&[backend]).setting("limits", &format!("max_handshakes = {PLACES}"));
    broker.setting("timeouts", "handshake = \"1h\"")
}

#[tokio::test]
async fn a_crowd_of_half_open_connections_keeps_no_other_address_out() {
    room();
    let backend = Backend::start("a", "").await;
    let broker = few_places(&backend).start().await;
    // Some say nothing at all, some stop in the middle.
    let mut crowd = half_open(broker.address(), THEIRS, CROWD / 2, 0).await;
    crowd.extend(half_open(broker.address(), THEIRS, CROWD / 2, 40).await);
    let clients = neighbours(&Upgrade::to(broker.address()), "a").await;
    assert_eq!(clients.len(), NEIGHBOURS);
    eventually("an end to those for whom there is no place", || standing(&crowd) <= PLACES).await;
    assert!(standing(&crowd) >= PLACES - 1, "each neighbour took one place at a time");
    let hits = broker.metric("steadfast_limit_hits_total", &[("limit", "max_handshakes")]).await;
    assert_eq!(hits, (CROWD - PLACES + 1) as f64);
    let warned = broker.records(|record| record["message"].as_str().is_some_and(is_about_places));
    let left_out: u64 = warned.iter().filter_map(|record| record["left_out"].as_u64()).sum();
    assert!(warned.len() < 200 && left_out + warned.len() as u64 <= hits as u64, "{warned:?}");
    assert!(!warned.is_empty(), "an operator can see why");
}

fn is_about_places(message: &str) -> bool {
    message.starts_with("limits.max_handshakes connections")
}

#[tokio::test]
async fn a_crowd_keeps_not_even_clients_of_its_own_address_out() {
    room();
    let backend = Backend::start("a", "").await;
    let broker = few_places(&backend).start().await;
    let crowd = half_open(broker.address(), THEIRS, CROWD, 40).await;
    neighbours(&Upgrade::to(broker.address()).from(THEIRS), "a").await;
    assert!(standing(&crowd) >= PLACES - 1);
}

#[tokio::test]
async fn a_crowd_that_comes_again_and_again_keeps_nobody_out() {
    room();
    let backend = Backend::start("a", "").await;
    let broker = few_places(&backend).start().await;
    let (ends, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let attackers: Vec<_> = (2..6)
        .map(|n| {
            let (ends, opened, address) = (Arc::clone(&ends), Arc::clone(&opened), broker.address());
            tokio::spawn(async move {
                let mut crowd = Vec::new();
                while !ends.load(Relaxed) && crowd.len() < CROWD {
                    crowd.extend(half_open(address, [127, 0, 0, n], PLACES / 4, 40).await);
                    opened.fetch_add(PLACES / 4, Relaxed);
                }
                crowd
            })
        })
        .collect();
    eventually("more of them than there are places", || opened.load(Relaxed) > PLACES).await;
    neighbours(&Upgrade::to(broker.address()), "a").await;
    ends.store(true, Relaxed);
    for attacker in attackers {
        let crowd = bounded("the end of a crowd", attacker).await.expect("it does not panic");
        assert!(!crowd.is_empty());
    }
}

#[tokio::test]
async fn who_holds_no_more_than_its_share_loses_no_place_to_a_crowd() {
    room();
    let backend = Backend::start("a", "").await;
    let broker = few_places(&backend).start().await;
    let upgrade = Upgrade::to(broker.address());
    let mut slow = half_open(broker.address(), [127, 0, 0, 1], PLACES / 2, 40).await;
    let crowd = half_open(broker.address(), THEIRS, CROWD, 0).await;
    eventually("an end to those over the share", || standing(&crowd) <= PLACES / 2).await;
    assert_eq!(standing(&slow), PLACES / 2);
    for mut stream in slow.drain(..) {
        stream.write_all(&upgrade.encode()[40..]).await.expect("the rest can be written");
        let mut client = bounded("an answer", complete(stream)).await.expect("a session");
        client.ask("hello", "a:hello").await;
    }
}
