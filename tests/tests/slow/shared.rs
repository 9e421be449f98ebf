//! Several processes behind one address, one of which is stopped.

use nix::sys::signal::Signal;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::wait::eventually_some;

use crate::clock::Clock;
use crate::{NO_PROBE, SHORT, all_at_rest, over};

/// Two workers of one server.
async fn workers() -> (Backend, Backend) {
    let first = Backend::start("one", "--reuse-port").await;
    let second = Backend::start_beside(&first, "two", "--reuse-port").await;
    (first, second)
}

/// Clients at each of the two: the kernel chooses, so there are as many as it takes.
async fn clients(broker: &Broker) -> (Client, Client) {
    let (mut first, mut second) = (None, None);
    while first.is_none() || second.is_none() {
        let mut client = Client::connect(broker.address()).await;
        client.send("who?").await;
        match client.text().await.as_str() {
            "one:who?" => first = Some(client),
            _ => second = Some(client),
        }
    }
    first.zip(second).expect("both")
}

/// Speaks with a client of the other worker all the time.
fn chat(mut client: Client) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        for n in 1.. {
            client.ask(&format!("m-{n}"), &format!("two:m-{n}")).await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
}

/// To the broker one session is mute and its backend lives.
#[tokio::test]
async fn the_sessions_of_a_stopped_worker_wait_for_it() {
    let (clock, (one, two)) = (Clock::new().await, workers().await);
    let broker = clock.add_to(over(&[&one], &[SHORT, NO_PROBE]), "1s").start().await;
    let (mut deaf, lively) = clients(&broker).await;
    all_at_rest(&broker).await;
    let chat = chat(lively);
    let before = one.journal().sessions().len() + two.journal().sessions().len();
    one.signal(Signal::SIGSTOP);
    deaf.send("m-1").await;
    clock.start(&broker, 1).await.rang().await;
    one.signal(Signal::SIGCONT);
    assert_eq!(deaf.text().await, "one:m-1");
    assert_eq!(one.journal().sessions().len() + two.journal().sessions().len(), before, "no further dial");
    assert!(!chat.is_finished());
    chat.abort();
}

/// The pool says that life elsewhere proves nothing, so the session is dialled anew, to whichever worker answers.
#[tokio::test]
async fn with_a_shared_address_the_sessions_of_a_stopped_worker_leave_it() {
    let (one, _two) = workers().await;
    let broker = over(&[&one], &[SHORT, NO_PROBE, "shared_address = true"]);
    // The kernel may choose the stopped worker again.
    let broker = broker.setting("timeouts", "upgrade = \"200ms\"");
    let broker = broker.setting("failover", "backoff_max = \"100ms\"").start().await;
    let (mut deaf, lively) = clients(&broker).await;
    all_at_rest(&broker).await;
    let chat = chat(lively);
    one.signal(Signal::SIGSTOP);
    deaf.ask("m-1", "two:m-1").await;
    one.signal(Signal::SIGCONT);
    let read = || Some(one.journal().texts()).filter(|texts| texts.contains(&"m-1".to_owned()));
    // It was in the stopped worker's buffer, which is read before the end of the connection.
    eventually_some("the worker reads what had come", read).await;
    assert!(!chat.is_finished(), "the other worker's session was not touched");
    chat.abort();
}
