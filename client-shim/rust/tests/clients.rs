//! Clients against a broker that a test plays, over real sockets.

mod broker;

use std::time::Duration;

use broker::{Broker, SESSION, within};
use futures::{FutureExt, SinkExt, StreamExt};
use steadfast_protocol::steadfast_v1::client_wire::{Reason, Token};
use steadfast_shim::CloseCode;
use steadfast_shim::Message;
use steadfast_shim::client::{Cause, Client, End, Event, Fate, Loss, NotDelivered, Options, SendError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message as Raw;

fn text(seq: u64, text: &str) -> Option<Event> {
    Some(Event::Message { seq, message: text.into() })
}

fn asked() -> End {
    End { cause: Cause::Asked, unknown: None, unsent: None }
}

#[tokio::test]
async fn messages_go_both_ways_and_receipts_tell_what_became_of_them() {
    let broker = Broker::bind().await;
    let (mut client, mut link) = broker.welcome(broker.options()).await;
    let receipt = client.send("hello").await.expect("room");
    assert_eq!((receipt.id(), link.hear().await), (1, "mhello".to_owned()));
    assert_eq!(receipt.fate(), Fate::Kept);
    link.say("a 1 0").await;
    within(receipt.received()).await.expect("received");
    assert_eq!(receipt.fate(), Fate::Received);
    link.say("manswer").await;
    assert_eq!(within(client.next()).await, text(1, "answer"));
    link.say("a 1 1").await;
    within(receipt.committed()).await.expect("committed");
    assert_eq!(link.hear().await, "a 1");
    client.send(vec![0, 255]).await.expect("room");
    let next = within(link.socket.next()).await.expect("a message").expect("a connection");
    assert_eq!(next, Raw::binary(vec![b'm', 0, 255]));
}

#[tokio::test]
async fn a_cut_connection_is_resumed() {
    let broker = Broker::bind().await;
    let (mut client, mut link) = broker.welcome(broker.options()).await;
    link.say("mdown one").await;
    assert_eq!(within(client.next()).await, text(1, "down one"));
    let one = client.send("one").await.expect("room");
    let two = client.send("two").await.expect("room");
    assert_eq!(link.hear().await, "a 1");
    assert_eq!((link.hear().await, link.hear().await), ("mone".into(), "mtwo".into()));
    drop(link);
    let lost = within(client.next()).await.expect("an event");
    assert!(matches!(lost, Event::Lost { loss: Loss::Ended, .. }), "{lost:?}");

    let mut link = broker.accept().await;
    assert_eq!(link.resume(), Some((Token::new(SESSION, [1; 32]), 1)));
    link.welcome_resumed(1, 1, 2).await;
    assert_eq!(within(client.next()).await, Some(Event::Resumed));
    assert_eq!((link.hear().await, link.hear().await), ("a 1".into(), "mtwo".into()));
    within(one.committed()).await.expect("committed");
    link.say("mdown two").await;
    assert_eq!(within(client.next()).await, text(2, "down two"));
    link.say("a 2 2").await;
    within(two.committed()).await.expect("committed");
    drop(link);
    assert_eq!(broker.accept().await.resume(), Some((Token::new(SESSION, [2; 32]), 2)));
}

#[tokio::test]
async fn a_fresh_session_leaves_messages_in_the_unknown() {
    let broker = Broker::bind().await;
    let (mut client, mut link) = broker.welcome(broker.options()).await;
    let receipt = client.send("one").await.expect("room");
    assert_eq!(link.hear().await, "mone");
    link.say("a 1 0").await;
    within(receipt.received()).await.expect("received");
    link.close(1012, "").await;
    drop(link);
    let mut link = broker.accept().await;
    let late = client.send("two").await.expect("room");
    link.welcome_fresh([2; 16], Reason::Unknown, 3).await;
    let lost = Event::Lost { loss: Loss::Closed(CloseCode::SERVICE_RESTART), detail: None };
    assert_eq!(within(client.next()).await, Some(lost));
    let fresh = Event::Fresh { reason: Reason::Unknown, unknown: Some(1..=1) };
    assert_eq!(within(client.next()).await, Some(fresh));
    assert_eq!(within(receipt.committed()).await, Err(NotDelivered::Unknown));
    assert_eq!((link.hear().await, link.hear().await), ("a 0".into(), "mtwo".into()));
    link.say("a 1 1").await;
    within(late.committed()).await.expect("committed");
}

#[tokio::test]
async fn superseded_is_the_end() {
    let broker = Broker::bind().await;
    let (mut client, mut link) = broker.welcome(broker.options()).await;
    let receipt = client.send("one").await.expect("room");
    assert_eq!(link.hear().await, "mone");
    link.close(4409, "superseded").await;
    match within(client.next()).await {
        Some(Event::Closed(end)) => {
            assert!(end.cause.is_superseded());
            assert_eq!(end.unknown, Some(1..=1));
        }
        other => panic!("the end, not {other:?}"),
    }
    assert_eq!(within(client.next()).await, None);
    assert_eq!(within(receipt.received()).await, Err(NotDelivered::Unknown));
    assert_eq!(client.send("more").await.map(|_| ()), Err(SendError::Closed));
}

#[tokio::test]
async fn a_full_buffer_refuses_or_waits() {
    let broker = Broker::bind().await;
    let mut options = broker.options();
    options.config.buffer = 1;
    let (client, mut link) = broker.welcome(options).await;
    client.try_send("one").expect("room for the first");
    assert_eq!(client.try_send("two").map(|_| ()), Err(SendError::Full));
    assert!(client.send("two").now_or_never().is_none(), "it waits");
    assert_eq!(link.hear().await, "mone");
    let (sent, ()) = within(async { tokio::join!(client.send("two"), link.say("a 1 0")) }).await;
    assert_eq!(sent.expect("room").id(), 2);
    assert_eq!(link.hear().await, "mtwo");
}

#[tokio::test]
async fn it_is_a_sink() {
    let broker = Broker::bind().await;
    let mut options = broker.options();
    options.config.buffer = 1;
    let (client, mut link) = broker.welcome(options).await;
    let (mut sender, mut events) = client.split();
    let sending = tokio::spawn(async move {
        let numbers = (1..=20).map(|number: u64| Ok(Message::from(number.to_string())));
        sender.send_all(&mut futures::stream::iter(numbers)).await?;
        sender.close().await
    });
    for number in 1..=20 {
        assert_eq!(link.hear().await, format!("m{number}"));
        link.say(&format!("a {number} {number}")).await;
    }
    assert_eq!(link.hear_close().await, (1000, String::new()));
    assert_eq!(within(sending).await.expect("no panic"), Ok(()));
    assert_eq!(within(events.next()).await, Some(Event::Closed(asked())));
    assert_eq!(within(events.next()).await, None);
}

#[tokio::test]
async fn clones_share_a_buffer_and_lose_nothing() {
    let broker = Broker::bind().await;
    let mut options = broker.options();
    options.config.buffer = 1;
    let (client, mut link) = broker.welcome(options).await;
    let (mut first, _events) = client.split();
    let mut second = first.clone();
    let ready = |sender: &mut steadfast_shim::client::Sender| {
        std::future::poll_fn(|cx| sender.poll_ready_unpin(cx)).now_or_never()
    };
    assert_eq!((ready(&mut first), ready(&mut second)), (Some(Ok(())), Some(Ok(()))));
    first.start_send_unpin("one".into()).expect("room");
    second.start_send_unpin("two".into()).expect("it is late, and not lost");
    assert_eq!(link.hear().await, "mone");
    link.say("a 1 0").await;
    let flushed = tokio::spawn(async move { second.flush().await });
    assert_eq!(link.hear().await, "mtwo");
    link.say("a 2 0").await;
    assert_eq!(within(flushed).await.expect("no panic"), Ok(()));
}

#[tokio::test]
async fn closing_waits_for_the_brokers_answer() {
    let broker = Broker::bind().await;
    let (client, mut link) = broker.welcome(broker.options()).await;
    client.send("last").await.expect("room");
    let closing = tokio::spawn(client.close());
    assert_eq!(link.hear().await, "mlast");
    link.say("a 1 1").await;
    assert_eq!(link.hear_close().await.0, 1000);
    assert_eq!(within(closing).await.expect("no panic"), asked());
}

#[tokio::test]
async fn an_unreachable_broker_is_told_and_the_next_one_tried() {
    let nobody = Broker::bind().await.url();
    let broker = Broker::bind().await;
    let options = Options { urls: vec![nobody, broker.url()], ..broker.options() };
    let mut client = Client::connect(options).expect("good options");
    let mut link = broker.accept().await;
    link.welcome_fresh(SESSION, Reason::New, 1).await;
    match within(client.next()).await {
        Some(Event::Lost { loss: Loss::Unreachable, detail: Some(_) }) => {}
        other => panic!("an attempt that failed, not {other:?}"),
    }
    let fresh = Event::Fresh { reason: Reason::New, unknown: None };
    assert_eq!(within(client.next()).await, Some(fresh));
}

#[tokio::test]
async fn a_refusal_is_told_in_the_servers_words() {
    let broker = Broker::bind().await;
    let mut client = Client::connect(broker.options()).expect("good options");
    let (mut stream, _) = within(broker.listener.accept()).await.expect("a connection");
    let answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nfull\n";
    let mut request = vec![0; 4096];
    assert!(within(stream.read(&mut request)).await.expect("a request") > 0);
    stream.write_all(answer.as_bytes()).await.expect("a connection");
    match within(client.next()).await {
        Some(Event::Lost { loss: Loss::Unreachable, detail: Some(detail) }) => {
            assert!(detail.contains("503") && detail.contains("full"), "{detail}");
        }
        other => panic!("a refusal, not {other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_does_not_speak_it_is_incompatible() {
    let broker = Broker::bind().await;
    let mut client = Client::connect(broker.options()).expect("good options");
    let (stream, _) = within(broker.listener.accept()).await.expect("a connection");
    // The client hangs up before the handshake is over, or right after it.
    let _ = within(tokio_tungstenite::accept_async(stream)).await;
    let incompatible = Event::Lost { loss: Loss::Incompatible, detail: None };
    assert_eq!(within(client.next()).await, Some(incompatible));
}

#[tokio::test]
async fn headers_and_protocols_are_those_of_the_application() {
    let broker = Broker::bind().await;
    let mut options = broker.options();
    options.headers.insert("cookie", "a=b".parse().expect("a header"));
    let _client = Client::connect(options).expect("good options");
    let link = broker.accept().await;
    assert_eq!(
        (link.request.headers()["cookie"].as_bytes(), &link.offered[..]),
        (&b"a=b"[..], "steadfast.v1")
    );
}

#[tokio::test]
async fn pings_are_answered() {
    let broker = Broker::bind().await;
    let (_client, mut link) = broker.welcome(broker.options()).await;
    link.socket.send(Raw::Ping("are you there?".into())).await.expect("a connection");
    let pong = within(link.socket.next()).await.expect("a pong").expect("a connection");
    assert_eq!(pong, Raw::Pong("are you there?".into()));
}

#[tokio::test]
async fn a_broker_that_is_silent_is_left() {
    let broker = Broker::bind().await;
    let mut options = broker.options();
    options.config.silence = Duration::from_millis(20);
    options.config.answer = Duration::from_millis(20);
    let (mut client, mut link) = broker.welcome(options).await;
    assert_eq!(link.hear().await, "q");
    let lost = Event::Lost { loss: Loss::Silent, detail: None };
    assert_eq!(within(client.next()).await, Some(lost));
    assert!(broker.accept().await.resume().is_some());
}

#[tokio::test]
async fn a_broker_that_breaks_the_protocol_is_told_so() {
    let broker = Broker::bind().await;
    let (mut client, mut link) = broker.welcome(broker.options()).await;
    link.say("a 7 0").await;
    let (code, reason) = link.hear_close().await;
    assert!(code == 4400 && reason.starts_with("future_ack: "), "{code} {reason}");
    let end = within(client.next()).await;
    assert!(matches!(end, Some(Event::Closed(End { cause: Cause::Breach(_), .. }))), "{end:?}");
}

#[tokio::test]
async fn who_takes_events_slowly_gets_them_all() {
    let broker = Broker::bind().await;
    let mut options = broker.options();
    options.inbox = 1;
    let (mut client, mut link) = broker.welcome(options).await;
    let saying = tokio::spawn(async move {
        for seq in 1..=200 {
            link.say(&format!("m{seq}")).await;
        }
        link
    });
    for seq in 1..=200 {
        assert_eq!(within(client.next()).await, text(seq, &seq.to_string()));
    }
    within(saying).await.expect("no panic");
}

#[tokio::test]
async fn with_the_last_handle_the_connection_goes() {
    let broker = Broker::bind().await;
    let (client, mut link) = broker.welcome(broker.options()).await;
    let (sender, events) = client.split();
    drop(events);
    link.say("mnobody").await;
    assert_eq!(link.hear().await, "a 1", "there is a sender yet");
    drop(sender);
    let end = within(link.socket.next()).await;
    assert!(!matches!(end, Some(Ok(_))), "{end:?}");
}
