//! What a service sends a session through.

use std::sync::Arc;

use super::shared::SharedSession;
use super::{Commit, Ended, Push};

/// Sends commits and pushes of one session. Clones are for other tasks; what each sends keeps its order.
#[derive(Debug, Clone)]
pub struct Sender {
    shared: Arc<SharedSession>,
}

impl Sender {
    pub(super) fn new(shared: Arc<SharedSession>) -> Sender {
        Sender { shared }
    }

    /// Begins a commit: everything up to this seq is consumed. It may be the same as before, to commit
    /// outputs or a capsule alone.
    pub fn commit(&self, upto: u64) -> Commit<'_> {
        Commit::new(&self.shared, upto, None)
    }

    /// Begins a commit again that was made at another service, with its number, for a service with a store of
    /// its own that does not know whether the broker has it. To be done before the first message is taken.
    pub fn repeat(&self, number: u64, upto: u64) -> Commit<'_> {
        Commit::new(&self.shared, upto, Some(number))
    }

    /// Begins a push: messages for the client that answer nothing, and are not repeated if they are lost.
    pub fn push(&self) -> Push<'_> {
        Push::new(&self.shared)
    }

    /// Waits until the broker has applied all commits up to this number. That may take until its next ping,
    /// unless one of them was sent with [`Commit::prompt`].
    ///
    /// # Errors
    /// When the session leaves before that is known.
    pub async fn applied(&self, number: u64) -> Result<(), Ended> {
        let applied = self.shared.until(|state| match &state.end {
            _ if state.machine.applied() >= number => Some(Ok(())),
            Some(end) => Some(Err(Ended(Some(end.clone())))),
            None => None,
        });
        applied.await
    }

    /// Seq of the last message that is consumed by a commit that was sent.
    pub fn consumed(&self) -> u64 {
        self.shared.lock().machine.consumed()
    }

    pub(super) fn shared(&self) -> &Arc<SharedSession> {
        &self.shared
    }
}
