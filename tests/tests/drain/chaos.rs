//! Operations and failures in any order, while everybody talks.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use steadfast_tests::backend::Backend;
use steadfast_tests::broker::Broker;
use steadfast_tests::payload::noise;
use steadfast_tests::wait::eventually_async;

use crate::crowd::Crowd;
use crate::scene::POOL;

const CLIENTS: usize = 60;
const STEPS: usize = 60;

/// One step: what happens, and to which backend.
#[derive(Debug, Clone, Copy)]
enum Step {
    Drain { force: bool },
    GiveBack,
    Disable,
    Failover,
    Rebalance,
    CancelLast,
    ResumeLast,
    Kill,
    Stop,
}

impl Step {
    fn of(byte: u8) -> Self {
        match byte % 16 {
            0..=2 => Self::Drain { force: false },
            3 => Self::Drain { force: true },
            4..=6 => Self::GiveBack,
            7 => Self::Disable,
            8 => Self::Failover,
            9 | 10 => Self::Rebalance,
            11 => Self::CancelLast,
            12 => Self::ResumeLast,
            13 | 14 => Self::Kill,
            _ => Self::Stop,
        }
    }

    /// It leaves its backend out of service.
    fn takes_out(self) -> bool {
        matches!(self, Self::Drain { .. } | Self::Disable)
    }

    /// Does it; what it has begun may go on.
    async fn take(self, broker: &Broker, backend: &Backend, crowd: &Crowd) {
        let own = format!("{POOL}/backends/{}", backend.name());
        match self {
            Self::Drain { force } => {
                order(broker, &format!("{own}/drain"), &json!({ "force": force })).await;
            }
            Self::GiveBack => give_back(broker, backend).await,
            Self::Disable => order(broker, &format!("{own}/disable"), &Value::Null).await,
            Self::Failover => order(broker, &format!("{own}/failover"), &json!({})).await,
            Self::Rebalance => order(broker, &format!("{POOL}/rebalance"), &json!({ "tolerance": 0 })).await,
            Self::CancelLast => order_last(broker, "cancel").await,
            Self::ResumeLast => order_last(broker, "resume").await,
            Self::Kill => backend.restart().await,
            Self::Stop => {
                backend.signal(Signal::SIGSTOP);
                crowd.goes_on(CLIENTS).await;
                backend.signal(Signal::SIGCONT);
            }
        }
    }
}

/// It may be refused, with a reason.
async fn order(broker: &Broker, path: &str, body: &Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = broker.change("POST", path, &body).await;
    assert!([200, 202, 409].contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
}

async fn order_last(broker: &Broker, change: &str) {
    let all = broker.get_json("/api/v1/operations").await;
    let first = all["operations"].as_array().and_then(|all| all.first()).map(|own| own["id"].clone());
    if let Some(id) = first.as_ref().and_then(Value::as_str) {
        order(broker, &format!("/api/v1/operations/{id}/{change}"), &Value::Null).await;
    }
}

/// It is neither drained nor disabled any more.
async fn give_back(broker: &Broker, backend: &Backend) {
    for change in ["undrain", "enable"] {
        order(broker, &format!("{POOL}/backends/{}/{change}", backend.name()), &Value::Null).await;
    }
}

/// Nothing runs any more, and all backends are there.
async fn calm(broker: &Broker, backends: &[&Backend]) {
    let all = broker.get_json("/api/v1/operations").await;
    for own in all["operations"].as_array().expect("a list of operations") {
        let id = own["id"].as_str().expect("an id");
        order(broker, &format!("/api/v1/operations/{id}/cancel"), &Value::Null).await;
    }
    for backend in backends {
        give_back(broker, backend).await;
    }
}

/// The sessions that the broker counts on all backends.
async fn seats(broker: &Broker) -> u64 {
    let body = broker.get_json("/api/v1/backends").await;
    let all = body["backends"].as_array().expect("a list of backends");
    all.iter().filter_map(|own| own["sessions"].as_u64()).sum()
}

#[tokio::test]
async fn whatever_happens_nothing_is_lost_and_nobody_is_closed() {
    let mut backends = Vec::new();
    for name in ["a", "b", "c"] {
        backends.push(Backend::start(name, "").await);
    }
    let backends: Vec<&Backend> = backends.iter().collect();
    let quick =
        "quiet = \"30ms\"\nquiet_max = \"100ms\"\npatience = \"100ms\"\nhold = \"200ms\"\nrate = 1000";
    let broker = Broker::over(&backends).setting("drain", quick).setting("failover", "stable = \"50ms\"");
    // Deaths are many here, and no message's fault.
    let broker = broker.setting("poison", "deaths = 1000").pool_setting("ack_timeout = \"500ms\"");
    let broker = broker.start().await;
    let crowd = Crowd::gather(&broker, CLIENTS, 3, Duration::from_millis(20)).await;
    for bytes in noise(2 * STEPS, 11).chunks(2) {
        let (step, at) = (Step::of(bytes[0]), usize::from(bytes[1]));
        if step.takes_out() {
            // Sessions without any backend to go to would rightly be closed in the end.
            give_back(&broker, backends[(at + 1) % backends.len()]).await;
        }
        step.take(&broker, backends[at % backends.len()], &crowd).await;
        crowd.goes_on(6 * CLIENTS).await;
    }
    calm(&broker, &backends).await;
    crowd.goes_on(4 * CLIENTS).await;
    let settled = async || (seats(&broker).await == CLIENTS as u64).then_some(());
    eventually_async("a seat for each session, and no more", settled).await;
    assert_eq!(broker.ended().await, Vec::<Value>::new(), "no session has ended");
    assert_eq!(broker.metric("steadfast_messages_lost_total", &[]).await, 0.0);
    let (arrived_twice, answered_twice) = crowd.hush(&backends).await;
    broker.wait_sessions(0).await;
    assert_eq!(seats(&broker).await, 0);
    let in_doubt = broker.metric("steadfast_messages_in_doubt_total", &[]).await;
    let replayed = broker.metric("steadfast_messages_replayed_total", &[]).await;
    assert!(arrived_twice as f64 <= replayed, "{arrived_twice} arrived twice, {replayed} were replayed");
    assert!(answered_twice as f64 <= in_doubt, "{answered_twice} answered twice, {in_doubt} in doubt");
}
