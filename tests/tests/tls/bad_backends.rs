//! Backends that cannot prove to be who they should be, speak no TLS, or never end the handshake: a session goes to another
//! one, and the log says why.

use std::net::SocketAddr;

use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::pki::{Authority, shown};
use steadfast_tests::wait::eventually_some;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::scene::World;

/// A port that takes connections, says this to each, and nothing more.
struct Mute {
    address: SocketAddr,
    listener: tokio::task::JoinHandle<()>,
}

impl Mute {
    async fn start(words: &'static [u8]) -> Mute {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let listener = tokio::spawn(async move {
            let mut all: Vec<TcpStream> = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(words).await.expect("it is taken");
                all.push(stream);
            }
        });
        Mute { address, listener }
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// A pool with `bad` at this address, and `good` for when there is nobody else.
fn over(world: &World, bad: &str, good: &Backend) -> BrokerBuilder {
    world
        .trusting(Broker::over(&[good]))
        .backend_setting("good", "backup = true")
        .pool_table(&format!("[[pool.backend]]\nname = \"bad\"\nurl = \"{bad}\""))
        .setting("log", "level = \"debug\"")
        .setting("timeouts", "connect = \"500ms\"")
}

/// Why a dial of `bad` has failed.
async fn why(broker: &Broker) -> String {
    let failed = |record: &Value| record["message"] == "dial failed" && record["backend"] == "bad";
    let told = eventually_some("a line of a failed dial", || broker.records(failed).pop()).await;
    told["why"].as_str().expect("a reason").to_owned()
}

#[tokio::test]
async fn a_session_goes_elsewhere_and_the_log_says_why() {
    let world = World::new();
    let good = world.backend("good", "").await;
    let expired = world.authority.expired("expired", &["127.0.0.1"]);
    let self_signed = world.authority.self_signed("self-signed", &["127.0.0.1"]);
    let other_name = world.authority.server("other", &["other.test", "127.0.0.2"]);
    let elsewhere = Authority::new("unknown");
    let unknown = elsewhere.server("unknown", &["127.0.0.1"]);
    let client_only = world.authority.client("client");
    for (pair, reason) in [
        (&expired, "expired"),
        (&self_signed, "UnknownIssuer"),
        (&other_name, "not valid for name"),
        (&unknown, "UnknownIssuer"),
        (&client_only, "client"),
    ] {
        let bad = Backend::start_encrypted("bad", "", pair).await;
        let broker = over(&world, &bad.url(), &good).start().await;
        Client::connect(broker.address()).await.ask("m", "good:m").await;
        let why = why(&broker).await;
        assert!(why.contains("no TLS: ") && why.contains(reason), "{reason}: {why}");
        assert_eq!(bad.journal().sessions().len(), 0, "{reason}: it has learnt nothing of the request");
        assert_eq!(
            broker.metric("steadfast_dials_total", &[("backend", "bad"), ("outcome", "failed")]).await,
            1.0
        );
    }
}

#[tokio::test]
async fn one_that_speaks_no_tls_and_one_that_says_nothing_are_left() {
    let world = World::new();
    let good = world.backend("good", "").await;
    let silence = "no end of the TLS handshake within 500ms";
    for (words, reason) in [(&b"220 mail.example ESMTP\r\n"[..], "no TLS: "), (b"", silence)] {
        let mute = Mute::start(words).await;
        let broker = over(&world, &format!("wss://{}", mute.address), &good).start().await;
        Client::connect(broker.address()).await.ask("m", "good:m").await;
        let told = why(&broker).await;
        assert!(told.contains(reason), "{told}");
    }
}

#[tokio::test]
async fn one_that_speaks_tls_is_not_spoken_to_without() {
    let world = World::new();
    let good = world.backend("good", "").await;
    let bad = world.backend("bad", "").await;
    let broker = over(&world, &bad.url().replace("wss:", "ws:"), &good).start().await;
    Client::connect(broker.address()).await.ask("m", "good:m").await;
    why(&broker).await;
    assert_eq!(bad.journal().sessions().len(), 0);
}

