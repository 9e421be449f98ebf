//! One session's conversation, judged by rules.

use std::sync::Arc;

use super::hash::{self, mix};
use super::json::Found;
use super::learned::{Full, Learned};
use super::places::Places;
use super::set::{DownStep, DownVerb, Lesson, Retired, RuleSet, UpStep, UpVerb};
use super::template::{Name, Text};
use super::translation::{fresh_name, is_name, spliced};
use super::value::Value;
use crate::{Down, FillIn, Keep, Key, Message, Up, Words};

/// One session's part.
#[derive(Debug)]
pub struct RuleMachine {
    rules: Arc<RuleSet>,
    /// Only of sessions whose records teach something.
    learned: Option<Box<Learned>>,
    overflow: Overflow,
}

/// Something had to be learned, and there was no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overflow {
    No,
    /// The session has not heard of it.
    Due,
    Said,
}

impl RuleMachine {
    pub(crate) fn new(rules: Arc<RuleSet>) -> RuleMachine {
        RuleMachine { rules, learned: None, overflow: Overflow::No }
    }

    pub(crate) fn up(&mut self, message: Message<'_>, words: &mut Words) -> Up {
        let RuleMachine { rules, learned, .. } = self;
        let mut found = Found::nothing(message.payload);
        look(&mut found, &rules.up.places, &message);
        let judge = |step: &UpStep, found: &Found<'_>, words: &mut Words| {
            judge_up(step, rules, &message, found, learned.as_deref(), words)
        };
        let hit = rules.up.rules.iter().filter(|step| step.fit.holds(&message, &found)).find_map(|step| {
            if !step.more {
                return Some((step, judge(step, &found, words)?));
            }
            let all = find(&rules.up.all, &message);
            let named = all.mask() & step.fit.later == step.fit.later;
            Some((step, named.then(|| judge(step, &all, words))??))
        });
        let (retired, lesson) = hit.map_or((None, None), |(step, _)| (step.verb.alias(), step.verb.lesson()));
        let verdict = hit.map_or(Up::Tell, |(_, verdict)| verdict);
        if let Some(learned) = learned.as_deref().filter(|learned| learned.translates()) {
            words.instead = to_backend(rules, learned, &message, retired);
        }
        if let (Some(lesson), Up::Keep(keep)) = (lesson, verdict) {
            let begun = learned.get_or_insert_default().begin(keep.slot, lesson, keep.answer);
            self.note(begun);
        }
        if self.overflow == Overflow::Due {
            self.overflow = Overflow::Said;
            return Up::Unsaveable(
                "there are more records with aliases, or longer ones, than are remembered",
            );
        }
        verdict
    }

    pub(crate) fn down(&mut self, message: Message<'_>, words: &mut Words) -> Down {
        let rules = &*self.rules;
        let mut found = Found::nothing(message.payload);
        look(&mut found, &rules.down.places, &message);
        let learned = self.learned.as_deref();
        let verdict = rules
            .down
            .rules
            .iter()
            .filter(|step| step.fit.holds(&message, &found))
            .find_map(|step| judge_down(step, rules, &message, &found, learned))
            .unwrap_or(Down::Push);
        if self.learned.is_some() {
            self.translate_down(verdict, message, words);
        }
        verdict
    }

    fn translate_down(&mut self, verdict: Down, message: Message<'_>, words: &mut Words) {
        if let Down::Answer { key, .. } = verdict {
            words.instead = self.name_apart(key, message);
        }
        let learned = self.learned.as_deref().filter(|learned| learned.translates());
        if let (None, Some(learned)) = (&words.instead, learned) {
            words.instead = to_client(&self.rules, learned, &message);
        }
    }

    /// The first answer to a record gives it a name by which the client calls another, that an earlier backend has
    /// named: the client hears of a new one.
    fn name_apart(&mut self, answer: Key, message: Message<'_>) -> Option<Vec<u8>> {
        let learned = self.learned.as_deref_mut()?;
        let slot = learned.awaiting(answer).filter(|slot| !learned.has_client_name(*slot))?;
        let alias = self.rules.lessons.get(learned.lesson(slot)?)?.alias.as_ref()?;
        let found = find(&self.rules.answer, &message);
        let name = found.value(alias.learn).filter(|name| is_name(*name) && learned.is_taken(*name))?;
        let fresh = fresh_name(name, |name| learned.is_taken(name))?;
        let instead = spliced(&found, &message, |place, _| (place == alias.learn).then_some(&*fresh))?;
        let named = learned.name(slot, name.raw(), Some(&fresh));
        self.note(named);
        named.is_ok().then_some(instead)
    }

    pub(crate) fn left(&mut self) {
        if let Some(learned) = &mut self.learned {
            learned.linked();
        }
    }

    pub(crate) fn greets(&self) -> bool {
        self.rules.down.rules.iter().any(|step| matches!(step.verb, DownVerb::Greeting { .. }))
    }

    pub(crate) fn answered(&mut self, slot: Key, message: Message<'_>, again: bool) {
        let Some(learned) = &mut self.learned else { return };
        let Some(lesson) = learned.lesson(slot).and_then(|lesson| self.rules.lessons.get(lesson)) else {
            return;
        };
        let found = find(&self.rules.answer, &message);
        let taught = teach(learned, slot, lesson, &found, again);
        self.note(taught);
    }

    pub(crate) fn repeat(&mut self, slot: Key, message: Message<'_>) -> Option<Vec<u8>> {
        let learned = self.learned.as_deref()?;
        let lesson = learned.lesson(slot).and_then(|lesson| self.rules.lessons.get(lesson));
        if let Some(text) = lesson.and_then(|lesson| lesson.becomes.as_ref())
            && learned.is_answered(slot)
        {
            let found = find(&self.rules.up.records, &message);
            return text.say(&found, |place| learned.captured(slot, place));
        }
        learned.translates().then(|| to_backend(&self.rules, learned, &message, None))?
    }

    pub(crate) fn forget(&mut self, slot: Key) {
        if let Some(learned) = &mut self.learned {
            learned.forget(slot);
        }
    }

    pub(crate) fn fill_in(&self) -> Option<FillIn> {
        self.rules.fill_in.clone()
    }

    pub(crate) fn window(&self) -> usize {
        self.rules.window
    }

    /// Nothing is remembered of any record.
    #[cfg(test)]
    pub(crate) fn has_learned_nothing(&self) -> bool {
        self.learned.as_ref().is_none_or(|learned| learned.is_empty())
    }

    fn note(&mut self, result: Result<(), Full>) {
        if result == Err(Full) && self.overflow == Overflow::No {
            self.overflow = Overflow::Due;
        }
    }
}

