//! Headers pass as they came, but for those of one connection, and those that say who the client is.

use steadfast_tests::origin::ok;
use steadfast_tests::wire::{Message, Wire};

use crate::front::{Front, is_haproxy};
use crate::requests::{request, scene};

/// Sends it, answers with `answer`, and returns both as they have arrived.
async fn pass(bytes: Vec<u8>, answer: impl AsRef<[u8]>) -> (Message, Message, Front) {
    let (origin, front) = scene().await;
    let mut client = Wire::dial_from(front.address, [127, 0, 0, 9]).await;
    client.send(bytes).await;
    let mut backend = origin.accept().await;
    let seen = backend.request().await;
    backend.send(answer).await;
    (seen, client.answer().await, front)
}

#[tokio::test]
async fn a_requests_headers_pass_as_they_came() {
    let long = "x".repeat(8000);
    let lines = format!(
        "X-Case: Value With  Two Spaces\nCookie: a=1\nCookie: b=\"2\"\nx-empty:\nX-Utf8: gr\u{fc}\u{df}e\nAccept: */*\nAccept-Encoding: br, gzip\n\
         Authorization: Basic eDp5\nRange: bytes=0-1\nIf-None-Match: \"a\", \"b\"\nX-Long: {long}\nPriority: u=1, i\n\
         Forwardedness: no\nUser-Agent: test/1.0 (a; b)"
    );
    let (seen, answer, _) =
        pass(request(&format!("GET /p//a/../b?q=1;2&%7e#\n{lines}").replace('#', ""), ""), ok("")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(seen.line, "GET /p//a/../b?q=1;2&%7e HTTP/1.1", "the target is not tidied");
    assert_eq!(seen.header_values("host"), ["a.test"]);
    for line in lines.lines().filter(|line| !line.starts_with("Cookie")) {
        let (name, value) = line.split_once(':').expect("a header");
        assert_eq!(seen.header_values(name), [value.trim()], "{name}");
    }
    assert_eq!(seen.header_values("cookie"), ["a=1", "b=\"2\""]);
}

#[tokio::test]
async fn an_answers_headers_pass_as_they_came() {
    let lines = "Server: own/1\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nSet-Cookie: a=1; Path=/\r\n\
                 Set-Cookie: b=2\r\nX-Empty:\r\nX-Case: A  B\r\nCache-Control: no-store\r\nVary: Origin\r\n\
                 Content-Type: text/plain; charset=utf-8\r\nContent-Encoding: br\r\n";
    let answer = format!("HTTP/1.1 404 Gone Fishing\r\n{lines}Content-Length: 2\r\n\r\nno");
    let (_, answer, _) = pass(request("GET /", ""), answer).await;
    assert_eq!((answer.status(), answer.text().as_str()), (404, "no"));
    for line in lines.lines().filter(|line| !line.starts_with("Set-Cookie")) {
        let (name, value) = line.split_once(':').expect("a header");
        assert_eq!(answer.header_values(name), [value.trim()], "{name}");
    }
    assert_eq!(answer.header_values("set-cookie"), ["a=1; Path=/", "b=2"]);
    assert_eq!(answer.header_values("content-length"), ["2"]);
}

#[tokio::test]
async fn a_backend_learns_whose_request_it_is() {
    let head = "GET /\nX-Forwarded-For: 10.9.9.9\nX-Forwarded-Proto: https\nX-Forwarded-Host: evil.test";
    let (seen, ..) = pass(request(head, ""), ok("")).await;
    assert_eq!(
        seen.header_values("x-forwarded-for"),
        ["127.0.0.9"],
        "nobody has vouched for what the client says"
    );
    assert_eq!(seen.header_values("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.header_values("x-forwarded-host"), ["a.test"]);
}

#[tokio::test]
async fn headers_of_one_connection_stay_there() {
    if is_haproxy() {
        // It passes on what `Connection` names, and `Keep-Alive`.
        return;
    }
    let head = "GET /\nConnection: keep-alive, X-Own\nX-Own: 1\nKeep-Alive: timeout=5\nProxy-Connection: keep-alive\n\
                TE: gzip\nX-Other: 2";
    let answer = "HTTP/1.1 200 OK\r\nConnection: X-Own\r\nX-Own: 1\r\nKeep-Alive: timeout=5\r\nX-Other: 2\r\n\
                  Content-Length: 0\r\n\r\n";
    let (seen, answer, _) = pass(request(head, ""), answer).await;
    for (whose, message) in [("request", seen), ("answer", answer)] {
        for name in ["x-own", "keep-alive", "proxy-connection", "te"] {
            assert_eq!(message.header(name), None, "{whose}: {name}");
        }
        assert_eq!(message.header("x-other"), Some("2"), "{whose}");
    }
}

#[tokio::test]
async fn as_many_headers_pass_as_are_allowed() {
    let many: String = (0..90).map(|n| format!("\nX-{n}: {n}")).collect();
    let back: String = (0..90).map(|n| format!("X-{n}: {n}\r\n")).collect();
    let answer = format!("HTTP/1.1 200 OK\r\n{back}Content-Length: 0\r\n\r\n");
    let (seen, answer, _) = pass(request(&format!("GET /{many}"), ""), answer).await;
    for n in 0..90 {
        let (name, value) = (format!("x-{n}"), n.to_string());
        assert_eq!((seen.header(&name), answer.header(&name)), (Some(&*value), Some(&*value)));
    }
}

#[tokio::test]
async fn heads_have_a_limit() {
    let (origin, front) = scene().await;
    let served = origin.serve(|request| ok(request.target()));
    for (size, status) in [(12 << 10, 200), (17 << 10, front.or_haproxy(431, 400))] {
        let mut client = Wire::dial(front.address).await;
        client.send(request(&format!("GET /\nX-Large: {}", "x".repeat(size)), "")).await;
        assert_eq!(client.answer().await.status(), status, "{size} bytes");
    }
    let mut client = Wire::dial(front.address).await;
    client.send(request(&format!("GET /{}", "p".repeat(8000)), "")).await;
    assert_eq!(client.answer().await.body.len(), 8001);
    assert_eq!(served.requests().len(), 2);
}

#[tokio::test]
async fn an_answers_head_has_a_limit_too() {
    let (origin, front) = scene().await;
    let _served = origin.serve(|request| {
        let size: usize = request.target()[1..].parse().expect("a size");
        format!("HTTP/1.1 200 OK\r\nX-Large: {}\r\nContent-Length: 2\r\n\r\nok", "x".repeat(size))
            .into_bytes()
    });
    for (size, status) in [(12 << 10, 200), (1 << 20, 502)] {
        let mut client = Wire::dial(front.address).await;
        client.send(request(&format!("GET /{size}"), "")).await;
        assert_eq!(client.answer().await.status(), status, "{size} bytes");
    }
}
