//! Probes of small servers, right and wrong ones.

use std::net::{IpAddr, Ipv4Addr};

use ::http::HeaderValue;
use futures::{SinkExt, StreamExt};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::{accept_async, accept_hdr_async};

use super::*;
use crate::config::settings::{HeaderCase, SendProxy};
use crate::net::connect::History;
use crate::upstream::manner::Manner;
use crate::upstream::manner::OVER_LIMIT;

const MANNER: Manner =
    Manner { case: HeaderCase::Lower, header: 16 << 10, header_lines: 128, proxy: SendProxy::Off };

/// Good, and nothing besides.
const GOOD: Result<ProbeAnswer, ProbeFailure> = Ok(ProbeAnswer { drain: false });

const HOST: &str = "127.0.0.1";

/// So long that only a test that has failed waits for it.
const LONG: Duration = Duration::from_secs(30);

/// For what does not come at all; enough for what comes before it.
const SHORT: Duration = Duration::from_secs(1);

/// A probe of a backend of which nothing is known.
async fn probe(
    health: &Health,
    host: &str,
    port: u16,
    sources: &[IpAddr],
    manner: Manner,
) -> Result<ProbeAnswer, ProbeFailure> {
    let approach = Approach { sources, history: &History::default(), manner, tls: None };
    super::probe(health, host, port, approach).await
}

fn health(check: Check, timeout: Duration) -> Health {
    Health { check, port: None, interval: LONG, jitter: Duration::ZERO, timeout, rise: 1, fall: 1 }
}

fn http_check(timeout: Duration) -> Health {
    let check = Check::Http {
        method: "GET".to_owned(),
        path: "/health?deep=1".to_owned(),
        host: None,
        expect: vec![200..=399],
    };
    health(check, timeout)
}

fn websocket_check(timeout: Duration) -> Health {
    health(Check::WebSocket { path: "/chat".to_owned(), host: None, shim: false }, timeout)
}

/// Serves one connection with `serve`; what that gives is the task's.
async fn server<T, F>(serve: impl FnOnce(TcpStream) -> F + Send + 'static) -> (u16, JoinHandle<T>)
where
    T: Send + 'static,
    F: Future<Output = T> + Send,
{
    let listener = TcpListener::bind((HOST, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("the probe connects");
        serve(stream).await
    });
    (port, task)
}

/// Answers the first request with `answer`, and gives the request when the probe has closed.
async fn answering(answer: Vec<u8>) -> (u16, JoinHandle<String>) {
    server(async move |mut stream: TcpStream| {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let read = stream.read_buf(&mut request).await.expect("the request");
            assert_ne!(read, 0, "the request is whole before the end");
        }
        // The probe may close before it has read everything.
        let _ = stream.write_all(&answer).await;
        until_closed(stream).await;
        String::from_utf8(request).expect("a request is text")
    })
    .await
}

async fn until_closed(mut stream: TcpStream) {
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
}

async fn upgraded(stream: TcpStream) -> WebSocketStream<TcpStream> {
    accept_async(stream).await.expect("a right upgrade")
}

/// Asks to be drained in its answer to the upgrade.
struct Asking;

impl Callback for Asking {
    fn on_request(self, _: &Request, mut answer: Response) -> Result<Response, ErrorResponse> {
        answer.headers_mut().insert("steadfast-drain", HeaderValue::from_static("on"));
        Ok(answer)
    }
}

/// Reads until the end, so that tungstenite answers what is to be answered; gives what came.
async fn rest(mut socket: WebSocketStream<TcpStream>) -> Vec<Message> {
    let mut seen = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        seen.push(message);
    }
    seen
}

/// The payload of the probe's ping, read past tungstenite, which would answer it: a header of two
/// bytes, the mask, the payload (RFC 6455, 5.2).
async fn pinged(socket: &mut WebSocketStream<TcpStream>) -> Vec<u8> {
    let mut frame = [0; 2 + 4 + 16];
    socket.get_mut().read_exact(&mut frame).await.expect("a ping");
    assert_eq!(frame[..2], [0x89, 0x80 | 16], "a masked ping");
    let (mask, payload) = frame[2..].split_at(4);
    payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
}

