//! A rolling deploy: each backend in turn is drained, replaced and given back.

use std::time::Duration;

use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::process::raise_descriptor_limit;

use crate::crowd::Crowd;
use crate::scene::nothing_has_gone_wrong;

const CLIENTS: usize = 500;

#[tokio::test]
async fn every_backend_is_replaced_under_500_streaming_clients() {
    raise_descriptor_limit(2 * CLIENTS as u64 + 200);
    let flags = format!("--descriptors {}", 2 * CLIENTS + 200);
    let names = ["a", "b", "c"];
    let mut backends = Vec::new();
    for name in names {
        backends.push(Backend::start(name, &flags).await);
    }
    let backends: Vec<&Backend> = backends.iter().collect();
    let broker = Broker::start(&backends).await;
    let crowd = Crowd::gather(&broker, CLIENTS, 1, Duration::from_millis(300)).await;
    let mut moves = 0;
    for backend in &backends {
        let sessions = broker.backend(backend.name()).await.expect("listed")["sessions"].as_u64();
        moves += sessions.expect("a count");
        let status = broker.command(&["drain", backend.name(), "--wait"]).wait_exit().await;
        assert!(status.success(), "drain {}: {status}", backend.name());
        let before = backend.id();
        backend.restart().await;
        assert_ne!(backend.id(), before, "another process");
        let status = broker.command(&["undrain", backend.name()]).wait_exit().await;
        assert!(status.success(), "undrain {}: {status}", backend.name());
        broker.wait_state(backend.name(), "up").await;
        crowd.goes_on(CLIENTS).await;
    }
    assert_eq!(broker.sessions().await.len(), CLIENTS);
    assert_eq!(broker.metric("steadfast_moves_total", &[("outcome", "moved")]).await, moves as f64);
    assert_eq!(broker.metric("steadfast_failovers_total", &[]).await, moves as f64);
    nothing_has_gone_wrong(&broker).await;
    assert_eq!(crowd.hush(&backends).await, (0, 0), "arrived or answered twice");
}
