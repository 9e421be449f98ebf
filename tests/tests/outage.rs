//! No backend is there: sessions wait, within bounds, and end with a reason when the bounds are reached.

use serde_json::Value;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::{Client, Incoming};
use steadfast_tests::frame::{End, Frame, PING};
use steadfast_tests::sequence::{home_and_other, range, send_range};
use steadfast_tests::wait::eventually;

/// A session that has lost its only backend, with nothing unacknowledged.
struct Outage {
    backend: Backend,
    broker: Broker,
    client: Client,
}

/// The `[failover]` settings for a deadline, with a stable time that is shorter than any.
fn within(deadline: &str) -> String {
    format!("deadline = \"{deadline}\"\nstable = \"200ms\"")
}

async fn outage(deadline: &str) -> Outage {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).setting("failover", &within(deadline)).start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    broker
        .wait_only_session("acknowledged", |session| session["ledger"]["upstream"]["acknowledged"] == 1)
        .await;
    backend.kill();
    broker.wait_only_session("without a backend", |session| session["state"] != "relaying").await;
    Outage { backend, broker, client }
}

#[tokio::test]
async fn back_within_the_deadline() {
    let Outage { backend, broker, mut client } = outage("30s").await;
    send_range(&client, "m", 2, 100).await;
    client.send_frame(Frame::new(PING, "waiting")).await;
    assert_eq!(
        client.next_but_pings().await,
        Incoming::Pong(b"waiting".to_vec()),
        "pings are answered meanwhile"
    );
    backend.restart().await;
    assert_eq!(client.texts(99).await, range("a:m", 2, 100));
    assert_eq!(backend.journal().connections()[1].texts(), range("m", 2, 100));
    let session = broker.wait_only_session("relaying", |session| session["state"] == "relaying").await;
    assert_eq!(
        (&session["failovers"], &session["ledger"]["upstream"]["lost"]),
        (&Value::from(1), &Value::from(0))
    );
}

#[tokio::test]
async fn beyond_the_deadline() {
    let Outage { backend, broker, mut client } = outage("800ms").await;
    send_range(&client, "m", 2, 4).await;
    let (code, reason) = client.closed().await;
    assert_eq!(code, Some(1013));
    assert!(!reason.is_empty(), "the Close says why");
    client.send_frame(Frame::close(1013, "")).await;
    assert_eq!(client.ended().await, End::Eof);
    assert_eq!(broker.wait_causes(1).await, ["deadline"]);
    broker.wait_sessions(0).await;
    assert_eq!(
        broker.metric("steadfast_messages_lost_total", &[("direction", "upstream")]).await,
        3.0,
        "and it is counted"
    );
    backend.restart().await;
    Client::connect(broker.address()).await.ask("new", "a:new").await;
    assert_eq!(backend.journal().texts(), ["m-1", "new"]);
}

#[tokio::test]
async fn the_deadlines_close_code_can_be_chosen_for_all_pools_and_for_each() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).pool("own", &[&backend]);
    let broker =
        broker.pool_table("[pool.close_codes]\ndeadline = 4504").setting("failover", &within("300ms"));
    let broker = broker.setting("close_codes", "deadline = 4503").start().await;
    let mut client = Client::connect(broker.address()).await;
    let mut other = Client::connect(broker.address_of(1)).await;
    backend.kill();
    assert_eq!(client.closed().await.0, Some(4503));
    assert_eq!(other.closed().await.0, Some(4504));
}

#[tokio::test]
async fn a_backend_that_accepts_and_fails_is_redialled_with_pauses() {
    let backend = Backend::start("a", "").await;
    let broker =
        Broker::over(&[&backend]).setting("failover", "deadline = \"4s\"\nstable = \"2s\"").start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    backend.set("--spoil-upgrade accept-then-fail").await;
    backend.command("!eof").await;
    assert_eq!(client.closed().await.0, Some(1013));
    assert_eq!(broker.wait_causes(1).await, ["deadline"]);
    // Pauses from 50 ms, doubling to 2 s, with jitter between half and all of it: about ten in four seconds.
    let dials = backend.journal().connections().len() - 1;
    assert!((3..=30).contains(&dials), "{dials} redials in four seconds");
}

#[tokio::test]
async fn a_backend_that_fails_with_every_message_is_redialled_with_pauses() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).setting("failover", "deadline = \"4s\"\nstable = \"2s\"");
    let broker = broker.setting("poison", "convictions = 1000").start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    broker.wait_at_rest().await;
    backend.set("--die-on m-2 --die-how rst").await;
    client.send("m-2").await;
    assert_eq!(client.closed().await.0, Some(1013));
    let dials = backend.journal().connections().len() - 1;
    assert!((3..=30).contains(&dials), "{dials} redials in four seconds");
}

#[tokio::test]
async fn refused_by_every_backend() {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let broker = Broker::start(&[&a, &b]).await;
    let mut client = Client::connect(broker.address()).await;
    let (home, other) = home_and_other([&a, &b]).await;
    other.set("--refuse 401").await;
    home.set_flags("--refuse 401");
    home.restart().await;
    let (code, reason) = client.closed().await;
    assert_eq!(code, Some(1012));
    assert!(!reason.is_empty(), "the Close says why");
    assert_eq!(broker.wait_causes(1).await, ["refused"]);
    let refusals = |backend: &Backend| {
        backend.journal().connections().iter().filter(|connection| connection.status() == Some(401)).count()
    };
    assert_eq!((refusals(home), refusals(other)), (1, 1), "each is asked once");
    let backends = broker.get_json("/api/v1/backends").await;
    let other_state =
        backends["backends"].as_array().and_then(|all| all.iter().find(|own| own["name"] == other.name()));
    let other_state = other_state.expect("the other backend is listed");
    assert_eq!((&other_state["state"], &other_state["failures"]), (&Value::from("up"), &Value::from(0)));
}

