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
pub(super) struct World<'a> {
    pub(super) now: Time,
    pub(super) registry: &'a Registry,
    pub(super) tickets: &'a Tickets,
    pub(super) drain: &'a DrainSettings,
    /// Planned moves under way in all.
    pub(super) moves_max: usize,
    /// The look at all sessions of this round, if there was one.
    pub(super) survey: Option<&'a Survey>,
    /// By pool, sessions that will need a place there.
    pub(super) coming: RefCell<HashMap<usize, usize>>,
}

impl World<'_> {
    /// All sessions were looked at in this round.
    pub(super) fn surveyed(&self) -> bool {
        self.survey.is_some()
    }

    /// Sessions of this pool that will need a place.
    pub(super) fn on_their_way(&self, pool: &Arc<Pool>) -> usize {
        self.coming.borrow().get(&number_of(pool)).copied().unwrap_or(0)
    }

    /// So many more will.
    pub(super) fn add(&self, pool: &Arc<Pool>, sessions: usize) {
        *self.coming.borrow_mut().entry(number_of(pool)).or_default() += sessions;
    }
}
