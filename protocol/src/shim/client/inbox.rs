//! How far the client has the broker's messages, and when to say so.

use crate::time::Time;

/// An acknowledgement waits for no more messages than these.
const COUNT: u64 = 64;

/// Nor for more bytes of them.
const BYTES: usize = 64 * 1024;

/// Counts the messages of a session.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Seq of the last one that has come.
    last: u64,
    /// Seq of the last one that was acknowledged.
    acked: u64,
    /// Bytes of those between the two.
    bytes: usize,
    /// When they are to be acknowledged; `None`: there are none.
    due: Option<Time>,
}

impl Inbox {
    /// Seq of the last message that has come.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// A message has come; its seq. It is to be acknowledged by `due`, or sooner.
    pub(super) fn count(&mut self, bytes: usize, due: Time, now: Time) -> u64 {
        self.last += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        let full = self.last - self.acked >= COUNT || self.bytes >= BYTES;
        self.due = if full { Some(now) } else { self.due.or(Some(due)) };
        self.last
    }

    /// When something must be acknowledged.
    pub(super) fn due(&self) -> Option<Time> {
        self.due
    }

    /// What to acknowledge; it counts as done.
    pub(super) fn take(&mut self) -> u64 {
        (self.acked, self.bytes, self.due) = (self.last, 0, None);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Time = Time::ORIGIN;

    fn later() -> Time {
        NOW + Duration::from_millis(100)
    }

    #[test]
    fn the_first_message_sets_the_time_for_all() {
        let mut inbox = Inbox::default();
        assert_eq!(inbox.count(1, later(), NOW), 1);
        assert_eq!(inbox.count(1, later() + Duration::from_secs(1), later()), 2);
        assert_eq!(inbox.due(), Some(later()));
        assert_eq!((inbox.take(), inbox.due()), (2, None));
    }

    #[test]
    fn many_messages_or_bytes_are_acknowledged_at_once() {
        let mut inbox = Inbox::default();
        for _ in 1..COUNT {
            inbox.count(0, later(), NOW);
        }
        assert_eq!(inbox.due(), Some(later()));
        inbox.count(0, later(), NOW);
        assert_eq!((inbox.due(), inbox.take()), (Some(NOW), COUNT));
        inbox.count(BYTES, later(), NOW);
        assert_eq!(inbox.due(), Some(NOW));
    }
}
