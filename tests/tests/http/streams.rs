//! What comes passes at once, in both directions, and what the other end does not take waits where it is.

use std::time::Duration;

use futures::future::join_all;
use steadfast_tests::origin::{Origin, ok};
use steadfast_tests::payload::noise;
use steadfast_tests::wait::bounded;
use steadfast_tests::wire::Wire;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::front::{Front, Plan};
use crate::requests::{request, scene};

const MIB: usize = 1 << 20;
/// Memory that a front may take on for any length of a body.
const KEPT_MAX: u64 = 16 << 20;
/// Bytes that may be under way when one end takes none: what the kernel keeps for the connections, and what the front
/// holds in its hand.
const UNDER_WAY_MAX: usize = 16 * MIB;
/// Buffers of the ends that a test has by hand.
const NARROW: u32 = 64 << 10;

/// A body of any length whose every byte is known.
#[derive(Debug, Clone)]
struct Body {
    pattern: Vec<u8>,
    length: usize,
}

impl Body {
    fn of(length: usize) -> Body {
        Body { pattern: noise(64 << 10, 7), length }
    }

    /// What can be sent from this place on.
    fn from(&self, place: usize) -> &[u8] {
        let start = place % self.pattern.len();
        let end = self.pattern.len().min(start + (self.length - place));
        &self.pattern[start..end]
    }

    /// Panics unless these bytes stand at this place.
    fn check(&self, mut place: usize, mut bytes: &[u8]) {
        assert!(place + bytes.len() <= self.length, "no more than {} bytes", self.length);
        while !bytes.is_empty() {
            let own = &self.from(place)[..self.from(place).len().min(bytes.len())];
            assert!(own == &bytes[..own.len()], "other bytes at {place}");
            (place, bytes) = (place + own.len(), &bytes[own.len()..]);
        }
    }

    /// Sends what stands from this place on.
    async fn send(&self, wire: &mut Wire, mut place: usize) {
        while place < self.length {
            wire.send(self.from(place)).await;
            place += self.from(place).len();
        }
    }

    /// The same in chunks.
    async fn send_chunks(&self, wire: &mut Wire) {
        let mut place = 0;
        while place < self.length {
            wire.send_chunk(self.from(place)).await;
            place += self.from(place).len();
        }
        wire.send_chunk("").await;
    }

    /// Takes all of it, and says how far it is from time to time.
    async fn take(&self, wire: &mut Wire, mut told: impl FnMut(usize)) {
        let mut place = 0;
        while place < self.length {
            let bytes = wire.some().await;
            assert!(!bytes.is_empty(), "the connection ended after {place} bytes");
            self.check(place, &bytes);
            if (place + bytes.len()) / MIB > place / MIB {
                told(place + bytes.len());
            }
            place += bytes.len();
        }
    }

    /// The same, of chunks.
    async fn take_chunks(&self, wire: &mut Wire, mut told: impl FnMut(usize)) {
        let mut place = 0;
        loop {
            let bytes = wire.chunk().await;
            if bytes.is_empty() {
                assert_eq!(place, self.length, "all has come");
                assert_eq!(wire.trailers().await, Some(Vec::new()));
                return;
            }
            self.check(place, &bytes);
            if (place + bytes.len()) / MIB > place / MIB {
                told(place + bytes.len());
            }
            place += bytes.len();
        }
    }
}

const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n";

#[tokio::test]
async fn events_arrive_one_by_one() {
    let (origin, front) = scene().await;
    // In chunks, up to the end of the connection, and with a length.
    for framing in ["Transfer-Encoding: chunked\r\n", "Connection: close\r\n", "Content-Length: 10000\r\n"] {
        let mut client = Wire::dial(front.address).await;
        client.send(request("GET /events\nAccept: text/event-stream", "")).await;
        let mut backend = origin.accept().await;
        backend.request().await;
        backend.send(format!("{EVENTS}{framing}\r\n")).await;
        let head = client.head().await;
        assert!(head.line.contains(" 200 "), "before the first event: {}", head.line);
        for n in 0..50 {
            let event = format!("id: {n}\ndata: event {n}\n\n");
            match framing.contains("chunked") {
                true => backend.send_chunk(&event).await,
                false => backend.send(&event).await,
            }
            // The next one is not sent before.
            while !client.shown().contains(&event) {
                assert!(!client.some().await.is_empty(), "the stream goes on");
            }
        }
    }
}

