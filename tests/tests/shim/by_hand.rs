//! The wire protocol as `docs/protocol.md` has it, said by hand.

use steadfast_tests::frame::{BINARY, Frame};
use steadfast_tests::http::header;
use steadfast_tests::shim::{Host, ShimClient, Told};
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::eventually_async;

use crate::scene::{over, session};

#[tokio::test]
async fn a_service_is_told_its_session_and_answers_by_commits() {
    let host = Host::start().await;
    let broker = over(&[&host]).start().await;
    let (mut client, mut link) = session(&broker, &host).await;
    assert_eq!(header(&link.head.headers, "steadfast-shim"), Some("1"));
    assert_eq!(header(&link.head.headers, "sec-websocket-extensions"), None);
    assert_eq!(header(&link.head.headers, "sec-websocket-protocol"), None);
    assert_eq!((link.attach.epoch, link.attach.applied, link.attach.committed), (1, 0, 0));
    assert_eq!(link.attach.session, client.session());
    assert_eq!(header(&link.head.headers, "steadfast-session"), Some(client.session()));
    assert_eq!(client.standing(), "fresh new");
    client.acknowledge(0).await;
    client.say("one").await;
    client.say("two").await;
    assert_eq!((link.message().await, link.message().await), ("one".to_owned(), "two".to_owned()));
    link.commit(1, 2, Some(b"state"), &["first", "second"]).await;
    assert_eq!((client.message().await, client.message().await), ("first".to_owned(), "second".to_owned()));
    link.send(Frame::new(BINARY, b"P\0\0\0\x01\0\0\0\x04push".to_vec())).await;
    assert_eq!(client.message().await, "push");
}

#[tokio::test]
async fn the_next_host_gets_the_capsule_and_what_is_not_committed() {
    let (a, b) = (Host::start().await, Host::start().await);
    let broker = over(&[&a]).pool_table(&format!("{}\nbackup = true", b.table("b"))).start().await;
    let (mut client, mut link) = session(&broker, &a).await;
    for text in ["one", "two", "three"] {
        client.say(text).await;
        assert_eq!(link.message().await, text);
    }
    link.commit(1, 1, Some(b"after one"), &["1"]).await;
    assert_eq!(client.message().await, "1");
    drop((link, a));
    let mut link = b.accept().await;
    assert_eq!((link.attach.applied, link.attach.committed), (1, 1));
    assert_eq!(link.attach.capsule.as_deref(), Some(&b"after one"[..]));
    assert!(link.attach.epoch > 1);
    assert_eq!((link.message().await, link.message().await), ("two".to_owned(), "three".to_owned()));
    link.commit(2, 3, None, &["2", "3"]).await;
    assert_eq!((client.message().await, client.message().await), ("2".to_owned(), "3".to_owned()));
}

#[tokio::test]
async fn a_commit_that_is_sent_again_is_applied_once() {
    let (a, b) = (Host::start().await, Host::start().await);
    let broker = over(&[&a]).pool_table(&format!("{}\nbackup = true", b.table("b"))).start().await;
    let (mut client, mut link) = session(&broker, &a).await;
    client.say("one").await;
    client.say("two").await;
    link.message().await;
    link.message().await;
    link.commit(1, 1, None, &["1"]).await;
    assert_eq!(client.message().await, "1");
    drop((link, a));
    let mut link = b.accept().await;
    // A store of its own says that the broker may have both.
    link.commit(1, 1, None, &["1"]).await;
    link.commit(2, 2, None, &["2"]).await;
    assert_eq!(client.message().await, "2");
    assert_eq!(link.message().await, "two", "it counts what comes, so it gets everything");
    client.say("three").await;
    assert_eq!(link.message().await, "three");
    link.commit(3, 3, None, &["3"]).await;
    assert_eq!(client.message().await, "3");
}

#[tokio::test]
async fn a_resumed_client_gets_what_is_missing_and_says_what_is() {
    let host = Host::start().await;
    let broker = over(&[&host]).start().await;
    let (mut client, mut link) = session(&broker, &host).await;
    client.acknowledge(0).await;
    client.say("one").await;
    assert_eq!(link.message().await, "one");
    link.commit(1, 1, None, &["1", "2", "3"]).await;
    assert_eq!(client.message().await, "1");
    let (name, token) = (client.session().to_owned(), client.token().to_owned());
    client.client.reset().await;
    link.commit(2, 1, None, &["4"]).await;
    let mut client = ShimClient::connect(broker.address(), Some((&token, 1))).await;
    assert_eq!((client.session(), client.standing().as_str()), (name.as_str(), "resumed 1 1"));
    assert_ne!(client.token(), token);
    for expected in ["2", "3", "4"] {
        assert_eq!(client.message().await, expected);
    }
    client.say("two").await;
    assert_eq!(link.message().await, "two");
    assert_eq!(broker.metric("steadfast_resumes_total", &[]).await, 1.0);
    assert_eq!(broker.metric("steadfast_sessions", &[]).await, 1.0);
}

