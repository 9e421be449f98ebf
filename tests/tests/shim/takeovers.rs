//! Many connections that come back to one session at the same time: one has it, and each other is told that it has not.

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use steadfast_tests::client::{Client, Incoming};
use steadfast_tests::shim::Host;
use steadfast_tests::upgrade::{Upgrade, complete};

use crate::scene::{over, session};

/// More than may wait to be let go with a last word.
const MANY: usize = 100;

/// How one of them fares.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It was told that it has the session, or had it.
    Closed(Option<u16>),
    /// It heard what the service has said to the session's client.
    Goes(String),
    /// Its connection ended without a Close.
    Lost,
}

async fn fate(mut client: Client) -> Fate {
    loop {
        match client.next_but_pings().await {
            Incoming::Close(code, _) => return Fate::Closed(code),
            Incoming::Message(message) => match message.bytes.split_first() {
                Some((b'm', text)) => return Fate::Goes(String::from_utf8_lossy(text).into_owned()),
                _ => assert!(message.bytes.starts_with(b"w ") || message.bytes.starts_with(b"a ")),
            },
            Incoming::End(_) => return Fate::Lost,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn of_many_that_come_back_at_once_one_has_the_session_and_all_others_are_told() {
    let host = Host::start().await;
    let broker = over(&[&host]).start().await;
    let (mut first, mut link) = session(&broker, &host).await;
    first.acknowledge(0).await;
    let offer = format!("steadfast.v1, steadfast.resume.{}.0", first.token());
    let upgrade = Upgrade::to(broker.address()).header("Sec-WebSocket-Protocol", &offer);
    let mut streams = Vec::new();
    for _ in 0..MANY {
        // All but the last byte, so that they come at once.
        streams.push(upgrade.begin(upgrade.encode().len() - 1).await);
    }
    for stream in &streams {
        assert_eq!(stream.try_write(b"\n").expect("it takes a byte"), 1);
    }
    let mut fates: FuturesUnordered<_> = streams
        .into_iter()
        .map(async |stream| {
            fate(complete(stream).await.expect("the token is valid, so each is answered")).await
        })
        .collect();
    let mut lost = 0;
    for _ in 1..MANY {
        match fates.next().await.expect("one of many") {
            Fate::Lost => lost += 1,
            fate => assert!(matches!(fate, Fate::Closed(Some(4401 | 4409))), "{fate:?}"),
        }
    }
    assert_eq!(lost, 0, "of {MANY} connections so many were dropped without a word");
    assert_eq!(first.closed().await.0, Some(4409));

    link.commit(1, 0, None, &["still here"]).await;
    assert_eq!(fates.next().await, Some(Fate::Goes("still here".to_owned())));
    assert_eq!(broker.sessions().await.len(), 1);
}
