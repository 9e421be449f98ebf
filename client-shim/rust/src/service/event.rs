//! What a service is told of a session.

use crate::Message;

use super::End;

/// What happens to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message of the client's.
    Message {
        /// Its seq: 1, 2, 3 ... in the session, wherever that is. With the session's name it is a key by which
        /// a store knows a message that comes again.
        seq: u64,
        /// The message.
        message: Message,
    },
    /// The broker has applied all commits up to this number.
    Applied(u64),
    /// The session is to leave: what can be committed should be, with a capsule.
    Draining,
    /// It has left; the last event.
    Ended(End),
}

impl Event {
    /// What it costs while it waits, in bytes.
    pub(super) fn cost(&self) -> usize {
        let payload = match self {
            Event::Message { message, .. } => message.as_bytes().len(),
            _ => 0,
        };
        payload.saturating_add(size_of::<Event>())
    }
}
