//! The moves under way, by their tickets: what the sessions' own threads know of operations.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use steadfast_protocol::session::MoveOutcome;

/// All tickets. Its lock is an inner one: whoever holds it takes no other.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    book: Mutex<TicketBook>,
}

#[derive(Debug, Default)]
struct TicketBook {
    /// The last one that was given out.
    last: u64,
    valid: HashMap<u64, Purpose>,
    /// What was reported and not yet taken; never more than there were valid tickets.
    ended: Vec<EndedMove>,
}

/// What a ticket stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Purpose {
    /// The operation's number.
    pub(crate) operation: u64,
    /// The session's id.
    pub(crate) session: u128,
    /// The backend that it must be; `None`: any sound one.
    pub(crate) target: Option<usize>,
}

/// A move that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndedMove {
    pub(crate) purpose: Purpose,
    pub(crate) outcome: MoveOutcome,
}

impl Tickets {
    /// A ticket that nobody had before; never zero.
    pub(crate) fn issue(&self, purpose: Purpose) -> u64 {
        let mut book = self.book();
        book.last += 1;
        let ticket = book.last;
        book.valid.insert(ticket, purpose);
        ticket
    }

    /// Where its session must go; `None`: anywhere, or nobody asks any more.
    pub(crate) fn target(&self, ticket: u64) -> Option<usize> {
        self.book().valid.get(&ticket)?.target
    }

    /// Its move has ended.
    pub(crate) fn ended(&self, ticket: u64, outcome: MoveOutcome) {
        let mut book = self.book();
        if let Some(purpose) = book.valid.remove(&ticket) {
            book.ended.push(EndedMove { purpose, outcome });
        }
    }

    /// The move was not begun, or nobody will report of it. False: somebody has done so already.
    pub(crate) fn void(&self, ticket: u64) -> bool {
        self.book().valid.remove(&ticket).is_some()
    }

    /// What has ended since the last call.
    pub(crate) fn take_ended(&self) -> Vec<EndedMove> {
        std::mem::take(&mut self.book().ended)
    }

    /// Moves under way in all.
    pub(crate) fn under_way(&self) -> usize {
        self.book().valid.len()
    }

    fn book(&self) -> MutexGuard<'_, TicketBook> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PURPOSE: Purpose = Purpose { operation: 1, session: 7, target: Some(3) };

    #[test]
    fn a_ticket_holds_until_its_move_has_ended() {
        let tickets = Tickets::default();
        let (one, other) = (tickets.issue(PURPOSE), tickets.issue(Purpose { target: None, ..PURPOSE }));
        assert!(one != 0 && one != other);
        assert_eq!((tickets.target(one), tickets.target(other)), (Some(3), None));
        tickets.ended(one, MoveOutcome::Ended);
        assert_eq!((tickets.target(one), tickets.under_way()), (None, 1));
        assert_eq!(tickets.take_ended(), [EndedMove { purpose: PURPOSE, outcome: MoveOutcome::Ended }]);
        assert!(!tickets.void(one) && tickets.void(other));
        tickets.ended(other, MoveOutcome::Ended);
        assert!(tickets.take_ended().is_empty(), "nobody waits for it");
    }

    #[test]
    fn nobody_owns_ticket_zero() {
        let tickets = Tickets::default();
        tickets.ended(0, MoveOutcome::Ended);
        assert!(tickets.take_ended().is_empty());
        assert_eq!(tickets.target(0), None);
        assert_eq!(tickets.under_way(), 0);
    }
}
