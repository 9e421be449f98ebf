//! Pages and sockets of one site by their hosts, with weights, limits and checks for both.

use std::net::SocketAddr;

use bytes::BytesMut;
use futures::future::join_all;
use steadfast_tests::http::read_response;
use steadfast_tests::installed_proxy::Program;
use steadfast_tests::wait::{bounded, eventually_async};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::documents::{example, setups};
use crate::fleet::Fleet;
use crate::front::{Front, misses};
use crate::peers::server::Server;
use crate::peers::tools::{Tool, left_out};

/// Of weights 3 and 1 in turn: twice as much as one round.
const ROUND: usize = 8;

const SERVERS: [&str; 4] = ["127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003", "127.0.0.1:9004"];
const THEIRS: [&str; 4] = ["10.0.0.1:8001", "10.0.0.2:8001", "10.0.1.1:9001", "10.0.1.2:9001"];

/// Which configuration stands in front.
#[derive(Debug, Clone, Copy)]
enum Which {
    Example,
    Page,
    HaProxy,
}

impl Which {
    /// Starts it before two servers of pages and two of sockets, with quick checks and these places replaced.
    async fn start(self, servers: &[Server; 4], more: &[(&str, String)]) -> Front {
        let named = if matches!(self, Self::Example) { SERVERS } else { THEIRS };
        let real = servers.iter().map(|server| server.address().to_string());
        let mut places: Vec<_> = named.into_iter().zip(real).collect();
        places.extend(more.iter().cloned());
        let [theirs, ours] = setups("A host for pages and one for sockets");
        let quick = ("type = \"http\"", "type = \"http\"\ninterval = \"100ms\"".to_owned());
        match self {
            Self::Example => Front::steadfast(&example("pages-and-sockets"), &with(places, quick)).await,
            Self::Page => Front::steadfast(&ours, &with(places, quick)).await,
            Self::HaProxy => {
                Front::haproxy(&theirs, &with(places, ("inter 2s", "inter 100ms".to_owned()))).await
            }
        }
    }

    /// The limits of all four as they are written.
    fn limits(self) -> [&'static str; 4] {
        match self {
            Self::HaProxy => ["maxconn 100", "maxconn 50\n", "maxconn 5000", "maxconn 2500"],
            _ => ["max_sessions = 100", "max_sessions = 50\n", "max_sessions = 5000", "max_sessions = 2500"],
        }
    }
}

fn with<'a>(mut places: Vec<(&'a str, String)>, more: (&'a str, String)) -> Vec<(&'a str, String)> {
    places.push(more);
    places
}

async fn four() -> [Server; 4] {
    let started = join_all([(); 4].map(|()| Server::start(Tool::SocketIo))).await;
    started.try_into().expect("four")
}

/// Asks for a page, and returns the port of the server that has answered.
async fn page(front: SocketAddr, host: &str, path: &str) -> u16 {
    let mut stream = TcpStream::connect(front).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it takes a request");
    let response = bounded("an answer", read_response(&mut stream, &mut BytesMut::new())).await;
    let response = response.expect("an answer");
    assert_eq!(response.status, 200, "{}", response.text());
    response.text().parse().expect("a page is a port")
}

/// How many of a round of pages come from the first of the servers, and of all others from the second.
async fn share(front: SocketAddr, host: &str, servers: &[Server]) -> usize {
    let mut first = 0;
    for _ in 0..ROUND {
        let port = page(front, host, "/").await;
        assert!(servers.iter().any(|server| server.address().port() == port), "a page of {host}");
        first += usize::from(port == servers[0].address().port());
    }
    first
}

/// Connects a socket, and returns the port of its server.
async fn socket(fleet: &mut Fleet, front: &Front, name: &str) -> u16 {
    fleet.tell(&format!("connect {name} http://ws.example.com:{} websocket", front.address().port()));
    fleet.until(name, "connect").await;
    fleet.who(name).await
}

