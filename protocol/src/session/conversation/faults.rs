//! Faults that tests put into a conversation, to see that they are noticed. Elsewhere there is none.

use super::Conversation;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum Fault {
    /// No answer is waited for.
    NoBarrier,
    /// The client gets answers that it has had.
    NoSwallowing,
    /// What has ended is said to have ended to backends that never heard of it.
    EndsWithoutRecord,
    /// Replies go to whoever is there.
    StaleReplies,
    /// Asks are repeated that were answered.
    AnsweredAsks,
    /// Each message stands by itself.
    NoUnits,
}

impl Conversation {
    #[cfg(test)]
    pub(super) fn is_at_fault(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    #[cfg(not(test))]
    #[inline(always)]
    pub(super) const fn is_at_fault(&self, _: Fault) -> bool {
        false
    }
}
