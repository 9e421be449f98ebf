//! Places among the handshakes: a connection has its proxy's until its client is known.

use std::net::IpAddr;

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::bounded;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{behind, line};

const PROXY: IpAddr = IpAddr::V4(super::PROXY);

/// A connection on which the proxy introduces this client, if any, and says no more.
async fn silent(broker: &Broker, client: Option<&str>) -> TcpStream {
    let mut stream = Upgrade::to(broker.address()).from(PROXY).dial().await.expect("it listens");
    if let Some(client) = client {
        let known = broker.metric("steadfast_proxy_headers_total", &[]).await;
        stream.write_all(&line(client, "192.0.2.1:443")).await.expect("it can be written");
        broker.wait_metric("steadfast_proxy_headers_total", &[], |count| count > known).await;
    }
    stream
}

async fn is_closed(mut stream: TcpStream) {
    assert_eq!(bounded("its end", stream.read(&mut [0; 1])).await.unwrap_or_default(), 0);
}

/// The oldest of all is that of a client with one alone.
#[tokio::test]
async fn the_client_with_most_makes_room_and_not_who_shares_its_proxy() {
    let backend = Backend::start("a", "").await;
    let broker = behind(&[&backend]).setting("limits", "max_handshakes = 3").start().await;
    let mut innocent = silent(&broker, Some("203.0.113.1:1")).await;
    let oldest = silent(&broker, Some("203.0.113.2:1")).await;
    let _other = silent(&broker, Some("203.0.113.2:2")).await;
    let _newcomer = silent(&broker, Some("203.0.113.3:1")).await;
    is_closed(oldest).await;
    innocent.write_all(&Upgrade::to(broker.address()).encode()).await.expect("it stands");
    let answered = steadfast_tests::upgrade::complete(innocent).await.expect("it has kept its place");
    answered.close(1000, "").await;
}

/// Without headers they are all the proxy's, which loses its own.
#[tokio::test]
async fn a_proxy_that_says_nothing_loses_its_own_places() {
    let backend = Backend::start("a", "").await;
    let broker = behind(&[&backend]).setting("limits", "max_handshakes = 3").start().await;
    let mut innocent = silent(&broker, Some("203.0.113.1:1")).await;
    let oldest = silent(&broker, None).await;
    let _others = [silent(&broker, None).await, silent(&broker, None).await];
    is_closed(oldest).await;
    innocent.write_all(&Upgrade::to(broker.address()).encode()).await.expect("it stands");
    let answered = steadfast_tests::upgrade::complete(innocent).await.expect("it has kept its place");
    answered.close(1000, "").await;
}
