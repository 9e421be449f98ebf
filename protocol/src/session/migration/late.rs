//! A next backend that is dialled late: only when its session is ready to go there.
//!
//! A backend that waits for its turn is told nothing. Some close who does not log in within seconds, and would be
//! lost again and again while their session is busy. So one that is lost is dialled anew only when nothing else is
//! to be waited for, and with `dial_ahead` off none is dialled before.
//!
//! ```text
//!   Quiescing or Holding: Resting ---- ready ----> Wanted --> Asked ----> connected: parts, if still ready
//!                            ^                                  |            |
//!                            '------ lost, up to LOSSES --------+------------'
//!                                                  there is none: it stays
//! ```

use crate::time::Time;

use super::{Migration, MigrationStage, Session};
use crate::session::report::{MoveOutcome, Stay};

/// Next backends that one move may lose.
const LOSSES: u32 = 3;

/// When the next backend is dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    /// First of all; none is dialled late.
    Never,
    /// When the session is ready.
    Resting,
    /// Now.
    Wanted,
    /// The driver does.
    Asked,
}

impl Migration {
    /// A late dial is due, or under way.
    pub(super) fn dials_late(&self) -> bool {
        self.successor.is_none() && matches!(self.late, Late::Wanted | Late::Asked)
    }

    /// The driver dials the next backend.
    pub(super) fn is_dialled(&self) -> bool {
        self.stage == MigrationStage::Preparing { asked: true } || self.late == Late::Asked
    }

    /// The driver is to dial now, and is told so.
    pub(super) fn take_late(&mut self) -> bool {
        let wanted = self.late == Late::Wanted;
        if wanted {
            self.late = Late::Asked;
        }
        wanted
    }

    /// The next backend is lost, and there will be another. False: too many were lost.
    fn lose(&mut self) -> bool {
        self.losses += 1;
        (self.successor, self.late) = (None, Late::Resting);
        self.losses < LOSSES
    }
}

impl Session {
    /// The session is ready to leave. If the next backend is to be dialled late, it is its turn.
    pub(super) fn part_or_dial(&mut self, now: Time, forced: bool) {
        match self.underway.migration_mut() {
            Some(migration) if migration.late == Late::Resting && migration.successor.is_none() => {
                migration.late = Late::Wanted;
            }
            _ => self.part(now, forced),
        }
    }

    /// The next backend was lost before the old one is left.
    pub(super) fn successor_lost(&mut self) {
        let waits =
            matches!(self.stage(), Some(MigrationStage::Quiescing { .. } | MigrationStage::Holding { .. }));
        if !waits || !self.underway.migration_mut().is_some_and(|migration| migration.lose()) {
            self.end_move(MoveOutcome::Stayed(Stay::TargetLost));
        }
    }
}
