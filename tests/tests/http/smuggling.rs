//! What one end takes for one request must be one for the other end too: whoever can make them disagree puts requests into
//! other people's connections.

use steadfast_tests::origin::{Origin, Served, ok};
use steadfast_tests::upgrade::{KEY, Upgrade};
use steadfast_tests::wire::Wire;

use crate::front::{Front, Plan, is_haproxy};
use crate::requests::{chunked, request, scene};

/// What must never reach a backend as a request of its own.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";

async fn served() -> (Served, Front) {
    let (origin, front) = scene().await;
    (origin.serve(|request| ok(request.target())), front)
}

/// Sends these bytes, and returns the status of the first answer; 0 when there is none. Whatever it was, no second request
/// has come of it, the connection is not used further after a refusal, and others are served well.
async fn tried(front: &Front, backend: &Served, bytes: impl AsRef<[u8]>) -> u16 {
    let mut client = Wire::dial(front.address).await;
    client.send(&bytes).await;
    let status = client.try_answer().await.map_or(0, |answer| answer.status());
    if status != 200 {
        let rest = client.rest().await;
        assert!(rest.is_empty(), "something follows a refusal: {}", String::from_utf8_lossy(&rest));
    }
    let mut other = Wire::dial(front.address).await;
    for n in 0..3 {
        other.send(request(&format!("GET /after/{n}"), "")).await;
        assert_eq!(other.answer().await.text(), format!("/after/{n}"), "somebody else's answer");
    }
    let shown = String::from_utf8_lossy(bytes.as_ref()).into_owned();
    for seen in backend.requests() {
        let target = seen.target();
        assert!(!target.contains("smuggled"), "{shown:?} became two requests");
    }
    status
}

#[tokio::test]
async fn two_lengths_of_a_body_are_refused() {
    let (backend, front) = served().await;
    let both = [
        "POST /\nContent-Length: 5\nTransfer-Encoding: chunked",
        "POST /\nTransfer-Encoding: chunked\nContent-Length: 5",
        "POST /\ntransfer-encoding: Chunked\ncontent-length: 0",
    ];
    for head in both {
        let status = tried(&front, &backend, request(head, format!("0\r\n\r\n{SMUGGLED}")).as_slice()).await;
        // HAProxy takes the length out, and then there is one request, and one behind it, as its client has sent them.
        assert_eq!(status, front.or_haproxy(400, status), "{head}");
    }
}

#[tokio::test]
async fn lengths_that_differ_are_refused() {
    let (backend, front) = served().await;
    for lengths in ["5\nContent-Length: 6", "5, 6", "0\nContent-Length: 45", "5\nContent-Length: x"] {
        let bytes = request(&format!("POST /\nContent-Length: {lengths}"), format!("hello{SMUGGLED}"));
        assert_eq!(tried(&front, &backend, bytes).await, 400, "{lengths}");
    }
    assert!(backend.requests().iter().all(|request| request.target().starts_with("/after")));
}

#[tokio::test]
async fn the_same_length_twice_is_one() {
    let (backend, front) = served().await;
    for lengths in ["5\nContent-Length: 5", "5, 5"] {
        let bytes = request(&format!("POST /twice\nContent-Length: {lengths}"), "hello");
        let status = tried(&front, &backend, bytes).await;
        assert!([200, 400].contains(&status), "{lengths}: {status}");
    }
    for seen in backend.requests().iter().filter(|request| request.target() == "/twice") {
        assert_eq!((seen.header_values("content-length"), seen.text().as_str()), (vec!["5"], "hello"));
    }
}

#[tokio::test]
async fn lengths_that_are_none_are_refused() {
    let (backend, front) = served().await;
    for length in ["+5", "-1", "0x5", "5 5", "5a", "99999999999999999999999", "", " ,5"] {
        let bytes = request(&format!("POST /\nContent-Length: {length}"), format!("hello{SMUGGLED}"));
        assert_eq!(tried(&front, &backend, bytes).await, 400, "{length:?}");
    }
    assert!(backend.requests().iter().all(|request| request.target().starts_with("/after")));
}

