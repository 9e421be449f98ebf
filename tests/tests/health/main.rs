//! Health checks, agents and ejections: which backend gets sessions, and whose sessions move.

mod agents;
mod checks;
mod hostile;
mod moves;
mod outliers;

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::journal::Connection;

/// Healthy as far as its page says.
pub(crate) const WELL: &str = "--page /health:200";
/// Ill as far as its page says; sessions go on.
pub(crate) const ILL: &str = "--page /health:503";

/// Checks every 50 ms.
pub(crate) fn health(more: &str) -> String {
    format!("[pool.health]\ninterval = \"50ms\"\njitter = \"0s\"\ntimeout = \"2s\"\n{more}")
}

pub(crate) fn http() -> String {
    health("type = \"http\"\npath = \"/health\"")
}

/// Sessions move after a silence of 50 ms, and have settled after as long.
pub(crate) fn quick(backends: &[&Backend], table: &str) -> BrokerBuilder {
    let broker = Broker::over(backends).pool_table(table).setting("failover", "stable = \"50ms\"");
    broker.setting("drain", "quiet = \"50ms\"")
}

pub(crate) async fn pair(flags: &str) -> (Backend, Backend) {
    (Backend::start("a", flags).await, Backend::start("b", flags).await)
}

/// Waits until a check of the backend has passed since it is there.
pub(crate) async fn wait_well(broker: &Broker, name: &str) {
    broker.wait_backend(name, "checked and well", |own| own["state"] == "up" && own["health"] == "up").await;
}

/// Waits until `n` more checks of the backend have ended.
pub(crate) async fn wait_checks(broker: &Broker, metric: &str, name: &str, n: f64) {
    let before = broker.metric(metric, &[("backend", name)]).await;
    broker.wait_metric(metric, &[("backend", name)], |count| count >= before + n).await;
}

pub(crate) const CHECKS: &str = "steadfast_health_checks_total";
pub(crate) const AGENTS: &str = "steadfast_agent_checks_total";

/// What the metrics say of the backend's state.
pub(crate) async fn state_in_metrics(broker: &Broker, name: &str) -> Vec<&'static str> {
    let text = broker.get("/metrics").await.text();
    let states = ["up", "off", "draining", "ejected", "half_open", "down", "removed"];
    let is = |state: &&str| {
        let labels = [("pool", "default"), ("backend", name), ("state", *state)];
        steadfast_tests::admin::metric(&text, "steadfast_backend_state", &labels) == 1.0
    };
    states.into_iter().filter(is).collect()
}

pub(crate) fn states(changes: &[(String, String)]) -> Vec<&str> {
    changes.iter().map(|(state, _)| state.as_str()).collect()
}

/// The one connection that a session has had here.
pub(crate) fn only_session(backend: &Backend) -> Connection {
    let mut sessions = backend.journal().sessions();
    assert_eq!(sessions.len(), 1, "sessions at {}: {sessions:?}", backend.name());
    sessions.remove(0)
}

/// Who answers a new session.
pub(crate) async fn placed(broker: &Broker) -> String {
    let mut client = Client::connect(broker.address()).await;
    client.send("who?").await;
    client.text().await.split(':').next().unwrap_or_default().to_owned()
}
