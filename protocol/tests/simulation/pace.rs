//! How fast an end reads, and how long it takes for what it has read.

use std::time::Duration;

use steadfast_protocol::session::Config;

use crate::random::{Random, mixed};

/// What one read takes of an end that reads slowly.
const PIECE: usize = 4096;

/// Reads of one that reads at a steady rate, a second.
const READS: u64 = 4;

/// Bytes a second that are much in the time of a stall.
const QUICK: u64 = 20_000;

/// So many messages stand in front of a ping at the most.
const BEHIND_PING: u32 = 16;

/// How an end reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// The longest that a message usually takes, in milliseconds. Nothing is read meanwhile.
    pub(crate) each: u64,
    /// One message in so many takes so long; 0: none does. Whoever works on it, it is the same one.
    pub(crate) one_in: u64,
    pub(crate) long: Duration,
    /// Bytes that are read in a second; `None`: as many as there are.
    pub(crate) rate: Option<u64>,
    /// Its host does nothing else meanwhile: one loop serves all connections, and answers probes.
    pub(crate) blocks: bool,
    /// Of several pings that have come it answers the last one only (RFC 6455, 5.5.3).
    pub(crate) latest_only: bool,
}

impl Pace {
    pub(crate) fn prompt() -> Pace {
        Pace { each: 0, one_in: 0, long: Duration::ZERO, rate: None, blocks: false, latest_only: false }
    }

    /// That of services which work slowly.
    pub(crate) fn slow(dice: &mut Random, broker: &Config) -> Pace {
        let (ack, stall) = (broker.ack_timeout, broker.stall_timeout);
        Pace {
            each: dice.pick(&[0, 5, 50, 300, 1500]),
            one_in: dice.pick(&[0, 5, 20]),
            long: dice.pick(&[ack / 2, ack * 3 / 2, ack * 3, stall * 5 / 4]),
            rate: dice.pick(&[None, None, None, Some(500), Some(QUICK)]),
            blocks: dice.chance(40),
            latest_only: dice.chance(30),
        }
    }

    /// That of a client that reads slowly.
    pub(crate) fn of_client(dice: &mut Random) -> Pace {
        Pace { rate: Some(dice.pick(&[1000, 5000, 20_000])), ..Pace::prompt() }
    }

    /// How long it works on the message with this id.
    pub(crate) fn takes(&self, id: u64) -> Duration {
        let die = mixed(id ^ 0x51);
        if self.one_in > 0 && die.is_multiple_of(self.one_in) {
            return self.long;
        }
        Duration::from_micros((die >> 8) % (self.each * 1000 + 1))
    }

    /// No service that reads like this is silent for as long as one that is dead, nor for the time of a stall. Up to
    /// [`BEHIND_PING`] messages may stand in front of a ping.
    pub(crate) fn is_gentle(&self, broker: &Config) -> bool {
        let each = Duration::from_millis(self.each);
        let longest = if self.one_in > 0 { self.long.max(each) } else { each };
        let answers = !self.blocks || longest * 4 < broker.ack_timeout;
        let steady = self.rate.is_none_or(|rate| rate >= QUICK);
        answers && steady && longest * BEHIND_PING < broker.stall_timeout
    }

    /// Bytes that one read takes.
    pub(crate) fn piece(&self) -> usize {
        match self.rate {
            Some(rate) => (rate / READS).max(1) as usize,
            None if self.each > 0 || self.one_in > 0 => PIECE,
            None => usize::MAX,
        }
    }

    /// How long so many bytes take.
    pub(crate) fn reads(&self, bytes: usize) -> Option<Duration> {
        self.rate.map(|rate| Duration::from_micros(bytes as u64 * 1_000_000 / rate))
    }
}
