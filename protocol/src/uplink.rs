//! What goes to the backend: the ring's bytes, and between its messages the broker's own control
//! frames: the ping that asks for an acknowledgement, pongs, and the last Close.
//!
//! ```text
//!   ring:  | acknowledged, held | written | to write ...
//!                                     ^ ping   ^ pong   ^ close      each at its own position
//! ```
//!
//! At most one ping is outstanding. Its pong proves that the backend has read everything before
//! it: a peer answers a ping with the same payload (RFC 6455, 5.5.2 and 5.5.3) and reads frames in
//! order.

mod inserts;
mod ping;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use crate::chain::Gather;
use crate::ring::Ring;
use crate::time::Time;

use inserts::{Insert, Inserts};
use ping::Ping;

pub(crate) use ping::Tidings;

/// A source of unpredictable numbers, the driver's. Masking keys must be unpredictable
/// (RFC 6455, 5.3), and a nonce must not be guessed by a backend that never read the ping.
pub type Entropy<'a> = dyn FnMut() -> u64 + 'a;

/// A masking key.
pub(crate) fn mask_key(entropy: &mut Entropy<'_>) -> [u8; 4] {
    let [a, b, c, d, ..] = entropy().to_be_bytes();
    [a, b, c, d]
}

/// Acknowledged messages wait for the end of `ack_hold` in at most so many steps.
const HOLD_STEPS: usize = 64;

/// A position that is never reached.
const NOWHERE: u64 = u64::MAX;

/// One session's way up, over all its backends.
#[derive(Debug)]
pub(crate) struct Uplink {
    pub(crate) ring: Ring,
    ping: Option<Ping>,
    inserts: Option<Box<Inserts>>,
    #[expect(clippy::box_collection, reason = "an absent one must take no more room than a pointer")]
    held: Option<Box<VecDeque<Held>>>,
    /// Position up to which the present backend has acknowledged; never before the ring's base.
    acked: u64,
    acked_seq: u64,
    /// Nothing behind this position is written, if it is not [`NOWHERE`]: a suspect is replayed alone.
    stop_at: u64,
    /// An open message is not written before its end is there: its client may come back and begin it anew.
    whole_only: bool,
}

#[derive(Debug)]
struct Held {
    until: Time,
    at: u64,
    seq: u64,
}

/// A piece of the next write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Data { to: u64 },
    Ping,
    Pong,
    Close,
    Attach,
}

impl Default for Uplink {
    fn default() -> Self {
        Uplink {
            ring: Ring::default(),
            ping: None,
            inserts: None,
            held: None,
            acked: 0,
            acked_seq: 0,
            stop_at: NOWHERE,
            whole_only: false,
        }
    }
}

impl Uplink {
    /// For a client that may come back.
    pub(crate) fn of_whole_messages() -> Uplink {
        Uplink { whole_only: true, ..Uplink::default() }
    }

    /// Puts a message in front of everything that the present backend gets. It must have got nothing yet.
    pub(crate) fn attach(&mut self, payload: &[u8]) {
        let attach = Insert::new(self.ring.sent(), payload);
        self.inserts.get_or_insert_default().attach = Some(attach);
    }

    /// That message is not written to its last byte yet.
    pub(crate) fn attaching(&self) -> bool {
        self.inserts.as_ref().is_some_and(|inserts| inserts.attach.is_some())
    }

    /// Makes the control frames that are due: masks for the queued ones, and a ping when
    /// messages are uncovered (`acks`) or `keepalive` asks for one. Says whether a ping was made.
    ///
    /// `frame_rest` is what is still to come of the client's present frame. `tidings` are told by the
    /// ping.
    pub(crate) fn prepare(
        &mut self,
        now: Time,
        (acks, keepalive): (bool, bool),
        frame_rest: u64,
        tidings: Option<Tidings>,
        entropy: &mut Entropy<'_>,
    ) -> bool {
        if self.inserts.is_some() {
            self.prepare_inserts(frame_rest, entropy);
        }
        if let Some(ping) = &mut self.ping {
            ping.note_written(now);
            return false;
        }
        let (at, seq) = self.ping_target();
        let wanted = (acks && at > self.acked()) || (keepalive && !self.closing());
        // Never inside an open message, and nothing stands behind a Close.
        if !wanted || self.ring.sent() > at || self.close_begun() {
            return false;
        }
        self.ping = Some(Ping::new(at, seq, tidings, entropy));
        true
    }

