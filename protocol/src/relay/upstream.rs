//! What goes to the backend: the ring's bytes, and between its messages the broker's own control
//! frames: the pings that ask for acknowledgements, pongs, and the last Close.
//!
//! ```text
//!   ring:  | acknowledged, held | written | to write ...      | beyond the window
//!                           ^ ping    ^ ping   ^ pong   ^ close      each at its own position
//! ```
//!
//! The pong to a ping proves that the backend has read everything before it: a peer answers a ping with
//! the same payload (RFC 6455, 5.5.2 and 5.5.3) and reads frames in order. Of a lot that is written at
//! once, pings stand at bounded distances, so that a slow backend shows how far it has come.

mod inserts;
#[cfg(debug_assertions)]
mod invariants;
mod marking;
mod ping;
mod pings;
#[cfg(test)]
mod tests;
mod transmit;
mod window;

use std::collections::VecDeque;
use std::time::Duration;

use crate::buffer::ring::Ring;
use crate::entropy::Entropy;
use crate::time::Time;

use inserts::{Insert, Inserts};
use pings::Pings;
use window::WindowPace;

pub(crate) use marking::Wanted;
pub(crate) use ping::PingNotice;

/// Acknowledged messages wait for the end of `ack_hold` in at most so many steps.
const HOLD_STEPS: usize = 64;

/// A position that is never reached.
const NOWHERE: u64 = u64::MAX;

/// The writer of one connection to a backend. The ring outlives it, and is handed in.
#[derive(Debug)]
pub(crate) struct UpstreamWriter {
    pings: Pings,
    /// What bounds that which is written beyond the last pong; `None`: it has been no limit yet.
    pace: Option<Box<WindowPace>>,
    inserts: Option<Box<Inserts>>,
    #[expect(clippy::box_collection, reason = "an absent one must take no more room than a pointer")]
    held: Option<Box<VecDeque<HeldAcks>>>,
    /// Position up to which the present backend has acknowledged; never before the ring's base.
    acked: u64,
    acked_seq: u64,
    /// Nothing behind this position is written, if it is not [`NOWHERE`]: a suspect is replayed alone.
    stop_at: u64,
    /// The shortest time of a pong on this connection, in microseconds.
    shortest: u32,
    /// An open message is not written before its end is there: its client may come back and begin it anew.
    whole_only: bool,
}

#[derive(Debug)]
struct HeldAcks {
    until: Time,
    at: u64,
    seq: u64,
}

impl UpstreamWriter {
    /// For a backend that gets what is in the ring, from its base on. `whole_only`: its client may come back, and
    /// begin an open message anew.
    pub(crate) fn new(ring: &Ring, whole_only: bool) -> UpstreamWriter {
        UpstreamWriter {
            pings: Pings::default(),
            pace: None,
            inserts: None,
            held: None,
            acked: ring.base(),
            acked_seq: ring.base_seq(),
            stop_at: NOWHERE,
            shortest: u32::MAX,
            whole_only,
        }
    }

    /// The client may come back, so that messages are written whole only.
    pub(crate) fn whole_only(&self) -> bool {
        self.whole_only
    }

    /// Puts a message in front of everything that the present backend gets. It must have got nothing yet.
    pub(crate) fn attach(&mut self, ring: &Ring, payload: &[u8]) {
        let attach = Insert::new(ring.sent(), payload);
        self.inserts.get_or_insert_default().attach = Some(attach);
    }

    /// That message is not written to its last byte yet.
    pub(crate) fn attaching(&self) -> bool {
        self.inserts.as_ref().is_some_and(|inserts| inserts.attach.is_some())
    }

    fn prepare_inserts(&mut self, ring: &Ring, frame_rest: u64, entropy: &mut Entropy<'_>) {
        let late = self
            .inserts
            .as_mut()
            .filter(|i| i.pong.is_none() && i.close.is_none())
            .and_then(|i| i.late_pong.take());
        if let Some(payload) = late {
            self.pong(ring, &payload, frame_rest);
        }
        if let Some(inserts) = &mut self.inserts {
            inserts.seal(entropy);
        }
    }

    /// Answers a backend's ping, between frames. A pong that waits already is replaced: the latest
    /// ping is the one to answer (RFC 6455, 5.5.3). `frame_rest` is what is still to come of the
    /// client's present frame.
    pub(crate) fn pong(&mut self, ring: &Ring, payload: &[u8], frame_rest: u64) {
        let at = if ring.sent() <= ring.whole() {
            // Not behind what is held back.
            self.stop().min(ring.whole())
        } else {
            ring.end() + frame_rest
        };
        let inserts = self.inserts.get_or_insert_default();
        if inserts.pong.as_ref().is_none_or(|pong| pong.written == 0) {
            inserts.pong = Some(Insert::new(at, payload));
        } else {
            inserts.late_pong = Some(payload.to_vec());
        }
    }