/// The connection must be over by the time that its server is awaited, whatever the verdict.
async fn ended<T>(task: JoinHandle<T>) -> T {
    tokio::time::timeout(LONG, task).await.expect("the probe left its connection open").expect("no panic")
}

fn bad<T>(why: &str) -> Result<T, ProbeFailure> {
    Err(ProbeFailure::Backend(why.to_owned()))
}

/// A port that is taken and not listened on, as long as the socket is held.
fn refusing() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    let port = socket.local_addr().expect("it is bound").port();
    (socket, port)
}

#[tokio::test]
async fn a_connection_is_enough_for_tcp() {
    let (port, task) = server(until_closed).await;
    assert_eq!(probe(&health(Check::Tcp, LONG), HOST, port, &[], MANNER).await, GOOD);
    ended(task).await;
}

#[tokio::test]
async fn a_refused_connection_is_bad() {
    let (_taken, port) = refusing();
    for check in [health(Check::Tcp, LONG), http_check(LONG), websocket_check(LONG)] {
        assert_eq!(probe(&check, HOST, port, &[], MANNER).await, bad("connection refused"));
    }
}

#[tokio::test]
async fn the_port_of_the_check_wins() {
    let (_taken, refusing) = refusing();
    let (port, task) = server(until_closed).await;
    let check = Health { port: Some(port), ..health(Check::Tcp, LONG) };
    assert_eq!(probe(&check, HOST, refusing, &[], MANNER).await, GOOD);
    ended(task).await;
}

#[tokio::test]
async fn a_source_is_dialled_from() {
    let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
    let (port, task) = server(async |stream: TcpStream| stream.peer_addr().expect("connected").ip()).await;
    assert_eq!(probe(&health(Check::Tcp, LONG), HOST, port, &[source], MANNER).await, GOOD);
    assert_eq!(ended(task).await, source);
}

#[tokio::test]
async fn a_source_that_is_not_here_is_no_fault_of_the_backend() {
    let (_taken, refusing) = refusing();
    let source = [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))];
    let result = probe(&health(Check::Tcp, LONG), HOST, refusing, &source, MANNER).await;
    assert_eq!(result, Err(ProbeFailure::Local("cannot assign requested address".to_owned())));
}

#[tokio::test]
async fn a_source_of_the_other_family_reaches_nothing() {
    let (_taken, refusing) = refusing();
    let source = [IpAddr::V6("2001:db8::1".parse().expect("an address"))];
    let result = probe(&health(Check::Tcp, LONG), HOST, refusing, &source, MANNER).await;
    assert_eq!(result, bad("there is no source address from which 127.0.0.1 can be reached"));
}

