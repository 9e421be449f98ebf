//! What those are told who ask.

use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::http::Response;
use steadfast_tests::upgrade::Upgrade;

use crate::{FOR_EVER, JSON, ask, door, next, sending};

fn told(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/json"));
    serde_json::from_slice(&response.body).expect("JSON")
}

/// A broker that names this address as its only backend's.
async fn with_public_url(url: &str) -> Broker {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).backend_setting("a", &format!("public_url = \"{url}\""));
    let route = "[[route]]\npool = \"default\"\nanswer = \"redirect\"";
    broker.listener_without_pool().tables(route).start().await
}

#[tokio::test]
async fn a_request_is_sent_to_the_backend() {
    let backend = Backend::start("a", "").await;
    let broker = sending(&[&backend], "").start().await;
    for line in ["GET /a%2f/b?x=%20y&z", "POST /a%2f/b?x=%20y&z", "DELETE /a%2f/b?x=%20y&z"] {
        let response = ask(&broker, line, &["Accept: */*"]).await;
        assert_eq!(response.status, 307, "{line}");
        let location = format!("http://{}/a%2f/b?x=%20y&z", backend.address());
        assert_eq!(response.header_values("location"), [location]);
        assert_eq!(response.header_values("cache-control"), ["no-store"]);
        assert!(response.text().contains("Location"), "a person may read it: {}", response.text());
    }
    let whole = ask(&broker, "GET http://sent.test/x", &[]).await;
    assert_eq!(whole.header("location"), Some(format!("http://{}/x", backend.address()).as_str()));
    assert_eq!(backend.journal().peers().len(), 0, "no request goes to the backend");
    assert_eq!(broker.metric("steadfast_redirects_total", &[("backend", "a")]).await, 4.0);
    assert_eq!(broker.metric("steadfast_sessions", &[]).await, 0.0);
}

#[tokio::test]
async fn a_websocket_is_sent_to_the_backend() {
    let backend = Backend::start("a", "").await;
    let broker = sending(&[&backend], "").start().await;
    let request = Upgrade::to(door(&broker)).replace("Host", "sent.test").path("/room?id=7");
    let response = request.refused().await;
    assert_eq!(response.status, 307);
    let location = response.header("location").expect("a location").to_owned();
    assert_eq!(location, format!("ws://{}/room?id=7", backend.address()));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let mut client = Upgrade::to(backend.address()).path("/room?id=7").connect().await;
    client.ask("m", "a:m").await;
    assert_eq!(
        backend.journal().connections()[0].header("steadfast-attempt"),
        None,
        "the broker is not there"
    );
    // The pool's own listener relays.
    let mut client = Upgrade::to(broker.address()).path("/room?id=7").connect().await;
    client.ask("m", "a:m").await;
}

