//! Backends that ask to be drained.

use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::{eventually_async, eventually_some};

/// Healthy as far as its page says.
const WELL: &str = "--page /health:200";
/// Ill as far as its page says; sessions go on.
const ILL: &str = "--page /health:503";
/// Healthy, and asking in its checks.
const ASKING: &str = "--page /health:200 --page-header Steadfast-Drain:on";

const REQUESTS: &str = "steadfast_drain_requests_total";

/// How a backend asks: the word, what it takes, and what is said of it.
#[derive(Debug, Clone, Copy)]
enum Way {
    Restart,
    GoingAway,
    Upgrade,
    Health,
}

impl Way {
    const ALL: [Way; 4] = [Way::Restart, Way::GoingAway, Way::Upgrade, Way::Health];

    fn word(self) -> &'static str {
        match self {
            Way::Restart => "restart",
            Way::GoingAway => "going_away",
            Way::Upgrade => "upgrade",
            Way::Health => "health",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Way::Restart => "the backend said Close 1012 (service restart) to a session",
            Way::GoingAway => {
                "the backend said Close 1001 (going away) to most of its sessions within a second"
            }
            Way::Upgrade => "the backend answered an upgrade with Steadfast-Drain: on",
            Way::Health => "the backend answered a health check with Steadfast-Drain: on",
        }
    }

    /// Has `backend`, which has three sessions and is the only one, ask.
    async fn ask(self, backend: &Backend, scene: &mut Scene) {
        match self {
            Way::Restart => backend.command_some(1, "!close 1012 restart").await,
            Way::GoingAway => backend.command_some(2, "!close 1001 bye").await,
            Way::Upgrade => {
                backend.set(&format!("{WELL} --answer-header Steadfast-Drain:on")).await;
                scene.clients.push(Client::connect(scene.broker.address()).await);
            }
            Way::Health => backend.set(ASKING).await,
        }
    }
}

/// A broker, and clients whose sessions are all on the backend `a`; `b` is down.
struct Scene {
    broker: Broker,
    clients: Vec<Client>,
    a: Backend,
    b: Backend,
}

impl Scene {
    async fn of_three(settings: impl FnOnce(BrokerBuilder) -> BrokerBuilder) -> Scene {
        let (a, b) = (Backend::start("a", WELL).await, Backend::absent("b", WELL));
        let table =
            "[pool.health]\ntype = \"http\"\npath = \"/health\"\ninterval = \"50ms\"\njitter = \"0s\"";
        let broker = Broker::over(&[&a, &b]).pool_table(table);
        let broker = broker.setting("failover", "stable = \"50ms\"").setting("drain", "quiet = \"50ms\"");
        let broker = settings(broker).start().await;
        broker.wait_state("b", "down").await;
        let mut clients = Vec::new();
        for _ in 0..3 {
            let mut client = Client::connect(broker.address()).await;
            client.ask("m-1", "a:m-1").await;
            clients.push(client);
        }
        Scene { broker, clients, a, b }
    }

    /// From now on there is another backend.
    async fn bring_b(&self) {
        self.b.restart().await;
        wait_well(&self.broker, "b").await;
    }

    async fn requests(&self, reason: &str) -> f64 {
        self.broker.metric(REQUESTS, &[("pool", "default"), ("backend", "a"), ("reason", reason)]).await
    }

    /// All clients talk to the backend `name`, and none has noticed anything.
    async fn goes_on_at(&mut self, name: &str) {
        let n = self.clients.len();
        wait_placed(&self.broker, name, n).await;
        for client in &mut self.clients {
            client.ask("m-2", &format!("{name}:m-2")).await;
        }
    }
}

/// Waits until a check of the backend has passed since it is there.
async fn wait_well(broker: &Broker, name: &str) {
    broker.wait_backend(name, "checked and well", |own| own["state"] == "up" && own["health"] == "up").await;
}

/// Waits until `n` sessions are linked to the backend `name`.
async fn wait_placed(broker: &Broker, name: &str, n: usize) {
    eventually_async(&format!("{n} sessions on {name}"), async || {
        let sessions = broker.sessions().await;
        let here = |own: &&Value| own["backend"] == name && own["state"] == "relaying";
        (sessions.iter().filter(here).count() == n).then_some(())
    })
    .await;
}

/// What the log says of backends that began to ask.
async fn told(broker: &Broker) -> Vec<Value> {
    let lines = || broker.records(|record| record["message"] == "a backend asks to be drained");
    eventually_some("a backend that asks, in the log", || Some(lines()).filter(|all| !all.is_empty())).await
}

/// The first operation that the broker has begun of itself, when it has ended.
async fn drain_of_itself(broker: &Broker) -> Value {
    eventually_async("a drain that has ended", async || {
        let body = broker.get_json("/api/v1/operations").await;
        let all = body["operations"].as_array().cloned().expect("a list of operations");
        let ended = |own: &Value| own["state"] != "running" && own["state"] != "waiting";
        all.into_iter().rev().find(|own| own["cause"] == "backend" && ended(own))
    })
    .await
}

