//! The figures for Prometheus. What happens rarely is counted when it happens; what happens with each
//! message is summed up from the sessions' ledgers when somebody asks.

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use steadfast_protocol::session::{Counts, MoveOutcome};
use steadfast_protocol::time::Time;

use crate::broker::Broker;
use crate::clock;
use crate::operations::{OperationKind, OperationState};
use crate::upstream::backend::{Backend, BackendState};
use crate::words::{Word, names};

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
    let name = Matcher::Full("steadfast_failover_pause_seconds".to_owned());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(name, &PAUSES)?;
    Ok(builder.idle_timeout(MetricKindMask::GAUGE, Some(GONE)))
}

/// Every counter is there from the start, so that a rise from nothing is seen as one.
fn begin_at_zero() {
    for limit in
        ["max_sessions", "max_handshakes", "ring", "buffers", "dials", "accept", "local_dial", "queue"]
    {
        metrics::counter!("steadfast_limit_hits_total", "limit" => limit).absolute(0);
    }
    for reason in [
        "eof",
        "reset",
        "close",
        "protocol",
        "silence",
        "slow_message",
        "breach",
        "cut",
        "planned",
        "ordered",
    ] {
        metrics::counter!("steadfast_failovers_total", "reason" => reason).absolute(0);
    }
    for side in ["client", "backend"] {
        for code in ["1002", "1009", "4400"] {
            metrics::counter!("steadfast_protocol_errors_total", "side" => side, "code" => code).absolute(0);
        }
    }
    for reason in ["network", "origin", "sessions", "rate", "hang_ups"] {
        metrics::counter!("steadfast_denied_total", "reason" => reason).absolute(0);
    }
    for outcome in ["applied", "refused"] {
        metrics::counter!("steadfast_reloads_total", "outcome" => outcome).absolute(0);
    }
    for outcome in ["answered", "failed"] {
        metrics::counter!("steadfast_dns_lookups_total", "outcome" => outcome).absolute(0);
    }
    for kind in names::<OperationKind>() {
        for state in OperationState::ends() {
            let labels = [("kind", kind), ("state", state.name())];
            metrics::counter!("steadfast_operations_total", &labels).absolute(0);
        }
    }
    for outcome in MoveOutcome::ALL.map(MoveOutcome::name) {
        metrics::counter!("steadfast_moves_total", "outcome" => outcome).absolute(0);
    }
    metrics::counter!("steadfast_ejections_total").absolute(0);
    metrics::counter!("steadfast_resumes_total").absolute(0);
    metrics::counter!("steadfast_no_backend_total").absolute(0);
    metrics::counter!("steadfast_unfit_total").absolute(0);
    metrics::counter!("steadfast_poison_total").absolute(0);
}

fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_gauge!("steadfast_sessions", "Sessions now");
    describe_gauge!("steadfast_listener_paused", "1 for a listener that takes no new sessions, else 0");
    describe_gauge!("steadfast_backend_sessions", "Sessions on a backend, dials included");
    describe_gauge!("steadfast_backend_state", "1 for the state in which a backend is, 0 for the others");
    describe_gauge!("steadfast_backend_weight", "A backend's present weight, with all that changes it");
    describe_counter!("steadfast_backend_state_changes_total", "Times that a backend came to a state");
    describe_counter!("steadfast_health_checks_total", "Health checks, by outcome");
    describe_counter!("steadfast_agent_checks_total", "Agents asked, by outcome");
    describe_counter!("steadfast_operations_total", "Operations ended, by kind and how");
    describe_counter!("steadfast_moves_total", "Planned moves ended, by outcome");
    describe_counter!("steadfast_ejections_total", "Backends ejected for failures");
    describe_counter!("steadfast_drain_requests_total", "Times that a backend began to ask to be drained");
    describe_gauge!("steadfast_queue_length", "Sessions that wait for a place in a pool");
    describe_counter!("steadfast_queue_timeouts_total", "Sessions that waited in vain");
    describe_counter!("steadfast_dns_lookups_total", "DNS lookups, by outcome");
    describe_counter!("steadfast_reloads_total", "Reloads of the configuration, by outcome");
    describe_gauge!(
        "steadfast_reload_last_success_timestamp_seconds",
        "When the configuration was last reloaded"
    );
    describe_counter!("steadfast_denied_total", "Upgrades denied at the door, by reason");
    describe_gauge!(
        "steadfast_unacknowledged_bytes",
        Unit::Bytes,
        "Bytes in replay rings: not acknowledged, held, or still open"
    );
    describe_gauge!("steadfast_buffered_bytes", Unit::Bytes, "Bytes that count against limits.buffers");
    describe_counter!("steadfast_sessions_total", "Sessions begun");
    describe_counter!("steadfast_session_ends_total", "Sessions ended, by cause");
    describe_counter!("steadfast_resumes_total", "Clients that came back to their sessions");
    describe_counter!("steadfast_failovers_total", "Backends left by a session, by reason");
    describe_histogram!(
        "steadfast_failover_pause_seconds",
        Unit::Seconds,
        "From a backend's failure until the next is linked"
    );
    describe_counter!("steadfast_messages_forwarded_total", "Whole messages taken over");
    describe_counter!("steadfast_messages_acknowledged_total", "Messages that a backend has read");
    describe_counter!("steadfast_messages_replayed_total", "Messages written again, to another backend");
    describe_counter!(
        "steadfast_messages_suppressed_total",
        "Half messages of dead backends, kept from clients"
    );
    describe_counter!("steadfast_messages_lost_total", "Messages not delivered before their session ended");
    describe_counter!(
        "steadfast_messages_in_doubt_total",
        "Messages answered perhaps twice, or perhaps not at all"
    );
    describe_counter!("steadfast_limit_hits_total", "Times that a limit was reached");
    describe_counter!("steadfast_protocol_errors_total", "Breaches of the protocol, by side and close code");
    describe_counter!("steadfast_dials_total", "Dials of backends, by outcome");
    describe_counter!(
        "steadfast_hang_ups_total",
        "Dials on which a backend hung up without an answer, by verdict on the request"
    );
    describe_counter!("steadfast_handshake_errors_total", "Connections that brought no readable request");
    describe_counter!("steadfast_no_backend_total", "Upgrades for which no backend could be reached");
    describe_counter!("steadfast_unfit_total", "Times that a backend talked and answered no ping");
    describe_counter!("steadfast_probes_total", "Backends that were asked for a sign of life");
    describe_counter!("steadfast_poison_total", "Messages held to be killers, with their sessions ended");
    describe_counter!("steadfast_refused_upgrades_total", "Upgrades answered with something else, by status");
}