#[tokio::test]
async fn an_expected_status_is_good_and_the_request_is_as_configured() {
    let (port, task) = answering(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n".to_vec()).await;
    assert_eq!(probe(&http_check(LONG), HOST, port, &[], MANNER).await, GOOD);
    let request = ended(task).await.to_lowercase();
    assert!(request.starts_with("get /health?deep=1 http/1.1\r\n"), "{request}");
    for line in [&format!("host: 127.0.0.1:{port}"), "user-agent: steadfast-health", "connection: close"] {
        assert!(request.contains(&format!("\r\n{line}\r\n")), "no {line} in {request}");
    }
}

#[tokio::test]
async fn a_configured_host_and_method_are_sent() {
    let (port, task) = answering(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()).await;
    let check = Check::Http {
        method: "HEAD".to_owned(),
        path: "/".to_owned(),
        host: Some("chat.example.com".to_owned()),
        expect: vec![204..=204],
    };
    assert_eq!(probe(&health(check, LONG), HOST, port, &[], MANNER).await, GOOD);
    let request = ended(task).await.to_lowercase();
    assert!(request.starts_with("head / http/1.1\r\n"), "{request}");
    assert!(request.contains("\r\nhost: chat.example.com\r\n"), "{request}");
}

#[tokio::test]
async fn a_good_answer_may_ask_for_a_drain() {
    for (head, drain) in [
        ("200 OK\r\nSteadfast-Drain: on", true),
        ("204 No Content\r\nsteadfast-drain:  ON ", true),
        ("200 OK\r\nSteadfast-Drain: off", false),
        ("200 OK\r\nDrain: on", false),
    ] {
        let (port, task) = answering(format!("HTTP/1.1 {head}\r\n\r\n").into_bytes()).await;
        assert_eq!(
            probe(&http_check(LONG), HOST, port, &[], MANNER).await,
            Ok(ProbeAnswer { drain }),
            "{head}"
        );
        ended(task).await;
    }
    let head = "HTTP/1.1 500 Down\r\nSteadfast-Drain: on\r\nContent-Length: 0\r\n\r\n";
    let (port, task) = answering(head.into()).await;
    let result = probe(&http_check(LONG), HOST, port, &[], MANNER).await;
    assert_eq!(result, bad("answered 500, expected 200-399"), "a bad one only tells that it is bad");
    ended(task).await;
}

#[tokio::test]
async fn another_status_is_bad() {
    let (port, task) = answering(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy".to_vec()).await;
    let result = probe(&http_check(LONG), HOST, port, &[], MANNER).await;
    assert_eq!(result, bad("answered 503, expected 200-399"));
    ended(task).await;
}

#[tokio::test]
async fn several_expected_statuses_are_all_named() {
    let (port, task) = answering(b"HTTP/1.1 404 Not Found\r\n\r\n".to_vec()).await;
    let check = Check::Http {
        method: "GET".to_owned(),
        path: "/".to_owned(),
        host: None,
        expect: vec![200..=299, 401..=401],
    };
    let result = probe(&health(check, LONG), HOST, port, &[], MANNER).await;
    assert_eq!(result, bad("answered 404, expected 200-299, 401"));
    ended(task).await;
}

#[tokio::test]
async fn the_status_counts_and_an_endless_body_does_not() {
    let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    answer.resize(8 << 20, b'x');
    let (port, task) = answering(answer).await;
    assert_eq!(probe(&http_check(LONG), HOST, port, &[], MANNER).await, GOOD);
    ended(task).await;
}

#[tokio::test]
async fn headers_over_our_limit_are_not_the_backends_fault() {
    let mut long = b"HTTP/1.1 200 OK\r\nX-Padding: ".to_vec();
    long.resize(1 << 20, b'x');
    let many = |status: &str| format!("HTTP/1.1 {status}\r\n{}\r\n", "X-A: 1\r\n".repeat(129)).into_bytes();
    let cases = [
        (http_check(LONG), long),
        (http_check(LONG), many("200 OK")),
        (websocket_check(LONG), many("101 Switching Protocols")),
    ];
    for (check, answer) in cases {
        let (port, task) = answering(answer).await;
        let result = probe(&check, HOST, port, &[], MANNER).await;
        assert_eq!(result, Err(ProbeFailure::Local(OVER_LIMIT.to_owned())));
        ended(task).await;
    }
}

#[tokio::test]
async fn headers_are_read_as_those_for_sessions_are() {
    let head = "X-A : 1\r\nX-Folded: a\r\n b\r\nSteadfast-Drain : on\r\n";
    let answer = format!("HTTP/1.1 200 OK\r\n{head}Content-Length: 0\r\n\r\n");
    let (port, task) = answering(answer.into_bytes()).await;
    assert_eq!(probe(&http_check(LONG), HOST, port, &[], MANNER).await, Ok(ProbeAnswer { drain: true }));
    ended(task).await;

    let (port, task) = server(async move |mut stream: TcpStream| {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut request).await.expect("the request"), 0);
        }
        let request = String::from_utf8(request).expect("text");
        let (_, key) = request.split_once("sec-websocket-key: ").expect("a key");
        let accept = derive_accept_key(key.lines().next().expect("a line").as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade : websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{head}\r\n"
        );
        // A greeting right behind the head.
        stream.write_all(&[answer.as_bytes(), b"\x81\x02hi"].concat()).await.expect("it is read");
        rest(WebSocketStream::from_raw_socket(stream, Role::Server, None).await).await
    })
    .await;
    assert_eq!(probe(&websocket_check(LONG), HOST, port, &[], MANNER).await, Ok(ProbeAnswer { drain: true }));
    assert!(matches!(&ended(task).await[..], [Message::Ping(_), Message::Close(_)]));
}

