//! What is known of a backend's fitness, and what share of the sessions follows from it.

use std::fmt::Write as _;
use std::time::Duration;

use steadfast_protocol::time::Time;

use super::BackendState;
use crate::config::settings::{self, Outlier, WEIGHT_MAX};
use crate::metric;
use crate::upstream::balance::CandidateTrust;
use crate::upstream::health::agent::{self, AgentAdmin, Operating, Score};
use crate::upstream::health::circuit::{Change, Circuit, CircuitWord};
use crate::upstream::health::drain_requests::DrainRequests;
use crate::upstream::health::failures::FailureRow;
use crate::upstream::health::resort::LastResort;
use crate::upstream::health::tracker::{HealthTracker, ramp};

/// A weight of one, in the unit in which shares are computed.
const WHOLE: u32 = 1000;

/// What the pool's settings say of every backend.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) outlier: Outlier,
    pub(crate) slow_start: Duration,
    pub(crate) penalty_min: Duration,
    pub(crate) penalty_max: Duration,
    /// How long a request for a drain stands that nobody takes back.
    pub(crate) ask_timeout: Duration,
    /// How long one that is drained answers requests.
    pub(crate) drained_requests: Duration,
}

/// A backend's share, as it is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BackendShare {
    pub(crate) weight: u32,
    pub(crate) backup: bool,
    pub(super) max_sessions: Option<usize>,
}

/// A change of a share while the broker runs; what is `None` stays.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Adjustment {
    pub(crate) weight: Option<Score>,
    pub(crate) max_sessions: Option<Option<usize>>,
}

/// What an operator, or an operation, has made of a backend. It outlives reloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AdminState {
    /// It gets sessions.
    Ready,
    /// It is to be emptied: no new sessions, and those that are there move.
    Draining,
    /// The same, for what its Closes let infer: a session that finds no other place may try it.
    Leaving,
    /// No new sessions; those that are there stay.
    Disabled,
}

/// What changes.
#[derive(Debug)]
pub(super) struct BackendStatus {
    pub(super) rules: Rules,
    pub(super) configured: BackendShare,
    pub(super) adjusted: Adjustment,
    pub(super) agent: agent::AgentStanding,
    pub(super) admin_state: AdminState,
    /// It was emptied: not even its own clients' requests come to it.
    pub(super) emptied: bool,
    pub(super) health: HealthTracker,
    pub(super) circuit: Circuit,
    pub(super) drain_requests: DrainRequests,
    /// How it is tried while it is out.
    pub(super) resort: LastResort,
    penalty: Penalty,
    /// Who was told that it has enough.
    pub(super) busy: FailureRow,
    /// Since when its share grows again.
    pub(super) recovered: Option<Time>,
    /// It no longer belongs to its pool.
    pub(super) removed: bool,
    pub(super) state: BackendState,
    pub(super) since: Time,
    pub(super) why: String,
}

/// A backend that failed is tried last for a while.
#[derive(Debug, Default)]
struct Penalty {
    until: Option<Time>,
    in_a_row: u32,
}

impl BackendStatus {
    /// Of a backend of which nothing is known.
    pub(super) fn new(configured: BackendShare, rules: Rules, now: Time) -> BackendStatus {
        BackendStatus {
            rules,
            configured,
            adjusted: Adjustment::default(),
            agent: agent::AgentStanding::default(),
            admin_state: AdminState::Ready,
            emptied: false,
            health: HealthTracker::new(),
            circuit: Circuit::new(),
            drain_requests: DrainRequests::default(),
            resort: LastResort::default(),
            penalty: Penalty::default(),
            busy: FailureRow::default(),
            recovered: None,
            removed: false,
            state: if configured.weight == 0 { BackendState::Off } else { BackendState::Up },
            since: now,
            why: "new".to_owned(),
        }
    }

    /// It has taken a session.
    pub(super) fn linked(&mut self, now: Time) {
        self.penalty = Penalty::default();
        self.circuit.linked(now);
    }

    pub(super) fn find_state(&self) -> BackendState {
        if self.removed {
            BackendState::Removed
        } else if !self.health.is_up() || self.agent_says_down() {
            BackendState::Down
        } else if self.admin_state == AdminState::Disabled {
            BackendState::Disabled
        } else if self.is_to_be_emptied() || self.agent.admin == AgentAdmin::Drain {
            // Before an ejection: one that is ejected still gets sessions as a last resort.
            BackendState::Draining
        } else if self.share() == 0 {
            BackendState::Off
        } else if self.circuit.opened_until().is_some() {
            BackendState::Ejected
        } else if self.circuit.word() == CircuitWord::HalfOpen {
            BackendState::HalfOpen
        } else {
            BackendState::Up
        }
    }

    fn is_to_be_emptied(&self) -> bool {
        matches!(self.admin_state, AdminState::Draining | AdminState::Leaving)
    }

