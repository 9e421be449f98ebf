//! One operation: what it is, how it may go about it, and where it stands.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use steadfast_protocol::session::MoveOutcome;
use steadfast_protocol::time::Time;

use super::conflicts::Claim;
use super::kind::{OperationCause, OperationKind};
use super::pace::TokenBucket;
use super::progress::{Retry, SessionProgress, Tally};
use crate::config::settings::DrainSettings;
use crate::metric;
use crate::upstream::backend::Backend;
use crate::upstream::pool::Pool;
use crate::words::{Word, words};

words! {
    /// Where it stands.
    pub(crate) enum OperationState {
        Running = "running",
        /// Nothing can be moved at present.
        Waiting = "waiting",
        Done = "done",
        /// Somebody has ended it.
        Cancelled = "cancelled",
        /// Too many moves failed.
        Stopped = "stopped",
        /// Its time is over.
        Expired = "expired",
    }
}

/// How it goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OperationTerms {
    /// Sessions per second; `None`: as they come.
    pub(crate) rate: Option<u32>,
    /// Sessions at once; `None`: any number.
    pub(crate) concurrency: Option<usize>,
    /// It stops after so many failures and one more; `None`: it does not.
    pub(crate) errors_max: Option<usize>,
    /// `None`: it takes as long as it takes.
    pub(crate) time_limit: Option<Duration>,
    /// Sessions leave without a quiet moment too.
    pub(crate) force: bool,
}

/// What somebody wants otherwise than it is; what is `None` stays.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wish {
    pub(crate) rate: Option<u32>,
    pub(crate) concurrency: Option<usize>,
    pub(crate) errors_max: Option<usize>,
    pub(crate) time_limit: Option<Duration>,
    pub(crate) force: Option<bool>,
}

/// What it works on, and who has begun it.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(super) kind: OperationKind,
    pub(super) pool: Arc<Pool>,
    pub(super) backend: Option<Arc<Backend>>,
    pub(super) cause: OperationCause,
    /// A sentence.
    why: String,
    /// Of a rebalance: by how much a backend may be off its share, in percent.
    pub(super) tolerance: u32,
}

/// One operation.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) number: u64,
    pub(super) subject: Subject,
    pub(super) terms: OperationTerms,
    pub(super) state: OperationState,
    /// What it waits for, why it stopped, or what is left.
    pub(super) message: String,
    pub(super) started: SystemTime,
    began: Time,
    ended: Option<Time>,
    /// Since when the time limit counts, and how many failures there were then.
    since: (Time, usize),
    pub(super) pace: TokenBucket,
    pub(super) progress: SessionProgress,
    /// It has looked for its sessions once, and waits for the next look.
    pub(super) surveyed: bool,
    /// Of an evacuation: since when its sessions have somewhere to go; `None`: they do not.
    pub(super) beside: Option<Time>,
}

/// An operation as the API shows it.
#[derive(Debug)]
pub(crate) struct OperationSnapshot {
    pub(crate) id: String,
    pub(crate) kind: OperationKind,
    pub(crate) pool: String,
    pub(crate) backend: Option<String>,
    pub(crate) cause: OperationCause,
    pub(crate) why: String,
    pub(crate) state: OperationState,
    pub(crate) message: String,
    pub(crate) started: SystemTime,
    pub(crate) elapsed: Duration,
    pub(crate) total: usize,
    pub(crate) moved: usize,
    pub(crate) forced: usize,
    pub(crate) reconnected: usize,
    pub(crate) failed: usize,
    pub(crate) gone: usize,
    pub(crate) remaining: Tally,
    pub(crate) terms: OperationTerms,
}

impl Operation {
    /// One that begins now; `started` is the same moment on the wall.
    pub(super) fn new(
        number: u64,
        subject: Subject,
        terms: OperationTerms,
        (now, started): (Time, SystemTime),
    ) -> Operation {
        let (retry, beside) = match subject.kind {
            OperationKind::Evacuation => (Retry::Soon, Some(now)),
            OperationKind::Drain | OperationKind::Rebalance | OperationKind::Failover => (Retry::Later, None),
        };
        let operation = Operation {
            number,
            subject,
            terms,
            state: OperationState::Running,
            message: String::new(),
            started,
            began: now,
            ended: None,
            since: (now, 0),
            pace: TokenBucket::new(now),
            progress: SessionProgress::new(retry),
            surveyed: false,
            beside,
        };
        operation.tell("operation begins");
        operation
    }

