//! A loop that works without looking up is like a process that is stopped; a message that makes it do so begins
//! its work at most twice.

use nix::sys::signal::Signal;
use steadfast_tests::backend::Backend;
use steadfast_tests::client::Client;
use steadfast_tests::wait::bounded;

use crate::{NO_PROBE, SHORT, at_home, dials, over, times};

async fn three() -> [Backend; 3] {
    [Backend::start("a", "").await, Backend::start("b", "").await, Backend::start("c", "").await]
}

/// The second silence on the same message speaks of the message.
#[tokio::test]
async fn a_message_that_blocks_its_service_is_begun_twice_and_no_more() {
    let backends = three().await;
    let all: Vec<&Backend> = backends.iter().collect();
    // A penalty would be seen for long.
    let broker = over(&all, &[SHORT]).setting("failover", "penalty_min = \"1m\"\npenalty_max = \"1m\"");
    let broker = broker.start().await;
    let mut client = Client::connect(broker.address()).await;
    client.send("!block 2000").await;
    client.send("m-2").await;
    let answers = bounded("answers of the second service", client.texts(2)).await;
    assert_eq!(times(&all, "!block 2000"), 2);
    let second = answers[0].split(':').next().unwrap_or_default();
    assert_eq!(answers, [format!("{second}:done"), format!("{second}:m-2")]);
    assert_eq!(all.iter().map(|backend| dials(backend)).sum::<usize>(), 2);
    for backend in &all {
        // The silence was the message's.
        let state = broker.backend(backend.name()).await.expect("listed");
        assert_eq!((&state["state"], &state["penalised"]), (&"up".into(), &false.into()), "{state}");
    }
}

/// A lone service has nobody to take over, so it begins once.
#[tokio::test]
async fn a_message_that_blocks_a_lone_service_is_begun_once() {
    let backend = Backend::start("a", "").await;
    let broker = over(&[&backend], &[SHORT]).start().await;
    let mut client = Client::connect(broker.address()).await;
    client.send("!block 1500").await;
    client.send("m-2").await;
    assert_eq!(client.texts(2).await, ["a:done", "a:m-2"]);
    assert_eq!(backend.journal().texts(), ["!block 1500", "m-2"]);
    assert_eq!(dials(&backend), 1);
}

#[tokio::test]
async fn a_message_that_nobody_ever_ends_closes_its_session_after_two_stalls() {
    let backends = three().await;
    let all: Vec<&Backend> = backends.iter().collect();
    let broker = over(&all, &[SHORT, NO_PROBE, "stall_timeout = \"800ms\""]).start().await;
    let mut client = Client::connect(broker.address()).await;
    client.send("!stop-reading").await;
    let (code, reason) = client.closed().await;
    assert_eq!(code, Some(1013), "{reason}");
    assert_eq!(times(&all, "!stop-reading"), 2);
    assert_eq!(all.iter().map(|backend| dials(backend)).sum::<usize>(), 2, "no third service");
}

/// A process that was stopped for other reasons: each session has its own message, and each is handled once more.
#[tokio::test]
async fn the_message_of_a_stopped_process_is_not_to_blame() {
    let backends = three().await;
    let broker = over(&[&backends[0], &backends[1]], &[SHORT]).start().await;
    let (mut client, home, other) = at_home(&broker, [&backends[0], &backends[1]]).await;
    home.signal(Signal::SIGSTOP);
    client.ask("m-2", &format!("{}:m-2", other.name())).await;
    broker.wait_at_rest().await;
    // The session can leave a second time, since its message was acknowledged.
    home.signal(Signal::SIGCONT);
    other.signal(Signal::SIGSTOP);
    client.ask("m-3", &format!("{}:m-3", home.name())).await;
    other.signal(Signal::SIGCONT);
}
