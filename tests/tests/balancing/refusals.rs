//! What the API refuses, and that it says why.

use serde_json::Value;
use steadfast_tests::broker::Broker;
use steadfast_tests::http::Response;

use crate::{backends, over};

const POOL: &str = "/api/v1/pools/default/backends";
const A: &str = "/api/v1/pools/default/backends/a";

/// The sentence of a refusal with this status and code.
fn sentence(answer: &Response, status: u16, code: &str) -> String {
    assert_eq!(answer.status, status, "{}", answer.text());
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(body["error"]["code"], code, "{body}");
    body["error"]["message"].as_str().filter(|message| !message.is_empty()).expect("a sentence").to_owned()
}

async fn backends_now(broker: &Broker) -> Value {
    let mut body = broker.get_json("/api/v1/backends").await;
    for backend in body["backends"].as_array_mut().expect("a list") {
        backend["state_for_ms"].take();
    }
    body
}

/// Each of these bodies gets 400 and a sentence with this part in it, and changes nothing.
async fn assert_invalid(method: &str, path: &str, cases: &[(&str, &str)]) {
    let all = backends(["a", "b"]).await;
    let broker = over(&all).start().await;
    let before = backends_now(&broker).await;
    for (body, part) in cases {
        let answer = broker.change(method, path, body).await;
        let sentence = sentence(&answer, 400, "invalid");
        assert!(sentence.contains(part), "{body}: {part:?} is not in {sentence:?}");
    }
    assert_eq!(backends_now(&broker).await, before);
}

#[tokio::test]
async fn changes_that_make_no_sense() {
    let cases = [
        ("{\"weight\": 257}", "256"),
        ("{\"weight\": -1}", "50%"),
        ("{\"weight\": 1.5}", "50%"),
        ("{\"weight\": \"50\"}", "50%"),
        ("{\"weight\": \"half\"}", "50%"),
        ("{\"weight\": \"-5%\"}", "50%"),
        ("{\"weight\": \"99999999999%\"}", "50%"),
        ("{\"weight\": true}", "50%"),
        ("{\"max_sessions\": 0}", "max_sessions"),
        ("{\"max_sessions\": -1}", "max_sessions"),
        ("{\"max_sessions\": \"many\"}", "max_sessions"),
        ("{\"wait\": 5}", "wait"),
        ("{\"backup\": true}", "backup"),
        ("[]", ""),
        ("5", ""),
        ("{\"weight\": 5", ""),
        ("weight = 5", ""),
        ("{\"weight\": 5} {}", ""),
    ];
    assert_invalid("PATCH", A, &cases).await;
}

#[tokio::test]
async fn backends_that_make_no_sense() {
    let cases = [
        ("{}", "url"),
        ("{\"url\": 5}", "url"),
        ("{\"url\": \"wss://127.0.0.1:9\"}", "[pool.tls]"),
        ("{\"url\": \"ws://127.0.0.1:9/path\"}", "path"),
        ("{\"url\": \"127.0.0.1\"}", "ws://"),
        ("{\"url\": \"ws://127.0.0.1:99999\"}", "99999"),
        ("{\"url\": \"ws://127.0.0.1:9\", \"name\": \"\"}", "name"),
        ("{\"url\": \"ws://127.0.0.1:9\", \"name\": \"a/b\"}", "a/b"),
        ("{\"url\": \"ws://127.0.0.1:9\", \"weight\": 257}", "256"),
        ("{\"url\": \"ws://127.0.0.1:9\", \"weight\": \"50%\"}", "weight"),
        ("{\"url\": \"ws://127.0.0.1:9\", \"max_sessions\": 0}", "max_sessions"),
        ("{\"url\": \"ws://127.0.0.1:9\", \"port\": 5}", "port"),
        ("nonsense", ""),
    ];
    assert_invalid("POST", POOL, &cases).await;
}

#[tokio::test]
async fn what_is_not_there_or_there_already() {
    let all = backends(["a", "b"]).await;
    let broker = over(&all).start().await;
    let before = backends_now(&broker).await;
    let weight = "{\"weight\": 5}";
    for (method, path, body) in [
        ("PATCH", "/api/v1/pools/default/backends/nobody", weight),
        ("PATCH", "/api/v1/pools/nowhere/backends/a", weight),
        ("DELETE", "/api/v1/pools/default/backends/nobody", ""),
        ("DELETE", "/api/v1/pools/nowhere/backends/a", ""),
        ("POST", "/api/v1/pools/nowhere/backends", "{\"url\": \"ws://127.0.0.1:9\"}"),
    ] {
        let sentence = sentence(&broker.change(method, path, body).await, 404, "not_found");
        assert!(sentence.contains("nobody") || sentence.contains("nowhere"), "{method} {path}: {sentence}");
    }
    sentence(&broker.change("DELETE", "/api/v1/pools/default/backends", "").await, 405, "method_not_allowed");
    sentence(&broker.change("PUT", A, weight).await, 405, "method_not_allowed");
    sentence(&broker.change("POST", "/api/v1/backends", weight).await, 405, "method_not_allowed");
    let taken = "{\"url\": \"ws://127.0.0.1:9\", \"name\": \"a\"}";
    assert!(sentence(&broker.change("POST", POOL, taken).await, 409, "taken").contains("\"a\""));
    assert_eq!(backends_now(&broker).await, before);
}
