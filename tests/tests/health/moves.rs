//! Sessions of a backend that is down.

use nix::sys::signal::Signal;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::sequence::{check_answers, check_arrivals, converse, range, session_connections};
use steadfast_tests::upgrade::Upgrade;
use steadfast_tests::wait::eventually;

use crate::{CHECKS, ILL, WELL, http, only_session, pair, placed, quick, wait_checks, wait_well};

/// Who cannot leave is made to leave soon.
const HASTE: &str = "quiet_max = \"100ms\"\npatience = \"50ms\"\nhold = \"200ms\"\ndeadline = \"300ms\"";

/// A quiet moment is waited for so long that it does not come.
const LEISURE: &str =
    "quiet = \"20s\"\nquiet_max = \"20s\"\npatience = \"30s\"\nhold = \"30s\"\ndeadline = \"1m\"";

#[tokio::test]
async fn its_sessions_move_at_a_quiet_moment() {
    let (a, b) =
        (Backend::start("a", &format!("{WELL} --last-words farewell")).await, Backend::absent("b", WELL));
    let broker = quick(&[&a, &b], &http()).start().await;
    broker.wait_state("b", "down").await;
    let mut client = Client::connect(broker.address()).await;
    let mut answers = converse(&mut client, "m", 50, 8, async |_, _| {}).await;
    b.restart().await;
    wait_well(&broker, "b").await;
    a.set(&format!("{ILL} --last-words farewell")).await;
    assert_eq!(client.text().await, "farewell", "the last words of a backend that is left");
    b.wait_upgrades(1).await;
    let old =
        a.wait_end(a.journal().connections().iter().position(|own| own.attempt() == 1).expect("a session"));
    let old = old.await;
    assert_eq!(old.close().map(|(code, _)| code), Some(Some(1001)));
    assert_eq!(old.end(), Some("Eof"), "an orderly end");
    assert_eq!(old.texts(), range("m", 1, 50));
    for n in 51..=100 {
        client.ask(&format!("m-{n}"), &format!("b:m-{n}")).await;
        answers.push(format!("b:m-{n}"));
    }
    assert_eq!(answers, [range("a:m", 1, 50), range("b:m", 51, 100)].concat());
    assert_eq!(only_session(&b).texts(), range("m", 51, 100));
    broker.wait_only_session("moved", |own| own["backend"] == "b" && own["state"] == "relaying").await;
    assert_eq!(broker.metric("steadfast_failovers_total", &[("reason", "planned")]).await, 1.0);
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 1.0);
    assert_eq!(broker.metric("steadfast_messages_replayed_total", &[]).await, 0.0);
    for _ in 0..5 {
        assert_eq!(placed(&broker).await, "b", "no new session for one that is down");
    }
    assert_eq!(
        broker.backend("a").await.expect("listed")["failures"],
        0,
        "to leave it was the broker's plan"
    );
}

#[tokio::test]
async fn a_busy_session_moves_too_and_loses_nothing() {
    let (a, b) = pair(WELL).await;
    let broker = quick(&[&a, &b], &http()).setting("drain", HASTE).start().await;
    wait_well(&broker, "a").await;
    wait_well(&broker, "b").await;
    let mut client = Client::connect(broker.address()).await;
    let mut moves = 0;
    let answers = converse(&mut client, "m", 6000, 20, async |answered, name| {
        // Twice there and back, in the middle of the talk.
        if answered == 1000 * (moves + 1) && moves < 4 {
            moves += 1;
            let (home, other) = if name == "a" { (&a, &b) } else { (&b, &a) };
            other.set(WELL).await;
            wait_well(&broker, other.name()).await;
            home.set(ILL).await;
            broker.wait_state(home.name(), "down").await;
        }
    })
    .await;
    let session = broker.wait_only_session("the same", |_| true).await;
    let connections = session_connections(session["id"].as_str().expect("an id"), &[&a, &b]);
    check_arrivals("m", 6000, &connections);
    check_answers("m", 6000, &answers, &connections);
    broker.wait_metric("steadfast_failovers_total", &[], |count| count >= 1.0).await;
    assert_eq!(broker.metric("steadfast_messages_lost_total", &[]).await, 0.0);
}

