//! What may last how long: stalls, open messages, and the session's next timeout.

use std::time::Duration;

use crate::time::Time;

use super::client_life::ClientLife;
use super::{Backend, Cause, Client, Failure, Session};

/// When things last happened.
#[derive(Debug)]
pub(super) struct Clocks {
    /// The backend's last sign of life to this session: a pong that was asked for, or a data frame. Its own
    /// pings are none: a library answers and sends them also for a handler that is stuck.
    backend_heard: Time,
    client_heard: Time,
    /// The backend owes something since; moved on while the broker does not read it.
    awaits_since: Option<Time>,
    rare: Option<Box<Rare>>,
    /// The backend is not read, since the client is slow.
    paused: bool,
    /// The client is not read, since the ring or the memory is full.
    client_paused: bool,
    /// The slowest answer of late, in [`TICK`]s.
    slowest: u16,
    /// When the client has said what is not answered yet, in [`TICK`]s, as far as they go; 0: it has not.
    asked: u32,
}

/// The unit of times that are kept in little room: 1.024 ms.
const TICK: u128 = 1024;

/// By how much of the difference the slowest answer of late falls with each that is faster.
const FORGETS: u16 = 32;

/// What an idle session, and most busy ones, have no need of.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rare {
    /// What is known of a client that is asked for signs of life.
    client: ClientLife,
    /// Data waits for the client, and it has taken none of it since.
    stalled_since: Option<Time>,
    progress: u64,
    client_open: Option<Time>,
    backend_open: Option<Time>,
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

impl Rare {
    fn is_idle(&self) -> bool {
        *self == Rare { progress: self.progress, ..Rare::default() }
    }
}

impl Clocks {
    #[inline]
    fn rare<T>(&self, look: impl FnOnce(&Rare) -> Option<T>) -> Option<T> {
        self.rare.as_deref().and_then(look)
    }

    /// Changes what is rare; takes memory for it only while there is something to tell.
    fn change(&mut self, change: impl FnOnce(&mut Rare)) {
        let rare = self.rare.get_or_insert_default();
        change(rare);
        if rare.is_idle() {
            self.rare = None;
        }
    }

    pub(super) fn new(now: Time) -> Clocks {
        Clocks {
            backend_heard: now,
            client_heard: now,
            awaits_since: None,
            rare: None,
            paused: false,
            client_paused: false,
            slowest: 0,
            asked: 0,
        }
    }

    /// The client has said something: what the backend says next is held to be the answer.
    #[inline]
    pub(super) fn question(&mut self, now: Time) {
        if self.asked == 0 {
            self.asked = ticks(now).max(1);
        }
    }

    /// The backend has said something. What comes later than `most` is no answer.
    #[inline]
    pub(super) fn answer(&mut self, now: Time, most: Duration) {
        if self.asked == 0 {
            return;
        }
        let took = ticks(now).wrapping_sub(self.asked);
        self.asked = 0;
        if u128::from(took) * TICK > most.as_micros() {
            return;
        }
        let took = u16::try_from(took).unwrap_or(u16::MAX).saturating_add(1);
        let less = self.slowest.saturating_sub(took);
        self.slowest = took.max(self.slowest - less.div_ceil(FORGETS));
    }

    /// The slowest answer of late; zero: there was none.
    pub(super) fn slowest_answer(&self) -> Duration {
        Duration::from_micros(u64::from(self.slowest) * TICK as u64)
    }

    /// How long the client has waited for an answer; `None`: it has got one.
    pub(super) fn asked_for(&self, now: Time) -> Option<Duration> {
        let ago = u64::from(ticks(now).wrapping_sub(self.asked));
        (self.asked != 0).then(|| Duration::from_micros(ago * TICK as u64))
    }

    /// Time in which a side was not read does not count against it.
    #[inline]
    pub(super) fn resumed(&mut self, now: Time) {
        if self.paused {
            self.awaits_since = self.awaits_since.map(|_| now);
            self.change(|rare| rare.backend_open = rare.backend_open.map(|_| now));
        }
    }

    /// Whether the client is read at present.
    #[inline]
    pub(super) fn client_read(&mut self, now: Time, read: bool) {
        if self.client_paused {
            self.client_heard = now;
            self.change(|rare| rare.client_open = rare.client_open.map(|_| now));
        }
        self.client_paused = !read;
    }

