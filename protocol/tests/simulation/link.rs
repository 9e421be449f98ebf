//! A connection to a service as its bytes show it: how much lies unread at it, what its pongs prove, and since when
//! it says nothing.

use std::collections::VecDeque;
use std::time::Duration;

use steadfast_protocol::time::Time;
use steadfast_protocol::websocket::close_code::CloseCode;

use crate::framing::{Ear, Heard};

/// So many messages with so many bytes may always be written beyond the last pong,
pub(crate) const MESSAGES: usize = 64;
pub(crate) const BYTES: u64 = 256 * 1024;

/// and so many times what its pongs show to be on the way: the rate at which it reads, times its shortest pong.
const GAIN: u128 = 8;

#[derive(Debug)]
pub(crate) struct Link {
    ear: Ear,
    /// Bytes that were written to it.
    told: u64,
    told_at: Time,
    /// The first message is one of the broker's own.
    attaching: bool,
    /// Whole messages that were written to it.
    pub(crate) messages: u64,
    /// Lengths of those of them that are not acknowledged.
    unread: VecDeque<u64>,
    /// Those that are acknowledged. A commit may be ahead of what was written.
    pub(crate) read: u64,
    acknowledged: u64,
    ponged: u64,
    /// A pong has shown that it has read on.
    read_at: Time,
    pings: VecDeque<Ping>,
    /// It has said a whole message, or answered a ping.
    spoke_at: Time,
    /// It answers pings, as far as the broker believes.
    pub(crate) bounded: bool,
    /// It was not read by the broker, since the client is slow.
    unheard_at: Time,
    /// It is not known to answer none.
    pub(crate) answers_pings: bool,
    /// It was told Close, with this code.
    close: Option<Option<CloseCode>>,
    rate: u128,
    shortest: u128,
    flight: u128,
}

/// A ping that is not answered.
#[derive(Debug)]
struct Ping {
    payload: Vec<u8>,
    at: Time,
    /// Messages in front of it.
    messages: u64,
    told: u64,
    /// What was acknowledged when it was written.
    ponged: u64,
}

impl Link {
    /// `attaching`: the broker says something first that the client has not said.
    pub(crate) fn new(now: Time, attaching: bool) -> Link {
        Link {
            ear: Ear::masked(),
            attaching,
            told: 0,
            told_at: now,
            messages: 0,
            unread: VecDeque::new(),
            read: 0,
            acknowledged: 0,
            ponged: 0,
            read_at: now,
            pings: VecDeque::new(),
            spoke_at: now,
            bounded: true,
            unheard_at: now,
            answers_pings: true,
            close: None,
            rate: 0,
            shortest: u128::MAX,
            flight: 0,
        }
    }

    /// The broker has written bytes to it.
    pub(crate) fn told(&mut self, now: Time, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.told += bytes.len() as u64;
        self.told_at = now;
        for heard in self.ear.hear(bytes) {
            match heard {
                Heard::Message { .. } if std::mem::take(&mut self.attaching) => {}
                Heard::Message { payload, .. } => {
                    self.messages += 1;
                    self.unread.push_back(payload.len() as u64);
                    self.forget_read();
                }
                Heard::Ping(payload) => {
                    let (at, messages) = (now, self.messages);
                    let Link { told, ponged, .. } = *self;
                    self.pings.push_back(Ping { payload, at, messages, told, ponged });
                }
                Heard::Close(close) => self.close = Some(close.map(|(code, _)| code)),
                Heard::Pong(_) => {}
            }
        }
    }

    /// It has answered a ping. Says whether it was one that is out.
    pub(crate) fn pong(&mut self, now: Time, payload: &[u8]) -> bool {
        let Some(index) = self.pings.iter().position(|ping| ping.payload == payload) else { return false };
        let Some(ping) = self.pings.drain(..=index).next_back() else { return false };
        self.spoke_at = now;
        if ping.messages > self.read {
            self.read_at = now;
        }
        self.acknowledged(ping.messages);
        let took = now.since(ping.at).as_micros().max(1);
        self.rate = self.rate.max(u128::from(ping.told - ping.ponged) * 1_000_000 / took);
        self.shortest = self.shortest.min(took);
        self.flight = self.flight.max(self.rate * self.shortest / 1_000_000);
        self.ponged = ping.told;
        true
    }

    /// It answers no pings: what it says to them from now on is no answer.
    pub(crate) fn is_unfit(&mut self) {
        (self.answers_pings, self.bounded) = (false, false);
        self.pings.clear();
    }

    /// It has said a whole message.
    pub(crate) fn spoke(&mut self, now: Time) {
        self.spoke_at = now;
    }

    /// It has read on within this time.
    pub(crate) fn reads_on(&self, now: Time, time: Duration) -> bool {
        now.since(self.read_at) < time
    }

    /// It was told Close.
    pub(crate) fn is_told_close(&self) -> bool {
        self.close.is_some()
    }

    /// It has said Close. When that answers the broker's, it has read everything.
    pub(crate) fn closed(&mut self, code: Option<CloseCode>) {
        if self.close == Some(code) {
            self.acknowledged(self.messages);
        }
    }

    /// Of its messages so many are acknowledged at least.
    pub(crate) fn acknowledged(&mut self, messages: u64) {
        self.acknowledged = self.acknowledged.max(messages);
        self.forget_read();
    }

    fn forget_read(&mut self) {
        while self.read < self.acknowledged.min(self.messages) {
            self.read += 1;
            self.unread.pop_front();
        }
    }

    /// As much lies unread at it as may be.
    pub(crate) fn is_full(&self) -> bool {
        self.unread.len() >= MESSAGES || self.unread.iter().sum::<u64>() > BYTES / 2
    }

    /// No more lies unread at it than may. The last message may have begun when it was alone.
    pub(crate) fn check(&self) {
        let (messages, bytes) = (self.unread.len(), self.unread.iter().sum::<u64>());
        let before = bytes - self.unread.back().unwrap_or(&0);
        let little = messages <= MESSAGES && before <= BYTES;
        let flight = self.flight * GAIN;
        assert!(
            !self.bounded || little || u128::from(before) <= flight,
            "{messages} messages of {bytes} bytes lie unread, and {flight} are on the way"
        );
    }

    /// It has said nothing for so long.
    pub(crate) fn mute_for(&self, now: Time) -> Duration {
        now.since(self.spoke_at)
    }

    /// Whatever it says, the broker does not read it.
    pub(crate) fn unheard(&mut self, now: Time) {
        self.unheard_at = now;
    }

    /// It was read, and given nothing, and has said nothing for so long, and owes something.
    pub(crate) fn is_silent_for(&self, now: Time, time: Duration) -> bool {
        let owes = self.pings.front().is_some_and(|ping| now.since(ping.at) >= time);
        let since = self.spoke_at.max(self.told_at).max(self.unheard_at);
        owes && now.since(since) >= time
    }
}
