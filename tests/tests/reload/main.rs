//! The file is read again while sessions run: whole or not at all, and nobody is closed.

mod certificates;
mod changes;
mod hostile;
mod load;
mod refusals;
mod triggers;

use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::http::Response;

pub(crate) const RELOADS: &str = "steadfast_reloads_total";
pub(crate) const APPLIED: [(&str, &str); 1] = [("outcome", "applied")];
pub(crate) const REFUSED: [(&str, &str); 1] = [("outcome", "refused")];

/// Reloads only when asked to; sessions move after a silence of 100 ms.
pub(crate) fn asked(backends: &[&Backend]) -> BrokerBuilder {
    watching(backends, "0s")
}

pub(crate) fn watching(backends: &[&Backend], every: &str) -> BrokerBuilder {
    Broker::over(backends)
        .setting("reload", &format!("watch = \"{every}\""))
        .setting("drain", "quiet = \"100ms\"")
        .setting("failover", "stable = \"50ms\"")
}

pub(crate) async fn pair() -> (Backend, Backend) {
    (Backend::start("a", "").await, Backend::start("b", "").await)
}

/// Puts the file in place and has it read; it must be taken.
pub(crate) async fn take(broker: &Broker, next: &BrokerBuilder) {
    broker.replace_file(&next.to_toml());
    let response = broker.post("/api/v1/reload").await;
    assert_eq!((response.status, response.text().as_str()), (200, "{\"reloaded\":true}"));
}

/// Puts the file in place and has it read; it must be refused. Returns why.
pub(crate) async fn refuse(broker: &Broker, toml: &str) -> String {
    broker.replace_file(toml);
    complaint(&broker.post("/api/v1/reload").await)
}

pub(crate) fn complaint(response: &Response) -> String {
    assert_eq!(response.status, 409, "{}", response.text());
    let body: Value = serde_json::from_slice(&response.body).expect("JSON");
    assert_eq!(body["error"]["code"], "not_reloaded");
    body["error"]["message"].as_str().expect("text").to_owned()
}

pub(crate) async fn wait_applied(broker: &Broker, n: f64) {
    broker.wait_metric(RELOADS, &APPLIED, |count| count >= n).await;
}

pub(crate) async fn wait_refused(broker: &Broker, n: f64) {
    broker.wait_metric(RELOADS, &REFUSED, |count| count >= n).await;
}

/// What the log says of files that were refused.
pub(crate) fn problems(broker: &Broker) -> Vec<String> {
    let refused = |record: &Value| {
        record["message"] == "configuration not reloaded; the present one stays" && record["level"] == "ERROR"
    };
    let problem = |record: &Value| record["problem"].as_str().expect("text").to_owned();
    broker.records(refused).iter().map(problem).collect()
}

/// Names and weights of all backends.
pub(crate) async fn weights(broker: &Broker) -> Vec<(String, u64)> {
    let body = broker.get_json("/api/v1/backends").await;
    let of = |own: &Value| {
        (own["name"].as_str().unwrap_or_default().to_owned(), own["weight"].as_u64().unwrap_or(0))
    };
    body["backends"].as_array().expect("a list").iter().map(of).collect()
}

pub(crate) fn weighed(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect()
}
