//! The head of a Socket.IO packet inside an Engine.IO message, as text.
//!
//! ```text
//!   4 5 2 - /admin , 17 ["event",...]
//!   | | |   |        |  '- data: JSON, to the end
//!   | | |   |        '- id of an acknowledgement, if any
//!   | | |   '- namespace with an optional ?query; "/" where there is none
//!   | | '- how many binary messages follow, of the kinds 5 and 6 alone
//!   | '- kind
//!   '- Engine.IO: a message
//! ```

use std::ops::Range;

/// Bytes of a namespace's name, with its query.
pub(super) const NAMESPACE_MAX: usize = 1024;

/// Digits of an id or of a count of attachments that are understood; each fits 64 bits.
const DIGITS_MAX: usize = 18;

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Connect,
    Disconnect,
    Event,
    Ack,
    ConnectError,
}

/// An id, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) number: u64,
    pub(super) at: Range<usize>,
}

/// What the head says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    pub(super) kind: Kind,
    /// Binary messages that belong to it and follow.
    pub(super) attachments: u64,
    /// Without its query, which servers cut off or take as part of the name.
    pub(super) namespace: &'a [u8],
    pub(super) id: Option<Id>,
    /// Where the data begins.
    pub(super) data: usize,
}

/// Why a head is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is none of Socket.IO 4.
    Foreign,
    /// Its namespace is longer than [`NAMESPACE_MAX`].
    LongName,
}

/// Understands the head of a message that begins with `4`.
pub(super) fn parse(payload: &[u8]) -> Result<Packet<'_>, Fault> {
    let (kind, binary) = match payload.get(1) {
        Some(b'0') => (Kind::Connect, false),
        Some(b'1') => (Kind::Disconnect, false),
        Some(b'2') => (Kind::Event, false),
        Some(b'3') => (Kind::Ack, false),
        Some(b'4') => (Kind::ConnectError, false),
        Some(b'5') => (Kind::Event, true),
        Some(b'6') => (Kind::Ack, true),
        _ => return Err(Fault::Foreign),
    };
    let mut at = 2;
    let mut attachments = 0;
    if binary {
        let (count, end) = number(payload, at).ok_or(Fault::Foreign)?;
        if payload.get(end) != Some(&b'-') {
            return Err(Fault::Foreign);
        }
        (attachments, at) = (count, end + 1);
    }
    let mut namespace: &[u8] = b"/";
    if payload.get(at) == Some(&b'/') {
        let name = &payload[at..];
        let sought = &name[..name.len().min(NAMESPACE_MAX + 1)];
        let length = sought.iter().position(|byte| *byte == b',').unwrap_or(sought.len());
        if length > NAMESPACE_MAX {
            return Err(Fault::LongName);
        }
        namespace = name[..length].split(|byte| *byte == b'?').next().unwrap_or_default();
        at = (at + length + 1).min(payload.len());
    }
    let mut id = None;
    if matches!(kind, Kind::Event | Kind::Ack)
        && let Some((found, end)) = number(payload, at)
    {
        id = Some(Id { number: found, at: at..end });
        at = end;
    }
    Ok(Packet { kind, attachments, namespace, id, data: at })
}

/// A decimal number and where it ends; none where there is no digit, or there are too many.
fn number(payload: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut end = at;
    let mut value = 0;
    while let Some(digit @ b'0'..=b'9') = payload.get(end) {
        if end - at == DIGITS_MAX {
            return None;
        }
        value = value * 10 + u64::from(digit - b'0');
        end += 1;
    }
    (end > at).then_some((value, end))
}
