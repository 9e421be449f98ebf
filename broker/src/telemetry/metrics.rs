//! The figures for Prometheus. What happens rarely is counted when it happens; what happens with each
//! message is summed up from the sessions' ledgers when somebody asks.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::{KeyName, SharedString};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use steadfast_protocol::session::Ledger;
use steadfast_protocol::time::Time;

use crate::broker::Broker;
use crate::clock;
use crate::metric::{self, Flow, Metric, MetricKind};
use crate::operations::{OperationKind, OperationState};
use crate::routing::listener::ListenerId;
use crate::snapshot::Snapshot;
use crate::telemetry::logging;
use crate::upstream::backend::{Backend, BackendState};
use crate::words::Word;

/// Upper bounds of the pause histogram, in seconds.
const PAUSES: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Gauges are set anew whenever somebody asks; one that was not belongs to a backend that is gone.
const GONE: Duration = Duration::from_millis(100);

/// Renders the figures.
#[derive(Clone, Debug)]
pub(crate) struct Exporter(Option<PrometheusHandle>);

impl Exporter {
    /// Installs the recorder, once per process. A second broker in one process (a test) shares the
    /// first one's.
    pub(crate) fn install() -> Exporter {
        static HANDLE: std::sync::OnceLock<Option<PrometheusHandle>> = std::sync::OnceLock::new();
        Exporter(
            HANDLE
                .get_or_init(|| build().inspect_err(|error| tracing::error!(%error, "no metrics")).ok())
                .clone(),
        )
    }

    pub(crate) fn render(&self, broker: &Broker) -> String {
        collect(broker);
        self.0.as_ref().map_or_else(String::new, |handle| {
            handle.run_upkeep();
            handle.render()
        })
    }
}

fn build() -> Result<PrometheusHandle, BuildError> {
    let handle = builder()?.install_recorder()?;
    describe();
    begin_at_zero();
    Ok(handle)
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    let name = Matcher::Full(metric::FAILOVER_PAUSE.name().to_owned());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(name, &PAUSES)?;
    Ok(builder.idle_timeout(MetricKindMask::GAUGE, Some(GONE)))
}

/// Counters whose words are known are there from the start, so that a rise from nothing is seen as one.
fn begin_at_zero() {
    metric::ALL.iter().for_each(|metric| metric.begin());
    for kind in OperationKind::ALL {
        OperationState::ends()
            .for_each(|state| metric::OPERATIONS.of((kind.name(), state.name())).absolute(0));
    }
}

fn describe() {
    metrics::with_recorder(|recorder| {
        for Metric { name, kind, unit, help, .. } in metric::ALL {
            let (name, help) = (KeyName::from(*name), SharedString::from(*help));
            match kind {
                MetricKind::Counter => recorder.describe_counter(name, *unit, help),
                MetricKind::Gauge => recorder.describe_gauge(name, *unit, help),
                MetricKind::Histogram => recorder.describe_histogram(name, *unit, help),
            }
        }
    });
}

/// Sums up the sessions.
fn collect(broker: &Broker) {
    // What has ended first: a session that ends meanwhile is missed by one look, never counted
    // twice, and the next look makes up for it.
    let mut total = *broker.sessions.registry.past();
    let (mut unacknowledged, mut buffered) = (0, 0);
    for entry in broker.sessions.registry.all() {
        let core = entry.core();
        total += core.machine.ledger();
        unacknowledged += core.machine.unacknowledged();
        buffered += core.machine.buffered();
    }
    if let Some(at) = broker.reconfigured() {
        metric::LAST_RELOAD.set((), at.as_secs_f64());
    }
    metric::SESSIONS.set((), broker.sessions.registry.len() as f64);
    metric::UNACKNOWLEDGED.set((), unacknowledged as f64);
    metric::BUFFERED.set((), buffered as f64);
    metric::LOG_LINES_DROPPED.of(()).absolute(logging::dropped_lines());
    metric::SESSIONS_BEGUN.of(()).absolute(broker.sessions.registry.begun());
    publish(&total);
    let snapshot = broker.snapshot();
    for listener in broker.listeners() {
        publish_certificates(&snapshot, &listener);
        let paused = broker.pauses.is_paused(listener.number);
        metric::LISTENER_PAUSED.set(listener.address.to_string(), f64::from(paused));
    }
    let now = clock::now();
    for pool in snapshot.pools.values() {
        metric::QUEUE_LENGTH.set(pool.name.to_string(), pool.queue.waiting() as f64);
        for backend in &pool.snapshot().backends {
            publish_backend(backend, now);
        }
    }
}

