//! What an operator sees: the admin listener, metrics, the access log.

use serde_json::Value;
use steadfast_tests::admin;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::frame::{Frame, PING};
use steadfast_tests::sequence::{home_and_other, range, send_range};
use steadfast_tests::wait::eventually_some;

async fn pair() -> (Backend, Backend) {
    (Backend::start("a", "").await, Backend::start("b", "").await)
}

#[tokio::test]
async fn health_and_readiness() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    assert_eq!(broker.get("/healthz").await.status, 200);
    assert_eq!(broker.get("/readyz").await.status, 200);
    assert_eq!(broker.get("/nowhere").await.status, 404);
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let (a, b) = pair().await;
    let broker = Broker::start(&[&a, &b]).await;
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other([&a, &b]).await;
    client.ask("m-1", &format!("{}:m-1", home.name())).await;
    broker.wait_at_rest().await;
    home.command("!close 1012 restart").await;
    client.ask("m-2", &format!("{}:m-2", other.name())).await;
    client.close(1000, "").await;
    broker.wait_causes(1).await;
    let response = broker.get("/metrics").await;
    assert!(
        response.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")),
        "{response:?}"
    );
    let text = response.text();
    let names = [
        "steadfast_sessions gauge",
        "steadfast_sessions_total counter",
        "steadfast_failovers_total counter",
        "steadfast_failover_pause_seconds histogram",
        "steadfast_messages_forwarded_total counter",
        "steadfast_messages_acknowledged_total counter",
        "steadfast_messages_replayed_total counter",
        "steadfast_messages_suppressed_total counter",
        "steadfast_messages_lost_total counter",
        "steadfast_messages_in_doubt_total counter",
        "steadfast_unacknowledged_bytes gauge",
        "steadfast_limit_hits_total counter",
        "steadfast_protocol_errors_total counter",
        "steadfast_backend_sessions gauge",
        "steadfast_dials_total counter",
    ];
    for name in names {
        assert!(text.contains(&format!("# TYPE {name}\n")), "no {name} in:\n{text}");
    }
    let value = |name: &str, labels: &[(&str, &str)]| admin::metric(&text, name, labels);
    assert_eq!(value("steadfast_sessions_total", &[]), 1.0);
    assert_eq!(value("steadfast_failovers_total", &[]), 1.0);
    assert_eq!(value("steadfast_failover_pause_seconds_count", &[]), 1.0);
    assert_eq!(value("steadfast_messages_forwarded_total", &[("direction", "upstream")]), 2.0);
    assert_eq!(value("steadfast_messages_forwarded_total", &[("direction", "downstream")]), 2.0);
    assert_eq!(value("steadfast_dials_total", &[("pool", "default")]), 2.0);
    assert_eq!(value("steadfast_messages_lost_total", &[]), 0.0);
}

#[tokio::test]
async fn failovers_are_counted_by_reason() {
    let (a, b) = pair().await;
    let broker = Broker::start(&[&a, &b]).await;
    let mut client = Client::connect(broker.address()).await;
    for command in ["!close 1012 restart", "!eof", "!bad-frame opcode"] {
        client.send("where?").await;
        let home = if client.text().await == "a:where?" { &a } else { &b };
        broker.wait_at_rest().await;
        home.command(command).await;
    }
    broker.wait_metric("steadfast_failovers_total", &[], |count| count == 3.0).await;
    let text = broker.get("/metrics").await.text();
    let reasons: Vec<&str> =
        text.lines().filter(|line| line.starts_with("steadfast_failovers_total{")).collect();
    let with_reason =
        reasons.iter().filter(|line| line.contains("reason=\"") && !line.ends_with(" 0")).count();
    assert_eq!(with_reason, 3, "three reasons: {reasons:?}");
}

#[tokio::test]
async fn backends_are_listed() {
    let (a, dead) = (Backend::start("a", "").await, Backend::absent("dead", ""));
    let broker = Broker::start(&[&a, &dead]).await;
    let _clients = [Client::connect(broker.address()).await, Client::connect(broker.address()).await];
    let body = broker.get_json("/api/v1/backends").await;
    let backends = body["backends"].as_array().expect("a list");
    assert_eq!(backends.len(), 2);
    let of = |name: &str| backends.iter().find(|own| own["name"] == name).cloned().expect("listed");
    let (up, down) = (of("a"), of("dead"));
    assert_eq!((&up["pool"], &up["state"], &up["sessions"]), (&"default".into(), &"up".into(), &2.into()));
    assert_eq!(up["address"], a.address().to_string());
    assert_eq!((&up["dials"], &up["failures"]), (&2.into(), &0.into()));
    assert_eq!((&down["state"], &down["sessions"]), (&"up".into(), &0.into()));
    assert!(down["failures"].as_u64() >= Some(1));
}

