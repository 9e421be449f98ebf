//! The namespaces that the client is in, and by what a server that stores a leaving client's state knows it there.

use super::json;
use super::packet::{self, Kind};
use crate::Key;

/// Namespaces of one session.
pub(super) const NAMESPACES_MAX: usize = 64;

/// Bytes of a private id, and of an offset.
const NAME_MAX: usize = 256;

#[derive(Debug)]
struct Namespace {
    slot: Key,
    /// By what the server knows the stored state of this client: what it says beside the public id.
    private: Option<Box<[u8]>>,
    /// The last event that the client has had: the last argument that the server adds to each.
    offset: Option<Box<[u8]>>,
}

/// All of one session, at most [`NAMESPACES_MAX`].
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    known: Vec<Namespace>,
}

/// What an event that goes down does to the offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Offset {
    /// Nothing: it has none.
    Stays,
    /// It is not known any more: recovering from an older one would say events twice.
    Lost,
    /// This is the last one.
    Is(Box<[u8]>),
}

impl Namespaces {
    /// The client connects to it. False: there is no room for one more.
    pub(super) fn enter(&mut self, slot: Key) -> bool {
        if self.find(slot).is_some() {
            return true;
        }
        if self.known.len() == NAMESPACES_MAX {
            return false;
        }
        self.known.push(Namespace { slot, private: None, offset: None });
        true
    }

    /// The client has left it.
    pub(super) fn leave(&mut self, slot: Key) {
        self.known.retain(|namespace| namespace.slot != slot);
    }

    /// A server lets the client in: `data` is what it says.
    pub(super) fn let_in(&mut self, slot: Key, data: &[u8]) {
        let members = json::members(data).unwrap_or_default();
        let private = json::value(&members, "pid").and_then(|pid| json::plain_string(pid, NAME_MAX));
        if private.is_some() && !self.enter(slot) {
            return;
        }
        if let Some(namespace) = self.find(slot)
            && namespace.private.as_deref() != private
        {
            namespace.private = private.map(Box::from);
            // It is a stored state of its own: an offset of another would not be found there.
            namespace.offset = None;
        }
    }

    /// Whether offsets are to be looked for here.
    pub(super) fn recovers(&mut self, slot: Key) -> bool {
        self.find(slot).is_some_and(|namespace| namespace.private.is_some())
    }

    /// The client has had an event.
    pub(super) fn had(&mut self, slot: Key, offset: Offset) {
        if let Some(namespace) = self.find(slot) {
            match offset {
                Offset::Stays => {}
                Offset::Lost => namespace.offset = None,
                Offset::Is(offset) => namespace.offset = Some(offset),
            }
        }
    }

    /// The connect of the client's, with what recovers its state.
    pub(super) fn recovering(&mut self, slot: Key, payload: &[u8]) -> Option<Vec<u8>> {
        let namespace = self.find(slot)?;
        let (private, offset) = (namespace.private.as_deref()?, namespace.offset.as_deref()?);
        let packet = packet::parse(payload).ok().filter(|packet| packet.kind == Kind::Connect)?;
        let data = payload.get(packet.data..)?;
        let members = if data.is_empty() { Vec::new() } else { json::members(data)? };

        let mut said = Vec::with_capacity(payload.len() + private.len() + offset.len() + 32);
        said.extend_from_slice(&payload[..packet.data]);
        if packet.namespace != b"/" && said.last() != Some(&b',') {
            said.push(b',');
        }
        said.push(b'{');
        for member in members.iter().filter(|member| member.key != b"pid" && member.key != b"offset") {
            said.extend_from_slice(member.text);
            said.push(b',');
        }
        for piece in [b"\"pid\":\"", private, b"\",\"offset\":\"", offset, b"\"}"] {
            said.extend_from_slice(piece);
        }
        Some(said)
    }

    fn find(&mut self, slot: Key) -> Option<&mut Namespace> {
        self.known.iter_mut().find(|namespace| namespace.slot == slot)
    }
}

/// The offset at the end of an event's data: its last argument, if that is a string of plain characters. So free text
/// is seldom taken for one: volatile events have none, but may end with a text.
pub(super) fn offset_of(data: &[u8], whole: bool) -> Offset {
    if !whole {
        return Offset::Lost;
    }
    let Some(inner) = data.strip_suffix(b"\"]") else { return Offset::Stays };
    // Backward, for the data may be long. A quote before plain characters and the closing one can only be the opening one.
    let length = inner.iter().rev().take(NAME_MAX + 1).take_while(|byte| json::is_plain(**byte)).count();
    let (before, text) = inner.split_at(inner.len() - length);
    let Some(before) = before.strip_suffix(b"\"") else { return Offset::Stays };
    // Where no comma stands before it, it is the event's name.
    if text.is_empty() || length > NAME_MAX || before.trim_ascii_end().last() != Some(&b',') {
        return Offset::Stays;
    }
    Offset::Is(text.into())
}
