//! How a backend asks to be drained, in one word, and as a sentence.

use crate::words::words;

words! {
    /// How a backend asks.
    pub(crate) enum DrainReason {
        /// Close 1012 to one of its sessions.
        Restart = "restart",
        /// Close 1001 to most of them.
        GoingAway = "going_away",
        /// The header in its answer to an upgrade.
        Upgrade = "upgrade",
        /// The header in its answer to a health check.
        Health = "health",
    }
}

impl DrainReason {
    /// What the backend did.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            DrainReason::Restart => "the backend said Close 1012 (service restart) to a session",
            DrainReason::GoingAway => {
                "the backend said Close 1001 (going away) to most of its sessions within a second"
            }
            DrainReason::Upgrade => "the backend answered an upgrade with Steadfast-Drain: on",
            DrainReason::Health => "the backend answered a health check with Steadfast-Drain: on",
        }
    }
}
