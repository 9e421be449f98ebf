//! Asking a backend that is not checked whether it lives.

use std::time::{Duration, Instant};

use steadfast_tests::backend::Backend;
use steadfast_tests::client::Client;
use steadfast_tests::journal::Connection;
use steadfast_tests::upgrade::Upgrade;

use crate::clock::Clock;
use crate::{NO_PROBE, SHORT, dials, over, pair};

const SESSIONS: usize = 5;

/// What a backend was asked without a session.
fn questions(backend: &Backend) -> Vec<Connection> {
    let all = backend.journal().connections();
    all.into_iter().filter(|connection| connection.session().is_empty()).collect()
}

/// Any byte of an answer is life, so sessions whose service is slow stay; all share the questions.
#[tokio::test]
async fn a_backend_that_answers_questions_lives_and_is_asked_seldom() {
    let (clock, (a, b)) = (Clock::new().await, pair("").await);
    let broker = over(&[&a, &b], &[SHORT]).backend_setting("b", "backup = true");
    let broker = clock.add_to(broker, "1s").start().await;
    let mut clients = Vec::new();
    for _ in 0..SESSIONS {
        let upgrade = Upgrade::to(broker.address()).path("/chat?token=secret").header("Cookie", "id=7");
        let mut client = upgrade.connect().await;
        client.ask("m-1", "a:m-1").await;
        clients.push(client);
    }
    let begin = Instant::now();
    for client in &clients {
        client.send("!stop-reading").await;
        client.send("m-2").await;
    }
    clock.start(&broker, 1).await.rang().await;
    let asked = questions(&a);
    let passed = begin.elapsed();
    assert_eq!(dials(&b), 0, "it lives");
    assert!(!asked.is_empty(), "it was asked");
    let most = passed.as_millis() / Duration::from_millis(200).as_millis() + 2;
    assert!(asked.len() as u128 <= most, "{} questions in {passed:?}", asked.len());
    for question in &asked {
        assert!(question.line.starts_with("GET /") && !question.line.contains('?'), "{}", question.line);
        for name in ["upgrade", "sec-websocket-key", "cookie", "steadfast-session"] {
            assert_eq!(question.header(name), None, "{name} in {question:?}");
        }
        assert!(question.header("host").is_some());
    }
    a.command("!resume-reading").await;
    for client in &mut clients {
        assert_eq!(client.text().await, "a:m-2");
    }
    assert_eq!(dials(&a), SESSIONS);
}

/// A client of the mute backend `a`, whose session has left it when this returns.
async fn left(settings: &[&str], flags: &str) -> (Backend, Backend) {
    let (a, b) = pair(flags).await;
    let broker = over(&[&a, &b], settings).backend_setting("b", "backup = true").start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    broker.wait_at_rest().await;
    client.send("!stop-reading").await;
    b.wait_messages(1).await;
    (a, b)
}

#[tokio::test]
async fn nobody_is_asked_where_that_is_switched_off() {
    let (a, b) = left(&[SHORT, NO_PROBE], "").await;
    assert_eq!((questions(&a).len(), questions(&b).len()), (0, 0));
}

/// That a connection is accepted says nothing.
#[tokio::test]
async fn a_backend_that_accepts_and_answers_nothing_is_left() {
    let (a, _b) = left(&[SHORT], "--page-delay 600000").await;
    assert!(!questions(&a).is_empty(), "it was asked");
}

/// Checks know better.
#[tokio::test]
async fn a_pool_with_checks_asks_nothing_else() {
    let (clock, (a, b)) = (Clock::new().await, pair("--page /health:200").await);
    let health = "[pool.health]\ntype = \"http\"\npath = \"/health\"\ninterval = \"50ms\"\njitter = \"0s\"";
    let broker = over(&[&a, &b], &[SHORT]).pool_table(health).backend_setting("b", "backup = true");
    let broker = clock.add_to(broker, "1s").start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    client.send("!stop-reading").await;
    client.send("m-2").await;
    clock.start(&broker, 1).await.rang().await;
    let others: Vec<String> = questions(&a).into_iter().map(|question| question.line).collect();
    assert!(others.iter().all(|line| line == "GET /health HTTP/1.1"), "{others:?}");
    assert_eq!(dials(&b), 0, "the checks pass");
    a.command("!resume-reading").await;
    assert_eq!(client.text().await, "a:m-2");
}
