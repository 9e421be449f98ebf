//! Clients that break RFC 6455: the code that it names, an orderly end for the backend, and nobody else disturbed.

use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::frame::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, TEXT};

const KEY: [u8; 4] = [0x11, 0x22, 0x33, 0x44];
const LIMIT: usize = 64 << 10;

fn text() -> Frame {
    Frame::text("bad").masked(KEY)
}

/// A broker with a limit of 64 KiB a message, and an innocent client.
struct Scene {
    backend: Backend,
    broker: Broker,
    innocent: Client,
    offences: usize,
}

impl Scene {
    async fn set() -> Self {
        let backend = Backend::start("a", "").await;
        let broker = Broker::over(&[&backend]).setting("limits", &format!("message = {LIMIT}")).start().await;
        let mut innocent = Client::connect(broker.address()).await;
        innocent.ask("before", "a:before").await;
        Self { backend, broker, innocent, offences: 0 }
    }

    /// A client sends a good message and `bytes` behind it. It must get the answer, then a Close with `code`; its
    /// backend must get the good message and a Close; the innocent notices nothing.
    async fn offend(&mut self, name: &str, bytes: Vec<u8>, code: u16) {
        self.offences += 1;
        let mut client = Client::connect(self.broker.address()).await;
        client.ask("good", "a:good").await;
        client.send_raw(bytes).await;
        let (got, reason) = client.closed().await;
        assert_eq!(got, Some(code), "{name}");
        assert!(!reason.is_empty(), "{name}: the Close says why");
        client.send_frame(Frame::close(code, "")).await;
        client.ended().await;
        let connection = self.backend.wait_end(self.offences).await;
        assert_eq!(connection.texts(), ["good"], "{name}");
        assert_eq!(connection.violations(), [""; 0], "{name}: the offence stays outside");
        assert!(
            connection.close().is_some(),
            "{name}: the backend is closed in order: {:?}",
            connection.events
        );
        assert_eq!(connection.end(), Some("Eof"), "{name}");
        let label = code.to_string();
        let labels = [("side", "client"), ("code", label.as_str())];
        let before = self.broker.metric("steadfast_protocol_errors_total", &[("side", "client")]).await;
        assert_eq!(before, self.offences as f64, "{name} is counted once");
        assert!(self.broker.metric("steadfast_protocol_errors_total", &labels).await >= 1.0, "{name}");
        self.innocent.ask("still here", "a:still here").await;
    }

    async fn end(self) {
        let causes = self.broker.wait_causes(self.offences).await;
        assert_eq!(causes, vec!["protocol_client"; self.offences]);
        self.broker.wait_sessions(1).await;
    }
}

#[tokio::test]
async fn frames_that_the_protocol_forbids() {
    let mut scene = Scene::set().await;
    scene.offend("unmasked text", Frame::text("bad").encode(), 1002).await;
    scene.offend("unmasked ping", Frame::new(PING, "bad").encode(), 1002).await;
    scene.offend("unmasked close", Frame::close(1000, "").encode(), 1002).await;
    for (name, rsv) in [("RSV1", 0b100), ("RSV2", 0b010), ("RSV3", 0b001)] {
        scene.offend(name, text().reserved(rsv).encode(), 1002).await;
        scene.offend(name, Frame::new(PING, []).masked(KEY).reserved(rsv).encode(), 1002).await;
    }
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF] {
        scene.offend(&format!("opcode {opcode}"), Frame::new(opcode, "bad").masked(KEY).encode(), 1002).await;
    }
    scene.end().await;
}

#[tokio::test]
async fn lengths_that_the_protocol_forbids() {
    let mut scene = Scene::set().await;
    scene.offend("3 bytes in the 16-bit form", text().encode_wide(2), 1002).await;
    scene.offend("3 bytes in the 64-bit form", text().encode_wide(8), 1002).await;
    let medium = Frame::new(BINARY, vec![0; 300]).masked(KEY);
    scene.offend("300 bytes in the 64-bit form", medium.encode_wide(8), 1002).await;
    scene.offend("the top bit of the length", medium.header(1 << 63, 8), 1002).await;
    for opcode in [PING, PONG, CLOSE] {
        let long = Frame::new(opcode, vec![b'x'; 126]).masked(KEY);
        scene.offend(&format!("126 bytes in control frame {opcode}"), long.encode(), 1002).await;
    }
    scene.end().await;
}

