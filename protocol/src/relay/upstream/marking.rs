//! Where the next pings stand, and how far is written.

use std::time::Duration;

use crate::buffer::ring::Ring;
use crate::entropy::Entropy;
use crate::time::Time;

use super::ping::{Ping, PingNotice};
use super::pings::MOST;
use super::window::{FLOOR, MESSAGES, WindowPace};
use super::{NOWHERE, UpstreamWriter};

/// Behind so few messages one ping is enough.
const FEW: u64 = 16;

/// Between two pings stand so many messages, or an eighth of the window.
const STEP: u64 = MESSAGES / MOST as u64;

/// What a session wants of its way upstream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// Messages are to be acknowledged by pongs.
    pub(crate) acks: bool,
    /// What is written beyond the last pong is to be bounded: pongs come.
    pub(crate) bounded: bool,
    /// A ping is wanted in any case.
    pub(crate) keepalive: bool,
    /// What is still to come of the client's present frame.
    pub(crate) frame_rest: u64,
    /// What pings tell.
    pub(crate) notice: Option<PingNotice>,
    /// The most that the window may come to, in bytes.
    pub(crate) window_max: u64,
    /// How long a pong may take.
    pub(crate) patience: Duration,
}

/// A place between two messages: its position, and the seq of the one before it.
type Boundary = (u64, u64);

impl UpstreamWriter {
    /// Makes the control frames that are due: masks for the queued ones, and pings when messages are
    /// uncovered or one is asked for. Says whether a ping was made.
    pub(crate) fn prepare(
        &mut self,
        ring: &Ring,
        now: Time,
        wanted: &Wanted,
        entropy: &mut Entropy<'_>,
    ) -> bool {
        if self.inserts.is_some() {
            self.prepare_inserts(ring, wanted.frame_rest, entropy);
        }
        self.pings.note_unwritten(now);
        self.find_limit(ring, wanted);
        let (from, to) = (self.last_mark(ring), self.ping_target(ring));
        let alone = self.pings.is_empty();
        let due = (wanted.acks && to.0 > from.0) || (wanted.keepalive && alone && self.closes_behind(to.0));
        // Nothing stands behind a Close.
        due && !self.close_begun()
            && self.ask_between(ring, now, (from, to), (wanted.bounded, wanted.notice), entropy)
    }

    /// Nothing bounds what may be written, no frame but pings is to be written, and all may be.
    #[inline]
    pub(crate) fn is_unbounded(&self, ring: &Ring) -> bool {
        let free = self.inserts.is_none() && self.pace.is_none() && self.stop_at == NOWHERE;
        free && self.is_little(ring, self.acked(ring))
    }

    /// As [`UpstreamWriter::prepare`], where pongs come and [`UpstreamWriter::is_unbounded`].
    #[inline(always)]
    pub(crate) fn ask_shortly(
        &mut self,
        ring: &Ring,
        now: Time,
        notice: Option<PingNotice>,
        entropy: &mut Entropy<'_>,
    ) -> bool {
        self.pings.note_unwritten(now);
        let (from, whole) = (self.last_mark(ring), (ring.whole(), ring.whole_seq()));
        whole.0 > from.0 && self.ask_between(ring, now, (from, whole), (true, notice), entropy)
    }

    /// Makes pings between two boundaries, unless as many as may be are out: at distances that are `bounded` where what is
    /// out is. Says whether it has made one.
    #[inline]
    fn ask_between(
        &mut self,
        ring: &Ring,
        now: Time,
        (from, to): (Boundary, Boundary),
        (bounded, notice): (bool, Option<PingNotice>),
        entropy: &mut Entropy<'_>,
    ) -> bool {
        // Never inside an open message.
        if ring.sent() > to.0 || self.pings.len() == MOST {
            return false;
        }
        if self.pings.is_empty() && to.1.saturating_sub(from.1) <= FEW {
            self.ask(ring, now, &[to], notice, entropy);
            return true;
        }
        let (marks, n) = self.marks(ring, from, to, bounded);
        self.ask(ring, now, &marks[..n], notice, entropy);
        n > 0
    }

