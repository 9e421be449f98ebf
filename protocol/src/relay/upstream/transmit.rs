//! What is written next, and in which order.

use crate::buffer::chain::Gather;
use crate::buffer::ring::Ring;

use super::inserts::Insert;
use super::ping::Ping;
use super::pings::MOST;
use super::{NOWHERE, UpstreamWriter};

/// A piece of the next write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Data {
        to: u64,
    },
    /// The ping with this index.
    Ping(u8),
    Pong,
    Close,
    Attach,
}

/// Control frames that may stand in one write besides pings: a pong, a Close and an attach.
const OTHERS: usize = 3;

/// With one ping, as almost always, and with all that may be out.
const FEW: usize = OTHERS + 1;
const MANY: usize = OTHERS + MOST;

/// The pieces of a write: so many control frames, each with data before it, and data behind all.
const fn pieces(controls: usize) -> usize {
    2 * controls + 1
}

impl UpstreamWriter {
    /// What can be written now. Call [`UpstreamWriter::prepare`] first.
    #[inline]
    pub(crate) fn transmit<'a>(&'a self, ring: &'a Ring) -> Gather<'a> {
        // Nothing follows a Close.
        if self.has_nothing(ring) || self.closed() {
            return Gather::new();
        }
        if self.is_plain() {
            return self.plain(ring);
        }
        match self.pings.at_most_one_unwritten() {
            true => self.gathered(ring, &self.plan::<FEW, { pieces(FEW) }>(ring)),
            false => self.gathered(ring, &self.plan::<MANY, { pieces(MANY) }>(ring)),
        }
    }

    /// Copies what can be written now to the front of `buffer`, and returns how much that is; 0: it is one piece, which
    /// can be written from where it lies, or not so little, and [`UpstreamWriter::transmit`] has it.
    #[inline]
    pub(crate) fn copy_to(&self, ring: &Ring, buffer: &mut [u8]) -> usize {
        if !self.is_plain() {
            return 0;
        }
        let (sent, at, end, Some(ping)) = self.plain_plan(ring) else { return 0 };
        let (before, frame, behind) = ((at - sent) as usize, ping.frame.unwritten(), (end - at) as usize);
        let Some(buffer) = buffer.get_mut(..before + frame.len() + behind) else { return 0 };
        let (chain, index) = ring.bytes_at(sent);
        chain.peek(index, &mut buffer[..before]);
        buffer[before..before + frame.len()].copy_from_slice(frame);
        if behind > 0 {
            chain.peek(index + before, &mut buffer[before + frame.len()..]);
        }
        buffer.len()
    }

    /// Almost every write: messages, and a ping behind them.
    #[inline]
    fn plain<'a>(&'a self, ring: &'a Ring) -> Gather<'a> {
        let (sent, at, end, ping) = self.plain_plan(ring);
        let (chain, index) = ring.bytes_at(sent);
        let [before, all] = [at, end].map(|to| index + (to - sent) as usize);
        let mut gather = Gather::new();
        chain.gather(index, before, &mut gather);
        if let Some(ping) = ping
            && !gather.is_full()
        {
            gather.add(ping.frame.unwritten());
            chain.gather(before, all, &mut gather);
        }
        gather
    }