#[tokio::test]
async fn codings_that_are_not_chunked_alone_are_refused() {
    let (backend, front) = served().await;
    let codings = [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked\nTransfer-Encoding: identity",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\n : chunked",
        "Transfer-Encoding: chunk\n ed",
        " Transfer-Encoding: chunked",
    ];
    for coding in codings {
        // HAProxy joins what is folded, here to the host.
        if is_haproxy() && coding.starts_with(' ') {
            continue;
        }
        let bytes = request(&format!("POST /\n{coding}"), format!("0\r\n\r\n{SMUGGLED}"));
        let mut client = Wire::dial(front.address).await;
        client.send(&bytes).await;
        let status = client.try_answer().await.map_or(0, |answer| answer.status());
        assert!([400, 411, 501].contains(&status), "{coding:?}: {status}");
        client.end().await;
    }
    assert_eq!(backend.requests().len(), 0, "{:?}", backend.requests());
}

#[tokio::test]
async fn chunks_that_can_be_read_in_two_ways_are_refused() {
    let (backend, front) = served().await;
    let bodies = [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5\r\nhelloXX0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\nhello",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "5\rX\nhello\r\n0\r\n\r\n",
    ];
    for body in bodies {
        // HAProxy has nothing against a line that ends with LF alone.
        if is_haproxy() && body.starts_with("5\n") {
            continue;
        }
        let bytes = request("POST /\nTransfer-Encoding: chunked", format!("{body}{SMUGGLED}"));
        let mut client = Wire::dial(front.address).await;
        client.send(&bytes).await;
        let status = client.try_answer().await.map_or(0, |answer| answer.status());
        assert!([0, 400, 502].contains(&status), "{body:?}: {status}");
        client.end().await;
    }
    assert_eq!(backend.requests().len(), 0, "no request has become whole: {:?}", backend.requests());
}

#[tokio::test]
async fn chunks_reach_the_backend_without_what_was_added_to_them() {
    let (backend, front) = served().await;
    let body = "5;name=\"a;b\"\r\nhello\r\n0\r\n\r\n";
    let status = tried(&front, &backend, request("POST /added\nTransfer-Encoding: chunked", body)).await;
    assert!([200, 400].contains(&status), "{status}");
    for seen in backend.requests().iter().filter(|request| request.target() == "/added") {
        assert_eq!(seen.text(), "hello");
    }
}

#[tokio::test]
async fn codings_of_old_requests_are_refused() {
    let (backend, front) = served().await;
    let bytes =
        format!("POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}");
    let status = tried(&front, &backend, bytes).await;
    assert_eq!(status, front.or_haproxy(400, status));
    let bytes = "POST / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\
                 Content-Length: 5\r\n\r\n0\r\n\r\n";
    let status = tried(&front, &backend, bytes).await;
    assert_eq!(status, front.or_haproxy(400, status));
}

