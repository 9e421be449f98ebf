//! What a client tells its application.

use std::ops::RangeInclusive;

use steadfast_protocol::steadfast_v1::client::{End, Loss};
use steadfast_protocol::steadfast_v1::client_wire::Reason;

use crate::Message;

/// What happens to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message has come.
    Message {
        /// 1, 2, 3 ... in each session.
        seq: u64,
        /// The message.
        message: Message,
    },
    /// There is a connection, and the session goes on.
    Resumed,
    /// There is a connection, and a session that is new.
    Fresh {
        /// Why it is not the one before.
        reason: Reason,
        /// Ids of messages that were written and are not known to be committed: the service may have
        /// acted on them, or not. They are not sent again.
        unknown: Option<RangeInclusive<u64>>,
    },
    /// The connection, or the attempt at one, has come to nothing. There will be another.
    Lost {
        /// Why.
        loss: Loss,
        /// What the system or the server said, if there is more to tell.
        detail: Option<String>,
    },
    /// It is over; the last event.
    Closed(End),
}

impl Event {
    /// What it costs while it waits, in bytes.
    pub(super) fn cost(&self) -> usize {
        let payload = match self {
            Event::Message { message, .. } => message.as_bytes().len(),
            Event::Lost { detail, .. } => detail.as_ref().map_or(0, String::len),
            _ => 0,
        };
        payload.saturating_add(size_of::<Event>())
    }
}
