//! A browser: a page, what it fetches, its events and its WebSocket, all from one host.

use std::net::SocketAddr;

use steadfast_tests::backend::Backend;
use steadfast_tests::origin::ok;
use steadfast_tests::wait::bounded;
use steadfast_tests::wire::{Message, Wire};
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::peers::browser::Browser;
use crate::peers::tools::{Tool, left_out};
use crate::requests::scene;

/// Fetches twice, hears three events, with a loss of the stream between them, has an echo, and reports.
const PAGE: &str = r#"<!doctype html><title>t</title><link rel="icon" href="data:,"><script>
(async () => {
  const seen = [];
  seen.push(await (await fetch("/fetched")).text());
  seen.push(await (await fetch("/posted", { method: "POST", body: "body" })).text());
  await new Promise((done) => {
    const events = new EventSource("/events");
    events.onmessage = (event) => {
      seen.push(event.data);
      if (event.data === "event 3") { events.close(); done(); }
    };
  });
  await new Promise((done) => {
    const socket = new WebSocket(`ws://${location.host}/socket`);
    socket.onopen = () => socket.send("hello");
    socket.onmessage = (event) => { seen.push(event.data); socket.close(1000); };
    socket.onclose = (event) => { seen.push(`closed ${event.code}`); done(); };
  });
  await fetch("/report", { method: "POST", body: seen.join(",") });
})().catch((error) => fetch("/report", { method: "POST", body: `failed: ${error}` }));
</script>"#;

const EVENTS: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Answers what a page asks for, and gives its WebSocket to `echo`.
async fn serve(mut wire: Wire, echo: SocketAddr, reports: mpsc::Sender<String>) {
    while let Some(request) = wire.idle_request().await {
        match request.target() {
            "/" => wire.send(page()).await,
            "/fetched" => wire.send(ok("fetched")).await,
            "/posted" => wire.send(ok(format!("posted {}", request.text()))).await,
            "/events" => {
                let whole = event(&mut wire, &request).await;
                if !whole {
                    return;
                }
            }
            "/socket" => {
                let mut to = TcpStream::connect(echo).await.expect("it listens");
                to.write_all(wire.seen()).await.expect("a request can be passed on");
                // However it ends.
                let _ = copy_bidirectional(&mut wire.into_stream(), &mut to).await;
                return;
            }
            "/report" => {
                reports.send(request.text()).await.expect("somebody waits");
                wire.send(ok("")).await;
            }
            other => panic!("nobody has told it of {other}"),
        }
    }
}

fn page() -> String {
    let length = PAGE.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{PAGE}")
}

/// Sends the event behind the last one; of three streams the first is whole, and the second is cut. Whether it was whole.
async fn event(wire: &mut Wire, request: &Message) -> bool {
    let number =
        request.header("last-event-id").map_or(1, |last| last.parse::<usize>().expect("a number") + 1);
    wire.send(EVENTS).await;
    wire.send_chunk(format!("retry: 10\nid: {number}\ndata: event {number}\n\n")).await;
    match number {
        1 => wire.send_chunk("").await,
        2 => {}
        // The browser ends it.
        _ => drop(wire.rest().await),
    }
    number == 1
}

#[tokio::test]
async fn a_page_has_all_that_it_wants_from_one_host() {
    if left_out("a_page_has_all_that_it_wants_from_one_host", &[Tool::Chromium]) {
        return;
    }
    let (origin, front) = scene().await;
    let echo = Backend::start("a", "").await;
    let (reports, mut reported) = mpsc::channel(1);
    let address = echo.address();
    let accepting = tokio::spawn(async move {
        loop {
            tokio::spawn(serve(origin.accept().await, address, reports.clone()));
        }
    });
    let home = tempfile::tempdir().expect("a folder");
    let _browser = Browser::open(home, &format!("http://{}/", front.address));
    let report = bounded("what the page has seen", reported.recv()).await.expect("a report");
    assert_eq!(report, "fetched,posted body,event 1,event 2,event 3,a:hello,closed 1000");
    accepting.abort();
}