/// Sums up the sessions.
fn collect(broker: &Broker) {
    // What has ended first: a session that ends meanwhile is missed by one look, never counted
    // twice, and the next look makes up for it.
    let mut total = *broker.sessions.registry.past();
    let mut unacknowledged = 0;
    for entry in broker.sessions.registry.all() {
        let core = entry.core();
        total += core.machine.ledger();
        unacknowledged += core.machine.unacknowledged();
    }
    if let Some(at) = broker.reconfigured() {
        metrics::gauge!("steadfast_reload_last_success_timestamp_seconds").set(at.as_secs_f64());
    }
    metrics::gauge!("steadfast_sessions").set(broker.sessions.registry.len() as f64);
    metrics::gauge!("steadfast_unacknowledged_bytes").set(unacknowledged as f64);
    metrics::gauge!("steadfast_buffered_bytes").set(broker.sessions.budget.used() as f64);
    metrics::counter!("steadfast_sessions_total").absolute(broker.sessions.registry.begun());
    for (direction, counts) in [("up", total.up), ("down", total.down)] {
        publish(direction, counts);
    }
    for listener in broker.listeners() {
        let paused = broker.pauses.is_paused(listener.number);
        metrics::gauge!("steadfast_listener_paused", "listener" => listener.address.to_string())
            .set(f64::from(paused));
    }
    let now = clock::now();
    for pool in broker.snapshot().pools.values() {
        metrics::gauge!("steadfast_queue_length", "pool" => pool.name.to_string())
            .set(pool.queue.waiting() as f64);
        for backend in &pool.snapshot().backends {
            publish_backend(backend, now);
        }
    }
}

fn publish_backend(backend: &Backend, now: Time) {
    let view = backend.view(now);
    let labels = [("pool", backend.pool.to_string()), ("backend", backend.name.clone())];
    metrics::gauge!("steadfast_backend_sessions", &labels).set(backend.sessions() as f64);
    metrics::gauge!("steadfast_backend_weight", &labels).set(f64::from(view.weight) / 1000.0);
    let [pool, name] = labels;
    for &state in BackendState::ALL {
        let labels = [pool.clone(), name.clone(), ("state", state.name().to_owned())];
        metrics::gauge!("steadfast_backend_state", &labels).set(f64::from(view.state == state));
    }
}

fn publish(direction: &'static str, counts: Counts) {
    let Counts { forwarded, acknowledged, replayed, suppressed, lost, in_doubt } = counts;
    metrics::counter!("steadfast_messages_forwarded_total", "direction" => direction).absolute(forwarded);
    metrics::counter!("steadfast_messages_lost_total", "direction" => direction).absolute(lost);
    if direction == "up" {
        metrics::counter!("steadfast_messages_acknowledged_total", "direction" => direction)
            .absolute(acknowledged);
        metrics::counter!("steadfast_messages_replayed_total").absolute(replayed);
        metrics::counter!("steadfast_messages_in_doubt_total").absolute(in_doubt);
    } else {
        metrics::counter!("steadfast_messages_suppressed_total").absolute(suppressed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn gauges_of_what_is_gone_are_forgotten() {
        let recorder = builder().expect("sound buckets").build_recorder();
        let handle = recorder.handle();
        let set = |name: &'static str| {
            metrics::with_local_recorder(&recorder, || metrics::gauge!("up", "backend" => name).set(1.0));
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
}
