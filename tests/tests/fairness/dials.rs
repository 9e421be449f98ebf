//! Pools whose backends take connections and never answer, beside pools that work.

use futures::future::join_all;
use futures::stream::{self, StreamExt};
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::{eventually, eventually_async};
use tokio::net::TcpStream;

use crate::crowd::{CROWD, NEIGHBOURS, THEIRS, neighbours, room, standing};

/// Takes connections and never answers.
const MUTE: &str = "--spoil-upgrade hang --descriptors 2000";

/// Clients of a pool that wait for its backends.
async fn waiting(broker: &Broker, pool: usize, count: usize) -> Vec<TcpStream> {
    let upgrade = Upgrade::to(broker.address_of(pool)).from(THEIRS);
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(upgrade.open().await);
    }
    clients
}

/// Waits until nothing is unacknowledged, so that a failover repeats nothing.
async fn at_rest(broker: &Broker) {
    eventually_async("acknowledgements", async || {
        broker.sessions().await.iter().all(|session| session["buffered_bytes"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_pool_that_never_answers_leaves_dials_to_another() {
    let mutes = join_all(["m1", "m2", "m3", "m4"].map(|name| Backend::start(name, MUTE))).await;
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&mutes.iter().collect::<Vec<_>>()).pool("quick", &[&backend]);
    let broker = broker.setting("herd", "dials = 16").setting("timeouts", "upgrade = \"1h\"").start().await;
    let waits = waiting(&broker, 0, NEIGHBOURS).await;
    broker.wait_metric("steadfast_limit_hits_total", &[("limit", "dials")], |hits| hits > 0.0).await;
    neighbours(&Upgrade::to(broker.address_of(1)), "a").await;
    assert_eq!(standing(&waits), NEIGHBOURS, "they still wait");
}

#[tokio::test]
async fn failovers_have_dials_that_newcomers_of_all_pools_leave_to_them() {
    let mute = Backend::start("mute", MUTE).await;
    let (home, other) = (Backend::start("a", "").await, Backend::absent("b", ""));
    let mut broker = Broker::over(&[&home, &other]);
    for pool in ["mute-1", "mute-2", "mute-3", "mute-4"] {
        broker = broker.pool(pool, &[&mute]);
    }
    let broker = broker.setting("herd", "dials = 8").setting("timeouts", "upgrade = \"1h\"").start().await;
    let mut clients = neighbours(&Upgrade::to(broker.address()), "a").await;
    other.restart().await;
    let mut crowd = Vec::new();
    for pool in 1..5 {
        crowd.extend(waiting(&broker, pool, NEIGHBOURS / 4).await);
    }
    // Of the eight, two are not theirs.
    let dialled = || mute.journal().connections().len();
    eventually("dials of the others", || dialled() == 6).await;
    at_rest(&broker).await;
    home.kill();
    for (n, client) in clients.iter_mut().enumerate() {
        client.ask(&format!("on-{n}"), &format!("b:on-{n}")).await;
    }
    assert_eq!(standing(&crowd), crowd.len(), "they still wait");
    assert_eq!(dialled(), 6, "no turn has come for others of them");
}

#[tokio::test]
async fn clients_that_wait_for_a_pool_leave_room_at_the_door() {
    const PLACES: usize = 40;
    room();
    let mute = Backend::start("mute", MUTE).await;
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&mute]).pool("quick", &[&backend]);
    let broker = broker.setting("limits", &format!("max_handshakes = {PLACES}"));
    let broker = broker.setting("timeouts", "upgrade = \"1h\"").start().await;
    let upgrade = Upgrade::to(broker.address()).from(THEIRS);
    let waits = waiting(&broker, 0, PLACES / 2).await;
    broker.wait_backend("mute", "all wait for it", |backend| backend["sessions"] == PLACES / 2).await;
    let refused = stream::iter(0..CROWD).map(|_| upgrade.refused()).buffer_unordered(PLACES / 4);
    let refused: Vec<_> = refused.collect().await;
    let told =
        refused.iter().filter(|answer| (answer.status, answer.header("retry-after")) == (503, Some("1")));
    assert_eq!(told.count(), CROWD);
    neighbours(&Upgrade::to(broker.address_of(1)), "a").await;
    assert_eq!(standing(&waits), PLACES / 2, "they still wait");
    let refused = broker.metric("steadfast_limit_hits_total", &[("limit", "newcomers")]).await;
    assert_eq!(refused, CROWD as f64);
}

#[tokio::test]
async fn with_one_dial_at_a_time_everybody_is_served() {
    let (one, other) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let broker = Broker::over(&[&one]).pool("other", &[&other]);
    let broker = broker.setting("herd", "dials = 1\ndials_per_backend = 1").start().await;
    let both = [Upgrade::to(broker.address()), Upgrade::to(broker.address_of(1))];
    let (ours, _theirs) = tokio::join!(neighbours(&both[0], "a"), neighbours(&both[1], "b"));
    at_rest(&broker).await;
    one.kill();
    one.restart().await;
    for (n, mut client) in ours.into_iter().enumerate() {
        client.ask(&format!("on-{n}"), &format!("a:on-{n}")).await;
    }
}
