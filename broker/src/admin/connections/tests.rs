//! How long each step may take. Time stands still but while everybody waits.

use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::*;

/// Longer than any step.
const LONG: Duration = Duration::from_secs(60);

/// A server with a page, one that takes a body, and one that is larger than sockets' buffers.
async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let router = Router::new()
        .route(HEALTH, get(async || "ok\n"))
        .route("/large", get(async || "x".repeat(64 << 20)))
        .route("/body", post(async |body: String| body));
    tokio::spawn(serve(listener, router));
    address
}

/// What comes until the server ends the connection, which is not left to the peer.
async fn to_the_end(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    timeout(LONG, stream.read_to_end(&mut heard)).await.expect("an end").expect("no reset");
    String::from_utf8(heard).expect("text")
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_or_not_enough_is_let_go() {
    let address = server().await;
    for begin in ["", "GET /heal", "GET /healthz HTTP/1.1\r\nHost: x\r\nX-"] {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(begin.as_bytes()).await.expect("the socket takes it");
        let before = Instant::now();
        assert_eq!(to_the_end(&mut stream).await, "", "{begin}");
        assert!(before.elapsed() >= STEP, "not before its time");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_let_go() {
    let mut stream = TcpStream::connect(server().await).await.expect("it listens");
    for _ in 0..2 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("the socket takes it");
        let mut answer = [0; 512];
        let n = stream.read(&mut answer).await.expect("an answer");
        assert!(answer[..n].starts_with(b"HTTP/1.1 200"));
    }
    assert_eq!(to_the_end(&mut stream).await, "");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let mut stream = TcpStream::connect(server().await).await.expect("it listens");
    let request = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf";
    stream.write_all(request).await.expect("the socket takes it");
    let answer = to_the_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_of_an_answer_is_let_go() {
    let mut stream = TcpStream::connect(server().await).await.expect("it listens");
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("the socket takes it");
    sleep(3 * STEP).await;
    let mut heard = Vec::new();
    // What the kernel has is still there, or lost in a reset.
    let _ = timeout(LONG, stream.read_to_end(&mut heard)).await.expect("an end");
    assert!(heard.len() < 64 << 20, "{} bytes", heard.len());
}

#[tokio::test]
async fn an_answer_that_is_taken_arrives_whole() {
    let mut stream = TcpStream::connect(server().await).await.expect("it listens");
    let request = b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("the socket takes it");
    assert!(to_the_end(&mut stream).await.ends_with(&"x".repeat(64 << 20)));
}

#[tokio::test]
async fn the_change_that_somebody_asks_for_and_leaves_is_made() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let (done, mut changes) = tokio::sync::mpsc::channel(1);
    let change = async move || {
        let _ = done.send(()).await;
    };
    let router = Router::new().route(HEALTH, get(async || "ok\n")).route("/change", post(change));
    tokio::spawn(serve(listener, router));
    let mut hasty = TcpStream::connect(address).await.expect("it listens");
    hasty.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("the socket takes it");
    assert_ne!(hasty.read(&mut [0; 512]).await.expect("an answer"), 0);
    // Nobody else runs before the end is there too.
    let request = b"POST /change HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(hasty.try_write(request).expect("the socket takes it"), request.len());
    drop(hasty);
    timeout(LONG, changes.recv()).await.expect("in time").expect("the change");
}
