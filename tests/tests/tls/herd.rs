//! Many sessions that leave one backend at once, and what their handshakes with the next one cost.

use futures::future::join_all;
use steadfast_tests::backend::Backend;
use steadfast_tests::client::Client;
use steadfast_tests::process::raise_descriptor_limit;

use crate::scene::World;

const SESSIONS: usize = 100;

/// A hundred sessions at one backend, which is killed. Returns the next one.
async fn moved(flags: &str) -> Backend {
    raise_descriptor_limit(4 * SESSIONS as u64 + 200);
    let world = World::new();
    let first = world.backend("a", flags).await;
    let next = Backend::absent_encrypted("b", flags, &world.pair);
    let broker = world.over(&[&first, &next]).start().await;
    let request = world.upgrade(&broker);
    let mut clients: Vec<Client> = join_all((0..SESSIONS).map(|_| request.connect())).await;
    for (n, client) in clients.iter_mut().enumerate() {
        client.ask(&format!("before-{n}"), &format!("a:before-{n}")).await;
    }
    next.restart().await;
    first.kill();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(&format!("after-{n}")).await;
        // What was not acknowledged is answered again.
        while client.text().await != format!("b:after-{n}") {}
    }
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, SESSIONS as f64);
    assert_eq!(broker.metric("steadfast_messages_lost_total", &[]).await, 0.0);
    assert_eq!(broker.ends().await, 0.0, "no session has ended");
    next
}

#[tokio::test]
async fn a_herd_resumes_at_the_next_backend_what_the_dead_one_has_given() {
    let next = moved("--shared-tickets").await;
    assert_eq!(next.journal().secured(), (0, SESSIONS));
}

#[tokio::test]
async fn a_herd_shakes_hands_in_full_with_a_backend_that_does_not_know_the_tickets() {
    let next = moved("").await;
    let (full, resumed) = next.journal().secured();
    assert_eq!(full + resumed, SESSIONS);
    assert!(full > 0, "nobody can have had a ticket of its own at first");
}
