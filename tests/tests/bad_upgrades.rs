//! Requests that are no upgrades, or bad ones, or never complete.

use std::time::Duration;

use bytes::BytesMut;
use steadfast_tests::admin::exchange;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::http::{HTTP_2, Response, http_2_goodbye, read_response};
use steadfast_tests::upgrade::{Upgrade, complete};
use steadfast_tests::wait::bounded;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn scene() -> (Backend, Broker) {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    (backend, broker)
}

/// A 400 with a sentence.
fn assert_bad_request(name: &str, response: &Response) {
    assert_eq!(response.status, 400, "{name}: {response:?}");
    assert!(response.text().trim().contains(' '), "{name}: the body is a sentence: {:?}", response.text());
}

#[tokio::test]
async fn malformed_upgrades_get_400_and_a_sentence() {
    let (backend, broker) = scene().await;
    let request = || Upgrade::to(broker.address());
    let cases = [
        ("no key", request().without("Sec-WebSocket-Key")),
        ("a key of 15 bytes", request().replace("Sec-WebSocket-Key", "MTIzNDU2Nzg5MDEyMzQ1")),
        ("a key that is not base64", request().replace("Sec-WebSocket-Key", "!!!!!!!!!!!!!!!!!!!!!!==")),
        ("an empty key", request().replace("Sec-WebSocket-Key", "")),
        ("two keys", request().header("Sec-WebSocket-Key", "MTIzNDU2Nzg5MDEyMzQ1Ng==")),
        ("no Host", request().without("Host")),
        ("two versions", request().header("Sec-WebSocket-Version", "8")),
        ("the version twice", request().header("Sec-WebSocket-Version", "13")),
        ("two Hosts", request().header("Host", "b.test")),
    ];
    for (name, request) in cases {
        assert_bad_request(name, &request.refused().await);
    }
    for host in ["a b", "a/b", "a\"b", "u@h", "a#b", "a:80:80", "a:x", "::1", "[::1", "a, b", "b\u{fc}cher"] {
        assert_bad_request(host, &request().replace("Host", host).refused().await);
    }
    for target in
        ["h", "h:80", "*", "/a#b?c=d", "/#", "http://h/x#y", "http://h#y", "ftp://h/", "http://u@h/"]
    {
        assert_bad_request(target, &request().path(target).refused().await);
    }
    let post = String::from_utf8(request().encode()).expect("text").replacen("GET", "POST", 1);
    let response = exchange(broker.address(), post.as_bytes()).await.expect("an answer");
    assert!([400, 405].contains(&response.status), "POST: {response:?}");
    assert_eq!(backend.journal().connections().len(), 0, "no backend was bothered");
    Client::connect(broker.address()).await.ask("hello", "a:hello").await;
}

#[tokio::test]
async fn a_url_in_the_request_line_names_the_host() {
    let (backend, broker) = scene().await;
    let cases = [
        ("http://b.test/x", "/x", "b.test"),
        ("http://h?x=1", "/?x=1", "h"),
        ("ws://B.test:8080", "/", "B.test:8080"),
        ("/http://b.test/%23", "/http://b.test/%23", "a.test"),
    ];
    for (target, ..) in cases {
        Upgrade::to(broker.address()).replace("Host", "a.test").path(target).connect().await;
    }
    let seen = backend.journal().connections();
    assert_eq!(seen.len(), cases.len());
    for (seen, (target, path, host)) in seen.iter().zip(cases) {
        assert_eq!(seen.line, format!("GET {path} HTTP/1.1"), "{target}");
        assert_eq!(seen.header_values("host"), [host], "{target}");
        assert_eq!(seen.header_values("x-forwarded-host"), [host], "{target}");
    }
}

