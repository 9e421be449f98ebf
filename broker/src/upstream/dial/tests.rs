//! Dials of small services, with the shim and without.

mod hang_ups;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use http::{Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::*;
use crate::config::{Overrides, parse};
use crate::http::replay_request::Handshake;
use crate::tls::TlsSetup;
use crate::upstream::pool::Pool;

/// A service that answers each upgrade with these headers besides its own, and tells what it was asked.
async fn service(headers: impl Into<String>) -> (u16, mpsc::Receiver<String>) {
    let headers = headers.into();
    answering(move |_| Err(headers.clone())).await
}

/// A service that answers a request with this whole answer, or switches with these headers (`Err`).
async fn answering(
    answer: impl Fn(&str) -> Result<String, String> + Send + 'static,
) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let (asked, requests) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let request = head(&mut stream).await;
            let key = value(&request, "sec-websocket-key").expect("a key");
            let accept = derive_accept_key(key.as_bytes());
            let switching = |headers| {
                format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: {accept}\r\n{headers}\r\n"
                )
            };
            let answer = answer(&request).unwrap_or_else(switching);
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
fn pool(ports: &[u16], keys: &str) -> Pool {
    let backend = |(n, port): (usize, &u16)| {
        format!("[[pool.backend]]\nurl = 'ws://127.0.0.1:{port}'\nbackup = {}\n", n > 0)
    };
    let backends: String = ports.iter().enumerate().map(backend).collect();
    let text = format!("[[listener]]\naddress = '127.0.0.1:0'\n[[pool]]\nname = 'a'\n{keys}\n{backends}");
    let settings = parse(&text, &Overrides::default()).expect("a sound configuration");
    Pool::new(&settings.pools[0], &settings, &TlsSetup::default())
}

/// A session's way to its backends.
struct Session {
    pool: Pool,
    handshake: Handshake,
    attempts: AtomicU32,
}

impl Session {
    fn new(ports: &[u16]) -> Session {
        Session::with(ports, "")
    }

    /// In a pool with these keys.
    fn with(ports: &[u16], keys: &str) -> Session {
        let request = Request::get("/chat").header("Host", "chat.test").body(()).expect("a request");
        Session {
            pool: pool(ports, keys),
            handshake: Handshake::new(&request, None),
            attempts: AtomicU32::new(0),
        }
    }

    fn search(&self, terms: DialTerms) -> BackendSearch<'_> {
        BackendSearch {
            pool: &self.pool,
            handshake: &self.handshake,
            session: "5e55",
            client: (Ipv4Addr::LOCALHOST, 7).into(),
            entrance: None,
            terms,
            affinity: None,
            preferred: None,
            attempts: &self.attempts,
            just_failed: None,
            suspect: None,
            waiting: None,
        }
    }
}

fn first(shim: bool) -> DialTerms {
    DialTerms::first(
        None,
        steadfast_protocol::websocket::deflate::DeflateOffer::parse("permessage-deflate"),
        shim,
    )
}

fn again(shim: bool) -> DialTerms {
    DialTerms::Again(Agreed { protocol: None, deflate: None, shim })
}

#[tokio::test]
async fn a_service_without_the_shim_is_passed_over() {
    let (plain, mut to_plain) = service("").await;
    let (linked, mut to_linked) = service("Steadfast-Shim: 1\r\n").await;
    let (session, dialer) = (Session::new(&[plain, linked]), Dialer::new(4, 4));

    let link = dialer.first(&session.search(first(true))).await.ok().expect("a link");
    assert_eq!((link.lease.backend().port, link.epoch), (linked, 2));
    for (requests, attempt) in [(&mut to_plain, "1"), (&mut to_linked, "2")] {
        let request = requests.recv().await.expect("it was asked");
        assert_eq!(value(&request, "steadfast-shim"), Some("1"), "{request}");
        assert_eq!(value(&request, "steadfast-attempt"), Some(attempt), "{request}");
        assert_eq!(value(&request, "sec-websocket-extensions"), None, "{request}");
    }

    let mut refusing = Vec::new();
    let link = dialer.again(&session.search(again(true)), &mut refusing).await.ok().expect("a link");
    assert_eq!((link.lease.backend().port, link.epoch), (linked, 4));
    let plain = session.pool.named(&format!("127.0.0.1:{plain}")).expect("it is there").id;
    assert_eq!(refusing, [plain], "it is not asked again");
    let request = to_linked.recv().await.expect("it was asked");
    assert_eq!(value(&request, "steadfast-shim"), Some("1"), "{request}");
    assert_eq!(value(&request, "sec-websocket-extensions"), None, "{request}");
}

