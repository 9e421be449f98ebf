//! What a session holds and why, for whoever shares out the memory of all sessions, and its end when it must give
//! back what it holds.
//!
//! ```text
//!   Open, attached --- press: between two frames ---> Told 1013; what is not begun is dropped, the client's
//!        |                                            open message too, and what the backend has not got
//!        '------------ press: within a frame -------> Over, by a reset: no Close has a place there
//!   away ------------- press -----------------------> Over; the backend is told 1013
//! ```

use std::num::NonZeroU8;

use crate::time::Time;
use crate::websocket::close_code::CloseCode;

use super::report::{EndCause, HeldFor, Holding};
use super::{ClientPhase, Session};

/// What the largest part of a pressed session's backlog toward its backend may be that is still delivered.
const DELIVERED_MAX: usize = 16 * 1024;

impl Session {
    /// Tells whether memory is short, and then how many KiB of each direction a session is let have. True: that
    /// is news, and [`Session::advance`] must be called before the driver sleeps.
    pub fn set_memory_short(&mut self, share: Option<NonZeroU8>) -> bool {
        std::mem::replace(&mut self.memory_short, share) != share
    }

    /// Bytes of the client's messages.
    #[inline]
    pub fn held_upstream(&self) -> usize {
        self.state.ring.len()
    }

    /// Bytes for the client, and of the backend's open message.
    #[inline]
    pub fn held_downstream(&self) -> usize {
        let open = self.state.conversation.as_ref().map_or(0, |talk| talk.opened());
        self.state.downstream.buffered() + self.backend_link.buffered() + open
    }

    /// Nothing but memory keeps the client's messages from going on: one is open, and the backend has taken and
    /// acknowledged all that it can have. Or acknowledgements stand behind them that make room.
    pub fn upstream_needs_memory(&self) -> bool {
        let writer = &self.backend_link.writer;
        let taken = || {
            let written = writer.all_written(&self.state.ring);
            self.linked() && written && !writer.awaits(&self.state.ring)
        };
        let open = self.client_says_more() && taken();
        open || (self.client_is_behind() && self.acknowledgements_may_come())
    }

    /// Nothing but memory keeps the backend's message from going on: it is open, and the client has all before it.
    pub fn downstream_needs_memory(&self) -> bool {
        let open = self.linked() && self.backend_link.scanner.message_open();
        open && match self.state.downstream.kept() {
            None => self.state.downstream.waiting() == 0,
            Some(kept) => !self.away() && kept.whole_len() == 0,
        }
    }

    /// What it holds, and what most of that waits for.
    pub fn holding(&self) -> Holding {
        let ring = &self.state.ring;
        let waiting = match self.state.downstream.kept() {
            None => self.state.downstream.waiting(),
            Some(kept) => kept.whole_len(),
        };
        let opened = (ring.end() - ring.whole()) as usize;
        let begun = self.held_downstream().saturating_sub(waiting);
        let reader = if self.away() { HeldFor::Absent } else { HeldFor::Client };
        let short = |held: usize| self.memory_short.is_some_and(|kib| held >= usize::from(kib.get()) * 1024);
        let parts = [
            (opened, HeldFor::ClientMessage, ring.end(), self.client_link.timers.paused()),
            (begun, HeldFor::BackendMessage, u64::from(self.state.downstream.position()), short(begun)),
            (waiting, reader, self.state.downstream.progress(), false),
            (ring.len() - opened, HeldFor::Backend, ring.base(), false),
        ];
        let (part, what, moved, paused) = parts.into_iter().max_by_key(|part| part.0).unwrap_or(parts[0]);
        Holding {
            bytes: self.buffered(),
            part,
            what,
            moved,
            paused,
            unproven: self.away() && !self.is_proven(),
        }
    }

    /// Ends the session, since what it holds is wanted elsewhere, and gives that back. The client is told 1013 where
    /// a Close has a place. False: it ends already, and holds nothing that could be given back at once.
    pub fn press(&mut self, now: Time, cause: EndCause, reason: &str) -> bool {
        let code = CloseCode::TRY_AGAIN_LATER;
        match self.state.client {
            ClientPhase::Open => self.press_open(now, (code, reason), cause),
            ClientPhase::Told { .. } | ClientPhase::Left { .. } if self.state.downstream.waiting() > 0 => {
                self.client_over();
            }
            _ if self.state.ring.len() <= DELIVERED_MAX => return false,
            _ => {}
        }
        if self.state.ring.len() > DELIVERED_MAX {
            self.drop_undelivered();
        }
        self.settle(now);
        true
    }

    fn press_open(&mut self, now: Time, (code, reason): (CloseCode, &str), cause: EndCause) {
        let speaks = !self.away() && self.drop_for_client();
        self.dismiss(now, code, reason, cause, false);
        self.stop_waiting();
        if !speaks {
            return self.client_over();
        }
        // It is read for its answer, and not waited for until it takes what stands before the Close.
        self.client_link.timers.served();
        let limit = now + self.config.close_timeout;
        if let ClientPhase::Told { until, .. } = &mut self.state.client {
            *until = Some(limit);
        }
    }

    /// Drops what the client has got nothing of. False: it has got a part of a frame.
    fn drop_for_client(&mut self) -> bool {
        let missed = match self.state.downstream.kept().map(|kept| kept.between_frames()) {
            None => self.state.downstream.drop_unbegun(),
            Some(between) => between.then(|| self.state.downstream.abandon()),
        };
        self.exceptions().lost_downstream += missed.unwrap_or(0);
        missed.is_some()
    }
}
