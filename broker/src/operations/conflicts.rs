//! Which operations may run beside each other.

use super::kind::{OperationCause, OperationKind};

/// What an operation works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim<'a> {
    pub(super) kind: OperationKind,
    pub(super) cause: OperationCause,
    pub(super) pool: &'a str,
    /// The id of the backend that is emptied; `None`: it is the whole pool.
    pub(super) backend: Option<usize>,
}

/// What becomes of a running operation when another is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConflictVerdict {
    /// Both may run.
    Beside,
    /// The running one is cancelled for the other.
    GivesWay,
    /// The other one cannot begin.
    Refuses,
}

impl Claim<'_> {
    /// What becomes of this running operation when `wanted` is to begin. Moves of one backend's sessions
    /// belong to one operation, and a rebalance counts on the whole pool.
    pub(super) fn verdict(&self, wanted: &Claim<'_>) -> ConflictVerdict {
        let either = |kind| self.kind == kind || wanted.kind == kind;
        let (rebalance, evacuation) = (either(OperationKind::Rebalance), either(OperationKind::Evacuation));
        // A rebalance leaves sessions of a backend that is down alone.
        let meet = if rebalance { !evacuation } else { self.backend == wanted.backend };
        if self.pool != wanted.pool || !meet {
            ConflictVerdict::Beside
        } else if self.kind == OperationKind::Evacuation && wanted.kind != OperationKind::Evacuation {
            // Whoever has begun the other one knows more than that the backend is down.
            ConflictVerdict::GivesWay
        } else if self.kind == OperationKind::Rebalance && self.gives_way(wanted) {
            ConflictVerdict::GivesWay
        } else {
            ConflictVerdict::Refuses
        }
    }

    /// Nobody has asked for an automatic rebalance, and a backend that goes away does not wait.
    fn gives_way(&self, wanted: &Claim<'_>) -> bool {
        let urgent = matches!(wanted.cause, OperationCause::Removed | OperationCause::Backend);
        urgent || (self.cause == OperationCause::Automatic && wanted.cause == OperationCause::Operator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(kind: OperationKind, cause: OperationCause, backend: Option<usize>) -> Claim<'static> {
        Claim { kind, cause, pool: "chat", backend }
    }

    #[test]
    fn one_backend_belongs_to_one_operation() {
        let drain = claim(OperationKind::Drain, OperationCause::Operator, Some(1));
        for kind in [OperationKind::Drain, OperationKind::Failover] {
            for cause in [OperationCause::Operator, OperationCause::Removed, OperationCause::Backend] {
                assert_eq!(drain.verdict(&claim(kind, cause, Some(1))), ConflictVerdict::Refuses);
                assert_eq!(drain.verdict(&claim(kind, cause, Some(2))), ConflictVerdict::Beside);
                let elsewhere = Claim { pool: "other", ..claim(kind, cause, Some(1)) };
                assert_eq!(drain.verdict(&elsewhere), ConflictVerdict::Beside);
            }
        }
    }

    #[test]
    fn an_evacuation_gives_way_and_stands_in_nobodys_way() {
        let evacuation = claim(OperationKind::Evacuation, OperationCause::Down, Some(1));
        for cause in [OperationCause::Operator, OperationCause::Removed, OperationCause::Backend] {
            for kind in [OperationKind::Drain, OperationKind::Failover] {
                let other = claim(kind, cause, Some(1));
                assert_eq!(evacuation.verdict(&other), ConflictVerdict::GivesWay);
                assert_eq!(other.verdict(&evacuation), ConflictVerdict::Refuses);
                let elsewhere = claim(kind, cause, Some(2));
                assert_eq!(evacuation.verdict(&elsewhere), ConflictVerdict::Beside);
                assert_eq!(elsewhere.verdict(&evacuation), ConflictVerdict::Beside);
            }
        }
        for cause in [OperationCause::Operator, OperationCause::Automatic] {
            let rebalance = claim(OperationKind::Rebalance, cause, None);
            assert_eq!(evacuation.verdict(&rebalance), ConflictVerdict::Beside);
            assert_eq!(rebalance.verdict(&evacuation), ConflictVerdict::Beside);
        }
        assert_eq!(evacuation.verdict(&evacuation), ConflictVerdict::Refuses);
    }

    #[test]
    fn a_rebalance_runs_alone_in_its_pool() {
        let rebalance = claim(OperationKind::Rebalance, OperationCause::Operator, None);
        for (kind, backend) in [
            (OperationKind::Drain, Some(1)),
            (OperationKind::Failover, Some(1)),
            (OperationKind::Rebalance, None),
        ] {
            let other = claim(kind, OperationCause::Operator, backend);
            assert_eq!(rebalance.verdict(&other), ConflictVerdict::Refuses);
            assert_eq!(other.verdict(&rebalance), ConflictVerdict::Refuses);
            assert_eq!(rebalance.verdict(&Claim { pool: "other", ..other }), ConflictVerdict::Beside);
        }
    }

    #[test]
    fn what_nobody_asked_for_gives_way() {
        let automatic = claim(OperationKind::Rebalance, OperationCause::Automatic, None);
        assert_eq!(
            automatic.verdict(&claim(OperationKind::Drain, OperationCause::Operator, Some(1))),
            ConflictVerdict::GivesWay
        );
        assert_eq!(
            automatic.verdict(&claim(OperationKind::Rebalance, OperationCause::Operator, None)),
            ConflictVerdict::GivesWay
        );
        assert_eq!(automatic.verdict(&automatic), ConflictVerdict::Refuses);
        let asked = claim(OperationKind::Rebalance, OperationCause::Operator, None);
        assert_eq!(
            asked.verdict(&claim(OperationKind::Drain, OperationCause::Removed, Some(1))),
            ConflictVerdict::GivesWay
        );
        assert_eq!(asked.verdict(&automatic), ConflictVerdict::Refuses);
    }
}
