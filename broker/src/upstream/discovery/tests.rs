//! Look-ups at a DNS server of its own: dnsmasq, and a few that only fail.

mod dnsmasq;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::resolver::Resolver;
use super::*;
use crate::config::settings::{Dns, Query};
use dnsmasq::Dnsmasq;

/// So long that only a test that has failed waits for it.
const LONG: Duration = Duration::from_secs(30);

fn dns(server: SocketAddr) -> Dns {
    Dns {
        servers: vec![server],
        timeout: LONG,
        ttl_min: Duration::from_secs(1),
        ttl_max: Duration::from_secs(300),
        hold: LONG,
    }
}

fn resolver(server: SocketAddr) -> Resolver {
    Resolver::new(&dns(server)).expect("own servers need no file")
}

/// For servers that never answer.
fn impatient(server: SocketAddr) -> Resolver {
    let dns = Dns { timeout: Duration::from_millis(300), ..dns(server) };
    Resolver::new(&dns).expect("own servers need no file")
}

fn host(name: &str) -> Query {
    Query::Address { host: name.to_owned(), port: 9001 }
}

fn service(name: &str) -> Query {
    Query::Srv { name: name.to_owned() }
}

fn names(answer: &NameAnswer) -> Vec<&str> {
    answer.found.iter().map(|found| found.name.as_str()).collect()
}

async fn found(resolver: &Resolver, query: &Query) -> NameAnswer {
    resolver.look_up(query).await.expect("the server knows it")
}

/// Asks until the answer is as `wanted`.
async fn becomes(
    resolver: &Resolver,
    query: &Query,
    wanted: impl Fn(&Result<NameAnswer, LookupError>) -> bool,
) {
    let changed = async {
        loop {
            if wanted(&resolver.look_up(query).await) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    };
    tokio::time::timeout(LONG, changed).await.expect("the answer never changed");
}

/// A server that gives each query back as its answer, with `code` (RFC 1035, 4.1.1) and no records.
async fn answering_with(code: u8) -> (SocketAddr, JoinHandle<()>) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    let task = tokio::spawn(async move {
        let mut message = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut message).await {
            message[2] |= 0x80;
            message[3] = code;
            // Whoever asked may be gone.
            let _ = socket.send_to(&message[..length], peer).await;
        }
    });
    (address, task)
}

#[tokio::test]
async fn both_kinds_of_addresses_are_found() {
    let server = Dnsmasq::start(&["--host-record=chat.test,10.0.0.2,2001:db8::2", "--local-ttl=40"]).await;
    server.write_hosts("10.0.0.1 chat.test\n");
    let resolver = resolver(server.address());
    let query = host("chat.test");
    becomes(&resolver, &query, |answer| answer.as_ref().is_ok_and(|answer| answer.found.len() == 3)).await;
    let answer = found(&resolver, &query).await;
    let wanted = ["chat.test/10.0.0.1:9001", "chat.test/10.0.0.2:9001", "chat.test/[2001:db8::2]:9001"];
    assert_eq!(names(&answer), wanted);
    assert_eq!(answer.ttl, Duration::from_secs(40));
    assert_eq!(answer.found[0].address, "10.0.0.1:9001".parse().expect("an address"));
    assert!(answer.found.iter().all(|found| found.weight.is_none() && !found.backup));
    assert_eq!(answer.left_out, 0);
}

#[tokio::test]
async fn one_kind_of_address_is_enough() {
    let server =
        Dnsmasq::start(&["--host-record=old.test,10.0.0.1", "--host-record=new.test,2001:db8::1"]).await;
    let resolver = resolver(server.address());
    assert_eq!(names(&found(&resolver, &host("old.test")).await), ["old.test/10.0.0.1:9001"]);
    assert_eq!(names(&found(&resolver, &host("new.test.")).await), ["new.test/[2001:db8::1]:9001"]);
}

#[tokio::test]
async fn an_alias_is_followed_and_the_shortest_ttl_counts() {
    let server =
        Dnsmasq::start(&["--host-record=chat.test,10.0.0.1,600", "--cname=alias.test,chat.test,7"]).await;
    let answer = found(&resolver(server.address()), &host("alias.test")).await;
    assert_eq!(names(&answer), ["alias.test/10.0.0.1:9001"]);
    assert_eq!(answer.ttl, Duration::from_secs(7));
}

