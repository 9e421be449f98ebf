//! What is told of sessions: log lines and counters for what happens to them, and one access line
//! at the end of each.

use std::net::SocketAddr;
use std::sync::Arc;

use steadfast_protocol::session::{Event, Failure};
use steadfast_protocol::steadfast_v1::CLOSE_BREACH;
use steadfast_protocol::websocket::close_code::CloseCode;

use crate::clock;
use crate::metric::{self, PressWord, Side};
use crate::session::registry::{Core, Entry};
use crate::upstream::backend::Backend;

/// Told once for each pool, of the first such session.
const UNSAVEABLE: &str = "what this client has said cannot be repeated to another backend: it is closed, to reconnect, when \
                          its own is left; more such sessions of the pool are counted in steadfast_unsaveable_total";

/// Logs and counts what has happened to a session.
pub(super) fn event(entry: &Entry, backend: Option<&Arc<Backend>>, event: &Event) {
    let (session, pool) = (entry.name(), &*entry.binding.pool.name);
    let backend = backend.map_or("-", |backend| backend.name.as_str());
    match event {
        Event::Failed(Failure::Planned) => {
            metric::FAILOVERS.count(Failure::Planned);
            tracing::debug!(session, pool, backend, "session leaves");
        }
        Event::Failed(failure) => {
            metric::FAILOVERS.count(*failure);
            tracing::info!(session, pool, backend, reason = failure.name(), "backend failed");
        }
        Event::Orphaned(failure) => {
            metric::ORPHANED.count(*failure);
            tracing::info!(
                session,
                pool,
                backend,
                reason = failure.name(),
                "backend failed; the client is to reconnect"
            );
        }
        Event::Linked { pause, replayed } => {
            metric::FAILOVER_PAUSE.record(pause.as_secs_f64());
            tracing::info!(
                session,
                pool,
                backend,
                pause_ms = pause.as_secs_f64() * 1e3,
                replayed,
                "session moved"
            );
        }
        Event::Fit | Event::Unproven => {}
        Event::SlowPong(took) => {
            tracing::debug!(session, pool, backend, took_ms = took.as_millis() as u64, "a pong was slow");
        }
        Event::Unfit => {
            metric::UNFIT.count(());
            tracing::warn!(
                session,
                pool,
                backend,
                "backend talks but answers no ping: unfit for ack = \"pong\"; this session runs as \"none\" on it"
            );
        }
        Event::MoveEnded { outcome, .. } => {
            metric::MOVES.count(*outcome);
            tracing::debug!(session, pool, backend, outcome = outcome.name(), "planned move ended");
        }
        Event::Poison { seq, bytes } => {
            metric::POISON.count(());
            tracing::error!(
                session,
                pool,
                backend,
                seq,
                bytes,
                "dead letter: a message failed every backend it reached alone"
            );
        }
        Event::ClientViolation(violation) => {
            protocol_error(Side::Client, violation.close_code());
            tracing::info!(session, pool, client = %entry.client(), %violation, "client broke the protocol");
        }
        Event::ClientBreach(why) => {
            protocol_error(Side::Client, CLOSE_BREACH);
            tracing::info!(session, pool, client = %entry.client(), why, "client broke steadfast.v1");
        }
        Event::ServiceBreach(breach) => {
            protocol_error(Side::Backend, CLOSE_BREACH);
            let why = breach.sentence();
            tracing::warn!(session, pool, backend, breach = breach.name(), why, "service broke steadfast.v1");
        }
        Event::Parting => tracing::info!(session, pool, backend, "backend says that it goes away"),
        Event::Denied => {
            tracing::info!(session, pool, backend, "backend does not take the client as the one before did");
        }
        Event::Unsaveable(why) => {
            metric::UNSAVEABLE.count(());
            if entry.binding.pool.is_first_unsaveable() {
                tracing::warn!(session, pool, backend, why, "{UNSAVEABLE}");
            } else {
                tracing::debug!(session, pool, backend, why, "a conversation cannot be repeated");
            }
        }
        Event::BackendViolation(violation) => {
            protocol_error(Side::Backend, violation.close_code());
            tracing::warn!(session, pool, backend, %violation, "backend broke the protocol");
        }
    }
}

/// The client owes an answer, and its connection is looked at.
pub(super) fn client_is_silent(entry: &Entry) {
    let (session, pool) = (entry.name(), &*entry.binding.pool.name);
    tracing::debug!(session, pool, client = %entry.client(), "client is silent");
}

/// No message of the session's is suspected any more.
pub(super) fn suspects_cleared(entry: &Entry, backend: Option<&Arc<Backend>>) {
    let (session, pool) = (entry.name(), &*entry.binding.pool.name);
    let backend = backend.map_or("-", |backend| backend.name.as_str());
    tracing::info!(session, pool, backend, "suspects cleared");
}

fn protocol_error(side: Side, code: CloseCode) {
    metric::PROTOCOL_ERRORS.count((side, code.to_string()));
}

/// A session's client is back on another connection, from this address.
pub(super) fn returned(entry: &Entry, client: SocketAddr) {
    metric::RESUMES.count(());
    tracing::info!(session = entry.name(), pool = &*entry.binding.pool.name, %client, "client is back");
}

/// It has to end for others, and gives back so many bytes.
pub(super) fn pressed(entry: &Entry, why: PressWord, bytes: usize) {
    let (session, pool) = (entry.name(), &*entry.binding.pool.name);
    tracing::info!(session, pool, client = %entry.client(), why = why.name(), bytes, "session ends for others");
}

/// The access line. A session that has not come to its end is cut with the broker's.
pub(super) fn ended(entry: &Entry, core: &Core, last: Option<&str>) {
    let (cause, code) = core.machine.ended().map_or(("cut", None), |end| (end.cause.name(), end.code));
    let ledger = core.machine.ledger();
    let present = core.lease.as_ref().map(|lease| lease.backend().name.as_str());
    let backend = present.or(last);
    entry.binding.pool.ends.count(&metric::SESSION_ENDS, cause);
    tracing::info!(
        session = entry.name(),
        client = %entry.client(),
        listener = %entry.binding.address,
        pool = &*entry.binding.pool.name,
        route = entry.binding.route.as_deref(),
        backend = backend.unwrap_or("-"),
        cause,
        code = code.map(u16::from),
        duration_ms = clock::now().since(entry.began).as_millis() as u64,
        failovers = core.machine.failovers(),
        moves = core.machine.moves(),
        upstream = ledger.upstream.forwarded,
        acknowledged = ledger.upstream.acknowledged,
        replayed = ledger.upstream.replayed,
        repeated = ledger.upstream.repeated,
        in_doubt = ledger.upstream.in_doubt,
        lost_upstream = ledger.upstream.lost,
        downstream = ledger.downstream.forwarded,
        suppressed = ledger.downstream.suppressed,
        lost_downstream = ledger.downstream.lost,
        "session ended"
    );
}