#[tokio::test]
async fn refusals_arrive_though_much_is_unread_behind_the_request() {
    let (refusing, dead) = (Backend::start("refusing", "--refuse 401").await, Backend::absent("dead", ""));
    let broker = Broker::over(&[&refusing]).pool("dead", &[&dead]);
    let broker = broker.setting("access", "deny = \"127.0.0.9\"").start().await;
    let [first, second] = [0, 1].map(|pool| Upgrade::to(broker.address_of(pool)));
    let cases = [
        (400, first.clone().without("Sec-WebSocket-Key")),
        (401, first.clone()),
        (403, first.clone().from([127, 0, 0, 9])),
        (426, first.clone().replace("Sec-WebSocket-Version", "8")),
        (404, first.clone().without("Upgrade")),
        (431, first.clone().header("X-Large", &"x".repeat(17 << 10))),
        (503, second),
    ];
    for (status, request) in cases {
        let mut stream = request.behind(vec![b'x'; 256 << 10]).open().await;
        let mut answer = Vec::new();
        let end = bounded("the end of a refusal", stream.read_to_end(&mut answer)).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {text}");
        assert!(end.is_ok(), "{status}: the connection is closed, not reset: {end:?}");
    }
}

#[tokio::test]
async fn a_wrong_version_gets_426_and_the_right_one() {
    let (backend, broker) = scene().await;
    for version in ["8", "12", "14", "thirteen"] {
        let response =
            Upgrade::to(broker.address()).replace("Sec-WebSocket-Version", version).refused().await;
        assert_eq!(response.status, 426, "version {version}: {response:?}");
        assert_eq!(response.header("sec-websocket-version"), Some("13"), "version {version}");
    }
    let response = Upgrade::to(broker.address()).without("Sec-WebSocket-Version").refused().await;
    assert!([400, 426].contains(&response.status), "no version: {response:?}");
    assert_eq!(backend.journal().connections().len(), 0);
}

#[tokio::test]
async fn what_is_not_http_gets_400() {
    let (_backend, broker) = scene().await;
    let requests: [&[u8]; 4] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on\r\n\r\n",
        b"hello there\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nBad Header Name: x\r\n\r\n",
    ];
    for request in requests {
        // A connection that just ends is an answer too; a 101 or a hang is not.
        if let Some(response) = exchange(broker.address(), request).await {
            assert!([400, 505].contains(&response.status), "{request:?}: {response:?}");
        }
    }
    Client::connect(broker.address()).await.ask("hello", "a:hello").await;
}

#[tokio::test]
async fn who_speaks_http_2_is_told_in_http_2_to_speak_http_1_1() {
    let (backend, broker) = scene().await;
    let begin = async |bytes: &[u8]| {
        let mut stream = TcpStream::connect(broker.address()).await.expect("the listener accepts");
        stream.write_all(bytes).await.expect("it is taken");
        let mut said = Vec::new();
        bounded("the end", stream.read_to_end(&mut said)).await.expect("an orderly end");
        said
    };
    let sentence = "this port speaks HTTP/1.1 alone";
    assert_eq!(http_2_goodbye(&begin(HTTP_2).await), sentence);
    // What only begins like it is no HTTP/1.1 either, and is not taken for it.
    for other in [&b"PRI * HTTP/2.0\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r\0\0\0\x04\0\0\0\0\0"] {
        assert!(begin(other).await.starts_with(b"HTTP/1.1 400 "), "{}", other.escape_ascii());
    }
    broker.wait_metric("steadfast_handshake_errors_total", &[], |count| count == 3.0).await;
    assert_eq!(backend.journal().connections().len(), 0);
    Client::connect(broker.address()).await.ask("hello", "a:hello").await;
}

#[tokio::test]
async fn header_names_and_tokens_have_no_case() {
    let (_backend, broker) = scene().await;
    let request = Upgrade::to(broker.address()).without("Upgrade").without("Connection");
    let mut client =
        request.header("UPGRADE", "WebSocket").header("connection", "foo, uPGRADE").connect().await;
    client.ask("hello", "a:hello").await;
}

