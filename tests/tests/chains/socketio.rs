//! Socket.IO by every transport, on one server and on three that Redis joins.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;

use futures::future::join_all;
use steadfast_tests::installed_proxy::Program;
use steadfast_tests::pki::shown;
use steadfast_tests::wait::eventually;

use crate::documents::{example, setups};
use crate::fleet::{Fleet, port};
use crate::front::{Front, misses};
use crate::peers::relay::Relay;
use crate::peers::server::Server;
use crate::peers::tools::{Tool, left_out};
use crate::redis::Redis;

const BY_ADDRESS: &str = "Socket.IO behind a balancer and HAProxies";
const BY_COOKIE: &str = "Socket.IO behind HAProxy with a cookie";

/// What a client may use: with its defaults, where there are no WebSockets, and with nothing else.
const WAYS: [&str; 3] = ["polling,websocket", "polling", "websocket"];

/// Where clients are.
const HOMES: [u8; 4] = [11, 12, 13, 14];

/// Of text, and of bytes. Both together are less than a server of Socket.IO takes in one request, a megabyte.
const LARGE: usize = 320_000;

/// With what Steadfast closes those that are to reconnect.
const BY_STEADFAST: u16 = 1012;

/// What leads clients back to their server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Address,
    /// What each of them was given: a cookie, or a session.
    Token,
}

/// A client of a fleet.
#[derive(Debug, Clone)]
struct Member {
    name: String,
    way: &'static str,
    home: u8,
    /// The port of its server.
    port: u16,
}

impl Member {
    /// Whether it has a WebSocket in the end.
    fn has_socket(&self) -> bool {
        self.way.ends_with("websocket")
    }

    /// Whether the broker keeps it when its server is left: it has never polled, so that its login can be said again.
    fn is_kept(&self) -> bool {
        self.way == "websocket"
    }

    /// Waits until it is connected by its transport, and returns the port of the server that it hears.
    async fn joins(&self, fleet: &mut Fleet) -> u16 {
        fleet.until(&self.name, "connect").await;
        if self.way.contains(',') {
            // It may have come before.
            let begun = fleet.count(&self.name, "connect");
            let upgraded = || fleet.count(&self.name, "upgrade") == begun;
            eventually(&format!("{} to go over to a WebSocket", self.name), upgraded).await;
        }
        fleet.tell(&format!("who {}", self.name));
        let answer = fleet.until(&self.name, "who").await;
        let last = self.way.rsplit(',').next().expect("a transport");
        assert_eq!(answer["transport"], last, "{self:?}");
        port(&answer)
    }
}

/// A client for each way at each of these homes, all of which are connected.
async fn gather(fleet: &mut Fleet, front: SocketAddr, homes: &[u8]) -> Vec<Member> {
    let ways =
        |home: &u8| WAYS.map(|way| Member { name: format!("{way}-{home}"), way, home: *home, port: 0 });
    let mut members: Vec<Member> = homes.iter().flat_map(ways).collect();
    for Member { name, way, home, .. } in &members {
        fleet.tell(&format!("connect {name} http://{front} {way} 127.0.0.{home}"));
    }
    for member in &mut members {
        member.port = member.joins(fleet).await;
    }
    members
}

/// What one of them says is heard by all.
async fn all_hear(fleet: &mut Fleet, members: &[Member], text: &str) {
    fleet.tell(&format!("say {} {text}", members[0].name));
    for Member { name, .. } in members {
        let said = fleet.until(name, "said").await;
        assert_eq!((said["text"].as_str(), port(&said)), (Some(text), members[0].port), "{name}");
    }
}

/// They are where they were, and have never been elsewhere.
async fn are_undisturbed(fleet: &mut Fleet, members: &[Member], breaks: usize) {
    for member in members {
        assert_eq!(fleet.who(&member.name).await, member.port, "{member:?}");
        assert_eq!(fleet.count(&member.name, "disconnect"), breaks, "{member:?}");
    }
}

