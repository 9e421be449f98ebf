//! Clients that are told to reconnect because there is room for them, and are on their way back.

use std::collections::VecDeque;
use std::time::Duration;

use steadfast_protocol::time::Time;

use crate::lock::OrderedMutex;
use crate::lock::rank::InvitationsRank;

/// How long a place is kept for each. Then it has come, and the room is less without it, or is late.
const KEPT: Duration = Duration::from_secs(2);

/// When they were told; one entry for each place there is at the most.
#[derive(Debug, Default)]
pub(super) struct Invitations(OrderedMutex<VecDeque<Time>, InvitationsRank>);

impl Invitations {
    /// Whether one more may come, now that there is so much room. If so it counts as on its way.
    pub(super) fn invite(&self, now: Time, room: usize) -> bool {
        // Most pools have no limit.
        if room == 0 || room == usize::MAX {
            return room > 0;
        }
        let mut told = self.0.lock();
        while told.front().is_some_and(|told| now.since(*told) >= KEPT) {
            told.pop_front();
        }
        let free = told.len() < room;
        if free {
            told.push_back(now);
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_told_to_come_than_there_is_room_for() {
        let (invitations, now) = (Invitations::default(), Time::ORIGIN + Duration::from_secs(1));
        let told = |now, room| (0..10).filter(|_| invitations.invite(now, room)).count();
        assert_eq!(told(now, 3), 3);
        assert_eq!(told(now, 3), 0);
        assert_eq!(told(now, 5), 2, "more room has come");
        assert_eq!(told(now + KEPT, 3), 3, "who has not come by now does not count");
        assert_eq!((told(now, 0), told(now, usize::MAX)), (0, 10));
    }
}
