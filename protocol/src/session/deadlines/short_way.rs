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
//!
//!   What is kept for a client that may come back, and the broker's own words to it:
//!
//!   nothing waits -- advance: something does, since now --> waits -- all is written --> nothing waits
//!                                                             |
//!                                                             '- the next advance: the long way, until it is
//! ```
//!
//! With a shim, more goes on in a session that does nothing but relay: commits are applied, notices go with pings, and
//! what a client may come back for is kept and acknowledged. It comes to the same here, since almost all of that is done
//! where it comes in, before either way. Of what is left for [`Session::advance`],
//!
//! - a notice that a service waits for takes a ping of its own, and so the long way; others go with the pings that are
//!   made here as there;
//! - what a client is told, or asked, is the long way's own step, taken here as well; its time is no deadline that is
//!   kept, but is looked at whenever one is asked for;
//! - that something waits for the client, and is so much that the backend is not read, is noted by the long way's steps.
//!   They leave something rare where it is not taken at once, and with that the next call takes the long way.

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
    #[inline(always)]
    fn is_plain<const SHIM: bool>(&self) -> bool {
        let both = matches!((&self.state.client, self.backend), (ClientPhase::Open, BackendPhase::Linked));
        let plain = self.backend_link.is_proven();
        let quiet = self.underway.is_empty()
            && self.state.exceptions.as_ref().is_none_or(|exceptions| exceptions.are_counts())
            && self.memory_short.is_none();
        let timers =
            self.client_link.timers.has_nothing_rare() && self.backend_link.timers.has_nothing_rare();
        let taken = if SHIM { self.shim_is_plain() } else { !self.state.downstream.waits() };
        let reads = taken && self.state.ring.len() < self.config.ring_limit && !self.marks_are_full();
        #[cfg(test)]
        let plain = plain && !self.at_length;
        both && plain && quiet && timers && reads
    }

    /// Nothing goes on but relaying in what a session has whose service or client links the shim, or whose client may
    /// come back.
    fn shim_is_plain(&self) -> bool {
        let taken = match &self.client_link.returning {
            None => !self.state.downstream.waits(),
            Some(_) => !self.away(),
        };
        taken && !self.backend_link.owes_notice()
    }

    /// As [`Session::advance`], where nothing but relaying goes on and no deadline has come. False: it is not so, and
    /// nothing was done.
    #[inline]
    pub(in crate::session) fn advance_shortly(&mut self, now: Time, entropy: &mut Entropy<'_>) -> bool {
        match self.state.shim {
            None => self.relay_on::<false>(now, entropy),
            Some(_) => self.relay_on_with_shim(now, entropy),
        }
    }

    /// By itself, so that it costs nothing where there is none.
    #[inline(never)]
    fn relay_on_with_shim(&mut self, now: Time, entropy: &mut Entropy<'_>) -> bool {
        self.relay_on::<true>(now, entropy)
    }

    #[inline(always)]
    fn relay_on<const SHIM: bool>(&mut self, now: Time, entropy: &mut Entropy<'_>) -> bool {
        let unbounded = |session: &Session| session.backend_link.writer.is_unbounded(&session.state.ring);
        if now >= self.due || !self.is_plain::<SHIM>() || !unbounded(self) {
            self.next_deadline = NextDeadline::Sought;
            return false;
        }
        let paused = if SHIM {
            self.advance_shim(now, entropy)
        } else {
            self.backend_link.writer.ask_shortly(&self.state.ring, now, None, entropy);
            false
        };
        self.mark_client(now);
        let awaits = self.backend_link.writer.awaits(&self.state.ring);
        self.backend_link.timers.awaiting(now, awaits, paused);
        self.next_deadline = match self.next_deadline {
            NextDeadline::Found | NextDeadline::Kept if self.keeps_due(now) => NextDeadline::Kept,
            _ => NextDeadline::Plain,
        };
        true
    }

    /// What is done for both ends where a session has a shim, or a client that may come back. Says whether so much waits
    /// for the client that the backend is not read.
    fn advance_shim(&mut self, now: Time, entropy: &mut Entropy<'_>) -> bool {
        let notice = self.notice();
        if self.backend_link.writer.ask_shortly(&self.state.ring, now, notice, entropy) {
            self.notice_told(notice);
        }
        if self.client_link.returning.is_none() {
            return false;
        }
        self.tell_client_progress(now);
        let paused = self.client_is_behind();
        self.note_waiting(now, paused);
        paused
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
