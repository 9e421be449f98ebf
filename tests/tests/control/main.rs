//! What operators do over the admin listener: who of them comes in, what the log says of it, and what they see
//! and change of sessions and listeners.

mod aborts;
mod access;
mod audit;
mod commands;
mod pages;
mod pauses;
mod requests;

use serde_json::Value;
use steadfast_tests::admin;
use steadfast_tests::broker::Broker;
use steadfast_tests::http::Response;

const TOKEN: &str = "0123456789abcdef-token";

/// Asks with these headers and no others.
async fn ask(broker: &Broker, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    ask_with(broker, method, path, headers, "").await
}

/// The same with a body of JSON.
async fn ask_with(
    broker: &Broker,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nConnection: close\r\n{headers}{kind}Content-Length: {length}\r\n\r\n{body}"
    );
    let answer = admin::exchange(broker.admin_address(), request.as_bytes()).await;
    answer.unwrap_or_else(|| panic!("no answer to {method} {path}"))
}

/// The sentence of a refusal with this status and code.
fn sentence(answer: &Response, status: u16, code: &str) -> String {
    assert_eq!(answer.status, status, "{}", answer.text());
    let body = json(answer);
    assert_eq!(body["error"]["code"], code, "{body}");
    body["error"]["message"].as_str().filter(|message| !message.is_empty()).expect("a sentence").to_owned()
}

fn json(answer: &Response) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{}: {error}", answer.text()))
}
