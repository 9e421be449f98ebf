//! What a session has under way besides relaying. Most have nothing most of the time.

use super::Note;
use super::departure::Departure;
use super::failover::Episode;

/// A failover, a move, and notes for the driver: one pointer while there is none of them.
#[derive(Debug, Default)]
pub(super) struct Underway(Option<Box<Parts>>);

#[derive(Debug, Default)]
struct Parts {
    episode: Option<Box<Episode>>,
    departure: Option<Box<Departure>>,
    notes: Vec<Note>,
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
    pub(super) fn departure(&self) -> Option<&Departure> {
        self.0.as_ref().and_then(|parts| parts.departure.as_deref())
    }

    #[inline]
    pub(super) fn departure_mut(&mut self) -> Option<&mut Departure> {
        self.0.as_mut().and_then(|parts| parts.departure.as_deref_mut())
    }

    pub(super) fn begin_departure(&mut self, departure: Departure) {
        self.0.get_or_insert_default().departure = Some(Box::new(departure));
    }

    pub(super) fn end_departure(&mut self) -> Option<Box<Departure>> {
        let departure = self.0.as_mut().and_then(|parts| parts.departure.take());
        self.tidy();
        departure
    }

    pub(super) fn note(&mut self, note: Note) {
        self.0.get_or_insert_default().notes.push(note);
    }

    #[inline]
    pub(super) fn has_notes(&self) -> bool {
        self.0.as_ref().is_some_and(|parts| !parts.notes.is_empty())
    }

    /// The notes since the last call, in their order.
    #[inline]
    pub(super) fn take_notes(&mut self) -> Vec<Note> {
        let Some(parts) = &mut self.0 else { return Vec::new() };
        let notes = std::mem::take(&mut parts.notes);
        self.tidy();
        notes
    }

    fn tidy(&mut self) {
        let empty =
            |parts: &Parts| parts.episode.is_none() && parts.departure.is_none() && parts.notes.is_empty();
        if self.0.as_deref().is_some_and(empty) {
            self.0 = None;
        }
    }
}