    /// Queues a Close behind everything. The ring must hold no open message.
    pub(crate) fn close(&mut self, ring: &Ring, payload: &[u8]) {
        let close = Insert::new(ring.end(), payload);
        self.inserts.get_or_insert_default().close = Some(close);
    }

    /// Lets nothing through behind the last whole message. False: the backend has a part of the next
    /// one, which must end first.
    pub(crate) fn hold(&mut self, ring: &Ring) -> bool {
        if self.may_hold(ring) {
            self.stop_at = ring.whole();
        }
        self.may_hold(ring)
    }

    /// The backend has no message of which it has got a part and the rest is still to come.
    pub(crate) fn may_hold(&self, ring: &Ring) -> bool {
        ring.sent() <= ring.whole()
    }

    /// Lets everything through again.
    pub(crate) fn flow(&mut self) {
        self.stop_at = NOWHERE;
    }

    /// Queues a Close behind what is let through. What the ring gets from now on is for the next
    /// backend. The present one must have got everything else.
    pub(crate) fn part(&mut self, ring: &Ring, payload: &[u8]) {
        let at = self.let_through(ring);
        self.stop_at = at;
        self.inserts.get_or_insert_default().close = Some(Insert::new(at, payload));
    }

    /// Lets nothing through behind this position, until another one is told; `None`: everything.
    pub(crate) fn set_barrier(&mut self, at: Option<u64>) {
        if at.is_none() && self.inserts.is_none() {
            return;
        }
        let inserts = self.inserts.get_or_insert_default();
        inserts.barrier = at.unwrap_or(NOWHERE);
        if inserts.is_empty() {
            self.inserts = None;
        }
    }

    /// Nothing behind this position is let through, if it is not [`NOWHERE`].
    #[inline]
    fn stop(&self) -> u64 {
        self.inserts.as_ref().map_or(self.stop_at, |inserts| inserts.barrier.min(self.stop_at))
    }

    /// Position up to which bytes are let through by now.
    #[inline]
    fn reach(&self, ring: &Ring) -> u64 {
        let let_through = self.let_through(ring);
        self.pace.as_ref().map_or(let_through, |pace| pace.limit.min(let_through))
    }

    /// The same, as if the backend were as fast as the client.
    #[inline]
    pub(crate) fn let_through(&self, ring: &Ring) -> u64 {
        match self.stop() {
            NOWHERE if self.whole_only => ring.whole(),
            NOWHERE => ring.end(),
            at => at,
        }
    }

    /// The backend has acknowledged everything that is let through, and no hold runs.
    pub(crate) fn delivered(&self, ring: &Ring) -> bool {
        ring.base() >= self.let_through(ring)
    }

    /// A Close is queued or written.
    #[inline]
    pub(crate) fn closing(&self) -> bool {
        self.inserts.as_ref().is_some_and(|inserts| inserts.close.is_some())
    }

    /// No Close is queued, or one behind what is held back behind this position.
    #[inline]
    pub(super) fn closes_behind(&self, at: u64) -> bool {
        let close = self.inserts.as_ref().and_then(|inserts| inserts.close.as_ref());
        close.is_none_or(|close| close.at > at)
    }

    /// A part of a Close is written.
    fn close_begun(&self) -> bool {
        let close = self.inserts.as_ref().and_then(|inserts| inserts.close.as_ref());
        close.is_some_and(|close| close.written > 0)
    }

    /// A Close was written to its last byte.
    #[inline]
    pub(crate) fn closed(&self) -> bool {
        let close = self.inserts.as_ref().and_then(|inserts| inserts.close.as_ref());
        close.is_some_and(|close| close.sealed() && close.written == close.frame.len())
    }

    /// Takes a backend's pong, and returns how many microseconds it took when it answers a ping that is out; then
    /// everything before that ping is acknowledged, and leaves the ring after `hold`; `None`: not by a pong.
    #[inline]
    pub(crate) fn acknowledge(
        &mut self,
        ring: &mut Ring,
        now: Time,
        payload: &[u8],
        hold: Option<Duration>,
    ) -> Option<u64> {
        let ping = self.pings.take_answered(payload)?;
        let (at, seq) = (ping.at, ping.seq_near(ring.base_seq()));
        (self.acked, self.acked_seq) = (at, seq);
        let took = now.micros_since(ping.asked);
        self.measure(u64::from(ping.covers), took);
        match hold {
            Some(hold) if hold.is_zero() => ring.release(at, seq),
            Some(hold) if at > ring.base() => {
                self.keep(HeldAcks { until: now + hold, at, seq });
            }
            _ => {}
        }
        Some(took)
    }

