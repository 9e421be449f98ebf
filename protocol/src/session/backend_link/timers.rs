//! When things last happened on a connection to a backend.

use std::time::Duration;

use crate::time::{Time, open_since};

/// The times of one connection.
#[derive(Debug)]
pub(in crate::session) struct BackendTimers {
    /// The backend's last sign of life to this session: a pong that was asked for, or a data frame. Its own
    /// pings are none: a library answers and sends them also for a handler that is stuck.
    heard: Time,
    /// The backend owes something since; moved on while the broker does not read it.
    awaits_since: Option<Time>,
    rare: Option<Box<RareBackendTimers>>,
    /// When the client has said what is not answered yet, in [`TICK`]s, as far as they go; 0: it has not.
    asked: u32,
    /// The backend is not read, since the client is slow.
    paused: bool,
}

/// The unit of times that are kept in little room: 1.024 ms.
pub(in crate::session) const TICK: Duration = Duration::from_micros(1024);

/// By how much of the difference the slowest answer of late falls with each that is faster.
const FORGETS: u16 = 32;

/// The slowest answer of late, over all backends, in [`TICK`]s; 0: there was none.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::session) struct SlowestAnswer(u16);

/// What an idle session, and most busy ones, have no need of.
#[derive(Debug, Default, PartialEq, Eq)]
struct RareBackendTimers {
    /// When the message began that is open.
    open: Option<Time>,
    /// The driver was told of a silence at this time, and how far was written then.
    silence_told: Option<Time>,
    silence_sent: Option<u64>,
    /// It was told of the same before.
    told_again: bool,
    /// More was written between the last two times.
    moved: bool,
    /// The driver was told that no ping was answered.
    unfit_told: Option<Time>,
    /// Without acknowledgements: when a ping last marked what the backend has read.
    marked: Option<Time>,
}

impl BackendTimers {
    pub(super) fn new(now: Time) -> BackendTimers {
        BackendTimers { heard: now, awaits_since: None, rare: None, asked: 0, paused: false }
    }

    /// Nothing is known but when it was heard, what it owes and what it was asked.
    #[inline]
    pub(in crate::session) fn has_nothing_rare(&self) -> bool {
        self.rare.is_none() && !self.paused
    }

    #[inline]
    fn rare<T>(&self, look: impl FnOnce(&RareBackendTimers) -> Option<T>) -> Option<T> {
        self.rare.as_deref().and_then(look)
    }

    /// Changes what is rare; takes memory for it only while there is something to tell.
    fn change(&mut self, change: impl FnOnce(&mut RareBackendTimers)) {
        let rare = self.rare.get_or_insert_default();
        change(rare);
        if **rare == RareBackendTimers::default() {
            self.rare = None;
        }
    }

    /// The client has said something: what the backend says next is held to be the answer.
    #[inline]
    pub(in crate::session) fn question(&mut self, now: Time) {
        if self.asked == 0 {
            self.asked = ticks(now).max(1);
        }
    }

    /// The backend has said something. What comes later than `most` is no answer.
    #[inline]
    pub(in crate::session) fn answer(&mut self, now: Time, most: Duration, slowest: &mut SlowestAnswer) {
        if self.asked == 0 {
            return;
        }
        let took = ticks(now).wrapping_sub(self.asked);
        self.asked = 0;
        if u128::from(took) * TICK.as_micros() <= most.as_micros() {
            slowest.took(u16::try_from(took).unwrap_or(u16::MAX).saturating_add(1));
        }
    }

    /// How long the client has waited for an answer; `None`: it has got one.
    pub(in crate::session) fn asked_for(&self, now: Time) -> Option<Duration> {
        (self.asked != 0).then(|| TICK * ticks(now).wrapping_sub(self.asked))
    }

