//! Messages pass in both directions exactly as they were sent.

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::{Client, Incoming};
use steadfast_tests::frame::{BINARY, CONTINUATION, Frame, PING, TEXT};
use steadfast_tests::journal::Event;
use steadfast_tests::payload::{Payload, noise};
use steadfast_tests::sequence::{numbered, range};
use steadfast_tests::wait::eventually;

/// The default limit of a message.
const MESSAGE_MAX: usize = 16 << 20;

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// The messages of a backend's only connection: opcode, fragment lengths, payload, key.
async fn messages_of(backend: &Backend, n: usize) -> Vec<(u8, Vec<usize>, Payload, String)> {
    backend.wait_messages(n).await;
    let connections = backend.journal().connections();
    assert_eq!(connections.len(), 1);
    let message = |event: &Event| match event {
        Event::Message { opcode, payload, fragments, rsv: 0, key } => {
            Some((*opcode, fragments.clone(), payload.clone(), key.clone()))
        }
        _ => None,
    };
    connections[0].events.iter().filter_map(message).collect()
}

#[tokio::test]
async fn text_and_binary_keep_their_kind_and_bytes() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let mut client = Client::connect(broker.address()).await;
    for (opcode, payload) in
        [(TEXT, b"gr\xc3\xbc\xc3\x9fe".to_vec()), (BINARY, noise(3000, 1)), (TEXT, Vec::new())]
    {
        client.send_frame(Frame::new(opcode, payload.clone())).await;
        let answer = client.message().await;
        assert_eq!((answer.opcode, answer.bytes), (opcode, [b"a:", &payload[..]].concat()));
    }
}

#[tokio::test]
async fn every_length_around_the_length_forms_passes() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let mut client = Client::connect(broker.address()).await;
    for len in [0, 1, 123, 124, 125, 126, 127, 4096, 65_533, 65_534, 65_535, 65_536, 65_537, 1 << 20] {
        let payload = noise(len, len as u64);
        client.send_frame(Frame::new(BINARY, payload.clone())).await;
        let answer = client.message().await;
        assert!(answer.bytes == [b"a:", &payload[..]].concat(), "{len} bytes came back changed");
    }
}

#[tokio::test]
async fn client_frames_reach_the_backend_verbatim() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let client = Client::connect(broker.address()).await;
    let key = [0xde, 0xad, 0xbe, 0xef];
    client.send_frame(Frame::new(TEXT, "one ").unfinished().masked(key)).await;
    client.send_frame(Frame::new(CONTINUATION, []).unfinished()).await;
    client.send_frame(Frame::new(CONTINUATION, "two").unfinished()).await;
    client.send_frame(Frame::new(CONTINUATION, [])).await;
    let messages = messages_of(&backend, 1).await;
    let expected = (TEXT, vec![4, 0, 3, 0], Payload::of(b"one two"), "deadbeef".to_owned());
    assert_eq!(messages, [expected]);
}

#[tokio::test]
async fn backend_frames_reach_the_client_verbatim_and_its_pings_do_not() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let mut client = Client::connect(broker.address()).await;
    client.send("!fragments 4").await;
    let Incoming::Message(message) = client.next().await else {
        panic!("a ping of the backend reached the client")
    };
    assert_eq!((message.opcode, &message.fragments[..]), (TEXT, &[7; 4][..]));
    assert_eq!(message.bytes, b"part-1;part-2;part-3;part-4;");
    // Of pings that come together only the last must be answered (RFC 6455 5.5.3).
    let last = Event::Pong { payload: hex("between-3") };
    let answered = || backend.journal().connections().remove(0).events.contains(&last);
    eventually("the broker's pong to the last of three pings between fragments", answered).await;
}

#[tokio::test]
async fn a_clients_pings_are_answered_by_the_broker_alone() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let mut client = Client::connect(broker.address()).await;
    for payload in [Vec::new(), b"are you there?".to_vec(), noise(125, 9)] {
        client.send_frame(Frame::new(PING, payload.clone())).await;
        assert_eq!(client.next_but_pings().await, Incoming::Pong(payload));
    }
    client.ask("hello", "a:hello").await;
    let connection = backend.journal().connections().remove(0);
    assert!(!connection.pings().contains(&hex("are you there?").as_str()), "{:?}", connection.pings());
}

#[tokio::test]
async fn pings_are_answered_between_fragments() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let mut client = Client::connect(broker.address()).await;
    client.send_frame(Frame::new(TEXT, "half ").unfinished()).await;
    client.send_frame(Frame::new(PING, "between")).await;
    assert_eq!(client.next_but_pings().await, Incoming::Pong(b"between".to_vec()));
    client.send_frame(Frame::new(CONTINUATION, "whole")).await;
    assert_eq!(client.text().await, "a:half whole");
}

