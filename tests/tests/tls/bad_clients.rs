//! What comes to a port that speaks TLS and is none, or goes wrong in the middle: each is a failed handshake that is counted,
//! and nobody else notices.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use futures::future::join_all;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::http::{HTTP_2, http_2_goodbye, read_response};
use steadfast_tests::process::raise_descriptor_limit;
use steadfast_tests::stream::socket_of;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::{bounded, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::scene::{World, outcome, wait_failed};

/// The header of a record of the handshake with so many bytes.
fn record(length: u16) -> Vec<u8> {
    [&[22, 3, 1][..], &length.to_be_bytes()].concat()
}

/// A fatal alert, as it is said before anything is encrypted: handshake_failure.
const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 40];

async fn raw(broker: &Broker) -> TcpStream {
    let stream = TcpStream::connect(broker.address()).await.expect("the listener accepts");
    stream.set_nodelay(true).expect("TCP_NODELAY");
    stream
}

/// Sends this, and reads what comes until the end.
async fn told(broker: &Broker, bytes: &[u8]) -> Vec<u8> {
    let mut stream = raw(broker).await;
    stream.write_all(bytes).await.expect("it is taken");
    let mut answer = Vec::new();
    // A reset is an end as well.
    let _ = bounded("the end of a connection", stream.read_to_end(&mut answer)).await;
    answer
}

