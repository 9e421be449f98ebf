//! curl, as a client that was not made for these tests.

use std::process::{Command, Output};

use steadfast_tests::origin::ok;
use steadfast_tests::payload::noise;
use steadfast_tests::wait::bounded;
use steadfast_tests::wire::Message;

use crate::peers::tools::{Tool, left_out};
use crate::requests::{chunked, scene};

/// A method, how long a body was, and a sum over it.
fn told(method: &str, body: &[u8]) -> String {
    let sum = body.iter().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
    format!("{method} {} {sum}", body.len())
}

/// Answers with the method, how long the body was, and a sum over it; `/chunks` in chunks, and so on.
fn answer(request: &Message) -> Vec<u8> {
    let text = told(request.method(), &request.body);
    match request.target() {
        "/chunks" => {
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            [head, chunked(text.as_bytes(), 3)].concat()
        }
        "/close" => format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{text}").into_bytes(),
        "/moved" => b"HTTP/1.1 302 Found\r\nLocation: /chunks\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/none" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        _ if request.method() == "HEAD" => b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n".to_vec(),
        _ => ok(text),
    }
}

/// What curl prints, and behind that the status and the connections it has made.
async fn curl(arguments: &[&str]) -> String {
    let mut command: Command = Tool::Curl.command();
    command.args([
        "--silent",
        "--show-error",
        "--max-time",
        "20",
        "--write-out",
        " %{http_code} %{num_connects}\n",
    ]);
    command.args(arguments);
    let run = tokio::task::spawn_blocking(move || command.output().expect("curl can be started"));
    let Output { status, stdout, stderr } = bounded("curl", run).await.expect("it runs");
    assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8_lossy(&stdout).trim().to_owned()
}

#[tokio::test]
async fn curl_is_served_as_ever() {
    if left_out("curl_is_served_as_ever", &[Tool::Curl]) {
        return;
    }
    let (origin, front) = scene().await;
    let _served = origin.serve(answer);
    let url = |path: &str| format!("http://{}{path}", front.address);
    let (root, chunks) = (url("/"), url("/chunks"));
    for path in ["/", "/chunks", "/close"] {
        assert_eq!(curl(&[&url(path)]).await, "GET 0 0 200 1", "{path}");
    }
    assert_eq!(curl(&["--http1.0", &root]).await, "GET 0 0 200 1");
    assert_eq!(curl(&["--data", "a=b", &root]).await, format!("{} 200 1", told("POST", b"a=b")));
    assert_eq!(curl(&["--request", "DELETE", &root]).await, "DELETE 0 0 200 1");
    assert_eq!(curl(&[&url("/none")]).await, "204 1");
    assert_eq!(curl(&["--location", &url("/moved")]).await, "GET 0 0 200 1", "one connection for both");
    let head = curl(&["--head", &root]).await;
    assert!(head.to_ascii_lowercase().contains("content-length: 5000") && head.ends_with("200 1"), "{head}");
    // One connection for all of them.
    assert_eq!(curl(&[&root, &chunks, &root]).await, "GET 0 0 200 1\nGET 0 0 200 0\nGET 0 0 200 0");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    let body = noise(3 << 20, 5);
    std::fs::write(&file, &body).expect("a file");
    let file = file.to_str().expect("a path of ours is text");
    let expected = format!("{} 200 1", told("PUT", &body));
    assert_eq!(curl(&["--upload-file", file, &root]).await, expected);
    assert_eq!(
        curl(&["--header", "Transfer-Encoding: chunked", "--upload-file", file, &root]).await,
        expected
    );
}

#[tokio::test]
async fn curl_that_asks_first_is_told_to_go_on() {
    if left_out("curl_that_asks_first_is_told_to_go_on", &[Tool::Curl]) {
        return;
    }
    let (origin, front) = scene().await;
    let url = format!("http://{}/", front.address);
    // It waits for longer than it may run.
    let patient = ["--header", "Expect: 100-continue", "--expect100-timeout", "60", "--data", "hello", &url];
    let backend = async {
        let mut wire = origin.accept().await;
        if wire.head().await.headers.iter().any(|(name, _)| name == "expect") {
            wire.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        }
        assert_eq!(wire.bytes(5).await, b"hello");
        wire.send(ok("taken")).await;
    };
    let (said, ()) = tokio::join!(curl(&patient), backend);
    assert_eq!(said, "taken 200 1");
}