#[tokio::test]
async fn a_valid_token_takes_over() {
    let host = Host::start().await;
    let broker = over(&[&host]).start().await;
    let (mut first, _link) = session(&broker, &host).await;
    first.acknowledge(0).await;
    let token = first.token().to_owned();
    let second = ShimClient::connect(broker.address(), Some((&token, 0))).await;
    assert_eq!(second.standing(), "resumed 0 0");
    let (code, reason) = first.closed().await;
    assert_eq!(code, Some(4409));
    assert!(reason.starts_with("superseded"), "{reason}");
}

#[tokio::test]
async fn the_applications_subprotocol_goes_on_and_ours_does_not() {
    let host = Host::start().await;
    let broker = over(&[&host]).start().await;
    let offer = "steadfast.v1+chat, chat, steadfast.v1";
    let upgrade = Upgrade::to(broker.address()).header("Sec-WebSocket-Protocol", offer);
    let (client, (_stream, head, _)) = tokio::join!(
        ShimClient::of(upgrade),
        host.upgraded("Steadfast-Shim: 1\r\nSec-WebSocket-Protocol: chat\r\n")
    );
    assert_eq!(header(&head.headers, "sec-websocket-protocol"), Some("chat"));
    assert_eq!(client.client.response().header("sec-websocket-protocol"), Some("steadfast.v1+chat"));
}

#[tokio::test]
async fn a_drain_tells_the_service_first_and_takes_its_last_capsule_along() {
    let (a, b) = (Host::start().await, Host::start().await);
    let broker = over(&[&a]).pool_table(&format!("{}\nbackup = true", b.table("b"))).start().await;
    let (mut client, mut link) = session(&broker, &a).await;
    client.say("one").await;
    assert_eq!(link.message().await, "one");
    link.commit(1, 1, None, &["1"]).await;
    assert_eq!(client.message().await, "1");
    let order = broker.change("POST", "/api/v1/pools/default/backends/a/drain", "{}").await;
    assert!(order.status < 300, "{}", order.text());
    let (told, next) = tokio::join!(
        async {
            eventually_async("a notice that the session leaves", async || {
                let told = tokio::time::timeout(std::time::Duration::from_millis(20), link.next()).await;
                assert!(told.is_err(), "nothing but pings: {told:?}");
                link.pings.iter().any(|ping| ping.starts_with(b"S1\x01")).then_some(())
            })
            .await;
            link.commit(2, 1, Some(b"last"), &[]).await;
            link.closed().await
        },
        b.accept()
    );
    assert_eq!(told.0, Some(1001));
    drop(link);
    let mut next = next;
    assert_eq!(next.attach.capsule.as_deref(), Some(&b"last"[..]));
    assert_eq!((next.attach.applied, next.attach.committed), (2, 1));
    client.say("two").await;
    assert_eq!(next.message().await, "two");
}

#[tokio::test]
async fn who_is_left_while_it_may_live_is_told_so_and_not_heard() {
    let (a, b) = (Host::start().await, Host::start().await);
    let broker = over(&[&a]).pool_table(&format!("{}\nbackup = true", b.table("b"))).start().await;
    let (mut client, mut old) = session(&broker, &a).await;
    client.say("one").await;
    assert_eq!(old.message().await, "one");
    let order = format!("/api/v1/sessions/{}/failover", client.session());
    assert!(broker.post(&order).await.status < 300);
    let mut new = b.accept().await;
    // What it says now must not count.
    old.commit(1, 1, Some(b"old"), &["from the old one"]).await;
    let (code, reason) = old.closed().await;
    assert_eq!(code, Some(4409));
    assert!(reason.starts_with("fenced"), "{reason}");
    assert_eq!(new.message().await, "one");
    new.commit(1, 1, Some(b"new"), &["from the new one"]).await;
    assert_eq!(client.message().await, "from the new one");
    assert!(matches!(old.next().await, Told::End(_)));
}