    /// Time in which the backend was not read does not count against it.
    #[inline]
    pub(in crate::session) fn resumed(&mut self, now: Time) {
        if self.paused {
            self.awaits_since = self.awaits_since.map(|_| now);
            self.change(|rare| rare.open = rare.open.map(|_| now));
        }
    }

    #[inline]
    pub(in crate::session) fn handle_bytes(&mut self, now: Time) {
        self.heard = now;
    }

    #[inline]
    pub(in crate::session) fn heard(&self) -> Time {
        self.heard
    }

    #[inline]
    pub(in crate::session) fn awaits_since(&self) -> Option<Time> {
        self.awaits_since
    }

    /// `paused`: the backend is not read, so its pongs may be stuck behind data for a slow client.
    #[inline]
    pub(in crate::session) fn awaiting(&mut self, now: Time, awaits: bool, paused: bool) {
        self.awaits_since = if awaits { self.awaits_since.or(Some(now)) } else { None };
        self.paused = paused;
        self.resumed(now);
    }

    #[inline]
    pub(in crate::session) fn nothing_awaited(&mut self) {
        self.awaits_since = None;
    }

    /// The backend is not read, since the client is slow.
    #[inline]
    pub(in crate::session) fn paused(&self) -> bool {
        self.paused
    }

    /// It is read again. (Its time was moved on until now.)
    #[inline]
    pub(in crate::session) fn read_again(&mut self) {
        self.paused = false;
    }

    /// `ended`: a message has ended; `open`: one is open (now, or since before).
    #[inline]
    pub(in crate::session) fn message(&mut self, now: Time, ended: bool, open: bool) {
        if open || self.rare.is_some() {
            self.change(|rare| rare.open = open_since(rare.open, now, ended, open));
        }
    }

    /// Since when a message is open.
    #[inline]
    pub(in crate::session) fn message_since(&self) -> Option<Time> {
        self.rare(|rare| rare.open)
    }

    pub(in crate::session) fn forget_message(&mut self) {
        self.change(|rare| rare.open = None);
    }

    #[inline]
    pub(in crate::session) fn silence_told(&self) -> Option<Time> {
        self.rare(|rare| rare.silence_told)
    }

    /// The driver is told of a silence, not for the first time if `again`; up to `sent` was written.
    pub(in crate::session) fn tell_silence(&mut self, now: Time, sent: u64, again: bool) {
        self.change(|rare| {
            rare.told_again = again;
            rare.moved = rare.silence_sent.is_some_and(|before| before != sent);
            (rare.silence_told, rare.silence_sent) = (Some(now), Some(sent));
        });
    }

    /// The driver has had time to find something out.
    pub(in crate::session) fn told_again(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.told_again)
    }

    /// More was written between the last two times that the driver was told of a silence.
    pub(in crate::session) fn has_moved(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.moved)
    }

    #[inline]
    pub(in crate::session) fn unfit_told(&self) -> Option<Time> {
        self.rare(|rare| rare.unfit_told)
    }

    pub(in crate::session) fn tell_unfit(&mut self, now: Time) {
        self.change(|rare| rare.unfit_told = Some(now));
    }

    #[inline]
    pub(in crate::session) fn marked(&self) -> Option<Time> {
        self.rare(|rare| rare.marked)
    }

    /// A ping marks what the backend has read.
    pub(in crate::session) fn mark(&mut self, now: Time) {
        self.change(|rare| rare.marked = Some(now));
    }
}

impl SlowestAnswer {
    fn took(&mut self, took: u16) {
        let less = self.0.saturating_sub(took);
        self.0 = took.max(self.0 - less.div_ceil(FORGETS));
    }

    /// Returns it; zero: there was none.
    pub(in crate::session) fn duration(self) -> Duration {
        TICK * u32::from(self.0)
    }
}

/// The time in [`TICK`]s, as far as 32 bits go.
pub(in crate::session) fn ticks(now: Time) -> u32 {
    (now.micros_since(Time::ORIGIN) / TICK.as_micros() as u64) as u32
}
