//! Pools: which backends there are, how busy and how trustworthy each is, and which one is next.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use steadfast_protocol::session::{AckMode, Codes, Config};
use steadfast_protocol::time::Time;
use tokio::sync::Semaphore;

use crate::config::settings::{self, OnFailure, Settings};

/// A named set of backends, with what its sessions are promised.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) name: String,
    /// What its sessions are told.
    pub(crate) session: Arc<Config>,
    pub(crate) backends: Vec<Arc<Backend>>,
    /// Turns the order of equals, so that they get sessions in turn.
    turn: AtomicUsize,
}

/// One service, as all workers see it.
#[derive(Debug)]
pub(crate) struct Backend {
    /// Its place in its pool.
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Sessions on it, and dials that may become some.
    sessions: AtomicUsize,
    pub(crate) dials: AtomicU64,
    pub(crate) failures: AtomicU64,
    /// Dials in flight to it.
    pub(crate) dialing: Arc<Semaphore>,
    /// One session at a time replays suspects to it.
    pub(crate) suspects: Arc<Semaphore>,
    penalty: Mutex<Penalty>,
    penalty_min: Duration,
    penalty_max: Duration,
}

/// A backend that failed is tried last for a while.
#[derive(Debug, Default)]
struct Penalty {
    until: Option<Time>,
    in_a_row: u32,
}

/// A session's place on a backend; given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Backend>);

impl Pool {
    pub(crate) fn new(pool: &settings::Pool, settings: &Settings) -> Pool {
        let backend = |(index, backend)| Arc::new(Backend::new(index, backend, settings));
        Pool {
            name: pool.name.clone(),
            session: Arc::new(session_config(pool, settings)),
            backends: pool.backends.iter().enumerate().map(backend).collect(),
            turn: AtomicUsize::new(0),
        }
    }

    /// The best backend that `usable` allows: not the one `just_failed` and not penalised, if
    /// there is such a one, and among those the one with the fewest sessions. Takes a seat on it.
    pub(crate) fn pick(
        &self,
        now: Time,
        just_failed: Option<usize>,
        usable: impl Fn(usize) -> bool,
    ) -> Option<Seat> {
        let turn = self.turn.fetch_add(1, Relaxed);
        let count = self.backends.len();
        let rank = |backend: &&Arc<Backend>| {
            let order = (backend.index + count - turn % count) % count;
            let avoided = (just_failed == Some(backend.index), backend.is_penalised(now));
            (avoided, backend.sessions.load(Relaxed), order)
        };
        let best = self.backends.iter().filter(|backend| usable(backend.index)).min_by_key(rank)?;
        Some(Seat::new(best))
    }

    /// Whether a session of `backend` has somewhere better to go.
    pub(crate) fn has_other(&self, now: Time, backend: usize) -> bool {
        self.backends.iter().any(|other| other.index != backend && !other.is_penalised(now))
    }
}

impl Backend {
    fn new(index: usize, backend: &settings::Backend, settings: &Settings) -> Backend {
        Backend {
            index,
            name: backend.name.clone(),
            host: backend.host.clone(),
            port: backend.port,
            sessions: AtomicUsize::new(0),
            dials: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            dialing: Arc::new(Semaphore::new(settings.herd.dials_per_backend)),
            suspects: Arc::new(Semaphore::new(1)),
            penalty: Mutex::default(),
            penalty_min: settings.failover.penalty_min,
            penalty_max: settings.failover.penalty_max,
        }
    }

    pub(crate) fn sessions(&self) -> usize {
        self.sessions.load(Relaxed)
    }

    pub(crate) fn is_penalised(&self, now: Time) -> bool {
        self.penalty().until.is_some_and(|until| now < until)
    }

    /// It could not be reached, or fell silent.
    pub(crate) fn penalise(&self, now: Time) {
        self.failures.fetch_add(1, Relaxed);
        let mut penalty = self.penalty();
        if penalty.until.is_some_and(|until| now < until) {
            // A herd that fails together is one failure.
            return;
        }
        let time = self.penalty_min.saturating_mul(1 << penalty.in_a_row.min(16)).min(self.penalty_max);
        *penalty = Penalty { until: Some(now + time), in_a_row: penalty.in_a_row + 1 };
    }

    /// It has taken a session.
    pub(crate) fn absolve(&self) {
        *self.penalty() = Penalty::default();
    }

    fn penalty(&self) -> std::sync::MutexGuard<'_, Penalty> {
        self.penalty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    fn new(backend: &Arc<Backend>) -> Seat {
        backend.sessions.fetch_add(1, Relaxed);
        Seat(Arc::clone(backend))
    }

    pub(crate) fn backend(&self) -> &Arc<Backend> {
        &self.0
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Relaxed);
    }
}

fn session_config(pool: &settings::Pool, settings: &Settings) -> Config {
    let Settings { limits, timeouts, failover, poison, close_codes, herd, drain, .. } = settings;
    Config {
        ack: pool.ack,
        ack_hold: if pool.ack == AckMode::Pong { pool.ack_hold } else { Duration::ZERO },
        ack_timeout: pool.ack_timeout,
        failover: pool.on_failure == OnFailure::Failover,
        message_limit: u32::try_from(limits.message).unwrap_or(u32::MAX),
        ring_limit: limits.ring,
        close_timeout: timeouts.close,
        client_stall: timeouts.client_stall,
        message_timeout: timeouts.message,
        keepalive: timeouts.keepalive,
        client_pong: timeouts.client_pong,
        quiet: drain.quiet,
        departure_deadline: drain.deadline,
        deadline: failover.deadline,
        stable: failover.stable,
        backoff_min: failover.backoff_min,
        backoff_max: failover.backoff_max,
        jitter: herd.jitter,
        failure_codes: failover.close_codes.clone(),
        poison_window: poison.window,
        poison_deaths: poison.deaths,
        poison_convictions: poison.convictions,
        codes: Codes {
            deadline: close_codes.deadline,
            refused: close_codes.refused,
            poison: close_codes.poison,
            on_failure: close_codes.on_failure,
            slow_message: close_codes.slow_message,
        },
    }
}
