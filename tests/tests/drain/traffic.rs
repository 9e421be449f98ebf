//! What is on its way while a session moves.

use serde_json::{Value, json};
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::frame::{BINARY, CONTINUATION, Frame};
use steadfast_tests::payload::{Payload, noise};
use steadfast_tests::sequence::range;

use crate::scene::{
    Midway, add, body, drain, nothing_has_gone_wrong, wait_all_moved, wait_goodbye, wait_none_moved,
    wait_operation, wait_progress,
};

#[tokio::test]
async fn a_large_message_of_the_client_goes_to_the_old_backend_as_a_whole() {
    let mut own = Midway::between("", "").await;
    let mut whole = "half and ".to_owned();
    for n in 10..40 {
        let piece = format!("{n}").repeat(50_000);
        whole += &piece;
        own.client.send_frame(Frame::new(CONTINUATION, piece).unfinished()).await;
    }
    own.finish().await;
    whole += "half";
    assert_eq!(own.client.text().await, format!("a:{whole}"));
    wait_all_moved(&own.broker, &own.drain, 1).await;
    let payloads = own.a.journal().sessions()[0].payloads();
    assert_eq!(payloads.last(), Some(&Payload::of(whole.as_bytes())));
    own.goes_on_at_b().await;
}

#[tokio::test]
async fn a_large_message_of_the_backend_comes_as_a_whole() {
    // More than all buffers between the backend and a client that does not read.
    const LEN: usize = 40_000_000;
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let broker = Broker::over(&[&a]).setting("limits", "message = \"64MiB\"\nring = \"64MiB\"");
    let broker = broker.setting("limits", "buffers = \"256MiB\"").setting("drain", "quiet = \"20ms\"");
    let broker = broker.setting("drain", "patience = \"1h\"\ndeadline = \"2h\"").start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    add(&broker, &b).await;
    client.send(&format!("!big {LEN}")).await;
    a.wait_messages(2).await;
    let drain = drain(&broker, "a").await;
    b.wait_upgrades(1).await;
    broker.wait_only_session("on its way", |session| session["state"] == "quiescing").await;
    let message = client.message().await;
    assert_eq!(message.opcode, BINARY);
    assert!(message.bytes == noise(LEN, LEN as u64), "the message came changed");
    wait_all_moved(&broker, &drain, 1).await;
    client.ask("m-2", "b:m-2").await;
    assert_eq!(b.journal().texts(), ["m-2"]);
}

#[tokio::test]
async fn a_backends_fragments_come_as_one_message() {
    let mut own = Midway::between("", "").await;
    own.a.command("!fragments 200").await;
    let message = own.client.message().await;
    assert_eq!(message.fragments.len(), 200);
    own.arrive().await;
    own.goes_on_at_b().await;
}

#[tokio::test]
async fn a_feed_that_never_falls_quiet_stays_until_it_is_forced() {
    let (a, b) = (Backend::start("a", "--feed 5").await, Backend::start("b", "--feed 5").await);
    let quick = "quiet = \"100ms\"\nquiet_max = \"150ms\"\npatience = \"50ms\"\nhold = \"200ms\"";
    let broker = Broker::over(&[&a]).setting("drain", quick).start().await;
    let mut client = Client::connect(broker.address()).await;
    add(&broker, &b).await;
    let reader = tokio::spawn(async move {
        let mut feed = client.texts(1).await;
        while feed.last().is_none_or(|text| text != "b:feed-50") {
            feed.push(client.text().await);
        }
        (feed, client)
    });
    let drain = drain(&broker, "a").await;
    let tried =
        |operation: &Value| operation["message"].as_str().is_some_and(|text| text.contains("1 never quiet"));
    let waiting = wait_progress(&broker, &drain, "never quiet", tried).await;
    assert_eq!((&waiting["state"], &waiting["sessions"]["remaining"]), (&json!("waiting"), &json!(1)));
    assert_eq!(broker.wait_only_session("there", |_| true).await["backend"], "a");
    let path = format!("/api/v1/operations/{drain}");
    let forced = broker.change("PATCH", &path, &json!({ "force": true }).to_string()).await;
    assert_eq!(body(&forced)["operation"]["force"], true);
    let done = wait_operation(&broker, &drain, "done").await;
    assert_eq!((&done["sessions"]["moved"], &done["sessions"]["forced"]), (&json!(1), &json!(1)));
    let (feed, _client) = reader.await.expect("a feed");
    let split = feed.iter().position(|text| text.starts_with("b:")).expect("the other's feed");
    assert_eq!(feed[..split], range("a:feed", 1, split), "not a message is missing up to the cut");
    assert_eq!(feed[split..], range("b:feed", 1, feed.len() - split));
    let session = broker.wait_only_session("moved", |session| session["backend"] == "b").await;
    assert_eq!(session["ledger"]["upstream"]["in_doubt"], 1, "{session}");
}

