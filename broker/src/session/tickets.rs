//! The moves under way, by their tickets: what the sessions' own threads know of operations.

use std::collections::HashMap;

use steadfast_protocol::session::MoveOutcome;

use crate::lock::rank::TicketsRank;
use crate::lock::{OrderedMutex, OrderedMutexGuard};

/// All tickets. Its lock is an inner one: whoever holds it takes no other.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    book: OrderedMutex<TicketBook, TicketsRank>,
}

#[derive(Debug, Default)]
struct TicketBook {
    /// The last one that was given out.
    last: u64,
    valid: HashMap<u64, Purpose>,
    /// How many of these are counted.
    counted: usize,
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
    /// The backend that it must be; `None`: any eligible one.
    pub(crate) target: Option<usize>,
    /// It is one of those of which only so many are under way at once.
    pub(crate) counted: bool,
}

/// A move that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndedMove {
    pub(crate) purpose: Purpose,
    pub(crate) outcome: MoveOutcome,
}

impl Tickets {
    /// A ticket that nobody had before.
    pub(crate) fn issue(&self, purpose: Purpose) -> u64 {
        let mut book = self.book();
        book.last += 1;
        let ticket = book.last;
        book.counted += usize::from(purpose.counted);
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
        if let Some(purpose) = book.take(ticket) {
            book.ended.push(EndedMove { purpose, outcome });
        }
    }

    /// The move was not begun, or nobody will report of it. False: somebody has done so already.
    pub(crate) fn void(&self, ticket: u64) -> bool {
        self.book().take(ticket).is_some()
    }

    /// What has ended since the last call.
    pub(crate) fn take_ended(&self) -> Vec<EndedMove> {
        std::mem::take(&mut self.book().ended)
    }

    /// Moves under way in all, of those that are counted.
    pub(crate) fn under_way(&self) -> usize {
        self.book().counted
    }

    fn book(&self) -> OrderedMutexGuard<'_, TicketBook> {
        self.book.lock()
    }
}

impl TicketBook {
    fn take(&mut self, ticket: u64) -> Option<Purpose> {
        let purpose = self.valid.remove(&ticket)?;
        self.counted -= usize::from(purpose.counted);
        Some(purpose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PURPOSE: Purpose = Purpose { operation: 1, session: 7, target: Some(3), counted: true };

    #[test]
    fn a_ticket_holds_until_its_move_has_ended() {
        let tickets = Tickets::default();
        let (one, other) = (tickets.issue(PURPOSE), tickets.issue(Purpose { target: None, ..PURPOSE }));
        assert_ne!(one, other);
        assert_eq!((tickets.target(one), tickets.target(other)), (Some(3), None));
        tickets.ended(one, MoveOutcome::Ended);
        assert_eq!((tickets.target(one), tickets.under_way()), (None, 1));
        assert_eq!(tickets.take_ended(), [EndedMove { purpose: PURPOSE, outcome: MoveOutcome::Ended }]);
        assert!(!tickets.void(one) && tickets.void(other));
        tickets.ended(other, MoveOutcome::Ended);
        assert!(tickets.take_ended().is_empty(), "nobody waits for it");
    }

    #[test]
    fn nobody_owns_a_ticket_that_was_not_given_out() {
        let tickets = Tickets::default();
        let next = 1 + tickets.issue(PURPOSE);
        for ticket in [0, next] {
            tickets.ended(ticket, MoveOutcome::Ended);
            assert!(tickets.take_ended().is_empty() && !tickets.void(ticket));
            assert_eq!((tickets.target(ticket), tickets.under_way()), (None, 1));
        }
    }

    #[test]
    fn those_that_are_not_counted_leave_room_for_others() {
        let tickets = Tickets::default();
        let (own, other) = (tickets.issue(Purpose { counted: false, ..PURPOSE }), tickets.issue(PURPOSE));
        assert_eq!(tickets.under_way(), 1);
        tickets.ended(own, MoveOutcome::Ended);
        assert_eq!((tickets.under_way(), tickets.take_ended().len()), (1, 1));
        assert!(tickets.void(other) && !tickets.void(other));
        assert_eq!(tickets.under_way(), 0);
    }
}
