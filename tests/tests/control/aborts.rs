//! Closing a session for an operator's reason.

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::frame::Frame;
use steadfast_tests::wait::eventually;

use crate::{json, sentence};

async fn only(broker: &Broker) -> String {
    let session = broker.wait_only_session("there", |_| true).await;
    session["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn both_sides_are_told() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    for (body, code, reason) in [
        ("", 1008, "the session was ended by an operator"),
        ("{\"code\": 4001, \"reason\": \"abgemeldet, tschüß\"}", 4001, "abgemeldet, tschüß"),
        ("{\"code\": 1012}", 1012, "the session was ended by an operator"),
    ] {
        let before = backend.journal().sessions().len();
        let mut client = Client::connect(broker.address()).await;
        client.ask("hello", "a:hello").await;
        let id = only(&broker).await;
        let answer = broker.change("POST", &format!("/api/v1/sessions/{id}/abort"), body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(json(&answer)["session"]["id"], id);
        assert_eq!(client.closed().await, (Some(code), reason.to_owned()));
        client.send_frame(Frame::close(code, "")).await;
        eventually("the Close at the backend", || {
            let sessions = backend.journal().sessions();
            sessions.get(before).is_some_and(|session| session.close().is_some())
        })
        .await;
        broker.wait_sessions(0).await;
    }
    assert_eq!(broker.wait_causes(3).await, ["aborted"; 3]);
}

#[tokio::test]
async fn what_cannot_be_said_is_refused_and_the_session_goes_on() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    let mut client = Client::connect(broker.address()).await;
    let path = format!("/api/v1/sessions/{}/abort", only(&broker).await);
    let long = format!("{{\"reason\": \"{}\"}}", "é".repeat(62));
    for (body, part) in [
        ("{\"code\": 1005}", "1005"),
        ("{\"code\": 1002}", "1002"),
        ("{\"code\": 5000}", "5000"),
        ("{\"code\": -1}", ""),
        ("{\"cod\": 1000}", "cod"),
        (&long, "124 bytes"),
        ("nonsense", ""),
    ] {
        let sentence = sentence(&broker.change("POST", &path, body).await, 400, "invalid");
        assert!(sentence.contains(part), "{body}: {sentence}");
    }
    let nobody = format!("/api/v1/sessions/{}/abort", "0".repeat(32));
    sentence(&broker.change("POST", &nobody, "").await, 404, "not_found");
    client.ask("still here", "a:still here").await;
}
