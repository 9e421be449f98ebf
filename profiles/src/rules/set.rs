//! Rules that were checked, as a session uses them.

use super::json::Found;
use super::pattern::Patterns;
use super::places::Places;
use super::template::{Name, Text};
use crate::{FillIn, Message, Phase};

/// A profile made of rules, ready to be used.
#[derive(Debug)]
pub struct RuleSet {
    pub(super) up: UpList,
    pub(super) down: DownList,
    /// The places of a record's answer that are learned from.
    pub(super) answer: Places,
    /// What is learned from the answers of records.
    pub(super) lessons: Vec<Lesson>,
    pub(super) fill_in: Option<FillIn>,
    /// Bytes of a message that are looked at.
    pub(super) window: usize,
}

/// What the client says.
#[derive(Debug)]
pub(super) struct UpList {
    /// All that rules look at.
    pub(super) places: Places,
    /// Where aliases may stand; looked at only in sessions that have some.
    pub(super) aliases: Places,
    /// The places of a record that is told as something else.
    pub(super) records: Places,
    pub(super) rules: Vec<UpStep>,
}

/// What a backend says.
#[derive(Debug)]
pub(super) struct DownList {
    pub(super) places: Places,
    pub(super) aliases: Places,
    pub(super) rules: Vec<DownStep>,
}

#[derive(Debug)]
pub(super) struct UpStep {
    pub(super) fit: Fit,
    pub(super) verb: UpVerb,
}

#[derive(Debug)]
pub(super) enum UpVerb {
    Tell,
    Keep {
        slot: Name,
        many: bool,
        phase: Phase,
        waits: bool,
        answer: Option<Name>,
        /// What is learned from its answer.
        lesson: Option<usize>,
    },
    Retire {
        slot: Retired,
        answer: Option<Name>,
        done: Option<Text>,
    },
    Ask(Name),
    Reply(Name),
    Beat(Option<Text>),
}

/// How a message says what it ends.
#[derive(Debug)]
pub(super) enum Retired {
    Named(Name),
    /// By the alias at this place.
    Alias(u8),
}

#[derive(Debug)]
pub(super) struct DownStep {
    pub(super) fit: Fit,
    pub(super) verb: DownVerb,
}

#[derive(Debug)]
pub(super) enum DownVerb {
    Push,
    Answer { name: Name, pass: bool },
    Refusal(Name),
    End(Name),
    EndAlias(u8),
    Greeting { pass: bool },
    Asks(Name),
    Beat,
    Parting,
}

/// What is learned from the answer of a record.
#[derive(Debug)]
pub(super) struct Lesson {
    pub(super) alias: Option<AliasPlaces>,
    /// What the record is told as, once it was answered.
    pub(super) becomes: Option<Text>,
    /// The places of the answer that `becomes` has in it.
    pub(super) captures: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct AliasPlaces {
    /// In the answer.
    pub(super) learn: u8,
    /// In what the client says.
    pub(super) up: Vec<u8>,
    /// In what a backend says.
    pub(super) down: Vec<u8>,
}

/// What must stand in a message for a rule to fit.
#[derive(Debug, Default)]
pub(super) struct Fit {
    pub(super) prefix: Option<Box<[u8]>>,
    /// Places with what must stand there, where not any scalar does.
    pub(super) tests: Vec<(u8, Patterns)>,
    /// The places where any scalar must stand.
    pub(super) scalars: u32,
    /// The places that must be there, also those of names.
    pub(super) needs: u32,
}

impl Fit {
    /// Whether a message fits.
    #[inline(always)]
    pub(super) fn holds(&self, message: &Message<'_>, found: &Found<'_>) -> bool {
        if found.mask() & self.needs != self.needs || found.scalars() & self.scalars != self.scalars {
            return false;
        }
        if self.prefix.as_ref().is_some_and(|prefix| !message.payload.starts_with(prefix)) {
            return false;
        }
        for (place, patterns) in &self.tests {
            if !found.value(*place).is_some_and(|value| patterns.fit(value)) {
                return false;
            }
        }
        true
    }

    /// Whether this fits wherever `other` does, as far as can be seen.
    pub(super) fn covers(&self, other: &Fit) -> bool {
        let prefix = self
            .prefix
            .as_ref()
            .is_none_or(|own| other.prefix.as_ref().is_some_and(|longer| longer.starts_with(own)));
        let scalars = other.tests.iter().fold(other.scalars, |scalars, (place, _)| scalars | 1 << place);
        prefix
            && self.needs & !other.needs == 0
            && self.scalars & !scalars == 0
            && self.tests.iter().all(|(place, patterns)| {
                other.tests.iter().any(|(there, others)| place == there && patterns.covers(others))
            })
    }
}
