//! Routes that send clients to a backend, and what that does to the choice of the next one.

mod answers;
mod herd;
#[path = "../peers/mod.rs"]
mod peers;
mod places;
mod third_party;

use std::net::SocketAddr;

use serde_json::Value;
use steadfast_tests::admin::exchange;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::http::Response;

/// Longer than any test.
pub(crate) const FOR_EVER: &str = "[route.redirect]\nreserve = \"1h\"";

/// The header by which a page asks.
pub(crate) const JSON: &str = "Accept: application/json";

/// A broker with the pool `default` over these backends, whose own listener relays; a second listener sends clients to
/// them, by a route with these further tables.
pub(crate) fn sending(backends: &[&Backend], tables: &str) -> BrokerBuilder {
    let public = |broker: BrokerBuilder, backend: &&Backend| {
        broker.backend_setting(backend.name(), &format!("public_url = \"{}\"", backend.url()))
    };
    let broker = backends.iter().fold(Broker::over(backends), public);
    let door = "[[listener]]\naddress = \"127.0.0.1:0\"";
    let route =
        "[[route]]\npath_prefix = \"/\"\npool = \"default\"\nanswer = \"redirect\"\nhost = \"sent.test\"";
    broker.listener(door).tables(&format!("{route}\n{tables}"))
}

/// The listener that sends clients on.
pub(crate) fn door(broker: &Broker) -> SocketAddr {
    broker.address_of(1)
}

/// The answer to a request for the route that redirects, with these further header lines.
pub(crate) async fn ask(broker: &Broker, line: &str, headers: &[&str]) -> Response {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let request = format!("{line} HTTP/1.1\r\nHost: sent.test\r\nConnection: close\r\n{headers}\r\n");
    exchange(door(broker), request.as_bytes()).await.unwrap_or_else(|| panic!("no answer to {line}"))
}

/// The backend that the next client is sent to; `None`: there is none.
pub(crate) async fn next(broker: &Broker) -> Option<String> {
    let response = ask(broker, "GET /", &[JSON]).await;
    if response.status == 503 {
        assert!(response.header("retry-after").is_some() && !response.text().is_empty(), "{response:?}");
        return None;
    }
    assert_eq!(response.status, 200, "{}", response.text());
    let told: Value = serde_json::from_slice(&response.body).expect("JSON");
    Some(told["backend"].as_str().expect("a name").to_owned())
}
