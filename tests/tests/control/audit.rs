//! One line of the log for each change that reached a handler.

use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::wait::eventually_some;

use crate::{TOKEN, ask, ask_with};

async fn changes(broker: &Broker, count: usize) -> Vec<Value> {
    eventually_some(&format!("{count} lines of the audit"), || {
        let lines = broker.records(|record| record["target"] == "audit");
        (lines.len() >= count).then_some(lines)
    })
    .await
}

#[tokio::test]
async fn each_change_is_written_down_and_nothing_secret() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).setting("admin", &format!("token = \"{TOKEN}\"")).start().await;
    let bearer = format!("Bearer {TOKEN}");
    let asked = [("Authorization", bearer.as_str())];
    let a = "/api/v1/pools/default/backends/a";
    // Neither looks, nor what is turned away, nor what no handler sees.
    ask(&broker, "GET", "/api/v1/backends", &asked).await;
    ask(&broker, "POST", "/api/v1/pause", &[]).await;
    ask(&broker, "PUT", a, &asked).await;
    ask(&broker, "POST", "/api/v1/nowhere", &asked).await;
    // These.
    ask(&broker, "POST", "/api/v1/pause", &asked).await;
    ask(&broker, "PATCH", a, &asked).await;
    ask(&broker, "DELETE", "/api/v1/pools/nowhere/backends/a", &asked).await;
    ask_with(&broker, "PATCH", &format!("{a}?why=query-secret"), &asked, "{\"weight\": \"body-secret\"}")
        .await;
    ask(&broker, "POST", "/api/v1/resume", &asked).await;

    let lines = changes(&broker, 5).await;
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            assert_eq!(line["message"], "change", "{line}");
            assert!(line["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{line}");
            let text = |key: &str| line[key].as_str().expect("text").to_owned();
            (text("method"), text("path"), line["status"].as_u64().expect("a number"))
        })
        .collect();
    let expected = [
        ("POST", "/api/v1/pause", 200),
        ("PATCH", a, 415),
        ("DELETE", "/api/v1/pools/nowhere/backends/a", 404),
        ("PATCH", a, 400),
        ("POST", "/api/v1/resume", 200),
    ];
    let expected = expected.map(|(method, path, status)| (method.to_owned(), path.to_owned(), status));
    assert_eq!(told, expected);
    let log = broker.log().concat();
    for secret in [TOKEN, "body-secret", "query-secret"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}
