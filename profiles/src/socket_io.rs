//! Socket.IO 4 over Engine.IO 4, by WebSocket.
//!
//! ```text
//!   server                                            client
//!     0{"sid":..,"pingInterval":..}  --->                             greeting: of the backend alone
//!                                    <---  40/admin,{"token":..}      kept: said again, until 41 of either side
//!     40/admin,{"sid":..}            --->                             answer: passed again, unless hidden
//!                                    <---  42/admin,7["event",..]     ask, until 43/admin,7[..] comes
//!     42/admin,0["event",..]         --->                             asks, until 43/admin,0[..] comes
//!     452-["file",..] and 2 binary messages                           one unit, of either side
//!     2                              --->                             beat, as is its answer 3
//! ```
//!
//! `packet` understands heads, `keys` names what they speak of, `owed` knows what servers have asked, `namespaces` what
//! recovers a stored state. Nothing else is remembered of what was said.

mod json;
mod keys;
mod namespaces;
mod owed;
mod packet;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::{Down, FillIn, Keep, Key, Message, Phase, Up, Words};
use keys::{Hash, Sort};
use namespaces::{Namespaces, Offset};
use owed::Owed;
use packet::{Fault, Id, Kind, Packet};

/// The broker says signs of life neither more often nor more seldom, whatever a backend promises.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3600));

const OLD_ENGINE: &str = "it speaks Engine.IO 3, and only Engine.IO 4 (Socket.IO 3 and 4) can be said again; it ends when its \
    backend fails";
const UPGRADED: &str = "the Socket.IO session began by polling, and another backend does not know it; let clients begin \
    with the WebSocket transport";
const BINARY: &str =
    "its Socket.IO packets are not those of the default parser (msgpack?), and cannot be understood";
const FOREIGN: &str = "it says what is no packet of Socket.IO 4";
const LONG_NAME: &str = "the name of a Socket.IO namespace is longer than 1 KiB";
const MANY_NAMESPACES: &str = "it is in more than 64 Socket.IO namespaces";
const LARGE_EVENT: &str = "an event that is to be kept is larger than what is looked at";

/// What an operator may say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SocketIoSettings {
    /// The client does not hear that a next backend has taken it: it keeps the id that the first one gave it, and its
    /// `connect` event does not fire again.
    pub hide: bool,
    /// Events that are said again to the next backend, such as those that join a room.
    pub keep: Vec<String>,
    /// A server that stores a leaving client's state is asked to recover it.
    pub recover: bool,
}

/// One session's part.
#[derive(Debug)]
pub struct SocketIoMachine {
    settings: Arc<SocketIoSettings>,
    /// It was said that the conversation cannot be repeated; nothing is judged any more.
    given_up: bool,
    /// What a backend has said that no server of Socket.IO 4 says.
    suspicion: Option<&'static str>,
    /// The client has connected to a namespace.
    connected: bool,
    namespaces: Namespaces,
    owed: Owed,
    /// What the client is saying in several messages.
    up_group: Option<UpGroup>,
    /// What the linked backend is saying in several messages.
    down_group: Option<DownGroup>,
    /// How often the first backend has promised the client a sign of life.
    interval: Option<Duration>,
}

#[derive(Debug)]
struct UpGroup {
    /// Binary messages to come.
    left: u64,
    /// Of the whole.
    verdict: Up,
    /// Of what the event says, where it is to be kept.
    said: Option<Hash>,
}

#[derive(Debug)]
struct DownGroup {
    left: u64,
    verdict: Down,
    /// What it does to the offset of a namespace.
    offset: Option<(Key, Offset)>,
}

impl SocketIoMachine {
    pub(crate) fn new(settings: Arc<SocketIoSettings>) -> SocketIoMachine {
        SocketIoMachine {
            settings,
            given_up: false,
            suspicion: None,
            connected: false,
            namespaces: Namespaces::default(),
            owed: Owed::new(),
            up_group: None,
            down_group: None,
            interval: None,
        }
    }