    #[inline]
    pub(super) fn client_heard(&mut self, now: Time) {
        self.client_heard = now;
    }

    #[inline]
    pub(super) fn last_client_heard(&self) -> Time {
        self.client_heard
    }

    #[inline]
    pub(super) fn client_life(&self) -> Option<&ClientLife> {
        self.rare.as_deref().map(|rare| &rare.client)
    }

    pub(super) fn change_client_life(&mut self, change: impl FnOnce(&mut ClientLife)) {
        self.change(|rare| change(&mut rare.client));
    }

    /// Whether the client is not read at present.
    #[inline]
    pub(super) fn client_paused(&self) -> bool {
        self.client_paused
    }

    /// Whether the backend is not read at present, since the client is slow.
    pub(super) fn paused(&self) -> bool {
        self.paused
    }

    #[inline]
    pub(super) fn backend_heard(&mut self, now: Time) {
        self.backend_heard = now;
    }

    #[inline]
    pub(super) fn last_heard(&self) -> Time {
        self.backend_heard
    }

    #[inline]
    pub(super) fn awaits_since(&self) -> Option<Time> {
        self.awaits_since
    }

    #[inline]
    pub(super) fn silence_told(&self) -> Option<Time> {
        self.rare(|rare| rare.silence_told)
    }

    /// The driver is told of a silence, not for the first time if `again`; up to `sent` was written.
    pub(super) fn tell_silence(&mut self, now: Time, sent: u64, again: bool) {
        self.change(|rare| {
            rare.told_again = again;
            rare.moved = rare.silence_sent.is_some_and(|before| before != sent);
            (rare.silence_told, rare.silence_sent) = (Some(now), Some(sent));
        });
    }

    /// The driver has had time to find something out.
    pub(super) fn told_again(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.told_again)
    }

    /// More was written between the last two times that the driver was told of a silence.
    pub(super) fn has_moved(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.moved)
    }

    #[inline]
    pub(super) fn unfit_told(&self) -> Option<Time> {
        self.rare(|rare| rare.unfit_told)
    }

    pub(super) fn tell_unfit(&mut self, now: Time) {
        self.change(|rare| rare.unfit_told = Some(now));
    }

    #[inline]
    pub(super) fn marked(&self) -> Option<Time> {
        self.rare(|rare| rare.marked)
    }

    /// A ping marks what the backend has read.
    pub(super) fn mark(&mut self, now: Time) {
        self.change(|rare| rare.marked = Some(now));
    }

    pub(super) fn backend_linked(&mut self, now: Time) {
        (self.backend_heard, self.awaits_since, self.asked) = (now, None, 0);
        self.change(|rare| {
            (rare.backend_open, rare.silence_told, rare.silence_sent) = (None, None, None);
            (rare.told_again, rare.moved) = (false, false);
            (rare.marked, rare.unfit_told) = (None, None);
        });
    }

    /// `ended`: a message has ended; `open`: one is open (now, or since before).
    #[inline]
    pub(super) fn client_message(&mut self, now: Time, ended: bool, open: bool) {
        if open || self.rare.is_some() {
            self.change(|rare| rare.client_open = since(rare.client_open, now, (ended, open)));
        }
    }

    /// As [`Clocks::client_message`].
    #[inline]
    pub(super) fn backend_message(&mut self, now: Time, ended: bool, open: bool) {
        if open || self.rare.is_some() {
            self.change(|rare| rare.backend_open = since(rare.backend_open, now, (ended, open)));
        }
    }

    /// `paused`: the backend is not read, so its pongs may be stuck behind data for a slow client.
    #[inline]
    pub(super) fn awaiting(&mut self, now: Time, awaits: bool, paused: bool) {
        self.awaits_since = if awaits { self.awaits_since.or(Some(now)) } else { None };
        self.paused = paused;
        self.resumed(now);
    }

    #[inline]
    pub(super) fn nothing_awaited(&mut self) {
        self.awaits_since = None;
    }

    #[inline]
    pub(super) fn client_served(&mut self) {
        if self.rare.is_some() {
            self.change(|rare| rare.stalled_since = None);
        }
    }

    /// The backend is read again. (Its time was moved on until now.)
    pub(super) fn client_caught_up(&mut self, all: bool) {
        self.paused = false;
        if all {
            self.client_served();
        }
    }

    #[inline]
    pub(super) fn client_progress(&mut self, now: Time, waiting: bool, progress: u64) {
        if !waiting {
            return self.client_served();
        }
        self.change(|rare| {
            if rare.stalled_since.is_none() || progress != rare.progress {
                (rare.stalled_since, rare.progress) = (Some(now), progress);
            }
        });
    }
}

