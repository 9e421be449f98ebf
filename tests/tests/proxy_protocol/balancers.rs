//! The path at which a listener tells balancers whether it takes clients.

use nix::sys::signal::Signal;
use steadfast_tests::admin::{self, exchange};
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::eventually_async;

use super::{BEHIND_PROXY, bare_block, introduced};

const HEALTH: &str = "health = \"/balancer\"";

fn with_page(backends: &[&Backend]) -> BrokerBuilder {
    Broker::over(backends).listener_setting(HEALTH)
}

async fn status(broker: &Broker) -> u16 {
    admin::get(broker.address(), "/balancer").await.status
}

#[tokio::test]
async fn balancers_are_answered_whoever_they_are() {
    let backend = Backend::start("a", "").await;
    let route = "[[route]]\npath_prefix = \"/\"\npool = \"default\"";
    let lines = "deny = [\"127.0.0.0/8\"]\nupgrades_per_second = 1";
    let broker = with_page(&[&backend]).tables(route).setting("access", lines).start().await;
    let asks = |head: &str| format!("{head}\r\n\r\n").into_bytes();
    for head in [
        "GET /balancer HTTP/1.1\r\nHost: a",
        "GET /balancer?deep=1 HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9",
        "GET /balancer HTTP/1.1",
        "GET /balancer HTTP/1.0",
        "HEAD /balancer HTTP/1.1\r\nHost: a",
        "OPTIONS /balancer HTTP/1.0",
    ] {
        let answer = exchange(broker.address(), &asks(head)).await.expect("an answer");
        assert_eq!(answer.status, 200, "{head}: {answer:?}");
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(answer.text(), if head.starts_with("HEAD") { "" } else { "ready\n" }, "{head}");
    }
    assert_eq!(broker.metric("steadfast_balancer_checks_total", &[("by", "path")]).await, 6.0);
    for name in
        ["steadfast_refused_upgrades_total", "steadfast_denied_total", "steadfast_handshake_errors_total"]
    {
        assert_eq!(broker.metric(name, &[]).await, 0.0, "{name}");
    }
    // Everything else is as it was.
    assert_eq!(Upgrade::to(broker.address()).path("/balance").refused().await.status, 403);
    assert_eq!(admin::get(broker.address(), "/balancer/").await.status, 403);
}

#[tokio::test]
async fn without_the_key_there_is_no_page() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    assert_eq!(status(&broker).await, 404, "it is the backend's to answer");
}

#[tokio::test]
async fn a_paused_listener_is_not_ready_and_another_is() {
    let backend = Backend::start("a", "").await;
    let broker = with_page(&[&backend]).pool("other", &[&backend]).listener_setting(HEALTH).start().await;
    let other = async || admin::get(broker.address_of(1), "/balancer").await.status;
    let own = format!("{{\"listener\": \"{}\"}}", broker.address());
    assert_eq!(broker.change("POST", "/api/v1/pause", &own).await.status, 200);
    assert_eq!((status(&broker).await, other().await), (503, 200));
    assert_eq!(broker.change("POST", "/api/v1/resume", &own).await.status, 200);
    assert_eq!((status(&broker).await, other().await), (200, 200));
}

#[tokio::test]
async fn from_the_first_signal_on_it_is_not_ready_and_takes_clients_for_the_delay() {
    let backend = Backend::start("a", "").await;
    let builder = with_page(&[&backend]).setting("shutdown", "delay = \"10m\"");
    let mut broker = builder.start().await;
    assert_eq!((status(&broker).await, broker.get("/readyz").await.status), (200, 200));
    let mut before = Client::connect(broker.address()).await;
    broker.signal(Signal::SIGTERM);
    eventually_async("the page to say so", async || (status(&broker).await == 503).then_some(())).await;
    assert_eq!(broker.get("/readyz").await.status, 503);
    let mut late = Client::connect(broker.address()).await;
    for client in [&mut before, &mut late] {
        client.ask("m", "a:m").await;
    }
    broker.signal(Signal::SIGTERM);
    broker.wait_exit().await;
}

/// The same as a rolling restart has it: the delay is over, and the rest goes on as without it.
#[tokio::test]
async fn after_the_delay_it_ends_as_without_one() {
    let backend = Backend::start("a", "").await;
    let builder = with_page(&[&backend]).setting("shutdown", "delay = \"200ms\"\ngrace = \"10m\"");
    let mut broker = builder.start().await;
    let mut client = Client::connect(broker.address()).await;
    broker.signal(Signal::SIGTERM);
    let address = broker.address();
    eventually_async("connections to be refused", async || {
        tokio::net::TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
    client.ask("still here", "a:still here").await;
    client.close(1000, "").await;
    assert_eq!(broker.wait_exit().await.code(), Some(0));
}

#[tokio::test]
async fn behind_a_proxy_the_page_has_a_header_in_front_too() {
    let backend = Backend::start("a", "").await;
    let broker = with_page(&[&backend]).listener_setting(BEHIND_PROXY).start().await;
    let answer =
        introduced(&broker, &bare_block(0x20, 0, b"")).path("/balancer").without("Upgrade").refused().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ready\n"));
}