/// Sends this and ends the connection.
async fn said_and_gone(broker: &Broker, bytes: &[u8], by_reset: bool) {
    let mut stream = raw(broker).await;
    stream.write_all(bytes).await.expect("it is taken");
    if by_reset {
        socket_of(&stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    }
}

struct Neighbour {
    world: World,
    broker: Broker,
    old: Client,
    _backend: Backend,
}

impl Neighbour {
    /// A session that has begun before everything.
    async fn start() -> Neighbour {
        let world = World::new();
        let backend = world.backend("a", "").await;
        let broker = world.over(&[&backend]).start().await;
        let mut old = world.upgrade(&broker).connect().await;
        old.ask("before", "a:before").await;
        Neighbour { world, broker, old, _backend: backend }
    }

    /// So many handshakes have failed, and neither who was there nor who comes has noticed.
    async fn unharmed(mut self, failed: usize) {
        wait_failed(&self.broker, failed).await;
        self.old.ask("after", "a:after").await;
        let mut newcomer = self.world.upgrade(&self.broker).connect().await;
        newcomer.ask("new", "a:new").await;
        assert_eq!(outcome(&self.broker, "failed").await, failed as f64);
        assert_eq!(
            self.broker.ends().await + self.broker.metric("steadfast_failovers_total", &[]).await,
            0.0
        );
        let panics = self.broker.log().iter().filter(|line| line.contains("panic")).count();
        assert_eq!(panics, 0);
    }
}

#[tokio::test]
async fn what_is_no_handshake_gets_an_alert() {
    let scene = Neighbour::start().await;
    let hello = scene.world.tls.hello();
    let mut old_version = hello.clone();
    // The record's own version, which is 3.x for every TLS there is.
    old_version[1] = 9;
    let mut cut_inside = hello.clone();
    // A message that says that it is shorter than it is.
    cut_inside[8] = cut_inside[8].wrapping_sub(40);
    let garbage: Vec<u8> = (0..200_u8).map(|n| n.wrapping_mul(151) | 0x80).collect();
    let zeros = [0; 64];
    let oversized = [record(0xffff), vec![1; 20_000]].concat();
    let empty_records = record(0).repeat(5);
    let application_data = [&[23, 3, 3, 0, 4][..], b"data"].concat();
    let cases =
        [&garbage[..], &zeros, &oversized, &empty_records, &application_data, &old_version, &cut_inside];
    for (n, bytes) in cases.into_iter().enumerate() {
        let answer = told(&scene.broker, bytes).await;
        assert!(answer.first().is_none_or(|first| *first == 21), "case {n}: {answer:?} is no alert");
    }
    // SSL 2.0's hello, whose length would be that of a record.
    told(&scene.broker, &[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10]).await;
    scene.unharmed(cases.len() + 1).await;
}

#[tokio::test]
async fn a_connection_that_ends_in_the_handshake_is_a_failed_one() {
    let scene = Neighbour::start().await;
    let hello = scene.world.tls.hello();
    let half = &hello[..hello.len() / 2];
    said_and_gone(&scene.broker, half, false).await;
    said_and_gone(&scene.broker, half, true).await;
    said_and_gone(&scene.broker, &hello[..3], false).await;
    // Behind the broker's own words, whole as they were taken.
    for by_reset in [false, true] {
        let mut stream = raw(&scene.broker).await;
        stream.write_all(&hello).await.expect("it is taken");
        stream.read_exact(&mut [0; 5]).await.expect("its ServerHello");
        if by_reset {
            socket_of(&stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
        }
    }
    // An alert in the middle.
    let mut stream = raw(&scene.broker).await;
    stream.write_all(&hello).await.expect("it is taken");
    stream.read_exact(&mut [0; 5]).await.expect("its ServerHello");
    stream.write_all(&ALERT).await.expect("it is taken");
    let _ = bounded("the end", stream.read_to_end(&mut Vec::new())).await;
    told(&scene.broker, &ALERT).await;
    scene.unharmed(7).await;
}

#[tokio::test]
async fn who_looks_whether_somebody_listens_is_no_error() {
    let scene = Neighbour::start().await;
    for _ in 0..3 {
        drop(raw(&scene.broker).await);
        // And by a whole handshake, as HAProxy with check-ssl.
        let stream = raw(&scene.broker).await;
        let mut stream = scene.world.tls.connect(stream).await.expect("a handshake");
        stream.shutdown().await.expect("close_notify");
        bounded("the end", stream.read_to_end(&mut Vec::new())).await.expect("close_notify");
    }
    scene
        .broker
        .wait_metric("steadfast_tls_handshakes_total", &[("outcome", "full")], |count| count >= 1.0)
        .await;
    scene.unharmed(0).await;
}

#[tokio::test]
async fn a_plain_request_gets_400_and_a_sentence() {
    let scene = Neighbour::start().await;
    let refused = Upgrade::to(scene.broker.address()).refused().await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.text().trim_end(), "this port speaks TLS: ask it by https:// or wss://");
    // As slowly as it likes.
    let mut stream = raw(&scene.broker).await;
    for byte in b"POST /x HTTP/1.0\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc".chunks(1) {
        stream.write_all(byte).await.expect("it is taken");
        tokio::task::yield_now().await;
    }
    let answer = bounded("an answer", read_response(&mut stream, &mut BytesMut::new())).await;
    assert_eq!(answer.expect("an answer").status, 400);
    assert_eq!(outcome(&scene.broker, "plain").await, 2.0);
    let errors = scene.broker.metric("steadfast_handshake_errors_total", &[]).await;
    assert_eq!(errors, 2.0);
    let Neighbour { world, broker, mut old, .. } = scene;
    old.ask("after", "a:after").await;
    world.upgrade(&broker).connect().await.ask("new", "a:new").await;
    assert_eq!(outcome(&broker, "failed").await, 0.0);
}

#[tokio::test]
async fn who_speaks_http_2_is_told_in_http_2_what_to_speak() {
    let scene = Neighbour::start().await;
    let said = told(&scene.broker, HTTP_2).await;
    assert_eq!(http_2_goodbye(&said), "this port speaks TLS: ask it by https:// or wss://");
    assert_eq!(outcome(&scene.broker, "plain").await, 1.0);
    // And inside of TLS, where no protocol was agreed on.
    let mut stream = scene.world.tls.connect(raw(&scene.broker).await).await.expect("a handshake");
    stream.write_all(HTTP_2).await.expect("it is taken");
    let mut said = Vec::new();
    bounded("the end", stream.read_to_end(&mut said)).await.expect("close_notify");
    let sentence = "this port speaks HTTP/1.1 alone";
    assert_eq!(http_2_goodbye(&said), sentence);
    scene.broker.wait_metric("steadfast_handshake_errors_total", &[], |count| count == 2.0).await;
    let Neighbour { broker, mut old, .. } = scene;
    old.ask("after", "a:after").await;
    assert_eq!(outcome(&broker, "failed").await, 0.0);
}

#[tokio::test]
async fn half_a_handshake_has_until_the_time_for_it_is_over() {
    let world = World::new();
    let backend = world.backend("a", "").await;
    let broker = world.over(&[&backend]).setting("timeouts", "handshake = \"300ms\"").start().await;
    let mut old = world.upgrade(&broker).connect().await;
    let hello = world.tls.hello();
    told(&broker, &hello[..hello.len() / 2]).await;
    // Byte by byte is no way around it.
    let mut slow = raw(&broker).await;
    for byte in hello.chunks(1).cycle() {
        if slow.write_all(byte).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Nor is a handshake that is done, and no request behind it.
    let mut silent = world.tls.connect(raw(&broker).await).await.expect("a handshake");
    let _ = bounded("the end", silent.read_to_end(&mut Vec::new())).await;
    broker.wait_metric("steadfast_handshake_errors_total", &[], |count| count == 3.0).await;
    assert_eq!(outcome(&broker, "failed").await, 2.0);
    old.ask("after", "a:after").await;
}

const CROWD: usize = 200;
const PLACES: usize = 60;

/// How many of these the broker has not ended.
fn standing(crowd: &[TcpStream]) -> usize {
    let stands = |stream: &&TcpStream| {
        stream.try_read(&mut [0; 64]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    };
    crowd.iter().filter(stands).count()
}

#[tokio::test]
async fn a_crowd_of_half_open_handshakes_keeps_no_newcomer_out() {
    raise_descriptor_limit(4096);
    let world = World::new();
    let backend = world.backend("a", "").await;
    let broker = world.over(&[&backend]).setting("limits", &format!("max_handshakes = {PLACES}"));
    let broker = broker.setting("timeouts", "handshake = \"1h\"").start().await;
    let hello = world.tls.hello();
    let crowd = Upgrade::to(broker.address()).from([127, 0, 0, 2]);
    let crowd = join_all((0..CROWD).map(async |n| {
        let mut stream = crowd.dial().await.expect("the listener accepts");
        // Some say nothing at all.
        stream.write_all(&hello[..[0, 100][n % 2]]).await.expect("it is taken");
        stream
    }))
    .await;
    let mut innocent = Vec::new();
    for n in 0..20 {
        let mut client = world.upgrade(&broker).connect().await;
        client.ask(&n.to_string(), &format!("a:{n}")).await;
        innocent.push(client);
    }
    eventually("an end to those for whom there is no place", || standing(&crowd) <= PLACES).await;
    assert!(standing(&crowd) >= PLACES - 1, "each newcomer took one place at a time");
    let hits = broker.metric("steadfast_limit_hits_total", &[("limit", "max_handshakes")]).await;
    assert_eq!(hits, (CROWD - PLACES + 1) as f64);
    broker.wait_metric("steadfast_handshake_errors_total", &[], |errors| errors == hits).await;
    assert_eq!(outcome(&broker, "full").await + outcome(&broker, "resumed").await, 20.0);
}

/// Passes a connection on, and has the first record from the client cut in two: its first `first` bytes, and the rest.
async fn divided(to: SocketAddr, first: usize) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("a client");
        let mut header = [0; 5];
        client.read_exact(&mut header).await.expect("a record");
        let mut body = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        client.read_exact(&mut body).await.expect("a record");
        let mut broker = TcpStream::connect(to).await.expect("the broker");
        broker.set_nodelay(true).expect("TCP_NODELAY");
        let (begin, rest) = body.split_at(first);
        for part in [begin, rest] {
            // Records of one message; also in writes of their own.
            broker.write_all(&record(part.len() as u16)).await.expect("it is taken");
            tokio::task::yield_now().await;
            broker.write_all(part).await.expect("it is taken");
        }
        let _ = copy_bidirectional(&mut client, &mut broker).await;
    });
    address
}

