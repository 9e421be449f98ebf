//! One round of the supervisor, as the steps of operations see it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use steadfast_protocol::time::Time;

use super::survey::{Survey, number_of};
use crate::config::settings::DrainSettings;
use crate::session::registry::Registry;
use crate::session::tickets::Tickets;
use crate::upstream::pool::Pool;

/// What a step of an operation may know and use.
pub(super) struct Round<'a> {
    pub(super) now: Time,
    pub(super) registry: &'a Registry,
    pub(super) tickets: &'a Tickets,
    pub(super) drain: &'a DrainSettings,
    /// Planned moves under way in all.
    pub(super) moves_max: usize,
    /// The look at all sessions of this round, if there was one.
    pub(super) survey: Option<&'a Survey>,
    /// By pool, sessions that looked for a place at the last look at all sessions.
    pub(super) seeking: &'a HashMap<usize, usize>,
    /// By pool, sessions that move.
    pub(super) moving: RefCell<HashMap<usize, usize>>,
}

impl Round<'_> {
    /// All sessions were looked at in this round.
    pub(super) fn surveyed(&self) -> bool {
        self.survey.is_some()
    }

    /// Sessions of this pool that look for a place.
    pub(super) fn seeking(&self, pool: &Arc<Pool>) -> usize {
        self.seeking.get(&number_of(pool)).copied().unwrap_or(0)
    }

    /// Sessions of this pool that look for a place, or will.
    pub(super) fn on_their_way(&self, pool: &Arc<Pool>) -> usize {
        self.seeking(pool) + self.moving.borrow().get(&number_of(pool)).copied().unwrap_or(0)
    }

    /// So many more move.
    pub(super) fn add(&self, pool: &Arc<Pool>, sessions: usize) {
        *self.moving.borrow_mut().entry(number_of(pool)).or_default() += sessions;
    }
}
