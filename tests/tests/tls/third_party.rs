//! npm `ws` and Python `websockets` with TLS, as clients and as servers.

use std::process::Command;

use serde_json::{Value, json};
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::pki::shown;
use steadfast_tests::process::Process;

use crate::peers::tools::{Tool, left_out};
use crate::scene::{World, outcome};

/// Larger than any buffer on the way.
const LARGE: usize = 3_000_000;

/// A program that reports events.
struct Script {
    process: Process,
    seen: usize,
}

impl Script {
    fn start(name: &str, command: &mut Command) -> Script {
        Script { process: Process::spawn(name, command), seen: 0 }
    }

    /// The client of a library, which trusts the authority as the users of its language have it trust one.
    fn client(tool: Tool, world: &World) -> Script {
        let (script, variable) = match tool {
            Tool::Ws => ("client.js", "NODE_EXTRA_CA_CERTS"),
            _ => ("client.py", "SSL_CERT_FILE"),
        };
        Script::start(script, tool.command().arg(script).env(variable, world.authority.ca()))
    }

    /// The server of a library, and its address.
    async fn server(tool: Tool, world: &World) -> (Script, String) {
        let script = if tool == Tool::Ws { "server.js" } else { "server.py" };
        let mut command = tool.command();
        command.args([script, script, "0"]).env("TLS_CERT", &world.pair.cert).env("TLS_KEY", &world.pair.key);
        let mut server = Script::start(script, &mut command);
        let address = server.process.printed("listening on ", 0).await;
        (server, address)
    }

    async fn event(&mut self) -> Value {
        let line = self.process.printed("event ", self.seen).await;
        self.seen += 1;
        serde_json::from_str(&line).expect("an event is JSON")
    }

    async fn ask(&mut self, line: &str, answer: Value) {
        self.process.write_line(line);
        assert_eq!(self.event().await, answer, "after {line:?}");
    }
}

/// A broker with TLS on both sides, over these.
fn over(world: &World, servers: &[&String]) -> BrokerBuilder {
    let builder = world.over(&[]);
    servers.iter().fold(builder, |builder, address| {
        builder.pool_table(&format!("[[pool.backend]]\nurl = \"wss://{address}\""))
    })
}

fn echoed(kind: &str, length: usize) -> Value {
    json!({ "event": kind, "length": length, "intact": true })
}

async fn talk(client: &mut Script) {
    client.ask("text grüße, 世界", json!({ "event": "text", "text": "grüße, 世界" })).await;
    for length in [0, 1, 125, 126, 65_535, 65_536, LARGE] {
        client.ask(&format!("noise {length}"), echoed("binary", length)).await;
    }
    client.ask(&format!("zeros {LARGE}"), echoed("text", LARGE)).await;
    client.ask("ping are you there", json!({ "event": "pong", "text": "are you there" })).await;
}

/// A client at one server, and then at the other. All of it with TLS.
async fn conversation(test: &str, client: Tool, first: Tool, second: Tool) {
    if left_out(test, &[client, first, second]) {
        return;
    }
    let world = World::new();
    let (mut one, first_at) = Script::server(first, &world).await;
    let (mut other, second_at) = Script::server(second, &world).await;
    let broker = over(&world, &[&first_at, &second_at]).start().await;
    let disable = format!("/api/v1/pools/default/backends/{second_at}");
    assert_eq!(broker.change("PATCH", &disable, "{\"weight\": 0}").await.status, 200);
    let mut client = Script::client(client, &world);
    let opened = json!({ "event": "open", "protocol": "chat.v2", "compressed": true });
    client.ask(&format!("connect wss://{}/ chat.v2", broker.address()), opened.clone()).await;
    assert_eq!(one.event().await, opened);
    talk(&mut client).await;
    broker.wait_at_rest().await;
    assert_eq!(broker.change("PATCH", &disable, "{\"weight\": 1}").await.status, 200);
    drop(one);
    talk(&mut client).await;
    assert_eq!(other.event().await, opened);
    let closed = json!({ "event": "close", "code": 4001, "reason": "that was it" });
    client.ask("close 4001 that was it", closed.clone()).await;
    assert_eq!(other.event().await, closed);
    assert_eq!((outcome(&broker, "full").await, outcome(&broker, "failed").await), (1.0, 0.0));
    assert_eq!(broker.metric("steadfast_messages_lost_total", &[]).await, 0.0);
}

#[tokio::test]
async fn ws_with_ws_and_then_websockets() {
    conversation("ws_with_ws_and_then_websockets", Tool::Ws, Tool::Ws, Tool::Websockets).await;
}

#[tokio::test]
async fn websockets_with_websockets_and_then_ws() {
    conversation("websockets_with_websockets_and_then_ws", Tool::Websockets, Tool::Websockets, Tool::Ws)
        .await;
}

#[tokio::test]
async fn clients_that_do_not_trust_the_authority_do_not_come_in() {
    let test = "clients_that_do_not_trust_the_authority_do_not_come_in";
    if left_out(test, &[Tool::Ws]) {
        return;
    }
    let world = World::new();
    let broker: Broker =
        world.over(&[]).pool_table("[[pool.backend]]\nurl = \"ws://127.0.0.1:9\"").start().await;
    let mut client = Script::start("client.js", Tool::Ws.command().arg("client.js"));
    client.process.write_line(&format!("connect wss://{}/", broker.address()));
    let told = client.event().await;
    assert_eq!(told["event"], "error", "{told}");
    crate::scene::wait_failed(&broker, 1).await;
    assert!(!shown(&world.pair.cert).is_empty());
}
