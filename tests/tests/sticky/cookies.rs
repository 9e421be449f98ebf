//! The cookie leads back, for as long as its backend is there.

use std::collections::BTreeSet;

use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::eventually_async;

use crate::{Placed, STICKY, backends, come_to, home, named, newcomer, placed, plain, showing, sticky};

const NAMES: [&str; 3] = ["a", "b", "c"];

#[tokio::test]
async fn the_first_101_sets_it_and_the_next_connection_comes_back() {
    let all = backends(NAMES).await;
    let broker = sticky(&all, "").start().await;
    let (_client, home, cookie) = newcomer(&broker).await;
    for _ in 0..6 {
        let shown = format!("a=\"b\"; {cookie};c = d");
        let again = showing(&broker, &shown).await;
        assert_eq!((again.home.as_str(), again.cookie), (home.as_str(), None), "it is not set again");
    }
    // The backend has seen every other cookie as it was sent, and not this one.
    let requests = named(&all, &home).journal().sessions();
    let cookies: Vec<_> = requests.iter().map(|request| request.header_values("cookie")).collect();
    assert_eq!(cookies[0], Vec::<&str>::new());
    assert_eq!(cookies[1..], vec![["a=\"b\";c = d"]; 6]);
    // Those who have none are spread.
    let mut homes = BTreeSet::new();
    for _ in 0..3 {
        homes.insert(newcomer(&broker).await.1);
    }
    assert_eq!(homes.len(), 3);
    let counted = async |outcome| broker.metric(STICKY, &[("outcome", outcome)]).await;
    assert_eq!((counted("hit").await, counted("new").await), (6.0, 4.0));
    assert_eq!((counted("miss").await, counted("wrong").await), (0.0, 0.0));
}

#[tokio::test]
async fn the_api_says_who_has_come_back() {
    let all = backends(NAMES).await;
    let broker = sticky(&all, "").start().await;
    let (_client, _, cookie) = newcomer(&broker).await;
    let _again = showing(&broker, &cookie).await;
    let mut reasons: Vec<_> = broker.sessions().await.iter().map(|own| own["placed"].clone()).collect();
    reasons.sort_by_key(ToString::to_string);
    assert_eq!(reasons, ["round_robin", "sticky"]);
}

#[tokio::test]
async fn a_pool_that_is_not_sticky_sets_none_and_passes_all_on() {
    let all = backends(NAMES).await;
    let broker = plain(&all).start().await;
    let first = showing(&broker, "steadfast=1; a=b").await;
    assert_eq!(first.cookie, None);
    let requests = named(&all, &first.home).journal().sessions();
    assert_eq!(requests[0].header("cookie"), Some("steadfast=1; a=b"));
}

#[tokio::test]
async fn a_backend_that_is_gone_is_replaced_with_its_cookie() {
    let all = backends(NAMES).await;
    let broker = sticky(&all, "").start().await;
    let (client, first, cookie) = newcomer(&broker).await;
    client.close(1000, "").await;
    named(&all, &first).kill();
    let Placed { home: second, cookie: next, .. } = showing(&broker, &cookie).await;
    let next = next.expect("another cookie");
    assert_ne!((&first, &cookie), (&second, &next));
    named(&all, &first).restart().await;
    assert_eq!(come_to(&broker, &next, &second, 4).await, 4, "it stays there when the first is back");
    assert_eq!(broker.metric(STICKY, &[("outcome", "miss")]).await, 1.0);
}

#[tokio::test]
async fn what_is_none_of_ours_is_as_if_it_were_not_there() {
    let all = backends(NAMES).await;
    let broker = sticky(&all, "").start().await;
    let (_client, home, cookie) = newcomer(&broker).await;
    let strange = [
        "steadfast=".to_owned(),
        "steadfast=1".to_owned(),
        format!("{cookie}A"),
        cookie[..cookie.len() - 1].to_owned(),
        cookie.replace("steadfast=1", "steadfast=2"),
        format!("{cookie}; {cookie}"),
        format!("steadfast=1{}", "A".repeat(54)),
        format!("steadfast={}", "1".repeat(4000)),
    ];
    for (n, strange) in strange.iter().enumerate() {
        let Placed { home: placed, cookie: given, .. } = showing(&broker, strange).await;
        assert!(given.is_some_and(|given| given != cookie), "{strange}: it gets one");
        let seen = named(&all, &placed).journal().sessions();
        assert_eq!(seen.last().and_then(|request| request.header("cookie")), None, "{strange}");
        let wrong = broker.metric(STICKY, &[("outcome", "wrong")]).await;
        assert_eq!(wrong, (n + 1) as f64, "{strange}");
    }
    assert_eq!(come_to(&broker, &cookie, &home, 3).await, 3, "the right one leads back");
}

