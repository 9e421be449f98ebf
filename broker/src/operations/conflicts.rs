//! Which operations may run beside each other.

use super::kind::{Cause, Kind};

/// What an operation works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim<'a> {
    pub(super) kind: Kind,
    pub(super) cause: Cause,
    pub(super) pool: &'a str,
    /// The id of the backend that is emptied; `None`: it is the whole pool.
    pub(super) backend: Option<usize>,
}

/// What becomes of a running operation when another is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
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
    pub(super) fn verdict(&self, wanted: &Claim<'_>) -> Verdict {
        let rebalance = [self.kind, wanted.kind].contains(&Kind::Rebalance);
        if self.pool != wanted.pool || !(rebalance || self.backend == wanted.backend) {
            Verdict::Beside
        } else if self.kind == Kind::Rebalance && self.gives_way(wanted) {
            Verdict::GivesWay
        } else {
            Verdict::Refuses
        }
    }

    /// Nobody has asked for an automatic rebalance, and a backend that goes away does not wait.
    fn gives_way(&self, wanted: &Claim<'_>) -> bool {
        let urgent = matches!(wanted.cause, Cause::Removed | Cause::Backend);
        urgent || (self.cause == Cause::Automatic && wanted.cause == Cause::Operator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(kind: Kind, cause: Cause, backend: Option<usize>) -> Claim<'static> {
        Claim { kind, cause, pool: "chat", backend }
    }

    #[test]
    fn one_backend_belongs_to_one_operation() {
        let drain = claim(Kind::Drain, Cause::Operator, Some(1));
        for kind in [Kind::Drain, Kind::Failover] {
            for cause in [Cause::Operator, Cause::Removed, Cause::Backend] {
                assert_eq!(drain.verdict(&claim(kind, cause, Some(1))), Verdict::Refuses);
                assert_eq!(drain.verdict(&claim(kind, cause, Some(2))), Verdict::Beside);
                let elsewhere = Claim { pool: "other", ..claim(kind, cause, Some(1)) };
                assert_eq!(drain.verdict(&elsewhere), Verdict::Beside);
            }
        }
    }

    #[test]
    fn a_rebalance_runs_alone_in_its_pool() {
        let rebalance = claim(Kind::Rebalance, Cause::Operator, None);
        for (kind, backend) in [(Kind::Drain, Some(1)), (Kind::Failover, Some(1)), (Kind::Rebalance, None)] {
            let other = claim(kind, Cause::Operator, backend);
            assert_eq!(rebalance.verdict(&other), Verdict::Refuses);
            assert_eq!(other.verdict(&rebalance), Verdict::Refuses);
            assert_eq!(rebalance.verdict(&Claim { pool: "other", ..other }), Verdict::Beside);
        }
    }

    #[test]
    fn what_nobody_asked_for_gives_way() {
        let automatic = claim(Kind::Rebalance, Cause::Automatic, None);
        assert_eq!(automatic.verdict(&claim(Kind::Drain, Cause::Operator, Some(1))), Verdict::GivesWay);
        assert_eq!(automatic.verdict(&claim(Kind::Rebalance, Cause::Operator, None)), Verdict::GivesWay);
        assert_eq!(automatic.verdict(&automatic), Verdict::Refuses);
        let asked = claim(Kind::Rebalance, Cause::Operator, None);
        assert_eq!(asked.verdict(&claim(Kind::Drain, Cause::Removed, Some(1))), Verdict::GivesWay);
        assert_eq!(asked.verdict(&automatic), Verdict::Refuses);
    }
}