#[tokio::test]
async fn a_request_has_one_host() {
    let (backend, front) = served().await;
    assert_eq!(tried(&front, &backend, request("GET /\nHost: b.test", "")).await, 400);
    assert_eq!(tried(&front, &backend, "GET / HTTP/1.1\r\nX: 1\r\n\r\n").await, front.or_haproxy(400, 200));
    for host in ["a b", "a/b", "u@h", "a, b"] {
        let status = tried(&front, &backend, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(status, front.or_haproxy(400, status), "{host}");
    }
}

#[tokio::test]
async fn a_url_in_the_request_line_names_the_host() {
    let (backend, front) = served().await;
    tried(&front, &backend, "GET http://b.test/whole?x=1 HTTP/1.1\r\nHost: b.test\r\n\r\n").await;
    if !is_haproxy() {
        tried(&front, &backend, "GET http://b.test/whole?x=1 HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    }
    let all = backend.requests();
    let seen: Vec<_> = all.iter().filter(|request| request.target().contains("/whole")).collect();
    assert!(!seen.is_empty());
    for seen in seen {
        assert_eq!(seen.header_values("host"), ["b.test"], "{}", seen.line);
        assert!(["/whole?x=1", "http://b.test/whole?x=1"].contains(&seen.target()), "{}", seen.line);
    }
}

#[tokio::test]
async fn connect_is_not_for_us() {
    let (backend, front) = served().await;
    for target in ["b.test:443", "/"] {
        let bytes = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n{SMUGGLED}");
        let mut client = Wire::dial(front.address).await;
        client.send(bytes).await;
        let status = client.try_answer().await.map_or(0, |answer| answer.status());
        if !is_haproxy() {
            assert!([400, 405].contains(&status), "{target}: {status}");
            assert!(target == "/" || status == 405, "{target}: {status}");
            client.end().await;
            assert_eq!(backend.requests().len(), 0);
        }
    }
}

#[tokio::test]
async fn bytes_that_no_header_may_have_are_refused() {
    let (backend, front) = served().await;
    let heads: [&[u8]; 7] = [
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX: a\rGET /smuggled HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX Y: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX\0: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\n: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX: a\r\n folded\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ];
    for head in heads {
        let status = tried(&front, &backend, head).await;
        // HAProxy joins what is folded, and passes a NUL in a value.
        let lax = head.ends_with(b"folded\r\n\r\n") || head.contains(&0);
        let passed = if lax && status == 200 { 200 } else { 400 };
        assert_eq!(status, front.or_haproxy(400, passed), "{:?}", String::from_utf8_lossy(head));
    }
}

#[tokio::test]
async fn no_client_takes_away_what_a_backend_is_told() {
    let (origin, front) = scene().await;
    let mut client = Wire::dial_from(front.address, [127, 0, 0, 9]).await;
    let named =
        "X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, Host, Content-Length, Transfer-Encoding";
    client.send(request(&format!("POST /\nConnection: {named}\nContent-Length: 5"), "hello")).await;
    let mut backend = origin.accept().await;
    let seen = backend.request().await;
    backend.send(ok("")).await;
    assert_eq!(client.answer().await.status(), 200);
    assert_eq!(seen.header_values("x-forwarded-for"), ["127.0.0.9"]);
    assert_eq!(seen.header_values("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.header_values("x-forwarded-host"), ["a.test"]);
    assert_eq!((seen.header_values("host"), seen.text().as_str()), (vec!["a.test"], "hello"));
}

#[tokio::test]
async fn other_protocols_are_not_offered_on() {
    let (origin, front) = scene().await;
    if is_haproxy() {
        return;
    }
    let mut backend = None;
    let mut client = Wire::dial(front.address).await;
    for upgrade in ["h2c", "TLS/1.0", "h2c, foo"] {
        let head = format!(
            "GET /\nConnection: Upgrade, HTTP2-Settings\nUpgrade: {upgrade}\nHTTP2-Settings: AAMAAABkAAQAAP__"
        );
        client.send(request(&head, "")).await;
        let own = match &mut backend {
            Some(own) => own,
            none => none.insert(origin.accept().await),
        };
        let seen = own.request().await;
        for name in ["upgrade", "http2-settings"] {
            assert_eq!(seen.header(name), None, "{upgrade}: {name}");
        }
        let connection = seen.header("connection").unwrap_or_default().to_ascii_lowercase();
        assert!(!connection.contains("upgrade") && !connection.contains("http2"), "{connection}");
        own.send(ok("as ever")).await;
        assert_eq!(client.answer().await.text(), "as ever");
    }
}

/// A backend that switches though it was not asked to would have the client's next requests as it likes.
#[tokio::test]
async fn a_switch_that_nobody_has_asked_for_is_none() {
    let (origin, front) = scene().await;
    let mut client = Wire::dial(front.address).await;
    client.send(request("GET /", "")).await;
    let mut backend = origin.accept().await;
    backend.request().await;
    backend.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n").await;
    let answer = client.try_answer().await.map_or(0, |answer| answer.status());
    assert_eq!(answer, 502);
    let _ = client.try_send(SMUGGLED).await;
    backend.end().await;
}

fn upgrade_bytes(front: &Front) -> Vec<u8> {
    Upgrade::to(front.address).encode()
}

/// What a client says before it is told that the protocol has changed may be a request for whoever refuses to change it.
#[tokio::test]
async fn what_stands_behind_an_upgrade_is_no_request() {
    for refusal in [
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno",
    ] {
        let (origin, front) = scene().await;
        let mut client = Wire::dial(front.address).await;
        client.send([upgrade_bytes(&front), SMUGGLED.into()].concat()).await;
        let mut backend = origin.accept().await;
        let head = backend.head().await;
        assert!(head.line.starts_with("GET / "), "{}", head.line);
        backend.send(refusal).await;
        let answer = client.answer().await;
        assert_ne!(answer.status(), 101, "{refusal}");
        if is_haproxy() {
            // It takes it for one, with the rules of any other.
            continue;
        }
        client.end().await;
        backend.rest().await;
        assert!(!backend.shown().contains("/smuggled"), "{refusal}: {}", backend.shown());
        let mut other = Wire::dial(front.address).await;
        other.send(request("GET /after", "")).await;
        let mut backend = origin.accept().await;
        assert_eq!(backend.request().await.target(), "/after", "on a connection of its own");
    }
}

/// Whatever was answered: only a 101 is a switch.
#[tokio::test]
async fn an_answer_of_200_to_an_upgrade_is_no_switch() {
    let (origin, front) = scene().await;
    let mut client = Wire::dial(front.address).await;
    client.send(upgrade_bytes(&front)).await;
    let mut backend = origin.accept().await;
    backend.head().await;
    backend
        .send("HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nno")
        .await;
    let answer = client.answer().await;
    assert_ne!(answer.status(), 101);
    // What the client says now goes to nobody as it is.
    let _ = client.try_send("raw bytes for the backend").await;
    client.rest().await;
    backend.rest().await;
    assert!(!backend.shown().contains("raw bytes"), "{}", backend.shown());
}

#[tokio::test]
async fn an_upgrade_with_a_body_is_refused() {
    if is_haproxy() {
        return;
    }
    let (backend, front) = served().await;
    let bodies = [
        ("Content-Length: 45", SMUGGLED.to_owned()),
        ("Transfer-Encoding: chunked", String::from_utf8(chunked(SMUGGLED.as_bytes(), 45)).expect("text")),
    ];
    for (framing, body) in bodies {
        let head = format!(
            "GET /ws\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: {KEY}\n{framing}"
        );
        let status = tried(&front, &backend, request(&head, body)).await;
        assert_eq!(status, 400, "{framing}");
    }
    assert!(backend.requests().iter().all(|request| request.target() != "/ws"), "it has gone to nobody");
}

/// Of an answer with two lengths its end is known to nobody.
#[tokio::test]
async fn answers_with_two_lengths_do_not_become_two() {
    let injected = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\ninjected";
    let answers = [
        format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok{injected}"),
        format!("HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok{injected}"),
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{injected}"
        ),
        format!("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok{injected}"),
        format!("HTTP/1.1 304 Not Modified\r\n\r\n{injected}"),
    ];
    for bytes in answers {
        let origin = Origin::listen().await;
        let front = Plan::over(&[("a", origin.address())]).start().await;
        let bad = bytes.clone().into_bytes();
        let _served = origin.serve(move |request| match request.target() {
            "/bad" => bad.clone(),
            target => ok(target),
        });
        let mut client = Wire::dial(front.address).await;
        client.send(request("GET /first", "")).await;
        assert_eq!(client.answer().await.text(), "/first");
        client.send(request("GET /bad", "")).await;
        let seen = client.try_answer().await;
        if let Some(seen) = &seen {
            assert!(seen.header_values("content-length").len() < 2, "{bytes:?}: {seen:?}");
            let both = seen.header("content-length").is_some() && seen.header("transfer-encoding").is_some();
            assert!(!both, "{bytes:?}: {seen:?}");
            if client.try_send(request("GET /next", "")).await.is_ok()
                && let Some(next) = client.try_answer().await
            {
                assert_eq!(next.text(), "/next", "{bytes:?}: the next answer is the next one's");
            }
        }
        let mut other = Wire::dial(front.address).await;
        for n in 0..3 {
            other.send(request(&format!("GET /after/{n}"), "")).await;
            assert_eq!(other.answer().await.text(), format!("/after/{n}"), "{bytes:?}");
        }
    }
}