#[tokio::test]
async fn when_no_service_has_the_shim_there_is_no_link_and_none_is_held_to_be_ill() {
    let (plain, mut requests) = service("").await;
    let (session, dialer) = (Session::new(&[plain]), Dialer::new(4, 4));

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
    let (session, dialer) = (Session::new(&[plain]), Dialer::new(4, 4));

    let link = dialer.first(&session.search(first(false))).await.ok().expect("a link");
    assert_eq!(link.epoch, 1);
    let request = requests.recv().await.expect("it was asked");
    assert_eq!(value(&request, "steadfast-shim"), None, "{request}");
    assert!(value(&request, "sec-websocket-extensions").is_some(), "{request}");
}

/// Nothing was held against the backend at this port.
fn assert_blameless(session: &Session, port: u16) {
    let backend = session.pool.named(&format!("127.0.0.1:{port}")).expect("it is there");
    assert_eq!(backend.failures.load(Relaxed), 0);
    let ask = Ask::default();
    let lease = session.pool.pick_eligible(clock::now(), &ask, Some(backend.id));
    assert!(lease.is_ok(), "it is penalised");
}

#[tokio::test]
async fn what_is_over_our_limit_is_not_the_backends_fault() {
    for headers in ["X-A: 1\r\n".repeat(200), format!("X-A: {}\r\n", "x".repeat(17 << 10))] {
        let (large, mut to_large) = service(headers).await;
        let (other, _requests) = service("").await;
        let (session, dialer) = (Session::new(&[large, other]), Dialer::new(4, 4));

        let link = dialer.first(&session.search(first(false))).await.ok().expect("the other one");
        assert_eq!(link.lease.backend().port, other);
        let mut refusing = Vec::new();
        let link = dialer.again(&session.search(again(false)), &mut refusing).await.ok().expect("a link");
        assert_eq!((link.lease.backend().port, refusing.len()), (other, 1), "it is not asked again");
        for _ in 0..2 {
            to_large.recv().await.expect("it was asked");
        }
        assert_blameless(&session, large);
    }
}

#[tokio::test]
async fn answers_up_to_the_limit_and_of_odd_forms_are_read() {
    // Three lines are the service's own.
    for headers in ["X-A: 1\r\n".repeat(97), "X-A : 1\r\nX-B\t: 2\r\nX-C: 3\r\n 4\r\n".to_owned()] {
        let (port, _requests) = service(headers.clone()).await;
        let (session, dialer) = (Session::new(&[port]), Dialer::new(4, 4));
        let link = dialer.first(&session.search(first(false))).await.ok().expect("a link");
        assert_eq!(link.headers["x-a"], "1");
        if headers.contains("X-B") {
            assert_eq!(
                (&link.headers["x-b"], &link.headers["x-c"]),
                (&"2".parse().expect("a value"), &"3 4".parse().expect("a value"))
            );
        }
    }
}

const REFUSAL: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn who_refuses_compression_is_asked_again_without() {
    let answer = |request: &str| match value(request, "sec-websocket-extensions") {
        Some(_) => Ok(REFUSAL.to_owned()),
        None => Err(String::new()),
    };
    let (port, mut requests) = answering(answer).await;
    let (session, dialer) = (Session::new(&[port]), Dialer::new(4, 4));
    let link = dialer.first(&session.search(first(false))).await.ok().expect("a link");
    assert_eq!((link.deflate, link.epoch), (None, 2));
    for offers in [true, false] {
        let request = requests.recv().await.expect("it was asked");
        assert_eq!(value(&request, "sec-websocket-extensions").is_some(), offers, "{request}");
    }
    assert_blameless(&session, port);
}

#[tokio::test]
async fn a_refusal_that_is_meant_is_the_clients_to_see() {
    for (terms, status, dials) in [
        (first(false), "400 Bad Request", 2),
        (first(false), "403 Forbidden", 1),
        (DialTerms::first(None, None, false), "400 Bad Request", 1),
    ] {
        let refusal = REFUSAL.replace("400 Bad Request", status);
        let (port, _requests) = answering(move |_| Ok(refusal.clone())).await;
        let (session, dialer) = (Session::new(&[port]), Dialer::new(4, 4));
        let found = dialer.first(&session.search(terms)).await;
        let Err(DialError::Answered(answer)) = found else { panic!("an answer of {status}") };
        assert!(status.starts_with(answer.status().as_str()));
        assert_eq!(session.attempts.load(Relaxed), dials, "{status}");
    }
}

#[tokio::test]
async fn names_are_spelled_as_the_pool_has_it() {
    for (keys, names) in [
        ("", ["host: ", "sec-websocket-key: ", "steadfast-session: "]),
        ("header_case = 'title'", ["Host: ", "Sec-WebSocket-Key: ", "Steadfast-Session: "]),
    ] {
        let (port, mut requests) = service("").await;
        let (session, dialer) = (Session::with(&[port], keys), Dialer::new(4, 4));
        dialer.first(&session.search(first(false))).await.ok().expect("a link");
        let request = requests.recv().await.expect("it was asked");
        for name in names {
            assert!(request.contains(&format!("\r\n{name}")), "no {name} in {request}");
        }
    }
}
