//! The list of all metrics. `docs/configuration.md` has a table of them for users; a test holds it against this.

use metrics::Unit;
use steadfast_protocol::session::{Failure, MoveOutcome};

use super::labels::{
    AnswerOutcome, CheckOutcome, DenialReason, DialWord, Flow, HangUpWord, HeaderWord, Limit, LookWord,
    PressWord, ReloadOutcome, Side, StickyWord, TlsWord, VerdictWord,
};
use super::{Counter, Gauge, Histogram, Metric};
use crate::words::names;

/// Defines each metric, and the list of all.
macro_rules! list {
    ($($name:ident: $type:ty = $value:expr;)+) => {
        $(pub(crate) static $name: $type = $value;)+

        /// Every metric.
        pub(crate) static ALL: &[&Metric] = &[$(&$name.0),+];
    };
}

/// A pool's name.
type Pool = String;
/// How a backend is called in counters, or its name.
type Backend = String;
/// A word of an enum that stands further up.
type Text = &'static str;

list! {
    // Sessions.
    SESSIONS: Gauge<()> = Gauge::new("steadfast_sessions", &[], "Sessions now");
    SESSIONS_BEGUN: Counter<()> = Counter::new("steadfast_sessions_total", &[], "Sessions begun");
    SESSION_ENDS: Counter<Text> =
        Counter::new("steadfast_session_ends_total", &["cause"], "Sessions ended, by cause");
    RESUMES: Counter<()> =
        Counter::new("steadfast_resumes_total", &[], "Clients that came back to their sessions").at_zero(&[]);
    FAILOVERS: Counter<Failure> =
        Counter::new("steadfast_failovers_total", &["reason"], "Backends left by a session, by reason")
            .at_zero(&[failures]);
    ORPHANED: Counter<Failure> = Counter::new(
        "steadfast_orphaned_total",
        &["reason"],
        "Backends left by sessions whose clients are to reconnect, by reason",
    );
    FAILOVER_PAUSE: Histogram = Histogram::new(
        "steadfast_failover_pause_seconds",
        Unit::Seconds,
        "From a backend's failure until the next is linked",
    );
    MOVES: Counter<MoveOutcome> =
        Counter::new("steadfast_moves_total", &["outcome"], "Planned moves ended, by outcome")
            .at_zero(&[moves]);
    OPERATIONS: Counter<(Text, Text)> =
        Counter::new("steadfast_operations_total", &["kind", "state"], "Operations ended, by kind and how")
            .at_zero_by_words();
    PROTOCOL_ERRORS: Counter<(Side, String)> = Counter::new(
        "steadfast_protocol_errors_total",
        &["side", "code"],
        "Breaches of the protocol, by side and close code",
    )
    .at_zero(&[names::<Side>, || vec!["1002", "1009", "4400"]]);
    UNFIT: Counter<()> =
        Counter::new("steadfast_unfit_total", &[], "Times that a backend talked and answered no ping")
            .at_zero(&[]);
    UNSAVEABLE: Counter<()> = Counter::new(
        "steadfast_unsaveable_total",
        &[],
        "Sessions with a profile whose conversation cannot be repeated",
    )
    .at_zero(&[]);
    POISON: Counter<()> =
        Counter::new("steadfast_poison_total", &[], "Messages held to be killers, with their sessions ended")
            .at_zero(&[]);

    // Messages: sums of the sessions' ledgers.
    FORWARDED: Counter<Flow> =
        Counter::new("steadfast_messages_forwarded_total", &["direction"], "Whole messages taken over");
    ACKNOWLEDGED: Counter<Flow> = Counter::new(
        "steadfast_messages_acknowledged_total",
        &["direction"],
        "Messages that a backend has read",
    );
    REPLAYED: Counter<()> = Counter::new(
        "steadfast_messages_replayed_total",
        &[],
        "Messages written again, to another backend",
    );
    REPEATED: Counter<()> = Counter::new(
        "steadfast_messages_repeated_total",
        &[],
        "Messages said again to another backend by a profile, though one had acknowledged them",
    );
    SUPPRESSED: Counter<()> = Counter::new(
        "steadfast_messages_suppressed_total",
        &[],
        "Half messages of dead backends, and second answers, kept from clients",
    );
    LOST: Counter<Flow> = Counter::new(
        "steadfast_messages_lost_total",
        &["direction"],
        "Messages not delivered before their session ended",
    );
    IN_DOUBT: Counter<()> = Counter::new(
        "steadfast_messages_in_doubt_total",
        &[],
        "Messages answered perhaps twice, or perhaps not at all",
    );

    // Memory and limits.
    UNACKNOWLEDGED: Gauge<()> = Gauge::new(
        "steadfast_unacknowledged_bytes",
        &[],
        "Bytes in replay rings: not acknowledged, held, or still open",
    )
    .in_unit(Unit::Bytes);
    BUFFERED: Gauge<()> =
        Gauge::new("steadfast_buffered_bytes", &[], "Bytes of messages that all sessions hold")
            .in_unit(Unit::Bytes);
    PRESSED: Counter<PressWord> = Counter::new(
        "steadfast_pressed_total",
        &["reason"],
        "Sessions ended for others, by reason",
    )
    .at_zero(&[names::<PressWord>]);
    LIMIT_HITS: Counter<Limit> =
        Counter::new("steadfast_limit_hits_total", &["limit"], "Times that a limit was reached")
            .at_zero(&[names::<Limit>]);
    LOG_LINES_DROPPED: Counter<()> = Counter::new(
        "steadfast_log_lines_dropped_total",
        &[],
        "Lines of the log that were dropped, since nobody read those before them",
    )
    .at_zero(&[]);

    // Handshakes.
    HANDSHAKE_ERRORS: Counter<()> = Counter::new(
        "steadfast_handshake_errors_total",
        &[],
        "Connections that brought no readable request",
    )
    .at_zero(&[]);
    PROXY_HEADERS: Counter<HeaderWord> = Counter::new(
        "steadfast_proxy_headers_total",
        &["outcome"],
        "Connections to listeners with a PROXY header, by what it was",
    )
    .at_zero(&[names::<HeaderWord>]);
    TLS_HANDSHAKES: Counter<TlsWord> = Counter::new(
        "steadfast_tls_handshakes_total",
        &["outcome"],
        "Connections to listeners with TLS, by what the handshake came to",
    )
    .at_zero(&[names::<TlsWord>]);
    BALANCER_LOOKS: Counter<LookWord> = Counter::new(
        "steadfast_balancer_checks_total",
        &["by"],
        "Balancers' checks of listeners for clients, by how they are made",
    )
    .at_zero(&[names::<LookWord>]);
    HTTP_REQUESTS: Counter<Text> = Counter::new(
        "steadfast_http_requests_total",
        &["code"],
        "Requests other than upgrades, by the class of their answers",
    );
    REFUSED_UPGRADES: Counter<String> = Counter::new(
        "steadfast_refused_upgrades_total",
        &["status"],
        "Upgrades answered with something else, by status",
    );
    DENIED: Counter<DenialReason> =
        Counter::new("steadfast_denied_total", &["reason"], "Upgrades denied, by reason")
            .at_zero(&[names::<DenialReason>]);
    NO_BACKEND: Counter<()> =
        Counter::new("steadfast_no_backend_total", &[], "Upgrades for which no backend could be reached")
            .at_zero(&[]);
    LISTENER_PAUSED: Gauge<String> = Gauge::new(
        "steadfast_listener_paused",
        &["listener"],
        "1 for a listener that takes no new sessions, else 0",
    );
    CERTIFICATE_EXPIRES: Gauge<(String, String)> = Gauge::new(
        "steadfast_certificate_expires_seconds",
        &["listener", "certificate"],
        "Until a listener's certificate expires; less than zero: since then",
    )
    .in_unit(Unit::Seconds);

    // Pools and backends.
    DIALS: Counter<(Pool, Backend, DialWord)> = Counter::new(
        "steadfast_dials_total",
        &["pool", "backend", "outcome"],
        "Dials of backends, by outcome",
    );
    HANG_UPS: Counter<(Pool, Backend, HangUpWord)> = Counter::new(
        "steadfast_hang_ups_total",
        &["pool", "backend", "verdict"],
        "Dials on which a backend hung up without an answer, by verdict on the request",
    );
    PROBES: Counter<Pool> =
        Counter::new("steadfast_probes_total", &["pool"], "Backends that were asked for a sign of life");
    STICKY: Counter<(Pool, StickyWord)> = Counter::new(
        "steadfast_sticky_total",
        &["pool", "outcome"],
        "Requests to sticky pools that a backend has answered, by what they said and where they went",
    );
    QUEUE_LENGTH: Gauge<Pool> =
        Gauge::new("steadfast_queue_length", &["pool"], "Sessions that wait for a place in a pool");
    QUEUE_TIMEOUTS: Counter<Pool> =
        Counter::new("steadfast_queue_timeouts_total", &["pool"], "Sessions that waited in vain");
    BACKEND_REQUESTS: Gauge<(Pool, Backend)> = Gauge::new(
        "steadfast_backend_requests",
        &["pool", "backend"],
        "Requests other than upgrades that a backend is answering",
    );
    BACKEND_SESSIONS: Gauge<(Pool, Backend)> = Gauge::new(
        "steadfast_backend_sessions",
        &["pool", "backend"],
        "Sessions on a backend, dials included",
    );
    BACKEND_RESERVED: Gauge<(Pool, Backend)> = Gauge::new(
        "steadfast_backend_reserved",
        &["pool", "backend"],
        "Clients that were sent to a backend and count as sessions of it for a while",
    );
    REDIRECTS: Counter<(Pool, Backend)> =
        Counter::new("steadfast_redirects_total", &["pool", "backend"], "Clients that were sent to a backend");
    BACKEND_WEIGHT: Gauge<(Pool, Backend)> = Gauge::new(
        "steadfast_backend_weight",
        &["pool", "backend"],
        "A backend's present weight, with all that changes it",
    );
    BACKEND_STATE: Gauge<(Pool, Backend, Text)> = Gauge::new(
        "steadfast_backend_state",
        &["pool", "backend", "state"],
        "1 for the state in which a backend is, 0 for the others",
    );
    BACKEND_STATE_CHANGES: Counter<(Pool, Backend, Text)> = Counter::new(
        "steadfast_backend_state_changes_total",
        &["pool", "backend", "state"],
        "Times that a backend came to a state",
    );
    EJECTIONS: Counter<()> =
        Counter::new("steadfast_ejections_total", &[], "Backends ejected for failures").at_zero(&[]);
    VERDICTS: Counter<(Pool, Backend, VerdictWord)> = Counter::new(
        "steadfast_failure_verdicts_total",
        &["pool", "backend", "verdict"],
        "Failures that have waited for evidence, by whom they speak of",
    );
    DRAIN_REQUESTS: Counter<(Pool, Backend, Text)> = Counter::new(
        "steadfast_drain_requests_total",
        &["pool", "backend", "reason"],
        "Times that a backend began to ask to be drained",
    );
    HEALTH_CHECKS: Counter<(Pool, Backend, CheckOutcome)> = Counter::new(
        "steadfast_health_checks_total",
        &["pool", "backend", "outcome"],
        "Health checks, by outcome",
    );
    AGENT_CHECKS: Counter<(Pool, Backend, AnswerOutcome)> = Counter::new(
        "steadfast_agent_checks_total",
        &["pool", "backend", "outcome"],
        "Agents asked, by outcome",
    );
    DNS_LOOKUPS: Counter<AnswerOutcome> =
        Counter::new("steadfast_dns_lookups_total", &["outcome"], "DNS lookups, by outcome")
            .at_zero(&[names::<AnswerOutcome>]);

    // The configuration.
    RELOADS: Counter<ReloadOutcome> =
        Counter::new("steadfast_reloads_total", &["outcome"], "Reloads of the configuration, by outcome")
            .at_zero(&[names::<ReloadOutcome>]);
    LAST_RELOAD: Gauge<()> = Gauge::new(
        "steadfast_reload_last_success_timestamp_seconds",
        &[],
        "When the configuration was last reloaded",
    );
}

/// Why backends are left. No process goes on with sessions of another one yet.
fn failures() -> Vec<&'static str> {
    Failure::ALL.into_iter().filter(|failure| *failure != Failure::Restored).map(Failure::name).collect()
}

fn moves() -> Vec<&'static str> {
    MoveOutcome::ALL.map(MoveOutcome::name).to_vec()
}