#[tokio::test]
async fn each_look_up_asks_anew() {
    let server = Dnsmasq::start(&["--local-ttl=3600"]).await;
    let resolver = resolver(server.address());
    let query = host("chat.test");
    for (hosts, wanted) in [
        ("10.0.0.1 chat.test\n", vec!["chat.test/10.0.0.1:9001"]),
        (
            "10.0.0.1 chat.test\n10.0.0.2 chat.test\n",
            vec!["chat.test/10.0.0.1:9001", "chat.test/10.0.0.2:9001"],
        ),
        ("10.0.0.2 chat.test\n", vec!["chat.test/10.0.0.2:9001"]),
    ] {
        server.write_hosts(hosts);
        becomes(&resolver, &query, |answer| answer.as_ref().is_ok_and(|answer| names(answer) == wanted))
            .await;
    }
    server.write_hosts("");
    let vanished = Err(LookupError::Vanished("chat.test does not exist".to_owned()));
    becomes(&resolver, &query, |answer| *answer == vanished).await;
}

#[tokio::test]
async fn an_answer_that_is_too_large_for_udp_comes_over_tcp() {
    let server = Dnsmasq::start(&[]).await;
    let addresses: Vec<IpAddr> =
        (0..400).map(|n| Ipv4Addr::new(10, 1, (n / 200) as u8, (n % 200) as u8).into()).collect();
    server.write_hosts(&addresses.iter().map(|ip| format!("{ip} chat.test\n")).collect::<String>());
    let resolver = resolver(server.address());
    let query = host("chat.test");
    becomes(&resolver, &query, Result::is_ok).await;
    let answer = found(&resolver, &query).await;
    let seen: BTreeSet<IpAddr> = answer.found.iter().map(|found| found.address.ip()).collect();
    assert_eq!(seen, addresses.into_iter().collect());
}

#[tokio::test]
async fn a_name_without_addresses_has_vanished() {
    let server = Dnsmasq::start(&["--txt-record=chat.test,only text"]).await;
    let resolver = resolver(server.address());
    let error = |text: &str| Err(LookupError::Vanished(text.to_owned()));
    assert_eq!(resolver.look_up(&host("chat.test")).await, error("chat.test has no A records"));
    assert_eq!(resolver.look_up(&service("chat.test")).await, error("chat.test has no SRV records"));
    assert_eq!(resolver.look_up(&host("other.test")).await, error("other.test does not exist"));
}

#[tokio::test]
async fn services_bring_ports_weights_and_backups() {
    let server = Dnsmasq::start(&[
        "--host-record=a.test,10.0.0.1,2001:db8::1",
        "--host-record=b.test,10.0.0.2",
        "--host-record=c.test,10.0.0.3",
        "--srv-host=_ws._tcp.test,A.test,9001,10,30",
        "--srv-host=_ws._tcp.test,b.test,9002,10,0",
        "--srv-host=_ws._tcp.test,c.test,9003,20,5",
        "--srv-host=_ws._tcp.test,gone.test,9004,10,60",
    ])
    .await;
    let answer = found(&resolver(server.address()), &service("_ws._tcp.test")).await;
    let seen: Vec<_> =
        answer.found.iter().map(|found| (found.name.as_str(), found.weight, found.backup)).collect();
    let wanted = [
        ("a.test/10.0.0.1:9001", Some(128), false),
        ("b.test/10.0.0.2:9002", Some(1), false),
        ("a.test/[2001:db8::1]:9001", Some(128), false),
        ("c.test/10.0.0.3:9003", Some(5), true),
    ];
    assert_eq!(seen, wanted);
}

#[tokio::test]
async fn targets_without_an_address_are_no_service() {
    let server = Dnsmasq::start(&["--srv-host=_ws._tcp.test,gone.test,9001"]).await;
    let result = resolver(server.address()).look_up(&service("_ws._tcp.test")).await;
    assert_eq!(result, Err(LookupError::Vanished("no target of _ws._tcp.test has an address".to_owned())));
}

