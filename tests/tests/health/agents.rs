//! Backends that speak for themselves.

use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::sequence::range;
use steadfast_tests::wait::eventually;

use crate::{AGENTS, only_session, placed, quick, states, wait_checks};

fn agent() -> String {
    "[pool.agent]\ninterval = \"50ms\"\ntimeout = \"2s\"".to_owned()
}

fn says(words: &str) -> String {
    format!("--page /agent:200:{words}")
}

async fn told(broker: &Broker, backend: &Backend, words: &str, holds: impl Fn(&Value) -> bool) -> Value {
    backend.set(&says(words)).await;
    broker.wait_backend(backend.name(), &format!("told {words:?}"), holds).await
}

#[tokio::test]
async fn an_agent_says_the_weight() {
    let backend = Backend::start("a", &says("ready")).await;
    let broker = quick(&[&backend], &agent()).backend_setting("a", "weight = 20").start().await;
    for (words, weight) in [("30", 30.0), ("75%", 15.0), ("up,200%", 40.0), ("256", 256.0), ("100%", 20.0)] {
        let own = told(&broker, &backend, words, |own| own["effective_weight"] == weight).await;
        assert_eq!((&own["weight"], &own["state"]), (&20.into(), &"up".into()), "{words}");
    }
    let off = told(&broker, &backend, "0+#+no+more", |own| own["state"] == "off").await;
    assert_eq!(off["why"], "its agent says so: no more");
    told(&broker, &backend, "50%", |own| own["state"] == "up" && own["effective_weight"] == 10.0).await;
    told(&broker, &backend, "maxconn:7", |own| own["max_sessions"] == 7).await;
    assert_eq!(states(&broker.changes("a").await), ["off", "up"]);
}

#[tokio::test]
async fn an_agent_that_drains_keeps_what_is_there() {
    let (a, b) = (Backend::start("a", &says("up")).await, Backend::start("b", &says("drain")).await);
    let broker = quick(&[&a, &b], &agent()).start().await;
    broker.wait_state("b", "draining").await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    told(&broker, &b, "ready", |own| own["state"] == "up").await;
    let drained = told(&broker, &a, "drain+#+new+release", |own| own["state"] == "draining").await;
    assert_eq!(drained["why"], "its agent says so: new release");
    for _ in 0..3 {
        wait_checks(&broker, AGENTS, "a", 5.0).await;
        assert_eq!(placed(&broker).await, "b");
    }
    client.ask("m-2", "a:m-2").await;
    let session = only_session(&a);
    assert_eq!((session.texts(), session.close()), (range("m", 1, 2), None));
    // What ended the drain is `ready`, not `up` alone.
    a.set(&says("up")).await;
    wait_checks(&broker, AGENTS, "a", 5.0).await;
    assert_eq!(broker.backend("a").await.expect("listed")["state"], "draining");
    told(&broker, &a, "ready", |own| own["state"] == "up").await;
    assert_eq!(states(&broker.changes("a").await), ["draining", "up"]);
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 0.0);
}

#[tokio::test]
async fn an_agent_that_is_down_sends_its_sessions_away() {
    let (a, b) = (Backend::start("a", &says("up")).await, Backend::start("b", &says("maint")).await);
    let broker = quick(&[&a, &b], &agent()).start().await;
    broker.wait_state("b", "down").await;
    let mut client = Client::connect(broker.address()).await;
    let (mut home, mut other, mut n) = (&a, &b, 0);
    for (down, up) in [("down", "ready"), ("maint", "up"), ("stopped", "ready"), ("fail+#+disk", "up")] {
        n += 1;
        client.ask(&format!("m-{n}"), &format!("{}:m-{n}", home.name())).await;
        told(&broker, other, up, |own| own["state"] == "up").await;
        told(&broker, home, down, |own| own["state"] == "down").await;
        let name = other.name();
        broker.wait_only_session("moved", |own| own["backend"] == name && own["state"] == "relaying").await;
        assert_eq!(placed(&broker).await, name);
        broker.wait_sessions(1).await;
        (home, other) = (other, home);
    }
    client.ask("m-5", &format!("{}:m-5", home.name())).await;
    assert_eq!(broker.metric("steadfast_failovers_total", &[("reason", "planned")]).await, 4.0);
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 4.0);
    for session in [&a, &b].into_iter().flat_map(|own| own.journal().sessions()) {
        let close = session.close().map(|(code, _)| code);
        assert!(close.is_none_or(|code| code == Some(1001) || code.is_none()), "{session:?}");
    }
    let (a_texts, b_texts) = (a.journal().texts(), b.journal().texts());
    let of =
        |texts: &[String]| texts.iter().filter(|text| text.starts_with("m-")).cloned().collect::<Vec<_>>();
    assert_eq!(
        (of(&a_texts), of(&b_texts)),
        (["m-1", "m-3", "m-5"].map(str::to_owned).to_vec(), ["m-2", "m-4"].map(str::to_owned).to_vec())
    );
}

#[tokio::test]
async fn an_agent_that_makes_no_sense_changes_nothing() {
    let backend = Backend::start("a", &says("50%")).await;
    let broker = quick(&[&backend], &agent()).backend_setting("a", "weight = 10").start().await;
    let half = |own: &Value| own["effective_weight"] == 5.0 && own["state"] == "up";
    broker.wait_backend("a", "half", half).await;
    let complaints =
        || broker.records(|own| own["message"].as_str().is_some_and(|text| text.contains("agent"))).len();
    let mut told_times = 0;
    for nonsense in [
        "--page /agent:200:down,gibberish",
        "--page /agent:500:down",
        "--page /agent:200:",
        "--page /agent:200:257",
    ] {
        backend.set(nonsense).await;
        let labels = [("backend", "a"), ("outcome", "failed")];
        let before = broker.metric(AGENTS, &labels).await;
        broker.wait_metric(AGENTS, &labels, |count| count >= before + 5.0).await;
        let own = broker.backend("a").await.expect("listed");
        assert!(half(&own), "{nonsense}: {own}");
        told_times += 1;
        eventually("a complaint", || complaints() >= told_times).await;
        assert_eq!(complaints(), told_times, "{nonsense} is said once");
        told(&broker, &backend, "50%", half).await;
        wait_checks(&broker, AGENTS, "a", 3.0).await;
    }
    backend.kill();
    eventually("a complaint", || complaints() == told_times + 1).await;
    assert!(half(&broker.backend("a").await.expect("listed")), "who cannot be reached is not down");
    assert_eq!(broker.changes("a").await, []);
}
