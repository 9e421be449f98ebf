//! The messages that the application has sent, until the broker has them, and what became of each.
//!
//! An *id* counts the application's messages and never begins anew; a *seq* counts those of one session,
//! as the broker does. The id of a message is its seq and the number of those that earlier sessions had.
//!
//! ```text
//!                  base            committed    received        next    written        last
//!   ids  ...--------|--------------------|----------|------------|---------|------------|
//!        settled in   this session:        the broker  on its way  to be     never
//!        earlier      committed            has them                repeated  written
//!        sessions                        |<------------ unknown ---------->| if it ends now
//!                                                   |<-------------- kept ------------->|
//! ```

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use crate::steadfast_v1::client_wire::{MESSAGE, Watermarks};

use super::Breach;

/// What a message costs beyond its bytes.
const OVERHEAD: usize = 32;

/// How many ranges of unknown messages are remembered one by one.
const RANGES: usize = 32;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is kept here, and goes to the broker, perhaps again.
    Kept,
    /// The broker has it.
    Received,
    /// The service has committed it (in a pool that does not link the shim: has acknowledged it).
    Committed,
    /// Its session has ended before it was known to be committed: the service may have acted on it, or not.
    Unknown,
    /// It was never written to a connection, and never will be.
    Unsent,
}

/// A message as it is written: its kind, and the application's bytes.
#[derive(Debug)]
struct Kept {
    text: bool,
    message: Vec<u8>,
}

/// See the [module](self) for its numbers, which are ids.
#[derive(Debug)]
pub(super) struct Outbox {
    limit: usize,
    bytes: usize,
    kept: VecDeque<Kept>,
    base: u64,
    committed: u64,
    received: u64,
    /// The first that is not written to the present connection.
    next: u64,
    /// The last that was written to any.
    written: u64,
    last: u64,
    unknown: VecDeque<RangeInclusive<u64>>,
    closed: bool,
}

impl Outbox {
    pub(super) fn new(limit: usize) -> Outbox {
        Outbox {
            limit,
            bytes: 0,
            kept: VecDeque::new(),
            base: 0,
            committed: 0,
            received: 0,
            next: 1,
            written: 0,
            last: 0,
            unknown: VecDeque::new(),
            closed: false,
        }
    }

    /// Whether another message is taken.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < self.limit
    }

    /// Bytes that are kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a message, and gives it an id. The caller has looked for room.
    pub(super) fn push(&mut self, text: bool, payload: &[u8]) -> u64 {
        let mut message = Vec::with_capacity(1 + payload.len());
        message.push(MESSAGE);
        message.extend(payload);
        self.bytes += OVERHEAD + message.len();
        self.kept.push_back(Kept { text, message });
        self.last += 1;
        self.last
    }

    /// Whether there is one to write.
    pub(super) fn has_next(&self) -> bool {
        self.next <= self.last
    }

    /// Whether the broker has all there are.
    pub(super) fn is_delivered(&self) -> bool {
        self.received == self.last
    }

    /// The next one to write; it counts as written.
    pub(super) fn take_next(&mut self) -> Option<(bool, Vec<u8>)> {
        let ahead = usize::try_from(self.next - self.received - 1).ok()?;
        let kept = self.kept.get(ahead)?;
        self.written = self.written.max(self.next);
        self.next += 1;
        Some((kept.text, kept.message.clone()))
    }

    /// The session goes on, on another connection: what the broker does not have is written again.
    pub(super) fn resume(&mut self, told: Watermarks) -> Result<(), Breach> {
        self.advance(told, self.written)?;
        self.next = self.received + 1;
        Ok(())
    }

    /// The broker tells how far it is.
    pub(super) fn acknowledge(&mut self, told: Watermarks) -> Result<(), Breach> {
        self.advance(told, self.next - 1)
    }

    /// `most`: the id of the last message that the broker can have.
    fn advance(&mut self, told: Watermarks, most: u64) -> Result<(), Breach> {
        let (received, committed) = (self.base + told.received, self.base + told.committed);
        if received > most || committed > received {
            return Err(Breach::FutureAck);
        }
        if received < self.received || committed < self.committed {
            return Err(Breach::BackwardAck);
        }
        self.committed = committed;
        self.forget(received);
        Ok(())
    }

    /// Drops what is kept up to an id.
    fn forget(&mut self, upto: u64) {
        while self.received < upto {
            let Some(kept) = self.kept.pop_front() else { break };
            self.bytes -= OVERHEAD + kept.message.len();
            self.received += 1;
        }
    }

    /// A new session begins: what was written and is not known to be committed is in the unknown; what was
    /// never written is for the new one.
    pub(super) fn begin(&mut self) -> Option<RangeInclusive<u64>> {
        let unknown = self.unsettled();
        self.unknown.extend(unknown.clone());
        if self.unknown.len() > RANGES {
            self.join_oldest();
        }
        self.forget(self.written);
        (self.base, self.committed) = (self.written, self.written);
        self.next = self.written + 1;
        unknown
    }

    /// What lies between the two oldest ranges was committed, and is called unknown from now on: that is
    /// less than it could say, and not wrong.
    fn join_oldest(&mut self) {
        if let (Some(first), Some(second)) = (self.unknown.pop_front(), self.unknown.pop_front()) {
            self.unknown.push_front(*first.start()..=*second.end());
        }
    }

    /// Nothing is written any more.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.kept = VecDeque::new();
        self.bytes = 0;
    }

    /// What is written and not known to be committed.
    pub(super) fn unsettled(&self) -> Option<RangeInclusive<u64>> {
        range(self.committed, self.written)
    }

    /// What is not written.
    pub(super) fn unsent(&self) -> Option<RangeInclusive<u64>> {
        range(self.written, self.last)
    }

    /// Id of the last message up to which the broker has everything, or had when its session ended.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// The same for what is committed.
    pub(super) fn committed(&self) -> u64 {
        self.committed
    }

    /// What became of a message. `None`: there is none with this id.
    pub(super) fn fate(&self, id: u64) -> Option<Fate> {
        Some(match id {
            _ if id == 0 || id > self.last => return None,
            _ if self.unknown.iter().any(|range| range.contains(&id)) => Fate::Unknown,
            _ if id <= self.committed => Fate::Committed,
            _ if self.closed && id <= self.written => Fate::Unknown,
            _ if self.closed => Fate::Unsent,
            _ if id <= self.received => Fate::Received,
            _ => Fate::Kept,
        })
    }
}

