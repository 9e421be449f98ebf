//! What another file changes, and what goes on.

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::eventually;

use crate::{asked, pair, take, weighed, weights};

#[tokio::test]
async fn a_removed_backend_is_left_in_order() {
    let (a, b) = pair().await;
    let broker = asked(&[&a]).start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    take(&broker, &asked(&[&b])).await;
    let old = a.wait_end(0).await;
    client.ask("m-2", "b:m-2").await;
    assert_eq!((old.close().map(|(code, _)| code), old.end()), (Some(Some(1001)), Some("Eof")));
    assert_eq!(
        broker.changes("a").await,
        [("removed".to_owned(), "it is no longer in the configuration".to_owned())]
    );
    assert_eq!(broker.metric("steadfast_failovers_total", &[("reason", "planned")]).await, 1.0);
    // The same name elsewhere is another backend.
    let elsewhere = Backend::start("b", "--greet elsewhere").await;
    take(&broker, &asked(&[&elsewhere])).await;
    assert_eq!(client.text().await, "elsewhere");
    client.ask("m-3", "b:m-3").await;
    assert_eq!(elsewhere.journal().texts(), ["m-3"]);
    assert_eq!(broker.ends().await, 0.0);
}

#[tokio::test]
async fn a_backend_that_stays_keeps_its_state() {
    let health = "[pool.health]\ntype = \"http\"\npath = \"/health\"\ninterval = \"50ms\"";
    let (a, b) =
        (Backend::start("a", "--page /health:500").await, Backend::start("b", "--page /health:200").await);
    let listing =
        |weight: u32| asked(&[&a, &b]).pool_table(health).backend_setting("a", &format!("weight = {weight}"));
    let broker = listing(1).start().await;
    broker.wait_state("a", "down").await;
    let mut client = Client::connect(broker.address()).await;
    for weight in [2, 3, 4] {
        take(&broker, &listing(weight)).await;
        let own = broker.backend("a").await.expect("listed");
        assert_eq!((&own["state"], &own["weight"]), (&"down".into(), &weight.into()));
    }
    client.ask("hello", "b:hello").await;
    // Other checks begin with what is known.
    let other = health.replace("/health", "/other");
    take(&broker, &asked(&[&a, &b]).pool_table(&other)).await;
    broker.wait_state("b", "down").await;
    assert_eq!(broker.backend("a").await.expect("listed")["state"], "down");
    assert_eq!(broker.changes("a").await.len(), 1);
    // Without checks there is nothing against it.
    take(&broker, &asked(&[&a, &b])).await;
    for name in ["a", "b"] {
        let up = broker.wait_state(name, "up").await;
        assert_eq!((&up["why"], &up["health"]), (&"it is no longer checked".into(), &"unproven".into()));
    }
    client.ask("hello", "b:hello").await;
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 0.0);
}

#[tokio::test]
async fn weights_hold_for_new_sessions() {
    let (a, b) = pair().await;
    let listing = |a_weight: u32, b_weight: u32| {
        let both = asked(&[&a, &b]).backend_setting("a", &format!("weight = {a_weight}"));
        both.backend_setting("b", &format!("weight = {b_weight}"))
    };
    let broker = listing(1, 0).start().await;
    let mut clients = Vec::new();
    for (weights, counts) in [((1, 0), [4, 0]), ((1, 3), [4, 4]), ((1, 3), [4, 8]), ((0, 1), [4, 12])] {
        take(&broker, &listing(weights.0, weights.1)).await;
        for _ in 0..4 {
            clients.push(Client::connect(broker.address()).await);
        }
        assert_eq!([&a, &b].map(|own| own.journal().sessions().len()), counts, "{weights:?}");
    }
    assert_eq!(broker.backend("a").await.expect("listed")["state"], "off");
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 0.0, "sessions stay where they are");
    for (n, client) in clients.iter_mut().enumerate() {
        client.ask("who?", if n < 4 { "a:who?" } else { "b:who?" }).await;
    }
}

#[tokio::test]
async fn sessions_of_a_pool_that_is_gone_stay() {
    let (a, b) = pair().await;
    let (c, d) = (Backend::start("c", "").await, Backend::start("d", "").await);
    let broker = asked(&[&a, &b]).pool("second", &[&c, &d]).start().await;
    let mut client = Client::connect(broker.address_of(1)).await;
    client.send("m-1").await;
    let first = client.text().await;
    let (home, other) = if first == "c:m-1" { (&c, &d) } else { (&d, &c) };
    // The addresses stay as they are, and both are of the only pool that is left.
    let rest = asked(&[&a, &b]).to_toml();
    let toml = format!("[[listener]]\naddress = \"127.0.0.1:0\"\npool = \"default\"\n\n{rest}");
    broker.replace_file(&toml);
    assert_eq!(broker.post("/api/v1/reload").await.status, 200);
    let pools = broker.get_json("/api/v1/pools").await;
    assert_eq!(pools["pools"].as_array().map(Vec::len), Some(1), "{pools}");
    let mut newcomer = Client::connect(broker.address_of(1)).await;
    newcomer.send("who?").await;
    let answer = newcomer.text().await;
    assert!(["a:who?", "b:who?"].contains(&answer.as_str()), "{answer}");
    client.ask("m-2", &format!("{}:m-2", home.name())).await;
    let session = home.journal().sessions();
    assert_eq!((session.len(), session[0].close(), session[0].end()), (1, None, None));
    // It fails over as before, among the backends that it came to.
    broker.wait_metric("steadfast_unacknowledged_bytes", &[], |bytes| bytes == 0.0).await;
    home.kill();
    client.ask("m-3", &format!("{}:m-3", other.name())).await;
    // The pool comes back, and knows nothing of that session.
    take(&broker, &asked(&[&a, &b]).pool("second", &[&c, &d])).await;
    client.ask("m-4", &format!("{}:m-4", other.name())).await;
    Client::connect(broker.address_of(1)).await.ask("who?", &format!("{}:who?", other.name())).await;
    assert_eq!(client.close(1000, "").await, (Some(1000), String::new()));
}

