//! A planned move: how the driver orders it, and what became of it.

use crate::time::Time;

/// A planned move, as the driver orders it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// What the driver knows it by. The machine gives it back with what became of the move.
    pub ticket: u64,
    /// From then on the session leaves without a quiet moment too; `None`: it stays.
    pub force_at: Option<Time>,
}

/// What became of a planned move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveOutcome {
    /// The session has left its backend for another.
    Moved {
        /// It has left without a quiet moment: answers may be missing.
        forced: bool,
    },
    /// It has left its backend, and its client is closed, to reconnect.
    Reconnects,
    /// It has left its backend in a failover.
    FailedOver,
    /// It is where it was.
    Stayed(Stay),
    /// The backend that was to be left has ended the session, in answer to the goodbye.
    Closed,
    /// Its client has left, or it is being closed.
    Ended,
}

impl MoveOutcome {
    /// Every one of them.
    pub const ALL: [MoveOutcome; 10] = [
        MoveOutcome::Moved { forced: false },
        MoveOutcome::Moved { forced: true },
        MoveOutcome::Reconnects,
        MoveOutcome::FailedOver,
        MoveOutcome::Closed,
        MoveOutcome::Ended,
        MoveOutcome::Stayed(Stay::Busy),
        MoveOutcome::Stayed(Stay::NoTarget),
        MoveOutcome::Stayed(Stay::TargetLost),
        MoveOutcome::Stayed(Stay::Asked),
    ];

    /// The word for logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            MoveOutcome::Moved { forced: false } => "moved",
            MoveOutcome::Moved { forced: true } => "forced",
            MoveOutcome::Reconnects => "reconnected",
            MoveOutcome::FailedOver => "failed_over",
            MoveOutcome::Stayed(Stay::NoTarget) => "no_target",
            MoveOutcome::Stayed(Stay::TargetLost) => "target_lost",
            MoveOutcome::Stayed(Stay::Busy) => "busy",
            MoveOutcome::Stayed(Stay::Asked) => "called_off",
            MoveOutcome::Closed => "closed",
            MoveOutcome::Ended => "ended",
        }
    }
}

/// Why a session is where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// No other backend takes it.
    NoTarget,
    /// The one that had taken it failed before the old one was left.
    TargetLost,
    /// It never fell quiet.
    Busy,
    /// The driver said so.
    Asked,
}
