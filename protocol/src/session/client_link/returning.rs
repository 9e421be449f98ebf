//! What a connection has of its own if its client may come back.

use std::time::Duration;

use crate::steadfast_v1::kind_byte::Strip;
use crate::time::Time;

/// So long after it has changed, at the latest, is a client told how far its messages have come.
const ACK_DELAY: Duration = Duration::from_millis(50);

/// And after so many bytes of them at the latest.
const ACK_BYTES: u64 = 64 * 1024;

/// It is told with a message downstream, if it was not told so shortly before.
const ACK_RIDES: Duration = Duration::from_millis(5);

/// What belongs to one connection of a client that may come back, or to the time between two.
#[derive(Debug, Default)]
pub(in crate::session) struct ReturningLink {
    /// There is none; the session is kept until then.
    pub(in crate::session) away_until: Option<Time>,
    pub(in crate::session) speech: ClientSpeech,
}

/// How its client speaks.
#[derive(Debug)]
pub(in crate::session) enum ClientSpeech {
    /// As any client does. A ping with this seq is out, whose pong says what has come to it.
    Plain { asked: Option<u64> },
    /// `steadfast.v1`.
    Shim(ShimLink),
}

/// One connection of a client that links the shim.
#[derive(Debug, Default)]
pub(in crate::session) struct ShimLink {
    pub(in crate::session) strip: Strip,
    /// Position in the upstream when it was told how far its messages have come.
    pub(in crate::session) told_at: u64,
    /// When it was told that last on a message's way, or by itself.
    pub(in crate::session) told_when: Option<Time>,
    /// When it must be told again.
    pub(in crate::session) tell_at: Option<Time>,
    /// It has asked.
    pub(in crate::session) asked: bool,
}

impl Default for ClientSpeech {
    fn default() -> Self {
        ClientSpeech::Plain { asked: None }
    }
}

impl ReturningLink {
    /// Of a client that links the shim, if its messages have kinds.
    pub(in crate::session) fn new(kinds: bool) -> ReturningLink {
        let speech = if kinds { ClientSpeech::Shim(ShimLink::default()) } else { ClientSpeech::default() };
        ReturningLink { away_until: None, speech }
    }

    pub(in crate::session) fn shim(&mut self) -> Option<&mut ShimLink> {
        match &mut self.speech {
            ClientSpeech::Shim(link) => Some(link),
            ClientSpeech::Plain { .. } => None,
        }
    }
}

impl ShimLink {
    /// `waits`: messages for it wait to be written, so that the news can go with them.
    pub(in crate::session) fn is_due(&mut self, now: Time, news: bool, at: u64, waits: bool) -> bool {
        if self.asked {
            return true;
        }
        if !news {
            return false;
        }
        let tell_at = *self.tell_at.get_or_insert(now + ACK_DELAY);
        // News that go with every message cost more than they tell.
        let rides = waits && self.told_when.is_none_or(|told| now.since(told) >= ACK_RIDES);
        rides || tell_at <= now || at - self.told_at >= ACK_BYTES
    }
}
