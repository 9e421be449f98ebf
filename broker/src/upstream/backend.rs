//! One service behind the broker: what is known of it, and what follows for new sessions.
//! Which backends there are beside it is the pool's matter.

mod asking;
mod knock;
mod lease;
mod life;
mod own;
mod requests;
mod reserved;
mod state;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use steadfast_protocol::time::Time;
use tokio::sync::Semaphore;

use crate::config::settings::{self, Query};
use crate::lock::rank::{CensusRank, StatusRank};
use crate::lock::{OrderedMutex, OrderedMutexGuard};
use crate::metric::{self, Series};
use crate::net::connect::History;
use crate::upstream::balance::{Candidate, CandidateTrust, ChoiceReason, hash};
use crate::upstream::discovery::FoundBackend;
use crate::upstream::health::agent::{self, AgentReport};
use crate::upstream::health::circuit::CircuitWord;
use crate::upstream::health::tracker::{HealthTracker, HealthWord, Turn};
use crate::upstream::health::witness::{Census, Complaint};
use crate::upstream::queue::Queue;

use knock::Knock;
pub(crate) use lease::BackendLease;
pub(crate) use life::Life;
pub(super) use own::NotOwn;
pub(crate) use own::Reach;
pub(crate) use requests::{RequestLease, Requests};
pub(crate) use reserved::ReservedPlace;
pub(crate) use state::BackendState;
use status::BackendStatus;
pub(crate) use status::{Adjustment, AdminState, BackendShare, Rules};

/// One service, as all workers see it.
#[derive(Debug)]
pub(crate) struct Backend {
    /// Unique in the process, and never used again.
    pub(crate) id: usize,
    pub(crate) pool: Arc<str>,
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Whether TLS is spoken to it.
    pub(crate) tls: bool,
    /// Who has named it.
    pub(crate) origin: BackendOrigin,
    hash: u64,
    /// Sessions on it, dials that may become some, and requests that it answers.
    sessions: AtomicUsize,
    /// Of them, the requests.
    pub(crate) requests: Requests,
    /// Clients that were sent to it, and count as sessions for a while. It grows under the status lock.
    reserved: AtomicUsize,
    pub(crate) dials: AtomicU64,
    pub(crate) failures: AtomicU64,
    /// Sessions that it has taken.
    pub(super) links: Series,
    /// One request at a time that was hung up on elsewhere comes to it.
    pub(super) suspects: Arc<Semaphore>,
    /// When it was last heard.
    pub(crate) life: Life,
    /// What its port has taught whoever connects to it.
    pub(crate) history: History,
    queue: Arc<Queue>,
    /// Where the sessions of its pool come from.
    census: Arc<OrderedMutex<Census, CensusRank>>,
    knock: Knock,
    status: OrderedMutex<BackendStatus, StatusRank>,
}

/// What the backends of a pool have in common.
#[derive(Debug, Clone, Default)]
pub(super) struct PoolWorld {
    pub(super) queue: Arc<Queue>,
    pub(super) census: Arc<OrderedMutex<Census, CensusRank>>,
}

/// Who has named a backend, and so who may take it away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BackendOrigin {
    File,
    Api,
    Dns(Query),
}

/// A backend as the API shows it.
#[derive(Debug)]
pub(crate) struct BackendSnapshot {
    pub(crate) state: BackendState,
    pub(crate) since: Time,
    pub(crate) why: String,
    pub(crate) penalised: bool,
    pub(crate) health: HealthWord,
    pub(crate) circuit: CircuitWord,
    pub(crate) circuit_until: Option<Time>,
    pub(crate) share: BackendShare,
    /// What it gets at present, in thousandths of a weight of one.
    pub(crate) weight: u32,
    pub(crate) max_sessions: Option<usize>,
}

