//! What checks find, and where it is seen.

use std::time::Instant;

use steadfast_tests::backend::Backend;
use steadfast_tests::client::Client;
use steadfast_tests::journal::Connection;

use crate::{CHECKS, ILL, WELL, health, http, pair, quick, state_in_metrics, states, wait_checks, wait_well};

#[tokio::test]
async fn http_checks_judge_the_status() {
    for (expect, good, bad, wanted) in [
        ("", [200, 204, 399], [400, 404, 500], "200-399"),
        ("expect = [200, \"401-403\"]", [200, 401, 403], [201, 302, 500], "200, 401-403"),
    ] {
        let backend = Backend::start("a", WELL).await;
        let table = http() + "\nrise = 1\nfall = 1\n" + expect;
        let broker = quick(&[&backend], &table).start().await;
        for (good, bad) in good.into_iter().zip(bad) {
            backend.set(&format!("--page /health:{good}")).await;
            wait_well(&broker, "a").await;
            backend.set(&format!("--page /health:{bad}")).await;
            let down = broker.wait_state("a", "down").await;
            assert_eq!(down["why"], format!("its health checks fail: answered {bad}, expected {wanted}"));
            assert_eq!(down["health"], "down");
        }
    }
}

#[tokio::test]
async fn http_checks_ask_as_they_are_told() {
    let backend = Backend::start("a", "--page /deep?all=1:200").await;
    let more = "type = \"http\"\npath = \"/deep?all=1\"\nmethod = \"HEAD\"\nhost = \"chat.example\"";
    let broker = quick(&[&backend], &health(more)).start().await;
    wait_well(&broker, "a").await;
    let asked = backend.journal().asked("HEAD /deep?all=1");
    assert!(!asked.is_empty());
    for check in asked {
        assert_eq!(check.header_values("host"), ["chat.example"]);
        assert_eq!(check.header("user-agent"), Some("steadfast-health"));
    }
    let other = Backend::start("b", "--page /health:200").await;
    let (backend_port, check_port) = (backend.address().port(), other.address().port());
    let broker = quick(&[&backend], &format!("{}\nport = {check_port}", http())).start().await;
    wait_well(&broker, "a").await;
    let host = other.journal().asked("GET /health")[0].header("host").map(str::to_owned);
    assert_eq!(host, Some(format!("127.0.0.1:{check_port}")));
    assert_ne!(backend_port, check_port);
    assert_eq!(backend.journal().asked("GET /health").len(), 0);
}

#[tokio::test]
async fn tcp_checks_need_a_connection() {
    let backend = Backend::absent("a", "");
    let broker = quick(&[&backend], &health("type = \"tcp\"")).start().await;
    let down = broker.wait_state("a", "down").await;
    assert_eq!(down["why"], "its health checks fail: connection refused");
    backend.restart().await;
    wait_well(&broker, "a").await;
    Client::connect(broker.address()).await.ask("hello", "a:hello").await;
    backend.kill();
    broker.wait_state("a", "down").await;
    assert_eq!(states(&broker.changes("a").await), ["down", "up", "down"]);
}

#[tokio::test]
async fn websocket_checks_need_a_pong() {
    let backend = Backend::start("a", "--greet hello").await;
    let more = "type = \"websocket\"\npath = \"/check\"";
    let table = health(more).replace("timeout = \"2s\"", "timeout = \"300ms\"");
    let broker = quick(&[&backend], &table).start().await;
    wait_well(&broker, "a").await;
    backend.set("--no-pong").await;
    let why = broker.wait_state("a", "down").await["why"].clone();
    assert_eq!(why, "its health checks fail: no pong within 300ms");
    backend.set("").await;
    wait_well(&broker, "a").await;
    backend.set("--refuse 503").await;
    let why = broker.wait_state("a", "down").await["why"].clone();
    assert_eq!(why, "its health checks fail: answered 503 to the upgrade");
    let checks = backend.journal().asked("GET /check");
    assert!(checks.iter().all(|check| check.violations().is_empty()), "{checks:?}");
    let passed = checks.iter().find(|check| check.close().is_some()).expect("a check that passed");
    assert_eq!(passed.close(), Some((Some(1000), String::new())));
}

