//! Any rules, and any messages: nothing panics, and nothing grows.

use std::sync::Arc;

use proptest::prelude::*;

use crate::rules::{Alias, DownRule, RuleMachine, RuleSet, RuleSource, Scalar, UpRule, When};
use crate::{Down, Key, Message, Up, Words};

fn pointer() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["/a", "/b", "/c", "/a/0", "/b/a", "/0", "/1", ""]).prop_map(str::to_owned),
        1 => "[a-c/~{}]{0,4}",
    ]
}

fn template() -> impl Strategy<Value = String> {
    prop_oneof![
        pointer().prop_map(|pointer| format!("x:{{{pointer}}}")),
        Just("x".to_owned()),
        "[a{}/:]{0,6}",
        pointer().prop_map(|pointer| format!("{{\"id\":{{{pointer}}},\"v\":{{answer:/a}}}}")),
    ]
}

fn when() -> impl Strategy<Value = When> {
    let scalar = prop_oneof![
        "[a-b*|]{0,3}".prop_map(Scalar::Text),
        (-1..3_i64).prop_map(Scalar::Number),
        any::<bool>().prop_map(Scalar::Bool),
    ];
    let values = prop::collection::vec((pointer(), prop::collection::vec(scalar, 0..3)), 0..3);
    (values, prop::option::of(prop::collection::vec(0..4_u8, 0..2)))
        .prop_map(|(values, prefix)| When { values, prefix })
}

fn up_rule() -> impl Strategy<Value = UpRule> {
    let alias = (pointer(), prop::collection::vec(pointer(), 0..3), prop::collection::vec(pointer(), 0..3))
        .prop_map(|(learn, up, down)| Alias { learn, up, down });
    let some = || prop::option::of(template());
    (when(), 0..7, template(), any::<[bool; 2]>(), some(), prop::option::of(alias), some(), some(), pointer())
        .prop_map(|(when, verb, name, [many, standing], answer, alias, becomes, done, pointer)| {
            let rule = UpRule { when, ..UpRule::default() };
            match verb {
                0 | 1 => UpRule { keep: Some(name), many, standing, answer, alias, becomes, ..rule },
                2 => UpRule { retire: Some(name), answer, done, ..rule },
                3 => UpRule { retire_alias: Some(pointer), answer, done, ..rule },
                4 => UpRule { ask: Some(name), ..rule },
                5 => UpRule { reply: Some(name), ..rule },
                _ => UpRule { beat: Some(name), ..rule },
            }
        })
}

fn down_rule() -> impl Strategy<Value = DownRule> {
    (when(), 0..7, template(), pointer(), any::<[bool; 2]>()).prop_map(
        |(when, verb, name, pointer, [refusal, pass])| {
            let rule = DownRule { when, ..DownRule::default() };
            match verb {
                0 | 1 => DownRule { answer: Some(name), refusal, pass: pass && !refusal, ..rule },
                2 => DownRule { end: Some(name), ..rule },
                3 => DownRule { end_alias: Some(pointer), ..rule },
                4 => DownRule { asks: Some(name), ..rule },
                5 => DownRule { greeting: true, pass, ..rule },
                _ => DownRule { beat: true, ..rule },
            }
        },
    )
}

/// Whatever is found to be wrong is taken out, so that something remains that can be used.
fn mended(mut source: RuleSource) -> RuleSet {
    loop {
        let faults = match RuleSet::compile(&source) {
            Ok(set) => return set,
            Err(faults) => faults,
        };
        assert!(!faults.is_empty());
        for fault in faults.iter().rev() {
            assert!(!fault.message.is_empty() && !fault.key.is_empty());
            match fault.list {
                "up" if fault.index < source.up.len() => drop(source.up.remove(fault.index)),
                "down" if fault.index < source.down.len() => drop(source.down.remove(fault.index)),
                _ => {}
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Event {
    Up(Vec<u8>),
    Down(Vec<u8>),
    Linked,
    Forget(prop::sample::Index),
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let value = || {
        prop::sample::select(vec!["1", "2", "\"a\"", "\"\\u0061\"", "true", "null", "[1,\"b\"]", "{\"a\":1}"])
    };
    prop_oneof![
        4 => (value(), value(), value()).prop_map(|(a, b, c)| format!(r#"{{"a":{a},"b":{b},"c":{c}}}"#).into_bytes()),
        1 => (value(), value()).prop_map(|(a, b)| format!("[{a},{b}]").into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => payload().prop_map(Event::Up),
        5 => payload().prop_map(Event::Down),
        1 => Just(Event::Linked),
        1 => any::<prop::sample::Index>().prop_map(Event::Forget),
    ]
}

/// The session beside the rules: it says of each answer what it answers.
#[derive(Default)]
struct Records {
    slots: Vec<Key>,
    awaited: Vec<(Key, Key, bool)>,
}

impl Records {
    fn follow(&mut self, machine: &mut RuleMachine, event: &Event, text: bool, whole: bool) {
        let mut words = Words::default();
        let message = |payload| Message { text, payload, whole };
        match event {
            Event::Up(payload) => {
                if let Up::Keep(keep) = machine.up(message(payload), &mut words) {
                    machine.repeat(keep.slot, message(payload));
                    self.slots.push(keep.slot);
                    self.awaited.extend(keep.answer.map(|answer| (answer, keep.slot, false)));
                }
            }
            Event::Down(payload) => {
                if let Down::Answer { key, .. } = machine.down(message(payload), &mut words) {
                    for (_, slot, again) in self.awaited.iter_mut().filter(|(answer, ..)| *answer == key) {
                        machine.answered(*slot, message(payload), *again);
                        machine.repeat(*slot, message(payload));
                        *again = true;
                    }
                }
            }
            Event::Linked => machine.left(),
            Event::Forget(index) => {
                if !self.slots.is_empty() {
                    machine.forget(self.slots.swap_remove(index.index(self.slots.len())));
                }
            }
        }
        let instead = words.instead.map(String::from_utf8);
        assert!(!text || instead.is_none_or(|instead| instead.is_ok()), "text stays text");
    }
}

proptest! {
    #[test]
    fn any_rules_and_any_messages_are_borne(
        up in prop::collection::vec(up_rule(), 0..6),
        down in prop::collection::vec(down_rule(), 0..6),
        events in prop::collection::vec(event(), 0..40),
        whole in prop::bool::weighted(0.9),
    ) {
        let set = Arc::new(mended(RuleSource { up, down, ..RuleSource::default() }));
        for text in [true, false] {
            let mut machine = RuleMachine::new(Arc::clone(&set));
            let mut records = Records::default();
            for event in &events {
                let is_text = match event {
                    Event::Up(payload) | Event::Down(payload) => std::str::from_utf8(payload).is_ok(),
                    _ => true,
                };
                records.follow(&mut machine, event, text && is_text, whole);
            }
            // What the records leave behind is nothing.
            for slot in records.awaited.iter().map(|(_, slot, _)| *slot).chain(records.slots) {
                machine.forget(slot);
            }
            prop_assert!(machine.has_learned_nothing());
        }
    }
}
