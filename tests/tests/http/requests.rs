//! Requests and answers of every framing pass, whole or not at all.

use steadfast_tests::origin::{Origin, ok};
use steadfast_tests::payload::noise;
use steadfast_tests::wire::{Message, Wire};

use crate::front::{Front, Plan};

/// A backend by hand, and what stands in front of it.
pub(crate) async fn scene() -> (Origin, Front) {
    let origin = Origin::listen().await;
    let front = Plan::over(&[("a", origin.address())]).start().await;
    (origin, front)
}

/// Bytes as chunks of these sizes, and the last one.
pub(crate) fn chunked(bytes: &[u8], size: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for chunk in bytes.chunks(size) {
        text.extend(format!("{:x}\r\n", chunk.len()).bytes());
        text.extend(chunk);
        text.extend(b"\r\n");
    }
    text.extend(b"0\r\n\r\n");
    text
}

/// A request with this head, but for `Host`, and these bytes behind it.
pub(crate) fn request(head: &str, behind: impl AsRef<[u8]>) -> Vec<u8> {
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let headers: String = headers.lines().map(|header| format!("{header}\r\n")).collect();
    [format!("{line} HTTP/1.1\r\nHost: a.test\r\n{headers}\r\n").as_bytes(), behind.as_ref()].concat()
}

/// A client and a backend that have had a request and its answer.
async fn talking(origin: &Origin, front: &Front) -> (Wire, Wire) {
    let mut client = Wire::dial(front.address).await;
    client.send(request("GET /first", "")).await;
    let mut backend = origin.accept().await;
    backend.request().await;
    backend.send(ok("first")).await;
    assert_eq!(client.answer().await.text(), "first");
    (client, backend)
}

/// Sends a request, answers it, and returns both as they have arrived.
async fn exchange(
    client: &mut Wire,
    backend: &mut Wire,
    request: impl AsRef<[u8]>,
    answer: impl AsRef<[u8]>,
) -> (Message, Message) {
    client.send(request).await;
    let seen = backend.request().await;
    backend.send(answer).await;
    (seen, client.answer().await)
}

#[tokio::test]
async fn methods_and_bodies_of_every_framing_reach_the_backend() {
    let (origin, front) = scene().await;
    let mut client = Wire::dial(front.address).await;
    let large = noise(300 << 10, 1);
    let bodies: [&[u8]; 4] = [b"", b"x", b"two\r\n\r\nlines", &large];
    let mut backend = None;
    for method in ["POST", "PUT", "PATCH", "DELETE", "PROPFIND", "OPTIONS", "GET"] {
        for body in bodies {
            let length = format!("{method} /length?a=%20b\nContent-Length: {}", body.len());
            let chunks = format!("{method} /chunks\nTransfer-Encoding: chunked");
            for bytes in [
                request(&length, body),
                request(&chunks, chunked(body, 1000)),
                request(&chunks, chunked(body, 70_000)),
            ] {
                let answer = ok(method);
                // What a client sends while nobody reads must fit.
                client.send(&bytes).await;
                let own = match &mut backend {
                    Some(own) => own,
                    none => none.insert(origin.accept().await),
                };
                let seen = own.request().await;
                own.send(answer).await;
                assert_eq!(seen.method(), method);
                assert!(["/length?a=%20b", "/chunks"].contains(&seen.target()), "{}", seen.line);
                assert!(seen.body == body, "{method}, {} bytes: {} came", body.len(), seen.body.len());
                assert_eq!(client.answer().await.text(), method);
            }
        }
    }
}

#[tokio::test]
async fn a_request_without_a_body_has_none() {
    let (origin, front) = scene().await;
    let mut client = Wire::dial(front.address).await;
    client.send(request("GET /", "")).await;
    let mut backend = origin.accept().await;
    let seen = backend.request().await;
    assert_eq!((seen.header("transfer-encoding"), seen.header("content-length")), (None, None));
    backend.send(ok("")).await;
    assert_eq!(client.answer().await.status(), 200);
    for method in ["POST", "DELETE"] {
        let (seen, answer) =
            exchange(&mut client, &mut backend, request(&format!("{method} /"), ""), ok("")).await;
        assert_eq!((seen.method(), seen.header("transfer-encoding")), (method, None));
        assert_eq!(answer.status(), 200);
    }
}

