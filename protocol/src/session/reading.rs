//! What is read of either side, and where to. Pushing back is not reading.

use crate::relay::resume_buffer::ResumeBuffer;
use crate::time::Time;

use super::{ClientPhase, Session};

/// From so many payload bytes to come on, they are read straight to where they are kept.
const DIRECT_MIN: u64 = 16 * 1024;

/// The backend is not read while more than this waits for the client.
const CLIENT_BACKLOG: usize = 256 * 1024;

/// The shortest masked frame; reading no more than this past a frame cannot begin a next message.
const FRAME_MIN: usize = 6;

impl Session {
    /// How many bytes may be read from the client now; zero: none, push back. Pushing back happens
    /// between messages, so that a message that fills the ring can end. `tight`: memory is short,
    /// and not even an open message may grow.
    #[inline]
    pub fn client_read_limit(&self, tight: bool) -> usize {
        match self.state.client {
            _ if self.away() || self.orphaned().is_some() => 0,
            ClientPhase::Open if tight => self.read_for_acknowledgements(),
            ClientPhase::Open if self.ring_is_full() => {
                match (self.client_says_more(), self.client_link.scanner.remaining()) {
                    (false, _) => 0,
                    (true, 0) => FRAME_MIN,
                    (true, rest) => usize::try_from(rest).unwrap_or(usize::MAX),
                }
            }
            ClientPhase::Open | ClientPhase::Told { .. } => usize::MAX,
            ClientPhase::Left { .. } | ClientPhase::Over => 0,
        }
    }

    /// The client is in the middle of a message, or of several that are one: nothing of them goes on before their end.
    pub(super) fn client_says_more(&self) -> bool {
        self.client_link.scanner.message_open()
            || self.state.conversation.as_ref().is_some_and(|talk| talk.in_unit())
    }

    /// The client is not read until a backend has acknowledged more.
    #[inline]
    pub fn ring_is_full(&self) -> bool {
        // The least that it may be is compared first, since that is enough almost always.
        let kept = self.state.ring.len();
        let full = kept >= self.config.ring_limit || self.marks_are_full();
        full && matches!(self.state.client, ClientPhase::Open)
            && (kept >= self.ring_most() || self.marks_are_full())
    }

    /// So many of the client's messages are remembered one by one that no more may come.
    #[inline]
    pub(super) fn marks_are_full(&self) -> bool {
        self.state.conversation.as_ref().is_some_and(|talk| talk.is_full())
    }

    /// Where the backend is not read before the client acknowledges, its acknowledgements may stand behind
    /// messages for which there is no room before the backend is read. So there is room for as many again.
    fn ring_most(&self) -> usize {
        let ring = self.config.ring_limit;
        let waits = self.client_is_behind() && self.acknowledgements_may_come();
        if waits { ring.saturating_mul(2) } else { ring }
    }

    /// Tells whether memory is short, so that the client is not read: it is not judged then.
    pub fn set_tight(&mut self, now: Time, tight: bool) {
        self.client_link.timers.read(now, !tight);
    }

    /// A message of the client has begun and not ended.
    pub fn client_message_open(&self) -> bool {
        self.client_link.scanner.message_open()
    }

    /// A message of the backend has begun and not ended.
    pub fn backend_message_open(&self) -> bool {
        self.backend_link.scanner.message_open()
    }

    /// Whether to read the backend. Not while much waits for a slow client.
    pub fn wants_backend(&self) -> bool {
        self.linked() && !self.client_is_behind()
    }

    /// So much waits for the client that the backend is not read. What a client may come back for does not
    /// count before it is whole: its end must come, or nothing makes room.
    #[inline]
    pub(super) fn client_is_behind(&self) -> bool {
        if !self.state.downstream.waits() {
            return false;
        }
        let share = self.memory_short.map(|kib| usize::from(kib.get()) * 1024);
        let (ring, most) = (self.config.ring_limit, share.unwrap_or(CLIENT_BACKLOG));
        let most_kept = share.map_or(ring, |share| share.min(ring));
        let full = |kept: &ResumeBuffer| kept.whole_len() >= most_kept;
        self.state.downstream.waiting() >= most || self.state.downstream.kept().is_some_and(full)
    }

    /// Where to read the client's next bytes to, and how many at the most, when much of a frame's
    /// payload is to come. Report them with [`Session::client_read`].
    pub fn client_direct(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let rest = self.client_link.scanner.remaining();
        let plain = rest >= DIRECT_MIN && self.client_payload_is_plain();
        let wanted = plain && matches!(self.state.client, ClientPhase::Open);
        wanted.then(|| direct_room(self.state.ring.tail(rest as usize), rest))
    }

    /// `n` bytes were read to where [`Session::client_direct`] said.
    pub fn client_read(&mut self, now: Time, n: usize) {
        self.client_link.timers.handle_bytes(now);
        let ended = self.client_link.scanner.skip(n as u64);
        self.client_link_read(n);
        self.state.ring.grown(n, ended);
        if ended && self.converses() {
            self.converse_up(now);
        }
        self.asked(now, ended);
        self.client_link.timers.message(now, ended, !ended);
    }

    /// As [`Session::client_direct`], for the backend.
    pub fn backend_direct(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let rest = self.backend_link.scanner.remaining();
        let (listens, hears) = (self.backend_listens(), self.client_hears());
        if rest < DIRECT_MIN || !listens {
            return None;
        }
        if let Some(talk) = &mut self.state.conversation {
            return Some(direct_room(talk.tail(rest), rest));
        }
        match self.backend_link.service() {
            Some(service) => Some(direct_room(service.tail(), rest)),
            None => hears.then(|| direct_room(self.state.downstream.tail(rest as usize), rest)),
        }
    }

    /// `n` bytes were read to where [`Session::backend_direct`] said.
    pub fn backend_read(&mut self, now: Time, n: usize) {
        self.backend_link.timers.handle_bytes(now);
        let ended = self.backend_link.scanner.skip(n as u64);
        if self.commits().is_some() {
            self.service_read(now, n);
        } else if self.converses() {
            self.conversation_read(now, ended);
        } else {
            self.kind_skip(n);
            self.state.downstream.grown(n, ended);
        }
        if ended {
            self.backend_link.timers.answer(now, self.config.quiet_max, &mut self.state.slowest);
        }
        self.backend_link.timers.message(now, ended, !ended);
    }
}

/// The room of `tail`, bounded by what is to come.
fn direct_room(tail: &mut Vec<u8>, rest: u64) -> (&mut Vec<u8>, usize) {
    let room = tail.capacity() - tail.len();
    let rest = usize::try_from(rest).unwrap_or(usize::MAX);
    (tail, room.min(rest))
}
