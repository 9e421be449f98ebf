//! What fails in the middle of a move, or keeps it from beginning.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::client::Client;
use steadfast_tests::frame::{CONTINUATION, Frame, TEXT};
use steadfast_tests::sequence::{range, send_range};

use crate::scene::{
    Midway, POOL, add, clients, drain, wait_all_moved, wait_goodbye, wait_none_moved, wait_operation,
    wait_progress,
};

#[tokio::test]
async fn a_next_backend_that_is_killed_changes_nothing_for_the_client() {
    let mut own = Midway::between("", "").await;
    own.b.kill();
    own.broker.wait_backend("b", "left", |backend| backend["sessions"] == 0).await;
    own.finish().await;
    assert_eq!(own.client.text().await, "a:half and half");
    let waiting = wait_operation(&own.broker, &own.drain, "waiting").await;
    assert_eq!((&waiting["sessions"]["remaining"], &waiting["sessions"]["failed"]), (&json!(1), &json!(0)));
    own.goes_on_at_a().await;
    own.b.restart().await;
    wait_all_moved(&own.broker, &own.drain, 1).await;
    own.client.ask("m-3", "b:m-3").await;
    assert_eq!(own.a.journal().texts(), ["m-1", "half and half", "m-2"]);
    assert_eq!(own.b.journal().texts(), ["m-3"]);
}

#[tokio::test]
async fn a_next_backend_that_closes_who_says_nothing_is_dialled_when_the_session_is_ready() {
    let mut own = Midway::between("", "").await;
    own.b.command("!close 4408 connection initialisation timeout").await;
    own.b.wait_end(0).await;
    own.arrive().await;
    own.goes_on_at_b().await;
    assert_eq!(own.b.journal().sessions().len(), 2);
    let lost = own.broker.metric("steadfast_moves_total", &[("outcome", "target_lost")]).await;
    assert_eq!(lost, 0.0, "the move has not failed");
}

#[tokio::test]
async fn a_pool_may_have_its_next_backends_dialled_late() {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let broker = Broker::over(&[&a]).pool_setting("dial_ahead = false").start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    broker.wait_at_rest().await;
    add(&broker, &b).await;
    client.send_frame(Frame::new(TEXT, "half and ").unfinished()).await;
    broker.wait_only_session("half a message", |session| session["buffered_bytes"] != 0).await;
    let drain = drain(&broker, "a").await;
    broker.wait_only_session("on its way", |session| session["state"] == "quiescing").await;
    assert!(b.journal().sessions().is_empty());
    client.send_frame(Frame::new(CONTINUATION, "half")).await;
    assert_eq!(client.text().await, "a:half and half");
    wait_all_moved(&broker, &drain, 1).await;
    client.ask("m-2", "b:m-2").await;
    assert_eq!((b.journal().sessions().len(), b.journal().texts()), (1, vec!["m-2".to_owned()]));
}

#[tokio::test]
async fn when_the_old_backend_is_killed_the_next_one_is_there() {
    let mut own = Midway::between("", "").await;
    own.a.kill();
    own.finish().await;
    assert_eq!(own.client.text().await, "b:half and half");
    wait_none_moved(&own.broker, &own.drain, "failed").await;
    assert_eq!(own.b.journal().sessions().len(), 1, "nothing is dialled once more");
    own.client.ask("m-2", "b:m-2").await;
    assert_eq!(own.b.journal().texts(), ["half and half", "m-2"]);
    assert_eq!(own.broker.metric("steadfast_messages_lost_total", &[]).await, 0.0);
}

#[tokio::test]
async fn an_old_backend_that_is_stopped_is_given_up() {
    let mut own = Midway::with("", "", |broker| broker.pool_setting("ack_timeout = \"1s\"")).await;
    own.a.signal(Signal::SIGSTOP);
    own.finish().await;
    assert_eq!(own.client.text().await, "b:half and half");
    wait_none_moved(&own.broker, &own.drain, "failed").await;
    own.a.signal(Signal::SIGCONT);
    own.a.wait_end(0).await;
    own.client.ask("m-2", "b:m-2").await;
    assert_eq!(
        own.b.journal().texts(),
        ["half and half", "m-2"],
        "what the stopped one got was not its answer"
    );
}