    fn gathered<'a>(&'a self, ring: &'a Ring, plan: &[Option<Piece>]) -> Gather<'a> {
        let mut gather = Gather::new();
        let mut from = ring.sent();
        for piece in plan.iter().flatten() {
            match *piece {
                Piece::Data { to } => {
                    let (chain, index) = ring.bytes_at(from);
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
    #[inline]
    pub(crate) fn written(&mut self, ring: &mut Ring, n: usize) {
        if n == 0 {
            return;
        }
        if self.is_plain() {
            return self.take_plain(ring, n);
        }
        match self.pings.at_most_one_unwritten() {
            true => self.take(ring, n, &self.plan::<FEW, { pieces(FEW) }>(ring)),
            false => self.take(ring, n, &self.plan::<MANY, { pieces(MANY) }>(ring)),
        }
    }

    #[inline]
    fn take_plain(&mut self, ring: &mut Ring, n: usize) {
        let (sent, at, end, ping) = self.plain_plan(ring);
        let before = n.min((at - sent) as usize);
        let pinged = (n - before).min(ping.map_or(0, |ping| ping.frame.unwritten().len()));
        let behind = (n - before - pinged).min((end - at) as usize);
        ring.written((before + behind) as u64);
        if pinged > 0
            && let Some(ping) = self.pings.last_mut()
        {
            ping.frame.add_written(pinged);
        }
    }

    fn take(&mut self, ring: &mut Ring, mut n: usize, plan: &[Option<Piece>]) {
        for piece in plan.iter().flatten() {
            let taken = match *piece {
                Piece::Data { to } => n.min((to - ring.sent()) as usize),
                control => n.min(self.control_bytes(control).len()),
            };
            n -= taken;
            match *piece {
                Piece::Data { .. } => ring.written(taken as u64),
                control => self.control_written(control, taken),
            }
            if n == 0 {
                break;
            }
        }
    }

    /// Nothing is to be written now, which is so most times that it is asked.
    #[inline]
    pub(crate) fn has_nothing(&self, ring: &Ring) -> bool {
        let written = self.pings.last().is_none_or(Ping::written);
        written && self.inserts.is_none() && ring.sent() >= self.reach(ring)
    }

    /// Nothing but messages is to be written, and one ping at the most.
    #[inline]
    fn is_plain(&self) -> bool {
        self.inserts.is_none() && self.stop_at == NOWHERE && self.pings.at_most_one_unwritten()
    }

    /// Where such a write begins, where the ping stands, where it ends, and the ping; without one it has no place of
    /// its own.
    #[inline]
    fn plain_plan(&self, ring: &Ring) -> (u64, u64, u64, Option<&Ping>) {
        let (sent, end) = (ring.sent(), self.reach(ring));
        let ping = self.pings.last().filter(|ping| !ping.written());
        let at = ping.map_or(end, |ping| ping.at).max(sent);
        (sent, at, end.max(at), ping)
    }

    /// The order of the next write: data up to the first control frame's position, that frame, and
    /// so on. A frame that is begun comes first; where two stand at one position, the ping does.
    fn plan<const CONTROLS: usize, const PIECES: usize>(&self, ring: &Ring) -> [Option<Piece>; PIECES] {
        let mut plan = [None; PIECES];
        if self.inserts.as_ref().and_then(|i| i.attach.as_ref()).is_some_and(|attach| !attach.sealed()) {
            return plan;
        }
        let mut controls = self.controls::<CONTROLS>();
        // Stable: where two stand at one position, they keep their order.
        controls.sort_by_key(|control| control.map_or((u64::MAX, true), |(at, fresh, _)| (at, fresh)));
        let (mut n, mut from) = (0, ring.sent());
        let end = self.reach(ring).max(from);
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

    /// Control frames with bytes to write: position, whether none of it is written, and which.
    fn controls<const CONTROLS: usize>(&self) -> [Option<(u64, bool, Piece)>; CONTROLS] {
        let inserts = self.inserts.as_ref();
        let insert = |insert: Option<&Insert>, piece| {
            let insert = insert.filter(|i| i.sealed() && i.written < i.frame.len())?;
            Some((insert.at, insert.written == 0, piece))
        };
        let mut controls = [None; CONTROLS];
        // Nothing goes before an attach, so it counts as begun.
        let attach = insert(inserts.and_then(|i| i.attach.as_ref()), Piece::Attach);
        controls[0] = attach.map(|(at, _, piece)| (at, false, piece));
        controls[CONTROLS - 2] = insert(inserts.and_then(|i| i.pong.as_ref()), Piece::Pong);
        controls[CONTROLS - 1] = insert(inserts.and_then(|i| i.close.as_ref()), Piece::Close);
        for (slot, (index, ping)) in controls[1..CONTROLS - 2].iter_mut().zip(self.pings.unwritten()) {
            *slot = Some((ping.at, ping.frame.written() == 0, Piece::Ping(index as u8)));
        }
        controls
    }

    #[inline]
    fn control_bytes(&self, control: Piece) -> &[u8] {
        let inserts = self.inserts.as_ref();
        let insert = match control {
            Piece::Ping(index) => {
                return self.pings.get(usize::from(index)).map_or(&[], |ping| ping.frame.unwritten());
            }
            Piece::Attach => inserts.and_then(|inserts| inserts.attach.as_ref()),
            Piece::Pong => inserts.and_then(|inserts| inserts.pong.as_ref()),
            Piece::Close => inserts.and_then(|inserts| inserts.close.as_ref()),
            Piece::Data { .. } => None,
        };
        insert.map_or(&[], Insert::unwritten)
    }

    #[inline]
    fn control_written(&mut self, control: Piece, n: usize) {
        match (control, &mut self.inserts) {
            (Piece::Ping(index), _) => {
                if let Some(ping) = self.pings.get_mut(usize::from(index)) {
                    ping.frame.add_written(n);
                }
            }
            (Piece::Attach, Some(inserts)) => inserts.attach_written(n),
            (Piece::Pong, Some(inserts)) => inserts.pong_written(n),
            (Piece::Close, Some(inserts)) => inserts.close_written(n),
            _ => {}
        }
        if self.inserts.as_ref().is_some_and(|inserts| inserts.is_empty()) {
            self.inserts = None;
        }
    }
}
