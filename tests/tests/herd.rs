//! A thousand sessions leave one backend at once.

use futures::future::join_all;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::frame::Frame;
use steadfast_tests::process::raise_descriptor_limit;
use steadfast_tests::sequence::{
    answers_to_end, check_answers, check_arrivals, connections_by_tag, send_range,
};

const SESSIONS: usize = 1000;
const MESSAGES: usize = 10;

#[tokio::test]
async fn a_thousand_sessions_leave_one_backend() {
    raise_descriptor_limit(4 * SESSIONS as u64 + 200);
    let flags = format!("--descriptors {}", 2 * SESSIONS + 200);
    let (home, other) = (Backend::start("a", &flags).await, Backend::absent("b", &flags));
    let broker = Broker::start(&[&home, &other]).await;
    let mut clients = Vec::new();
    for _ in 0..SESSIONS {
        clients.push(Client::connect(broker.address()).await);
    }
    other.restart().await;
    let first_half = async |(id, client)| send_range(client, &format!("c{id}"), 1, MESSAGES / 2).await;
    join_all(clients.iter().enumerate().map(first_half)).await;
    // Somewhere between the first message and the last.
    home.wait_messages(SESSIONS).await;
    home.kill();
    let conversations = clients.iter_mut().enumerate().map(async |(id, client)| {
        let tag = format!("c{id}");
        send_range(client, &tag, MESSAGES / 2 + 1, MESSAGES).await;
        answers_to_end(client, &tag, MESSAGES).await
    });
    let answers = join_all(conversations).await;
    let connections = connections_by_tag(&[&home, &other]);
    assert_eq!(connections.len(), SESSIONS);
    for (id, answers) in answers.iter().enumerate() {
        let tag = format!("c{id}");
        check_arrivals(&tag, MESSAGES, &connections[&tag]);
        check_answers(&tag, MESSAGES, answers, &connections[&tag]);
    }
    for (id, client) in clients.iter_mut().enumerate() {
        client.ask(&format!("c{id}-end"), &format!("b:c{id}-end")).await;
    }
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, SESSIONS as f64);
    assert_eq!(broker.metric("steadfast_messages_lost_total", &[]).await, 0.0);
    assert_eq!(broker.metric("steadfast_failover_pause_seconds_count", &[]).await, SESSIONS as f64);
    assert_eq!(broker.ended().await, Vec::<serde_json::Value>::new(), "no session has ended");
    for client in &clients {
        client.send_frame(Frame::close(1000, "")).await;
    }
    broker.wait_sessions(0).await;
}