    /// Maintenance is for the operator to end, not for sessions to sit through.
    pub(super) fn agent_says_down(&self) -> bool {
        self.agent.operating == Operating::Down || self.agent.admin == AgentAdmin::Maint
    }

    pub(super) fn standing(&self) -> Option<CandidateTrust> {
        match self.state {
            BackendState::Up => Some(CandidateTrust::Eligible),
            BackendState::HalfOpen if self.circuit.admits() => Some(CandidateTrust::Eligible),
            BackendState::HalfOpen | BackendState::Ejected => Some(CandidateTrust::Ejected),
            BackendState::Off
            | BackendState::Draining
            | BackendState::Disabled
            | BackendState::Down
            | BackendState::Removed => None,
        }
    }

    /// It is out for what was inferred, of its Closes or of failures, and a session may try it when nobody else has
    /// room.
    pub(super) fn last_resort(&self) -> Option<CandidateTrust> {
        let trust = match self.state {
            BackendState::Draining
                if self.admin_state == AdminState::Leaving && self.agent.admin != AgentAdmin::Drain =>
            {
                CandidateTrust::Leaving
            }
            _ => self.standing().filter(|standing| *standing == CandidateTrust::Ejected)?,
        };
        self.resort.is_free().then_some(trust)
    }

    /// It is out, or about to be, for what was inferred.
    pub(super) fn is_out(&self) -> bool {
        self.circuit.is_ejected() || self.drain_requests.leaves()
    }

    pub(super) fn circuit_changed(&mut self, now: Time, change: Change) -> String {
        match change {
            Change::Ejected { duration, failures } => {
                metric::EJECTIONS.count(());
                let mut why = format!("ejected for {duration:?}: ");
                let _ = match failures {
                    1 => write!(why, "the session that tried it failed"),
                    _ => write!(why, "{failures} dials or young sessions in a row failed"),
                };
                why
            }
            Change::HalfOpened => {
                self.recovered = Some(now);
                "its ejection is over; one session tries it".to_owned()
            }
            Change::Closed => "a session has lasted".to_owned(),
        }
    }

    /// Its share grows back.
    pub(super) fn recovers(&self, now: Time) -> bool {
        self.recovered.is_some_and(|since| now.since(since) < self.rules.slow_start)
    }

    pub(super) fn penalised(&self, now: Time) -> bool {
        self.penalty.until.is_some_and(|until| now < until)
    }

    pub(super) fn penalise(&mut self, now: Time) {
        if self.penalised(now) {
            // A herd that fails together is one failure.
            return;
        }
        let Rules { penalty_min, penalty_max, .. } = self.rules;
        let in_a_row = self.penalty.in_a_row;
        let time = penalty_min.saturating_mul(1 << in_a_row.min(16)).min(penalty_max);
        self.penalty = Penalty { until: Some(now + time), in_a_row: in_a_row.saturating_add(1) };
    }

    /// What it was penalised for last was not its fault.
    pub(super) fn pardon(&mut self) {
        self.penalty = Penalty { until: None, in_a_row: self.penalty.in_a_row.saturating_sub(1) };
        self.circuit.pardon();
    }

    /// Its share in thousandths, before it grows back.
    pub(super) fn share(&self) -> u32 {
        let own = self.adjusted.weight.unwrap_or(Score::Percent(100)).of(self.configured.weight * WHOLE);
        // What an operator has taken out, no agent brings back.
        if own == 0 { 0 } else { self.agent.weight.unwrap_or(Score::Percent(100)).of(own) }
    }

    pub(super) fn weight(&self, now: Time) -> u32 {
        match self.recovered {
            Some(since) => ramp(self.share(), now.since(since), self.rules.slow_start),
            None => self.share(),
        }
    }

    pub(super) fn max_sessions(&self) -> Option<usize> {
        let own = self.adjusted.max_sessions.unwrap_or(self.configured.max_sessions);
        // As in HAProxy, an agent's zero lifts its limit.
        let told = self.agent.max_sessions.filter(|max| *max > 0);
        [own, told].into_iter().flatten().min()
    }
}

impl Score {
    /// What it makes of a share in thousandths.
    pub(super) fn of(self, share: u32) -> u32 {
        match self {
            Score::Weight(weight) => weight.min(WEIGHT_MAX) * WHOLE,
            Score::Percent(percent) => {
                let part = u64::from(share) * u64::from(percent) / 100;
                u32::try_from(part).unwrap_or(u32::MAX).min(WEIGHT_MAX * WHOLE)
            }
        }
    }
}

impl From<&settings::BackendSettings> for BackendShare {
    fn from(backend: &settings::BackendSettings) -> BackendShare {
        let settings::BackendSettings { weight, backup, max_sessions, .. } = *backend;
        BackendShare { weight, backup, max_sessions }
    }
}