#[tokio::test]
async fn fragments_that_the_protocol_forbids() {
    let mut scene = Scene::set().await;
    for opcode in [PING, PONG, CLOSE] {
        let fragment = Frame::new(opcode, []).masked(KEY).unfinished();
        scene.offend(&format!("a fragment of control frame {opcode}"), fragment.encode(), 1002).await;
    }
    scene.offend("a stray continuation", Frame::new(CONTINUATION, "bad").masked(KEY).encode(), 1002).await;
    let stray = Frame::new(CONTINUATION, "bad").masked(KEY).unfinished();
    scene.offend("a stray continuation that goes on", stray.encode(), 1002).await;
    scene.end().await;
}

#[tokio::test]
async fn a_close_frame_of_one_byte() {
    let mut scene = Scene::set().await;
    scene.offend("a Close with half a code", Frame::new(CLOSE, [3]).masked(KEY).encode(), 1002).await;
    scene.end().await;
}

#[tokio::test]
async fn messages_over_the_limit() {
    let mut scene = Scene::set().await;
    let announced = Frame::new(BINARY, []).masked(KEY);
    scene.offend("a header that announces too much", announced.header(LIMIT as u64 + 1, 8), 1009).await;
    scene.offend("a header that announces 2^62 bytes", announced.header(1 << 62, 8), 1009).await;
    scene.end().await;
}

/// The backend has a part of the message, so it cannot be given a Close: its connection just ends.
async fn assert_closed_in_a_message(first: Frame, then: Vec<u8>, code: u16) {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).setting("limits", &format!("message = {LIMIT}")).start().await;
    let mut innocent = Client::connect(broker.address()).await;
    let mut client = Client::connect(broker.address()).await;
    client.send_frame(first).await;
    client.send_raw(then).await;
    assert_eq!(client.closed().await.0, Some(code));
    client.send_frame(Frame::close(code, "")).await;
    client.ended().await;
    let connection = backend.wait_end(1).await;
    assert_eq!((connection.texts(), connection.violations()), (vec![], vec![]));
    assert_eq!(broker.wait_causes(1).await, ["protocol_client"]);
    innocent.ask("still here", "a:still here").await;
}

#[tokio::test]
async fn fragments_that_add_up_to_more_than_the_limit() {
    let half = Frame::new(BINARY, vec![1; LIMIT / 2 + 1]).unfinished();
    let more = Frame::new(CONTINUATION, vec![2; LIMIT / 2 + 1]).masked(KEY).encode();
    assert_closed_in_a_message(half, more, 1009).await;
}

#[tokio::test]
async fn a_new_message_inside_an_open_one() {
    assert_closed_in_a_message(Frame::text("open").unfinished(), text().encode(), 1002).await;
}

#[tokio::test]
async fn an_unmasked_continuation() {
    let bytes = Frame::new(CONTINUATION, "bad").encode();
    assert_closed_in_a_message(Frame::new(TEXT, "open").unfinished(), bytes, 1002).await;
}

#[tokio::test]
async fn a_message_as_large_as_the_limit_is_fine() {
    let mut scene = Scene::set().await;
    let payload = steadfast_tests::payload::noise(LIMIT - 2, 1);
    scene.innocent.send_frame(Frame::new(BINARY, payload.clone())).await;
    assert!(scene.innocent.message().await.bytes == [b"a:", &payload[..]].concat());
    scene.end().await;
}

#[tokio::test]
async fn one_log_line_for_each_offence() {
    let mut scene = Scene::set().await;
    let is_offence =
        |record: &Value| record["message"] == "session ended" && record["cause"] == "protocol_client";
    scene.offend("opcode 3", Frame::new(3, "bad").masked(KEY).encode(), 1002).await;
    scene.broker.wait_causes(1).await;
    assert_eq!(scene.broker.records(is_offence).len(), 1);
    scene.end().await;
}