#[tokio::test]
async fn a_message_of_the_handshake_may_be_in_several_records() {
    let world = World::new();
    let backend = world.backend("a", "").await;
    let broker = world.over(&[&backend]).start().await;
    for first in [1, 4, 10, 200] {
        let between = divided(broker.address(), first).await;
        let mut client = Upgrade::to(between).tls(&world.tls).connect().await;
        client.ask("m", "a:m").await;
    }
    assert_eq!(outcome(&broker, "failed").await, 0.0);
}

#[tokio::test]
async fn what_breaks_a_connection_later_ends_its_session_alone() {
    let scene = Neighbour::start().await;
    // Records as they are, under what the client has encrypted: none of them can be decrypted.
    let forged = [&[23, 3, 3, 0, 40][..], &[7; 40]].concat();
    let cut = [23, 3, 3, 1, 0, 1, 2, 3].to_vec();
    for (n, bytes) in
        [forged, ALERT.to_vec(), b"GET / HTTP/1.1\r\n\r\n".to_vec(), cut].into_iter().enumerate()
    {
        let stream = raw(&scene.broker).await;
        let socket = socket_of(&stream);
        let mut stream = scene.world.tls.connect(stream).await.expect("a handshake");
        stream.write_all(&Upgrade::to(scene.broker.address()).encode()).await.expect("it is taken");
        stream.flush().await.expect("it is taken");
        let answer = read_response(&mut stream, &mut BytesMut::new()).await.expect("an answer");
        assert_eq!(answer.status, 101);
        socket.send(&bytes).expect("it is taken");
        socket.shutdown(std::net::Shutdown::Write).expect("it is open");
        let _ = bounded("the end", stream.read_to_end(&mut Vec::new())).await;
        assert_eq!(scene.broker.wait_causes(n + 1).await[n], "client_gone", "case {n}");
    }
    let Neighbour { world, broker, mut old, .. } = scene;
    old.ask("after", "a:after").await;
    world.upgrade(&broker).connect().await.ask("new", "a:new").await;
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 0.0);
}
