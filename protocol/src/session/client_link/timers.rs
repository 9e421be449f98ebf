//! When things last happened on a client's connection.

use crate::time::{Time, open_since};

use super::life::ClientLife;

/// The times of one connection.
#[derive(Debug)]
pub(in crate::session) struct ClientTimers {
    heard: Time,
    rare: Option<Box<RareClientTimers>>,
}

/// What an idle session, and most busy ones, have no need of.
#[derive(Debug, Default, PartialEq, Eq)]
struct RareClientTimers {
    /// What is known of a client that is asked for signs of life.
    life: ClientLife,
    /// Data waits for the client, and it has taken none of it since.
    stalled_since: Option<Time>,
    progress: u64,
    /// The client is not read, since memory is short.
    paused: bool,
    /// When the message began that is open.
    open: Option<Time>,
}

impl RareClientTimers {
    fn is_idle(&self) -> bool {
        *self == RareClientTimers { progress: self.progress, ..RareClientTimers::default() }
    }
}

impl ClientTimers {
    pub(super) fn new(now: Time) -> ClientTimers {
        ClientTimers { heard: now, rare: None }
    }

    /// Nothing is known but when it was heard.
    #[inline]
    pub(in crate::session) fn has_nothing_rare(&self) -> bool {
        self.rare.is_none()
    }

    /// Changes what is rare; takes memory for it only while there is something to tell.
    fn change(&mut self, change: impl FnOnce(&mut RareClientTimers)) {
        let rare = self.rare.get_or_insert_default();
        change(rare);
        if rare.is_idle() {
            self.rare = None;
        }
    }

    /// Whether the client is read at present.
    #[inline]
    pub(in crate::session) fn read(&mut self, now: Time, read: bool) {
        let paused = self.paused();
        if paused {
            self.heard = now;
        }
        if paused || !read {
            self.change(|rare| {
                rare.open = rare.open.map(|open| if paused { now } else { open });
                rare.paused = !read;
            });
        }
    }

    /// Whether the client is not read at present.
    #[inline]
    pub(in crate::session) fn paused(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.paused)
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
    pub(in crate::session) fn life(&self) -> Option<&ClientLife> {
        self.rare.as_deref().map(|rare| &rare.life)
    }

    pub(in crate::session) fn change_life(&mut self, change: impl FnOnce(&mut ClientLife)) {
        self.change(|rare| change(&mut rare.life));
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
        self.rare.as_deref().and_then(|rare| rare.open)
    }

    pub(in crate::session) fn forget_message(&mut self) {
        self.change(|rare| rare.open = None);
    }

    /// Since when data waits of which the client has taken none.
    #[inline]
    pub(in crate::session) fn stalled_since(&self) -> Option<Time> {
        self.rare.as_deref().and_then(|rare| rare.stalled_since)
    }

    #[inline]
    pub(in crate::session) fn served(&mut self) {
        if self.rare.is_some() {
            self.change(|rare| rare.stalled_since = None);
        }
    }

    /// `waiting`: data waits for the client; `progress`: a figure that changes when it takes some.
    #[inline]
    pub(in crate::session) fn progress(&mut self, now: Time, waiting: bool, progress: u64) {
        if !waiting {
            return self.served();
        }
        self.change(|rare| {
            if rare.stalled_since.is_none() || progress != rare.progress {
                (rare.stalled_since, rare.progress) = (Some(now), progress);
            }
        });
    }
}
