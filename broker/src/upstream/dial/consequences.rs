//! What follows of a dial for its backend: what is counted, logged, and held against it. The search decides about the
//! session.

use std::io;
use std::net::IpAddr;

use crate::clock;
use crate::metric::{self, DialWord, Limit};
use crate::net::connect::is_used_up;
use crate::pace::Pace;
use crate::upstream::backend::Backend;
use crate::upstream::health::docket::{Failing, Mishap, Occasion};
use crate::upstream::health::witness::Complaint;
use crate::upstream::manner::OVER_LIMIT;
use crate::upstream::pool::Pool;

static USED_UP: Pace = Pace::new();

static LOCAL: Pace = Pace::new();

static TOO_LONG: Pace = Pace::new();

/// Nothing speaks against the backend. Ports are counted for each, so others may still have some.
pub(in crate::upstream) fn local_fault(pool: &Pool, backend: &Backend, error: &io::Error) {
    metric::LIMIT_HITS.count(Limit::LocalDial);
    let (pool, backend, now) = (&*pool.name, &backend.name, clock::now());
    if is_used_up(error) {
        if let Some(left_out) = USED_UP.line(now) {
            tracing::warn!(pool, backend, %error, left_out, "{NO_PORT}");
        }
    } else if let Some(left_out) = LOCAL.line(now) {
        let sentence = "cannot dial for a reason of this machine's; raise its limits";
        tracing::warn!(pool, backend, %error, left_out, "{sentence}");
    }
}

const NO_PORT: &str = "cannot dial: no port is left toward this backend; give the pool more addresses of this machine in \
                       `source`";

/// The limit is ours, so nothing speaks against the backend; but as long as it holds, the session cannot go
/// there.
pub(super) fn over_limit(pool: &Pool, backend: &Backend) {
    metric::LIMIT_HITS.count(Limit::AnswerHeader);
    record(pool, backend, DialWord::Refused);
    if let Some(left_out) = TOO_LONG.line(clock::now()) {
        let (pool, backend) = (&*pool.name, &backend.name);
        tracing::warn!(pool, backend, why = OVER_LIMIT, left_out, "cannot read a backend's answer");
    }
}

/// A dial has failed. What is held against the backend is told elsewhere.
pub(super) fn failed(pool: &Pool, backend: &Backend, why: &str) {
    record(pool, backend, DialWord::Failed);
    tracing::debug!(pool = &*pool.name, backend = backend.name, why, "dial failed");
}

/// A backend cannot be reached: whoever was to go there has nothing to do with it, and it is tried last for a while.
pub(in crate::upstream) fn unreached(pool: &Pool, backend: &Backend, why: &str) {
    let now = clock::now();
    failed(pool, backend, why);
    backend.penalise(now);
    pool.failed(now, backend, Complaint::BROKERS);
}

/// A backend has not taken a request of this client's, which counts when another one does. `name` tells requests apart.
pub(in crate::upstream) fn testify(
    pool: &Pool,
    (name, client): (&str, IpAddr),
    backend: &Backend,
    (what, why): (Mishap, &str),
) {
    failed(pool, backend, why);
    let (at, when) = (clock::now(), Occasion::Handshake);
    let failure = Failing { backend: backend.id, at, what, when, young: true };
    pool.testify((name, client), failure, true);
}

pub(super) fn refused(pool: &Pool, backend: &Backend, why: &str) {
    record(pool, backend, DialWord::Refused);
    tracing::info!(pool = &*pool.name, backend = backend.name, why, "a backend refuses a session");
}

/// The backend has taken the session.
pub(super) fn linked(pool: &Pool, backend: &Backend) {
    backend.links.count(&metric::DIALS, || (pool.name.to_string(), backend.series(), DialWord::Linked));
}

pub(super) fn record(pool: &Pool, backend: &Backend, outcome: DialWord) {
    metric::DIALS.count((pool.name.to_string(), backend.series(), outcome));
}
