//! What backends are told in front of everything else.

use std::net::{Ipv4Addr, SocketAddr};

use steadfast_tests::admin::exchange;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::upgrade::Upgrade;

use super::receiver::{Header, Receiver};
use super::{BEHIND_PROXY, PROXY, of_client};

const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// A broker over these, which are told in this version.
fn telling(version: &str, receivers: &[(&str, &Receiver)]) -> BrokerBuilder {
    let builder = Broker::over(&[]).pool_setting(&format!("send_proxy = \"{version}\""));
    receivers.iter().fold(builder, |builder, (name, receiver)| builder.pool_table(&receiver.table(name)))
}

/// What a line says: the client's address and where it has connected to.
fn ends(header: &Header) -> (SocketAddr, SocketAddr) {
    match header {
        Header::Line(line) => {
            let words: Vec<_> = line.trim_end().split(' ').collect();
            let ["PROXY", "TCP4" | "TCP6", from, to, source, destination] = words[..] else {
                panic!("{line:?}")
            };
            let address = |ip: &str, port: &str| {
                SocketAddr::new(ip.parse().expect("an IP"), port.parse().expect("a port"))
            };
            (address(from, source), address(to, destination))
        }
        Header::Block { command: 0x21, source: Some(source), destination: Some(destination), .. } => {
            (*source, *destination)
        }
        other => panic!("not a client's: {other:?}"),
    }
}

fn is_own(header: &Header) -> bool {
    match header {
        Header::Line(line) => line == "PROXY UNKNOWN\r\n",
        Header::Block { command, source, tlvs, .. } => {
            *command == 0x20 && source.is_none() && tlvs.is_empty()
        }
        Header::None => false,
    }
}

#[tokio::test]
async fn a_backend_is_told_the_client_and_where_it_has_connected_to() {
    let backend = Backend::start("a", "").await;
    for version in ["v1", "v2"] {
        let receiver = Receiver::start(backend.address()).await;
        let broker = telling(version, &[("a", &receiver)]).start().await;
        let request = Upgrade::to(broker.address()).from(CLIENT).replace("Host", "chat.example:8080");
        let mut client = request.connect().await;
        client.ask("m", "a:m").await;
        let session = broker.wait_only_session("the client's", |_| true).await;
        let [header] = &receiver.headers()[..] else { panic!("one connection") };
        let (source, destination) = ends(header);
        assert_eq!(session["client"], source.to_string());
        assert_eq!((source.ip(), destination), (CLIENT.into(), broker.address()));
        if let Header::Block { tlvs, .. } = header {
            let id = session["id"].as_str().expect("an id").to_owned();
            assert_eq!(*tlvs, [(2, "chat.example".to_owned()), (5, id)], "authority and unique id");
        }
        assert_eq!(matches!(header, Header::Block { .. }), version == "v2");
    }
}

/// A request over HTTP is told like a session, and each has a connection of its own.
#[tokio::test]
async fn a_backend_is_told_the_same_of_a_request_over_http() {
    let backend = Backend::start("a", "").await;
    let receiver = Receiver::start(backend.address()).await;
    let broker = telling("v2", &[("a", &receiver)]).start().await;
    for turn in 1..=2 {
        let request = b"GET / HTTP/1.1\r\nHost: chat.example:8080\r\nConnection: close\r\n\r\n";
        assert_eq!(exchange(broker.address(), request).await.expect("an answer").status, 404);
        let headers = receiver.headers();
        assert_eq!(headers.len(), turn, "{headers:?}");
        let header = &headers[turn - 1];
        assert_eq!(ends(header).1, broker.address());
        let Header::Block { tlvs, .. } = header else { panic!("{header:?}") };
        let [(2, authority), (5, id)] = &tlvs[..] else { panic!("authority and unique id: {tlvs:?}") };
        assert_eq!((authority.as_str(), id.len()), ("chat.example", 32));
    }
}

#[tokio::test]
async fn without_being_asked_for_nobody_is_told() {
    let backend = Backend::start("a", "").await;
    let receiver = Receiver::start(backend.address()).await;
    let broker = telling("off", &[("a", &receiver)]).start().await;
    Upgrade::to(broker.address()).connect().await.ask("m", "a:m").await;
    assert_eq!(receiver.headers(), [Header::None]);
}

#[tokio::test]
async fn a_failover_tells_the_same_again() {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    for version in ["v1", "v2"] {
        let [to_a, to_b] = [Receiver::start(a.address()).await, Receiver::start(b.address()).await];
        let broker =
            telling(version, &[("a", &to_a), ("b", &to_b)]).listener_setting(BEHIND_PROXY).start().await;
        let mut client = of_client(&broker, "203.0.113.9:5678").connect().await;
        client.send("m-1").await;
        let home = client.text().await;
        broker.wait_at_rest().await;
        let (left, taken, first, second) =
            if home == "a:m-1" { (&a, "b", &to_a, &to_b) } else { (&b, "a", &to_b, &to_a) };
        left.kill();
        client.ask("m-2", &format!("{taken}:m-2")).await;
        let told = [first, second].map(|receiver| receiver.headers().remove(0));
        assert_eq!(told[0], told[1], "{version}");
        let expected = ["203.0.113.9:5678", "192.0.2.1:443"].map(|end| end.parse().expect("an address"));
        assert_eq!(ends(&told[0]), (expected[0], expected[1]), "as the proxy in front has said");
        client.close(1000, "").await;
        left.restart().await;
    }
}