#[tokio::test]
async fn a_route_is_added_and_taken_away() {
    let (a, b) = pair().await;
    let with_route = asked(&[&a]).to_toml()
        + &format!(
            "[[pool]]\nname = \"second\"\n[[pool.backend]]\nname = \"b\"\nurl = \"{}\"\n\n\
             [[route]]\npath_prefix = \"/second\"\npool = \"second\"\n[route.request_headers]\nset = {{ X-Way = \"second\" }}\n",
            b.url()
        );
    let broker = asked(&[&a]).start().await;
    let to_second = || Upgrade::to(broker.address()).path("/second/door");
    let mut before = to_second().connect().await;
    before.ask("hello", "a:hello").await;
    broker.replace_file(&with_route);
    assert_eq!(broker.post("/api/v1/reload").await.status, 200);
    let mut routed = to_second().connect().await;
    routed.ask("hello", "b:hello").await;
    assert_eq!(b.journal().sessions()[0].header("x-way"), Some("second"));
    Client::connect(broker.address()).await.ask("hello", "a:hello").await;
    before.ask("still here", "a:still here").await;
    take(&broker, &asked(&[&a])).await;
    to_second().connect().await.ask("hello", "a:hello").await;
    routed.ask("still here", "b:still here").await;
}

#[tokio::test]
async fn access_holds_for_those_who_come() {
    let a = Backend::start("a", "").await;
    let limited = |n: u32| asked(&[&a]).setting("access", &format!("sessions_per_address = {n}"));
    let broker = limited(10).start().await;
    let mut client = Client::connect(broker.address()).await;
    take(&broker, &limited(10).setting("access", "deny = [\"127.0.0.0/8\"]")).await;
    assert_eq!(Upgrade::to(broker.address()).refused().await.status, 403);
    client.ask("still here", "a:still here").await;
    take(&broker, &limited(2)).await;
    let _second = Client::connect(broker.address()).await;
    assert_eq!(Upgrade::to(broker.address()).refused().await.status, 429, "the one from before counts");
    take(&broker, &asked(&[&a])).await;
    Client::connect(broker.address()).await.ask("hello", "a:hello").await;
    client.ask("still here", "a:still here").await;
}

#[tokio::test]
async fn the_log_level_changes() {
    let a = Backend::start("a", "").await;
    let broker = asked(&[&a]).start().await;
    let level = |level: &str| asked(&[&a]).setting("log", &format!("level = \"{level}\""));
    let come_and_go = async |n: f64| {
        Client::connect(broker.address()).await.close(1000, "").await;
        broker.wait_metric("steadfast_session_ends_total", &[], |count| count == n).await;
    };
    take(&broker, &level("warn")).await;
    come_and_go(1.0).await;
    take(&broker, &level("info")).await;
    come_and_go(2.0).await;
    eventually("an access line", || !broker.access_lines().is_empty()).await;
    assert_eq!(broker.access_lines().len(), 1, "nothing was told of the first");
    assert_eq!(broker.records(|record| record["level"] == "DEBUG").len(), 0);
    take(&broker, &level("debug")).await;
    // The dial of a backend that is not there is told at this level only.
    take(&broker, &Broker::over(&[&Backend::absent("gone", "")]).setting("log", "level = \"debug\"")).await;
    assert_eq!(Upgrade::to(broker.address()).refused().await.status, 503);
    eventually("a line of debugging", || !broker.records(|record| record["level"] == "DEBUG").is_empty())
        .await;
}

#[tokio::test]
async fn timeouts_hold_from_then_on() {
    let a = Backend::start("a", "--spoil-upgrade hang").await;
    let broker = asked(&[&a]).setting("timeouts", "upgrade = \"1h\"").start().await;
    let hanging = tokio::spawn({
        let upgrade = Upgrade::to(broker.address());
        async move { upgrade.open().await }
    });
    let hanging = hanging.await.expect("a connection");
    eventually("the first dial", || a.journal().sessions().len() == 1).await;
    take(&broker, &asked(&[&a]).setting("timeouts", "upgrade = \"50ms\"")).await;
    assert_eq!(Upgrade::to(broker.address()).refused().await.status, 503);
    drop(hanging);
}

#[tokio::test]
async fn flags_win_after_a_reload_too() {
    let (a, b) = pair().await;
    let builder = asked(&[&b]).argument("--backend").argument(&a.url()).argument("--log-level=info");
    let broker = builder.start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("hello", "a:hello").await;
    let next = asked(&[&b]).setting("log", "level = \"off\"").setting("admin", "address = \"127.0.0.1:1\"");
    take(&broker, &next.setting("timeouts", "close = \"1s\"")).await;
    let own = a.address().to_string();
    assert_eq!(weights(&broker).await, weighed(&[(own.as_str(), 1)]));
    client.ask("still here", "a:still here").await;
    Client::connect(broker.address()).await.ask("hello", "a:hello").await;
    let told = || broker.records(|record| record["message"] == "configuration reloaded").len();
    eventually("a line of the log, which the file would switch off", || told() == 1).await;
    assert_eq!(b.journal().sessions().len(), 0);
}
