//! Addresses to dial from: each has so many ports toward one backend, and more addresses have more.

use std::net::{IpAddr, Ipv4Addr};

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::network::{add_deaf_address, in_own_network, limit_ports};
use steadfast_tests::process::raise_descriptor_limit;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::{eventually_async, eventually_some};

/// Ports of each address toward one target.
const PORTS: usize = 100;

/// Where clients come from. They have as few ports toward the broker as the broker has toward a backend, so each
/// address has no more than 75 clients, and none is one of the broker's.
fn client_address(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, 1 + (number / 75) as u8)
}

fn request(broker: &Broker, number: usize) -> Upgrade {
    Upgrade::to(broker.address()).from(client_address(number))
}

/// Starts this broker, and limits ports when all have theirs to listen on.
async fn narrow(broker: BrokerBuilder) -> Broker {
    raise_descriptor_limit(2000);
    let broker = broker.start().await;
    limit_ports(20_000..=20_000 + PORTS as u16 - 1);
    broker
}

async fn connect(broker: &Broker, numbers: std::ops::Range<usize>) -> Vec<Client> {
    let mut clients = Vec::new();
    for number in numbers {
        clients.push(request(broker, number).connect().await);
    }
    clients
}

async fn assert_all_served(clients: &mut [Client], backend: &str) {
    for (number, client) in clients.iter_mut().enumerate() {
        client.ask(&format!("m-{number}"), &format!("{backend}:m-{number}")).await;
    }
}

/// How many connections came from 127.0.0.`last`.
fn from(backend: &Backend, last: u8) -> usize {
    let address = IpAddr::from(Ipv4Addr::new(127, 0, 0, last));
    backend.journal().peers().iter().filter(|peer| **peer == address).count()
}

/// The next upgrade finds no port: it is refused, and the log says where and what to do.
async fn assert_no_port_left(broker: &Broker, number: usize) {
    let response = request(broker, number).refused().await;
    assert_eq!(response.status, 503, "{response:?}");
    assert!(response.header("retry-after").is_some());
    let warnings = || broker.records(|record| record["level"] == "WARN" && record["backend"] == "a");
    let line = eventually_some("a warning", || warnings().pop()).await.to_string();
    for part in ["default", "no port is left", "source"] {
        assert!(line.contains(part), "{part:?} is not in {line}");
    }
    assert!(broker.metric("steadfast_limit_hits_total", &[("limit", "local_dial")]).await >= 1.0);
}

#[test]
fn two_addresses_have_twice_the_ports() {
    in_own_network("sources::two_addresses_have_twice_the_ports", async || {
        let backend = Backend::start("a", "").await;
        let broker = Broker::over(&[&backend]).pool_setting("source = [\"127.0.0.2\", \"127.0.0.3\"]");
        let broker = narrow(broker).await;
        let mut clients = connect(&broker, 0..150).await;
        assert_all_served(&mut clients, "a").await;
        assert_eq!((from(&backend, 2), from(&backend, 3)), (75, 75), "in turn");
        clients.extend(connect(&broker, 150..2 * PORTS).await);
        assert_no_port_left(&broker, 2 * PORTS).await;
        assert_all_served(&mut clients, "a").await;
        assert_eq!((from(&backend, 2), from(&backend, 3)), (PORTS, PORTS));
    });
}

#[test]
fn when_the_ports_of_the_only_address_are_used_up_the_sessions_stay() {
    in_own_network("sources::when_the_ports_of_the_only_address_are_used_up_the_sessions_stay", async || {
        let backend = Backend::start("a", "").await;
        let broker = narrow(Broker::over(&[&backend]).pool_setting("source = \"127.0.0.2\"")).await;
        let mut clients = connect(&broker, 0..PORTS).await;
        for number in PORTS..PORTS + 5 {
            assert_no_port_left(&broker, number).await;
        }
        assert_all_served(&mut clients, "a").await;
        assert_eq!((from(&backend, 2), backend.journal().peers().len()), (PORTS, PORTS));
        let state = broker.backend("a").await.expect("listed");
        assert_eq!(
            (&state["failures"], &state["state"]),
            (&0.into(), &"up".into()),
            "it is not the backend's fault"
        );
        clients.remove(0).close(1000, "").await;
        let request = request(&broker, PORTS);
        let mut next = eventually_async("a port is free again", async || request.attempt().await.ok()).await;
        next.ask("hello", "a:hello").await;
    });
}

#[test]
fn ports_are_counted_for_each_backend() {
    in_own_network("sources::ports_are_counted_for_each_backend", async || {
        let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
        let broker = Broker::over(&[&a, &b]).pool_setting("source = \"127.0.0.2\"");
        let broker = narrow(broker.backend_setting("a", "weight = 256")).await;
        let _clients = connect(&broker, 0..PORTS + 20).await;
        assert_eq!(a.journal().connections().len(), PORTS);
        assert_eq!(b.journal().connections().len(), 20, "the next one has ports");
    });
}

/// An address that this machine does not have is like one without ports.
#[test]
fn an_address_of_another_machine_is_passed_over() {
    in_own_network("sources::an_address_of_another_machine_is_passed_over", async || {
        let backend = Backend::start("a", "").await;
        let broker = Broker::over(&[&backend]).pool_setting("source = [\"192.0.2.1\", \"127.0.0.2\"]");
        let broker = broker.start().await;
        let mut clients = connect(&broker, 0..6).await;
        assert_all_served(&mut clients, "a").await;
        assert_eq!(from(&backend, 2), 6);
    });
}

/// As when a router in between knows no way back to it.
#[test]
fn an_address_to_which_nothing_comes_back_is_overtaken() {
    in_own_network("sources::an_address_to_which_nothing_comes_back_is_overtaken", async || {
        let deaf = Ipv4Addr::new(10, 7, 0, 9);
        add_deaf_address(deaf);
        let backend = Backend::start("a", "").await;
        let broker = Broker::over(&[&backend]).pool_setting(&format!("source = [\"{deaf}\", \"127.0.0.2\"]"));
        let broker = broker.pool_table("[pool.health]\ntype = \"tcp\"").start().await;
        let mut clients = connect(&broker, 0..6).await;
        assert_all_served(&mut clients, "a").await;
        broker.wait_backend("a", "its check to pass", |backend| backend["health"] == "up").await;
        let all = backend.journal().peers().len();
        assert_eq!(from(&backend, 2), all);
        assert!(all > 6, "with the check");
        let state = broker.backend("a").await.expect("listed");
        assert_eq!(state["failures"], 0);
    });
}