#[tokio::test]
async fn a_request_reaches_the_backend_piece_by_piece() {
    let (origin, front) = scene().await;
    for framing in ["Transfer-Encoding: chunked", "Content-Length: 500"] {
        let mut client = Wire::dial(front.address).await;
        client.send(request(&format!("POST /upload\n{framing}"), "")).await;
        let mut backend = origin.accept().await;
        backend.head().await;
        for n in 0..50 {
            let piece = format!("piece {n:03}|");
            match framing.contains("chunked") {
                true => client.send_chunk(&piece).await,
                false => client.send(&piece).await,
            }
            while !backend.shown().contains(&piece) {
                assert!(!backend.some().await.is_empty(), "the body goes on");
            }
        }
        if framing.contains("chunked") {
            client.send_chunk("").await;
        }
        while framing.contains("chunked") && !backend.shown().ends_with("0\r\n\r\n") {
            assert!(!backend.some().await.is_empty(), "the body ends");
        }
        backend.send(ok("all")).await;
        assert_eq!(client.answer().await.text(), "all");
    }
}

#[tokio::test]
async fn request_and_answer_may_be_under_way_at_once() {
    let (origin, front) = scene().await;
    let mut client = Wire::dial(front.address).await;
    client.send(request("POST /echo\nTransfer-Encoding: chunked", "")).await;
    let mut backend = origin.accept().await;
    backend.head().await;
    backend.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    client.head().await;
    for n in 0..50 {
        client.send_chunk(format!("message {n}")).await;
        let seen = backend.chunk().await;
        backend.send_chunk(&seen).await;
        assert_eq!(client.chunk().await, format!("message {n}").into_bytes());
    }
    client.send_chunk("").await;
    assert!(backend.chunk().await.is_empty());
    backend.send_chunk("").await;
    assert!(client.chunk().await.is_empty());
}

