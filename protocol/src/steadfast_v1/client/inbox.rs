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
    /// When they are to be acknowledged.
    due: Option<Time>,
    /// They are to be acknowledged now.
    ripe: bool,
}

impl Inbox {
    /// Seq of the last message that has come.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// A message has come; its seq. It is to be acknowledged by `due`, or sooner.
    pub(super) fn count(&mut self, bytes: usize, due: Time) -> u64 {
        self.last += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.due.get_or_insert(due);
        self.ripe |= self.last - self.acked >= COUNT || self.bytes >= BYTES;
        self.last
    }

    /// Looks at the time.
    pub(super) fn advance(&mut self, now: Time) {
        self.ripe |= self.due.is_some_and(|due| due <= now);
    }

    /// When there will be something that must be acknowledged; `None`: never, or there is now.
    pub(super) fn due(&self) -> Option<Time> {
        self.due.filter(|_| !self.ripe)
    }

    /// What to acknowledge; it counts as done. `rides`: a message is going to be written anyway.
    pub(super) fn take(&mut self, rides: bool) -> Option<u64> {
        (self.ripe || rides && self.due.is_some()).then(|| self.take_all())
    }

    /// The same, also when there is nothing new.
    pub(super) fn take_all(&mut self) -> u64 {
        (self.acked, self.bytes, self.due, self.ripe) = (self.last, 0, None, false);
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
        assert_eq!(inbox.count(1, later()), 1);
        assert_eq!(inbox.count(1, later() + Duration::from_secs(1)), 2);
        inbox.advance(NOW);
        assert_eq!((inbox.take(false), inbox.due()), (None, Some(later())));
        inbox.advance(later());
        assert_eq!(inbox.due(), None, "nothing to wait for: it can be said now");
        assert_eq!((inbox.take(false), inbox.take(true)), (Some(2), None));
    }

    #[test]
    fn it_rides_with_messages() {
        let mut inbox = Inbox::default();
        assert_eq!(inbox.take(true), None);
        inbox.count(1, later());
        assert_eq!(inbox.take(true), Some(1));
        assert_eq!(inbox.take_all(), 1);
    }

    #[test]
    fn many_messages_or_bytes_are_acknowledged_at_once() {
        let mut inbox = Inbox::default();
        for _ in 1..COUNT {
            inbox.count(0, later());
        }
        assert_eq!(inbox.take(false), None);
        inbox.count(0, later());
        assert_eq!(inbox.take(false), Some(COUNT));
        inbox.count(BYTES, later());
        assert_eq!(inbox.take(false), Some(COUNT + 1));
    }
}
