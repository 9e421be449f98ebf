//! A counter's state survives its host's death, and its clients' connections.

use steadfast_tests::broker::{Broker, BrokerBuilder};
use steadfast_tests::proxy::Proxy;
use steadfast_tests::service::Service;

use crate::load::Crowd;

const KILLS: usize = 100;
const CUTS: usize = 100;

/// Hosts that die faster than hosts do: what the broker does to spare clients those that fail all the time
/// is not the subject.
const FORGIVING: &str =
    "stable = \"0s\"\nbackoff_max = \"100ms\"\npenalty_min = \"0s\"\npenalty_max = \"0s\"";

fn over(services: &[&Service]) -> BrokerBuilder {
    let builder = Broker::over(&[])
        .pool_setting("ack = \"shim\"")
        .pool_table("[pool.outlier]\nfailures = 0")
        .setting("failover", FORGIVING)
        .setting("poison", "deaths = 1000");
    services.iter().fold(builder, |builder, service| builder.pool_table(&service.table()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_killed_again_and_again_and_every_count_is_right() {
    let hosts = [Service::start("a", "counter").await, Service::start("b", "counter").await];
    let broker = over(&[&hosts[0], &hosts[1]]).start().await;
    let crowd = Crowd::start(&format!("ws://{}/", broker.address()), 20);
    crowd.wait_answers(10).await;
    for kill in 0..KILLS {
        // The sessions are all on the other one after the first.
        hosts[kill % 2].kill();
        crowd.wait_answers(3).await;
        hosts[kill % 2].restart().await;
    }
    let counted = crowd.finish().await;
    assert!(counted >= 20 * KILLS * 3);
    let failovers = broker.metric("steadfast_failovers_total", &[]).await;
    assert!(failovers >= KILLS as f64, "{failovers} failovers");
    assert_eq!(broker.metric("steadfast_resumes_total", &[]).await, 0.0, "no client has noticed anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clients_connection_is_cut_again_and_again_while_its_backend_changes() {
    let hosts = [Service::start("a", "counter").await, Service::start("b", "counter").await];
    let broker = over(&[&hosts[0], &hosts[1]]).setting("drain", "quiet = \"10ms\"").start().await;
    let proxy = Proxy::start(broker.address()).await;
    let crowd = Crowd::start(&format!("ws://{}/", proxy.address()), 5);
    crowd.wait_answers(3).await;
    for cut in 0..CUTS {
        let host = &hosts[cut / 10 % 2];
        match cut % 10 {
            3 => host.restart().await,
            6 => order(&broker, host.name(), "drain").await,
            9 => order(&broker, host.name(), "undrain").await,
            _ => {}
        }
        proxy.cut();
        crowd.wait_answers(3).await;
    }
    crowd.finish().await;
    // A client knows of its end a moment before the broker has counted it.
    broker.wait_sessions(0).await;
    let resumes = broker.metric("steadfast_resumes_total", &[]).await;
    assert!(resumes >= CUTS as f64, "{resumes} resumes");
    assert_eq!(broker.ends().await, 5.0, "no session but the clients' own");
}

async fn order(broker: &Broker, name: &str, what: &str) {
    let answer = broker.post(&format!("/api/v1/pools/default/backends/{name}/{what}")).await;
    assert!(answer.status < 300, "{what} {name}: {}", answer.text());
}

#[tokio::test]
async fn a_service_that_takes_only_brokers_passes_its_checks() {
    let host = Service::start("a", "counter").await;
    let check = "[pool.health]\ntype = \"websocket\"\ninterval = \"50ms\"";
    let broker = over(&[&host]).pool_table(check).start().await;
    let good = [("outcome", "passed")];
    broker.wait_metric("steadfast_health_checks_total", &good, |passed| passed >= 2.0).await;
    assert_eq!(broker.metric("steadfast_health_checks_total", &[("outcome", "failed")]).await, 0.0);
    let crowd = Crowd::start(&format!("ws://{}/", broker.address()), 1);
    crowd.wait_answers(1).await;
    crowd.finish().await;
}