    /// Such as `drain-3`.
    pub(super) fn id(&self) -> String {
        format!("{}-{}", self.subject.kind.name(), self.number)
    }

    pub(super) fn claim(&self) -> Claim<'_> {
        self.subject.claim()
    }

    /// It has not ended.
    pub(super) fn is_active(&self) -> bool {
        self.state.is_active()
    }

    /// The id of the backend that it drains.
    pub(super) fn drains(&self) -> Option<usize> {
        self.backend().filter(|_| self.is_active() && self.subject.kind == OperationKind::Drain)
    }

    /// The id of the backend that it evacuates.
    pub(super) fn evacuates(&self) -> Option<usize> {
        self.backend().filter(|_| self.is_active() && self.is_evacuation())
    }

    pub(super) fn is_evacuation(&self) -> bool {
        self.subject.kind == OperationKind::Evacuation
    }

    /// The id of its backend.
    pub(super) fn backend(&self) -> Option<usize> {
        self.subject.backend.as_ref().map(|backend| backend.id)
    }

    /// When it began, or was resumed.
    pub(super) fn since(&self) -> Time {
        self.since.0
    }

    /// How many sessions its terms let go now.
    pub(super) fn granted(&mut self, now: Time) -> usize {
        let OperationTerms { rate, concurrency, .. } = self.terms;
        let moving = self.progress.remaining().moving;
        let free = concurrency.map_or(usize::MAX, |most| most.saturating_sub(moving));
        rate.map_or(usize::MAX, |rate| self.pace.granted(now, rate)).min(free)
    }

    pub(super) fn view(&self, now: Time) -> OperationSnapshot {
        let Subject { kind, pool, backend, cause, why, .. } = &self.subject;
        OperationSnapshot {
            id: self.id(),
            kind: *kind,
            pool: pool.name.to_string(),
            backend: backend.as_ref().map(|backend| backend.name.clone()),
            cause: *cause,
            why: why.clone(),
            state: self.state,
            message: self.message.clone(),
            started: self.started,
            elapsed: self.ended.unwrap_or(now).since(self.began),
            total: self.progress.total(),
            moved: self.progress.moved,
            forced: self.progress.forced,
            reconnected: self.progress.reconnected,
            failed: self.progress.failed,
            gone: self.progress.gone,
            remaining: self.progress.remaining(),
            terms: self.terms,
        }
    }

    // ---- what happens to it ----

    /// A session's move has ended.
    pub(super) fn record(&mut self, now: Time, id: u128, outcome: MoveOutcome) {
        match self.is_active() {
            true => self.progress.ended(now, id, outcome),
            false => self.progress.settle(now, id, outcome),
        }
    }

    /// It goes on, or waits, and why.
    pub(super) fn stands(&mut self, state: OperationState, message: String) {
        let changed = self.state != state;
        (self.state, self.message) = (state, message);
        if changed {
            self.tell("operation changes");
        }
    }

    /// It has ended.
    pub(super) fn end(&mut self, now: Time, state: OperationState, message: String) {
        (self.state, self.message, self.ended) = (state, message, Some(now));
        self.progress.close();
        metric::OPERATIONS.count((self.subject.kind.name(), state.name()));
        self.tell("operation ends");
    }

    /// It runs again, with its whole time and no failure counted.
    pub(super) fn resume(&mut self, now: Time) {
        (self.state, self.ended, self.surveyed, self.beside) = (OperationState::Running, None, false, None);
        self.message.clear();
        (self.since, self.pace) = ((now, self.progress.failed), TokenBucket::new(now));
        self.progress.reopen();
        self.tell("operation goes on");
    }

    /// Why it must not go on, if it must not.
    pub(super) fn limit(&self, now: Time) -> Option<(OperationState, String)> {
        let (since, before) = self.since;
        let failed = self.progress.failed - before;
        let OperationTerms { errors_max, time_limit, .. } = self.terms;
        if let Some(most) = errors_max.filter(|most| failed > *most) {
            let message = format!("{failed} moves failed, more than the {most} that are allowed");
            return Some((OperationState::Stopped, message));
        }
        let limit = time_limit.filter(|limit| now.since(since) >= *limit)?;
        Some((OperationState::Expired, format!("its time limit of {limit:?} has passed")))
    }

    fn tell(&self, what: &str) {
        let Subject { kind, pool, backend, cause, why, .. } = &self.subject;
        let SessionProgress { moved, forced, reconnected, failed, gone, .. } = self.progress;
        tracing::info!(
            operation = self.id(),
            kind = kind.name(),
            pool = &*pool.name,
            backend = backend.as_ref().map(|backend| backend.name.as_str()),
            cause = cause.name(),
            why,
            state = self.state.name(),
            message = self.message,
            moved,
            forced,
            reconnected,
            failed,
            gone,
            remaining = self.progress.remaining().remaining,
            "{what}"
        );
    }
}