impl UpVerb {
    /// The place of the alias that says what ends.
    fn alias(&self) -> Option<u8> {
        match self {
            UpVerb::Retire { slot: Retired::Alias(place), .. } => Some(*place),
            _ => None,
        }
    }

    /// What a kept record's answer will teach.
    fn lesson(&self) -> Option<usize> {
        match self {
            UpVerb::Keep { lesson, .. } => *lesson,
            _ => None,
        }
    }
}

/// Looks for what stands in these places of a message. Of a binary message, nothing does.
#[inline(always)]
fn look(found: &mut Found<'_>, places: &Places, message: &Message<'_>) {
    if message.text {
        found.look_for(places, message.whole);
    }
}

fn find<'a>(places: &Places, message: &Message<'a>) -> Found<'a> {
    let mut found = Found::nothing(message.payload);
    look(&mut found, places, message);
    found
}

/// What a rule that fits makes of a message. `None`: it does not fit after all.
fn judge_up(
    step: &UpStep,
    rules: &RuleSet,
    message: &Message<'_>,
    found: &Found<'_>,
    learned: Option<&Learned>,
    words: &mut Words,
) -> Option<Up> {
    // A text about the message alone.
    let said = |text: &Option<Text>| text.as_ref().and_then(|text| text.say(found, |_| None));
    Some(match &step.verb {
        UpVerb::Tell => Up::Tell,
        UpVerb::Keep { slot, many, phase, waits, awaited: ends, answer, .. } => {
            let name = slot.key(found)?;
            let slot = if *many { Key(mix(name.0, hash::of(message.payload))) } else { name };
            let (phase, waits, ends) = (*phase, *waits, *ends);
            Up::Keep(Keep { slot, answer: awaited(answer, found)?, phase, waits, awaited: ends })
        }
        UpVerb::Retire { slot, answer, done } => {
            let slot = match slot {
                Retired::Named(name) => name.key(found)?,
                Retired::Alias(place) => {
                    let learned = learned.filter(|learned| learned.has_names())?;
                    let name = find(&rules.up.aliases, message).value(*place)?;
                    learned.of_client(name)?.0
                }
            };
            let answer = awaited(answer, found)?;
            words.answer = said(done);
            Up::Retire { slot, answer }
        }
        UpVerb::Ask(name) => Up::Ask(name.key(found)?),
        UpVerb::Reply(name) => Up::Reply(name.key(found)?),
        UpVerb::Beat(text) => {
            words.answer = said(text);
            Up::Beat
        }
    })
}

