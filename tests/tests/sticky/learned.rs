//! What backends give their clients leads back, too.

use steadfast_tests::backend::Backend;
use steadfast_tests::upgrade::Upgrade;

use crate::{Placed, STICKY, home, named, placed, sticky};

/// Backends that give each client the same: `of-a`, `of-b`, `of-c`.
async fn giving(header: &str) -> Vec<Backend> {
    let mut all = Vec::new();
    for name in ["a", "b", "c"] {
        all.push(Backend::start(name, &format!("--answer-header {}", header.replace('*', name))).await);
    }
    all
}

#[tokio::test]
async fn by_a_cookie_of_the_backends() {
    let all = giving("Set-Cookie:sid=of-*;+Path=/").await;
    let broker = sticky(&all, "mode = \"learn\"\nlearn = \"cookie:sid\"").start().await;
    let request = Upgrade::to(broker.address());
    let Placed { home: first, client, .. } = placed(&request).await;
    assert_eq!(client.response().header_values("set-cookie"), [format!("sid=of-{first}; Path=/")]);
    for _ in 0..4 {
        let again = placed(&request.clone().header("Cookie", &format!("x=y; sid=of-{first}"))).await;
        assert_eq!(again.home, first);
    }
    let seen = named(&all, &first).journal().sessions();
    let expected = format!("x=y; sid=of-{first}");
    assert_eq!(
        seen.last().and_then(|last| last.header("cookie")),
        Some(expected.as_str()),
        "it is the backend's"
    );
    let counted = async |outcome| broker.metric(STICKY, &[("outcome", outcome)]).await;
    assert_eq!((counted("hit").await, counted("new").await), (4.0, 1.0));
    // What nobody has given leads nowhere.
    let strangers = request.header("Cookie", "sid=stranger");
    let homes = [placed(&strangers).await.home, placed(&strangers).await.home, placed(&strangers).await.home];
    assert!(homes.iter().any(|home| *home != homes[0]), "{homes:?}");
}

#[tokio::test]
async fn by_a_header_that_stands_elsewhere_in_requests() {
    let all = giving("X-Session:of-*").await;
    let keys = "mode = \"learn\"\nlearn = \"header:X-Session\"\nlookup = \"query:session\"";
    let broker = sticky(&all, keys).start().await;
    let first = placed(&Upgrade::to(broker.address())).await.home;
    for _ in 0..4 {
        let path = format!("/?a=b&session=of-{first}");
        assert_eq!(placed(&Upgrade::to(broker.address()).path(&path)).await.home, first);
    }
}

#[tokio::test]
async fn no_more_is_known_than_there_is_room_for() {
    let all = giving("X-Session:of-*").await;
    let keys = "mode = \"learn\"\nlearn = \"header:X-Session\"\nentries = 1";
    let broker = sticky(&all, keys).start().await;
    let first = placed(&Upgrade::to(broker.address())).await.home;
    let second = placed(&Upgrade::to(broker.address())).await.home;
    assert_ne!(first, second, "each in turn");
    let request = |name: &str| Upgrade::to(broker.address()).header("X-Session", &format!("of-{name}"));
    assert_eq!(placed(&request(&second)).await.home, second);
    assert_eq!(broker.metric(STICKY, &[("outcome", "hit")]).await, 1.0);
    placed(&request(&first)).await;
    assert_eq!(broker.metric(STICKY, &[("outcome", "hit")]).await, 1.0, "it is forgotten");
}

#[tokio::test]
async fn what_is_known_follows_a_session_that_moves() {
    let all = giving("X-Session:of-*").await;
    let broker = sticky(&all, "mode = \"learn\"\nlearn = \"header:X-Session\"").start().await;
    let Placed { mut client, home: first, .. } = placed(&Upgrade::to(broker.address())).await;
    named(&all, &first).kill();
    let second = home(&mut client).await;
    named(&all, &first).restart().await;
    let request = Upgrade::to(broker.address()).header("X-Session", &format!("of-{first}"));
    assert_eq!(placed(&request).await.home, second);
}