    fn prepare_inserts(&mut self, frame_rest: u64, entropy: &mut Entropy<'_>) {
        let late = self
            .inserts
            .as_mut()
            .filter(|i| i.pong.is_none() && i.close.is_none())
            .and_then(|i| i.late_pong.take());
        if let Some(payload) = late {
            self.pong(&payload, frame_rest);
        }
        if let Some(inserts) = &mut self.inserts {
            inserts.seal(entropy);
        }
    }

    /// The boundary behind which a ping may stand, and the seq that it covers.
    fn ping_target(&self) -> (u64, u64) {
        match self.stop_at {
            NOWHERE => (self.ring.whole(), self.ring.whole_seq()),
            at => (at, self.ring.messages().find(|(end, _)| *end == at).map_or(self.acked_seq, |m| m.1)),
        }
    }

    /// Answers a backend's ping, between frames. A pong that waits already is replaced: the latest
    /// ping is the one to answer (RFC 6455, 5.5.3). `frame_rest` is what is still to come of the
    /// client's present frame.
    pub(crate) fn pong(&mut self, payload: &[u8], frame_rest: u64) {
        let at = if self.ring.sent() <= self.ring.whole() {
            // Not behind what is held back.
            self.stop_at.min(self.ring.whole())
        } else {
            self.ring.end() + frame_rest
        };
        let inserts = self.inserts.get_or_insert_default();
        if inserts.pong.as_ref().is_none_or(|pong| pong.written == 0) {
            inserts.pong = Some(Insert::new(at, payload));
        } else {
            inserts.late_pong = Some(payload.to_vec());
        }
    }

    /// Queues a Close behind everything. The ring must hold no open message.
    pub(crate) fn close(&mut self, payload: &[u8]) {
        let close = Insert::new(self.ring.end(), payload);
        self.inserts.get_or_insert_default().close = Some(close);
    }

    /// Lets nothing through behind the last whole message. False: the backend has a part of the next
    /// one, which must end first.
    pub(crate) fn hold(&mut self) -> bool {
        if self.may_hold() {
            self.stop_at = self.ring.whole();
        }
        self.may_hold()
    }

    /// The backend has no message of which it has got a part and the rest is still to come.
    pub(crate) fn may_hold(&self) -> bool {
        self.ring.sent() <= self.ring.whole()
    }

    /// Lets everything through again.
    pub(crate) fn flow(&mut self) {
        self.stop_at = NOWHERE;
    }

    /// Queues a Close behind what is let through. What the ring gets from now on is for the next
    /// backend. The present one must have got everything else.
    pub(crate) fn part(&mut self, payload: &[u8]) {
        let at = self.reach();
        self.stop_at = at;
        self.inserts.get_or_insert_default().close = Some(Insert::new(at, payload));
    }

    /// Position up to which bytes are let through.
    pub(crate) fn reach(&self) -> u64 {
        match self.stop_at {
            NOWHERE if self.whole_only => self.ring.whole(),
            NOWHERE => self.ring.end(),
            at => at,
        }
    }

    /// The backend has acknowledged everything that is let through, and no hold runs.
    pub(crate) fn delivered(&self) -> bool {
        self.ring.base() >= self.reach()
    }

    /// A Close is queued or written.
    pub(crate) fn closing(&self) -> bool {
        self.inserts.as_ref().is_some_and(|inserts| inserts.close.is_some())
    }

    /// A part of a Close is written.
    fn close_begun(&self) -> bool {
        let close = self.inserts.as_ref().and_then(|inserts| inserts.close.as_ref());
        close.is_some_and(|close| close.written > 0)
    }

    /// A Close was written to its last byte.
    pub(crate) fn closed(&self) -> bool {
        let close = self.inserts.as_ref().and_then(|inserts| inserts.close.as_ref());
        close.is_some_and(|close| close.sealed() && close.written == close.frame.len())
    }