impl Subject {
    /// A backend is to be emptied.
    pub(crate) fn drain(
        pool: &Arc<Pool>,
        backend: &Arc<Backend>,
        cause: OperationCause,
        why: String,
    ) -> Subject {
        let (pool, backend) = (Arc::clone(pool), Some(Arc::clone(backend)));
        Subject { kind: OperationKind::Drain, pool, backend, cause, why, tolerance: 0 }
    }

    /// A backend's sessions are to leave it as if it had failed.
    pub(crate) fn failover(
        pool: &Arc<Pool>,
        backend: &Arc<Backend>,
        cause: OperationCause,
        why: String,
    ) -> Subject {
        Subject { kind: OperationKind::Failover, ..Subject::drain(pool, backend, cause, why) }
    }

    /// A backend is down, and its sessions are to leave it for as long as it is.
    pub(super) fn evacuation(pool: &Arc<Pool>, backend: &Arc<Backend>, why: String) -> Subject {
        let drain = Subject::drain(pool, backend, OperationCause::Down, why);
        Subject { kind: OperationKind::Evacuation, ..drain }
    }

    /// A pool's sessions are to be spread anew, until no backend is off its share by more than
    /// `tolerance` percent.
    pub(crate) fn rebalance(pool: &Arc<Pool>, tolerance: u32, cause: OperationCause, why: String) -> Subject {
        let pool = Arc::clone(pool);
        Subject { kind: OperationKind::Rebalance, pool, backend: None, cause, why, tolerance }
    }

    /// What its messages call it: the backend, or the pool.
    pub(super) fn name(&self) -> &str {
        self.backend.as_ref().map_or(&self.pool.name, |backend| &backend.name)
    }

    pub(super) fn claim(&self) -> Claim<'_> {
        let backend = self.backend.as_ref().map(|backend| backend.id);
        Claim { kind: self.kind, cause: self.cause, pool: &self.pool.name, backend }
    }
}

impl OperationTerms {
    /// What is configured, with what somebody wants otherwise.
    pub(crate) fn new(configured: &DrainSettings, wish: Wish) -> OperationTerms {
        let terms = OperationTerms {
            rate: Some(configured.rate),
            concurrency: Some(configured.concurrency),
            errors_max: Some(configured.errors),
            time_limit: Some(configured.time_limit),
            force: false,
        };
        terms.with(wish)
    }

    /// Those of an evacuation: as soon and as many as can, however long it takes and whatever fails.
    pub(super) const UNLIMITED: OperationTerms =
        OperationTerms { rate: None, concurrency: None, errors_max: None, time_limit: None, force: false };

    pub(super) fn with(self, wish: Wish) -> OperationTerms {
        OperationTerms {
            rate: wish.rate.or(self.rate),
            concurrency: wish.concurrency.or(self.concurrency),
            errors_max: wish.errors_max.or(self.errors_max),
            time_limit: wish.time_limit.or(self.time_limit),
            force: wish.force.unwrap_or(self.force),
        }
    }
}

impl Wish {
    /// It is about how fast an operation goes and what it bears.
    pub(super) fn is_pace(self) -> bool {
        self.rate.is_some() || self.concurrency.is_some() || self.errors_max.is_some()
    }
}

impl OperationState {
    /// Those in which an operation may end.
    pub(crate) fn ends() -> impl Iterator<Item = OperationState> {
        OperationState::ALL.iter().copied().filter(|state| !state.is_active())
    }

    /// The operation has not ended.
    pub(crate) fn is_active(self) -> bool {
        matches!(self, OperationState::Running | OperationState::Waiting)
    }
}
