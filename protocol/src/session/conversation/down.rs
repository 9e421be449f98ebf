//! What a backend says: each of its messages is looked at once it is whole, and goes on, or not.

use std::borrow::Cow;

use steadfast_profiles::{Down, Message, Words};

use crate::relay::downstream::DirectWrite;
use crate::time::Time;
use crate::websocket::scanner::Data;

use super::super::Session;
use super::faults::Fault;
use super::framing::{FoundMessage, framed, next_message};
use super::marks::Answered;
use super::{Conversation, OWED_MAX};
use crate::session::report::Event;

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Pass,
    /// It waits for the rest of its unit.
    More,
    Swallow,
    /// The backend does not take the client.
    Denied,
}

impl Session {
    /// Takes a span of frames of the backend.
    pub(in crate::session) fn converse_down(
        &mut self,
        now: Time,
        data: &Data<'_>,
        direct: &mut DirectWrite<'_>,
    ) {
        let Some(mut talk) = self.state.conversation.take() else { return };
        let mut bytes = match talk.open.is_empty() {
            true => Cow::Borrowed(data.bytes),
            false => {
                let mut open = std::mem::take(&mut talk.open);
                open.extend_from_slice(data.bytes);
                Cow::Owned(open)
            }
        };
        // Where what goes on begins, where the open unit does, and where the next message does.
        let (mut from, mut unit, mut at) = (0, 0, std::mem::take(&mut talk.looked));
        let (mut ready, mut denied) = (0, false);
        let window = talk.machine.window();
        while let Some(found) = next_message(&bytes, at, window) {
            let mut words = Words::default();
            let FoundMessage { text, payload, whole, end, .. } = found;
            let step = talk.hear_backend(now, Message { text, payload: &payload, whole }, &mut words);
            let looked_at = payload.len();
            drop(payload);
            let mut end = end;
            if let Some(mut instead) = words.instead {
                if !whole && let Some(all) = next_message(&bytes, at, usize::MAX) {
                    instead.extend_from_slice(all.payload.get(looked_at..).unwrap_or_default());
                }
                self.pass_on(&bytes[from..unit], std::mem::take(&mut ready), direct);
                let frame = framed(text, &instead, None);
                let changed = [&bytes[unit..at], &frame, &bytes[end..]].concat();
                (end, from, unit) = (at - unit + frame.len(), 0, 0);
                bytes = Cow::Owned(changed);
            }
            match step {
                Step::More => talk.open_messages += 1,
                Step::Pass => {
                    ready += std::mem::take(&mut talk.open_messages) + 1;
                    unit = end;
                }
                Step::Swallow | Step::Denied => {
                    self.pass_on(&bytes[from..unit], std::mem::take(&mut ready), direct);
                    talk.open_messages = 0;
                    (from, unit) = (end, end);
                    self.exceptions().suppressed += 1;
                }
            }
            at = end;
            if step == Step::Denied {
                denied = true;
                break;
            }
        }
        self.pass_on(&bytes[from..unit], ready, direct);
        if unit < bytes.len() && !denied {
            talk.open = match bytes {
                Cow::Borrowed(bytes) => bytes[unit..].to_vec(),
                Cow::Owned(mut bytes) => {
                    bytes.drain(..unit);
                    bytes
                }
            };
            talk.looked = at - unit;
        }
        let parting = std::mem::take(&mut talk.link.parting);
        self.state.conversation = Some(talk);
        if parting {
            self.note(Event::Parting);
        }
        if denied {
            return self.denied(now);
        }
        self.set_barrier();
        self.bound_records(now);
    }

    /// Counts `n` payload bytes that were read to [`Conversation::tail`].
    pub(in crate::session) fn conversation_read(&mut self, now: Time, ended: bool) {
        if ended {
            self.converse_down(now, &Data { bytes: &[], messages: 0, whole: 0 }, &mut |_| 0);
        }
    }

    fn pass_on(&mut self, bytes: &[u8], messages: u32, direct: &mut DirectWrite<'_>) {
        if !bytes.is_empty() && self.client_hears() {
            self.pass_down(bytes, messages, direct);
        }
    }

    /// Hands whole messages to the client.
    pub(super) fn pass_down(&mut self, bytes: &[u8], messages: u32, direct: &mut DirectWrite<'_>) {
        let data = Data { bytes, messages, whole: bytes.len() };
        self.hand_down(&data, direct);
    }

    /// Hands the beginning of a message to the client.
    pub(super) fn pass_open(&mut self, bytes: &[u8]) {
        self.hand_down(&Data { bytes, messages: 0, whole: 0 }, &mut |_| 0);
    }

    /// Half a unit of the backend's will never be whole. False: there is none.
    pub(in crate::session) fn drop_half_unit(&mut self) -> bool {
        let Some(talk) = &mut self.state.conversation else { return false };
        (talk.looked, talk.open_messages) = (0, 0);
        !std::mem::take(&mut talk.open).is_empty()
    }
}

impl Conversation {
    fn hear_backend(&mut self, now: Time, message: Message<'_>, words: &mut Words) -> Step {
        match self.machine.down(message, words) {
            Down::Push => Step::Pass,
            Down::More if self.is_at_fault(Fault::NoUnits) => Step::Pass,
            Down::More => Step::More,
            Down::Beat => {
                self.note_beat(now);
                Step::Pass
            }
            Down::Parting => {
                self.link.parting = true;
                Step::Swallow
            }
            Down::Greeting { pass } => {
                self.link.greeted(now);
                if pass || self.link.is_first() { Step::Pass } else { Step::Swallow }
            }
            Down::Asks(key) => {
                if self.owed.len() == OWED_MAX {
                    self.owed.pop_front();
                }
                self.owed.push_back((key, self.link.number, now));
                Step::Pass
            }
            Down::End(slot) => {
                self.marks.end(slot);
                self.machine.forget(slot);
                Step::Pass
            }
            Down::Answer { key, pass } => match self.marks.answer(key) {
                Some(Answered::Record { slot, again }) => {
                    self.link.moved = now;
                    self.machine.answered(slot, message, again);
                    if again && !pass && !self.is_at_fault(Fault::NoSwallowing) {
                        Step::Swallow
                    } else {
                        Step::Pass
                    }
                }
                Some(Answered::Retired { slot }) => {
                    self.machine.forget(slot);
                    Step::Pass
                }
                Some(Answered::Ask) | None => Step::Pass,
            },
            Down::Refusal(key) => match self.marks.answer(key) {
                Some(Answered::Record { again: true, .. }) => Step::Denied,
                Some(Answered::Record { slot, again: false }) => {
                    self.marks.end(slot);
                    self.machine.forget(slot);
                    Step::Pass
                }
                _ => Step::Pass,
            },
        }
    }
}
