//! DDP over SockJS by every transport that its client has in Node.js, on one server and on two.

use std::collections::BTreeSet;

use bytes::BytesMut;
use futures::future::join;
use steadfast_tests::installed_proxy::Program;
use steadfast_tests::wait::bounded;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::documents::{example, setups};
use crate::fleet::Fleet;
use crate::front::{Front, misses};
use crate::peers::relay::Relay;
use crate::peers::server::Server;
use crate::peers::tools::{Tool, left_out};

const TRANSPORTS: [&str; 4] = ["websocket", "xhr-streaming", "eventsource", "xhr-polling"];

/// More than a stream or a poll of SockJS carries: 128 KiB.
const LARGE: usize = 200_000;

/// What the broker says to a WebSocket. SockJS's library for them in Node.js knows no 1012 and makes a 1002 of it.
const CLOSED: (u16, &str) = (1002, "the backend failed; connect again");

/// More than are ever needed until there is one on either of two servers.
const TRIES: usize = 64;

/// A client, its transport, and the port of its server.
#[derive(Debug, Clone)]
struct Member {
    name: String,
    transport: &'static str,
    port: u16,
}

/// Connects one, which hears one server, whatever it asks.
async fn add(fleet: &mut Fleet, front: &Front, transport: &'static str, n: usize) -> Member {
    let name = format!("{transport}-{n}");
    fleet.tell(&format!("connect {name} http://{} {transport}", front.address()));
    let mut member = Member { name, transport, port: 0 };
    member.port = joins(fleet, &member).await;
    fleet.tell(&format!("echo {} {LARGE}", member.name));
    let echo = fleet.until(&member.name, "echo").await;
    assert!(echo["length"] == LARGE && echo["intact"] == true, "{echo}");
    stays(fleet, &member).await;
    member
}

/// Waits until it is connected by its transport, and returns the port of its server.
async fn joins(fleet: &mut Fleet, member: &Member) -> u16 {
    assert_eq!(fleet.until(&member.name, "connect").await["transport"], member.transport);
    fleet.who(&member.name).await
}

/// It is where it was, and has never been elsewhere.
async fn stays(fleet: &mut Fleet, member: &Member) {
    for _ in 0..2 {
        assert_eq!(fleet.who(&member.name).await, member.port, "{member:?}");
    }
    assert_eq!(fleet.count(&member.name, "disconnect"), 0, "{member:?}");
}

/// A server is killed, and its clients begin anew at the other one.
async fn move_over(fleet: &mut Fleet, front: &Front, servers: &mut [Server], members: Vec<Member>) {
    let lost = servers[0].address().port();
    servers[0].kill();
    for member in members {
        if member.port != lost {
            stays(fleet, &member).await;
            continue;
        }
        let closed = fleet.until(&member.name, "disconnect").await;
        if member.transport == "websocket" {
            let (code, reason) = if front.is_steadfast() { CLOSED } else { (1006, "") };
            assert_eq!((&closed["code"], &closed["reason"]), (&code.into(), &reason.into()), "{closed}");
        }
        assert_eq!(joins(fleet, &member).await, servers[1].address().port(), "{member:?}");
    }
}

async fn two() -> [Server; 2] {
    join(Server::start(Tool::SockJs), Server::start(Tool::SockJs)).await.into()
}

#[tokio::test]
async fn every_transport_on_one_server() {
    if left_out("every_transport_on_one_server", &[Tool::SockJs]) {
        return;
    }
    let server = Server::start(Tool::SockJs).await;
    let front = Front::Steadfast(Relay::start(&[server.url()], &[]).await);
    let mut fleet = Fleet::start(Tool::SockJs);
    for transport in TRANSPORTS {
        add(&mut fleet, &front, transport, 0).await;
    }
}

