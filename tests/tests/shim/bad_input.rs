//! What is wrong gets a name, loses nothing, and never shows another session's data.

use serde_json::Value;
use steadfast_tests::broker::Broker;
use steadfast_tests::frame::{BINARY, Frame};
use steadfast_tests::shim::{Host, ShimClient, commit};
use steadfast_tests::wait::eventually_some;

use crate::scene::{over, session};

/// What a resume with this token and seq is answered, at a broker with one session whose client has had
/// two messages and acknowledged one.
async fn resumed(token: impl Fn(&str) -> String, last: u64) -> String {
    let host = Host::start().await;
    let broker = over(&[&host]).start().await;
    let (mut client, mut link) = session(&broker, &host).await;
    link.commit(1, 0, None, &["1", "2"]).await;
    assert_eq!((client.message().await, client.message().await), ("1".to_owned(), "2".to_owned()));
    client.acknowledge(1).await;
    client.say("heard").await;
    assert_eq!(link.message().await, "heard");
    let token = token(client.token());
    let resume = Some((token.as_str(), last));
    let ((other, _fresh_link), ()) = tokio::join!(
        async { tokio::join!(ShimClient::connect(broker.address(), resume), host.accept()) },
        async {}
    );
    assert_ne!(other.session(), client.session());
    // The session that was named goes on as it was.
    link.commit(2, 1, None, &["3"]).await;
    assert_eq!(client.message().await, "3");
    other.standing()
}

#[tokio::test]
async fn a_wrong_token_gets_a_fresh_session() {
    let wrong = |token: &str| format!("{}{}", &token[..24], "A".repeat(40));
    assert_eq!(resumed(wrong, 1).await, "fresh stale");
    assert_eq!(resumed(|_| "A".repeat(64), 1).await, "fresh unknown");
    assert_eq!(resumed(|token| token[..63].to_owned(), 1).await, "fresh unknown");
}

#[tokio::test]
async fn a_forged_seq_gets_a_fresh_session() {
    assert_eq!(resumed(str::to_owned, 3).await, "fresh seq");
    assert_eq!(resumed(str::to_owned, 0).await, "fresh seq", "the client had acknowledged more");
}

#[tokio::test]
async fn a_token_is_good_once() {
    let host = Host::start().await;
    let broker = over(&[&host]).start().await;
    let (first, _link) = session(&broker, &host).await;
    first.acknowledge(0).await;
    let token = first.token().to_owned();
    let mut second = ShimClient::connect(broker.address(), Some((&token, 0))).await;
    assert_eq!(second.standing(), "resumed 0 0");
    second.client.send("q").await;
    second.acknowledged(0, 0).await;
    let (replayed, _other) =
        tokio::join!(ShimClient::connect(broker.address(), Some((&token, 0))), host.accept());
    assert_eq!(replayed.standing(), "fresh stale");
    second.client.send("q").await;
    second.acknowledged(0, 0).await;
}

#[tokio::test]
async fn a_token_expires_with_its_window() {
    let host = Host::start().await;
    let broker = over(&[&host]).pool_setting("resume_window = \"100ms\"").start().await;
    let (client, _link) = session(&broker, &host).await;
    client.acknowledge(0).await;
    let token = client.token().to_owned();
    client.client.reset().await;
    assert_eq!(broker.wait_causes(1).await, ["resume_expired"]);
    let (late, _other) =
        tokio::join!(ShimClient::connect(broker.address(), Some((&token, 0))), host.accept());
    assert_eq!(late.standing(), "fresh unknown");
}

#[tokio::test]
async fn a_client_that_acknowledges_what_was_not_sent_is_sent_away() {
    let host = Host::start().await;
    let broker = over(&[&host]).start().await;
    let (mut client, mut link) = session(&broker, &host).await;
    client.acknowledge(1).await;
    let (code, reason) = client.closed().await;
    assert_eq!(code, Some(4400));
    assert!(reason.starts_with("future_ack: "), "{reason}");
    assert_eq!(link.closed().await.0, Some(1002), "to the service it is a client that broke its protocol");
    client.client.reset().await;
    assert_eq!(broker.wait_causes(1).await, ["protocol_client"]);
}