    pub(crate) fn up(&mut self, message: Message<'_>, words: &mut Words) -> Up {
        if self.given_up || self.is_plainly_told(message) {
            return Up::Tell;
        }
        self.judge_up(message, words).unwrap_or_else(|why| {
            self.given_up = true;
            self.up_group = None;
            self.down_group = None;
            Up::Unsaveable(why)
        })
    }

    /// As [`Self::up`] would say of a message that begins like this.
    pub(crate) fn tells(&self, head: Message<'_>) -> bool {
        self.given_up || self.is_plainly_told(head)
    }

    pub(crate) fn down(&mut self, message: Message<'_>, words: &mut Words) -> Down {
        if self.given_up || self.is_plainly_pushed(message) {
            return Down::Push;
        }
        if is_attachment(message) {
            return self.attached_down();
        }
        if self.down_group.is_some() {
            if is_beat(message.payload) {
                return Down::More;
            }
            self.down_group = None;
        }
        match message.payload.first() {
            Some(b'4') => packet::parse(message.payload)
                .map_or(Down::Push, |packet| self.packet_down(packet, message, words)),
            Some(b'0') => {
                self.greeted(message.payload);
                Down::Greeting { pass: false }
            }
            Some(b'2' | b'3') => Down::Beat,
            _ => Down::Push,
        }
    }

    pub(crate) fn left(&mut self) {
        if let Some(Down::Asks(key)) = self.down_group.take().map(|group| group.verdict) {
            self.owed.forget(key);
        }
        self.owed.linked();
    }

    pub(crate) fn greets(&self) -> bool {
        true
    }