#[tokio::test]
async fn a_session_that_has_lost_its_backend_passes_by_one_whose_certificate_is_bad() {
    let world = World::new();
    let expired = world.authority.expired("expired", &["127.0.0.1"]);
    let (first, good) = (world.backend("first", "").await, world.backend("good", "").await);
    let bad = Backend::start_encrypted("bad", "", &expired).await;
    let broker = world
        .over(&[&first, &good])
        .backend_setting("good", "backup = true")
        .pool_table(&format!("[[pool.backend]]\nname = \"bad\"\nurl = \"{}\"\nweight = 0", bad.url()))
        .start()
        .await;
    let mut client = world.upgrade(&broker).connect().await;
    client.ask("m-1", "first:m-1").await;
    broker.wait_at_rest().await;
    let heavy = broker.change("PATCH", "/api/v1/pools/default/backends/bad", "{\"weight\": 256}").await;
    assert_eq!(heavy.status, 200);
    first.kill();
    client.ask("m-2", "good:m-2").await;
    assert_eq!(broker.metric("steadfast_messages_lost_total", &[]).await, 0.0);
}

#[tokio::test]
async fn without_verification_any_certificate_is_taken() {
    let world = World::new();
    let unknown = Authority::new("unknown");
    for pair in [
        world.authority.expired("expired", &["127.0.0.1"]),
        world.authority.self_signed("self-signed", &["127.0.0.1"]),
        world.authority.server("other", &["other.test"]),
        unknown.server("unknown", &["127.0.0.1"]),
    ] {
        let bad = Backend::start_encrypted("bad", "", &pair).await;
        let broker = Broker::over(&[&bad]).pool_table("[pool.tls]\nverify = false").start().await;
        Client::connect(broker.address()).await.ask("m", "bad:m").await;
    }
}

#[tokio::test]
async fn a_backend_proves_to_be_the_name_that_is_configured() {
    let world = World::new();
    let named = world.authority.server("named", &["chat.internal"]);
    let backend = Backend::start_encrypted("a", "", &named).await;
    let tls = |name: &str| {
        let ca = world.authority.ca();
        format!("[pool.tls]\nca = {:?}\nserver_name = \"{name}\"", shown(&ca))
    };
    let broker = Broker::over(&[&backend]).pool_table(&tls("chat.internal")).start().await;
    Client::connect(broker.address()).await.ask("m", "a:m").await;
    let broker = Broker::over(&[&backend]).pool_table(&tls("other.internal"));
    let broker = broker.setting("failover", "stable = \"100ms\"\ndeadline = \"300ms\"").start().await;
    let refused = steadfast_tests::Upgrade::to(broker.address()).refused().await;
    assert!([502, 503].contains(&refused.status), "{refused:?}");
}

#[tokio::test]
async fn checks_and_agents_come_by_tls_and_do_not_take_a_bad_certificate() {
    let world = World::new();
    let expired = world.authority.expired("expired", &["127.0.0.1"]);
    let pages = "--page /:200 --page /agent:200:50%";
    let quick = "interval = \"50ms\"\nrise = 1\nfall = 1\ntimeout = \"2s\"";
    for kind in ["tcp", "http", "websocket"] {
        let good = world.backend("good", pages).await;
        let bad = Backend::start_encrypted("bad", pages, &expired).await;
        let agent = "[pool.agent]\ninterval = \"50ms\"\ntimeout = \"2s\"";
        let checks = format!("[pool.health]\ntype = \"{kind}\"\n{quick}\n\n{agent}");
        let builder = world.trusting(Broker::over(&[&good, &bad]));
        let broker = builder.pool_table(&checks).backend_setting("good", "weight = 20").start().await;
        broker
            .wait_backend("good", kind, |own| own["health"] == "up" && own["effective_weight"] == 10.0)
            .await;
        let down = broker.wait_backend("bad", kind, |own| own["health"] == "down").await;
        assert!(down["why"].as_str().is_some_and(|why| why.contains("expired")), "{kind}: {down}");
        for _ in 0..4 {
            Client::connect(broker.address()).await.ask("m", "good:m").await;
        }
        assert_eq!(bad.journal().connections().len(), 0, "{kind}: it is asked nothing");
        assert!(good.journal().secured().1 > 0, "{kind}: checks resume each other's");
    }
}
