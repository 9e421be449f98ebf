//! What kinds of operations there are, and who begins them.

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A backend's sessions move to others, and it gets no new ones.
    Drain,
    /// A pool's sessions are spread anew.
    Rebalance,
    /// A backend's sessions leave it as if it had failed.
    Failover,
}

/// Who began it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Operator,
    /// The backend was taken away.
    Removed,
    /// The backend asked for it.
    Backend,
    /// The pool was out of balance.
    Automatic,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Drain, Kind::Rebalance, Kind::Failover];

    /// The word for logs, metrics and the API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Drain => "drain",
            Kind::Rebalance => "rebalance",
            Kind::Failover => "failover",
        }
    }
}

impl Cause {
    pub(super) fn name(self) -> &'static str {
        match self {
            Cause::Operator => "operator",
            Cause::Removed => "removed",
            Cause::Backend => "backend",
            Cause::Automatic => "automatic",
        }
    }
}