#[tokio::test]
async fn refused_by_one_backend_and_taken_by_another() {
    let backends =
        [Backend::start("a", "").await, Backend::start("b", "").await, Backend::start("c", "").await];
    let broker = Broker::start(&[&backends[0], &backends[1], &backends[2]]).await;
    let mut client = Client::connect(broker.address()).await;
    client.send("where?").await;
    let answer = client.text().await;
    broker.wait_at_rest().await;
    let (home, others): (Vec<_>, Vec<_>) =
        backends.iter().partition(|backend| answer == format!("{}:where?", backend.name()));
    others[0].set("--refuse 401").await;
    home[0].kill();
    others[1].wait_upgrades(1).await;
    client.ask("m-2", &format!("{}:m-2", others[1].name())).await;
}

#[tokio::test]
async fn a_redial_answered_with_503_is_tried_again() {
    let Outage { backend, broker, mut client } = outage("30s").await;
    backend.set_flags("--refuse 503");
    backend.restart().await;
    let refused = || backend.journal().connections().iter().filter(|own| own.status() == Some(503)).count();
    eventually("two redials", || refused() >= 2).await;
    backend.set("").await;
    client.ask("m-2", "a:m-2").await;
    assert_eq!(
        broker.wait_only_session("on", |session| session["state"] == "relaying").await["failovers"],
        1
    );
}

/// After a client has left, its session is gone, is not redialled, and the broker serves others.
async fn assert_gone(backend: &Backend, broker: &Broker, cause: &str) {
    assert_eq!(broker.wait_causes(1).await, [cause]);
    broker.wait_sessions(0).await;
    let before = backend.journal().connections().len();
    backend.set_flags("");
    backend.restart().await;
    Client::connect(broker.address()).await.ask("next", "a:next").await;
    let after = backend.journal().connections();
    assert_eq!(after.len(), before + 1, "only the new client was dialled for");
    assert_eq!(after.last().map(|connection| connection.attempt()), Some(1));
}

#[tokio::test]
async fn a_client_that_leaves_while_its_session_waits() {
    let Outage { backend, broker, client } = outage("30s").await;
    drop(client);
    assert_gone(&backend, &broker, "client_gone").await;
}

#[tokio::test]
async fn a_client_that_resets_while_its_session_waits() {
    let Outage { backend, broker, client } = outage("30s").await;
    client.reset().await;
    assert_gone(&backend, &broker, "client_gone").await;
}

#[tokio::test]
async fn a_client_that_closes_while_its_session_waits() {
    let Outage { backend, broker, client } = outage("30s").await;
    assert_eq!(client.close(1000, "bye").await.0, Some(1000));
    assert_gone(&backend, &broker, "client_close").await;
}

#[tokio::test]
async fn a_client_that_leaves_while_its_session_dials() {
    let Outage { backend, broker, client } = outage("30s").await;
    backend.set_flags("--spoil-upgrade hang");
    backend.restart().await;
    eventually("a redial that hangs", || backend.journal().connections().len() == 2).await;
    drop(client);
    assert_gone(&backend, &broker, "client_gone").await;
}

#[tokio::test]
async fn messages_of_a_client_that_closed_are_still_delivered() {
    let Outage { backend, broker, client } = outage("30s").await;
    send_range(&client, "m", 2, 6).await;
    client.send_frame(Frame::close(4321, "bye")).await;
    // The Close has been read when the broker stops to answer pings and names the state, at the latest.
    broker.wait_only_session("five messages", |session| session["buffered_bytes"].as_u64() > Some(0)).await;
    backend.restart().await;
    let connection = backend.wait_end(1).await;
    assert_eq!(connection.texts(), range("m", 2, 6));
    assert_eq!(connection.close(), Some((Some(4321), "bye".to_owned())));
    let mut client = client;
    assert!(
        client.rest().await.contains(&Incoming::Close(Some(4321), "bye".to_owned())),
        "the client's Close is answered"
    );
    assert_eq!(broker.wait_causes(1).await, ["client_close"]);
}

#[tokio::test]
async fn messages_of_a_client_that_left_are_still_delivered() {
    let Outage { backend, broker, client } = outage("30s").await;
    send_range(&client, "m", 2, 6).await;
    drop(client);
    backend.restart().await;
    let connection = backend.wait_end(1).await;
    assert_eq!(connection.texts(), range("m", 2, 6));
    assert_eq!(broker.wait_causes(1).await, ["client_gone"]);
}

#[tokio::test]
async fn messages_of_a_client_that_left_have_the_same_deadline() {
    let Outage { broker, client, .. } = outage("1s").await;
    send_range(&client, "m", 2, 6).await;
    drop(client);
    broker.wait_causes(1).await;
    broker.wait_sessions(0).await;
    assert_eq!(broker.metric("steadfast_messages_lost_total", &[("direction", "upstream")]).await, 5.0);
}