#[tokio::test]
async fn an_upgrade_with_a_wrong_accept_is_bad() {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let (port, task) = answering(answer.into()).await;
    let result = probe(&websocket_check(LONG), HOST, port, &[], MANNER).await;
    assert_eq!(result, bad("its Sec-WebSocket-Accept is wrong"));
    ended(task).await;
}

#[tokio::test]
async fn a_checks_headers_are_spelled_as_the_pool_has_it() {
    let title = Manner { case: HeaderCase::Title, ..MANNER };
    for (check, names) in [
        (http_check(LONG), &["Host", "User-Agent", "Connection"][..]),
        (websocket_check(LONG), &["Host", "Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version"]),
    ] {
        let (port, task) = answering(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()).await;
        let _ = probe(&check, HOST, port, &[], title).await;
        let request = ended(task).await;
        for name in names {
            assert!(request.contains(&format!("\r\n{name}: ")), "no {name} in {request}");
        }
    }
}

#[tokio::test]
async fn garbage_is_bad() {
    let (port, task) = answering(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()).await;
    let result = probe(&http_check(LONG), HOST, port, &[], MANNER).await;
    assert_eq!(result, bad("answered with something that is not HTTP"));
    ended(task).await;
}

#[tokio::test]
async fn an_end_without_an_answer_is_bad() {
    let (port, task) = server(async |mut stream: TcpStream| {
        assert_ne!(stream.read(&mut [0; 4096]).await.expect("the request"), 0);
        stream.shutdown().await.expect("open until now");
        until_closed(stream).await;
    })
    .await;
    let result = probe(&http_check(LONG), HOST, port, &[], MANNER).await;
    assert_eq!(result, bad("closed without a whole answer"));
    ended(task).await;
}

#[tokio::test]
async fn silence_is_bad_after_the_timeout() {
    let (port, task) = server(until_closed).await;
    assert_eq!(probe(&http_check(SHORT), HOST, port, &[], MANNER).await, bad("no answer within 1s"));
    ended(task).await;
    let (port, task) = server(until_closed).await;
    let result = probe(&websocket_check(SHORT), HOST, port, &[], MANNER).await;
    assert_eq!(result, bad("no answer to the upgrade within 1s"));
    ended(task).await;
}

#[tokio::test]
async fn a_pong_is_good_and_the_probe_says_goodbye() {
    let (port, task) = server(async |stream| rest(upgraded(stream).await).await).await;
    assert_eq!(probe(&websocket_check(LONG), HOST, port, &[], MANNER).await, GOOD);
    let seen = ended(task).await;
    let [Message::Ping(payload), Message::Close(Some(close))] = &seen[..] else {
        panic!("expected a ping and a Close, got {seen:?}");
    };
    assert_eq!(payload.len(), 16);
    assert_eq!(u16::from(close.code), 1000);
}

#[tokio::test]
async fn an_upgrade_with_a_pong_may_ask_for_a_drain() {
    let (port, task) =
        server(async |stream| rest(accept_hdr_async(stream, Asking).await.expect("a right upgrade")).await)
            .await;
    assert_eq!(probe(&websocket_check(LONG), HOST, port, &[], MANNER).await, Ok(ProbeAnswer { drain: true }));
    ended(task).await;
}

#[tokio::test]
async fn a_refused_upgrade_is_bad_and_was_as_configured() {
    let (port, task) = answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_vec()).await;
    let result = probe(&websocket_check(LONG), HOST, port, &[], MANNER).await;
    assert_eq!(result, bad("answered 403 to the upgrade"));
    let request = ended(task).await.to_lowercase();
    assert!(request.starts_with("get /chat http/1.1\r\n"), "{request}");
    for line in [&format!("host: 127.0.0.1:{port}"), "user-agent: steadfast-health"] {
        assert!(request.contains(&format!("\r\n{line}\r\n")), "no {line} in {request}");
    }
}