#[tokio::test]
async fn answers_of_every_framing_reach_the_client() {
    let (origin, front) = scene().await;
    let (mut client, mut backend) = talking(&origin, &front).await;
    let large = noise(300 << 10, 2);
    let bodies: [&[u8]; 3] = [b"", b"x", &large];
    for body in bodies {
        let head = "HTTP/1.1 203 Well Well\r\nTransfer-Encoding: chunked\r\n\r\n";
        let length = format!("HTTP/1.1 203 Well Well\r\nContent-Length: {}\r\n\r\n", body.len());
        for answer in [
            [length.as_bytes(), body].concat(),
            [head.as_bytes(), &chunked(body, 1000)].concat(),
            [head.as_bytes(), &chunked(body, 70_000)].concat(),
        ] {
            let (_, answer) = exchange(&mut client, &mut backend, request("GET /", ""), answer).await;
            assert_eq!(answer.status(), 203);
            assert!(answer.body == body, "{} bytes: {} came", body.len(), answer.body.len());
        }
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_the_connection_is_whole() {
    let (origin, front) = scene().await;
    let body = noise(300 << 10, 3);
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        let mut client = Wire::dial(front.address).await;
        client.send(request("GET /", "")).await;
        let mut backend = origin.accept().await;
        backend.request().await;
        backend.send(format!("{version} 200 OK\r\n\r\n")).await;
        backend.send(&body).await;
        drop(backend);
        let answer = client.answer().await;
        assert!(answer.body == body, "{version}: {} came", answer.body.len());
    }
}

/// A client that is told of an end takes half a file for a whole one.
#[tokio::test]
async fn an_answer_that_is_cut_is_never_made_whole() {
    let (origin, front) = scene().await;
    let cut = [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
    ];
    for bytes in cut {
        for reset in [false, true] {
            let mut client = Wire::dial(front.address).await;
            client.send(request("GET /", "")).await;
            let mut backend = origin.accept().await;
            backend.request().await;
            backend.send(bytes).await;
            let head = client.head().await;
            assert!(head.line.contains(" 200"), "{}", head.line);
            if reset {
                backend.reset();
            } else {
                drop(backend);
            }
            client.rest().await;
            // Read again from the beginning, as it came.
            let seen = client.shown();
            assert!(!seen.ends_with("\r\n0\r\n\r\n"), "{bytes:?}: {seen}");
            if seen.to_ascii_lowercase().contains("content-length") {
                assert!(seen.ends_with("\r\n\r\nhalf") || seen.ends_with("\r\n\r\n"), "{bytes:?}: {seen}");
            }
        }
    }
}

#[tokio::test]
async fn a_request_that_is_cut_is_never_made_whole() {
    let (origin, front) = scene().await;
    let cut = [
        request("POST /\nContent-Length: 10", "half"),
        request("POST /\nTransfer-Encoding: chunked", "4\r\nhalf\r\n"),
        request("POST /\nTransfer-Encoding: chunked", "8\r\nhalf"),
    ];
    for bytes in cut {
        for reset in [false, true] {
            let mut client = Wire::dial(front.address).await;
            client.send(&bytes).await;
            let mut backend = origin.accept().await;
            backend.head().await;
            while !backend.shown().ends_with("half") && !backend.shown().ends_with("half\r\n") {
                assert!(!backend.some().await.is_empty(), "what has come is passed on: {}", backend.shown());
            }
            if reset {
                client.reset();
            } else {
                drop(client);
            }
            backend.rest().await;
            assert!(!backend.shown().ends_with("0\r\n\r\n"), "{}", backend.shown());
        }
    }
}

#[tokio::test]
async fn what_has_no_body_by_its_nature_ends_with_its_head() {
    let (origin, front) = scene().await;
    let (mut client, mut backend) = talking(&origin, &front).await;
    for length in ["Content-Length: 5000\r\n", "Transfer-Encoding: chunked\r\n", ""] {
        client.send(request("HEAD /file", "")).await;
        assert_eq!(backend.request().await.line, "HEAD /file HTTP/1.1");
        backend.send(format!("HTTP/1.1 200 OK\r\nETag: \"x\"\r\n{length}\r\n")).await;
        let answer = client.answer_to_head().await;
        assert_eq!((answer.status(), answer.header("etag")), (200, Some("\"x\"")));
        if length.starts_with("Content") {
            assert_eq!(answer.header("content-length"), Some("5000"), "what a GET would have");
        }
    }
    for answer in [
        "HTTP/1.1 204 No Content\r\nETag: \"x\"\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 5000\r\n\r\n",
    ] {
        let (_, seen) = exchange(&mut client, &mut backend, request("GET /file", ""), answer).await;
        assert!(answer.contains(&format!(" {} ", seen.status())), "{}", seen.line);
        assert_eq!(seen.header("etag"), Some("\"x\""));
    }
    // Nothing was left behind by any of them.
    let (_, answer) = exchange(&mut client, &mut backend, request("GET /last", ""), ok("last")).await;
    assert_eq!(answer.text(), "last");
}

#[tokio::test]
async fn an_old_client_is_spoken_to_as_such() {
    let (origin, front) = scene().await;
    let mut client = Wire::dial(front.address).await;
    client.send("GET /old HTTP/1.0\r\nHost: a.test\r\n\r\n").await;
    let mut backend = origin.accept().await;
    assert_eq!(backend.request().await.target(), "/old");
    backend.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for chunk in ["one ", "two", ""] {
        backend.send_chunk(chunk).await;
    }
    let answer = client.answer().await;
    // HAProxy sends chunks, which such a client has never heard of.
    let coding = front.or_haproxy(None, Some("chunked"));
    assert_eq!((answer.status(), answer.header("transfer-encoding")), (200, coding));
    assert_eq!(answer.text(), "one two");
    client.end().await;
}

#[tokio::test]
async fn an_old_client_may_keep_its_connection() {
    let (origin, front) = scene().await;
    let served = origin.serve(|request| ok(request.target()));
    let mut client = Wire::dial(front.address).await;
    for target in ["/1", "/2", "/3"] {
        client.send(format!("GET {target} HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n")).await;
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, target));
        assert!(answer.header("connection").is_some_and(|own| own.eq_ignore_ascii_case("keep-alive")));
    }
    client.send("POST /4 HTTP/1.0\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx").await;
    assert_eq!(client.answer().await.text(), "/4");
    client.end().await;
    assert_eq!(served.requests().last().expect("a request").text(), "x");
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let (origin, front) = scene().await;
    let mut client = Wire::dial(front.address).await;
    let head = "POST /\nTransfer-Encoding: chunked\nTrailer: X-Sum, X-More\nTE: trailers\nConnection: TE";
    client.send(request(head, "3\r\nabc\r\n0\r\nX-Sum: 12\r\nX-More: yes\r\n\r\n")).await;
    let mut backend = origin.accept().await;
    let seen = backend.request().await;
    let pairs = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!((seen.text().as_str(), seen.trailers), ("abc", pairs(&[("x-sum", "12"), ("x-more", "yes")])));
    backend.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n").await;
    backend.send("3\r\ndef\r\n0\r\nX-Sum: 34\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.text().as_str(), answer.trailers), ("def", pairs(&[("x-sum", "34")])));
    let (_, last) = exchange(&mut client, &mut backend, request("GET /", ""), ok("last")).await;
    assert_eq!(last.text(), "last");
}

#[tokio::test]
async fn what_only_announces_an_answer_does_no_harm() {
    let (origin, front) = scene().await;
    let mut client = Wire::dial(front.address).await;
    client.send(request("GET /", "")).await;
    let mut backend = origin.accept().await;
    backend.request().await;
    backend.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n").await;
    backend.send("HTTP/1.1 102 Processing\r\n\r\n").await;
    backend.send(ok("whole")).await;
    let answer = loop {
        let answer = client.answer().await;
        if answer.status() >= 200 {
            break answer;
        }
    };
    assert_eq!((answer.status(), answer.text().as_str()), (200, "whole"));
    let (_, last) = exchange(&mut client, &mut backend, request("GET /", ""), ok("last")).await;
    assert_eq!(last.text(), "last");
}