#[tokio::test]
async fn a_greeting_waits_for_the_old_backends_last_words() {
    let mut own = Midway::between("--last-words farewell", "--greet hello").await;
    own.arrive().await;
    assert_eq!(own.client.texts(2).await, ["farewell", "hello"]);
    own.goes_on_at_b().await;
    own.client.close(1000, "").await;
    assert_eq!(own.broker.wait_causes(1).await, ["client_close"]);
    let line = own.broker.access_lines().remove(0);
    assert_eq!((&line["moves"], &line["failovers"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn a_kick_by_the_old_backend_reaches_the_client() {
    let mut own = Midway::between("", "").await;
    own.a.command("!close 4001 kicked").await;
    assert_eq!(own.client.closed().await, (Some(4001), "kicked".to_owned()));
    wait_none_moved(&own.broker, &own.drain, "gone").await;
    assert_eq!(own.b.wait_end(0).await.texts(), [""; 0]);
}

#[tokio::test]
async fn a_kick_in_answer_to_the_goodbye_reaches_the_client() {
    let settings = |broker: BrokerBuilder| broker.setting("timeouts", "close = \"1m\"");
    let mut own = Midway::with("--ignore-close", "", settings).await;
    own.finish().await;
    assert_eq!(own.client.text().await, "a:half and half");
    wait_goodbye(&own.a).await;
    own.a.command("!close 4001 kicked").await;
    assert_eq!(own.client.closed().await, (Some(4001), "kicked".to_owned()));
    assert_eq!(own.b.wait_end(0).await.texts(), [""; 0]);
    wait_none_moved(&own.broker, &own.drain, "failed").await;
}

#[tokio::test]
async fn a_client_may_leave_in_the_middle() {
    let Midway { a, b, broker, client, drain } = Midway::between("", "").await;
    assert_eq!(client.close(1000, "bye").await.0, Some(1000));
    wait_none_moved(&broker, &drain, "gone").await;
    // Its last message was not said to the end, and so the connection cannot be ended in order.
    assert_eq!(a.wait_end(0).await.end(), Some("Reset"));
    assert_eq!(b.wait_end(0).await.texts(), [""; 0]);
    broker.wait_sessions(0).await;
}

#[tokio::test]
async fn a_client_may_vanish_in_the_middle() {
    let Midway { a, b, broker, client, drain } = Midway::between("", "").await;
    client.reset().await;
    wait_none_moved(&broker, &drain, "gone").await;
    for backend in [&a, &b] {
        backend.wait_end(0).await;
    }
    broker.wait_sessions(0).await;
}

/// A session of `a` that was answered at once before, with one more question, which `a` has read and does not answer
/// before `flags` let it.
async fn asked_once_more(drain: &str, flags: &str) -> (Backend, Backend, Broker, Client) {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let broker = Broker::over(&[&a]).setting("drain", drain).start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    client.ask("m-2", "a:m-2").await;
    a.set(flags).await;
    add(&broker, &b).await;
    client.send("slow").await;
    a.wait_messages(3).await;
    (a, b, broker, client)
}

#[tokio::test]
async fn an_answer_that_takes_longer_than_those_before_is_waited_for() {
    let patient = "quiet = \"20ms\"\nquiet_max = \"1m\"\nhold = \"2m\"\ndeadline = \"1h\"";
    let (a, b, broker, mut client) = asked_once_more(patient, "--delay 700").await;
    let drain = drain(&broker, "a").await;
    assert_eq!(client.text().await, "a:slow");
    wait_all_moved(&broker, &drain, 1).await;
    client.ask("m-3", "b:m-3").await;
    assert_eq!(a.journal().texts(), ["m-1", "m-2", "slow"]);
    assert_eq!(b.journal().texts(), ["m-3"]);
    nothing_has_gone_wrong(&broker).await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_counted_in_doubt() {
    let hasty = "quiet = \"20ms\"\nquiet_max = \"50ms\"";
    let (_a, _b, broker, mut client) = asked_once_more(hasty, "--silent").await;
    let drain = drain(&broker, "a").await;
    wait_all_moved(&broker, &drain, 1).await;
    client.ask("m-3", "b:m-3").await;
    let session = broker.wait_only_session("moved", |session| session["backend"] == "b").await;
    assert_eq!(session["ledger"]["upstream"]["in_doubt"], 1, "{session}");
    assert_eq!(broker.metric("steadfast_messages_in_doubt_total", &[]).await, 1.0);
}
