//! What a session has under way besides relaying. Most have nothing most of the time.

use std::collections::VecDeque;

use super::failover::Episode;
use super::migration::Migration;
use super::report::{Command, Event};

/// A failover, a move, and what the driver is yet to hear: one pointer while there is none of them.
#[derive(Debug, Default)]
pub(super) struct Underway(Option<Box<UnderwayParts>>);

#[derive(Debug, Default)]
struct UnderwayParts {
    episode: Option<Box<Episode>>,
    migration: Option<Box<Migration>>,
    commands: VecDeque<Command>,
    events: VecDeque<Event>,
}

impl Underway {
    #[inline]
    pub(super) fn episode(&self) -> Option<&Episode> {
        self.0.as_ref().and_then(|parts| parts.episode.as_deref())
    }

    #[inline]
    pub(super) fn episode_mut(&mut self) -> Option<&mut Episode> {
        self.0.as_mut().and_then(|parts| parts.episode.as_deref_mut())
    }

    /// Begins an episode, unless one is under way, and returns the one that is.
    pub(super) fn begin_episode(&mut self, fresh: impl FnOnce() -> Episode) -> &mut Episode {
        self.0.get_or_insert_default().episode.get_or_insert_with(|| Box::new(fresh()))
    }

    pub(super) fn end_episode(&mut self) {
        if let Some(parts) = &mut self.0 {
            parts.episode = None;
            self.tidy();
        }
    }

    #[inline]
    pub(super) fn migration(&self) -> Option<&Migration> {
        self.0.as_ref().and_then(|parts| parts.migration.as_deref())
    }

    #[inline]
    pub(super) fn migration_mut(&mut self) -> Option<&mut Migration> {
        self.0.as_mut().and_then(|parts| parts.migration.as_deref_mut())
    }

    pub(super) fn begin_migration(&mut self, migration: Migration) {
        self.0.get_or_insert_default().migration = Some(Box::new(migration));
    }

    pub(super) fn end_migration(&mut self) -> Option<Box<Migration>> {
        let migration = self.0.as_mut().and_then(|parts| parts.migration.take());
        self.tidy();
        migration
    }

    pub(super) fn ask(&mut self, command: Command) {
        self.0.get_or_insert_default().commands.push_back(command);
    }

    pub(super) fn take_command(&mut self) -> Option<Command> {
        let command = self.0.as_mut()?.commands.pop_front();
        self.tidy();
        command
    }

    pub(super) fn note(&mut self, event: Event) {
        self.0.get_or_insert_default().events.push_back(event);
    }

    #[inline]
    pub(super) fn take_event(&mut self) -> Option<Event> {
        let event = self.0.as_mut()?.events.pop_front();
        self.tidy();
        event
    }

    /// The driver has something to hear.
    #[inline]
    pub(super) fn has_news(&self) -> bool {
        self.0.as_ref().is_some_and(|parts| !(parts.events.is_empty() && parts.commands.is_empty()))
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn tidy(&mut self) {
        let empty = |parts: &UnderwayParts| {
            let silent = parts.events.is_empty() && parts.commands.is_empty();
            silent && parts.episode.is_none() && parts.migration.is_none()
        };
        if self.0.as_deref().is_some_and(empty) {
            self.0 = None;
        }
    }
}
