//! Shares and floors where several things come together: pools with the same backends, backends that are out for different
//! reasons, a balancer with many clients, and
//! readers that leave a refusal unread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use futures::future::join_all;
use nix::sys::signal::Signal;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::{bounded, eventually, eventually_async};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::crowd::{CROWD, half_open, room, standing};

/// The trusted one.
const BALANCER: [u8; 4] = [127, 0, 0, 9];

const STRANGERS: [u8; 4] = [127, 0, 0, 2];

const PLACES: usize = 200;

/// So many of each pool may be out.
const HALF: usize = 2;

async fn states(broker: &Broker, pool: &str) -> Vec<String> {
    let all = broker.get_json("/api/v1/backends").await;
    let of_pool = all["backends"].as_array().expect("a list").iter().filter(|own| own["pool"] == pool);
    of_pool.map(|own| own["state"].as_str().expect("a word").to_owned()).collect()
}

#[tokio::test]
async fn in_several_pools_with_the_same_backends_half_of_each_stays_though_all_fail() {
    let flags = "--spoil-upgrade accept-then-fail";
    let backends = join_all(["a", "b", "c", "d"].map(|name| Backend::start(name, flags))).await;
    let all: Vec<_> = backends.iter().collect();
    let outlier = "[pool.outlier]\nfailures = 1\nejection_min = \"1m\"\nmax_ejected = 50";
    let pool = |broker: BrokerBuilder, name| broker.pool(name, &all).pool_table(outlier);
    let broker = ["p", "q", "r"].into_iter().fold(BrokerBuilder::default(), pool);
    let broker = broker.setting("failover", "backoff_min = \"300ms\"\nbackoff_max = \"300ms\"").start().await;
    let _clients = join_all((0..3).map(|pool| Client::connect(broker.address_of(pool)))).await;
    broker.wait_metric("steadfast_ejections_total", &[], |count| count >= (3 * HALF) as f64).await;
    // More failures than would do for the others.
    let before = join_all(backends.iter().map(async |backend| backend.journal().sessions().len())).await;
    eventually_async("more failures of those that are left", async || {
        let now = backends.iter().map(|backend| backend.journal().sessions().len());
        (now.sum::<usize>() >= before.iter().sum::<usize>() + 12).then_some(())
    })
    .await;
    for pool in ["p", "q", "r"] {
        let states = states(&broker, pool).await;
        let out = states.iter().filter(|state| *state == "ejected").count();
        assert_eq!((states.len(), out), (4, HALF), "{pool}: {states:?}");
    }
}

#[tokio::test]
async fn a_balancers_many_clients_are_served_beside_a_crowd_and_one_of_them_may_take_no_more_than_its_own() {
    room();
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend])
        .listener_setting("trusted = [\"127.0.0.9\"]")
        .setting("limits", &format!("max_handshakes = {PLACES}"))
        .setting("access", "sessions_per_address = 2")
        .setting("timeouts", "handshake = \"1h\"")
        .start()
        .await;
    // Connections that the balancer has opened for later, and those of strangers.
    let idle = half_open(broker.address(), BALANCER, PLACES / 2, 0).await;
    let crowd = half_open(broker.address(), STRANGERS, CROWD, 40).await;
    let of = |client: String| Upgrade::to(broker.address()).from(BALANCER).header("X-Forwarded-For", &client);
    let mut clients = Vec::new();
    for n in 0..100 {
        let mut client = of(format!("203.0.113.{n}")).connect().await;
        client.ask("hello", "a:hello").await;
        clients.push(client);
    }
    // One that is a network of IPv6, and one that is written in two ways.
    for addresses in
        [["2001:db8::1", "2001:db8::2", "2001:db8::3"], ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"]]
    {
        let [first, second, third] = addresses.map(|address| of(address.to_owned()));
        clients.extend([first.connect().await, second.connect().await]);
        assert_eq!(third.refused().await.status, 429, "{addresses:?}");
    }
    let mut neighbour = of("2001:db8:0:1::1".to_owned()).connect().await;
    neighbour.ask("hello", "a:hello").await;
    eventually("an end to those for whom there is no place", || standing(&crowd) <= PLACES).await;
    // While one of its clients is let in, the balancer may for a moment be who has most.
    assert!(standing(&idle) >= PLACES / 2 - 10, "{} of the balancer's stand", standing(&idle));
}

/// A backend that refuses everybody, in so many words that they do not fit into the sockets on the way.
async fn wordy() -> (u16, Arc<AtomicUsize>) {
    const WORDS: usize = 64 << 20;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Relaxed);
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let head = format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {WORDS}\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).await;
                while stream.write_all(&[b'.'; 65536]).await.is_ok() {}
            });
        }
    });
    (port, asked)
}