#[tokio::test]
async fn sessions_are_listed_and_found() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::start(&[&backend]).await;
    assert_eq!(broker.sessions().await, Vec::<Value>::new());
    let mut client = Client::connect(broker.address()).await;
    client.ask("hello", "a:hello").await;
    let session =
        broker.wait_only_session("acknowledged", |own| own["ledger"]["upstream"]["acknowledged"] == 1).await;
    let expected = [("pool", "default"), ("backend", "a"), ("state", "relaying")];
    for (key, value) in expected {
        assert_eq!(session[key], value, "{key}");
    }
    assert_eq!(session["listener"], broker.address().to_string());
    assert!(session["client"].as_str().is_some_and(|client| client.starts_with("127.0.0.1:")), "{session}");
    assert_eq!((&session["failovers"], &session["buffered_bytes"]), (&0.into(), &0.into()));
    assert!(session["age_ms"].is_u64());
    for direction in ["up", "down"] {
        for key in ["forwarded", "acknowledged", "replayed", "suppressed", "lost", "in_doubt"] {
            assert!(session["ledger"][direction][key].is_u64(), "{direction} {key}: {session}");
        }
    }
    let id = session["id"].as_str().expect("an id");
    let one = broker.get_json(&format!("/api/v1/sessions/{id}")).await;
    assert_eq!((&one["id"], &one["ledger"]), (&session["id"], &session["ledger"]));
    let missing = broker.get(&format!("/api/v1/sessions/{}", "0".repeat(32))).await;
    assert_eq!(missing.status, 404);
    let body: Value = serde_json::from_slice(&missing.body).expect("JSON");
    assert_eq!(body["error"]["code"], "not_found");
    assert!(body["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
    for nonsense in ["xyz", "%00", "../../etc/passwd"] {
        assert!((400..500).contains(&broker.get(&format!("/api/v1/sessions/{nonsense}")).await.status));
    }
}

#[tokio::test]
async fn the_access_line_tells_how_a_session_went() {
    let (a, b) = pair().await;
    let broker = Broker::start(&[&a, &b]).await;
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other([&a, &b]).await;
    send_range(&client, "m", 1, 5).await;
    assert_eq!(client.texts(5).await, range(&format!("{}:m", home.name()), 1, 5));
    let session =
        broker.wait_only_session("acknowledged", |own| own["ledger"]["upstream"]["acknowledged"] == 5).await;
    home.kill();
    client.ask("m-6", &format!("{}:m-6", other.name())).await;
    client.close(1000, "").await;
    broker.wait_causes(1).await;
    let records = broker.access_lines();
    assert_eq!(records.len(), 1);
    let text = records[0].to_string();
    assert_eq!(records[0]["cause"], "client_close");
    for part in [session["id"].as_str(), session["client"].as_str(), Some("default"), Some(other.name())] {
        let part = part.expect("text");
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(records[0]["timestamp"].is_string() && records[0]["level"] == "INFO", "{text}");
    assert_eq!(records[0]["failovers"], 1);
    let numbers = records[0].as_object().expect("an object").values().filter(|value| *value == 6).count();
    assert!(numbers >= 2, "six messages up and six down: {text}");
}

#[tokio::test]
async fn every_log_line_is_json_when_asked_for() {
    let (a, b) = pair().await;
    let broker = Broker::start(&[&a, &b]).await;
    let mut client = Client::connect(broker.address()).await;
    client.send("!eof").await;
    client.send_frame(Frame::close(1000, "")).await;
    client.closed().await;
    broker.wait_causes(1).await;
    let log = broker.log();
    assert!(!log.is_empty());
    for line in log {
        assert!(
            serde_json::from_str::<Value>(&line).is_ok_and(|value| value.is_object()),
            "not JSON: {line}"
        );
    }
}

#[tokio::test]
async fn the_text_log_has_the_same_line() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).text_log().start().await;
    let client = Client::connect(broker.address()).await;
    client.close(1000, "").await;
    let line = eventually_some("an access line", || {
        broker.log().into_iter().find(|line| line.contains("session ended"))
    });
    let line = line.await;
    assert!(line.contains("client_close") && line.contains("default"), "{line}");
    assert!(!line.contains('\u{1b}'), "no colours in a pipe: {line:?}");
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_gone() {
    let backend = Backend::start("a", "").await;
    let broker =
        Broker::over(&[&backend]).setting("timeouts", "keepalive = \"200ms\"\nclient_pong = \"400ms\"");
    let broker = broker.start().await;
    let mut alive = Client::connect(broker.address()).await;
    let mut deaf = Client::connect(broker.address()).await;
    deaf.ignore_pings();
    let (end, ()) = tokio::join!(deaf.rest(), async {
        // This one answers, and lives as long as the other takes to be given up.
        while broker.access_lines().is_empty() {
            alive.send_frame(Frame::new(PING, "tick")).await;
            while !matches!(alive.next().await, steadfast_tests::Incoming::Pong(_)) {}
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    assert!(!end.is_empty());
    assert_eq!(broker.wait_causes(1).await, ["client_timeout"]);
    alive.ask("still here", "a:still here").await;
}

#[tokio::test]
async fn sessions_over_the_limit_get_503_and_a_time_to_come_back() {
    use steadfast_tests::upgrade::Upgrade;
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).setting("limits", "max_sessions = 2").start().await;
    let first = Client::connect(broker.address()).await;
    let mut second = Client::connect(broker.address()).await;
    let response = Upgrade::to(broker.address()).refused().await;
    assert_eq!(response.status, 503);
    assert!(response.header("retry-after").is_some_and(|value| value.parse::<u32>().is_ok()), "{response:?}");
    assert!(broker.metric("steadfast_limit_hits_total", &[]).await >= 1.0);
    second.ask("still here", "a:still here").await;
    first.close(1000, "").await;
    broker.wait_sessions(1).await;
    Client::connect(broker.address()).await.ask("third", "a:third").await;
}

#[tokio::test]
async fn pools_do_not_mix() {
    let (a, b) = pair().await;
    let broker = Broker::over(&[&a]).pool("second", &[&b]).start().await;
    for _ in 0..3 {
        Client::connect(broker.address()).await.ask("x", "a:x").await;
        Client::connect(broker.address_of(1)).await.ask("x", "b:x").await;
    }
}
