//! The short way. Almost always both sides are connected and nothing goes on but relaying: nothing fails, moves, ends
//! or is told to anybody, and all that is waited for is acknowledgements. Then most of what [`Session::advance`] and
//! [`Session::poll_timeout`] look at cannot be, and what is left is done here. It changes nothing but what it costs:
//! the tests hold it against the long way.
//!
//! ```text
//!            advance, nothing but relaying        poll_timeout           advance, nothing but relaying
//!   Sought ------------------------------> Plain -------------> Found --------------------------------> Kept
//!     ^                                                           ^                                      |
//!     |  advance, anything else                                   '--- poll_timeout: as it was <---------'
//!     '---------- from each                      Found, Kept --> Plain: it comes soon, or may be too far
//! ```

use std::time::Duration;

use crate::entropy::Entropy;
use crate::time::Time;

use super::super::{BackendPhase, ClientPhase, Config, Session};

/// What is known of the next deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum NextDeadline {
    /// It is to be found: more than relaying goes on.
    Sought,
    /// It is to be found, and what is found serves for a while: as long as nothing but relaying goes on, a deadline is
    /// put off or done with, and a new one is as far away as [`soonest`] at least.
    Plain,
    /// It was found so.
    Found,
    /// It was, and still serves. It may be too early, which costs a look.
    Kept,
}

/// How far away a deadline is at the least that relaying brings about.
pub(in crate::session) fn soonest(config: &Config) -> Duration {
    let times = [
        config.ack_timeout / 2,
        config.ack_hold,
        config.stall_timeout,
        config.keepalive,
        config.client_pong,
        config.client_stall,
        config.message_timeout,
    ];
    times.into_iter().filter(|time| !time.is_zero()).min().unwrap_or_default()
}

impl Session {
    /// Nothing but relaying went on when [`Session::advance`] was called last: the driver has nothing to do but to read
    /// and write.
    #[inline]
    pub fn only_relays(&self) -> bool {
        self.next_deadline != NextDeadline::Sought
    }

    /// Nothing goes on but relaying.
    #[inline]
    fn is_plain(&self) -> bool {
        let both = matches!((&self.state.client, self.backend), (ClientPhase::Open, BackendPhase::Linked));
        let plain = self.state.shim.is_none() && self.backend_link.is_proven();
        let quiet = self.underway.is_empty()
            && self.state.exceptions.as_ref().is_none_or(|exceptions| exceptions.are_counts())
            && self.memory_short.is_none();
        let timers =
            self.client_link.timers.has_nothing_rare() && self.backend_link.timers.has_nothing_rare();
        let reads = !self.state.downstream.waits() && self.state.ring.len() < self.config.ring_limit;
        #[cfg(test)]
        let plain = plain && !self.at_length;
        both && plain && quiet && timers && reads
    }

    /// As [`Session::advance`], where nothing but relaying goes on and no deadline has come. False: it is not so, and
    /// nothing was done.
    #[inline]
    pub(in crate::session) fn advance_shortly(&mut self, now: Time, entropy: &mut Entropy<'_>) -> bool {
        if now >= self.due || !self.is_plain() || !self.backend_link.writer.is_unbounded(&self.state.ring) {
            self.next_deadline = NextDeadline::Sought;
            return false;
        }
        self.backend_link.writer.ask_shortly(&self.state.ring, now, entropy);
        self.mark_client(now);
        let awaits = self.backend_link.writer.awaits(&self.state.ring);
        self.backend_link.timers.awaiting(now, awaits, false);
        self.next_deadline = match self.next_deadline {
            NextDeadline::Found | NextDeadline::Kept if self.keeps_due(now) => NextDeadline::Kept,
            _ => NextDeadline::Plain,
        };
        true
    }

    /// The deadline that was found is before any other that there can be by now, and not so near that it is worth
    /// a look.
    #[inline]
    fn keeps_due(&self, now: Time) -> bool {
        let left = self.due.micros_since(now);
        let soonest = u64::from(self.soonest);
        left <= soonest && left >= soonest / 4
    }
}
