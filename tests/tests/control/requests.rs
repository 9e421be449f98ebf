//! How requests are read, and what is said of those that cannot be.

use steadfast_tests::admin;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::http::Response;

use crate::{json, sentence};

/// POSTs this body, called what `kind` says.
async fn post(broker: &Broker, path: &str, kind: &str, body: &str) -> Response {
    let (own, length) = (broker.admin_address(), body.len());
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\n{kind}Content-Length: {length}\r\n\r\n{body}"
    );
    admin::exchange(own, request.as_bytes()).await.unwrap_or_else(|| panic!("no answer to POST {path}"))
}

const KIND: &str = "Content-Type: application/json\r\n";

#[tokio::test]
async fn a_body_that_is_not_called_json_is_not_passed_over() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).start().await;
    let session = format!("/api/v1/sessions/{}/abort", "0".repeat(32));
    for (path, body) in [
        ("/api/v1/pause", "{\"listener\": \"127.0.0.1:1\"}"),
        ("/api/v1/pools/default/backends/a/drain", "{\"force\": true}"),
        ("/api/v1/pools/default/rebalance", "{\"tolerance\": 50}"),
        (&session, "{\"code\": 1001}"),
    ] {
        for kind in ["", "Content-Type: text/plain\r\n"] {
            let said = sentence(&post(&broker, path, kind, body).await, 415, "invalid");
            assert!(said.contains("application/json"), "{path}: {said}");
        }
    }
    let listeners = broker.get_json("/api/v1/listeners").await;
    assert_eq!(listeners["listeners"][0]["paused"], false, "{listeners}");
    let operations = broker.get_json("/api/v1/operations").await;
    assert_eq!(operations["operations"].as_array().map(Vec::len), Some(0), "{operations}");
}

#[tokio::test]
async fn a_body_that_is_left_out_may_be_called_json() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).start().await;
    for kind in [KIND, ""] {
        let answer = post(&broker, "/api/v1/pause", kind, "").await;
        assert_eq!((answer.status, &json(&answer)["listeners"][0]["paused"]), (200, &true.into()));
        assert_eq!(post(&broker, "/api/v1/resume", kind, "").await.status, 200);
        let drain = post(&broker, "/api/v1/pools/default/backends/a/drain", kind, "").await;
        assert_eq!(drain.status, 202, "{}", drain.text());
    }
}

#[tokio::test]
async fn whatever_is_wrong_is_said_in_json() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).start().await;
    for path in ["/api/v1/sessions/%ff", "/api/v1/operations/%ff"] {
        assert!(sentence(&broker.get(path).await, 400, "invalid").contains("UTF-8"), "{path}");
    }
    let path = "/api/v1/pools/default/backends/%ff/drain";
    sentence(&post(&broker, path, "", "").await, 400, "invalid");
    let long = format!("{{\"reason\": \"{}\"}}", "r".repeat(17 * 1024));
    let path = format!("/api/v1/sessions/{}/abort", "0".repeat(32));
    sentence(&post(&broker, &path, KIND, &long).await, 413, "invalid");
}

/// Who reads the answer does not know how the broker calls its types.
#[tokio::test]
async fn a_body_of_another_kind_is_told_what_is_expected() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).start().await;
    let abort = format!("/api/v1/sessions/{}/abort", "0".repeat(32));
    for path in
        ["/api/v1/pause", "/api/v1/pools/default/backends/a/drain", "/api/v1/pools/default/backends", &abort]
    {
        let said = sentence(&post(&broker, path, KIND, "7").await, 400, "invalid");
        assert!(said.contains("expected a JSON object"), "{path}: {said}");
    }
}
