//! Crowds at the admin listener, and those who look whether the broker lives.

use futures::future::join_all;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::{eventually, eventually_async};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::crowd::{CROWD, THEIRS, half_open, neighbours, room, standing};

/// Connections to the admin listener for all pages, and besides for those of health.
const PLACES: (usize, usize) = (64, 32);

/// A request whose body never comes.
const WITHOUT_BODY: &[u8] =
    b"POST /api/v1/pause HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n";

async fn busy(broker: &Broker, count: usize) -> Vec<TcpStream> {
    join_all((0..count).map(async |_| {
        let mut stream = TcpStream::connect(broker.admin_address()).await.expect("the listener accepts");
        stream.write_all(WITHOUT_BODY).await.expect("the request can be written");
        stream
    }))
    .await
}

#[tokio::test]
async fn a_crowd_of_connections_keeps_no_page_from_whoever_asks() {
    room();
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    // From the address of those who ask, and from another.
    let mut crowd = half_open(broker.admin_address(), [127, 0, 0, 1], CROWD / 2, 0).await;
    crowd.extend(half_open(broker.admin_address(), THEIRS, CROWD / 2, 20).await);
    for _ in 0..20 {
        for page in ["/healthz", "/readyz", "/metrics", "/api/v1/sessions"] {
            assert_eq!(broker.get(page).await.status, 200, "{page}");
        }
    }
    eventually("an end to those for whom there is no place", || standing(&crowd) <= PLACES.0).await;
    assert!(broker.metric("steadfast_limit_hits_total", &[("limit", "admin")]).await > 0.0);
}

#[tokio::test]
async fn health_is_told_while_every_other_place_is_busy() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let held = busy(&broker, PLACES.0).await;
    let full = eventually_async("no place for other pages", async || {
        Some(broker.get("/metrics").await).filter(|response| response.status == 503)
    });
    assert_eq!(full.await.header("retry-after"), Some("1"));
    let silent = half_open(broker.admin_address(), THEIRS, 4 * PLACES.1, 0).await;
    for _ in 0..20 {
        assert_eq!(broker.get("/healthz").await.status, 200);
        assert_eq!(broker.get("/readyz").await.status, 200);
    }
    assert_eq!(standing(&held), PLACES.0, "who has begun is not driven out");
    eventually("an end to those for whom there is no place", || standing(&silent) <= PLACES.1).await;
    drop(held);
    eventually_async("room for other pages", async || {
        (broker.get("/metrics").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_the_descriptors_are_promised_for_fits_all_at_once() {
    const SESSIONS: usize = 100;
    const HANDSHAKES: usize = 64;
    room();
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).argument("--workers").argument("2");
    let broker =
        broker.setting("limits", &format!("max_sessions = {SESSIONS}\nmax_handshakes = {HANDSHAKES}"));
    let broker = broker.setting("herd", "dials = 16\nmoves = 16").setting("timeouts", "handshake = \"1h\"");
    // Two for each session, a handshake's, 32 for dials and moves, a check's, 96 of the admin listener, 208 of its own.
    let broker = broker.descriptors(2 * SESSIONS as u32 + HANDSHAKES as u32 + 32 + 1 + 96 + 208);
    let broker = broker.start().await;
    let silent = half_open(broker.address(), THEIRS, 2 * HANDSHAKES, 0).await;
    let crowd = half_open(broker.admin_address(), THEIRS, CROWD, 0).await;
    let held = busy(&broker, PLACES.0 / 2).await;
    let mut clients = neighbours(&Upgrade::to(broker.address()), "a").await;
    assert_eq!(Upgrade::to(broker.address()).refused().await.status, 503, "there are {SESSIONS}");
    for page in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(broker.get(page).await.status, 200, "{page}");
    }
    assert_eq!(broker.metric("steadfast_limit_hits_total", &[("limit", "accept")]).await, 0.0);
    assert_eq!(broker.metric("steadfast_limit_hits_total", &[("limit", "local_dial")]).await, 0.0);
    for client in &mut clients {
        client.ask("still", "a:still").await;
    }
    drop((silent, crowd, held));
}
