//! A session's talk, and what rules say of it: a session small enough to be seen through.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::reader;
use crate::rules::{RuleMachine, RuleSet, RuleSource};
use crate::{Down, Key, Message, Phase, Up, Words};

/// What happens, and what is made of it. Keys are shown as numbers, by their first appearance.
pub(super) enum Step {
    /// The client says something.
    Up(&'static str, &'static str),
    /// The backend says something.
    Down(&'static str, &'static str),
    /// The next backend is linked.
    Linked,
    /// The record of this number is said to the next backend, as this, or as it was.
    Repeat(usize, Option<&'static str>),
}

pub(super) use Step::{Down as D, Linked, Repeat, Up as U};

pub(super) struct Talk {
    pub(super) machine: RuleMachine,
    keys: Vec<Key>,
    records: BTreeMap<Key, String>,
    /// The slots that wait for answers, with whether they have had one.
    awaited: BTreeMap<Key, (Key, bool)>,
    /// What ends when this is answered.
    ending: BTreeMap<Key, Key>,
}

/// A message of text.
pub(super) fn text(payload: &str) -> Message<'_> {
    Message { text: true, payload: payload.as_bytes(), whole: true }
}

/// Rules that have no faults, ready.
pub(super) fn ready(source: &RuleSource) -> Arc<RuleSet> {
    Arc::new(RuleSet::compile(source).unwrap_or_else(|faults| panic!("{faults:#?}")))
}

/// The rules of a TOML text, ready.
pub(super) fn machine(rules: &str) -> RuleMachine {
    RuleMachine::new(ready(&reader::rules(rules)))
}

impl Talk {
    pub(super) fn new(machine: RuleMachine) -> Talk {
        Talk {
            machine,
            keys: Vec::new(),
            records: BTreeMap::new(),
            awaited: BTreeMap::new(),
            ending: BTreeMap::new(),
        }
    }

    pub(super) fn follow(&mut self, steps: &[Step]) {
        for (index, step) in steps.iter().enumerate() {
            let (said, made, expected) = match *step {
                Step::Up(said, expected) => (said, self.up(said), expected),
                Step::Down(said, expected) => (said, self.down(said), expected),
                Step::Linked => {
                    self.machine.left();
                    continue;
                }
                Step::Repeat(number, expected) => {
                    let slot = self.keys[number - 1];
                    let record = &self.records[&slot];
                    let told = self.machine.repeat(slot, text(record));
                    let told = told.map(|told| String::from_utf8(told).expect("text"));
                    assert_eq!(told.as_deref(), expected, "step {index}: repeat {number}");
                    continue;
                }
            };
            assert_eq!(made, expected, "step {index}: {said}");
        }
    }

    pub(super) fn up(&mut self, said: &str) -> String {
        let mut words = Words::default();
        let verdict = self.machine.up(text(said), &mut words);
        let mut shown = match verdict {
            Up::Tell => "tell".to_owned(),
            Up::Ask(key) => format!("ask {}", self.number(key)),
            Up::Keep(keep) => {
                self.records.insert(keep.slot, said.to_owned());
                let mut shown = format!("keep {}", self.number(keep.slot));
                shown += if keep.phase == Phase::Door { ", door" } else { ", standing" };
                shown += if keep.awaited { ", awaited" } else { "" };
                if let Some(answer) = keep.answer {
                    self.awaited.insert(answer, (keep.slot, false));
                    shown += &format!(", answer {}", self.number(answer));
                }
                shown + if keep.waits { ", waits" } else { "" }
            }
            Up::Retire { slot, answer } => {
                let mut shown = format!("retire {}", self.number(slot));
                match answer {
                    Some(answer) => {
                        self.ending.insert(answer, slot);
                        shown += &format!(", answer {}", self.number(answer));
                    }
                    None => self.machine.forget(slot),
                }
                shown
            }
            Up::Reply(key) => format!("reply {}", self.number(key)),
            Up::Beat => "beat".to_owned(),
            Up::More => "more".to_owned(),
            Up::Unsaveable(why) => format!("unsaveable: {why}"),
        };
        shown += &told(&words);
        shown
    }

    pub(super) fn down(&mut self, said: &str) -> String {
        let mut words = Words::default();
        let verdict = self.machine.down(text(said), &mut words);
        let shown = match verdict {
            Down::Push => "push".to_owned(),
            Down::Answer { key, pass } => {
                if let Some((slot, again)) = self.awaited.get_mut(&key) {
                    self.machine.answered(*slot, text(said), *again);
                    *again = true;
                }
                if let Some(slot) = self.ending.remove(&key) {
                    self.machine.forget(slot);
                }
                format!("answer {}{}", self.number(key), if pass { ", pass" } else { "" })
            }
            Down::Refusal(key) => format!("refusal {}", self.number(key)),
            Down::End(slot) => {
                self.machine.forget(slot);
                format!("end {}", self.number(slot))
            }
            Down::Greeting { pass } => format!("greeting{}", if pass { ", pass" } else { "" }),
            Down::Asks(key) => format!("asks {}", self.number(key)),
            Down::Beat => "beat".to_owned(),
            Down::Parting => "parting".to_owned(),
            Down::More => "more".to_owned(),
        };
        shown + &told(&words)
    }

    fn number(&mut self, key: Key) -> usize {
        if let Some(at) = self.keys.iter().position(|other| *other == key) {
            return at + 1;
        }
        self.keys.push(key);
        self.keys.len()
    }
}

fn told(words: &Words) -> String {
    let mut shown = String::new();
    for (name, text) in [("instead", &words.instead), ("said", &words.answer)] {
        if let Some(text) = text {
            shown += &format!(" | {name} {}", String::from_utf8_lossy(text));
        }
    }
    shown
}
