//! Makes rules ready to be used, and says of each that cannot work why not.

mod checks;

use std::time::Duration;

use super::faults::{Faults, Spot};
use super::pattern::Patterns;
use super::places::Places;
use super::set::{
    AliasPlaces, DownList, DownStep, DownVerb, Fit, Lesson, Retired, RuleSet, UpList, UpStep, UpVerb,
};
use super::source::{DownRule, FillInRule, RuleFault, RuleSource, UpRule, When};
use super::template::{Name, Space, Text};
use crate::{FillIn, Phase};

/// More often nobody says anything for hours.
const FILL_IN_MIN: Duration = Duration::from_millis(100);

/// Bytes of a message that are looked at, if JSON is.
const JSON_WINDOW: usize = 64 * 1024;

impl RuleSet {
    /// Checks rules, and makes them ready.
    ///
    /// # Errors
    /// Each rule that cannot work, and why.
    pub fn compile(source: &RuleSource) -> Result<RuleSet, Vec<RuleFault>> {
        let mut compiler = Compiler::new();
        let up: Vec<Option<UpStep>> =
            source.up.iter().enumerate().map(|(index, rule)| compiler.up(index, rule)).collect();
        let down: Vec<Option<DownStep>> =
            source.down.iter().enumerate().map(|(index, rule)| compiler.down(index, rule)).collect();
        let fill_in = source.fill_in.as_ref().map(|rule| compiler.fill_in(rule));
        checks::check(source, &up, &down, &mut compiler.faults);
        compiler.faults.end()?;
        let prefixes =
            source.up.iter().map(|rule| &rule.when).chain(source.down.iter().map(|rule| &rule.when));
        let longest = prefixes.filter_map(|when| when.prefix.as_ref()).map(Vec::len).max().unwrap_or(0);
        let whole = source.up.iter().any(|rule| rule.many);
        let json = whole || !compiler.up.is_empty() || !compiler.down.is_empty();
        Ok(RuleSet {
            up: UpList {
                places: compiler.up,
                aliases: compiler.up_aliases,
                records: compiler.records,
                rules: up.into_iter().flatten().collect(),
            },
            down: DownList {
                places: compiler.down,
                aliases: compiler.down_aliases,
                rules: down.into_iter().flatten().collect(),
            },
            answer: compiler.answer,
            lessons: compiler.lessons,
            fill_in,
            window: if json { JSON_WINDOW.max(longest) } else { longest },
        })
    }
}

struct Compiler {
    up: Places,
    up_aliases: Places,
    records: Places,
    down: Places,
    down_aliases: Places,
    answer: Places,
    lessons: Vec<Lesson>,
    faults: Faults,
}

impl Compiler {
    fn new() -> Compiler {
        Compiler {
            up: Places::new(),
            up_aliases: Places::new(),
            records: Places::new(),
            down: Places::new(),
            down_aliases: Places::new(),
            answer: Places::new(),
            lessons: Vec::new(),
            faults: Faults::default(),
        }
    }

    fn up(&mut self, index: usize, rule: &UpRule) -> Option<UpStep> {
        let spot = Spot { list: "up", index };
        self.up_words(spot, rule);
        let fit = fit(spot, &rule.when, &mut self.up, &mut self.faults);
        let verb = self.up_verb(spot, rule)?;
        let mut fit = fit?;
        fit.needs |= verb.needs();
        Some(UpStep { fit, verb })
    }

    /// Words that do not go together.
    fn up_words(&mut self, spot: Spot, rule: &UpRule) {
        let (keep, retire) = (rule.keep.is_some(), rule.retire.is_some() || rule.retire_alias.is_some());
        let faults = &mut self.faults;
        faults.one_of(
            spot,
            &[
                ("keep", keep),
                ("retire", rule.retire.is_some()),
                ("retire_alias", rule.retire_alias.is_some()),
                ("ask", rule.ask.is_some()),
                ("reply", rule.reply.is_some()),
                ("beat", rule.beat.is_some()),
            ],
        );
        let answer = rule.answer.is_some();
        for (key, given) in [
            ("many", rule.many),
            ("standing", rule.standing),
            ("wait", rule.wait.is_some()),
            ("alias", rule.alias.is_some()),
            ("becomes", rule.becomes.is_some()),
        ] {
            faults.alone(spot, key, given, "`keep`", keep);
        }
        if keep {
            let waits = rule.wait == Some(true);
            for (key, given) in
                [("wait", waits), ("alias", rule.alias.is_some()), ("becomes", rule.becomes.is_some())]
            {
                faults.alone(spot, key, given, "`answer`", answer);
            }
        }
        faults.alone(spot, "answer", answer, "`keep` or `retire`", keep || retire);
        faults.alone(spot, "done", rule.done.is_some(), "`retire` or `retire_alias`", retire);
    }

