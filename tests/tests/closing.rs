//! Close codes and reasons in both directions, and connections that end without a Close.

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::frame::{End, Frame};

/// Codes that an application may send and that are its own decision, not a backend's failure.
const DECISIONS: [u16; 14] =
    [1000, 1002, 1003, 1007, 1008, 1009, 1010, 3000, 3999, 4000, 4001, 4123, 4900, 4999];

/// Codes that a client may send (RFC 6455 7.4.1 and 7.4.2).
const CLIENT_CODES: [u16; 15] =
    [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999];

/// 123 bytes, the longest reason that fits.
fn longest_reason() -> String {
    "long reason ".repeat(11)[..123].to_owned()
}

#[tokio::test]
async fn a_backends_close_reaches_the_client_and_its_answer_the_backend() {
    let (backend, other) = (Backend::start("a", "").await, Backend::absent("b", ""));
    let broker = Broker::start(&[&backend, &other]).await;
    for (index, code) in DECISIONS.into_iter().enumerate() {
        let mut client = Client::connect(broker.address()).await;
        client.ask("hello", "a:hello").await;
        backend.command(&format!("!close {code} my reason")).await;
        assert_eq!(client.closed().await, (Some(code), "my reason".to_owned()));
        client.send_frame(Frame::close(code, "understood")).await;
        assert_eq!(client.ended().await, End::Eof, "after code {code}");
        let connection = backend.wait_end(index).await;
        assert_eq!(connection.close().and_then(|(code, _)| code), Some(code), "the answer to {code}");
        assert_eq!(connection.end(), Some("Eof"));
    }
    let causes = broker.wait_causes(DECISIONS.len()).await;
    assert_eq!(causes, vec!["backend_close"; DECISIONS.len()]);
}

#[tokio::test]
async fn a_backends_empty_close_is_relayed_empty() {
    let (backend, other) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let broker = Broker::start(&[&backend, &other]).await;
    let mut client = Client::connect(broker.address()).await;
    client.send("!close-empty").await;
    assert_eq!(client.closed().await, (None, String::new()));
    client.send_frame(Frame::close_empty()).await;
    assert_eq!(client.ended().await, End::Eof);
    assert_eq!(broker.wait_causes(1).await, ["backend_close"]);
    let dials = backend.journal().connections().len() + other.journal().connections().len();
    assert_eq!(dials, 1, "an empty Close is the application's decision, not a failure");
}

#[tokio::test]
async fn the_longest_reason_passes_both_ways() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let mut client = Client::connect(broker.address()).await;
    client.send(&format!("!close 4000 {}", longest_reason())).await;
    assert_eq!(client.closed().await, (Some(4000), longest_reason()));
    drop(client);
    let client = Client::connect(broker.address()).await;
    assert_eq!(client.close(4001, &longest_reason()).await, (Some(4001), longest_reason()));
    assert_eq!(backend.wait_end(1).await.close(), Some((Some(4001), longest_reason())));
}

#[tokio::test]
async fn a_clients_close_reaches_the_backend_and_its_answer_the_client() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    for (index, code) in CLIENT_CODES.into_iter().enumerate() {
        let mut client = Client::connect(broker.address()).await;
        client.ask("hello", "a:hello").await;
        client.send_frame(Frame::close(code, "my reason")).await;
        assert_eq!(client.closed().await, (Some(code), "my reason".to_owned()));
        assert_eq!(client.ended().await, End::Eof, "after code {code}");
        let connection = backend.wait_end(index).await;
        assert_eq!(connection.close(), Some((Some(code), "my reason".to_owned())));
    }
    let causes = broker.wait_causes(CLIENT_CODES.len()).await;
    assert_eq!(causes, vec!["client_close"; CLIENT_CODES.len()]);
    broker.wait_sessions(0).await;
}

