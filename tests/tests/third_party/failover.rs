//! One client connection, from a server of one library to a server of another and back, by SIGKILL, and once more
//! by a drain. Both compress in their own ways, and the client must not notice.

use serde_json::json;

use crate::client::{Client, Library};
use crate::peers::relay::Relay;
use crate::peers::server::Server;
use crate::peers::tools::{Tool, left_out};

const LARGE: usize = 3_000_000;

/// From a server on `first` to one on `second` and back.
async fn there_and_back(test: &str, library: Library, first: Tool, second: Tool) {
    if left_out(test, &[library.tools(), &[first, second]].concat()) {
        return;
    }
    let mut first = Server::start(first).await;
    let mut second = Server::absent(second);
    let relay = Relay::start(&[first.url(), second.url()], &[]).await;
    let mut client = Client::start(library);
    let opened = json!({ "event": "open", "protocol": "chat.v2", "compressed": library.compresses() });
    client.ask(&format!("connect ws://{}/ chat.v2", relay.address), opened.clone()).await;
    assert_eq!(first.event().await, opened, "the first session");

    let mut sent = talk(&mut client, &relay, &first, 0).await;
    second.restart().await;
    first.kill();
    sent = talk(&mut client, &relay, &second, sent).await;
    assert_eq!(second.event().await, opened, "the session after the first failover");
    first.restart().await;
    second.kill();
    sent = talk(&mut client, &relay, &first, sent).await;
    assert_eq!(first.event().await, opened, "the session after the second failover");

    second.restart().await;
    relay.drain(first.address()).await;
    assert_eq!(first.event().await, json!({ "event": "close", "code": 1001, "reason": "" }), "the goodbye");
    talk(&mut client, &relay, &second, sent).await;
    assert_eq!(second.event().await, opened, "the session after the drain");

    let closed = json!({ "event": "close", "code": 1000, "reason": "still here" });
    client.ask("close 1000 still here", closed.clone()).await;
    assert_eq!(second.event().await, closed, "the close at the last server");
}

/// Four messages and their answers, and then nothing is left that could be replayed. `before` have been sent
/// already; returns how many it is now.
async fn talk(client: &mut Client, relay: &Relay, server: &Server, before: usize) -> usize {
    client.ask("text !who", json!({ "event": "text", "text": server.name() })).await;
    let numbered = format!("message {before}");
    client.ask(&format!("text {numbered}"), json!({ "event": "text", "text": numbered })).await;
    client.ask(&format!("zeros {LARGE}"), json!({ "event": "text", "length": LARGE, "intact": true })).await;
    client
        .ask(&format!("noise {LARGE}"), json!({ "event": "binary", "length": LARGE, "intact": true }))
        .await;
    relay.wait_acknowledged(before + 4).await;
    before + 4
}

#[tokio::test]
async fn ws_from_ws_and_back() {
    there_and_back("ws_from_ws_and_back", Library::Ws, Tool::Ws, Tool::Websockets).await;
}

#[tokio::test]
async fn ws_from_websockets_and_back() {
    there_and_back("ws_from_websockets_and_back", Library::Ws, Tool::Websockets, Tool::Ws).await;
}

#[tokio::test]
async fn websockets_from_ws_and_back() {
    there_and_back("websockets_from_ws_and_back", Library::Websockets, Tool::Ws, Tool::Websockets).await;
}

#[tokio::test]
async fn websockets_from_websockets_and_back() {
    there_and_back("websockets_from_websockets_and_back", Library::Websockets, Tool::Websockets, Tool::Ws)
        .await;
}

#[tokio::test]
async fn tungstenite_from_ws_and_back() {
    there_and_back("tungstenite_from_ws_and_back", Library::Tungstenite, Tool::Ws, Tool::Websockets).await;
}

#[tokio::test]
async fn tungstenite_from_websockets_and_back() {
    there_and_back("tungstenite_from_websockets_and_back", Library::Tungstenite, Tool::Websockets, Tool::Ws)
        .await;
}
