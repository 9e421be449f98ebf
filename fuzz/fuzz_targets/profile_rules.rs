//! Rules made of a few words, and arbitrary messages, whole and cut: nothing panics, and text stays text.
#![no_main]

use std::sync::Arc;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use steadfast_profiles::rules::{Alias, DownRule, RuleSet, RuleSource, Scalar, UpRule, When};
use steadfast_profiles::{Down, Machine, Message, Profile, Up, Words};

const POINTERS: [&str; 8] = ["/a", "/b", "/a/0", "/b/a", "/0", "/1", "/~0~1", ""];
const PATTERNS: [&str; 8] = ["*", "a", "a*", "*b", "a|b", "a*b*", "", "é"];
const NAMES: [&str; 4] = ["x", "x:{/a}", "x:{/b/a}", "{/0}{/1}"];
const TEXTS: [&str; 4] = ["", "{}", "{\"id\":{/a}}", "{\"id\":{/b},\"t\":{answer:/a}}"];

/// Choices among the words above, taken as they come.
#[derive(Debug, Clone, Copy, Arbitrary)]
struct Choice {
    verb: u8,
    pointer: u8,
    other: u8,
    pattern: u8,
    name: u8,
    answer: u8,
    text: u8,
    flags: u8,
}

#[derive(Debug, Arbitrary)]
enum Said<'a> {
    Up(&'a [u8]),
    Down(&'a [u8]),
    Linked,
    Forget(u8),
}

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    up: Vec<Choice>,
    down: Vec<Choice>,
    said: Vec<Said<'a>>,
}

fn of(words: &[&str], choice: u8) -> String {
    words[usize::from(choice) % words.len()].to_owned()
}

impl Choice {
    fn flag(self, bit: u8) -> bool {
        self.flags & (1 << bit) != 0
    }

    fn when(self) -> When {
        let mut when = When::default();
        if self.flag(0) {
            let value = match self.flag(1) {
                true => Scalar::Text(of(&PATTERNS, self.pattern)),
                false => Scalar::Number(i64::from(self.pattern)),
            };
            when.values.push((of(&POINTERS, self.pointer), vec![value]));
        }
        when.prefix = self.flag(2).then(|| vec![self.pattern]);
        when
    }

    fn answer(self) -> Option<String> {
        self.flag(3).then(|| of(&NAMES, self.answer))
    }

    fn up(self) -> UpRule {
        let name = Some(of(&NAMES, self.name));
        let rule = UpRule { when: self.when(), ..UpRule::default() };
        match self.verb % 8 {
            0 | 1 => UpRule { keep: name, answer: self.answer(), many: self.flag(4), ..rule },
            2 => UpRule {
                keep: name,
                answer: self.answer(),
                standing: self.flag(4),
                alias: self.flag(5).then(|| Alias {
                    learn: of(&POINTERS, self.pointer),
                    up: vec![of(&POINTERS, self.other)],
                    down: vec![of(&POINTERS, self.text)],
                }),
                becomes: self.flag(6).then(|| of(&TEXTS, self.text)),
                ..rule
            },
            3 => UpRule { retire: name, answer: self.answer(), ..rule },
            4 => UpRule {
                retire_alias: Some(of(&POINTERS, self.other)),
                done: self.flag(6).then(|| of(&TEXTS, self.text)),
                ..rule
            },
            5 => UpRule { ask: name, ..rule },
            6 => UpRule { reply: name, ..rule },
            _ => UpRule { beat: Some(of(&TEXTS, self.text)), ..rule },
        }
    }

    fn down(self) -> DownRule {
        let name = Some(of(&NAMES, self.name));
        let rule = DownRule { when: self.when(), ..DownRule::default() };
        match self.verb % 6 {
            0 | 1 => DownRule { answer: name, refusal: self.flag(3), ..rule },
            2 => DownRule { end: name, ..rule },
            3 => DownRule { end_alias: Some(of(&POINTERS, self.other)), ..rule },
            4 => DownRule { asks: name, ..rule },
            _ => DownRule { greeting: true, pass: self.flag(3), ..rule },
        }
    }
}

/// What remains of rules when those with faults are taken out.
fn mended(mut source: RuleSource) -> Arc<RuleSet> {
    loop {
        let faults = match RuleSet::compile(&source) {
            Ok(set) => return Arc::new(set),
            Err(faults) => faults,
        };
        assert!(!faults.is_empty());
        for fault in faults.iter().rev() {
            match fault.list {
                "up" if fault.index < source.up.len() => drop(source.up.remove(fault.index)),
                "down" if fault.index < source.down.len() => drop(source.down.remove(fault.index)),
                _ => {}
            }
        }
    }
}

fn message(payload: &[u8]) -> Message<'_> {
    Message { text: std::str::from_utf8(payload).is_ok(), payload, whole: true }
}

fn check(message: Message<'_>, words: &Words) {
    for said in [&words.instead, &words.answer].into_iter().flatten() {
        assert!(!message.text || std::str::from_utf8(said).is_ok(), "text stays text");
    }
}

/// The session beside the rules, as far as they must hear of it.
fn follow(machine: &mut Machine, said: &[Said<'_>]) {
    let (mut slots, mut awaited) = (Vec::new(), Vec::new());
    for said in said {
        let mut words = Words::default();
        match *said {
            Said::Up(payload) => {
                let message = message(payload);
                if let Up::Keep(keep) = machine.up(message, &mut words) {
                    slots.push((keep.slot, payload));
                    awaited.extend(keep.answer.map(|answer| (answer, keep.slot, false)));
                }
                check(message, &words);
                let cut = Message { payload: &payload[..payload.len() / 2], whole: false, ..message };
                machine.up(cut, &mut Words::default());
            }
            Said::Down(payload) => {
                let message = message(payload);
                if let Down::Answer { key, .. } = machine.down(message, &mut words) {
                    for (_, slot, again) in awaited.iter_mut().filter(|(answer, ..)| *answer == key) {
                        machine.answered(*slot, message, *again);
                        *again = true;
                    }
                }
                check(message, &words);
            }
            Said::Linked => {
                machine.left();
                for (slot, payload) in &slots {
                    machine.repeat(*slot, message(payload));
                }
            }
            Said::Forget(index) if !slots.is_empty() => {
                let (slot, _) = slots.swap_remove(usize::from(index) % slots.len());
                machine.forget(slot);
            }
            Said::Forget(_) => {}
        }
    }
}

fuzz_target!(|input: Input<'_>| {
    let source = RuleSource {
        up: input.up.iter().take(8).map(|choice| choice.up()).collect(),
        down: input.down.iter().take(8).map(|choice| choice.down()).collect(),
        ..RuleSource::default()
    };
    let profile = Profile::Rules(mended(source));
    follow(&mut profile.begin(), &input.said);
});