#[tokio::test]
async fn one_that_is_stopped_is_given_up_for_the_last_place_there_is() {
    let mut own = Midway::with("", "", |broker| broker.pool_setting("ack_timeout = \"1s\"")).await;
    let full = own.broker.change("PATCH", &format!("{POOL}/backends/b"), r#"{"max_sessions":1}"#).await;
    assert_eq!(full.status, 200, "{}", full.text());
    own.a.signal(Signal::SIGSTOP);
    own.finish().await;
    assert_eq!(own.client.text().await, "b:half and half");
    assert_eq!(own.b.journal().sessions().len(), 1, "nothing is dialled once more");
    own.a.signal(Signal::SIGCONT);
    own.a.wait_end(0).await;
}

#[tokio::test]
async fn a_slow_old_backend_has_answered_everything_before_it_is_left() {
    let (a, b) = (Backend::start("a", "--read-delay 60 --delay 300").await, Backend::start("b", "").await);
    let broker = Broker::over(&[&a]).start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    add(&broker, &b).await;
    send_range(&client, "m", 2, 9).await;
    let drain = drain(&broker, "a").await;
    assert_eq!(client.texts(8).await, range("a:m", 2, 9));
    wait_all_moved(&broker, &drain, 1).await;
    client.ask("m-10", "b:m-10").await;
    assert_eq!(a.journal().texts(), range("m", 1, 9));
    assert_eq!(b.journal().texts(), ["m-10"]);
}

#[tokio::test]
async fn an_old_backend_that_never_answers_the_goodbye_is_left_all_the_same() {
    let settings = |broker: BrokerBuilder| broker.setting("timeouts", "close = \"300ms\"");
    let mut own = Midway::with("--ignore-close", "", settings).await;
    own.arrive().await;
    own.goes_on_at_b().await;
    wait_goodbye(&own.a).await;
}

#[tokio::test]
async fn a_full_pool_keeps_its_sessions_and_says_so() {
    let (a, b) = (Backend::start("a", "").await, Backend::start("b", "").await);
    let broker = Broker::over(&[&a, &b]).backend_setting("b", "max_sessions = 1");
    let broker = broker.setting("drain", "quiet = \"20ms\"").start().await;
    let (mut at_a, mut at_b) = (Vec::new(), Vec::new());
    for mut client in clients(&broker, 3).await {
        client.send("where?").await;
        let home = if client.text().await == "a:where?" { &mut at_a } else { &mut at_b };
        home.push(client);
    }
    assert_eq!((at_a.len(), at_b.len()), (2, 1));
    let drain = drain(&broker, "a").await;
    let waiting = wait_operation(&broker, &drain, "waiting").await;
    assert_eq!(waiting["message"], "no other backend has room; the sessions stay until one has");
    assert_eq!(waiting["sessions"]["remaining"], 2);
    for client in &mut at_a {
        client.ask("still there?", "a:still there?").await;
    }
    drop(at_b);
    let one_has_moved =
        |operation: &Value| operation["state"] == "waiting" && operation["sessions"]["moved"] == 1;
    wait_progress(&broker, &drain, "one has the room", one_has_moved).await;
    let mut homes = Vec::new();
    for client in &mut at_a {
        client.send("where?").await;
        homes.push(client.text().await);
    }
    homes.sort();
    assert_eq!(homes, ["a:where?", "b:where?"]);
    drop(at_a);
    let done = wait_operation(&broker, &drain, "done").await;
    assert_eq!((&done["sessions"]["moved"], &done["sessions"]["gone"]), (&json!(1), &json!(1)), "{done}");
}

#[tokio::test]
async fn while_the_only_other_backend_is_down_the_sessions_stay() {
    let (a, b) = (Backend::start("a", "").await, Backend::absent("b", ""));
    let broker = Broker::over(&[&a]).start().await;
    let mut client = Client::connect(broker.address()).await;
    client.ask("m-1", "a:m-1").await;
    add(&broker, &b).await;
    let drain = drain(&broker, "a").await;
    let waiting = wait_operation(&broker, &drain, "waiting").await;
    let message = waiting["message"].as_str().expect("a sentence");
    assert!(message.contains("no other backend"), "{message}");
    client.ask("m-2", "a:m-2").await;
    b.restart().await;
    wait_all_moved(&broker, &drain, 1).await;
    client.ask("m-3", "b:m-3").await;
}

#[tokio::test]
async fn a_drain_may_be_called_off_in_the_middle() {
    let mut own = Midway::with("", "", |broker| broker.setting("failover", "stable = \"50ms\"")).await;
    let undrained = own.broker.post("/api/v1/pools/default/backends/a/undrain").await;
    assert_eq!(undrained.status, 200, "{}", undrained.text());
    let end = own.b.wait_end(0).await;
    assert_eq!(end.texts(), [""; 0], "the next backend was told nothing");
    own.finish().await;
    assert_eq!(own.client.text().await, "a:half and half");
    own.goes_on_at_a().await;
}