#[tokio::test]
async fn a_message_without_a_kind_is_a_breach() {
    let host = Host::start().await;
    let broker = over(&[&host]).start().await;
    let (mut client, _link) = session(&broker, &host).await;
    client.client.send("").await;
    let (code, reason) = client.closed().await;
    assert_eq!(code, Some(4400));
    assert!(reason.starts_with("bad_frame: "), "{reason}");
}

#[tokio::test]
async fn messages_of_unknown_kinds_are_skipped() {
    let host = Host::start().await;
    let broker = over(&[&host]).start().await;
    let (client, mut link) = session(&broker, &host).await;
    client.client.send(&format!("z{}", "z".repeat(100_000))).await;
    client.say("after it").await;
    assert_eq!(link.message().await, "after it");
}

/// Waits for the one line of the log that is such.
async fn told(broker: &Broker, is: impl Fn(&Value) -> bool) -> Value {
    let mut lines =
        eventually_some("a line of the log", || Some(broker.records(&is)).filter(|all| !all.is_empty()))
            .await;
    assert_eq!(lines.len(), 1);
    lines.remove(0)
}

/// A service that sends this, behind one message, loses its session to the next host.
async fn broken(envelope: Vec<u8>, name: &str) {
    let (a, b) = (Host::start().await, Host::start().await);
    let second = format!("{}\nbackup = true", b.table("b"));
    let broker = over(&[&a]).pool_setting("capsule = \"1KiB\"").pool_table(&second).start().await;
    let (mut client, mut link) = session(&broker, &a).await;
    client.say("one").await;
    assert_eq!(link.message().await, "one");
    link.send(Frame::new(BINARY, envelope)).await;
    let (code, reason) = link.closed().await;
    assert_eq!(code, Some(4400), "{name}");
    assert!(reason.starts_with(&format!("{name}: ")), "{reason}");
    let mut next = b.accept().await;
    assert_eq!((next.attach.applied, next.attach.committed, next.attach.capsule.as_ref()), (0, 0, None));
    assert_eq!(next.message().await, "one");
    next.commit(1, 1, None, &["1"]).await;
    assert_eq!(client.message().await, "1");
    let told = told(&broker, |record| record["message"] == "service broke steadfast.v1").await;
    assert_eq!(told["breach"], name);
}

#[tokio::test]
async fn a_commit_of_what_was_not_sent() {
    broken(commit(1, 2, None, &["forged"]), "future_seq").await;
}

#[tokio::test]
async fn a_commit_out_of_order() {
    broken(commit(2, 1, None, &["early"]), "commit_gap").await;
}

#[tokio::test]
async fn a_capsule_over_its_limit() {
    broken(commit(1, 1, Some(&[7; 1025]), &["too much"]), "capsule_too_big").await;
}

#[tokio::test]
async fn an_envelope_that_is_none() {
    broken(commit(1, 1, None, &["cut"])[..30].to_vec(), "bad_envelope").await;
    broken(Vec::new(), "bad_envelope").await;
}

#[tokio::test]
async fn a_commit_that_goes_backwards() {
    let (a, b) = (Host::start().await, Host::start().await);
    let second = format!("{}\nbackup = true", b.table("b"));
    let broker = over(&[&a]).pool_table(&second).start().await;
    let (mut client, mut link) = session(&broker, &a).await;
    client.say("one").await;
    link.message().await;
    link.commit(1, 1, None, &["1"]).await;
    assert_eq!(client.message().await, "1");
    link.commit(2, 0, None, &["0"]).await;
    assert!(link.closed().await.1.starts_with("commit_backwards: "));
    assert_eq!(b.accept().await.attach.committed, 1);
}

#[tokio::test]
async fn a_backend_that_does_not_link_the_shim_is_passed_over() {
    let (plain, linked) = (Host::start().await, Host::start().await);
    let second = format!("{}\nbackup = true", linked.table("b"));
    let broker = over(&[&plain]).pool_table(&second).start().await;
    let (client, _refused, mut link) =
        tokio::join!(ShimClient::connect(broker.address(), None), plain.upgraded(""), linked.accept());
    client.say("one").await;
    assert_eq!(link.message().await, "one");
    // An operator can find the mistake.
    told(&broker, |record| record["why"] == "it does not link the shim").await;
}