/// Each state changes at that check and no other: with another `rise` or `fall` the changes would be others.
#[tokio::test]
async fn rise_and_fall_are_counted_exactly() {
    let course = [200, 500, 500, 200, 500, 500, 500, 200, 500, 500, 500, 200, 500, 200, 200, 500, 500, 500];
    let bad = course.iter().filter(|status| **status == 500).count();
    let course: Vec<String> = course.iter().map(u16::to_string).collect();
    // Behind its course it is well.
    let backend = Backend::start("a", &format!("--page /health:{},200", course.join(","))).await;
    let broker = quick(&[&backend], &(http() + "\nrise = 2\nfall = 3")).start().await;
    let good = course.len() - bad;
    broker.wait_metric(CHECKS, &[("outcome", "passed")], |count| count >= (good + 5) as f64).await;
    assert_eq!(states(&broker.changes("a").await), ["down", "up", "down", "up"]);
    assert_eq!(broker.metric(CHECKS, &[("outcome", "failed"), ("backend", "a")]).await, bad as f64);
    for (state, changes) in [("down", 2.0), ("up", 2.0)] {
        let labels = [("pool", "default"), ("backend", "a"), ("state", state)];
        assert_eq!(broker.metric("steadfast_backend_state_changes_total", &labels).await, changes, "{state}");
    }
    let seen: Vec<_> = backend.journal().asked("GET /health").iter().filter_map(Connection::status).collect();
    let seen: Vec<String> = seen.iter().take(course.len()).map(u16::to_string).collect();
    assert_eq!(seen, course);
}

#[tokio::test]
async fn the_first_check_alone_takes_it_down() {
    let backend = Backend::start("a", "--page /health:500,200").await;
    let broker = quick(&[&backend], &(http() + "\nrise = 3\nfall = 5")).start().await;
    wait_well(&broker, "a").await;
    assert_eq!(states(&broker.changes("a").await), ["down", "up"]);
}

#[tokio::test]
async fn a_change_is_seen_everywhere() {
    let (a, b) = pair(WELL).await;
    let broker = quick(&[&a, &b], &http()).start().await;
    wait_well(&broker, "a").await;
    wait_well(&broker, "b").await;
    assert_eq!(state_in_metrics(&broker, "a").await, ["up"]);
    let new = broker.backend("a").await.expect("it is there");
    let asked = Instant::now();
    assert_eq!(
        (&new["why"], &new["penalised"], &new["circuit"]),
        (&"new".into(), &false.into(), &"closed".into())
    );
    a.set(ILL).await;
    let down = broker.wait_state("a", "down").await;
    let why = "its health checks fail: answered 503, expected 200-399";
    assert_eq!((&down["why"], &down["health"]), (&why.into(), &"down".into()));
    let since = down["state_for_ms"].as_u64();
    assert!(since.map(u128::from) <= Some(asked.elapsed().as_millis()), "it counts anew: {down}");
    broker.wait_backend("a", "down for longer", |own| own["state_for_ms"].as_u64() > since).await;
    assert_eq!(state_in_metrics(&broker, "a").await, ["down"]);
    assert_eq!(state_in_metrics(&broker, "b").await, ["up"]);
    a.set(WELL).await;
    let up = broker.wait_state("a", "up").await;
    assert_eq!(up["why"], "its health checks are good again");
    wait_checks(&broker, CHECKS, "a", 5.0).await;
    let changes = [("down", why), ("up", "its health checks are good again")];
    assert_eq!(broker.changes("a").await, changes.map(|(state, why)| (state.to_owned(), why.to_owned())));
    assert_eq!(broker.changes("b").await, []);
    let failed = broker.metric(CHECKS, &[("backend", "a"), ("outcome", "failed")]).await;
    assert!(failed >= 3.0, "{failed} failed checks");
    assert_eq!(broker.metric(CHECKS, &[("backend", "b"), ("outcome", "failed")]).await, 0.0);
}

#[tokio::test]
async fn after_recovery_the_weight_grows() {
    let (a, b) = pair(WELL).await;
    let broker = quick(&[&a, &b], &http()).pool_setting("slow_start = \"1h\"").start().await;
    wait_well(&broker, "a").await;
    wait_well(&broker, "b").await;
    let weight = async |name: &str| broker.backend(name).await.expect("listed")["effective_weight"].as_f64();
    assert_eq!((weight("a").await, weight("b").await), (Some(1.0), Some(1.0)), "new ones are whole");
    a.set(ILL).await;
    broker.wait_state("a", "down").await;
    a.set(WELL).await;
    broker.wait_state("a", "up").await;
    let first = weight("a").await.expect("a weight");
    assert!((0.1..0.2).contains(&first), "a tenth at first: {first}");
    let mut clients = Vec::new();
    for _ in 0..11 {
        clients.push(Client::connect(broker.address()).await);
    }
    let counts = [&a, &b].map(|own| own.journal().sessions().len());
    assert!(counts[0] <= 2 && counts[1] >= 9, "nobody overruns it: {counts:?}");
}