/// Twelve clients on three servers, one of which is killed and comes back. Those that have a WebSocket there are closed with
/// this code, but for those that Steadfast keeps: they only hear that they are connected once more.
async fn sail(address: SocketAddr, servers: &mut [Server], by: By, closes_with: u16) {
    let mut fleet = Fleet::start(Tool::SocketIo);
    let members = gather(&mut fleet, address, &HOMES).await;
    if by == By::Address {
        let places: BTreeSet<_> = members.iter().map(|member| (member.home, member.port)).collect();
        assert_eq!(places.len(), HOMES.len(), "all from one address are on one server: {members:?}");
    }
    // One that polls.
    let lost = members[1].port;
    assert!(members.iter().any(|member| member.port != lost), "not all on one: {members:?}");
    all_hear(&mut fleet, &members, "first").await;

    let server = servers.iter_mut().find(|server| server.address().port() == lost).expect("a server");
    server.kill();
    let (mut moved, stayed): (Vec<_>, Vec<_>) = members.into_iter().partition(|member| member.port == lost);
    let keeps = |member: &Member| closes_with == BY_STEADFAST && member.is_kept();
    for member in &mut moved {
        if !keeps(member) {
            let closed = fleet.until(&member.name, "disconnect").await;
            assert!(!member.has_socket() || closed["code"] == closes_with, "{closed}");
        }
        member.port = member.joins(&mut fleet).await;
        assert_ne!(member.port, lost, "{member:?}");
    }
    are_undisturbed(&mut fleet, &stayed, 0).await;
    let all = [moved.clone(), stayed.clone()].concat();
    all_hear(&mut fleet, &all, "second").await;

    server.restart().await;
    let (sockets, polls): (Vec<_>, Vec<_>) = moved.into_iter().partition(Member::has_socket);
    match by {
        By::Address => {
            for member in &polls {
                comes_back(&mut fleet, member, lost).await;
            }
        }
        By::Token => {
            // In use again.
            let new = Member { name: "new".to_owned(), way: WAYS[2], home: HOMES[0], port: 0 };
            loop {
                fleet.tell(&format!("connect new http://{address} websocket"));
                if new.joins(&mut fleet).await == lost {
                    break;
                }
                fleet.tell("close new");
            }
            are_undisturbed(&mut fleet, &polls, 1).await;
        }
    }
    let (kept, sockets): (Vec<_>, Vec<_>) = sockets.into_iter().partition(keeps);
    are_undisturbed(&mut fleet, &sockets, 1).await;
    are_undisturbed(&mut fleet, &kept, 0).await;
    are_undisturbed(&mut fleet, &stayed, 0).await;
}

/// Who polls is led to the server that was lost as soon as that is used again, and begins anew there.
async fn comes_back(fleet: &mut Fleet, member: &Member, lost: u16) {
    loop {
        fleet.tell(&format!("who {}", member.name));
        let next = fleet.event(&member.name).await;
        if next["event"] == "disconnect" {
            break;
        }
    }
    assert_eq!(member.joins(fleet).await, lost, "{member:?}");
}

/// Three servers that Redis joins.
async fn three(redis: &Redis) -> Vec<Server> {
    join_all([(); 3].map(|()| Server::joined(redis.file()))).await
}

/// Where servers of a document's are in truth.
fn places<'a>(named: &[&'a str], servers: &[Server]) -> Vec<(&'a str, String)> {
    let real = servers.iter().map(|server| server.address().to_string());
    named.iter().copied().zip(real).collect()
}

#[tokio::test]
async fn every_transport_on_one_server() {
    if left_out("every_transport_on_one_server", &[Tool::SocketIo]) {
        return;
    }
    let server = Server::start(Tool::SocketIo).await;
    let relay = Relay::start(&[server.url()], &[]).await;
    let mut fleet = Fleet::start(Tool::SocketIo);
    let members = gather(&mut fleet, relay.address, &HOMES[..1]).await;
    all_hear(&mut fleet, &members, "to all").await;
    for Member { name, .. } in &members {
        fleet.tell(&format!("echo {name} {LARGE}"));
        let echo = fleet.until(name, "echo").await;
        assert!(echo["length"] == LARGE && echo["intact"] == true, "{echo}");
    }
    are_undisturbed(&mut fleet, &members, 0).await;
}