    fn keep(&mut self, held: HeldAcks) {
        let queue = self.held.get_or_insert_default();
        // A full queue merges: what came before waits a little longer, never shorter.
        if queue.len() == HOLD_STEPS {
            queue.pop_back();
        }
        queue.push_back(held);
    }

    /// When the next held messages may leave the ring.
    #[inline]
    pub(crate) fn hold_ends(&self) -> Option<Time> {
        self.held.as_ref().and_then(|queue| queue.front()).map(|held| held.until)
    }

    /// Lets go of what has been held long enough.
    #[inline]
    pub(crate) fn end_holds(&mut self, ring: &mut Ring, now: Time) {
        while let Some(held) =
            self.held.as_mut().and_then(|queue| queue.pop_front_if(|held| held.until <= now))
        {
            ring.release(held.at, held.seq);
        }
        if self.held.as_ref().is_some_and(|queue| queue.is_empty()) {
            self.held = None;
        }
    }

    /// Counts everything written as read; a Close that was answered proves it (frames are read in
    /// order).
    pub(crate) fn acknowledge_all(&mut self, ring: &mut Ring) {
        self.pings = Pings::default();
        self.held = None;
        (self.acked, self.acked_seq) = (ring.whole(), ring.whole_seq());
        ring.release(self.acked, self.acked_seq);
    }

    /// Lets nothing through that is not acknowledged.
    pub(crate) fn hold_all(&mut self, ring: &Ring) {
        self.stop_at = self.acked(ring);
    }

    /// The backend has answered a ping on this connection.
    #[inline]
    pub(crate) fn has_ponged(&self) -> bool {
        self.shortest != u32::MAX
    }

    /// Lets no more than the next unacknowledged message through, or lifts that.
    pub(crate) fn one_at_a_time(&mut self, ring: &Ring, on: bool) {
        let acked = self.acked(ring);
        let next = ring.messages().map(|(end, _)| end).find(|end| *end > acked);
        self.stop_at = if on { next.unwrap_or(acked) } else { NOWHERE };
    }

    /// Seq of the last message that the present backend, or one before it, has acknowledged.
    #[inline]
    pub(crate) fn acked_seq(&self, ring: &Ring) -> u64 {
        self.acked_seq.max(ring.base_seq())
    }

    /// Position up to which messages are acknowledged.
    #[inline]
    pub(crate) fn acked(&self, ring: &Ring) -> u64 {
        self.acked.max(ring.base())
    }

    /// Seq of the last message that a pong of the present backend has acknowledged, or of the last one
    /// before it.
    #[inline]
    pub(crate) fn ponged_seq(&self) -> u64 {
        self.acked_seq
    }

    /// Counts everything that has left the ring as if a pong had acknowledged it.
    pub(crate) fn mark_written(&mut self, ring: &Ring) {
        self.acked_seq = self.acked_seq.max(ring.base_seq());
    }

    /// A ping waits to be written, or for its pong.
    #[inline]
    pub(crate) fn pinging(&self) -> bool {
        !self.pings.is_empty()
    }

    /// When the oldest outstanding ping was written.
    #[inline]
    pub(crate) fn asked(&self) -> Option<Time> {
        self.pings.first().filter(|ping| ping.written()).map(|ping| ping.asked)
    }

    /// The backend answers no pings: those that are out are not waited for.
    pub(crate) fn forget_pings(&mut self) {
        self.pings.forget_written();
    }

    /// A frame may be written by itself now: none is begun.
    pub(crate) fn between_frames(&self, ring: &Ring) -> bool {
        let begun = |insert: &Option<Insert>| insert.as_ref().is_some_and(|insert| insert.written > 0);
        let inserts = self.inserts.as_ref();
        let insert_begun = inserts.is_some_and(|i| begun(&i.pong) || begun(&i.close) || begun(&i.attach));
        let ping_begun = self.pings.unwritten().any(|(_, ping)| ping.frame.is_begun());
        !ping_begun && !insert_begun && ring.sent_between_messages()
    }

    /// Nothing waits to be written.
    #[inline]
    pub(crate) fn all_written(&self, ring: &Ring) -> bool {
        let pinged = self.pings.last().is_none_or(ping::Ping::written);
        let end = if self.whole_only { ring.whole() } else { ring.end() };
        pinged && ring.sent() == end && self.inserts.is_none()
    }

    /// The backend owes something: a pong, or room for whole messages that wait to be written.
    #[inline]
    pub(crate) fn awaits(&self, ring: &Ring) -> bool {
        self.pinging() || ring.sent() < ring.whole().min(self.reach(ring))
    }
}
