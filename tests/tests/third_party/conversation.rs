//! Socket.IO's own server and client, without a profile. A client whose server is killed must not be left deaf: it
//! connects again, and hears the next server.

use serde_json::{Value, json};
use steadfast_tests::process::Process;

use crate::peers::relay::Relay;
use crate::peers::server::Server;
use crate::peers::tools::{Tool, left_out};

/// The client, and how many of its events were read.
struct Client(Process, usize);

impl Client {
    fn start() -> Self {
        let script = "socketio-client.js";
        Self(Process::spawn(script, Tool::SocketIo.command().arg(script)), 0)
    }

    async fn event(&mut self) -> Value {
        let line = self.0.printed("event ", self.1).await;
        self.1 += 1;
        let mut event: Value = serde_json::from_str(&line).expect("an event is JSON");
        event.as_object_mut().expect("an object").remove("client");
        event
    }

    /// It is connected to this server, and each hears the other.
    async fn speaks_with(&mut self, server: &Server) {
        let port = server.address().port();
        assert_eq!(self.event().await, json!({ "event": "connect", "transport": "websocket" }));
        assert_eq!(self.event().await, json!({ "event": "hello", "port": port }));
        self.0.write_line("who only");
        let answer = json!({ "event": "who", "port": port, "transport": "websocket" });
        assert_eq!(self.event().await, answer);
    }
}

#[tokio::test]
async fn socket_io_hears_the_next_server_after_a_kill_and_after_a_drain() {
    if left_out("socket_io_hears_the_next_server_after_a_kill_and_after_a_drain", &[Tool::SocketIo]) {
        return;
    }
    let mut first = Server::start(Tool::SocketIo).await;
    let mut second = Server::absent(Tool::SocketIo);
    let relay = Relay::start(&[first.url(), second.url()], &["--profile", "none"]).await;
    let mut client = Client::start();
    client.0.write_line(&format!("connect only http://{} websocket", relay.address));
    client.speaks_with(&first).await;

    second.restart().await;
    first.kill();
    let closed = json!({ "event": "disconnect", "reason": "transport close", "code": 1012 });
    assert_eq!(client.event().await, closed);
    client.speaks_with(&second).await;

    first.restart().await;
    relay.drain(second.address()).await;
    assert_eq!(client.event().await, closed);
    client.speaks_with(&first).await;
}