#[tokio::test]
async fn each_ping_has_another_payload() {
    let mut payloads = Vec::new();
    for _ in 0..2 {
        let (port, task) = server(async |stream| rest(upgraded(stream).await).await).await;
        assert_eq!(probe(&websocket_check(LONG), HOST, port, &[], MANNER).await, GOOD);
        payloads.push(ended(task).await.remove(0).into_data());
    }
    assert_ne!(payloads[0], payloads[1]);
}

#[tokio::test]
async fn what_comes_before_the_pong_is_passed_over() {
    let (port, task) = server(async |stream| {
        let mut socket = upgraded(stream).await;
        for greeting in [Message::text("welcome"), Message::Ping("you?".into()), Message::Pong("me".into())] {
            socket.send(greeting).await.expect("the probe reads");
        }
        rest(socket).await;
    })
    .await;
    assert_eq!(probe(&websocket_check(LONG), HOST, port, &[], MANNER).await, GOOD);
    ended(task).await;
}

#[tokio::test]
async fn no_pong_is_bad() {
    let (port, task) = server(async |stream| until_closed(upgraded(stream).await.into_inner()).await).await;
    assert_eq!(probe(&websocket_check(SHORT), HOST, port, &[], MANNER).await, bad("no pong within 1s"));
    ended(task).await;
}

#[tokio::test]
async fn a_pong_with_another_payload_is_no_answer() {
    let (port, task) = server(async |stream| {
        let mut socket = upgraded(stream).await;
        let mut wrong = pinged(&mut socket).await;
        wrong[0] ^= 1;
        socket.send(Message::Pong(wrong.into())).await.expect("the probe reads");
        until_closed(socket.into_inner()).await;
    })
    .await;
    assert_eq!(probe(&websocket_check(SHORT), HOST, port, &[], MANNER).await, bad("no pong within 1s"));
    ended(task).await;
}

#[tokio::test]
async fn a_close_in_place_of_the_pong_is_bad() {
    let (port, task) = server(async |stream| {
        let mut socket = upgraded(stream).await;
        let frame = CloseFrame { code: 1013.into(), reason: "later".into() };
        socket.send(Message::Close(Some(frame))).await.expect("the probe reads");
        rest(socket).await;
    })
    .await;
    let result = probe(&websocket_check(LONG), HOST, port, &[], MANNER).await;
    assert_eq!(result, bad("closed with 1013 instead of a pong"));
    ended(task).await;
}

#[tokio::test]
async fn a_message_that_is_too_large_is_bad() {
    let (port, task) = server(async |stream| {
        let mut socket = upgraded(stream).await;
        let _ = socket.send(Message::binary(vec![0; 1 << 20])).await;
        rest(socket).await;
    })
    .await;
    let result = probe(&websocket_check(LONG), HOST, port, &[], MANNER).await;
    assert_eq!(result, bad("sent more than 64 KiB at once"));
    ended(task).await;
}

#[tokio::test]
async fn a_backend_that_talks_and_talks_is_bad() {
    let (port, task) = server(async |stream| {
        let mut socket = upgraded(stream).await;
        while socket.send(Message::text("bla")).await.is_ok() {}
    })
    .await;
    let result = probe(&websocket_check(LONG), HOST, port, &[], MANNER).await;
    assert_eq!(result, bad("no pong after 64 messages or 64 KiB"));
    ended(task).await;
}

#[tokio::test]
async fn a_backend_that_never_closes_is_still_good() {
    let (port, task) = server(async |stream| {
        let mut socket = upgraded(stream).await;
        let payload = pinged(&mut socket).await;
        socket.send(Message::Pong(payload.into())).await.expect("the probe reads");
        until_closed(socket.into_inner()).await;
    })
    .await;
    assert_eq!(probe(&websocket_check(LONG), HOST, port, &[], MANNER).await, GOOD);
    ended(task).await;
}

#[tokio::test]
async fn probes_may_run_in_tasks() {
    let (_taken, port) = refusing();
    let task = tokio::spawn(async move { probe(&websocket_check(LONG), HOST, port, &[], MANNER).await });
    assert_eq!(ended(task).await, bad("connection refused"));
}

#[test]
fn an_ipv6_address_stands_in_brackets() {
    assert_eq!(http::authority("::1", 80), "[::1]:80");
    assert_eq!(http::authority("chat.internal", 9001), "chat.internal:9001");
}