#[tokio::test]
async fn a_page_is_told_as_json() {
    let backend = Backend::start("a", "").await;
    let broker = sending(&[&backend], FOR_EVER).start().await;
    let mut ends = Vec::new();
    for line in ["GET /room?id=7", "POST /room?id=7"] {
        let response = ask(&broker, line, &["Accept: application/json, text/plain, */*"]).await;
        assert_eq!(response.header_values("cache-control"), ["no-store"]);
        assert_eq!(response.header("location"), None);
        let told = told(&response);
        assert_eq!(told["url"], format!("ws://{}/room?id=7", backend.address()));
        assert_eq!(told["backend"], "a");
        ends.push(told["expires"].as_str().expect("a time").to_owned());
    }
    // RFC 3339 in UTC, with milliseconds: times in order are texts in order.
    assert!(ends.iter().all(|end| end.len() == 24 && end.ends_with('Z') && &end[10..11] == "T"), "{ends:?}");
    assert!(ends.is_sorted(), "{ends:?}");
    for accept in ["Accept: text/html, application/json;q=0.9", "Accept: application/json;q=0"] {
        assert_eq!(ask(&broker, "GET /", &[accept]).await.status, 307, "{accept}");
    }
    let head = ask(&broker, "HEAD /", &[JSON]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn the_scheme_is_that_of_who_asks() {
    for (public, page, websocket, json) in [
        ("https://a.test/base/", "https", "wss", "https"),
        ("wss://a.test/base", "https", "wss", "wss"),
        ("http://a.test/base", "http", "ws", "http"),
        ("ws://a.test/base", "http", "ws", "ws"),
    ] {
        let broker = with_public_url(public).await;
        let at = |scheme: &str| format!("{scheme}://a.test/base/x?y");
        let plain = ask(&broker, "GET /x?y", &[]).await;
        assert_eq!(plain.header("location"), Some(at(page).as_str()), "{public}");
        let upgrade = Upgrade::to(door(&broker)).path("/x?y");
        let response = upgrade.refused().await;
        assert_eq!((response.status, response.header("location")), (307, Some(at(websocket).as_str())));
        assert_eq!(told(&ask(&broker, "GET /x?y", &[JSON]).await)["url"], at(json));
        let response = upgrade.header("Accept", "application/json").refused().await;
        assert_eq!(told(&response)["url"], at(websocket));
    }
}

const FROM_PAGES: &str = r#"
    [route.response_headers]
    set = { "Access-Control-Allow-Origin" = "https://www.test", "Cache-Control" = "public" }
    add = { "Access-Control-Allow-Headers" = "x-token", "Location" = "https://elsewhere.test/" }
    [route.access]
    origins = ["https://www.test"]
"#;

#[tokio::test]
async fn pages_of_another_origin_may_ask() {
    let backend = Backend::start("a", "").await;
    let broker = sending(&[&backend], FROM_PAGES).backend_setting("a", "max_sessions = 1");
    let broker = broker.tables(FOR_EVER).start().await;
    let own = "Origin: https://www.test";
    let allowed = |response: &Response| {
        assert_eq!(response.header_values("access-control-allow-origin"), ["https://www.test"]);
        assert_eq!(response.header_values("access-control-allow-headers"), ["x-token"]);
        assert_eq!(response.header_values("cache-control"), ["no-store"]);
    };
    let preflight = [own, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: x-token"];
    for _ in 0..3 {
        let response = ask(&broker, "OPTIONS /x", &preflight).await;
        assert_eq!((response.status, response.body.len()), (204, 0));
        allowed(&response);
    }
    assert_eq!(broker.metric("steadfast_redirects_total", &[]).await, 0.0, "who may ask has not asked yet");
    let foreign = ask(&broker, "GET /x", &[JSON, "Origin: https://other.test"]).await;
    assert_eq!(foreign.status, 403);
    allowed(&foreign);
    assert_eq!(ask(&broker, "OPTIONS /x", &["Origin: https://other.test"]).await.status, 403);
    let response = ask(&broker, "GET /x", &[own]).await;
    let location = format!("http://{}/x", backend.address());
    assert_eq!((response.status, response.header_values("location")), (307, vec![location.as_str()]));
    allowed(&response);
    let full = ask(&broker, "GET /x", &[JSON, own]).await;
    assert_eq!(full.status, 503, "its only place is reserved");
    allowed(&full);
}

#[tokio::test]
async fn who_may_not_come_in_is_told_nothing() {
    let backend = Backend::start("a", "").await;
    let broker = sending(&[&backend], "[route.access]\nupgrades_per_second = 1\nupgrades_burst = 2");
    let broker = broker.setting("access", "origins = [\"https://www.test\"]").start().await;
    let origin = ["Origin: https://www.test"];
    assert_eq!(ask(&broker, "GET /", &[]).await.status, 403);
    assert_eq!(broker.metric("steadfast_denied_total", &[("reason", "origin")]).await, 1.0);
    assert_eq!(broker.post("/api/v1/pause").await.status, 200);
    assert_eq!(ask(&broker, "GET /", &origin).await.status, 503, "the listener is paused");
    assert_eq!(broker.post("/api/v1/resume").await.status, 200);
    let mut statuses = Vec::new();
    // As fast as they can be asked, no second gives more than one.
    while !statuses.contains(&429) && statuses.len() < 100 {
        let response = ask(&broker, "GET /", &origin).await;
        assert_eq!(response.header("retry-after").is_some(), response.status == 429);
        statuses.push(response.status);
    }
    assert!(statuses.starts_with(&[307, 307]) && statuses.ends_with(&[429]), "{statuses:?}");
    assert_eq!(broker.metric("steadfast_denied_total", &[("reason", "rate")]).await, 1.0);
}

#[tokio::test]
async fn a_request_must_name_one_host() {
    let broker = with_public_url("https://a.test").await;
    for (line, headers) in [
        ("GET /", &["Host: other.test"][..]),
        ("GET http://user@sent.test/", &[]),
        ("OPTIONS *", &[]),
        ("GET ftp://sent.test/", &[]),
    ] {
        let response = ask(&broker, line, headers).await;
        assert_eq!((response.status, response.header("location")), (400, None), "{line} {headers:?}");
    }
}

/// Socket.IO's polling is sent on here, and its WebSocket relayed.
#[tokio::test]
async fn other_routes_of_the_pool_relay() {
    let backend = Backend::start("a", "").await;
    let routes = r#"
        [[route]]
        path = "/socket.io/"
        kind = "http"
        pool = "default"
        answer = "redirect"
        [[route.query]]
        name = "transport"
        value = "polling"
        [[route]]
        path = "/socket.io/"
        kind = "websocket"
        pool = "default"
        [[route.query]]
        name = "transport"
        value = "websocket"
    "#;
    let broker = Broker::over(&[&backend]).backend_setting("a", "public_url = \"https://a.test\"");
    let broker = broker.listener_without_pool().tables(routes).start().await;
    let polling = ask(&broker, "GET /socket.io/?EIO=4&transport=polling", &[]).await;
    let there = "https://a.test/socket.io/?EIO=4&transport=polling";
    assert_eq!((polling.status, polling.header("location")), (307, Some(there)));
    let upgrade = Upgrade::to(door(&broker)).path("/socket.io/?EIO=4&transport=websocket");
    upgrade.connect().await.ask("m", "a:m").await;
    let other = Upgrade::to(door(&broker)).path("/socket.io/?EIO=4&transport=polling").refused().await;
    assert_eq!((other.status, other.header("location")), (404, None));
    let plain = ask(&broker, "GET /socket.io/?EIO=4&transport=websocket", &[]).await;
    assert_eq!((plain.status, plain.header("location")), (426, None));
}

#[tokio::test]
async fn a_reload_changes_where_clients_are_sent() {
    let backend = Backend::start("a", "").await;
    let broker = sending(&[&backend], "");
    let toml = broker.to_toml();
    let broker = broker.start().await;
    assert_eq!(next(&broker).await.as_deref(), Some("a"));
    broker.replace_file(
        &toml.replace(&format!("public_url = \"{}\"", backend.url()), "public_url = \"wss://b.test\""),
    );
    assert_eq!(broker.post("/api/v1/reload").await.status, 200);
    let response = ask(&broker, "GET /x", &[]).await;
    assert_eq!(response.header("location"), Some("https://b.test/x"));
    broker.replace_file(&toml.replace(&format!("public_url = \"{}\"", backend.url()), ""));
    let refused = broker.post("/api/v1/reload").await;
    assert!(refused.status >= 400 && refused.text().contains("public_url"), "{}", refused.text());
    assert_eq!(ask(&broker, "GET /x", &[]).await.header("location"), Some("https://b.test/x"));
}