    fn ask(
        &mut self,
        ring: &Ring,
        now: Time,
        marks: &[Boundary],
        notice: Option<PingNotice>,
        entropy: &mut Entropy<'_>,
    ) {
        let acked = self.acked(ring);
        for mark in marks {
            self.pings.push(Ping::new(now, *mark, acked, notice, entropy));
        }
    }

    /// Where the last ping stands, or what is acknowledged ends: commits may be ahead of pongs.
    #[inline]
    fn last_mark(&self, ring: &Ring) -> Boundary {
        let acked = (self.acked(ring), self.acked_seq(ring));
        self.pings.last().map_or(acked, |ping| (ping.at, ping.seq_near(acked.1)).max(acked))
    }

    /// The last boundary behind which a ping may stand.
    #[inline]
    fn ping_target(&self, ring: &Ring) -> Boundary {
        let whole = ring.whole();
        match (self.stop(), &self.pace) {
            (stop, Some(pace)) if pace.limit < whole.min(stop) => (pace.limit, pace.limit_seq),
            (NOWHERE, _) => (whole, ring.whole_seq()),
            (at, _) => {
                let seq = ring.messages().find(|(end, _)| *end == at).map(|(_, seq)| seq);
                (at, seq.unwrap_or(self.acked_seq(ring)))
            }
        }
    }

    /// Boundaries between `from` and `to` at which pings are to stand, and how many.
    ///
    /// Where what is out is not bounded, their distances grow with it, so that they reach far.
    fn marks(&self, ring: &Ring, from: Boundary, to: Boundary, bounded: bool) -> ([Boundary; MOST], usize) {
        let (mut marks, mut n) = ([(0, 0); MOST], 0);
        let room = MOST - self.pings.len();
        let (pace, sent) = (self.pace.as_ref(), ring.sent());
        let bytes = pace.map_or(FLOOR, |pace| pace.bytes()) / MOST as u64;
        let least = pace.is_none_or(|pace| pace.is_least());
        let acked_seq = self.acked_seq(ring);
        let far = |mark: Boundary, (end, seq): Boundary| match bounded {
            true => end - mark.0 >= bytes || (least && seq - mark.1 >= STEP),
            false => seq - mark.1 >= STEP.max(mark.1.saturating_sub(acked_seq)),
        };
        let mut last = from;
        if far(last, to) {
            for boundary in ring.messages_after(from.0, from.1).take_while(|(end, _)| *end <= to.0) {
                if n == room {
                    break;
                }
                if boundary.0 >= sent && far(last, boundary) {
                    (marks[n], last) = (boundary, boundary);
                    n += 1;
                }
            }
        }
        // A message that is open has no place for a ping, so that before it must not wait for its end.
        let open = to.0 == ring.whole() && ring.end() > to.0 && !self.whole_only;
        let first = self.pings.is_empty() && n == 0;
        if to.0 > last.0 && n < room && (first || open) {
            marks[n] = to;
            n += 1;
        }
        (marks, n)
    }

    /// Position up to which messages are acknowledged, or up to which one is written that is longer than the
    /// window and goes alone.
    pub(crate) fn reached(&self, ring: &Ring) -> u64 {
        let (acked, sent) = (self.acked(ring), ring.sent());
        let first = || ring.messages_after(acked, 0).next().map_or(u64::MAX, |(end, _)| end);
        if sent > acked + FLOOR && sent <= first() { sent } else { acked }
    }

    /// A pong that acknowledges `bytes` has come after `took` microseconds.
    #[inline]
    pub(super) fn measure(&mut self, bytes: u64, took: u64) {
        self.shortest = self.shortest.min(u32::try_from(took).unwrap_or(u32::MAX));
        if let Some(pace) = &mut self.pace {
            let [took, shortest] = [took, u64::from(self.shortest)].map(Duration::from_micros);
            pace.pong(bytes, took, shortest);
        }
    }
}