    fn up_verb(&mut self, spot: Spot, rule: &UpRule) -> Option<UpVerb> {
        if let Some(keep) = &rule.keep {
            let slot = self.up_name(spot, "keep", keep, Space::Slots);
            let answer = self.awaited(spot, rule);
            let lesson = self.lesson(spot, rule);
            return Some(UpVerb::Keep {
                slot: slot?,
                many: rule.many,
                phase: if rule.standing { Phase::Standing } else { Phase::Door },
                waits: rule.wait.unwrap_or(rule.answer.is_some() && !rule.standing),
                answer: answer?,
                lesson: lesson?,
            });
        }
        if rule.retire.is_some() || rule.retire_alias.is_some() {
            let slot = match (&rule.retire, &rule.retire_alias) {
                (Some(name), _) => self.up_name(spot, "retire", name, Space::Slots).map(Retired::Named),
                (_, alias) => {
                    let pointer = alias.as_deref().unwrap_or_default();
                    let place = self.up_aliases.place(pointer);
                    self.faults.take(spot, "retire_alias", place).map(Retired::Alias)
                }
            };
            let answer = self.awaited(spot, rule);
            let done = self.up_text(spot, "done", rule.done.as_ref());
            return Some(UpVerb::Retire { slot: slot?, answer: answer?, done: done? });
        }
        if let Some(name) = &rule.ask {
            return self.up_name(spot, "ask", name, Space::Answers).map(UpVerb::Ask);
        }
        if let Some(name) = &rule.reply {
            return self.up_name(spot, "reply", name, Space::Replies).map(UpVerb::Reply);
        }
        if let Some(text) = &rule.beat {
            let said = self.up_text(spot, "beat", Some(text).filter(|text| !text.is_empty()));
            return said.map(UpVerb::Beat);
        }
        Some(UpVerb::Tell)
    }

    fn up_name(&mut self, spot: Spot, key: &'static str, name: &str, space: Space) -> Option<Name> {
        let name = Name::new(name, space, &mut self.up);
        self.faults.take(spot, key, name)
    }

    /// The name of the answer that a rule waits for. `None` after a fault.
    fn awaited(&mut self, spot: Spot, rule: &UpRule) -> Option<Option<Name>> {
        match &rule.answer {
            Some(name) => self.up_name(spot, "answer", name, Space::Answers).map(Some),
            None => Some(None),
        }
    }

    fn up_text(&mut self, spot: Spot, key: &'static str, text: Option<&String>) -> Option<Option<Text>> {
        let text = text.map(|text| Text::new(text, &mut self.up, None)).transpose();
        self.faults.take(spot, key, text)
    }

    /// What is learned from a record's answer, by its number. `None` after a fault.
    fn lesson(&mut self, spot: Spot, rule: &UpRule) -> Option<Option<usize>> {
        if rule.alias.is_none() && rule.becomes.is_none() {
            return Some(None);
        }
        let alias = match &rule.alias {
            None => None,
            Some(alias) => {
                let learn = self.answer.place(&alias.learn);
                let learn = self.faults.take(spot, "alias", learn);
                let up = places(spot, &alias.up, &mut self.up_aliases, &mut self.faults);
                let down = places(spot, &alias.down, &mut self.down_aliases, &mut self.faults);
                Some(AliasPlaces { learn: learn?, up, down })
            }
        };
        let text = rule.becomes.as_ref().map(|text| {
            if text.is_empty() {
                return Err("the text is empty: say what the next backend is told".to_owned());
            }
            Text::new(text, &mut self.records, Some(&mut self.answer))
        });
        let becomes = self.faults.take(spot, "becomes", text.transpose())?;
        let captures = becomes.as_ref().map(Text::answers).unwrap_or_default();
        self.lessons.push(Lesson { alias, becomes, captures });
        Some(Some(self.lessons.len() - 1))
    }

    fn down(&mut self, index: usize, rule: &DownRule) -> Option<DownStep> {
        let spot = Spot { list: "down", index };
        self.down_words(spot, rule);
        let fit = fit(spot, &rule.when, &mut self.down, &mut self.faults);
        let verb = self.down_verb(spot, rule)?;
        let mut fit = fit?;
        fit.needs |= verb.needs();
        Some(DownStep { fit, verb })
    }