    /// What can be written now. Call [`Uplink::prepare`] first.
    pub(crate) fn transmit(&self) -> Gather<'_> {
        let mut gather = Gather::new();
        let mut from = self.ring.sent();
        for piece in self.plan().into_iter().flatten() {
            match piece {
                Piece::Data { to } => {
                    let (chain, index) = self.ring.bytes_at(from);
                    let end = index + (to - from) as usize;
                    chain.gather(index, end, &mut gather);
                    // Without room for all of it, what follows must not be written before it.
                    if gather.is_full() {
                        break;
                    }
                    from = to;
                }
                control => {
                    gather.add(self.control_bytes(control));
                }
            }
        }
        gather
    }

    /// Notes that the backend's socket took `n` bytes of it.
    pub(crate) fn written(&mut self, mut n: usize) {
        for piece in self.plan().into_iter().flatten() {
            let taken = match piece {
                Piece::Data { to } => n.min((to - self.ring.sent()) as usize),
                control => n.min(self.control_bytes(control).len()),
            };
            n -= taken;
            match piece {
                Piece::Data { .. } => self.ring.written(taken as u64),
                control => self.control_written(control, taken),
            }
            if n == 0 {
                break;
            }
        }
    }

    /// The order of the next write: data up to the first control frame's position, that frame, and
    /// so on. A frame that is begun comes first; where two stand at one position, the ping does.
    fn plan(&self) -> [Option<Piece>; 8] {
        if self.inserts.is_none() && self.stop_at == NOWHERE {
            return self.plain_plan();
        }
        if self.inserts.as_ref().and_then(|i| i.attach.as_ref()).is_some_and(|attach| !attach.sealed()) {
            return [None; 8];
        }
        let mut controls = self.controls();
        controls
            .sort_unstable_by_key(|control| control.map_or((u64::MAX, true), |(at, fresh, _)| (at, fresh)));
        let (mut plan, mut n, mut from) = ([None; 8], 0, self.ring.sent());
        let end = self.reach().max(from);
        for (at, _, control) in controls.into_iter().flatten() {
            if at > end {
                break;
            }
            if at > from {
                (plan[n], from) = (Some(Piece::Data { to: at }), at);
                n += 1;
            }
            plan[n] = Some(control);
            n += 1;
            if control == Piece::Close {
                return plan;
            }
        }
        if end > from {
            plan[n] = Some(Piece::Data { to: end });
        }
        plan
    }

    /// The plan of almost every write: messages, and a ping behind them.
    fn plain_plan(&self) -> [Option<Piece>; 8] {
        let (sent, end) = (self.ring.sent(), self.reach());
        let ping = self.ping.as_ref().filter(|ping| !ping.frame.unwritten().is_empty());
        let at = ping.map_or(end, |ping| ping.at.max(sent));
        let [before, behind] =
            [(sent, at), (at, end)].map(|(from, to)| (to > from).then_some(Piece::Data { to }));
        [before, ping.map(|_| Piece::Ping), behind, None, None, None, None, None]
    }

    /// Control frames with bytes to write: position, whether none of it is written, and which.
    fn controls(&self) -> [Option<(u64, bool, Piece)>; 4] {
        let ping = self.ping.as_ref().filter(|ping| !ping.frame.unwritten().is_empty());
        let inserts = self.inserts.as_ref();
        let insert = |insert: Option<&Insert>, piece| {
            let insert = insert.filter(|i| i.sealed() && i.written < i.frame.len())?;
            Some((insert.at, insert.written == 0, piece))
        };
        // Nothing goes before an attach, so it counts as begun.
        let attach = insert(inserts.and_then(|i| i.attach.as_ref()), Piece::Attach);
        [
            attach.map(|(at, _, piece)| (at, false, piece)),
            ping.map(|ping| (ping.at, ping.frame.written() == 0, Piece::Ping)),
            insert(inserts.and_then(|i| i.pong.as_ref()), Piece::Pong),
            insert(inserts.and_then(|i| i.close.as_ref()), Piece::Close),
        ]
    }

    fn control_bytes(&self, control: Piece) -> &[u8] {
        let inserts = self.inserts.as_ref();
        let insert = match control {
            Piece::Ping => return self.ping.as_ref().map_or(&[], |ping| ping.frame.unwritten()),
            Piece::Attach => inserts.and_then(|inserts| inserts.attach.as_ref()),
            Piece::Pong => inserts.and_then(|inserts| inserts.pong.as_ref()),
            Piece::Close => inserts.and_then(|inserts| inserts.close.as_ref()),
            Piece::Data { .. } => None,
        };
        insert.map_or(&[], Insert::unwritten)
    }

    fn control_written(&mut self, control: Piece, n: usize) {
        match (control, &mut self.ping, &mut self.inserts) {
            (Piece::Ping, Some(ping), _) => ping.frame.add_written(n),
            (Piece::Attach, _, Some(inserts)) => inserts.attach_written(n),
            (Piece::Pong, _, Some(inserts)) => inserts.pong_written(n),
            (Piece::Close, _, Some(inserts)) => inserts.close_written(n),
            _ => {}
        }
        if self.inserts.as_ref().is_some_and(|inserts| inserts.is_empty()) {
            self.inserts = None;
        }
    }

    /// Takes a backend's pong. True when it answers the outstanding ping; then everything before
    /// that ping is acknowledged, and leaves the ring after `hold`; `None`: not by a pong.
    pub(crate) fn acknowledge(&mut self, now: Time, payload: &[u8], hold: Option<Duration>) -> bool {
        let answered = |ping: &mut Ping| ping.frame.unwritten().is_empty() && ping.frame.is(payload);
        let Some(ping) = self.ping.take_if(answered) else { return false };
        (self.acked, self.acked_seq) = (ping.at, ping.seq);
        let Some(hold) = hold else { return true };
        if hold.is_zero() {
            self.ring.release(ping.at, ping.seq);
        } else if ping.at > self.ring.base() {
            self.keep(Held { until: now + hold, at: ping.at, seq: ping.seq });
        }
        true
    }

    fn keep(&mut self, held: Held) {
        let queue = self.held.get_or_insert_default();
        // A full queue merges: what came before waits a little longer, never shorter.
        if queue.len() == HOLD_STEPS {
            queue.pop_back();
        }
        queue.push_back(held);
    }

    /// When the next held messages may leave the ring.
    pub(crate) fn hold_ends(&self) -> Option<Time> {
        self.held.as_ref().and_then(|queue| queue.front()).map(|held| held.until)
    }

    /// Lets go of what has been held long enough.
    pub(crate) fn end_holds(&mut self, now: Time) {
        while let Some(held) =
            self.held.as_mut().and_then(|queue| queue.pop_front_if(|held| held.until <= now))
        {
            self.ring.release(held.at, held.seq);
        }
        if self.held.as_ref().is_some_and(|queue| queue.is_empty()) {
            self.held = None;
        }
    }

    /// Counts everything written as read; a Close that was answered proves it (frames are read in
    /// order).
    pub(crate) fn acknowledge_all(&mut self) {
        self.ping = None;
        self.held = None;
        (self.acked, self.acked_seq) = (self.ring.whole(), self.ring.whole_seq());
        self.ring.release(self.acked, self.acked_seq);
    }

    /// The backend is gone: forgets what was said to it, and begins again at the ring's base.
    pub(crate) fn rewind(&mut self) {
        (self.ping, self.inserts, self.held, self.stop_at) = (None, None, None, NOWHERE);
        self.ring.rewind();
        (self.acked, self.acked_seq) = (self.ring.base(), self.ring.base_seq());
    }

    /// Lets no more than the next unacknowledged message through, or lifts that.
    pub(crate) fn one_at_a_time(&mut self, on: bool) {
        let acked = self.acked();
        let next = self.ring.messages().map(|(end, _)| end).find(|end| *end > acked);
        self.stop_at = if on { next.unwrap_or(acked) } else { NOWHERE };
    }

    /// Seq of the last message that the present backend, or one before it, has acknowledged.
    pub(crate) fn acked_seq(&self) -> u64 {
        self.acked_seq.max(self.ring.base_seq())
    }

    /// Position up to which messages are acknowledged.
    pub(crate) fn acked(&self) -> u64 {
        self.acked.max(self.ring.base())
    }

    /// A ping waits to be written, or for its pong.
    pub(crate) fn pinging(&self) -> bool {
        self.ping.is_some()
    }

    /// When the outstanding ping was written.
    pub(crate) fn asked(&self) -> Option<Time> {
        self.ping.as_ref().and_then(|ping| ping.asked)
    }

    /// The backend answers no pings: the outstanding one is not waited for.
    pub(crate) fn forget_ping(&mut self) {
        self.ping.take_if(|ping| ping.asked.is_some());
    }

    /// A frame may be written by itself now: none is begun.
    pub(crate) fn between_frames(&self) -> bool {
        let begun = |insert: &Option<Insert>| insert.as_ref().is_some_and(|insert| insert.written > 0);
        let inserts = self.inserts.as_ref();
        let insert_begun = inserts.is_some_and(|i| begun(&i.pong) || begun(&i.close) || begun(&i.attach));
        let ping_begun = self.ping.as_ref().is_some_and(|ping| ping.frame.is_begun());
        !ping_begun && !insert_begun && self.ring.sent_between_messages()
    }

    /// Nothing waits to be written.
    pub(crate) fn all_written(&self) -> bool {
        let pinged = self.ping.as_ref().is_none_or(|ping| ping.frame.unwritten().is_empty());
        let end = if self.whole_only { self.ring.whole() } else { self.ring.end() };
        pinged && self.ring.sent() == end && self.inserts.is_none()
    }

    /// The backend owes something: a pong, or room for whole messages that wait to be written.
    pub(crate) fn awaits(&self) -> bool {
        self.ping.is_some() || self.ring.sent() < self.ring.whole().min(self.reach())
    }
}