// ---- the limit ----

impl UpstreamWriter {
    /// Finds how far may be written.
    #[inline]
    fn find_limit(&mut self, ring: &Ring, wanted: &Wanted) {
        let acked = self.acked(ring);
        if !wanted.bounded || self.is_little(ring, acked) {
            if let Some(pace) = &mut self.pace {
                (pace.limit, pace.found_for) = (NOWHERE, None);
            }
            return;
        }
        let pace = || Box::new(WindowPace::new(wanted.window_max, wanted.patience));
        let pace = self.pace.take().unwrap_or_else(pace);
        let found = pace.found_for == Some(acked);
        let limit = (!found).then(|| self.limited(ring, acked, &pace));
        self.pace = Some(pace);
        let Some((mut limit, cut)) = limit else { return };
        // Where a ping is to stand it is written to, also when the window has become smaller.
        if let Some(ping) = self.pings.last().filter(|ping| ping.at > limit.0) {
            limit = (ping.at, ping.seq_near(limit.1));
        }
        limit = self.not_behind_sent(ring, limit);
        if let Some(pace) = &mut self.pace {
            (pace.limit, pace.limit_seq) = limit;
            pace.found_for = cut.then_some(acked);
        }
    }

    /// More may be written already, from before the window was one or when it was larger: the message that is
    /// being written goes on to its end, behind which a ping can stand.
    fn not_behind_sent(&self, ring: &Ring, limit: Boundary) -> Boundary {
        let sent = ring.sent();
        if limit.0 >= sent {
            return limit;
        }
        let before = self.pace.as_ref().map(|pace| (pace.limit, pace.limit_seq));
        let known = before.filter(|(at, _)| *at >= sent && *at <= ring.whole());
        let whole = (ring.whole(), ring.whole_seq());
        let end = || ring.messages_after(limit.0, limit.1).find(|(end, _)| *end >= sent);
        match sent >= whole.0 {
            true => whole,
            false => known.or_else(end).unwrap_or(whole),
        }
    }

    /// Whether all that there is may be written, without a look at each message.
    #[inline]
    fn is_little(&self, ring: &Ring, acked: u64) -> bool {
        let messages = ring.whole_seq() - self.acked_seq(ring).min(ring.whole_seq());
        let bytes = ring.end() - acked;
        match &self.pace {
            Some(pace) => pace.holds(messages + 1, bytes),
            None => messages < MESSAGES && bytes <= FLOOR,
        }
    }

    /// The last boundary within the window, and whether a message stands behind it.
    fn limited(&self, ring: &Ring, acked: u64, pace: &WindowPace) -> (Boundary, bool) {
        let mut last = (acked, self.acked_seq(ring));
        let first_seq = last.1;
        for (end, seq) in ring.messages_after(last.0, last.1) {
            let within = pace.holds(seq - first_seq, end - acked);
            // The first goes on whatever its length.
            if !within && last.0 > acked {
                return (last, true);
            }
            last = (end, seq);
        }
        ((self.open_limit(ring, last, acked + pace.bytes()), last.1), false)
    }

    /// How far an open message may be written behind `whole`, all of which is within the window.
    fn open_limit(&self, ring: &Ring, whole: Boundary, window: u64) -> u64 {
        let (alone, begun) = (whole.0 == self.acked(ring), ring.sent() > whole.0);
        let covered = self.pings.last().is_some_and(|ping| ping.at == whole.0);
        match (alone, begun) {
            (true, _) => NOWHERE,
            // No pong will come that lets it go on.
            (false, true) if self.pings.is_empty() => NOWHERE,
            // A ping must stand before it.
            (false, false) if self.pings.len() == MOST && !covered => whole.0,
            _ => window.max(whole.0),
        }
    }
}