/// Sends a request to a session.
async fn send(front: &Front, session: &str, rest: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(front.address()).await.expect("it listens");
    let (method, length) = (if body.is_empty() { "GET" } else { "POST" }, body.len());
    let request = format!(
        "{method} /sockjs/000/{session}/{rest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.expect("it takes a request");
    stream
}

/// Waits until this has come.
async fn comes(stream: &mut TcpStream, what: &str) {
    let mut buffer = BytesMut::new();
    bounded(what, async {
        while !String::from_utf8_lossy(&buffer).contains(what) {
            assert_ne!(stream.read_buf(&mut buffer).await.expect("a stream"), 0, "{what} is missing");
        }
    })
    .await;
}

/// The two transports that only browsers have: an endless page with scripts, and scripts.
#[tokio::test]
async fn transports_of_browsers_by_hand() {
    if left_out("transports_of_browsers_by_hand", &[Tool::SockJs]) {
        return;
    }
    let servers = two().await;
    let [a, b] = servers.each_ref().map(|server| server.address().to_string());
    let front = Front::steadfast(&example("meteor"), &[("127.0.0.1:9001", a), ("127.0.0.1:9002", b)]).await;
    let ask = r#"["{\"msg\":\"method\",\"id\":\"1\",\"method\":\"echo\",\"params\":[\"x\"]}"]"#;
    for n in 0..4 {
        let (page, scripts) = (format!("page-{n}-00000"), format!("script-{n}-000"));
        let mut stream = send(&front, &page, "htmlfile?c=call", "").await;
        comes(&mut stream, "p(\"o\")").await;
        comes(&mut send(&front, &page, "xhr_send", ask).await, "204").await;
        comes(&mut stream, "result").await;

        comes(&mut send(&front, &scripts, "jsonp?c=call", "").await, "call(\"o\")").await;
        comes(&mut send(&front, &scripts, "jsonp_send", ask).await, "ok").await;
        comes(&mut send(&front, &scripts, "jsonp?c=call", "").await, "result").await;
    }
}

#[tokio::test]
async fn the_example_on_two_servers() {
    if left_out("the_example_on_two_servers", &[Tool::SockJs]) {
        return;
    }
    let mut servers = two().await;
    let [a, b] = servers.each_ref().map(|server| server.address().to_string());
    let front = Front::steadfast(&example("meteor"), &[("127.0.0.1:9001", a), ("127.0.0.1:9002", b)]).await;
    let (mut fleet, mut members) = (Fleet::start(Tool::SockJs), Vec::new());
    for transport in TRANSPORTS {
        // Chance gives each its session.
        let mut ports = BTreeSet::new();
        for n in 0..TRIES {
            members.push(add(&mut fleet, &front, transport, n).await);
            ports.extend(members.last().map(|member| member.port));
            if ports.len() == 2 {
                break;
            }
        }
        assert_eq!(ports.len(), 2, "{transport}: some on each");
    }
    move_over(&mut fleet, &front, &mut servers, members).await;
}

/// The page's files: nginx has all clients of this machine on one server.
#[tokio::test]
async fn nginx_on_two_servers() {
    if left_out("nginx_on_two_servers", &[Tool::SockJs]) || misses("nginx_on_two_servers", Program::Nginx) {
        return;
    }
    let mut servers = two().await;
    let [a, b] = servers.each_ref().map(|server| server.address().to_string());
    let [theirs, _] = setups("Meteor behind nginx");
    let front = Front::nginx(&theirs, &[("10.0.0.1:3000", a), ("10.0.0.2:3000", b)]).await;
    let (mut fleet, mut members) = (Fleet::start(Tool::SockJs), Vec::new());
    for transport in TRANSPORTS {
        members.push(add(&mut fleet, &front, transport, 0).await);
    }
    if members[0].port != servers[0].address().port() {
        servers.reverse();
    }
    move_over(&mut fleet, &front, &mut servers, members).await;
}

/// The control: servers that take turns do not know each other's sessions.
#[tokio::test]
async fn without_the_hash_only_sockets_work() {
    if left_out("without_the_hash_only_sockets_work", &[Tool::SockJs]) {
        return;
    }
    let servers = two().await;
    let [a, b] = servers.each_ref().map(|server| server.address().to_string());
    let [_, ours] = setups("Meteor behind nginx");
    let ours = ours.replace("hash_key = \"path:3\"\n", "");
    let turns = ("\"hash\"", "\"round_robin\"".to_owned());
    let front = Front::steadfast(&ours, &[("10.0.0.1:3000", a), ("10.0.0.2:3000", b), turns]).await;
    let mut fleet = Fleet::start(Tool::SockJs);
    add(&mut fleet, &front, "websocket", 0).await;
    for transport in &TRANSPORTS[1..] {
        fleet.tell(&format!("connect {transport} http://{} {transport}", front.address()));
        let first = fleet.event(transport).await;
        assert_eq!(first["event"], "disconnect", "{first}");
        fleet.tell(&format!("close {transport}"));
    }
}