#[tokio::test]
async fn who_leaves_a_refusal_unread_takes_a_sessions_place_until_it_goes_and_none_of_a_handshake() {
    const SESSIONS: usize = 3;
    let (port, asked) = wordy().await;
    let broker = Broker::over(&[])
        .pool_table(&format!("[[pool.backend]]\nname = \"wordy\"\nurl = \"ws://127.0.0.1:{port}\""))
        .setting("limits", &format!("max_sessions = {SESSIONS}\nmax_handshakes = 16"))
        .start()
        .await;
    let upgrade = Upgrade::to(broker.address());
    let mut unread = Vec::new();
    for n in 1..=SESSIONS {
        unread.push(upgrade.open().await);
        eventually_async("the backend to be asked", async || (asked.load(Relaxed) == n).then_some(())).await;
    }
    eventually_async("no place among the sessions", async || {
        let refused = upgrade.refused().await;
        (refused.status == 503).then_some(())
    })
    .await;
    // Many more come than it has places for handshakes, and each is answered.
    for _ in 0..50 {
        assert_eq!(upgrade.refused().await.status, 503);
    }
    let before = asked.load(Relaxed);
    drop(unread);
    let waiting = eventually_async("a place", async || {
        let stream = upgrade.open().await;
        let mut head = [0; 12];
        stream.readable().await.ok()?;
        (stream.try_read(&mut head).ok() == Some(12) && &head == b"HTTP/1.1 403").then_some(stream)
    })
    .await;
    assert!(asked.load(Relaxed) > before);
    drop(waiting);
}

/// Ejections are short, and so are trials.
const SHORT: &str = "[pool.outlier]\nfailures = 1\nejection_min = \"1s\"\nearly_death = \"1s\"";

/// Clients of the pool `index`, of which `b` has one at the least; and `b` is ejected there, for it fails whoever comes.
async fn clients_beside_an_ejected_one(
    broker: &Broker,
    b: &Backend,
    index: usize,
    pool: &str,
) -> Vec<Client> {
    b.set("").await;
    let mut clients = Vec::new();
    for home in ["a:where?", "b:where?"] {
        eventually_async("a client at each", async || {
            let mut client = Client::connect(broker.address_of(index)).await;
            client.send("where?").await;
            let found = client.text().await == home;
            clients.push(client);
            found.then_some(())
        })
        .await;
    }
    b.set("--spoil-upgrade accept-then-fail").await;
    eventually_async("an ejection", async || {
        clients.push(Client::connect(broker.address_of(index)).await);
        let states = states(broker, pool).await;
        states.iter().any(|state| state == "ejected" || state == "half_open").then_some(())
    })
    .await;
    clients
}

/// All clients get an answer to what they say now, from one of these.
async fn all_are_served(clients: &mut [Client], text: &str, by: &[&str]) {
    for client in &*clients {
        client.send(text).await;
    }
    let answers =
        bounded("answers", join_all(clients.iter_mut().map(async |client| client.text().await))).await;
    let expected: Vec<_> = by.iter().map(|name| format!("{name}:{text}")).collect();
    assert!(answers.iter().all(|answer| expected.contains(answer)), "{answers:?}");
}

/// One that fails whoever comes is no place to go to, though old sessions hear it. When it is well again a session tries
/// it, and the others follow.
#[tokio::test]
async fn a_stopped_backend_is_left_for_an_ejected_one_once_a_session_has_tried_that() {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let broker = Broker::over(&[&a, &b]).pool_setting("ack_timeout = \"1s\"").pool_table(SHORT);
    let broker = broker.setting("timeouts", "upgrade = \"1s\"").start().await;
    let mut clients = clients_beside_an_ejected_one(&broker, &b, 0, "default").await;
    b.set("").await;
    a.signal(Signal::SIGSTOP);
    all_are_served(&mut clients, "hello", &["b"]).await;
    assert_eq!(broker.ends().await, 0.0);
    a.signal(Signal::SIGCONT);
}

#[tokio::test]
async fn where_one_backend_is_ejected_and_the_other_leaves_nobody_is_closed_in_any_pool() {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let all = [&a, &b];
    let pool = |broker: BrokerBuilder, name| broker.pool(name, &all).pool_table(SHORT);
    let broker = ["p", "q"].into_iter().fold(BrokerBuilder::default(), pool).start().await;
    let mut clients = Vec::new();
    for (index, name) in ["p", "q"].into_iter().enumerate() {
        clients.extend(clients_beside_an_ejected_one(&broker, &b, index, name).await);
    }
    // The one that is left tells everybody that it goes, and does not.
    a.command("!close 1012 restart").await;
    all_are_served(&mut clients, "one", &["a", "b"]).await;
    // An operator drains it in both pools while nobody else is well.
    for pool in ["p", "q"] {
        let order = broker.change("POST", &format!("/api/v1/pools/{pool}/backends/a/drain"), "{}").await;
        assert!([200, 202].contains(&order.status), "{}", order.text());
    }
    all_are_served(&mut clients, "two", &["a", "b"]).await;
    b.set("").await;
    eventually_async("an end to both drains", async || {
        let all = broker.get_json("/api/v1/backends").await;
        let all = all["backends"].as_array().expect("a list");
        let mut of_a = all.iter().filter(|own| own["name"] == "a");
        of_a.all(|own| own["sessions"] == 0).then_some(())
    })
    .await;
    all_are_served(&mut clients, "three", &["b"]).await;
    assert_eq!(broker.ends().await, 0.0);
}
