//! What kinds of operations there are, and who begins them.

use crate::words::words;

words! {
    /// What is done.
    pub(crate) enum OperationKind {
        /// A backend's sessions move to others, and it gets no new ones.
        Drain = "drain",
        /// A pool's sessions are spread anew.
        Rebalance = "rebalance",
        /// A backend's sessions leave it as if it had failed.
        Failover = "failover",
        /// A backend is down, and its sessions move to others.
        Evacuation = "evacuation",
    }
}

words! {
    /// Who began it.
    pub(crate) enum OperationCause {
        Operator = "operator",
        /// The backend was taken away.
        Removed = "removed",
        /// The backend asked for it.
        Backend = "backend",
        /// The pool was out of balance.
        Automatic = "automatic",
        /// The backend is down.
        Down = "down",
    }
}
