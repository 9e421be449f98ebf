//! Each client library with each server library: every kind of message, subprotocols, compression, pings, and
//! closes with their codes and reasons.

use serde_json::json;

use crate::client::{Client, Library};
use crate::peers::relay::Relay;
use crate::peers::server::Server;
use crate::peers::tools::{Tool, left_out};

/// Larger than any buffer on the way, and compressible or not.
const LARGE: usize = 5_000_000;

async fn exchange(test: &str, client: Library, server: Tool) {
    if left_out(test, &[client.tools(), &[server]].concat()) {
        return;
    }
    let mut server = Server::start(server).await;
    let relay = Relay::start(&[server.url()], &[]).await;
    closed_by_the_client(client, &mut server, &relay).await;
    closed_by_the_server(client, &mut server, &relay, "!close 4002 off you go", 4002, "off you go").await;
    closed_by_the_server(client, &mut server, &relay, "!close 1000 done", 1000, "done").await;
    closed_by_the_server(client, &mut server, &relay, "!close", 1005, "").await;
}

async fn connect(library: Library, server: &mut Server, relay: &Relay) -> Client {
    let mut client = Client::start(library);
    let opened = json!({ "event": "open", "protocol": "chat.v2", "compressed": library.compresses() });
    client.ask(&format!("connect ws://{}/ chat.v1 chat.v2", relay.address), opened.clone()).await;
    assert_eq!(server.event().await, opened, "what the server agreed to");
    client
}

async fn closed_by_the_client(library: Library, server: &mut Server, relay: &Relay) {
    let mut client = connect(library, server, relay).await;
    client.ask("text grüße, 世界", json!({ "event": "text", "text": "grüße, 世界" })).await;
    client.ask("text ", json!({ "event": "text", "text": "" })).await;
    client.ask("noise 0", json!({ "event": "binary", "length": 0, "intact": true })).await;
    client.ask("noise 1", json!({ "event": "binary", "length": 1, "intact": true })).await;
    client
        .ask(&format!("noise {LARGE}"), json!({ "event": "binary", "length": LARGE, "intact": true }))
        .await;
    client.ask(&format!("zeros {LARGE}"), json!({ "event": "text", "length": LARGE, "intact": true })).await;
    client.ask("ping are you there", json!({ "event": "pong", "text": "are you there" })).await;
    client.ask("text !ping and you", json!({ "event": "text", "text": "pong and you" })).await;
    client.ask("text !who", json!({ "event": "text", "text": server.name() })).await;
    let closed = json!({ "event": "close", "code": 4001, "reason": "that was it" });
    client.ask("close 4001 that was it", closed.clone()).await;
    assert_eq!(server.event().await, closed, "what the server saw of the client's close");
}

async fn closed_by_the_server(
    library: Library,
    server: &mut Server,
    relay: &Relay,
    command: &str,
    code: u16,
    reason: &str,
) {
    let mut client = connect(library, server, relay).await;
    let closed = json!({ "event": "close", "code": code, "reason": reason });
    client.ask(&format!("text {command}"), closed.clone()).await;
    assert_eq!(server.event().await, closed, "what the server saw of its own close");
}

#[tokio::test]
async fn ws_with_ws() {
    exchange("ws_with_ws", Library::Ws, Tool::Ws).await;
}

#[tokio::test]
async fn ws_with_websockets() {
    exchange("ws_with_websockets", Library::Ws, Tool::Websockets).await;
}

#[tokio::test]
async fn websockets_with_ws() {
    exchange("websockets_with_ws", Library::Websockets, Tool::Ws).await;
}

#[tokio::test]
async fn websockets_with_websockets() {
    exchange("websockets_with_websockets", Library::Websockets, Tool::Websockets).await;
}

#[tokio::test]
async fn tungstenite_with_ws() {
    exchange("tungstenite_with_ws", Library::Tungstenite, Tool::Ws).await;
}

#[tokio::test]
async fn tungstenite_with_websockets() {
    exchange("tungstenite_with_websockets", Library::Tungstenite, Tool::Websockets).await;
}