    /// What the answer of a connect says was learnt when it came.
    pub(crate) fn answered(&mut self, _slot: Key, _message: Message<'_>, _again: bool) {}

    pub(crate) fn repeat(&mut self, slot: Key, message: Message<'_>) -> Option<Vec<u8>> {
        let may = self.settings.recover && !self.given_up && message.text && message.whole;
        if may { self.namespaces.recovering(slot, message.payload) } else { None }
    }

    pub(crate) fn forget(&mut self, slot: Key) {
        self.namespaces.leave(slot);
    }

    pub(crate) fn fill_in(&self) -> Option<FillIn> {
        self.interval.map(|every| FillIn { every, promised: true, text: true, payload: b"2".to_vec() })
    }

    pub(crate) fn window(&self) -> usize {
        64 * 1024
    }

    // ---- up ----

    /// An event without namespace and id: most of what is said, so it is seen at a glance.
    fn is_plainly_told(&self, message: Message<'_>) -> bool {
        self.connected
            && self.up_group.is_none()
            && self.suspicion.is_none()
            && self.settings.keep.is_empty()
            && message.text
            && message.payload.starts_with(b"42[")
    }

    fn judge_up(&mut self, message: Message<'_>, words: &mut Words) -> Result<Up, &'static str> {
        if let Some(why) = self.suspicion {
            return Err(why);
        }
        if is_attachment(message) {
            return self.attached_up(message);
        }
        if self.up_group.is_some() {
            if is_beat(message.payload) {
                return Ok(Up::More);
            }
            self.up_group = None;
        }
        match message.payload.first() {
            Some(b'4') => self.packet_up(message, words),
            Some(b'3') => Ok(Up::Beat),
            Some(b'1' | b'6') => Ok(Up::Tell),
            // A client of Engine.IO 4 never asks for signs of life.
            Some(b'2') if message.payload.len() == 1 => Err(OLD_ENGINE),
            Some(b'2' | b'5') => Err(UPGRADED),
            _ => Err(FOREIGN),
        }
    }

    fn packet_up(&mut self, message: Message<'_>, words: &mut Words) -> Result<Up, &'static str> {
        let packet = packet::parse(message.payload).map_err(|fault| match fault {
            Fault::Foreign => FOREIGN,
            Fault::LongName => LONG_NAME,
        })?;
        if packet.kind == Kind::Connect {
            self.connected = true;
            let slot = keys::of_namespace(Sort::Namespace, packet.namespace);
            let answer = Some(keys::of_namespace(Sort::Connect, packet.namespace));
            let kept = Up::Keep(Keep { slot, answer, phase: Phase::Door, waits: true, awaited: false });
            return if self.namespaces.enter(slot) { Ok(kept) } else { Err(MANY_NAMESPACES) };
        }
        if !self.connected {
            // In Engine.IO 3 the server lets clients in unasked, and after polling they are in already.
            return Err(UPGRADED);
        }
        let mut said = None;
        let verdict = match (packet.kind, &packet.id) {
            (Kind::Disconnect, _) => {
                Up::Retire { slot: keys::of_namespace(Sort::Namespace, packet.namespace), answer: None }
            }
            (Kind::Event, id) => {
                let key = id.as_ref().map(|id| keys::of_ack(Sort::Ack, packet.namespace, id.number));
                said = self.kept(&packet, message)?;
                match (said, key) {
                    (Some(said), answer) => Up::Keep(Keep {
                        slot: said.key(),
                        answer,
                        phase: Phase::Standing,
                        waits: answer.is_some(),
                        awaited: false,
                    }),
                    (None, Some(key)) => Up::Ask(key),
                    (None, None) => Up::Tell,
                }
            }
            (Kind::Ack, Some(id)) => {
                let (key, own) = self.owed.named(packet.namespace, id.number);
                words.instead = own.map(|own| with_id(message.payload, id, own));
                Up::Reply(key)
            }
            _ => Up::Tell,
        };
        if packet.attachments == 0 {
            return Ok(self.said(verdict));
        }
        self.up_group = Some(UpGroup { left: packet.attachments, verdict, said });
        Ok(Up::More)
    }

    /// What an event says, if it is one to be kept.
    fn kept(&self, packet: &Packet<'_>, message: Message<'_>) -> Result<Option<Hash>, &'static str> {
        if self.settings.keep.is_empty() {
            return Ok(None);
        }
        let data = message.payload.get(packet.data..).unwrap_or_default();
        let Some(name) = event_name(data) else { return Ok(None) };
        if !self.settings.keep.iter().any(|kept| json::is_string(name, kept)) {
            return Ok(None);
        }
        if !message.whole {
            return Err(LARGE_EVENT);
        }
        Ok(Some(Hash::new(Sort::Kept, packet.namespace).add(data)))
    }

    fn attached_up(&mut self, message: Message<'_>) -> Result<Up, &'static str> {
        let Some(mut group) = self.up_group.take() else { return Err(BINARY) };
        if let Some(said) = &mut group.said {
            if !message.whole {
                return Err(LARGE_EVENT);
            }
            *said = said.add(message.payload).add(&(message.payload.len() as u64).to_le_bytes());
        }
        group.left -= 1;
        if group.left > 0 {
            self.up_group = Some(group);
            return Ok(Up::More);
        }
        Ok(match (group.verdict, group.said) {
            (Up::Keep(keep), Some(said)) => Up::Keep(Keep { slot: said.key(), ..keep }),
            (verdict, _) => self.said(verdict),
        })
    }

    /// The client has said all of it. Until then it owes what it is about to acknowledge: another server that asks by
    /// the same id must not get half of an earlier one's acknowledgement.
    fn said(&mut self, verdict: Up) -> Up {
        if let Up::Reply(key) = verdict {
            self.owed.forget(key);
        }
        verdict
    }

    // ---- down ----

    /// An event without namespace and id, of which nothing is to be learnt.
    fn is_plainly_pushed(&self, message: Message<'_>) -> bool {
        self.down_group.is_none()
            && !self.settings.recover
            && message.text
            && message.payload.starts_with(b"42[")
    }

    fn packet_down(&mut self, packet: Packet<'_>, message: Message<'_>, words: &mut Words) -> Down {
        let data = message.payload.get(packet.data..).unwrap_or_default();
        let mut offset = None;
        let verdict = match (packet.kind, &packet.id) {
            (Kind::Connect, _) => {
                if data.is_empty() {
                    // Since Engine.IO 4 it names an id.
                    self.suspicion = Some(OLD_ENGINE);
                }
                if self.settings.recover {
                    self.namespaces.let_in(keys::of_namespace(Sort::Namespace, packet.namespace), data);
                }
                let key = keys::of_namespace(Sort::Connect, packet.namespace);
                Down::Answer { key, pass: !self.settings.hide }
            }
            (Kind::ConnectError, _) => Down::Refusal(keys::of_namespace(Sort::Connect, packet.namespace)),
            (Kind::Disconnect, _) => Down::End(keys::of_namespace(Sort::Namespace, packet.namespace)),
            (Kind::Event, Some(id)) => {
                let asked = self.owed.asked(packet.namespace, id.number);
                words.instead = asked.alias.map(|alias| with_id(message.payload, id, alias));
                Down::Asks(asked.key)
            }
            (Kind::Event, None) => {
                if self.settings.recover {
                    let slot = keys::of_namespace(Sort::Namespace, packet.namespace);
                    if self.namespaces.recovers(slot) {
                        offset = Some((slot, namespaces::offset_of(data, message.whole)));
                    }
                }
                Down::Push
            }
            (Kind::Ack, Some(id)) => {
                let key = keys::of_ack(Sort::Ack, packet.namespace, id.number);
                Down::Answer { key, pass: false }
            }
            (Kind::Ack, None) => Down::Push,
        };
        let group = DownGroup { left: packet.attachments, verdict, offset };
        if group.left == 0 {
            return self.had(group);
        }
        self.down_group = Some(group);
        Down::More
    }

    fn attached_down(&mut self) -> Down {
        let Some(mut group) = self.down_group.take() else { return Down::Push };
        group.left -= 1;
        if group.left == 0 {
            return self.had(group);
        }
        self.down_group = Some(group);
        Down::More
    }

    /// All of it is there.
    fn had(&mut self, group: DownGroup) -> Down {
        if let Some((slot, offset)) = group.offset {
            self.namespaces.had(slot, offset);
        }
        group.verdict
    }

    /// The client lives by what the first backend has promised it.
    fn greeted(&mut self, payload: &[u8]) {
        if self.interval.is_some() {
            return;
        }
        let Some(members) = json::members(payload.get(1..).unwrap_or_default()) else { return };
        let millis = |key| json::value(&members, key).and_then(json::whole_number).map(Duration::from_millis);
        let (Some(interval), Some(timeout)) = (millis("pingInterval"), millis("pingTimeout")) else { return };
        // Some servers round what is less than a second to 0. The client waits for the sum of both.
        let interval = if interval.is_zero() { timeout / 2 } else { interval };
        self.interval = Some(interval.clamp(INTERVALS.0, INTERVALS.1));
    }
}

/// A binary message, or one in Base64 as clients say it that were told to.
fn is_attachment(message: Message<'_>) -> bool {
    !message.text || message.payload.first() == Some(&b'b')
}

/// It is Engine.IO's own and may stand between the messages of a unit: what is behind the engine does not see it.
fn is_beat(payload: &[u8]) -> bool {
    matches!(payload, b"2" | b"3" | b"6")
}

/// The name of an event between its quotes, at the beginning of its data.
fn event_name(data: &[u8]) -> Option<&[u8]> {
    let inner = data.strip_prefix(b"[")?;
    let start = json::skip_space(inner, 0);
    let end = json::string_end(inner, start)?;
    inner.get(start + 1..end - 1)
}

/// A message with another id.
fn with_id(payload: &[u8], id: &Id, other: u64) -> Vec<u8> {
    let (before, after) = (&payload[..id.at.start], &payload[id.at.end..]);
    [before, other.to_string().as_bytes(), after].concat()
}