#[tokio::test]
async fn each_way_of_asking_is_counted_and_told_once() {
    for way in Way::ALL {
        let mut scene = Scene::of_three(|broker| broker).await;
        let backend = scene.a.clone();
        way.ask(&backend, &mut scene).await;
        let labels = [("pool", "default"), ("backend", "a"), ("reason", way.word())];
        scene.broker.wait_metric(REQUESTS, &labels, |count| count == 1.0).await;
        let told = told(&scene.broker).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((&told[0]["backend"], &told[0]["why"]), (&"a".into(), &way.sentence().into()));
        assert_eq!(scene.broker.metric(REQUESTS, &[]).await, 1.0, "{way:?} and no other");
    }
}

#[tokio::test]
async fn one_session_that_is_told_to_go_is_no_request() {
    let mut scene = Scene::of_three(|broker| broker).await;
    scene.bring_b().await;
    scene.a.command_some(1, "!close 1001 bye").await;
    wait_placed(&scene.broker, "b", 1).await;
    wait_placed(&scene.broker, "a", 2).await;
    assert_eq!(scene.broker.metric(REQUESTS, &[]).await, 0.0);
    let closes = scene.a.journal().sessions().into_iter().filter_map(|own| own.close()).count();
    assert_eq!(closes, 0, "nobody else has left");
    for client in &mut scene.clients {
        client.send("m-2").await;
        assert!(client.text().await.ends_with(":m-2"));
    }
}

#[tokio::test]
async fn the_answer_to_a_planned_goodbye_is_no_request() {
    let mut scene = Scene::of_three(|broker| broker).await;
    scene.bring_b().await;
    scene.a.set(ILL).await;
    scene.goes_on_at("b").await;
    let answered =
        scene.a.journal().sessions().into_iter().filter(|own| matches!(own.close(), Some((Some(1001), _))));
    assert_eq!(answered.count(), 3);
    assert_eq!(scene.broker.metric(REQUESTS, &[]).await, 0.0);
}

#[tokio::test]
async fn the_header_is_kept_from_the_client() {
    let flags = "--answer-header Steadfast-Drain:on --answer-header X-Own:yes";
    let backend = Backend::start("a", flags).await;
    let broker = Broker::start(&[&backend]).await;
    let client = Upgrade::to(broker.address()).connect().await;
    let response = client.response();
    assert_eq!((response.header("steadfast-drain"), response.header("x-own")), (None, Some("yes")));
    assert_eq!(broker.metric(REQUESTS, &[("reason", "upgrade")]).await, 1.0);
}

#[tokio::test]
async fn its_sessions_leave_without_a_reconnect() {
    for way in Way::ALL {
        let mut scene = Scene::of_three(|broker| broker).await;
        let (backend, early) = (scene.a.clone(), matches!(way, Way::Upgrade));
        if early {
            // The session that asks must come to it.
            way.ask(&backend, &mut scene).await;
        }
        scene.bring_b().await;
        if !early {
            way.ask(&backend, &mut scene).await;
        }
        scene.goes_on_at("b").await;
        let drain = drain_of_itself(&scene.broker).await;
        let told = ["kind", "backend", "state"].map(|key| drain[key].as_str().expect("a word"));
        assert_eq!(told, ["drain", "a", "done"], "{way:?}: {drain}");
        let why = drain["why"].as_str().expect("a sentence");
        assert!(why.contains(way.sentence()), "{way:?}: {why}");
        assert_eq!(scene.broker.ends().await, 0.0, "{way:?}");
        assert_eq!(scene.requests(way.word()).await, 1.0);
    }
}

#[tokio::test]
async fn a_check_without_the_header_ends_it() {
    let mut scene = Scene::of_three(|broker| broker).await;
    scene.bring_b().await;
    scene.a.set(ASKING).await;
    scene.goes_on_at("b").await;
    scene.broker.wait_state("a", "draining").await;
    for _ in 0..4 {
        scene.clients.push(Client::connect(scene.broker.address()).await);
    }
    scene.goes_on_at("b").await;
    scene.a.set(WELL).await;
    wait_well(&scene.broker, "a").await;
    let mut client = Client::connect(scene.broker.address()).await;
    client.ask("who?", "a:who?").await;
}

#[tokio::test]
async fn a_restart_that_the_checks_have_seen_ends_it() {
    let mut scene = Scene::of_three(|broker| broker.setting("drain", "ask_timeout = \"1h\"")).await;
    scene.bring_b().await;
    scene.a.command_some(1, "!close 1012 restart").await;
    scene.goes_on_at("b").await;
    scene.broker.wait_state("a", "draining").await;
    scene.a.kill();
    scene.broker.wait_state("a", "down").await;
    scene.a.restart().await;
    wait_well(&scene.broker, "a").await;
    let mut client = Client::connect(scene.broker.address()).await;
    client.ask("who?", "a:who?").await;
}

#[tokio::test]
async fn empty_and_silent_it_gets_sessions_again() {
    let mut scene = Scene::of_three(|broker| broker.setting("drain", "ask_timeout = \"500ms\"")).await;
    scene.bring_b().await;
    scene.a.command("!close 1012 restart").await;
    scene.goes_on_at("b").await;
    drain_of_itself(&scene.broker).await;
    wait_well(&scene.broker, "a").await;
    let mut client = Client::connect(scene.broker.address()).await;
    client.ask("who?", "a:who?").await;
}