#[tokio::test]
async fn a_clients_empty_close_is_relayed_empty() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let mut client = Client::connect(broker.address()).await;
    client.send_frame(Frame::close_empty()).await;
    assert_eq!(client.closed().await, (None, String::new()));
    assert_eq!(client.ended().await, End::Eof);
    assert_eq!(backend.wait_end(0).await.close(), Some((None, String::new())));
}

#[tokio::test]
async fn what_was_said_before_a_close_arrives_before_it() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let mut client = Client::connect(broker.address()).await;
    let frames = [Frame::text("!feed 200"), Frame::text("last"), Frame::close(1000, "done")];
    client.send_raw(frames.map(|frame| frame.masked([9, 8, 7, 6]).encode()).concat()).await;
    let mut expected = steadfast_tests::sequence::range("a:feed", 1, 200);
    expected.push("a:last".to_owned());
    assert_eq!(client.texts(201).await, expected);
    assert_eq!(client.closed().await, (Some(1000), "done".to_owned()));
}

#[tokio::test]
async fn what_a_client_says_after_its_close_is_not_relayed() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let mut client = Client::connect(broker.address()).await;
    let frames = [Frame::text("first"), Frame::close(1000, ""), Frame::text("too late")];
    client.send_raw(frames.map(|frame| frame.masked([9, 8, 7, 6]).encode()).concat()).await;
    assert_eq!(client.text().await, "a:first");
    assert_eq!(client.closed().await.0, Some(1000));
    let connection = backend.wait_end(0).await;
    assert_eq!(connection.texts(), ["first"]);
    assert_eq!(connection.violations(), [""; 0]);
}

#[tokio::test]
async fn what_a_backend_says_after_its_close_is_not_relayed() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let mut client = Client::connect(broker.address()).await;
    client.send("!speak-after-close 4005").await;
    assert_eq!(client.closed().await.0, Some(4005));
    client.send_frame(Frame::close(4005, "")).await;
    client.ended().await;
}

#[tokio::test]
async fn a_client_that_leaves_without_a_close_frees_its_backend() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("hello", "a:hello").await;
    drop(client);
    backend.wait_end(0).await;
    let client = Client::connect(broker.address()).await;
    client.reset().await;
    backend.wait_end(1).await;
    assert_eq!(broker.wait_causes(2).await, ["client_gone", "client_gone"]);
    broker.wait_sessions(0).await;
}

#[tokio::test]
async fn whole_messages_of_a_client_that_left_arrive_and_a_half_one_does_not() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let client = Client::connect(broker.address()).await;
    let mut bytes =
        [Frame::text("m-1"), Frame::text("m-2")].map(|frame| frame.masked([1, 1, 1, 1]).encode()).concat();
    bytes.extend(Frame::text("never whole").masked([2, 2, 2, 2]).encode().split_at(9).0);
    client.send_raw(bytes).await;
    drop(client);
    let connection = backend.wait_end(0).await;
    assert_eq!(connection.texts(), ["m-1", "m-2"]);
    assert_eq!(connection.close(), None, "no Close may follow half a message");
    assert_eq!(broker.wait_causes(1).await, ["client_gone"]);
}

#[tokio::test]
async fn a_client_that_does_not_answer_a_close_is_left_after_a_while() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).setting("timeouts", "close = \"300ms\"").start().await;
    let mut client = Client::connect(broker.address()).await;
    client.send("!close 4000 go").await;
    assert_eq!(client.closed().await.0, Some(4000));
    client.ended().await;
    broker.wait_sessions(0).await;
}

#[tokio::test]
async fn a_backend_that_does_not_answer_a_close_is_left_after_a_while() {
    let backend = Backend::start("a", "--ignore-close").await;
    let broker = Broker::over(&[&backend]).setting("timeouts", "close = \"300ms\"").start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("hello", "a:hello").await;
    client.send_frame(Frame::close(1000, "")).await;
    client.closed().await;
    client.ended().await;
    backend.wait_end(0).await;
    broker.wait_sessions(0).await;
}