#[tokio::test]
async fn nothing_moves_where_there_is_no_other() {
    let (a, b) = pair(WELL).await;
    let broker = quick(&[&a, &b], &http()).start().await;
    let mut clients = [Client::connect(broker.address()).await, Client::connect(broker.address()).await];
    for backend in [&a, &b] {
        backend.wait_upgrades(1).await;
        backend.set(ILL).await;
    }
    for backend in [&a, &b] {
        broker.wait_state(backend.name(), "down").await;
    }
    for _ in 0..3 {
        wait_checks(&broker, CHECKS, "a", 10.0).await;
        for client in &mut clients {
            client.send("still there?").await;
            assert!(client.text().await.ends_with(":still there?"));
        }
    }
    for backend in [&a, &b] {
        let session = only_session(backend);
        assert_eq!((session.close(), session.end()), (None, None));
        assert_eq!(session.texts(), ["still there?"; 3]);
    }
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 0.0);
    let response = Upgrade::to(broker.address()).refused().await;
    assert_eq!(response.status, 503, "a new session has nowhere to go");
}

#[tokio::test]
async fn up_again_it_keeps_its_sessions_and_gets_new_ones() {
    // The feed leaves no quiet moment, so the session departs for as long as the backend is down.
    let (a, b) = (Backend::start("a", &format!("{WELL} --feed 10")).await, Backend::absent("b", WELL));
    let broker = Broker::over(&[&a, &b]).pool_table(&http()).setting("drain", LEISURE);
    let broker = broker.start().await;
    broker.wait_state("b", "down").await;
    let mut client = Client::connect(broker.address()).await;
    b.restart().await;
    wait_well(&broker, "b").await;
    a.set(&format!("{ILL} --feed 10")).await;
    broker.wait_only_session("quiescing", |own| own["state"] == "quiescing").await;
    assert_eq!(placed(&broker).await, "b");
    a.set(&format!("{WELL} --feed 10")).await;
    broker.wait_only_session("remaining", |own| own["state"] == "relaying").await;
    let mut feed = client.texts(100).await;
    client.send("who?").await;
    while feed.last().is_some_and(|text| text != "a:who?") {
        feed.push(client.text().await);
    }
    feed.pop();
    assert_eq!(feed, range("a:feed", 1, feed.len()));
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 0.0);
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(Client::connect(broker.address()).await);
    }
    a.wait_upgrades(3).await;
}

#[tokio::test]
async fn a_stopped_backend_is_found_out() {
    let (a, b) = (Backend::start("a", WELL).await, Backend::absent("b", WELL));
    let table = http().replace("timeout = \"2s\"", "timeout = \"300ms\"");
    let broker = quick(&[&a, &b], &table).setting("drain", HASTE).start().await;
    broker.wait_state("b", "down").await;
    let (mut idle, mut busy) =
        (Client::connect(broker.address()).await, Client::connect(broker.address()).await);
    for client in [&mut idle, &mut busy] {
        client.ask("m-1", "a:m-1").await;
    }
    b.restart().await;
    wait_well(&broker, "b").await;
    a.signal(Signal::SIGSTOP);
    busy.send("m-2").await;
    let down = broker.wait_state("a", "down").await;
    let why = down["why"].as_str().expect("a reason");
    assert!(why.starts_with("its health checks fail: no ") && why.ends_with(" within 300ms"), "{why}");
    assert_eq!(busy.text().await, "b:m-2", "what it never answered is asked again");
    b.wait_upgrades(2).await;
    idle.ask("m-2", "b:m-2").await;
    a.signal(Signal::SIGCONT);
    wait_well(&broker, "a").await;
    for client in [&mut idle, &mut busy] {
        client.ask("m-3", "b:m-3").await;
    }
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 2.0);
}