/// Hosts and weights; then one server of each kind is ill for a while.
async fn a_site(which: Which) {
    let mut servers = four().await;
    let front = which.start(&servers, &[]).await;
    let address = front.address();
    // Whatever was asked before is over, so that each is in its turn.
    assert_eq!(share(address, "example.com", &servers[..2]).await, 6);
    assert_eq!(share(address, "WS.example.com:80", &servers[2..]).await, 6);
    let (mut fleet, mut sockets) = (Fleet::start(Tool::SocketIo), Vec::new());
    for n in 0..ROUND {
        let name = format!("socket-{n}");
        sockets.push((socket(&mut fleet, &front, &name).await, name));
    }
    let first = servers[2].address().port();
    assert_eq!(sockets.iter().filter(|(port, _)| *port == first).count(), 6, "{sockets:?}");

    for server in [0, 2] {
        servers[server].tell("health 500");
    }
    let hosts = [("example.com", 0..2), ("ws.example.com", 2..4)];
    for (host, kind) in hosts.clone() {
        eventually_async(&format!("the ill server of {host} gets nothing"), async || {
            (share(address, host, &servers[kind.clone()]).await == 0).then_some(())
        })
        .await;
    }
    let second = servers[3].address().port();
    assert_eq!(socket(&mut fleet, &front, "new").await, second);
    for (port, name) in &sockets {
        if *port == first && front.is_steadfast() {
            // It is told its new id, and has lost nothing.
            fleet.until(name, "connect").await;
            assert_eq!(fleet.who(name).await, second, "{name}");
        } else {
            assert_eq!(fleet.who(name).await, *port, "{name}");
        }
        assert_eq!(fleet.count(name, "disconnect"), 0, "{name}");
    }

    for server in [0, 2] {
        servers[server].tell("health 200");
    }
    for (host, kind) in hosts {
        eventually_async(&format!("the server of {host} has its share again"), async || {
            (share(address, host, &servers[kind.clone()]).await == 6).then_some(())
        })
        .await;
    }
}

/// The most requests that a server has had at once, of six that are asked for together, and sockets beside them.
async fn most_at_once(which: Which, limits: &[(&str, String)]) -> usize {
    let mut servers = four().await;
    let front = which.start(&servers, limits).await;
    let mut asked = JoinSet::new();
    for _ in 0..6 {
        let address = front.address();
        asked.spawn(async move { page(address, "example.com", "/wait").await });
    }
    let mut fleet = Fleet::start(Tool::SocketIo);
    let mut ports = [socket(&mut fleet, &front, "a").await, socket(&mut fleet, &front, "b").await];
    ports.sort_unstable();
    let is_limited = !limits.is_empty();
    if is_limited {
        assert_ne!(ports[0], ports[1], "each takes one");
        fleet.tell(&format!("connect c http://ws.example.com:{} websocket", front.address().port()));
    }
    let mut waited = 0;
    while waited < 6 {
        let count = |servers: &[Server; 4]| servers.iter().map(|own| own.printed("waiting ").len()).sum();
        eventually_async("one more that waits", async || Some(()).filter(|()| count(&servers) > waited))
            .await;
        if !is_limited {
            eventually_async("all to wait", async || Some(()).filter(|()| count(&servers) == 6)).await;
        }
        waited = count(&servers);
        servers.iter_mut().take(2).for_each(|server| server.tell("release"));
    }
    while let Some(answered) = asked.join_next().await {
        answered.expect("a page");
    }
    if is_limited {
        assert_eq!(fleet.count("c", "connect"), 0, "it waits for a place");
        fleet.tell("close a");
        fleet.until("c", "connect").await;
    }
    let most = servers.iter().flat_map(|own| own.printed("waiting "));
    most.filter_map(|n| n.parse().ok()).max().expect("some have waited")
}

async fn a_full_site(which: Which) {
    let one = if matches!(which, Which::HaProxy) { "maxconn 1\n" } else { "max_sessions = 1\n" };
    let limits = which.limits().map(|limit| (limit, one.to_owned()));
    assert_eq!(most_at_once(which, &limits).await, 1);
    // The control.
    assert!(most_at_once(which, &[]).await >= 3);
}

#[tokio::test]
async fn the_example_has_hosts_weights_and_checks() {
    if !left_out("the_example_has_hosts_weights_and_checks", &[Tool::SocketIo]) {
        a_site(Which::Example).await;
    }
}

#[tokio::test]
async fn haproxy_has_hosts_weights_and_checks() {
    let test = "haproxy_has_hosts_weights_and_checks";
    if !left_out(test, &[Tool::SocketIo]) && !misses(test, Program::HaProxy) {
        a_site(Which::HaProxy).await;
    }
}

#[tokio::test]
async fn what_is_more_than_a_server_takes_waits() {
    if !left_out("what_is_more_than_a_server_takes_waits", &[Tool::SocketIo]) {
        a_full_site(Which::Page).await;
    }
}

#[tokio::test]
async fn what_is_more_than_a_server_takes_waits_in_haproxy() {
    let test = "what_is_more_than_a_server_takes_waits_in_haproxy";
    if !left_out(test, &[Tool::SocketIo]) && !misses(test, Program::HaProxy) {
        a_full_site(Which::HaProxy).await;
    }
}