impl Backend {
    pub(super) fn new(
        id: usize,
        pool: Arc<str>,
        backend: &settings::BackendSettings,
        origin: BackendOrigin,
        rules: Rules,
        (world, now): (PoolWorld, Time),
    ) -> Backend {
        let status = BackendStatus::new(BackendShare::from(backend), rules, now);
        Backend {
            id,
            pool,
            name: backend.name.clone(),
            host: backend.host.clone(),
            port: backend.port,
            tls: backend.tls,
            origin,
            hash: hash::of(backend.name.as_bytes()),
            sessions: AtomicUsize::new(0),
            requests: Requests::default(),
            reserved: AtomicUsize::new(0),
            dials: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            links: Series::default(),
            suspects: Arc::new(Semaphore::new(1)),
            life: Life::default(),
            history: History::default(),
            queue: world.queue,
            census: world.census,
            knock: Knock::default(),
            status: OrderedMutex::new(status),
        }
    }

    /// The host and port, as a URL has them.
    pub(crate) fn address(&self) -> String {
        let Backend { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// What its counters are called. Those found by DNS share the name that was asked for: their
    /// addresses come and go without end, and a counter stays.
    pub(crate) fn series(&self) -> String {
        match &self.origin {
            BackendOrigin::File | BackendOrigin::Api => self.name.clone(),
            BackendOrigin::Dns(Query::Address { host, .. }) => host.clone(),
            BackendOrigin::Dns(Query::Srv { name }) => name.clone(),
        }
    }

    pub(crate) fn sessions(&self) -> usize {
        self.sessions.load(Relaxed)
    }

    /// Sessions on it, and dials that may become some, without the requests that it answers.
    pub(crate) fn sessions_alone(&self) -> usize {
        self.sessions().saturating_sub(self.requests.count())
    }

    /// Places of clients that were sent to it.
    pub(crate) fn reserved(&self) -> usize {
        self.reserved.load(Relaxed)
    }

    pub(crate) fn view(&self, now: Time) -> BackendSnapshot {
        let status = self.status();
        BackendSnapshot {
            state: status.state,
            since: status.since,
            why: status.why.clone(),
            penalised: status.penalised(now),
            health: status.health.word(),
            circuit: status.circuit.word(),
            circuit_until: status.circuit.opened_until(),
            share: status.configured,
            weight: status.weight(now),
            max_sessions: status.max_sessions(),
        }
    }

    /// As DNS names backends: by address. `None`: it has a host name.
    pub(super) fn found(&self, now: Time) -> Option<FoundBackend> {
        let address = SocketAddr::new(self.host.parse().ok()?, self.port);
        let BackendShare { weight, backup, .. } = self.view(now).share;
        Some(FoundBackend { name: self.name.clone(), address, weight: Some(weight), backup })
    }

    /// A health check has come back.
    pub(super) fn is_proven(&self) -> bool {
        self.status().health.is_proven()
    }

    // ---- placing sessions ----

    /// What placement is to know of it; `None`: it gets no session. `left`: the session that asks
    /// has just left it.
    pub(super) fn candidate(&self, now: Time, left: bool) -> Option<Candidate> {
        let status = self.status();
        let standing = status.standing()?;
        let weight = status.weight(now);
        let suspect = standing == CandidateTrust::Eligible && (left || status.penalised(now));
        let standing = if suspect { CandidateTrust::Suspect } else { standing };
        (weight > 0).then(|| self.as_candidate(&status, standing, weight))
    }

    fn as_candidate(&self, status: &BackendStatus, standing: CandidateTrust, weight: u32) -> Candidate {
        Candidate {
            id: self.id,
            weight,
            sessions: self.sessions() + self.reserved(),
            max_sessions: status.max_sessions(),
            backup: status.configured.backup,
            standing,
            hash: self.hash,
        }
    }

    /// The same of one that is out for what was inferred, and may be tried when nobody else has room.
    pub(super) fn last_resort(&self, now: Time) -> Option<Candidate> {
        let status = self.status();
        let (standing, weight) = (status.last_resort()?, status.weight(now));
        (weight > 0).then(|| self.as_candidate(&status, standing, weight))
    }

    /// It is drained for what was inferred.
    pub(super) fn seems_to_leave(&self) -> bool {
        let status = self.status();
        status.state == BackendState::Draining && status.admin_state == AdminState::Leaving
    }

    /// Half open: it takes one session, to try it.
    pub(super) fn takes_one(&self) -> bool {
        self.status().state == BackendState::HalfOpen
    }

    /// Takes a lease on what was a candidate of this `standing`; `None` when the last one, or the only
    /// trial, has gone to somebody else, or the backend was taken away meanwhile.
    pub(super) fn lease(
        self: &Arc<Backend>,
        now: Time,
        standing: CandidateTrust,
        reason: ChoiceReason,
    ) -> Option<BackendLease> {
        let mut status = self.status();
        let present = status.standing()?;
        if present == CandidateTrust::Ejected && standing != CandidateTrust::Ejected {
            return None;
        }
        self.take_place(&status)?;
        status.circuit.leased();
        drop(status);
        Some(BackendLease::new(self, now, reason))
    }

    /// Takes a lease on what was a candidate as the last resort. It is the only one of its kind until it has lasted,
    /// or failed.
    pub(super) fn lease_as_last_resort(
        self: &Arc<Backend>,
        now: Time,
        reason: ChoiceReason,
    ) -> Option<BackendLease> {
        let mut status = self.status();
        status.last_resort()?;
        self.take_place(&status)?;
        status.resort.sent();
        drop(status);
        Some(BackendLease::new(self, now, reason).trying())
    }

    fn take_place(&self, status: &BackendStatus) -> Option<usize> {
        let max = status.max_sessions().unwrap_or(usize::MAX).saturating_sub(self.reserved());
        let more = |sessions| (sessions < max).then_some(sessions + 1);
        self.sessions.fetch_update(Relaxed, Relaxed, more).ok()
    }

    // ---- what happens to it ----

    /// It could not be reached, or fell silent: it is tried last for a while.
    pub(crate) fn penalise(&self, now: Time) {
        self.failures.fetch_add(1, Relaxed);
        self.status().penalise(now);
    }

    /// What it was penalised for last was not its fault.
    pub(crate) fn pardon(&self) {
        self.status().pardon();
        self.queue.notify();
    }

    /// A dial or a young session has failed. `may_eject`: its pool can do without it.
    pub(super) fn failed(&self, now: Time, complaint: Complaint, may_eject: bool) {
        self.change(now, |status| {
            let change = status.circuit.failed(now, complaint, &status.rules.outlier, may_eject);
            change.map(|change| status.circuit_changed(now, change))
        });
    }

    /// It has answered a request that it has enough at the moment, and another backend has taken that. When others
    /// have met the same it is tried last for a while; one client alone may have asked too often.
    pub(super) fn is_busy(&self, now: Time, complaint: Complaint) {
        let mut status = self.status();
        status.busy.add(complaint.at.unwrap_or(now), complaint.witness);
        if status.busy.convicts(1, complaint.needed.min(2)).is_some() {
            self.failures.fetch_add(1, Relaxed);
            status.penalise(now);
        }
    }

    /// It is tried last.
    pub(super) fn is_penalised(&self, now: Time) -> bool {
        self.status().penalised(now)
    }

    /// Nothing speaks against it at present.
    pub(super) fn is_clean(&self, now: Time) -> bool {
        self.status().circuit.is_clean(now)
    }

    /// Time alone may have ended an ejection, or a trial.
    pub(super) fn advance(&self, now: Time) {
        self.change(now, |status| {
            if status.resort.advance(now, status.rules.outlier.early_death) {
                status.drain_requests.serves_on();
            }
            let change = status.circuit.advance(now, &status.rules.outlier);
            change.map(|change| status.circuit_changed(now, change))
        });
    }

    /// It is out for what was inferred: it is ejected, or leaves.
    pub(super) fn is_out(&self) -> bool {
        self.status().is_out()
    }

    /// A health check has ended.
    pub(crate) fn checked(&self, now: Time, result: Result<(), String>, rise: u32, fall: u32) {
        self.change(now, |status| match status.health.observe(result.is_ok(), rise, fall)? {
            Turn::Up => {
                status.recovered = Some(now);
                status.drain_requests.recovered();
                Some("its health checks are good again".to_owned())
            }
            Turn::Down => Some(format!("its health checks fail: {}", result.err().unwrap_or_default())),
        });
    }

    /// It is no longer checked.
    pub(super) fn unchecked(&self, now: Time) {
        self.change(now, |status| {
            let was_down = !status.health.is_up();
            status.health = HealthTracker::new();
            status.drain_requests.unchecked();
            was_down.then(|| "it is no longer checked".to_owned())
        });
    }

    /// Its agent has told something.
    pub(super) fn told(&self, now: Time, report: AgentReport) {
        self.change(now, |status| {
            let was_down = status.agent_says_down();
            status.agent.handle(report);
            if was_down && !status.agent_says_down() {
                status.recovered = Some(now);
            }
            Some(match &status.agent.why {
                Some(why) => format!("its agent says so: {why}"),
                None => "its agent says so".to_owned(),
            })
        });
    }

    /// Nobody asks its agent any more.
    pub(super) fn untold(&self, now: Time) {
        self.change(now, |status| {
            status.agent = agent::AgentStanding::default();
            Some("its agent is no longer asked".to_owned())
        });
    }

    /// The file, or DNS, gives it this share, and its pool these rules. What was adjusted while
    /// running stays, unless the same is configured anew.
    pub(super) fn configure(&self, now: Time, share: BackendShare, rules: Rules) {
        self.change(now, |status| {
            if share.weight != status.configured.weight {
                status.adjusted.weight = None;
            }
            if share.max_sessions != status.configured.max_sessions {
                status.adjusted.max_sessions = None;
            }
            (status.configured, status.rules) = (share, rules);
            Some("the configuration says so".to_owned())
        });
    }

    /// Its pool has these rules from now on.
    pub(super) fn set_rules(&self, rules: Rules) {
        self.status().rules = rules;
    }

    /// Somebody changes its share.
    pub(crate) fn adjust(&self, now: Time, adjustment: Adjustment) {
        self.change(now, |status| {
            status.adjusted.weight = adjustment.weight.or(status.adjusted.weight);
            status.adjusted.max_sessions = adjustment.max_sessions.or(status.adjusted.max_sessions);
            Some("the API was asked for it".to_owned())
        });
    }

    /// An operator, or an operation, changes what it is to do.
    pub(crate) fn set_admin_state(&self, now: Time, admin_state: AdminState, why: &str) {
        self.change(now, |status| {
            (status.admin_state, status.emptied) = (admin_state, false);
            Some(why.to_owned())
        });
    }

    pub(crate) fn admin_state(&self) -> AdminState {
        self.status().admin_state
    }

    /// It no longer belongs to its pool.
    pub(super) fn remove(&self, now: Time, why: &str) {
        self.change(now, |status| {
            status.removed = true;
            Some(why.to_owned())
        });
    }

    /// Its checks or its agent say so.
    pub(crate) fn is_down(&self) -> bool {
        self.down_since().is_some()
    }

    /// Since when that is so.
    pub(crate) fn down_since(&self) -> Option<Time> {
        let status = self.status();
        (status.state == BackendState::Down).then_some(status.since)
    }

    /// It came back a while ago, and its weight still grows.
    pub(crate) fn recovers(&self, now: Time) -> bool {
        self.status().recovers(now)
    }

    /// Applies a change, and tells of it when it has led to another state.
    fn change(&self, now: Time, change: impl FnOnce(&mut BackendStatus) -> Option<String>) {
        let mut status = self.status();
        let Some(why) = change(&mut status) else { return };
        let state = status.find_state();
        let (before, lasted) = (status.state, now.since(status.since));
        if state != before {
            (status.state, status.since, status.why) = (state, now, why.clone());
        }
        drop(status);
        if state != before {
            self.tell(before, state, lasted, &why);
        }
        self.queue.notify();
    }

    fn tell(&self, before: BackendState, state: BackendState, lasted: Duration, why: &str) {
        let Backend { pool, name, .. } = self;
        metric::BACKEND_STATE_CHANGES.count((pool.to_string(), self.series(), state.name()));
        let (before, after, sessions) = (before.name(), state.name(), self.sessions());
        tracing::warn!(
            pool = &**pool,
            backend = name,
            before,
            after,
            ?lasted,
            sessions,
            why,
            "backend changed"
        );
    }

    fn status(&self) -> OrderedMutexGuard<'_, BackendStatus> {
        self.status.lock()
    }
}