/// What comes after one id, up to another.
fn range(after: u64, upto: u64) -> Option<RangeInclusive<u64>> {
    (after < upto).then(|| after + 1..=upto)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(messages: u64) -> Outbox {
        let mut outbox = Outbox::new(1000);
        for _ in 0..messages {
            outbox.push(true, b"text");
        }
        outbox
    }

    fn write(outbox: &mut Outbox, messages: usize) {
        for _ in 0..messages {
            outbox.take_next().expect("a message");
        }
    }

    fn told(received: u64, committed: u64) -> Watermarks {
        Watermarks { received, committed }
    }

    #[test]
    fn what_the_broker_has_makes_room() {
        let mut outbox = Outbox::new(2 * (OVERHEAD + 5));
        assert_eq!((outbox.push(true, b"text"), outbox.has_room()), (1, true));
        assert_eq!((outbox.push(true, b"text"), outbox.has_room()), (2, false));
        write(&mut outbox, 2);
        outbox.acknowledge(told(1, 0)).expect("written");
        assert!(outbox.has_room());
        assert!(!outbox.is_delivered());
        outbox.acknowledge(told(2, 0)).expect("written");
        assert_eq!((outbox.bytes, outbox.is_delivered()), (0, true));
    }

    #[test]
    fn empty_messages_fill_it_too() {
        let mut outbox = Outbox::new(100);
        let taken = std::iter::from_fn(|| outbox.has_room().then(|| outbox.push(false, b""))).count();
        assert_eq!(taken, 4);
    }

    #[test]
    fn after_a_resume_the_rest_is_written_again() {
        let mut outbox = with(3);
        write(&mut outbox, 2);
        outbox.resume(told(1, 0)).expect("written");
        assert_eq!((outbox.next, outbox.written), (2, 2));
        write(&mut outbox, 2);
        assert_eq!(outbox.take_next(), None);
    }

    #[test]
    fn acks_of_what_is_not_written_are_breaches() {
        let mut outbox = with(3);
        write(&mut outbox, 2);
        assert_eq!(outbox.acknowledge(told(3, 0)), Err(Breach::FutureAck));
        assert_eq!(outbox.acknowledge(told(1, 2)), Err(Breach::FutureAck), "committed and not received");
        outbox.acknowledge(told(2, 1)).expect("written");
        assert_eq!(outbox.acknowledge(told(1, 1)), Err(Breach::BackwardAck));
        assert_eq!(outbox.acknowledge(told(2, 0)), Err(Breach::BackwardAck));
        assert_eq!(outbox.resume(told(3, 1)), Err(Breach::FutureAck));
    }

    #[test]
    fn on_another_connection_only_what_was_written_there_can_be_acknowledged() {
        let mut outbox = with(3);
        write(&mut outbox, 3);
        outbox.resume(told(1, 0)).expect("written");
        assert_eq!(outbox.acknowledge(told(2, 0)), Err(Breach::FutureAck), "it has lost this one");
    }

    #[test]
    fn a_new_session_counts_from_one_and_ids_go_on() {
        let mut outbox = with(4);
        write(&mut outbox, 3);
        outbox.acknowledge(told(2, 1)).expect("written");
        assert_eq!(outbox.begin(), Some(2..=3));
        let fates: Vec<_> = (0..=5).map(|id| outbox.fate(id)).collect();
        let (unknown, committed) = (Some(Fate::Unknown), Some(Fate::Committed));
        assert_eq!(fates, [None, committed, unknown, unknown, Some(Fate::Kept), None]);
        write(&mut outbox, 1);
        outbox.acknowledge(told(1, 1)).expect("the first of the new session");
        assert_eq!(outbox.fate(4), Some(Fate::Committed));
        assert_eq!(outbox.begin(), None, "everything is known");
    }

    #[test]
    fn the_end_settles_every_fate() {
        let mut outbox = with(4);
        write(&mut outbox, 3);
        outbox.acknowledge(told(2, 1)).expect("written");
        assert_eq!((outbox.unsettled(), outbox.unsent()), (Some(2..=3), Some(4..=4)));
        outbox.close();
        let fates: Vec<_> = (1..=4).filter_map(|id| outbox.fate(id)).collect();
        assert_eq!(fates, [Fate::Committed, Fate::Unknown, Fate::Unknown, Fate::Unsent]);
    }

    #[test]
    fn what_is_remembered_of_old_sessions_is_bounded_and_never_wrong() {
        let mut outbox = with(0);
        for _ in 0..2 * RANGES {
            outbox.push(true, b"committed");
            outbox.push(true, b"not");
            write(&mut outbox, 2);
            outbox.acknowledge(told(1, 1)).expect("written");
            assert!(outbox.begin().is_some());
        }
        assert_eq!(outbox.unknown.len(), RANGES);
        let last = outbox.last;
        assert!((2..=last).step_by(2).all(|id| outbox.fate(id) == Some(Fate::Unknown)));
        assert_eq!(outbox.fate(last - 1), Some(Fate::Committed), "of late it is told exactly");
    }
}