#[tokio::test]
async fn pools_do_not_take_each_others() {
    let [a, b, c, d] = backends(["a", "b", "c", "d"]).await;
    let other = |builder: steadfast_tests::broker::BrokerBuilder| {
        builder.pool("other", &[&a, &b, &c, &d]).pool_table("[pool.sticky]")
    };
    let broker = other(sticky(&[a.clone(), b.clone(), c.clone(), d.clone()], "")).start().await;
    let (_client, _, cookie) = newcomer(&broker).await;
    let there = placed(&Upgrade::to(broker.address_of(1)).header("Cookie", &cookie)).await;
    assert!(there.cookie.is_some(), "it is new there");
}

#[tokio::test]
async fn after_its_time_it_counts_no_more() {
    let all = backends(NAMES).await;
    let broker = sticky(&all, "max_life = \"1s\"").start().await;
    let forever = sticky(&all, "max_life = \"1year\"").start().await;
    let (_client, _, cookie) = newcomer(&broker).await;
    let (_other, _, lasting) = newcomer(&forever).await;
    let next = eventually_async("another cookie", async || showing(&broker, &cookie).await.cookie).await;
    assert_ne!(next, cookie);
    assert_eq!(showing(&forever, &lasting).await.cookie, None);
}

#[tokio::test]
async fn a_client_that_comes_in_time_keeps_it() {
    let all = backends(NAMES).await;
    let broker = sticky(&all, "max_idle = \"30s\"").start().await;
    let (_client, first, cookie) = newcomer(&broker).await;
    // It is written anew now and then, and says the same.
    let next = eventually_async("the cookie once more", async || {
        let again = showing(&broker, &cookie).await;
        assert_eq!(again.home, first);
        again.cookie
    })
    .await;
    assert_ne!(next, cookie);
    assert_eq!(come_to(&broker, &next, &first, 3).await, 3);
}

#[tokio::test]
async fn one_that_is_full_is_waited_for() {
    let all = backends(["a", "b"]).await;
    let builder = sticky(&all, "").pool_table("[pool.queue]\ntimeout = \"20s\"");
    let builder = builder.backend_setting("a", "max_sessions = 1").backend_setting("b", "max_sessions = 9");
    let broker = builder.start().await;
    let (mut client, mut first, mut cookie) = newcomer(&broker).await;
    if first != "a" {
        (client, first, cookie) = newcomer(&broker).await;
    }
    assert_eq!(first, "a");
    let request = Upgrade::to(broker.address()).header("Cookie", &cookie);
    let waiter = tokio::spawn(async move { placed(&request).await });
    client.close(1000, "").await;
    let waited = waiter.await.expect("no panic");
    assert_eq!((waited.home.as_str(), waited.cookie), ("a", None));
}

#[tokio::test]
async fn one_that_stays_full_is_left() {
    let all = backends(["a", "b"]).await;
    let builder = sticky(&all, "").pool_table("[pool.queue]\ntimeout = \"300ms\"");
    let broker = builder.backend_setting("a", "max_sessions = 1").start().await;
    let (mut client, mut first, mut cookie) = newcomer(&broker).await;
    if first != "a" {
        (client, first, cookie) = newcomer(&broker).await;
    }
    assert_eq!(first, "a");
    let elsewhere = showing(&broker, &cookie).await;
    assert_eq!(elsewhere.home, "b");
    assert!(elsewhere.cookie.is_some());
    assert_eq!(home(&mut client).await, "a");
}