fn ticks(now: Time) -> u32 {
    (now.since_origin().as_micros() / TICK) as u32
}

/// Since when a message is open.
fn since(before: Option<Time>, now: Time, (ended, open): (bool, bool)) -> Option<Time> {
    open.then(|| before.filter(|_| !ended).unwrap_or(now))
}

impl Session {
    /// When [`Session::advance`] must be called again, whatever happens until then.
    pub fn next_timeout(&mut self) -> Option<Time> {
        let at = self.earliest();
        self.due = at.unwrap_or(Time::NEVER);
        at
    }

    fn earliest(&self) -> Option<Time> {
        let ends = match self.client {
            Client::Told { until, .. } => until,
            _ => None,
        };
        let backend = match self.backend {
            Backend::Waiting { at } => at,
            Backend::Closing { until } | Backend::Parting { until } => Some(until),
            _ => None,
        };
        [
            ends,
            backend,
            self.goodbye.as_ref().map(|goodbye| goodbye.give_up).filter(|_| self.backend != Backend::Over),
            self.away_until(),
            self.tell_client_at(),
            self.up.hold_ends(),
            self.episode_timeout(),
            self.orphan_at(),
            self.departure_at(),
            self.silence_at(),
            self.unfit_at(),
            self.backend_keepalive_at(),
            self.client_keepalive_at(),
            self.stall_at(),
            self.slow_message_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Acts on every time that has come.
    pub(super) fn expire(&mut self, now: Time) {
        // Whatever came up since the driver was told the time lies behind it, or is not due yet.
        if now < self.due {
            return;
        }
        let due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        self.expire_episode(now);
        self.expire_orphan(now);
        self.expire_closes(now);
        self.expire_absence(now);
        if due(self.unfit_at()) {
            self.ask_about_fitness(now);
        }
        if due(self.silence_at()) {
            self.ask_about_silence(now);
        }
        if due(self.stall_at()) {
            self.client_lost(now, Cause::ClientStall);
        }
        if due(self.client_keepalive_at()) {
            self.client_is_silent(now);
        }
        if due(self.slow_message_at()) {
            self.message_too_slow(now);
        }
    }

    fn stall_at(&self) -> Option<Time> {
        let over = matches!(self.client, Client::Over);
        self.clocks
            .rare(|rare| rare.stalled_since)
            .filter(|_| !over && !self.away() && (self.down.waiting() > 0 || self.client_is_behind()))
            .map(|since| since + self.config.client_stall)
    }

    /// Neither side may keep a message open for long. The client's does not age while it is not
    /// read.
    fn slow_message_at(&self) -> Option<Time> {
        let read = matches!(self.client, Client::Open) && !self.clocks.client_paused;
        let client = self.clocks.rare(|rare| rare.client_open).filter(|_| read);
        let backend = self.clocks.rare(|rare| rare.backend_open).filter(|_| self.listens_to_backend());
        [client, backend].into_iter().flatten().min().map(|since| since + self.config.message_timeout)
    }

    fn message_too_slow(&mut self, now: Time) {
        let limit = self.config.message_timeout;
        if self.clocks.rare(|rare| rare.client_open).is_some_and(|since| since + limit <= now)
            && matches!(self.client, Client::Open)
        {
            self.clocks.change(|rare| rare.client_open = None);
            let code = self.config.codes.slow_message;
            self.dismiss(now, code, "a message took too long", Cause::SlowMessage, true);
        } else {
            self.clocks.change(|rare| rare.backend_open = None);
            self.leave_backend(now, Failure::SlowMessage);
        }
    }
}