#[tokio::test]
async fn the_example_on_three_servers() {
    if left_out("the_example_on_three_servers", &[Tool::SocketIo, Tool::Redis]) {
        return;
    }
    let redis = Redis::start().await;
    let mut servers = three(&redis).await;
    let mut places = places(&["127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"], &servers);
    places.push(("rise = 3", "interval = \"200ms\"".to_owned()));
    let front = Front::steadfast(&example("socketio"), &places).await;
    sail(front.address(), &mut servers, By::Address, BY_STEADFAST).await;
}

#[tokio::test]
async fn a_drained_server_is_left_by_all() {
    if left_out("a_drained_server_is_left_by_all", &[Tool::SocketIo, Tool::Redis]) {
        return;
    }
    let redis = Redis::start().await;
    let servers = three(&redis).await;
    let places = places(&["127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"], &servers);
    let example = example("socketio") + "\n[drain]\nquiet = \"50ms\"\nrequests = \"100ms\"\n";
    let front = Front::steadfast(&example, &places).await;
    let Front::Steadfast(relay) = &front else { unreachable!("it is Steadfast") };
    let mut fleet = Fleet::start(Tool::SocketIo);
    let mut members = gather(&mut fleet, relay.address, &HOMES).await;
    let left = members[0].port;
    relay.drain(SocketAddr::from(([127, 0, 0, 1], left))).await;
    for member in &mut members {
        if member.port == left {
            if !member.is_kept() {
                let closed = fleet.until(&member.name, "disconnect").await;
                assert!(!member.has_socket() || closed["code"] == BY_STEADFAST, "{closed}");
            }
            member.port = member.joins(&mut fleet).await;
            assert_ne!(member.port, left, "{member:?}");
        } else {
            are_undisturbed(&mut fleet, std::slice::from_ref(member), 0).await;
        }
    }
    all_hear(&mut fleet, &members, "after the drain").await;
}

/// A balancer in front of two brokers, or of two HAProxies, by what the page for migrating shows of them.
async fn behind_a_balancer(test: &str, by: By, is_steadfast: bool) {
    if left_out(test, &[Tool::SocketIo, Tool::Redis]) || misses(test, Program::HaProxy) {
        return;
    }
    let redis = Redis::start().await;
    let mut servers = three(&redis).await;
    let secrets = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&secrets, "c3RlYWRmYXN0LXN0ZWFkZmFzdC1zdGVhZGZhc3QtMDE=\n").expect("a secret");
    let [theirs, ours] = setups(if by == By::Address { BY_ADDRESS } else { BY_COOKIE });
    let mut places = places(&["10.0.1.1:9001", "10.0.1.2:9001", "10.0.1.3:9001"], &servers);
    let mut fronts = Vec::new();
    if is_steadfast {
        places.push(match by {
            By::Address => ("10.0.0.0/16", "127.0.0.1".to_owned()),
            By::Token => ("/etc/steadfast/sticky.secrets", shown(secrets.path()).to_owned()),
        });
        places.push(("type = \"http\"", "type = \"http\"\ninterval = \"200ms\"".to_owned()));
        for _ in 0..2 {
            fronts.push(Front::steadfast(&ours, &places).await);
        }
    } else {
        places.push(("inter 2s", "inter 200ms".to_owned()));
        for _ in 0..2 {
            fronts.push(Front::haproxy(&theirs, &places).await);
        }
    }
    let says = if by == By::Address { "send-proxy" } else { "" };
    let balancer = Front::balancer(&fronts, says).await;
    sail(balancer.address(), &mut servers, by, if is_steadfast { BY_STEADFAST } else { 1006 }).await;
}

#[tokio::test]
async fn a_balancer_before_two_brokers() {
    behind_a_balancer("a_balancer_before_two_brokers", By::Address, true).await;
}

#[tokio::test]
async fn a_balancer_before_two_haproxies() {
    behind_a_balancer("a_balancer_before_two_haproxies", By::Address, false).await;
}

#[tokio::test]
async fn a_cookie_of_two_brokers() {
    behind_a_balancer("a_cookie_of_two_brokers", By::Token, true).await;
}

#[tokio::test]
async fn a_cookie_of_two_haproxies() {
    behind_a_balancer("a_cookie_of_two_haproxies", By::Token, false).await;
}

