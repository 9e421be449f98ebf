//! What a broker must not say, and what a service must not ask for.

use crate::steadfast_v1::service_wire::Malformed;

/// The broker says what it must not; nothing it says later can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breach {
    /// The first message is a text.
    Text,
    /// The first message is no ATTACH.
    Attach(Malformed),
    /// It tells of commits that were not made.
    Applied {
        /// The last that it tells of.
        told: u64,
        /// The last that was made.
        made: u64,
    },
}

impl std::fmt::Display for Breach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Breach::Text => f.write_str("the broker's first message is a text and no ATTACH"),
            Breach::Attach(malformed) => {
                write!(f, "the broker's first message is no ATTACH of this version: {malformed}")
            }
            Breach::Applied { told, made } => {
                write!(f, "the broker says that commit {told} is applied, and the last was {made}")
            }
        }
    }
}

impl std::error::Error for Breach {}

/// What the service must not ask for. Nothing is changed then, and nothing is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misuse {
    /// The session has not come yet.
    NotAttached,
    /// A commit takes back what an earlier one has consumed.
    Backwards {
        /// Up to where it goes.
        upto: u64,
        /// What is consumed already.
        consumed: u64,
    },
    /// A commit consumes what has not come yet.
    Future {
        /// Up to where it goes.
        upto: u64,
        /// What has come.
        seq: u64,
    },
    /// A repeated commit is not the next one.
    Gap {
        /// Its number.
        number: u64,
        /// The number that comes next.
        next: u64,
    },
    /// A capsule is longer than the pool allows.
    CapsuleTooBig {
        /// How long it is, in bytes.
        len: usize,
        /// How long it may be.
        limit: u32,
    },
    /// A message for the client is longer than the broker relays.
    OutputTooBig {
        /// How long it is, in bytes.
        len: usize,
        /// How long it may be.
        limit: u32,
    },
    /// All messages of one commit or push are together longer than the broker reads.
    EnvelopeTooBig {
        /// How long it would be, in bytes.
        len: u64,
        /// How long it may be.
        limit: u64,
    },
}

impl std::fmt::Display for Misuse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Misuse::NotAttached => f.write_str("the session has not come yet"),
            Misuse::Backwards { upto, consumed } => {
                write!(f, "a commit up to {upto}, and everything up to {consumed} is consumed already")
            }
            Misuse::Future { upto, seq } => {
                write!(f, "a commit up to {upto}, and the last message that has come is {seq}")
            }
            Misuse::Gap { number, next } => {
                write!(f, "commit {number} is repeated, and the next one is {next}; repeat them in order")
            }
            Misuse::CapsuleTooBig { len, limit } => {
                write!(f, "a capsule of {len} bytes; the limit is {limit}")
            }
            Misuse::OutputTooBig { len, limit } => {
                write!(f, "a message of {len} bytes for the client; the limit is {limit}")
            }
            Misuse::EnvelopeTooBig { len, limit } => write!(
                f,
                "messages and capsule of one commit make {len} bytes; the limit is {limit}: use several commits"
            ),
        }
    }
}

impl std::error::Error for Misuse {}