#[tokio::test]
async fn they_move_once_there_is_another() {
    let (a, b) = pair(ILL).await;
    a.set(WELL).await;
    let broker = quick(&[&a, &b], &http()).start().await;
    wait_well(&broker, "a").await;
    broker.wait_state("b", "down").await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    a.set(ILL).await;
    broker.wait_state("a", "down").await;
    client.ask("m-2", "a:m-2").await;
    b.set(WELL).await;
    broker.wait_only_session("moved", |own| own["backend"] == "b" && own["state"] == "relaying").await;
    client.ask("m-3", "b:m-3").await;
    let old = a.journal().sessions().remove(0);
    assert_eq!((old.texts(), old.close().map(|(code, _)| code)), (range("m", 1, 2), Some(Some(1001))));
}

#[tokio::test]
async fn a_backend_that_does_not_let_go_is_left() {
    let (a, b) = pair(ILL).await;
    a.set(&format!("{WELL} --ignore-close")).await;
    let broker = quick(&[&a, &b], &http()).setting("timeouts", "close = \"200ms\"").start().await;
    wait_well(&broker, "a").await;
    broker.wait_state("b", "down").await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    b.set(WELL).await;
    wait_well(&broker, "b").await;
    a.set(&format!("{ILL} --ignore-close")).await;
    // What comes between the two backends waits for the next one.
    eventually("the Close at a", || a.journal().sessions()[0].close().is_some()).await;
    client.ask("m-2", "b:m-2").await;
    assert_eq!((a.journal().texts(), b.journal().texts()), (range("m", 1, 1), range("m", 2, 2)));
    assert_eq!(broker.metric("steadfast_failovers_total", &[("reason", "planned")]).await, 1.0);
}

#[tokio::test]
async fn without_acknowledgements_they_move_as_well() {
    let (a, b) = pair(ILL).await;
    a.set(WELL).await;
    let broker = quick(&[&a, &b], &http()).pool_setting("ack = \"none\"").start().await;
    wait_well(&broker, "a").await;
    broker.wait_state("b", "down").await;
    let mut client = Client::connect(broker.address()).await;
    let answers = converse(&mut client, "m", 50, 8, async |_, _| {}).await;
    assert_eq!(answers, range("a:m", 1, 50));
    b.set(WELL).await;
    wait_well(&broker, "b").await;
    a.set(ILL).await;
    broker.wait_only_session("moved", |own| own["backend"] == "b").await;
    client.ask("m-51", "b:m-51").await;
    let old = a.journal().sessions().remove(0);
    assert_eq!((old.texts(), old.close().map(|(code, _)| code)), (range("m", 1, 50), Some(Some(1001))));
    assert_eq!(b.journal().texts(), ["m-51"]);
}

#[tokio::test]
async fn sessions_that_cannot_move_stay() {
    for (flags, setting) in
        [("", "on_failure = \"close\""), (" --answer-header Steadfast-Failover:off", "ack = \"pong\"")]
    {
        let (a, b) = pair(ILL).await;
        a.set(&format!("{WELL}{flags}")).await;
        let broker = quick(&[&a, &b], &http()).pool_setting(setting).start().await;
        wait_well(&broker, "a").await;
        broker.wait_state("b", "down").await;
        let mut client = Client::connect(broker.address()).await;
        b.set(WELL).await;
        wait_well(&broker, "b").await;
        a.set(&format!("{ILL}{flags}")).await;
        broker.wait_state("a", "down").await;
        wait_checks(&broker, CHECKS, "a", 20.0).await;
        client.ask("still there?", "a:still there?").await;
        assert_eq!(only_session(&a).close(), None);
        assert_eq!(placed(&broker).await, "b");
        assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, 0.0);
    }
}