#[tokio::test]
async fn long_polls_hold_nobody_up() {
    let (origin, front) = scene().await;
    let mut polls = Vec::new();
    for n in 0..20 {
        let mut client = Wire::dial(front.address).await;
        client.send(request(&format!("GET /poll/{n}"), "")).await;
        let mut backend = origin.accept().await;
        let target = backend.request().await.target().to_owned();
        polls.push((client, backend, target));
    }
    let mut other = Wire::dial(front.address).await;
    other.send(request("GET /other", "")).await;
    let mut backend = origin.accept().await;
    backend.request().await;
    backend.send(ok("other")).await;
    assert_eq!(other.answer().await.text(), "other");
    for (client, backend, target) in polls.iter_mut().rev() {
        backend.send(ok(&target)).await;
        assert_eq!(&client.answer().await.text(), target);
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_with_it() {
    let (origin, front) = scene().await;
    for answered in [false, true] {
        for reset in [false, true] {
            let mut client = Wire::dial(front.address).await;
            client.send(request("GET /events", "")).await;
            let mut backend = origin.accept().await;
            backend.request().await;
            if answered {
                backend.send(format!("{EVENTS}Transfer-Encoding: chunked\r\n\r\n5\r\nevent\r\n")).await;
                client.head().await;
                assert_eq!(client.chunk().await, b"event");
            }
            if reset {
                client.reset();
            } else {
                drop(client);
            }
            if answered {
                // Who writes finds out, at the latest.
                bounded("an end for the backend", async {
                    while backend.try_send("5\r\nevent\r\n").await.is_ok() {
                        sleep(Duration::from_millis(5)).await;
                    }
                })
                .await;
            } else {
                backend.end().await;
            }
        }
    }
}

/// What the front holds while `exchange` goes on, in which every MiB is reported, is bounded.
async fn holds_little(front: &Front, exchange: impl AsyncFnOnce(&mut dyn FnMut(usize))) {
    let before = front.resident();
    let mut most = before;
    exchange(&mut |_| most = most.max(front.resident())).await;
    let grown = most.max(front.resident()).saturating_sub(before);
    assert!(grown <= KEPT_MAX, "{} KiB more than before", grown >> 10);
}

async fn downloads_and_uploads(length: usize) {
    let (origin, front) = scene().await;
    let body = Body::of(length);
    let mut client = Wire::dial(front.address).await;
    client.send(request("GET /first", "")).await;
    let mut backend = origin.accept().await;
    backend.request().await;
    backend.send(ok("first")).await;
    client.answer().await;
    for chunked in [false, true] {
        let framing = match chunked {
            true => "Transfer-Encoding: chunked".to_owned(),
            false => format!("Content-Length: {length}"),
        };
        holds_little(&front, async |told| {
            client.send(request("GET /download", "")).await;
            backend.request().await;
            backend.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n")).await;
            let send = async {
                if chunked { body.send_chunks(&mut backend).await } else { body.send(&mut backend, 0).await }
            };
            let take = async {
                client.head().await;
                if chunked {
                    body.take_chunks(&mut client, told).await;
                } else {
                    body.take(&mut client, told).await;
                }
            };
            tokio::join!(send, take);
        })
        .await;
        holds_little(&front, async |told| {
            client.send(request(&format!("POST /upload\n{framing}"), "")).await;
            backend.head().await;
            let send = async {
                if chunked { body.send_chunks(&mut client).await } else { body.send(&mut client, 0).await }
            };
            let take = async {
                if chunked {
                    body.take_chunks(&mut backend, told).await;
                } else {
                    body.take(&mut backend, told).await;
                }
            };
            tokio::join!(send, take);
            backend.send(ok("all")).await;
            assert_eq!(client.answer().await.text(), "all");
        })
        .await;
    }
}

#[tokio::test]
async fn large_bodies_take_little_memory() {
    downloads_and_uploads(64 * MIB).await;
}

#[tokio::test]
#[ignore = "half a minute: ./test long http"]
async fn very_large_bodies_take_no_more() {
    downloads_and_uploads(1024 * MIB).await;
}

/// Sends as much as the other end's end takes, and returns how much that is.
async fn fill(wire: &Wire, body: &Body) -> usize {
    /// Looks that find nothing new, until nothing is expected any more.
    const LOOKS: usize = 50;
    let (mut place, mut idle) = (0, 0);
    while idle < LOOKS && place < body.length {
        let sent = wire.send_some(body.from(place));
        place += sent;
        idle = if sent == 0 { idle + 1 } else { 0 };
        if sent == 0 {
            wire.room(Duration::from_millis(10)).await;
        }
    }
    place
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_backend() {
    let origin = Origin::narrow(NARROW);
    let front = Plan::over(&[("a", origin.address())]).start().await;
    let body = Body::of(3 * UNDER_WAY_MAX);
    let mut client = Wire::dial_narrow(front.address, NARROW).await;
    client.send(request("GET /", "")).await;
    let mut backend = origin.accept().await;
    backend.request().await;
    backend.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.length)).await;
    let sent = fill(&backend, &body).await;
    assert!(sent <= UNDER_WAY_MAX, "{sent} bytes were taken, and none is read");
    // And then all of it comes.
    let take = async {
        client.head().await;
        body.take(&mut client, |_| ()).await;
    };
    tokio::join!(body.send(&mut backend, sent), take);
}

#[tokio::test]
async fn a_backend_that_does_not_read_stops_the_client() {
    let origin = Origin::narrow(NARROW);
    let front = Plan::over(&[("a", origin.address())]).start().await;
    let body = Body::of(3 * UNDER_WAY_MAX);
    let mut client = Wire::dial_narrow(front.address, NARROW).await;
    client.send(request(&format!("POST /\nContent-Length: {}", body.length), "")).await;
    let mut backend = origin.accept().await;
    backend.head().await;
    let sent = fill(&client, &body).await;
    assert!(sent <= UNDER_WAY_MAX, "{sent} bytes were taken, and none is read");
    tokio::join!(body.send(&mut client, sent), body.take(&mut backend, |_| ()));
    backend.send(ok("all")).await;
    assert_eq!(client.answer().await.text(), "all");
}

/// The negative control of both: something that takes all and keeps it.
#[tokio::test]
async fn one_that_keeps_all_is_found_out() {
    let origin = Origin::narrow(NARROW);
    let target = origin.address();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let hoarder = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("a client");
        let mut backend = tokio::net::TcpStream::connect(target).await.expect("the backend");
        let mut head = [0; 100];
        let length = client.read(&mut head).await.expect("a request");
        backend.write_all(&head[..length]).await.expect("a request can be passed on");
        let mut kept = Vec::new();
        // Nothing is passed on before all is there.
        while backend.read_buf(&mut kept).await.is_ok_and(|read| read > 0) {}
    });
    let body = Body::of(2 * UNDER_WAY_MAX);
    let mut client = Wire::dial_narrow(address, NARROW).await;
    client.send(request("GET /", "")).await;
    let mut backend = origin.accept().await;
    backend.request().await;
    assert!(fill(&backend, &body).await > UNDER_WAY_MAX, "it has taken more than there may be");
    hoarder.abort();
}

/// Of one that does not read, the others notice nothing.
#[tokio::test]
async fn clients_that_do_not_read_hold_nobody_up() {
    let origin = Origin::narrow(NARROW);
    let front = Plan::over(&[("a", origin.address())]).start().await;
    let body = Body::of(UNDER_WAY_MAX);
    let mut stuck = Vec::new();
    for _ in 0..8 {
        let mut client = Wire::dial_narrow(front.address, NARROW).await;
        client.send(request("GET /large", "")).await;
        let mut backend = origin.accept().await;
        backend.request().await;
        backend.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n").await;
        stuck.push((client, backend));
    }
    let sent = join_all(stuck.iter().map(|(_, backend)| fill(backend, &body))).await;
    assert!(sent.iter().all(|sent| *sent < body.length), "they are stuck: {sent:?}");
    let _served = origin.serve(|request| ok(request.target()));
    for n in 0..50 {
        let mut client = Wire::dial(front.address).await;
        client.send(request(&format!("GET /{n}"), "")).await;
        assert_eq!(client.answer().await.text(), format!("/{n}"));
    }
}