#[tokio::test]
async fn clients_without_cookies_by_their_sessions() {
    if left_out("clients_without_cookies_by_their_sessions", &[Tool::SocketIo, Tool::Redis]) {
        return;
    }
    let redis = Redis::start().await;
    let mut servers = three(&redis).await;
    let [_, ours] = setups(BY_COOKIE);
    let ours = ours.replace("secret_file = \"/etc/steadfast/sticky.secrets\"\n", "");
    let mut places = places(&["10.0.1.1:9001", "10.0.1.2:9001", "10.0.1.3:9001"], &servers);
    places.push(("cookie = \"SERVERID\"", "mode = \"learn\"\nlearn = \"engine.io\"".to_owned()));
    let front = Front::steadfast(&ours, &places).await;
    sail(front.address(), &mut servers, By::Token, BY_STEADFAST).await;
}

/// What was begun by polls goes over to a WebSocket at the same server; what was not has a pool of its own.
#[tokio::test]
async fn the_example_by_transports() {
    if left_out("the_example_by_transports", &[Tool::SocketIo]) {
        return;
    }
    let servers = [Server::start(Tool::SocketIo).await, Server::start(Tool::SocketIo).await];
    // Each stands in both pools.
    let places = places(&["127.0.0.1:9001", "127.0.0.1:9002"], &servers);
    let front = Front::steadfast(&example("socketio-transports"), &places).await;
    let mut fleet = Fleet::start(Tool::SocketIo);
    let members = gather(&mut fleet, front.address(), &HOMES).await;
    are_undisturbed(&mut fleet, &members, 0).await;
    let Front::Steadfast(relay) = &front else { unreachable!("it is Steadfast") };
    let sessions = relay.json("/api/v1/sessions").await;
    let pools = sessions["sessions"].as_array().expect("a list of sessions").iter();
    let mut pools: Vec<_> = pools.map(|session| session["pool"].as_str().expect("a pool")).collect();
    pools.sort_unstable();
    assert_eq!(pools, [["polls"; HOMES.len()], ["sockets"; HOMES.len()]].concat());
}

/// The control: servers that take turns do not know each other's sessions.
async fn without_stickiness(front: Front) {
    let mut fleet = Fleet::start(Tool::SocketIo);
    for way in &WAYS[..2] {
        fleet.tell(&format!("connect {way} http://{} {way}", front.address()));
        let error = fleet.until(way, "error").await;
        assert_eq!(error["status"], 400, "{error}");
        assert!(error["body"].as_str().is_some_and(|body| body.contains("Session ID unknown")), "{error}");
        fleet.tell(&format!("close {way}"));
    }
    for name in ["a", "b"] {
        let member = Member { name: name.to_owned(), way: WAYS[2], home: 0, port: 0 };
        fleet.tell(&format!("connect {name} http://{} websocket", front.address()));
        let own = member.joins(&mut fleet).await;
        are_undisturbed(&mut fleet, &[Member { port: own, ..member }], 0).await;
    }
}

#[tokio::test]
async fn without_stickiness_polls_are_answered_400() {
    let test = "without_stickiness_polls_are_answered_400";
    if left_out(test, &[Tool::SocketIo]) {
        return;
    }
    let servers = [Server::start(Tool::SocketIo).await, Server::start(Tool::SocketIo).await];
    let [_, ours] = setups("Node's cluster with `sticky-session`");
    let mut own = places(&["127.0.0.1:9001", "127.0.0.1:9002"], &servers);
    own.push(("\"source\"", "\"round_robin\"".to_owned()));
    without_stickiness(Front::steadfast(&ours, &own).await).await;
    if misses(test, Program::HaProxy) {
        return;
    }
    let [theirs, _] = setups(BY_ADDRESS);
    let theirs = theirs.replace("    server chat-3 10.0.1.3:9001\n", "").replace(" accept-proxy", "");
    let mut own = places(&["10.0.1.1:9001", "10.0.1.2:9001"], &servers);
    own.push(("balance source", "balance roundrobin".to_owned()));
    without_stickiness(Front::haproxy(&theirs, &own).await).await;
}