#[tokio::test]
async fn the_root_as_a_target_says_that_there_is_no_service() {
    let server = Dnsmasq::start(&["--srv-host=_ws._tcp.test"]).await;
    let result = resolver(server.address()).look_up(&service("_ws._tcp.test")).await;
    let why = "_ws._tcp.test says that there is no such service";
    assert_eq!(result, Err(LookupError::Vanished(why.to_owned())));
}

#[tokio::test]
async fn a_target_that_cannot_be_looked_up_fails_the_whole() {
    // dnsmasq refuses names outside of test., for it has nobody to ask.
    let server = Dnsmasq::start(&[
        "--host-record=a.test,10.0.0.1",
        "--srv-host=_ws._tcp.test,a.test,9001",
        "--srv-host=_ws._tcp.test,b.elsewhere,9001",
    ])
    .await;
    let result = resolver(server.address()).look_up(&service("_ws._tcp.test")).await;
    let why = "the DNS server answered Query Refused to b.elsewhere";
    assert_eq!(result, Err(LookupError::Failed(why.to_owned())));
}

#[tokio::test]
async fn a_server_that_is_gone_fails_and_is_found_again() {
    let mut server = Dnsmasq::start(&["--host-record=chat.test,10.0.0.1"]).await;
    let resolver = impatient(server.address());
    let query = host("chat.test");
    becomes(&resolver, &query, Result::is_ok).await;
    server.stop();
    assert!(matches!(resolver.look_up(&query).await, Err(LookupError::Failed(_))));
    server.start_again().await;
    becomes(&resolver, &query, Result::is_ok).await;
}

#[tokio::test]
async fn what_servers_answer_in_trouble_is_a_failure() {
    for (code, name) in [(2, "Server Failure"), (4, "Not Implemented"), (5, "Query Refused")] {
        let (address, task) = answering_with(code).await;
        let result = resolver(address).look_up(&host("chat.test")).await;
        let why = format!("the DNS server answered {name} to chat.test");
        assert_eq!(result, Err(LookupError::Failed(why)));
        task.abort();
    }
}

#[tokio::test]
async fn a_silent_server_is_a_failure() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = silent.local_addr().expect("it is bound");
    assert!(matches!(impatient(address).look_up(&host("chat.test")).await, Err(LookupError::Failed(_))));
}

#[tokio::test]
async fn a_look_up_may_run_in_a_task() {
    let (address, task) = answering_with(5).await;
    let resolver = resolver(address);
    let asked = tokio::spawn(async move { resolver.look_up(&service("_ws._tcp.test")).await });
    assert!(matches!(asked.await.expect("no panic"), Err(LookupError::Failed(_))));
    task.abort();
}

#[tokio::test]
async fn no_name_at_all_is_a_failure() {
    let resolver = resolver("127.0.0.1:1".parse().expect("an address"));
    let result = resolver.look_up(&host("a..b")).await;
    let Err(LookupError::Failed(why)) = result else { panic!("expected a failure, got {result:?}") };
    assert!(why.starts_with(r#""a..b" is no name: "#), "{why}");
}

#[test]
fn an_address_counts_once_and_as_a_primary() {
    let one = |host, ip: [u8; 4], backup| FoundBackend { backup, ..FoundBackend::new(host, (ip, 80).into()) };
    let answer = NameAnswer::new(
        vec![
            one("b", [10, 0, 0, 1], true),
            one("a", [10, 0, 0, 9], true),
            one("c", [10, 0, 0, 1], false),
            one("d", [10, 0, 0, 3], false),
        ],
        LONG,
    );
    assert_eq!(names(&answer), ["c/10.0.0.1:80", "d/10.0.0.3:80", "a/10.0.0.9:80"]);
}

#[test]
fn what_is_too_much_is_counted() {
    let all = (1..=1030).map(|port| FoundBackend::new("a", ([127, 0, 0, 1], port).into()));
    let answer = NameAnswer::new(all.rev().collect(), LONG);
    assert_eq!((answer.found.len(), answer.left_out), (1024, 6));
    assert_eq!(answer.found[0].address.port(), 1);
}