#[tokio::test]
async fn of_a_listener_for_all_addresses_the_one_is_told_that_was_meant() {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let [to_a, to_b] = [Receiver::start(a.address()).await, Receiver::start(b.address()).await];
    let listener = "[[listener]]\naddress = \"0.0.0.0:0\"\npool = \"default\"";
    let broker = telling("v1", &[("a", &to_a), ("b", &to_b)]).listener(listener).start().await;
    let meant = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 5).into(), broker.address_of(1).port());
    let mut client = Upgrade::to(meant).from(CLIENT).connect().await;
    client.send("m-1").await;
    let at_a = client.text().await == "a:m-1";
    broker.wait_at_rest().await;
    if at_a { &a } else { &b }.kill();
    client.ask("m-2", if at_a { "b:m-2" } else { "a:m-2" }).await;
    for receiver in [&to_a, &to_b] {
        assert_eq!(ends(&receiver.headers()[0]).1, meant);
    }
}

#[tokio::test]
async fn what_nobody_has_seen_is_the_backends_own_address() {
    let backend = Backend::start("a", "").await;
    let receiver = Receiver::start(backend.address()).await;
    let listener = "[[listener]]\naddress = \"0.0.0.0:0\"\npool = \"default\"";
    let setup = telling("off", &[("a", &receiver)]).listener(listener);
    let broker = setup.start().await;
    let address = SocketAddr::new(PROXY.into(), broker.address_of(1).port());
    let mut client = Upgrade::to(address).connect().await;
    client.ask("m-1", "a:m-1").await;
    broker.wait_at_rest().await;
    // It began when nobody was to be told.
    let file = std::fs::read_to_string(broker.file()).expect("the file");
    broker.replace_file(&file.replace("send_proxy = \"off\"", "send_proxy = \"v1\""));
    let reloaded = broker.post("/api/v1/reload").await;
    assert!(reloaded.status < 300, "{}", reloaded.text());
    backend.restart().await;
    client.ask("m-2", "a:m-2").await;
    let told = receiver
        .wait("a client's header", |header| matches!(header, Header::Line(line) if line.contains("TCP4")))
        .await;
    assert_eq!(ends(&told).1, receiver.address());
}

#[tokio::test]
async fn checks_and_agents_are_the_brokers_own() {
    let backend = Backend::start("a", "--page /health:200 --page /agent:200").await;
    for version in ["v1", "v2"] {
        for check in ["type = \"tcp\"", "type = \"http\"\npath = \"/health\"", "type = \"websocket\""] {
            let receiver = Receiver::start(backend.address()).await;
            let table = format!("[pool.health]\ninterval = \"20ms\"\njitter = \"0s\"\n{check}");
            let broker =
                Broker::over(&[]).pool_setting(&format!("send_proxy = \"{version}\"")).pool_table(&table);
            let broker = broker.pool_table(&receiver.table("a")).start().await;
            broker.wait_backend("a", "checked", |own| own["health"] == "up").await;
            receiver.wait("a check", |_| true).await;
            assert!(receiver.headers().iter().all(is_own), "{version} {check}: {:?}", receiver.headers());
        }
        let receiver = Receiver::start(backend.address()).await;
        let broker = Broker::over(&[]).pool_setting(&format!("send_proxy = \"{version}\""));
        let broker = broker.pool_table("[pool.agent]\ninterval = \"20ms\"").pool_table(&receiver.table("a"));
        let _broker = broker.start().await;
        assert!(is_own(&receiver.wait("a question to the agent", |_| true).await), "{version}");
    }
}

/// Behind a port of its own something else listens, which knows nothing of the pool's backends' manners.
#[tokio::test]
async fn a_check_of_another_port_is_as_it_was() {
    let backend = Backend::start("a", "--page /health:200").await;
    let (receiver, other) =
        (Receiver::start(backend.address()).await, Receiver::start(backend.address()).await);
    let port = other.address().port();
    let table =
        format!("[pool.health]\ninterval = \"20ms\"\ntype = \"http\"\npath = \"/health\"\nport = {port}");
    let broker = Broker::over(&[]).pool_setting("send_proxy = \"v2\"").pool_table(&table);
    let broker = broker.pool_table(&receiver.table("a")).start().await;
    broker.wait_backend("a", "checked", |own| own["health"] == "up").await;
    assert_eq!(other.wait("a check", |_| true).await, Header::None);
}
