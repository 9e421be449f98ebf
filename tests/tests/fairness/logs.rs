//! A log that nobody reads.

use futures::future::join_all;
use nix::sys::signal::Signal;
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::client::Client;
use steadfast_tests::upgrade::Upgrade;

/// More lines than a pipe and the queue before it hold together.
const LINES: usize = 9_500;

/// Clients that come at the same time.
const TOGETHER: usize = 50;

#[tokio::test]
async fn a_log_that_nobody_reads_stops_nobody() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).unread_log();
    let mut broker = broker.setting("shutdown", "delay = \"0s\"\ngrace = \"0s\"").start().await;
    let mut steady = Client::connect(broker.address()).await;
    // A pipe holds the lines of about two hundred sessions.
    for n in 0..300 {
        let mut client = Client::connect(broker.address()).await;
        client.ask(&n.to_string(), &format!("a:{n}")).await;
        client.close(1000, "").await;
    }
    steady.ask("on", "a:on").await;
    assert_eq!(broker.get("/readyz").await.status, 200);

    broker.signal(Signal::SIGTERM);
    steady.closed().await;
    assert!(broker.wait_exit().await.success(), "it ends although its last lines have no reader");
}

#[tokio::test]
async fn lines_for_which_there_is_no_room_are_dropped_and_counted() {
    let backend = Backend::start("a", "").await;
    let broker = Broker::over(&[&backend]).unread_log().start().await;
    assert_eq!(broker.metric("steadfast_log_lines_dropped_total", &[]).await, 0.0);
    let refused =
        async || Upgrade::to(broker.address()).replace("Sec-WebSocket-Version", "8").refused().await.status;
    for _ in 0..LINES / TOGETHER {
        let statuses = join_all((0..TOGETHER).map(|_| refused())).await;
        assert!(statuses.iter().all(|status| *status == 426), "{statuses:?}");
    }
    broker.wait_metric("steadfast_log_lines_dropped_total", &[], |lines| lines > 0.0).await;
}
