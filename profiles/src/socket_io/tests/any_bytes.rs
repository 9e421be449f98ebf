//! Whatever is said, and in whatever order.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::owed::OWED_MAX;
use super::super::{SocketIoMachine, SocketIoSettings};
use super::{spoken, transcripts};
use crate::{Down, Key, Message, Up, Words};

/// One thing that happens to a machine.
#[derive(Debug, Clone)]
enum Step {
    Up(bool, Vec<u8>, bool),
    Down(bool, Vec<u8>, bool),
    Linked,
    Forget(u64),
}

fn recorded() -> Vec<(bool, Vec<u8>)> {
    transcripts::ALL
        .iter()
        .flat_map(|(_, transcript)| transcript.lines())
        .filter_map(|line| line.splitn(3, ' ').nth(2))
        .map(spoken)
        .collect()
}

/// What was recorded, or nearly; or no such thing.
fn said() -> impl Strategy<Value = (bool, Vec<u8>)> {
    let mutated = (
        proptest::sample::select(recorded()),
        proptest::collection::vec((any::<prop::sample::Index>(), any::<Option<u8>>()), 0..3),
    )
        .prop_map(|((text, mut payload), changes)| {
            for (at, byte) in changes {
                if payload.is_empty() {
                    break;
                }
                let at = at.index(payload.len());
                match byte {
                    Some(byte) => payload[at] = byte,
                    None => payload.truncate(at),
                }
            }
            (text, payload)
        });
    let structured =
        "4[0-7]([0-9]{0,3}-?)(/[a-c]?(\\?q)?,?)?[0-9]{0,20}(\\[\"(join|e)\",.{0,6}\\]|\\{.{0,6}\\})?";
    prop_oneof![
        4 => mutated,
        2 => structured.prop_map(|text: String| (true, text.into_bytes())),
        1 => (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (said(), prop::bool::weighted(0.9)).prop_map(|((text, said), whole)| Step::Up(text, said, whole)),
        8 => (said(), prop::bool::weighted(0.9)).prop_map(|((text, said), whole)| Step::Down(text, said, whole)),
        1 => Just(Step::Linked),
        1 => any::<u64>().prop_map(Step::Forget),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_and_a_conversation_is_given_up_once(
        hide: bool,
        recover: bool,
        keep in proptest::collection::vec("join|e", 0..2),
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        let mut machine = SocketIoMachine::new(Arc::new(SocketIoSettings { hide, keep, recover }));
        let mut given_up = false;
        let mut slots = Vec::new();
        for step in steps {
            let mut words = Words::default();
            match step {
                Step::Up(text, payload, whole) => {
                    let verdict = machine.up(Message { text, payload: &payload, whole }, &mut words);
                    match verdict {
                        Up::Unsaveable(_) => {
                            prop_assert!(!given_up);
                            given_up = true;
                        }
                        Up::Keep(keep) => {
                            slots.push(keep.slot);
                            machine.repeat(keep.slot, Message { text, payload: &payload, whole });
                        }
                        _ => {}
                    }
                    prop_assert!(!given_up || matches!(verdict, Up::Tell | Up::Unsaveable(_)));
                }
                Step::Down(text, payload, whole) => {
                    let verdict = machine.down(Message { text, payload: &payload, whole }, &mut words);
                    prop_assert!(!given_up || verdict == Down::Push);
                }
                Step::Linked => machine.left(),
                Step::Forget(which) => {
                    let slot = slots.get(which as usize % slots.len().max(1)).copied();
                    machine.forget(slot.unwrap_or(Key(which)));
                }
            }
            prop_assert_eq!(words.answer, None);
            prop_assert!(machine.owed.len() <= OWED_MAX);
        }
    }

    /// However the asks of many backends and the client's acknowledgements are mixed: each server hears of its own asks
    /// alone, by its own ids, and the client never hears one id twice that it owes.
    #[test]
    fn acknowledgements_find_the_ask_that_they_are_for(
        steps in proptest::collection::vec((0u8..8, 0u64..6, any::<prop::sample::Index>()), 1..120),
    ) {
        let mut machine = SocketIoMachine::new(Arc::default());
        let mut words = Words::default();
        machine.up(Message { text: true, payload: b"40", whole: true }, &mut words);
        let id_of = |payload: &[u8]| -> u64 {
            let digits: Vec<u8> = payload[2..].iter().copied().take_while(u8::is_ascii_digit).collect();
            String::from_utf8(digits).expect("digits").parse().expect("an id")
        };
        let (mut link, mut owed, mut open) = (0u32, Vec::<(u64, Key, u32, u64)>::new(), Vec::new());
        for (what, id, which) in steps {
            let mut words = Words::default();
            if what == 0 {
                machine.left();
                link += 1;
                open.clear();
            } else if what < 4 || owed.is_empty() {
                if open.contains(&id) {
                    continue;
                }
                open.push(id);
                let said = format!("42{id}[\"q\"]").into_bytes();
                let Down::Asks(key) =
                    machine.down(Message { text: true, payload: &said, whole: true }, &mut words) else {
                    panic!("asks")
                };
                let heard = id_of(words.instead.as_deref().unwrap_or(&said));
                prop_assert!(owed.iter().all(|one| one.0 != heard && one.1 != key));
                owed.push((heard, key, link, id));
            } else {
                let (heard, key, of, own) = owed.swap_remove(which.index(owed.len()));
                let said = format!("43{heard}[]").into_bytes();
                let verdict = machine.up(Message { text: true, payload: &said, whole: true }, &mut words);
                prop_assert_eq!(verdict, Up::Reply(key));
                if of == link {
                    prop_assert_eq!(id_of(words.instead.as_deref().unwrap_or(&said)), own);
                    open.retain(|id| *id != own);
                }
            }
            prop_assert_eq!(machine.owed.len(), owed.len());
        }
    }
}