fn publish_certificates(snapshot: &Snapshot, listener: &ListenerId) {
    let now = clock::wall();
    let mut left = BTreeMap::<&str, f64>::new();
    for certificate in snapshot.tls.certificates(listener.number) {
        let seconds = certificate.seconds_left(now);
        // Of several for one name, the one that is the first to expire.
        left.entry(&certificate.name).and_modify(|least| *least = least.min(seconds)).or_insert(seconds);
    }
    for (name, seconds) in left {
        metric::CERTIFICATE_EXPIRES.set((listener.address.to_string(), name.to_owned()), seconds);
    }
}

fn publish_backend(backend: &Backend, now: Time) {
    let view = backend.view(now);
    let (pool, name) = (backend.pool.to_string(), backend.name.clone());
    metric::BACKEND_SESSIONS.set((pool.clone(), name.clone()), backend.sessions_alone() as f64);
    metric::BACKEND_REQUESTS.set((pool.clone(), name.clone()), backend.requests.count() as f64);
    metric::BACKEND_RESERVED.set((pool.clone(), name.clone()), backend.reserved() as f64);
    metric::BACKEND_WEIGHT.set((pool.clone(), name.clone()), f64::from(view.weight) / 1000.0);
    for state in BackendState::ALL {
        let labels = (pool.clone(), name.clone(), state.name());
        metric::BACKEND_STATE.set(labels, f64::from(view.state == *state));
    }
}

fn publish(Ledger { upstream, downstream }: &Ledger) {
    for (flow, counts) in [(Flow::Upstream, upstream), (Flow::Downstream, downstream)] {
        metric::FORWARDED.of(flow).absolute(counts.forwarded);
        metric::LOST.of(flow).absolute(counts.lost);
    }
    metric::ACKNOWLEDGED.of(Flow::Upstream).absolute(upstream.acknowledged);
    metric::REPLAYED.of(()).absolute(upstream.replayed);
    metric::REPEATED.of(()).absolute(upstream.repeated);
    metric::IN_DOUBT.of(()).absolute(upstream.in_doubt);
    metric::SUPPRESSED.of(()).absolute(downstream.suppressed);
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn gauges_of_what_is_gone_are_forgotten() {
        let recorder = builder().expect("sound buckets").build_recorder();
        let handle = recorder.handle();
        let set = |name: &str| {
            metrics::with_local_recorder(&recorder, || metric::QUEUE_LENGTH.set(name.to_owned(), 1.0));
        };
        set("gone");
        assert!(handle.render().contains("gone"));
        let begun = Instant::now();
        loop {
            set("present");
            let text = handle.render();
            assert!(text.contains("present"));
            if !text.contains("gone") {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "it is never forgotten");
        }
    }

    #[test]
    fn what_starts_at_zero_is_there_before_it_is_counted() {
        let recorder = builder().expect("sound buckets").build_recorder();
        metrics::with_local_recorder(&recorder, || {
            describe();
            begin_at_zero();
        });
        let text = recorder.handle().render();
        let series = |metric: &Metric| {
            let is_its = |line: &&str| {
                let rest = line.strip_prefix(metric.name);
                rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
            };
            text.lines().filter(is_its).count()
        };
        for metric in metric::ALL {
            assert_eq!(series(metric) > 0, metric.starts_at_zero(), "{}:\n{text}", metric.name);
            let described = text.contains(&format!("# HELP {} {}\n", metric.name, metric.help));
            assert_eq!(described, metric.starts_at_zero(), "{}:\n{text}", metric.name);
        }
        for line in [
            r#"steadfast_failovers_total{reason="dead_connection"} 0"#,
            r#"steadfast_limit_hits_total{limit="answer_header"} 0"#,
            r#"steadfast_operations_total{kind="drain",state="expired"} 0"#,
            r#"steadfast_protocol_errors_total{side="backend",code="1009"} 0"#,
            "steadfast_handshake_errors_total 0",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in:\n{text}");
        }
    }
}
