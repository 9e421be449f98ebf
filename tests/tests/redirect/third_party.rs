//! Other people's clients, which follow redirects.

use std::process::Command;

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::process::Process;

use crate::peers::tools::{Tool, left_out};
use crate::{door, sending};

async fn of_two(flags: &str) -> ([Backend; 2], Broker) {
    let backends = [Backend::start("a", flags).await, Backend::start("b", flags).await];
    let broker = sending(&[&backends[0], &backends[1]], "").start().await;
    (backends, broker)
}

/// curl for this path, with a name that only the broker answers to.
fn curl(broker: &Broker, path: &str) -> Command {
    let at = door(broker);
    let mut command = Tool::Curl.command();
    command.args(["--silent", "--show-error", "--http1.1", "--location", "--resolve"]);
    command.arg(format!("sent.test:{}:{}", at.port(), at.ip()));
    command.arg(format!("http://sent.test:{}{path}", at.port()));
    command
}

#[tokio::test]
async fn curl_follows_to_a_page() {
    if left_out("curl_follows_to_a_page", &[Tool::Curl]) {
        return;
    }
    let (backends, broker) = of_two("--page /hello?x=1:200:told+by+it").await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut command = curl(&broker, "/hello?x=1");
        command.args(["--write-out", "\n%{http_code} %{num_redirects} %{url_effective}\n"]);
        let mut process = Process::spawn("curl", &mut command);
        process.printed("told by it", 0).await;
        let effective = process.printed("200 1 ", 0).await;
        assert!(process.wait_exit().await.success());
        seen.push(effective);
    }
    seen.sort_unstable();
    let mut expected = backends.each_ref().map(|backend| format!("http://{}/hello?x=1", backend.address()));
    expected.sort_unstable();
    assert_eq!(seen, expected, "one each");
}

#[tokio::test]
async fn ws_follows_to_a_websocket() {
    if left_out("ws_follows_to_a_websocket", &[Tool::Ws]) {
        return;
    }
    let (_backends, broker) = of_two("").await;
    let at = door(&broker);
    let script = format!(
        "const s = new (require('ws'))('ws://{at}/room?id=7', {{ followRedirects: process.argv[1] === 'follow', \
         headers: {{ Host: 'sent.test' }} }}); \
         s.on('open', () => s.send('m')); \
         s.on('message', (data) => {{ console.log('got ' + data + ' at ' + s.url); s.close(); }}); \
         s.on('error', (error) => console.log('error ' + error.message));"
    );
    let mut command = Tool::Ws.command();
    let mut process = Process::spawn("ws", command.args(["-e", &script, "follow"]));
    let got = process.printed("got ", 0).await;
    let (answer, url) = got.split_once(" at ").expect("what it got, and where");
    let backend = answer.strip_suffix(":m").expect("a backend's answer").to_owned();
    assert_ne!(url, format!("ws://{at}/room?id=7"), "it has followed");
    assert!(url.ends_with("/room?id=7"), "{url}");
    assert!(["a", "b"].contains(&backend.as_str()), "{backend}");
    assert!(process.wait_exit().await.success());
    // As it does by itself.
    let mut command = Tool::Ws.command();
    let mut process = Process::spawn("ws", command.args(["-e", &script]));
    let error = process.printed("error ", 0).await;
    assert!(error.contains("307"), "{error}");
}
