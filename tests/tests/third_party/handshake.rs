//! The upgrade as curl sees it.

use std::process::Command;

use steadfast_tests::process::Process;
use steadfast_tests::wait::eventually;

use crate::peers::relay::Relay;
use crate::peers::server::Server;
use crate::peers::tools::{Tool, left_out};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

/// curl without its progress bar, with the answer's head in its output and nothing held back.
fn curl(headers: &[&str], url: String) -> Command {
    let mut command = Tool::Curl.command();
    command.args(["--silent", "--show-error", "--include", "--no-buffer", "--http1.1"]);
    for header in headers {
        command.args(["--header", header]);
    }
    command.arg(url);
    command
}

async fn server_and_relay() -> (Server, Relay) {
    let server = Server::start(Tool::Ws).await;
    let relay = Relay::start(&[server.url()], &[]).await;
    (server, relay)
}

#[tokio::test]
async fn curl_upgrades() {
    if left_out("curl_upgrades", &[Tool::Curl, Tool::Ws]) {
        return;
    }
    let (_server, relay) = server_and_relay().await;
    let headers = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", KEY];
    let mut command = curl(&headers, format!("http://{}/", relay.address));
    let process = Process::spawn("curl", command.arg("--verbose"));
    // curl holds such an answer's head back from its output, but not from its account of what happens. Key and
    // answer are the example of RFC 6455 section 1.3.
    for expected in ["< HTTP/1.1 101 Switching Protocols", ": s3pPLMBiTxaQ9kYGzzhZRbK+xOo="] {
        eventually(expected, || process.stderr().iter().any(|line| line.ends_with(expected))).await;
    }

    // Many a curl is built without WebSocket of its own.
    if curl_knows_websocket() {
        let mut process = Process::spawn("curl", &mut curl(&[], format!("ws://{}/greet", relay.address)));
        process.printed("hello from ws", 0).await;
    }
}

fn curl_knows_websocket() -> bool {
    let version = Tool::Curl.command().arg("--version").output().expect("curl runs");
    String::from_utf8_lossy(&version.stdout).split_whitespace().any(|word| word == "ws")
}

#[tokio::test]
async fn curl_is_told_what_is_wrong() {
    if left_out("curl_is_told_what_is_wrong", &[Tool::Curl, Tool::Ws]) {
        return;
    }
    let (_server, relay) = server_and_relay().await;
    let version_8 = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 8", KEY];
    let without_key = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"];
    for (headers, status, must_have) in
        [(&version_8[..], "426", "sec-websocket-version: 13"), (&without_key[..], "400", "sec-websocket-key")]
    {
        let output = curl(headers, format!("http://{}/", relay.address)).output().expect("curl runs");
        let text = String::from_utf8_lossy(&output.stdout).to_lowercase();
        assert!(text.starts_with(&format!("http/1.1 {status} ")), "{headers:?}: {text}");
        assert!(text.contains(must_have), "{headers:?}: {text}");
    }
}
