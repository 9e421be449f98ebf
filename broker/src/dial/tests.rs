//! Dials of small services, with the shim and without.

mod hang_ups;

use std::net::Ipv4Addr;

use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::config::{Overrides, parse};

/// A service that answers each upgrade with these headers besides its own, and tells what it was asked.
async fn service(headers: &'static str) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let (asked, requests) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let request = head(&mut stream).await;
            let key = value(&request, "sec-websocket-key").expect("a key");
            let accept = derive_accept_key(key.as_bytes());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n{headers}\r\n"
            );
            stream.write_all(answer.as_bytes()).await.expect("the broker reads");
            asked.send(request).await.expect("the test listens");
        }
    });
    (port, requests)
}

async fn head(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut request).await.expect("the request"), 0, "it is whole");
    }
    String::from_utf8(request).expect("a request is text")
}

/// A header of a request, by its name in lower case.
fn value<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let headers = request.lines().filter_map(|line| line.split_once(": "));
    headers.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
}

/// A pool that asks its backends in this order.
fn pool(ports: &[u16]) -> Pool {
    let backend = |(n, port): (usize, &u16)| {
        format!("[[pool.backend]]\nurl = 'ws://127.0.0.1:{port}'\nbackup = {}\n", n > 0)
    };
    let backends: String = ports.iter().enumerate().map(backend).collect();
    let text = format!("[[listener]]\naddress = '127.0.0.1:0'\n[[pool]]\nname = 'a'\n{backends}");
    let settings = parse(&text, &Overrides::default()).expect("a sound configuration");
    Pool::new(&settings.pools[0], &settings)
}

/// A session's way to its backends.
struct Session {
    pool: Pool,
    handshake: Handshake,
    attempts: AtomicU32,
}

impl Session {
    fn new(ports: &[u16]) -> Session {
        let request = Request::get("/chat").header("Host", "chat.test").body(()).expect("a request");
        Session { pool: pool(ports), handshake: Handshake::new(&request, None), attempts: AtomicU32::new(0) }
    }

    fn search(&self, terms: Terms) -> Search<'_> {
        Search {
            pool: &self.pool,
            handshake: &self.handshake,
            session: "5e55",
            client: Ipv4Addr::LOCALHOST.into(),
            terms,
            key: None,
            attempts: &self.attempts,
            just_failed: None,
            suspect: false,
            handshake_place: None,
        }
    }
}

fn first(shim: bool) -> Terms {
    Terms::first(None, steadfast_protocol::deflate::Offer::parse("permessage-deflate"), shim)
}

fn again(shim: bool) -> Terms {
    Terms::Again(Agreed { protocol: None, deflate: None, shim })
}

#[tokio::test]
async fn a_service_without_the_shim_is_passed_over() {
    let (plain, mut to_plain) = service("").await;
    let (linked, mut to_linked) = service("Steadfast-Shim: 1\r\n").await;
    let (session, dialer) = (Session::new(&[plain, linked]), Dialer::new(4));

    let link = dialer.first(&session.search(first(true))).await.ok().expect("a link");
    assert_eq!((link.seat.backend().port, link.epoch), (linked, 2));
    for (requests, attempt) in [(&mut to_plain, "1"), (&mut to_linked, "2")] {
        let request = requests.recv().await.expect("it was asked");
        assert_eq!(value(&request, "steadfast-shim"), Some("1"), "{request}");
        assert_eq!(value(&request, "steadfast-attempt"), Some(attempt), "{request}");
        assert_eq!(value(&request, "sec-websocket-extensions"), None, "{request}");
    }

    let mut refusing = Vec::new();
    let link = dialer.again(&session.search(again(true)), &mut refusing).await.ok().expect("a link");
    assert_eq!((link.seat.backend().port, link.epoch), (linked, 4));
    let plain = session.pool.named(&format!("127.0.0.1:{plain}")).expect("it is there").id;
    assert_eq!(refusing, [plain], "it is not asked again");
    let request = to_linked.recv().await.expect("it was asked");
    assert_eq!(value(&request, "steadfast-shim"), Some("1"), "{request}");
    assert_eq!(value(&request, "sec-websocket-extensions"), None, "{request}");
}

#[tokio::test]
async fn when_no_service_has_the_shim_there_is_no_link_and_none_is_held_to_be_ill() {
    let (plain, mut requests) = service("").await;
    let (session, dialer) = (Session::new(&[plain]), Dialer::new(4));

    let found = dialer.first(&session.search(first(true))).await;
    assert!(matches!(found, Err(DialError::Unreachable)));
    requests.recv().await.expect("it was asked");
    let found = dialer.again(&session.search(again(true)), &mut Vec::new()).await;
    assert!(matches!(found, Err(DialError::Refused)));
    requests.recv().await.expect("it was asked");

    let backend = session.pool.named(&format!("127.0.0.1:{plain}")).expect("it is there");
    assert_eq!(backend.failures.load(Relaxed), 0);
}

#[tokio::test]
async fn in_other_pools_the_shim_is_not_spoken_of() {
    let (plain, mut requests) = service("").await;
    let (session, dialer) = (Session::new(&[plain]), Dialer::new(4));

    let link = dialer.first(&session.search(first(false))).await.ok().expect("a link");
    assert_eq!(link.epoch, 1);
    let request = requests.recv().await.expect("it was asked");
    assert_eq!(value(&request, "steadfast-shim"), None, "{request}");
    assert!(value(&request, "sec-websocket-extensions").is_some(), "{request}");
}