#[tokio::test]
async fn a_message_as_large_as_the_limit_passes_up() {
    let backend = Backend::start("a", "--silent").await;
    let broker = Broker::start(&[&backend]).await;
    let client = Client::connect(broker.address()).await;
    let payload = noise(MESSAGE_MAX, 16);
    client.send_frame(Frame::new(BINARY, payload.clone())).await;
    let messages = messages_of(&backend, 1).await;
    assert_eq!(messages[0].2, Payload::of(&payload));
}

#[tokio::test]
async fn a_message_as_large_as_the_limit_passes_down() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let mut client = Client::connect(broker.address()).await;
    client.send(&format!("!big {MESSAGE_MAX}")).await;
    let message = client.message().await;
    assert!(message.bytes == noise(MESSAGE_MAX, MESSAGE_MAX as u64), "the message came changed");
    client.ask("and on", "a:and on").await;
}

#[tokio::test]
async fn a_large_message_in_many_fragments_with_pings_between_passes() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let mut client = Client::connect(broker.address()).await;
    let payload = noise(MESSAGE_MAX - (1 << 20), 5);
    let chunks: Vec<&[u8]> = payload.chunks(300_000).collect();
    for (n, chunk) in chunks.iter().enumerate() {
        let mut frame = Frame::new(if n == 0 { BINARY } else { CONTINUATION }, *chunk);
        frame.fin = n + 1 == chunks.len();
        client.send_frame(frame).await;
        client.send_frame(Frame::new(PING, n.to_string())).await;
        assert_eq!(client.next_but_pings().await, Incoming::Pong(n.to_string().into_bytes()));
    }
    let answer = client.message().await;
    assert!(answer.bytes == [b"a:", &payload[..]].concat(), "the message came back changed");
    let messages = messages_of(&backend, 1).await;
    assert_eq!(messages[0].1, chunks.iter().map(|chunk| chunk.len()).collect::<Vec<_>>());
}

#[tokio::test]
async fn frames_that_arrive_byte_by_byte_are_understood() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let mut client = Client::connect(broker.address()).await;
    let frames = [Frame::text("slowly"), Frame::new(PING, "p"), Frame::new(BINARY, noise(200, 2))];
    for byte in frames.map(|frame| frame.masked([1, 2, 3, 4]).encode()).concat() {
        client.send_raw(vec![byte]).await;
    }
    assert_eq!(client.next_but_pings().await, Incoming::Pong(b"p".to_vec()));
    assert_eq!(client.text().await, "a:slowly");
    assert_eq!(client.message().await.bytes, [b"a:", &noise(200, 2)[..]].concat());
}

#[tokio::test]
async fn thousands_of_messages_in_flight_keep_their_order() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let mut client = Client::connect(broker.address()).await;
    let writer = client.writer();
    let sender = tokio::spawn(async move {
        for n in 1..=5000 {
            assert!(writer.send(&numbered("m", n)).await, "the connection broke");
        }
    });
    let answers = client.texts(5000).await;
    sender.await.expect("the sender ends well");
    assert_eq!(answers, range("a:m", 1, 5000));
    assert_eq!(backend.journal().texts(), range("m", 1, 5000));
}

#[tokio::test]
async fn a_feed_reaches_the_client_whole() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let mut client = Client::connect(broker.address()).await;
    client.send("!feed 5000").await;
    assert_eq!(client.texts(5000).await, range("a:feed", 1, 5000));
}

#[tokio::test]
async fn sessions_do_not_mix() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let mut clients = Vec::new();
    for _ in 0..40 {
        clients.push(Client::connect(broker.address()).await);
    }
    for n in 1..=10 {
        for (id, client) in clients.iter().enumerate() {
            client.send(&numbered(&format!("c{id}"), n)).await;
        }
    }
    for (id, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.texts(10).await, range(&format!("a:c{id}"), 1, 10));
    }
}

#[tokio::test]
async fn new_sessions_go_where_the_fewest_are() {
    let backends =
        [Backend::start("a", "").await, Backend::start("b", "").await, Backend::start("c", "").await];
    let broker = Broker::start(&[&backends[0], &backends[1], &backends[2]]).await;
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(Client::connect(broker.address()).await);
    }
    for backend in &backends {
        assert_eq!(backend.journal().connections().len(), 4, "sessions at {}", backend.name());
        let labels = [("backend", backend.name()), ("pool", "default")];
        broker.wait_metric("steadfast_backend_sessions", &labels, |value| value == 4.0).await;
    }
}