/// How an answer will be known, if there will be one. `None` of the whole: its name cannot be told.
fn awaited(answer: &Option<Name>, found: &Found<'_>) -> Option<Option<Key>> {
    match answer {
        Some(name) => name.key(found).map(Some),
        None => Some(None),
    }
}

fn judge_down(
    step: &DownStep,
    rules: &RuleSet,
    message: &Message<'_>,
    found: &Found<'_>,
    learned: Option<&Learned>,
) -> Option<Down> {
    Some(match &step.verb {
        DownVerb::Push => Down::Push,
        DownVerb::Answer { name, pass } => Down::Answer { key: name.key(found)?, pass: *pass },
        DownVerb::Refusal(name) => Down::Refusal(name.key(found)?),
        DownVerb::End(name) => Down::End(name.key(found)?),
        DownVerb::EndAlias(place) => {
            let learned = learned.filter(|learned| learned.has_names())?;
            let name = find(&rules.down.aliases, message).value(*place)?;
            Down::End(learned.of_backend(name)?.0)
        }
        DownVerb::Greeting { pass } => Down::Greeting { pass: *pass },
        DownVerb::Asks(name) => Down::Asks(name.key(found)?),
        DownVerb::Beat => Down::Beat,
        DownVerb::Parting => Down::Parting,
    })
}

/// What the client says, in the names of this backend. `retired`: the place of an alias that says what ends.
fn to_backend(
    rules: &RuleSet,
    learned: &Learned,
    message: &Message<'_>,
    retired: Option<u8>,
) -> Option<Vec<u8>> {
    let found = find(&rules.up.aliases, message);
    spliced(&found, message, |place, name| {
        let (_, lesson, backend) = learned.of_client(name)?;
        let alias = rules.lessons.get(lesson)?.alias.as_ref()?;
        backend.filter(|_| alias.up.contains(&place) || retired == Some(place))
    })
}

/// What a backend says, in the client's names.
fn to_client(rules: &RuleSet, learned: &Learned, message: &Message<'_>) -> Option<Vec<u8>> {
    let found = find(&rules.down.aliases, message);
    spliced(&found, message, |place, name| {
        let (_, lesson, client) = learned.of_backend(name)?;
        let alias = rules.lessons.get(lesson)?.alias.as_ref()?;
        alias.down.contains(&place).then_some(client)
    })
}

/// Learns from a record's answer.
fn teach(
    learned: &mut Learned,
    slot: Key,
    lesson: &Lesson,
    found: &Found<'_>,
    again: bool,
) -> Result<(), Full> {
    let name = lesson.alias.as_ref().and_then(|alias| found.value(alias.learn));
    let named = match name.filter(|name| is_name(*name)).map(Value::raw) {
        Some(name) if learned.has_client_name(slot) => learned.name(slot, name, None),
        Some(name) if !again => learned.name(slot, name, Some(name)),
        _ => Ok(()),
    };
    if lesson.becomes.is_none() {
        return named;
    }
    let values = lesson.captures.iter().filter_map(|place| Some((*place, found.value(*place)?.raw())));
    learned.capture(slot, values).and(named)
}
