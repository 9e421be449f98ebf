//! The pings that are out, in the order of their positions.

use std::collections::VecDeque;

use crate::time::Time;

use super::ping::Ping;

/// So many may be out at once.
pub(super) const MOST: usize = 8;

/// Holds one without memory of its own, which is all that a session has at almost any time.
#[derive(Debug, Default)]
pub(super) struct Pings {
    first: Option<Ping>,
    #[expect(clippy::box_collection, reason = "an absent one must take no more room than a pointer")]
    more: Option<Box<VecDeque<Ping>>>,
}

impl Pings {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.as_ref().map_or(0, |more| more.len())
    }

    #[inline]
    pub(super) fn first(&self) -> Option<&Ping> {
        self.first.as_ref()
    }

    #[inline]
    pub(super) fn last(&self) -> Option<&Ping> {
        self.more.as_ref().and_then(|more| more.back()).or(self.first.as_ref())
    }

    #[inline]
    pub(super) fn last_mut(&mut self) -> Option<&mut Ping> {
        self.more.as_mut().and_then(|more| more.back_mut()).or(self.first.as_mut())
    }

    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<&Ping> {
        match index.checked_sub(1) {
            None => self.first.as_ref(),
            Some(index) => self.more.as_ref().and_then(|more| more.get(index)),
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Ping> {
        match index.checked_sub(1) {
            None => self.first.as_mut(),
            Some(index) => self.more.as_mut().and_then(|more| more.get_mut(index)),
        }
    }

    /// Those of which some is still to be written, each with its index. They stand behind all others.
    pub(super) fn unwritten(&self) -> impl Iterator<Item = (usize, &Ping)> {
        (0..self.len())
            .filter_map(|index| Some((index, self.get(index)?)))
            .filter(|(_, ping)| !ping.written())
    }

    /// The last of them is still to be written, and no other.
    #[inline]
    pub(super) fn at_most_one_unwritten(&self) -> bool {
        self.more
            .as_ref()
            .is_none_or(|more| more.iter().rev().nth(1).or(self.first()).is_none_or(Ping::written))
    }

    #[inline]
    pub(super) fn push(&mut self, ping: Ping) {
        if self.first.is_none() {
            self.first = Some(ping);
        } else {
            self.more.get_or_insert_default().push_back(ping);
        }
    }

    /// Notes that those which are not written were not by now.
    #[inline]
    pub(super) fn note_unwritten(&mut self, now: Time) {
        if let Some(ping) = &mut self.first {
            ping.note_unwritten(now);
        }
        if let Some(more) = &mut self.more {
            more.iter_mut().for_each(|ping| ping.note_unwritten(now));
        }
    }

    /// Takes the one that this is the answer to, with all before it: a peer may answer the latest ping only
    /// (RFC 6455, 5.5.3).
    #[inline]
    pub(super) fn take_answered(&mut self, payload: &[u8]) -> Option<Ping> {
        let answered = |ping: &Ping| ping.written() && ping.frame.is(payload);
        if self.first.as_ref().is_some_and(answered) {
            return self.take_first();
        }
        let index = self.more.as_ref()?.iter().position(answered)?;
        for _ in 0..=index {
            self.take_first();
        }
        self.take_first()
    }

    /// Forgets those that are written.
    pub(super) fn forget_written(&mut self) {
        while self.first.as_ref().is_some_and(Ping::written) {
            self.take_first();
        }
    }

    #[inline]
    fn take_first(&mut self) -> Option<Ping> {
        let next = self.more.as_mut().and_then(|more| more.pop_front());
        if self.more.as_ref().is_some_and(|more| more.is_empty()) {
            self.more = None;
        }
        std::mem::replace(&mut self.first, next)
    }
}