    fn down_words(&mut self, spot: Spot, rule: &DownRule) {
        let answer = rule.answer.is_some();
        self.faults.one_of(
            spot,
            &[
                ("answer", answer),
                ("end", rule.end.is_some()),
                ("end_alias", rule.end_alias.is_some()),
                ("greeting", rule.greeting),
                ("asks", rule.asks.is_some()),
                ("beat", rule.beat),
                ("parting", rule.parting),
            ],
        );
        self.faults.alone(spot, "refusal", rule.refusal, "`answer`", answer);
        self.faults.alone(spot, "pass", rule.pass, "`answer` or `greeting`", answer || rule.greeting);
        if rule.refusal && rule.pass {
            self.faults.add(
                spot,
                "pass",
                "a refusal of what is repeated is never passed on: take out `pass`",
            );
        }
    }

    fn down_verb(&mut self, spot: Spot, rule: &DownRule) -> Option<DownVerb> {
        let mut name = |key, name: &String, space| {
            let name = Name::new(name, space, &mut self.down);
            self.faults.take(spot, key, name)
        };
        if let Some(answer) = &rule.answer {
            let name = name("answer", answer, Space::Answers)?;
            return Some(match rule.refusal {
                true => DownVerb::Refusal(name),
                false => DownVerb::Answer { name, pass: rule.pass },
            });
        }
        if let Some(end) = &rule.end {
            return name("end", end, Space::Slots).map(DownVerb::End);
        }
        if let Some(asks) = &rule.asks {
            return name("asks", asks, Space::Replies).map(DownVerb::Asks);
        }
        if let Some(pointer) = &rule.end_alias {
            let place = self.down_aliases.place(pointer);
            return self.faults.take(spot, "end_alias", place).map(DownVerb::EndAlias);
        }
        Some(match (rule.greeting, rule.beat, rule.parting) {
            (true, ..) => DownVerb::Greeting { pass: rule.pass },
            (_, true, _) => DownVerb::Beat,
            (.., true) => DownVerb::Parting,
            _ => DownVerb::Push,
        })
    }

    fn fill_in(&mut self, rule: &FillInRule) -> FillIn {
        let spot = Spot { list: "fill_in", index: 0 };
        if rule.every < FILL_IN_MIN {
            self.faults.add(
                spot,
                "every",
                format!("{:?} is too often: give at least {FILL_IN_MIN:?}", rule.every),
            );
        }
        if rule.say.is_empty() {
            self.faults.add(spot, "say", "the text is empty: say what the client expects to hear");
        }
        FillIn { every: rule.every, text: true, payload: rule.say.clone().into_bytes() }
    }
}

fn fit(spot: Spot, when: &When, places: &mut Places, faults: &mut Faults) -> Option<Fit> {
    let mut fit = Fit::default();
    if let Some(prefix) = &when.prefix {
        if prefix.is_empty() {
            faults.add(spot, "prefix", "the prefix is empty: give the first bytes, or take it out");
        }
        fit.prefix = Some(prefix.as_slice().into());
    }
    for (pointer, scalars) in &when.values {
        if scalars.is_empty() {
            faults.add(
                spot,
                "when",
                format!("nothing may stand at {pointer:?}: give one value at the least"),
            );
        }
        let place = places.place(pointer);
        let place = faults.take(spot, "when", place)?;
        fit.needs |= 1 << place;
        let patterns = Patterns::new(scalars);
        match patterns.fit_any() {
            true => fit.scalars |= 1 << place,
            false => fit.tests.push((place, patterns)),
        }
    }
    Some(fit)
}

fn places(spot: Spot, pointers: &[String], places: &mut Places, faults: &mut Faults) -> Vec<u8> {
    pointers
        .iter()
        .filter_map(|pointer| {
            let place = places.place(pointer);
            faults.take(spot, "alias", place)
        })
        .collect()
}

impl UpVerb {
    /// The places that its names have in them.
    fn needs(&self) -> u32 {
        let of = |name: &Option<Name>| name.as_ref().map_or(0, Name::needs);
        match self {
            UpVerb::Keep { slot, answer, .. } => slot.needs() | of(answer),
            UpVerb::Retire { slot: Retired::Named(slot), answer, .. } => slot.needs() | of(answer),
            UpVerb::Retire { slot: Retired::Alias(_), answer, .. } => of(answer),
            UpVerb::Ask(name) | UpVerb::Reply(name) => name.needs(),
            UpVerb::Tell | UpVerb::Beat(_) => 0,
        }
    }
}

impl DownVerb {
    fn needs(&self) -> u32 {
        match self {
            DownVerb::Answer { name, .. }
            | DownVerb::Refusal(name)
            | DownVerb::End(name)
            | DownVerb::Asks(name) => name.needs(),
            DownVerb::Push
            | DownVerb::EndAlias(_)
            | DownVerb::Greeting { .. }
            | DownVerb::Beat
            | DownVerb::Parting => 0,
        }
    }
}
