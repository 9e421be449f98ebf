//! What kinds of operations there are, and who begins them.

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OperationKind {
    /// A backend's sessions move to others, and it gets no new ones.
    Drain,
    /// A pool's sessions are spread anew.
    Rebalance,
    /// A backend's sessions leave it as if it had failed.
    Failover,
    /// A backend is down, and its sessions move to others.
    Evacuation,
}

/// Who began it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OperationCause {
    Operator,
    /// The backend was taken away.
    Removed,
    /// The backend asked for it.
    Backend,
    /// The pool was out of balance.
    Automatic,
    /// The backend is down.
    Down,
}

impl OperationKind {
    pub(crate) const ALL: [OperationKind; 4] =
        [OperationKind::Drain, OperationKind::Rebalance, OperationKind::Failover, OperationKind::Evacuation];

    /// The word for logs, metrics and the API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            OperationKind::Drain => "drain",
            OperationKind::Rebalance => "rebalance",
            OperationKind::Failover => "failover",
            OperationKind::Evacuation => "evacuation",
        }
    }
}

impl OperationCause {
    pub(super) fn name(self) -> &'static str {
        match self {
            OperationCause::Operator => "operator",
            OperationCause::Removed => "removed",
            OperationCause::Backend => "backend",
            OperationCause::Automatic => "automatic",
            OperationCause::Down => "down",
        }
    }
}