#[tokio::test]
async fn headers_over_the_limit_get_431() {
    let (backend, broker) = scene().await;
    let request = Upgrade::to(broker.address()).header("X-Large", &"x".repeat(17 << 10));
    assert_eq!(request.refused().await.status, 431);
    let request = Upgrade::to(broker.address()).header("X-Large", &"x".repeat(12 << 10));
    request.connect().await.ask("hello", "a:hello").await;
    assert_eq!(backend.journal().connections().len(), 1);
}

#[tokio::test]
async fn header_lines_over_the_limit_get_431() {
    let (backend, broker) = scene().await;
    // Five lines are the upgrade's own.
    let with =
        |lines| (5..lines).fold(Upgrade::to(broker.address()), |own, n| own.header(&format!("X-{n}"), "1"));
    assert_eq!(with(101).refused().await.status, 431);
    with(100).connect().await.ask("hello", "a:hello").await;
    let seen = backend.journal().connections();
    assert_eq!((seen.len(), seen[0].header("x-99")), (1, Some("1")));
}

/// Waits until the broker has ended the connection; whether it answers before is its choice.
async fn assert_given_up(mut stream: TcpStream) {
    let answer =
        bounded("an end to a slow handshake", read_response(&mut stream, &mut BytesMut::new())).await;
    let status = answer.map(|answer| answer.status);
    assert!(matches!(status, None | Some(400 | 408)), "{status:?}");
}

#[tokio::test]
async fn slow_and_silent_handshakes_time_out_and_hold_nobody_up() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).setting("timeouts", "handshake = \"1500ms\"").start().await;
    let mut slow = Vec::new();
    for n in 0..60 {
        let mut stream = TcpStream::connect(broker.address()).await.expect("the listener accepts");
        let begin = &b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"[..n % 45];
        stream.write_all(begin).await.expect("the beginning can be written");
        slow.push(stream);
        if n % 10 == 0 {
            Client::connect(broker.address()).await.ask("hello", "a:hello").await;
        }
    }
    for stream in slow {
        assert_given_up(stream).await;
    }
    Client::connect(broker.address()).await.ask("hello", "a:hello").await;
}

#[tokio::test]
async fn a_handshake_that_arrives_byte_by_byte_is_understood() {
    let (_backend, broker) = scene().await;
    let mut stream = TcpStream::connect(broker.address()).await.expect("the listener accepts");
    stream.set_nodelay(true).expect("TCP_NODELAY");
    for byte in Upgrade::to(broker.address()).encode() {
        stream.write_all(&[byte]).await.expect("a byte can be written");
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    let mut client = complete(stream).await.expect("the upgrade is accepted");
    client.ask("hello", "a:hello").await;
}

#[tokio::test]
async fn a_slow_answer_of_a_backend_holds_up_only_its_own_client() {
    let (slow, quick) =
        (Backend::start("slow", "--spoil-upgrade hang").await, Backend::start("quick", "").await);
    let broker = Broker::over(&[&slow]).pool("quick", &[&quick]).start().await;
    let mut waiting = Vec::new();
    for _ in 0..30 {
        waiting.push(Upgrade::to(broker.address()).open().await);
    }
    let mut client = Client::connect(broker.address_of(1)).await;
    client.ask("hello", "quick:hello").await;
}

#[tokio::test]
async fn unfinished_handshakes_are_limited() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).setting("limits", "max_handshakes = 5");
    let broker = broker.setting("timeouts", "handshake = \"1s\"").start().await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(broker.address()).await.expect("the backlog has room"));
    }
    // Refused or made to wait, but served when the silent ones have been given up.
    let response = Upgrade::to(broker.address()).attempt().await.map_err(|response| response.status);
    assert!(!matches!(response, Err(status) if status != 503 && status != 0), "{response:?}");
    for stream in silent {
        let answer =
            bounded("an end to a silent handshake", read_response(&mut { stream }, &mut BytesMut::new()))
                .await;
        assert!(matches!(answer.map(|answer| answer.status), None | Some(400 | 408 | 503)));
    }
    Client::connect(broker.address()).await.ask("hello", "a:hello").await;
}
